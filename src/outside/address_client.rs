//! Asks services on the network which address the box has for them (`host.auto`, `contract/config.md` §5). An address
//! that does not parse is none; what was found is shown while `host.name` is empty, and never stored.

use std::net::IpAddr;

use futures_util::future::join_all;
use http::Method;

use super::exchange_client::{Error, exchange};
use super::{Deps, schedule};
use crate::base::backoff::Backoff;
use crate::base::error::chain;
use crate::base::https_client::Client;
use crate::sys;

const COMPONENT: &str = "Core";
/// Services that are asked at most.
const SERVICES: usize = 8;

pub(super) async fn run(urls: Vec<String>, deps: Deps) {
    let mut backoff = Backoff::default();
    loop {
        let asked = join_all(urls.iter().take(SERVICES).map(|url| ask(&deps.client, url))).await;
        let mut found: Vec<String> = Vec::new();
        for (url, answer) in urls.iter().zip(asked) {
            match answer {
                Ok(address) => found.push(address.to_string()),
                // One of IPv4 and IPv6 is often not there.
                Err(error) => log::debug!(target: COMPONENT, url = url, error = chain(&error); "no address of the box"),
            }
        }
        found.dedup();
        let [jitter] = sys::entropy();
        let delay = if found.is_empty() {
            backoff.next(schedule::RETRY, jitter).max(schedule::FIRST)
        } else {
            backoff.reset();
            schedule::tomorrow(jitter)
        };
        deps.config.show_addresses(found);
        tokio::time::sleep(delay).await;
    }
}

pub(super) async fn ask(client: &Client, url: &str) -> Result<IpAddr, Error> {
    let answer = exchange(client, Method::GET, url, None, None).await?;
    let text = String::from_utf8_lossy(&answer);
    text.trim().parse().map_err(|_| Error::Content("an address"))
}
