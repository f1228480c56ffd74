//! Fetches the keys of Auth0 tenants in the background: HTTPS only, retried with growing delays, renewed now and then.
//!
//! An unreachable tenant raises an alarm and costs its users the login, nothing else; the start never waits for it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use tokio::task::JoinHandle;

use super::auth0::KeySet;
use crate::base::alarm::Alarms;
use crate::base::backoff::Backoff;
use crate::base::clock::Now;
use crate::base::https_client::{self, Client};
use crate::base::task;
use crate::base::tree;

/// One attempt may take this long.
pub const FETCH_TIME: Duration = Duration::from_secs(15);
/// Longest delay between attempts.
pub const RETRY_CEILING: Duration = Duration::from_secs(300);
/// Age at which keys are fetched again.
pub const RENEWAL: Duration = Duration::from_secs(6 * 3600);
/// Largest key document that is read.
pub const DOCUMENT: usize = 256 * 1024;

const COMPONENT: &str = "Core";

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is no host name")]
    Name(String),
    #[error(transparent)]
    Client(#[from] https_client::Error),
    #[error("the answer has status {0}")]
    Status(http::StatusCode),
    #[error("the answer is no key set")]
    Json(#[from] serde_json::Error),
    #[error("no answer within {} s", FETCH_TIME.as_secs())]
    Time,
}

/// Cheap handle to the keys known so far. Dropping the last one ends the fetching.
#[derive(Clone, Default)]
pub struct Keys {
    sets: Rc<RefCell<BTreeMap<String, KeySet>>>,
    tasks: Rc<Tasks>,
}

/// One for each domain.
#[derive(Default)]
struct Tasks(BTreeMap<String, JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.values().for_each(JoinHandle::abort);
    }
}

impl Keys {
    /// Ends the fetching, and the complaints about it; what is known stays known.
    pub fn end(&self, alarms: &Alarms) {
        for (domain, task) in &self.tasks.0 {
            task.abort();
            alarms.clear(COMPONENT, &alarm_key(domain));
        }
    }

    /// What `read` makes of the keys of `domain`, `None` while they are unknown.
    pub fn with<T>(&self, domain: &str, read: impl FnOnce(Option<&KeySet>) -> T) -> T {
        read(self.sets.borrow().get(domain))
    }
}

/// Fetches the keys of each domain from now on.
pub fn spawn(domains: Vec<String>, client: &Client, alarms: &Alarms) -> Keys {
    let sets: Rc<RefCell<BTreeMap<String, KeySet>>> = Rc::default();
    let follow = |domain: String| {
        let task = follow(domain.clone(), sets.clone(), client.clone(), alarms.clone());
        (domain, task::spawn(task))
    };
    let tasks = Rc::new(Tasks(tree::map(domains.into_iter().map(follow))));
    Keys { sets, tasks }
}

fn alarm_key(domain: &str) -> String {
    format!("jwks {domain}")
}

async fn follow(domain: String, sets: Rc<RefCell<BTreeMap<String, KeySet>>>, client: Client, alarms: Alarms) {
    let mut backoff = Backoff::default();
    let alarm = alarm_key(&domain);
    loop {
        let fetched = tokio::time::timeout(FETCH_TIME, fetch(&domain, &client)).await;
        let delay = match fetched.unwrap_or(Err(Error::Time)) {
            Ok(keys) => {
                backoff.reset();
                alarms.clear(COMPONENT, &alarm);
                sets.borrow_mut().insert(domain.clone(), keys);
                RENEWAL
            }
            Err(error) => {
                let reason = crate::base::error::chain(&error);
                let text = format!("The keys of the Auth0 tenant {domain} can't be fetched ({reason}); trying again");
                alarms.raise(Now::read(), COMPONENT, &alarm, text);
                let [jitter] = crate::sys::entropy();
                backoff.next(RETRY_CEILING, jitter)
            }
        };
        tokio::time::sleep(delay).await;
    }
}

async fn fetch(domain: &str, client: &Client) -> Result<KeySet, Error> {
    let uri = Uri::builder().scheme("https").authority(domain).path_and_query("/.well-known/jwks.json").build();
    let uri = uri.map_err(|_| Error::Name(domain.to_owned()))?;
    let request = http::Request::get(uri).header(http::header::ACCEPT, "application/json").body(Empty::<Bytes>::new());
    let response = client.send(request.expect("the address has been parsed")).await?;
    if !response.status().is_success() {
        return Err(Error::Status(response.status()));
    }
    Ok(serde_json::from_slice(&response.into_body().read(DOCUMENT).await?)?)
}

#[cfg(test)]
mod tests;
