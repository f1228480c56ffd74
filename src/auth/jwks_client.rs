//! Fetches the keys of Auth0 tenants in the background: HTTPS only, retried with growing delays, renewed now and then.
//!
//! An unreachable tenant raises an alarm and costs its users the login, nothing else; the start never waits for it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::JwkSet;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::base::alarm::Alarms;
use crate::base::backoff::Backoff;
use crate::base::blocking::{Blocking, Lane};
use crate::base::clock::Now;

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
    #[error("the name can't be resolved")]
    Resolve(#[source] std::io::Error),
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    #[error("TLS can't be used")]
    Tls(#[source] rustls::Error),
    #[error("HTTP failed")]
    Http(#[source] hyper::Error),
    #[error("the answer has status {0}")]
    Status(http::StatusCode),
    #[error("the answer is too large or incomplete")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is no key set")]
    Json(#[from] serde_json::Error),
    #[error("no answer within {} s", FETCH_TIME.as_secs())]
    Time,
}

/// Cheap handle to the keys known so far. Dropping the last one ends the fetching.
#[derive(Clone, Default)]
pub struct Keys {
    sets: Rc<RefCell<BTreeMap<String, JwkSet>>>,
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
    pub fn with<T>(&self, domain: &str, read: impl FnOnce(Option<&JwkSet>) -> T) -> T {
        read(self.sets.borrow().get(domain))
    }
}

/// Fetches the keys of each domain from now on.
pub fn spawn(domains: Vec<String>, blocking: &Blocking, alarms: &Alarms) -> Keys {
    let sets: Rc<RefCell<BTreeMap<String, JwkSet>>> = Rc::default();
    let follow = |domain: String| {
        let task = follow(domain.clone(), sets.clone(), blocking.clone(), alarms.clone());
        (domain, tokio::task::spawn_local(task))
    };
    let tasks = Rc::new(Tasks(domains.into_iter().map(follow).collect()));
    Keys { sets, tasks }
}

fn alarm_key(domain: &str) -> String {
    format!("jwks {domain}")
}

async fn follow(domain: String, sets: Rc<RefCell<BTreeMap<String, JwkSet>>>, blocking: Blocking, alarms: Alarms) {
    let mut backoff = Backoff::default();
    let alarm = alarm_key(&domain);
    loop {
        let fetched = tokio::time::timeout(FETCH_TIME, fetch_from_tenant(&domain, &blocking)).await;
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

async fn fetch_from_tenant(domain: &str, blocking: &Blocking) -> Result<JwkSet, Error> {
    let roots = blocking.run(Lane::General, system_roots).await;
    fetch(domain, 443, roots, blocking).await
}

async fn fetch(domain: &str, port: u16, roots: RootCertStore, blocking: &Blocking) -> Result<JwkSet, Error> {
    let name = ServerName::try_from(domain.to_owned()).map_err(|_| Error::Name(domain.to_owned()))?;
    let target = domain.to_owned();
    let addresses = blocking
        .run(Lane::Dns, move || (target.as_str(), port).to_socket_addrs().map(Vec::from_iter))
        .await
        .map_err(Error::Resolve)?;
    let stream = connect(&addresses).await.map_err(Error::Connect)?;
    let stream =
        TlsConnector::from(Arc::new(client_config(roots)?)).connect(name, stream).await.map_err(Error::Connect)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Error::Http)?;
    let connection = tokio::task::spawn_local(async move {
        // Its error reaches the request as well.
        let _ = connection.await;
    });
    let request = http::Request::get("/.well-known/jwks.json")
        .header(http::header::HOST, domain)
        .header(http::header::ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .expect("a resolved name is a header value");
    let response = sender.send_request(request).await.map_err(Error::Http);
    let result = match response {
        Ok(response) => read(response).await,
        Err(error) => Err(error),
    };
    connection.abort();
    result
}

async fn read(response: http::Response<hyper::body::Incoming>) -> Result<JwkSet, Error> {
    if !response.status().is_success() {
        return Err(Error::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), DOCUMENT).collect().await.map_err(Error::Body)?;
    Ok(serde_json::from_slice(&body.to_bytes())?)
}

async fn connect(addresses: &[SocketAddr]) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reads some hundred files.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn client_config(roots: RootCertStore) -> Result<rustls::ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(Error::Tls)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests;
