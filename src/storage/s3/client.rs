//! One bucket on one server: signed requests, repeated with growing delays where that can help.
//!
//! `Ask` → sign with the time as the server sees it → send → answer, refusal or fault. All that is asked here may be
//! asked twice with the same effect. A board whose clock is wrong learns the server's time from its refusal.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::Error;
use super::sign::{self, Canonical, Signer, UNSIGNED};
use super::xml;
use crate::base::backoff::Backoff;
use crate::base::clock::{Now, unix_seconds};
use crate::base::https_client::{self, Download, Times};
use crate::config::S3Storage;

/// How long a server may take: for large files it puts parts together before it answers.
pub(super) const TIMES: Times =
    Times { connect: Duration::from_secs(10), answer: Duration::from_secs(60), idle: Duration::from_secs(30) };
/// Connections that rest for later requests, of all mounts.
pub(super) const RESTING: usize = 4;
/// Tries of one request.
const TRIES: usize = 4;
/// No further try begins after this time.
const RETRY_TIME: Duration = Duration::from_secs(60);
const RETRY_CEILING: Duration = Duration::from_secs(10);
/// Clocks may differ by less than this; servers allow 15 minutes.
const SKEW: i64 = 60;
/// Bytes of a refusal that are read.
const REFUSAL: usize = 16 * 1024;
/// Bytes handed to the connection at once, so that it is seen how a body moves.
const FRAME: usize = 64 * 1024;

const DIGEST: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const STAMP: HeaderName = HeaderName::from_static("x-amz-date");

/// One bucket.
pub(super) struct Client {
    http: https_client::Client,
    signer: Signer,
    scheme: &'static str,
    /// As in the `Host` header.
    host: String,
    bucket: String,
    /// Seconds to add to our clock to get the server's.
    skew: Cell<i64>,
}

/// A request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// `None`: about the bucket.
    pub(super) key: Option<&'a str>,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) headers: HeaderMap,
    pub(super) body: Payload,
}

/// What is sent, as often as it takes.
#[derive(Clone, Default)]
pub(super) struct Payload {
    pub(super) bytes: Bytes,
    /// Hexadecimal SHA-256; `None`: taken when it is sent, for small ones.
    pub(super) sha256: Option<String>,
}

impl<'a> Ask<'a> {
    pub(super) fn new(method: Method, key: &'a str) -> Self {
        Self { key: Some(key), ..Self::bucket(method) }
    }

    pub(super) fn bucket(method: Method) -> Self {
        Self { method, key: None, query: &[], headers: HeaderMap::new(), body: Payload::default() }
    }

    pub(super) fn query(self, query: &'a [(&'a str, &'a str)]) -> Self {
        Self { query, ..self }
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn body(self, body: Payload) -> Self {
        Self { body, ..self }
    }
}

impl Client {
    pub(super) fn new(section: &S3Storage, http: https_client::Client) -> Self {
        let (scheme, port) = if section.use_ssl { ("https", ":443") } else { ("http", ":80") };
        let region = if section.region.is_empty() { "us-east-1" } else { &section.region };
        let host = match section.endpoint.trim_end_matches('/') {
            // The address of all regions knows buckets of one.
            "s3.amazonaws.com" if region != "us-east-1" => format!("s3.{region}.amazonaws.com"),
            host => host.strip_suffix(port).unwrap_or(host).to_owned(),
        };
        let signer = Signer {
            key: section.access_key_id.clone(),
            secret: section.secret_access_key.clone(),
            region: region.to_owned(),
        };
        Self { http, signer, scheme, host, bucket: section.bucket.clone(), skew: Cell::new(0) }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn region(&self) -> &str {
        &self.signer.region
    }

    /// Whether bodies need their digest; TLS protects them otherwise.
    pub(super) fn wants_digest(&self) -> bool {
        self.scheme == "http"
    }

    /// Asks until there is an answer with success, a refusal that stands, or no time.
    ///
    /// # Errors
    /// `Send`, `Refused`, `Endpoint`.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Response<Download>, Error> {
        self.ask_times(ask, TRIES).await
    }

    async fn ask_times(&self, ask: &Ask<'_>, most: usize) -> Result<Response<Download>, Error> {
        let (begun, mut backoff, mut is_corrected) = (Instant::now(), Backoff::default(), false);
        for tries in 1.. {
            let error = match self.ask_once(ask).await {
                Ok(response) => return Ok(response),
                Err(Failed::Skewed(_)) if !is_corrected => {
                    is_corrected = true;
                    continue;
                }
                Err(Failed::Error(error) | Failed::Skewed(error)) => error,
            };
            let [jitter] = crate::sys::entropy();
            let delay = backoff.next(RETRY_CEILING, jitter);
            if !error.may_pass() || tries >= most || begun.elapsed() + delay > RETRY_TIME {
                return Err(error);
            }
            log::debug!(target: "FS", "S3: {}; trying again", crate::base::error::chain(&error));
            tokio::time::sleep(delay).await;
        }
        unreachable!("the loop returns after so many tries")
    }

    /// As `ask`, with the whole answer, at most `limit` bytes.
    ///
    /// # Errors
    /// As `ask`; the answer breaks off or is too large.
    pub(super) async fn read(&self, ask: &Ask<'_>, limit: usize) -> Result<(HeaderMap, Bytes), Error> {
        let (parts, body) = self.ask(ask).await?.into_parts();
        Ok((parts.headers, body.read(limit).await?))
    }

    /// As `read`, with a single try.
    ///
    /// # Errors
    /// As `read`.
    pub(super) async fn read_once(&self, ask: &Ask<'_>, limit: usize) -> Result<(HeaderMap, Bytes), Error> {
        let (parts, body) = self.ask_times(ask, 1).await?.into_parts();
        Ok((parts.headers, body.read(limit).await?))
    }

    async fn ask_once(&self, ask: &Ask<'_>) -> Result<Response<Download>, Failed> {
        let now = Now::read().unix();
        let request = self.request(ask, now.saturating_add(self.skew.get()))?;
        let response = self.http.send(request).await.map_err(Error::from)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let theirs = response.headers().get(header::DATE).and_then(|date| date.to_str().ok());
        let theirs = theirs.and_then(|date| httpdate::parse_http_date(date).ok()).map(unix_seconds);
        let error = refused(response).await;
        if let (Some(theirs), Error::Refused { status: StatusCode::FORBIDDEN, .. }) = (theirs, &error) {
            let skew = theirs.saturating_sub(now);
            if skew.abs_diff(self.skew.get()) > SKEW.unsigned_abs() {
                self.skew.set(skew);
                return Err(Failed::Skewed(error));
            }
        }
        Err(error.into())
    }

    fn request(&self, ask: &Ask<'_>, unix: i64) -> Result<Request<Pieces>, Error> {
        let (path, query) = (sign::path(&self.bucket, ask.key), sign::query(ask.query));
        let stamp = sign::stamp(unix);
        let digest = match &ask.body.sha256 {
            _ if !self.wants_digest() => UNSIGNED.to_owned(),
            Some(sha256) => sha256.clone(),
            None => sign::sha256(&ask.body.bytes),
        };
        let authorization = self.signer.authorization(&Canonical {
            method: ask.method.as_str(),
            path: &path,
            query: &query,
            host: &self.host,
            stamp: &stamp,
            payload: &digest,
        });
        let question = if query.is_empty() { "" } else { "?" };
        let uri = format!("{}://{}{path}{question}{query}", self.scheme, self.host);
        let request = Request::builder()
            .method(ask.method.clone())
            .uri(uri)
            .header(header::HOST, &self.host)
            .header(header::AUTHORIZATION, authorization)
            .header(STAMP, stamp)
            .header(DIGEST, digest);
        let mut request =
            request.body(Pieces(ask.body.bytes.clone())).map_err(|_| Error::Endpoint(self.host.clone()))?;
        request.headers_mut().extend(ask.headers.clone());
        if matches!(ask.method, Method::PUT | Method::POST) {
            // Some servers want it even for nothing.
            request.headers_mut().insert(header::CONTENT_LENGTH, ask.body.bytes.len().into());
        }
        Ok(request)
    }
}

/// What a single try comes to.
enum Failed {
    Error(Error),
    /// The server's clock is known now.
    Skewed(Error),
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

async fn refused(response: Response<Download>) -> Error {
    let status = response.status();
    let text = response.into_body().read(REFUSAL).await.unwrap_or_default();
    let xml::Refusal { code, message } = xml::refusal(&text).unwrap_or_default();
    Error::Refused { status, code, message }
}

/// Bytes in memory as a body of many pieces.
struct Pieces(Bytes);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.0.is_empty() {
            return Poll::Ready(None);
        }
        let len = self.0.len().min(FRAME);
        Poll::Ready(Some(Ok(Frame::data(self.0.split_to(len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
