//! Asks once a day whether there is a newer version (`contract/config.md` §5).

use http::Method;
use serde::Deserialize;

use super::exchange_client::{Error, exchange};
use super::{Deps, Facts, News, Section, facts, schedule};
use crate::base::backoff::Backoff;
use crate::base::error::chain;
use crate::base::https_client::Client;
use crate::sys;

const COMPONENT: &str = "Update";

#[derive(Deserialize)]
struct Answer {
    latest_version: String,
}

pub(super) async fn run(url: String, section: Section, deps: Deps, news: News) {
    let mut backoff = Backoff::default();
    let mut is_failing = false;
    let [jitter] = sys::entropy();
    tokio::time::sleep(schedule::first(jitter)).await;
    loop {
        let facts = (deps.observe)().await;
        let checked = check(&deps.client, &url, &section, &facts).await;
        let [jitter] = sys::entropy();
        let delay = match checked {
            Ok(newer) => {
                if let Some(available) = newer.as_ref().filter(|newer| news.borrow().as_ref() != Some(newer)) {
                    log::info!(target: COMPONENT, current = facts::VERSION, available = available; "New version available");
                }
                news.replace(newer);
                (is_failing, backoff) = (false, Backoff::default());
                schedule::tomorrow(jitter)
            }
            Err(error) => {
                // Once is enough until it works again.
                let level = if is_failing { log::Level::Debug } else { log::Level::Warn };
                log::log!(target: COMPONENT, level, error = chain(&error); "Failed to check for updates");
                is_failing = true;
                backoff.next(schedule::RETRY, jitter).max(schedule::FIRST)
            }
        };
        tokio::time::sleep(delay).await;
    }
}

/// The newest version if it is newer than ours.
pub(super) async fn check(
    client: &Client,
    url: &str,
    section: &Section,
    facts: &Facts,
) -> Result<Option<String>, Error> {
    let body = facts.update(&section.id, &section.architecture);
    let answer = exchange(client, Method::PUT, url, None, Some(body)).await?;
    let answer: Answer = serde_json::from_slice(&answer)?;
    facts::newer(&answer.latest_version).ok_or(Error::Content("a version"))
}
