//! Viewers of playlists and segments on the file mounts, and their publishers (`contract/http-api.md` §10).
//!
//! GET → `Viewing` (a client that is counted, a file that counts) → limits, registration → the file → playlist rewritten,
//! answer marked `Tracked`, so that the server counts its bytes. PUT → `Publishing` → what the upload brought is counted
//! once it is stored. Everybody else's requests pass untouched. `/api/v3/fs` is none of its business.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::error::session::exceeded;
use super::response::{self, Answer, Response};
use super::route::percent_decode;
use super::{Context, Error, Request};
use crate::base::clock::Now;
use crate::base::id;
use crate::hls::{self, Kind, PLAYLIST_BYTES, Prepared, Version};
use crate::session::{self, Collector, New};
use crate::sys;

/// Marks an answer whose bytes belong to the viewer with this session.
#[derive(Clone)]
pub(crate) struct Tracked(pub(crate) Box<str>);

/// A GET or HEAD that may belong to a viewing.
pub(crate) struct Viewing<'a> {
    viewers: Collector,
    kind: Kind,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    /// As asked; empty if there is none.
    session: &'a str,
}

/// How an entrance ends on a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Newline,
    Open,
}

impl<'a> Viewing<'a> {
    /// `None`: the client is not counted, or files like `path` are not.
    pub(crate) fn of(
        ctx: &Context,
        client: Option<std::net::IpAddr>,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        path: &str,
    ) -> Option<Self> {
        let kind = Kind::of(path);
        if kind == Kind::Other {
            return None;
        }
        let viewers = ctx.sessions.collector(session::Kind::Hls);
        if !viewers.takes(client) {
            return None;
        }
        let session = hls::session(uri.query().unwrap_or(""));
        Some(Self { viewers, kind, uri, headers, session })
    }

    pub(crate) fn is_playlist(&self) -> bool {
        self.kind == Kind::Playlist
    }

    /// Lets a viewer in who asks for a playlist: one that is known, or a new one within the limits.
    ///
    /// # Errors
    /// 509 beyond a limit, 403 for a session that can't be one.
    pub(crate) fn enter(&self, ctx: &Context, now: Instant, client: Option<std::net::IpAddr>) -> Result<(), Error> {
        let Self { viewers, session, .. } = self;
        if !session.is_empty() && viewers.is_known(session) {
            return Ok(());
        }
        let location = location(self.uri);
        let expected = 2.0 * ctx.sessions.collector(session::Kind::HlsIngress).top_ingress(now, &location);
        viewers.admit(now, expected).map_err(exceeded)?;
        if session.is_empty() {
            return Ok(());
        }
        if !hls::is_id(session) {
            return Err(Error::status(StatusCode::FORBIDDEN));
        }
        let text = |name| self.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or("");
        let new = New {
            reference: hls::reference(&location),
            location: &location,
            peer: hls::peer(text(header::REFERER)),
            extra: &hls::extra(client, text(header::USER_AGENT)),
            expected_bitrate: expected,
        };
        viewers.register(Now::read(), session, new);
        Ok(())
    }

    /// The version of a playlist, prepared before or from what `read` gives. `None`: it has to go out as it is.
    pub(crate) fn prepare(
        &self,
        ctx: &Context,
        version: &Version,
        read: impl FnOnce() -> Option<Bytes>,
    ) -> Option<Rc<Prepared>> {
        ctx.hls.prepare(self.uri.path(), version, || {
            let content = read()?;
            Prepared::new(std::str::from_utf8(&content).ok()?, &location(self.uri))
        })
    }

    /// What this viewer gets of a playlist.
    pub(crate) fn render(&self, prepared: &Prepared, ending: Ending) -> Bytes {
        if !self.session.is_empty() || prepared.is_master() {
            return prepared.render(self.session, fresh).into();
        }
        let location = location(self.uri);
        let name = location.rsplit('/').next().unwrap_or("");
        let mut text = hls::entrance(name, self.uri.query().unwrap_or(""), &fresh());
        if ending == Ending::Newline {
            text.push('\n');
        }
        text.into()
    }

    /// Marks an answer of a known viewer. A segment makes the viewer count.
    pub(crate) fn track(&self, mut response: Response) -> Response {
        let is_known = match self.kind {
            Kind::Playlist => !self.session.is_empty(),
            _ => !self.session.is_empty() && self.viewers.activate(self.session),
        };
        if is_known && response.status().is_success() {
            response.extensions_mut().insert(Tracked(self.session.into()));
        }
        response
    }

    /// Turns the answer with the whole playlist into that for this viewer.
    pub(crate) async fn rewrite(&self, ctx: &Context, response: Response, ending: Ending) -> Answer {
        if response.status() != StatusCode::OK
            || response.body().size_hint().upper().is_none_or(|size| size > PLAYLIST_BYTES)
        {
            return Ok(self.track(response));
        }
        let (mut parts, body) = response.into_parts();
        let content = body.collect().await.map_err(|error| Error::internal(&error))?.to_bytes();
        let version = Version::Content(content.clone());
        let prepared = self.prepare(ctx, &version, || Some(content.clone()));
        let text = prepared.map_or(content, |prepared| self.render(&prepared, ending));
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
        Ok(self.track(Response::from_parts(parts, response::full(text))))
    }
}

/// A PUT or POST that may belong to a publishing: what of it counts.
pub(crate) struct Publishing {
    publishers: Collector,
    kind: Kind,
    location: String,
    user_agent: String,
    /// Bytes, with the request's headers.
    received: u64,
    /// Of a playlist; `None` when it is too long.
    content: Option<Vec<u8>>,
}

impl Publishing {
    /// `None`: it is no upload of a playlist or segment.
    pub(crate) fn of(ctx: &Context, req: &Request, path: &str) -> Option<Self> {
        let kind = Kind::of(path);
        let publishers = ctx.sessions.collector(session::Kind::HlsIngress);
        if kind == Kind::Other || !matches!(req.method, Method::PUT | Method::POST) || !publishers.is_enabled() {
            return None;
        }
        Some(Self {
            publishers,
            kind,
            location: location(&req.uri),
            user_agent: req.header(header::USER_AGENT).unwrap_or("").to_owned(),
            received: head_bytes(&req.headers) + req.uri.path().len() as u64,
            content: (kind == Kind::Playlist).then(Vec::new),
        })
    }

    /// Takes note of a piece of the body.
    pub(crate) fn piece(&mut self, piece: &[u8]) {
        self.received += piece.len() as u64;
        if self.received > PLAYLIST_BYTES {
            self.content = None;
        }
        if let Some(content) = &mut self.content {
            content.extend_from_slice(piece);
        }
    }

    /// The upload has been stored.
    pub(crate) fn done(self, ctx: &Context, now: Now) {
        let Self { publishers, kind, location, user_agent, received, content } = self;
        if kind != Kind::Playlist {
            return ctx.hls.segment(&location, received);
        }
        let new =
            New { reference: hls::reference(&location), location: &location, extra: &user_agent, ..New::default() };
        publishers.register(now, &location, new);
        publishers.activate(&location);
        let claimed = content.map_or(0, |content| ctx.hls.claim(&location, &content));
        publishers.ingress(now.mono, &location, received + claimed);
    }
}

/// Bytes of headers on the wire, with the empty line behind them.
pub(crate) fn head_bytes(headers: &HeaderMap) -> u64 {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    bytes as u64 + 2
}

/// The decoded path of a request.
fn location(uri: &Uri) -> String {
    percent_decode(uri.path()).unwrap_or_else(|| uri.path().to_owned())
}

fn fresh() -> String {
    id::short_id(sys::entropy())
}
