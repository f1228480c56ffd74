//! The HTTP client for everything outside the box: `http` and `https`, streaming both ways, every wait bounded.
//!
//! request → a resting connection or resolve (DNS lane) → connect → TLS → hyper → answer with a streaming body.
//! HTTP/1.1. Redirects are answers like others, credentials in addresses are not sent, no proxy is asked. The roots of
//! the system (or of `SSL_CERT_FILE`) are read when first needed and forgotten with the last connection at rest.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::Scheme;
use http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

pub use super::body_client::Download;
use super::body_client::{Pulse, Upload};
use super::pool_client::{Line, Pool, REST_TIME};
use crate::base::blocking::{Blocking, Lane};
use crate::base::task;

/// One address of several may take this long to answer.
pub const ADDRESS_TIME: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
pub const ADDRESSES: usize = 8;
/// What hyper buffers of a head or of a body that is sent.
const BUFFER: usize = 64 * 1024;

pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no answer, or none to the end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is no http or https address")]
    Address(String),
    #[error("{host} can't be resolved")]
    Resolve { host: String, source: io::Error },
    #[error("no connection to {host}")]
    Connect { host: String, source: io::Error },
    #[error("no TLS with {host}")]
    Handshake { host: String, source: io::Error },
    #[error("TLS can't be used")]
    Tls(#[source] rustls::Error),
    #[error("HTTP failed")]
    Http(#[source] hyper::Error),
    #[error("{act} took longer than {} s", .limit.as_secs())]
    Time { act: &'static str, limit: Duration },
    #[error("the answer is larger than {0} bytes")]
    Large(usize),
}

/// How long a request waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// For name, connection and TLS.
    pub connect: Duration,
    /// For the head of the answer, counted from the last piece of the request that was taken. A request whose sender
    /// has nothing to send at the moment does not count.
    pub answer: Duration,
    /// For the next piece of the answer.
    pub idle: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), answer: Duration::from_secs(30), idle: Duration::from_secs(30) }
    }
}

/// Cheap handle; clones share resting connections and roots. The last one closes them.
#[derive(Clone)]
pub struct Client(Rc<Inner>);

pub(super) struct Inner {
    blocking: Blocking,
    times: Times,
    pub(super) pool: Pool,
    tls: RefCell<Option<Arc<ClientConfig>>>,
    /// Trusted instead of the system's.
    own_roots: Option<RootCertStore>,
    used: Cell<Instant>,
    is_swept: Cell<bool>,
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    is_secure: bool,
    host: String,
    port: u16,
}

/// What came of one try on one connection.
enum Tried {
    Answered(Box<Response<Download>>),
    /// The connection had ended before the request was sent.
    Unsent(Request<Upload>),
    Failed(Error),
}

impl Client {
    /// A client that keeps at most `resting` connections for later requests.
    pub fn new(blocking: Blocking, times: Times, resting: usize) -> Self {
        Self::build(blocking, times, resting, None)
    }

    /// Trusts `roots` and nobody else.
    pub fn trusting(roots: RootCertStore, blocking: Blocking, times: Times) -> Self {
        Self::build(blocking, times, 0, Some(roots))
    }

    fn build(blocking: Blocking, times: Times, resting: usize, own_roots: Option<RootCertStore>) -> Self {
        Self(Rc::new(Inner {
            blocking,
            times,
            pool: Pool::new(resting),
            tls: RefCell::default(),
            own_roots,
            used: Cell::new(Instant::now()),
            is_swept: Cell::default(),
        }))
    }

    /// Sends `request`, whose address is absolute, and returns once the head of the answer has come. `Host` is added;
    /// `Content-Length` or chunks follow from the body. Nothing is repeated once it was sent.
    ///
    /// # Errors
    /// See `Error`. The connection is closed; dropping the future or the answer's body closes it as well.
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<Download>, Error>
    where
        B: http_body::Body<Data = Bytes> + 'static,
        B::Error: Into<Cause>,
    {
        let target = Target::of(request.uri())?;
        let (mut request, pulse) = outgoing(request, &target);
        self.0.clone().use_now();
        while let Some(line) = self.0.pool.take(&target) {
            match self.ask(line, request, &pulse).await {
                Tried::Answered(response) => return Ok(*response),
                Tried::Unsent(back) => request = back,
                Tried::Failed(error) => return Err(error),
            }
        }
        let limit = self.0.times.connect;
        let connected = timeout(limit, self.connect(&target)).await;
        let line = connected.map_err(|_| Error::Time { act: "connecting", limit })??;
        match self.ask(line, request, &pulse).await {
            Tried::Answered(response) => Ok(*response),
            Tried::Unsent(_) => {
                let source = io::ErrorKind::ConnectionAborted.into();
                Err(Error::Connect { host: target.host, source })
            }
            Tried::Failed(error) => Err(error),
        }
    }

    async fn ask(&self, mut line: Line, request: Request<Upload>, pulse: &Pulse) -> Tried {
        let limit = self.0.times.answer;
        let Some(asked) = pulse.within(limit, line.sender.try_send_request(request)).await else {
            return Tried::Failed(Error::Time { act: "the answer", limit });
        };
        match asked {
            Ok(response) => {
                let client = Rc::downgrade(&self.0);
                let response = response.map(|body| Download::new(body, line, client, self.0.times.idle));
                Tried::Answered(Box::new(response))
            }
            Err(mut error) => match error.take_message() {
                Some(request) => Tried::Unsent(request),
                None => Tried::Failed(Error::Http(error.into_error())),
            },
        }
    }

    async fn connect(&self, target: &Target) -> Result<Line, Error> {
        let host = || target.host.clone();
        let addresses = self.resolve(target).await.map_err(|source| Error::Resolve { host: host(), source })?;
        let stream = connect_any(&addresses).await.map_err(|source| Error::Connect { host: host(), source })?;
        if !target.is_secure {
            return open(stream, target).await;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|_| Error::Address(target.host.clone()))?;
        let config = self.tls().await?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        open(connected.map_err(|source| Error::Handshake { host: host(), source })?, target).await
    }

    async fn resolve(&self, target: &Target) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = (target.host.clone(), target.port);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![(ip, port).into()]);
        }
        let look_up = move || (host.as_str(), port).to_socket_addrs().map(|found| found.take(ADDRESSES).collect());
        self.0.blocking.run(Lane::Dns, look_up).await
    }

    async fn tls(&self) -> Result<Arc<ClientConfig>, Error> {
        let known = self.0.tls.borrow().clone();
        if let Some(config) = known {
            return Ok(config);
        }
        let roots = match &self.0.own_roots {
            Some(roots) => roots.clone(),
            None => self.0.blocking.run(Lane::General, system_roots).await,
        };
        let config = Arc::new(client_config(roots).map_err(Error::Tls)?);
        self.0.tls.replace(Some(config.clone()));
        Ok(config)
    }
}

impl Inner {
    /// Whoever uses the client keeps what it holds for `REST_TIME`.
    fn use_now(self: Rc<Self>) {
        self.used.set(Instant::now());
        if !self.is_swept.replace(true) {
            task::spawn(sweep(Rc::downgrade(&self)));
        }
    }

    /// Whether something is held still.
    fn forget_old(&self, now: Instant) -> bool {
        self.pool.close_old(now);
        let is_over = self.pool.is_empty() && now.saturating_duration_since(self.used.get()) >= REST_TIME;
        if is_over {
            self.tls.replace(None);
        }
        !is_over
    }
}

/// Ends when nothing is left to forget, or nobody to forget it for.
async fn sweep(client: Weak<Inner>) {
    loop {
        tokio::time::sleep(REST_TIME).await;
        let Some(client) = client.upgrade() else { return };
        if !client.forget_old(Instant::now()) {
            client.is_swept.set(false);
            return;
        }
    }
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, Error> {
        let wrong = || Error::Address(uri.to_string());
        let is_secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(wrong()),
        };
        let host = uri.host().map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned());
        let host = host.filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        Ok(Self { is_secure, host, port: uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 }) })
    }

    fn host_header(&self) -> HeaderValue {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let text = match (self.is_secure, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        };
        HeaderValue::from_str(&text).expect("the host of a Uri is header text")
    }
}

/// The request as it is written, and what tells how it moves.
fn outgoing<B>(request: Request<B>, target: &Target) -> (Request<Upload>, Rc<Pulse>)
where
    B: http_body::Body<Data = Bytes> + 'static,
    B::Error: Into<Cause>,
{
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    parts.uri = path.into();
    parts.headers.entry(header::HOST).or_insert_with(|| target.host_header());
    let pulse = Rc::new(Pulse::new());
    (Request::from_parts(parts, Upload::new(body, pulse.clone())), pulse)
}

async fn open<S>(stream: S, target: &Target) -> Result<Line, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut http = hyper::client::conn::http1::Builder::new();
    let (sender, connection) = http.max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await.map_err(Error::Http)?;
    let task = task::spawn(async move {
        // Its error reaches the request as well.
        let _ = connection.await;
    });
    Ok(Line::new(sender, task, target.clone()))
}

async fn connect_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match timeout_at(Instant::now() + ADDRESS_TIME, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
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

fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests;
