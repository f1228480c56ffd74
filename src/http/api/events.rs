//! `GET /api/v3/events`: what happens, as Server-Sent Events (WHATWG HTML, "Server-sent events").
//!
//! query → `Filter`, `Last-Event-ID` → cursor into the ring of `events` → chunks as fast as the client takes them. A
//! client that falls behind costs nothing here but its cursor and is told by a `gap` event what it missed. A quiet stream
//! carries a comment every `HEARTBEAT`, which also moves the client's last id past what it filtered out. It ends with
//! an `end` event when the token expires, the rules of access change or the daemon stops.

mod query;
mod wire;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::{Instant, sleep_until};

use crate::base::clock::Now;
use crate::events::{Farewell, Full, Kind, Listener, Since, Step};
use crate::http::{Answer, Context, Error, Request, Response};

/// Between two signs of life of a stream without events. The second half of one follows after `ECHO`.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A client that has vanished is only noticed when it answers to a second write.
const ECHO: Duration = Duration::from_secs(1);
/// Bytes of events that are handed on at once.
const CHUNK: usize = 16 * 1024;
/// How long a client waits before it comes back.
const RETRY: Duration = Duration::from_secs(2);

/// Answers with the stream.
pub(crate) fn stream(ctx: &Context, req: &Request) -> Answer {
    let filter = query::filter(&req.query)?;
    let since = ctx.events.since(last_id(req));
    let listener = ctx.events.listen(filter, &since).map_err(|full| refused(&full))?;
    let left = ctx.auth.token_left(Now::read(), req);
    let stream = Stream {
        greeting: Some(greeting(&listener, &since)),
        listener,
        quiet_since: Instant::now(),
        half_beaten: false,
        expires: left.map(|left| Instant::now() + left),
        over: false,
    };
    let frames = stream::unfold(stream, |mut stream| async move {
        let bytes = stream.next().await?;
        Some((Ok::<_, io::Error>(Frame::data(bytes)), stream))
    });
    let mut response = Response::new(Box::pin(StreamBody::new(frames)));
    headers(response.headers_mut());
    Ok(response)
}

/// The header, or the query for those who cannot set one.
fn last_id(req: &Request) -> Option<&str> {
    req.header(HeaderName::from_static("last-event-id"))
        .or_else(|| req.query.value("last_event_id"))
        .or_else(|| req.query.value("lastEventId"))
        .filter(|id| !id.is_empty())
}

fn headers(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that collect answers before they pass them on are told not to.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}

fn refused(full: &Full) -> Error {
    let mut error = Error::new(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", [full.to_string()]);
    error.headers.push((header::RETRY_AFTER, HeaderValue::from(RETRY.as_secs())));
    error
}

/// The first event, and what a client has to know whose last event is not of this run.
fn greeting(listener: &Listener, since: &Since) -> Bytes {
    let mut out = wire::hello(&listener.id(), RETRY, HEARTBEAT);
    if *since == Since::Elsewhere {
        let kinds = Kind::ALL.into_iter().filter(|kind| listener.filter().wants(*kind));
        out.extend_from_slice(&wire::gap(&listener.id(), "restart", None, kinds));
    }
    out.into()
}

/// One client's stream.
struct Stream {
    listener: Listener,
    greeting: Option<Bytes>,
    /// When the client last got something.
    quiet_since: Instant,
    /// The first half of a heartbeat is out.
    half_beaten: bool,
    expires: Option<Instant>,
    over: bool,
}

impl Stream {
    /// The next piece; waits for it. `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        if let Some(greeting) = self.greeting.take() {
            return Some(greeting);
        }
        loop {
            if let Some(why) = self.farewell() {
                self.over = true;
                return Some(wire::end(&self.listener.id(), why).into());
            }
            let chunk = self.chunk();
            if !chunk.is_empty() {
                self.quiet_since = Instant::now();
                self.half_beaten = false;
                return Some(chunk);
            }
            let beat = self.quiet_since + HEARTBEAT + if self.half_beaten { ECHO } else { Duration::ZERO };
            let wake = self.expires.map_or(beat, |expires| expires.min(beat));
            tokio::select! {
                () = self.listener.changed() => {}
                () = sleep_until(wake) => if wake == beat { return Some(self.beat()) },
            }
        }
    }

    fn farewell(&self) -> Option<&'static str> {
        if self.expires.is_some_and(|expires| expires <= Instant::now()) {
            return Some("token_expired");
        }
        match self.listener.farewell()? {
            Farewell::Reload => Some("reload"),
            Farewell::Shutdown => Some("shutdown"),
        }
    }

    /// What has happened since, up to about `CHUNK` bytes.
    fn chunk(&mut self) -> Bytes {
        let mut out = Vec::new();
        while out.len() < CHUNK {
            // A gap does not move the client on: told again if the connection breaks now.
            let id = self.listener.id();
            match self.listener.step() {
                Some(Step::Event(event)) => {
                    let run = self.listener.run();
                    out.extend_from_slice(event.rendered.get_or_init(|| wire::event(run, &event).into()));
                }
                Some(Step::Gap { lane, from, to }) => {
                    let kinds = Kind::ALL.into_iter().filter(|kind| kind.lane() == lane);
                    let kinds = kinds.filter(|kind| self.listener.filter().wants(*kind));
                    out.extend_from_slice(&wire::gap(&id, "evicted", Some((from, to)), kinds));
                }
                None => break,
            }
        }
        out.into()
    }

    /// Half of a sign of life: a comment first, then an id without an event.
    fn beat(&mut self) -> Bytes {
        self.half_beaten = !self.half_beaten;
        if self.half_beaten {
            return Bytes::from_static(b":\n\n");
        }
        self.quiet_since = Instant::now();
        wire::id_only(&self.listener.id()).into()
    }
}
