//! The bodies of the HTTP client: what is sent reports how it moves, what comes has a time-out and an end that gives
//! the connection back.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, timeout_at};

use super::https_client::{Cause, Error, Inner};
use super::pool_client::Line;

/// How a request moves.
pub(super) struct Pulse {
    /// The last piece was taken.
    moved: Cell<Instant>,
    /// The sender has nothing to send at the moment.
    is_starving: Cell<bool>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { moved: Cell::new(Instant::now()), is_starving: Cell::new(false) }
    }

    /// What `work` gives; `None` when nothing has moved for `limit`.
    pub(super) async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        self.moved.set(Instant::now());
        loop {
            let deadline = self.moved.get() + limit;
            match timeout_at(deadline, work.as_mut()).await {
                Ok(result) => return Some(result),
                Err(_) if self.is_starving.get() => self.moved.set(Instant::now()),
                Err(_) if self.moved.get() + limit > deadline => {}
                Err(_) => return None,
            }
        }
    }
}

/// The body of a request.
pub(super) struct Upload {
    body: Pin<Box<dyn Body<Data = Bytes, Error = Cause>>>,
    pulse: Rc<Pulse>,
}

impl Upload {
    pub(super) fn new<B>(body: B, pulse: Rc<Pulse>) -> Self
    where
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<Cause>,
    {
        Self { body: Box::pin(body.map_err(Into::into)), pulse }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Cause;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        let polled = self.body.as_mut().poll_frame(cx);
        self.pulse.is_starving.set(polled.is_pending());
        if polled.is_ready() {
            self.pulse.moved.set(Instant::now());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer. Read to its end it gives the connection back, dropped before it closes the connection.
pub struct Download {
    incoming: Incoming,
    line: Option<Line>,
    client: Weak<Inner>,
    idle: Duration,
    /// Runs while the next piece is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Download {
    pub(super) fn new(incoming: Incoming, line: Line, client: Weak<Inner>, idle: Duration) -> Self {
        let mut body = Self { incoming, line: Some(line), client, idle, timer: None };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    /// The whole body.
    ///
    /// # Errors
    /// It is larger than `limit` bytes, stalls or breaks off.
    pub async fn read(mut self, limit: usize) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
            let Ok(data) = frame?.into_data() else { continue };
            if data.len() > limit - whole.len() {
                return Err(Error::Large(limit));
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }

    fn give_back(&mut self) {
        let line = self.line.take();
        if let (Some(line), Some(client)) = (line, self.client.upgrade()) {
            client.pool.put(line);
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle))).as_mut().poll(cx)
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let body = &mut *self;
        match Pin::new(&mut body.incoming).poll_frame(cx) {
            Poll::Pending if body.poll_timer(cx).is_ready() => {
                body.line = None;
                Poll::Ready(Some(Err(Error::Time { act: "a piece of the answer", limit: body.idle })))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(piece) => {
                body.timer = None;
                match &piece {
                    Some(Err(_)) => body.line = None,
                    None => body.give_back(),
                    Some(Ok(_)) if body.incoming.is_end_stream() => body.give_back(),
                    Some(Ok(_)) => {}
                }
                Poll::Ready(piece.map(|frame| frame.map_err(Error::Http)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.line.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
