//! Reports to the service that the configuration names (`contract/config.md` §5): log in with the token, then one report
//! after the other, when the service asks for it.

use std::time::Duration;

use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use super::exchange_client::{Error, exchange};
use super::{Deps, schedule};
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::base::https_client::Client;

pub(super) const COMPONENT: &str = "Service";
/// Alarm key.
pub(super) const ALARM: &str = "report";

#[derive(Deserialize)]
struct Login {
    access_token: String,
    token_type: String,
}

#[derive(Deserialize)]
struct Reported {
    #[serde(default)]
    next_update: u64,
}

pub(super) async fn run(url: String, token: String, id: String, deps: Deps) {
    let mut service = Service::new(deps.client.clone(), &url, token, &id);
    let mut failures = 0u32;
    log::info!(target: COMPONENT, url = url; "Connected");
    loop {
        let facts = (deps.observe)().await;
        let delay = match service.report(&facts.report()).await {
            Ok(next) => {
                failures = 0;
                deps.alarms.clear(COMPONENT, ALARM);
                next
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                if failures > schedule::QUIET_FAILURES {
                    let text = format!("The service at {url} gets no reports ({}); trying again", chain(&error));
                    deps.alarms.raise(Now::read(), COMPONENT, ALARM, text);
                } else {
                    log::debug!(target: COMPONENT, error = chain(&error); "Failed to send data");
                }
                schedule::report_again(failures)
            }
        };
        tokio::time::sleep(delay).await;
    }
}

/// One service and what it gave us to come in with.
pub(super) struct Service {
    client: Client,
    login: String,
    monitor: String,
    token: String,
    /// Type and token for reports.
    access: Option<String>,
}

impl Service {
    pub(super) fn new(client: Client, url: &str, token: String, id: &str) -> Self {
        let url = url.trim_end_matches('/');
        let id = utf8_percent_encode(id, UNRESERVED);
        Self {
            client,
            login: format!("{url}/api/v1/token/login"),
            monitor: format!("{url}/api/v1/core/monitor/{id}"),
            token,
            access: None,
        }
    }

    /// Sends one report; when the next one is wanted. An access that has expired is renewed once.
    pub(super) async fn report(&mut self, report: &Value) -> Result<Duration, Error> {
        let is_known = self.access.is_some();
        let sent = self.send(report).await;
        let sent = match sent {
            Err(Error::Status(StatusCode::UNAUTHORIZED)) if is_known => {
                self.access = None;
                self.send(report).await
            }
            other => other,
        };
        if matches!(sent, Err(Error::Status(StatusCode::UNAUTHORIZED))) {
            self.access = None;
        }
        sent
    }

    async fn send(&mut self, report: &Value) -> Result<Duration, Error> {
        let access = match self.access.take() {
            Some(access) => access,
            None => {
                let bearer = format!("Bearer {}", self.token);
                let answer = exchange(&self.client, Method::PUT, &self.login, Some(&bearer), None).await?;
                let login: Login = serde_json::from_slice(&answer)?;
                format!("{} {}", login.token_type, login.access_token)
            }
        };
        let access = self.access.insert(access).clone();
        let sent = exchange(&self.client, Method::PUT, &self.monitor, Some(&access), Some(report.clone())).await;
        let reported: Reported = serde_json::from_slice(&sent?)?;
        Ok(schedule::next_report(reported.next_update))
    }
}

/// An id is one segment of a path.
const UNRESERVED: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
