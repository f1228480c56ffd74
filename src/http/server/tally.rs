//! What a request and its answer count for sessions: the collector `http` and the viewer of an answer that is `Tracked`.
//!
//! Headers count with bodies. Bytes are reported while a long answer goes out, so that its session stays alive, and when
//! the answer has ended by whatever cause. Most clients on the ignore list have no tally at all.

use std::net::IpAddr;
use std::time::Instant;

use crate::base::clock::Now;
use crate::http::hls::{Tracked, head_bytes};
use crate::http::response::Response;
use crate::http::{Context, request};
use crate::session::{Collector, Kind, New};

/// Bytes that are collected before they are reported.
const REPORT: u64 = 256 * 1024;
/// The one session of all requests.
const ID: &str = "HTTP";
const ANY: &str = "any";
/// Status line and the headers that hyper adds: date, length.
const ADDED: usize = "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 1000000\r\n".len();

/// Bytes of one exchange on their way to the sessions.
pub(super) struct Tally {
    /// `None`: the peer is not counted.
    http: Option<Collector>,
    viewer: Option<(Collector, Box<str>)>,
    received: u64,
    /// Not reported yet.
    sent: u64,
}

impl Tally {
    /// Bytes of a request's head; 0 if nobody asks.
    pub(super) fn head(ctx: &Context, peer: IpAddr, parts: &http::request::Parts) -> u64 {
        if !ctx.sessions.collector(Kind::Http).takes(Some(peer)) {
            return 0;
        }
        let line = parts.method.as_str().len() + request::target(&parts.uri).len() + "  HTTP/1.1\r\n".len();
        line as u64 + head_bytes(&parts.headers)
    }

    /// `None`: neither the peer nor the answer counts. `head`: what `Tally::head` said.
    pub(super) fn new(ctx: &Context, head: u64, response: &mut Response) -> Option<Box<Self>> {
        let tracked = response.extensions_mut().remove::<Tracked>();
        if tracked.is_none() && head == 0 {
            return None;
        }
        let viewer = tracked.map(|Tracked(id)| (ctx.sessions.collector(Kind::Hls), id));
        let http = (head > 0).then(|| ctx.sessions.collector(Kind::Http));
        let sent = ADDED as u64 + head_bytes(response.headers());
        Some(Box::new(Self { http, viewer, received: head, sent }))
    }

    /// Bytes of the answer's body are on their way.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
        if self.sent >= REPORT {
            self.report(Instant::now());
        }
    }

    /// The exchange has ended; `body` bytes came with the request.
    pub(super) fn finish(&mut self, body: u64) {
        self.received += body;
        self.report(Instant::now());
    }

    fn report(&mut self, now: Instant) {
        let (received, sent) = (std::mem::take(&mut self.received), std::mem::take(&mut self.sent));
        if let Some((viewers, id)) = &self.viewer {
            viewers.egress(now, id, sent);
        }
        let Some(http) = &self.http else { return };
        if !http.activate(ID) {
            http.register(Now::read(), ID, New { location: ANY, peer: ANY, ..New::default() });
            http.activate(ID);
        }
        http.ingress(now, ID, received);
        http.egress(now, ID, sent);
    }
}
