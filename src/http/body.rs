//! Request bodies: counted, timed, read whole only within named bounds.
//!
//! hyper → `Body` (a stall becomes an error) → a handler that streams, or `read` for JSON. A body that nobody reads
//! costs nothing here; the connection is then closed after the answer.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};

use super::Error;

/// An upload that delivers nothing for this long is given up.
pub const BODY_STALL: Duration = Duration::from_secs(60);
/// A body that is read whole has to be there after this time.
pub const WHOLE_BODY: Duration = Duration::from_secs(60);
/// Bodies above this count as large.
pub const LARGE_BODY: usize = 64 * 1024;
/// Large bodies held in memory at once; further ones wait within `WHOLE_BODY`.
pub const LARGE_BODIES: usize = 4;

/// A request body. Errors: `TimedOut` after a stall, otherwise the connection broke and the body is incomplete.
pub struct Body {
    source: Source,
    stall: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    received: Rc<Received>,
    large: Rc<Semaphore>,
}

enum Source {
    Wire(Incoming),
    Whole(Full<Bytes>),
}

/// What a connection knows about the body of its current request.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) bytes: Cell<u64>,
    pub(crate) complete: Cell<bool>,
}

impl Received {
    /// A request whose body has nothing left, or something.
    pub(crate) fn begin(&self, complete: bool) {
        self.bytes.set(0);
        self.complete.set(complete);
    }
}

impl Body {
    /// The body of a request from the wire. `large` is shared by all connections.
    pub(crate) fn new(incoming: Incoming, received: Rc<Received>, large: Rc<Semaphore>) -> Self {
        Self { source: Source::Wire(incoming), stall: None, waiting: false, received, large }
    }

    /// A body that is complete already (tests, internal requests).
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self {
            source: Source::Whole(Full::new(bytes.into())),
            stall: None,
            waiting: false,
            received: Rc::default(),
            large: Rc::new(Semaphore::new(LARGE_BODIES)),
        }
    }

    /// Reads all of it, at most `limit` bytes.
    ///
    /// # Errors
    /// 413 beyond `limit`, 408 when it takes longer than `WHOLE_BODY`, 400 when the peer goes away.
    pub(crate) async fn read(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let announced = self.size_hint().lower();
        if announced > limit as u64 {
            return Err(too_large(limit));
        }
        match tokio::time::timeout(WHOLE_BODY, self.collect_within(limit)).await {
            Ok(result) => result,
            Err(_) => Err(timed_out()),
        }
    }

    async fn collect_within(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let large = self.large.clone();
        let mut permit = None;
        let mut bytes = Vec::new();
        while let Some(frame) = self.frame().await {
            let frame = frame.map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => timed_out(),
                _ => Error::new(StatusCode::BAD_REQUEST, "Bad Request", [format!("the body is incomplete: {error}")]),
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > limit {
                return Err(too_large(limit));
            }
            if permit.is_none() && bytes.len() + data.len() > LARGE_BODY {
                permit = Some(large.acquire().await.expect("never closed"));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let polled = match &mut this.source {
            Source::Wire(body) => Pin::new(body).poll_frame(cx).map_err(io::Error::other),
            Source::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        };
        match polled {
            Poll::Ready(frame) => {
                this.waiting = false;
                match &frame {
                    Some(Ok(frame)) => {
                        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                        this.received.bytes.set(this.received.bytes.get() + bytes);
                        this.received.complete.set(this.is_end_stream());
                    }
                    Some(Err(_)) => {}
                    None => this.received.complete.set(true),
                }
                Poll::Ready(frame)
            }
            Poll::Pending => this.poll_stall(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Wire(body) => body.is_end_stream(),
            Source::Whole(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Wire(body) => body.size_hint(),
            Source::Whole(body) => body.size_hint(),
        }
    }
}

impl Body {
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(BODY_STALL)));
        if !self.waiting {
            self.waiting = true;
            stall.as_mut().reset(Instant::now() + BODY_STALL);
        }
        match stall.as_mut().poll(cx) {
            Poll::Ready(()) => {
                let text = format!("no data for {} s", BODY_STALL.as_secs());
                Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, text))))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

fn too_large(limit: usize) -> Error {
    let text = format!("the body is larger than {limit} bytes");
    Error::new(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large", [text])
}

fn timed_out() -> Error {
    Error::new(StatusCode::REQUEST_TIMEOUT, "Request Timeout", ["the body did not arrive in time".to_owned()])
}
