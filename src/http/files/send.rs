//! A file as an answer: its headers, the part that was asked for, and bodies that stream.
//!
//! `Last-Modified` has whole seconds and the wall clock jumps, so 304 is answered for exactly the shown date only,
//! never for a file that may change again within that second, and never for playlists.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures_util::stream;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::StreamBody;

use super::playlist::is_playlist;
use crate::base::clock::{Now, unix_seconds};
use crate::http::range::{self, Part};
use crate::http::response::{self, Answer, Body, Response};
use crate::http::{Error, Request};
use crate::memfs;
use crate::storage::DiskReader;

/// What a client asked of a file.
pub(super) struct Asked<'a> {
    pub(super) now: Instant,
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    /// Whether `headers` have what makes less than the whole file of the answer.
    pub(super) is_conditional: bool,
    /// Decoded, as asked.
    pub(super) path: &'a str,
}

impl<'a> Asked<'a> {
    pub(super) fn new(req: &'a Request, path: &'a str) -> Self {
        let is_conditional = req.headers.keys().any(range::is_condition);
        Self { now: Instant::now(), method: &req.method, headers: &req.headers, is_conditional, path }
    }

    pub(super) fn is_head(&self) -> bool {
        *self.method == Method::HEAD
    }

    /// Whether the whole file is wanted, whatever it is like.
    pub(super) fn is_plain(&self) -> bool {
        !self.is_head() && !self.is_conditional
    }
}

/// What is known of a file before it is sent.
pub(super) struct Facts {
    pub(super) size: u64,
    pub(super) modified: SystemTime,
    /// `modified` as clients see it, if it can be shown.
    pub(super) last_modified: Option<HeaderValue>,
    /// `modified` names this version and no other.
    pub(super) is_dated: bool,
    pub(super) content_type: HeaderValue,
}

impl Facts {
    /// A file last changed at `modified`, unless that may still be going on.
    pub(super) fn is_settled(modified: SystemTime) -> bool {
        unix_seconds(modified) < Now::read().unix()
    }

    /// What part of the file `asked` wants; `None` means 304.
    pub(super) fn part(&self, asked: &Asked<'_>) -> Option<Part> {
        if asked.is_head() || !asked.is_conditional {
            return Some(Part::Whole);
        }
        if self.is_dated && !is_playlist(asked.path) && is_same_date(asked.headers, self.modified) {
            return None;
        }
        if !self.is_dated && asked.headers.contains_key(header::IF_RANGE) {
            return Some(Part::Whole);
        }
        Some(range::part(asked.headers, self.size, self.modified))
    }
}

/// Answers with what `asked` wants of a file; `body` gives the bytes of a range.
pub(super) fn answer(asked: &Asked<'_>, facts: Facts, body: impl FnOnce(Range<u64>) -> Body) -> Answer {
    let part = facts.part(asked);
    let last_modified = facts.last_modified.map(|date| (header::LAST_MODIFIED, date));
    let Some(part) = part else {
        let mut response = response::empty(StatusCode::NOT_MODIFIED);
        response.headers_mut().extend(last_modified);
        return Ok(response);
    };
    let content_range = range::content_range(&part, facts.size).map(|value| (header::CONTENT_RANGE, value));
    let (status, range) = match part {
        Part::Whole => (StatusCode::OK, 0..facts.size),
        Part::Bytes(range) => (StatusCode::PARTIAL_CONTENT, range),
        Part::Unsatisfiable => {
            let mut error = Error::status(StatusCode::RANGE_NOT_SATISFIABLE);
            error.headers.extend(content_range);
            return Err(error);
        }
    };
    let mut response = if asked.is_head() {
        Response::new(response::full(Bytes::new()))
    } else {
        let length = range.end - range.start;
        let mut response = Response::new(body(range));
        // hyper announces what the body itself knows.
        if response.body().size_hint().exact() != Some(length) {
            response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        response
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, facts.content_type);
    if let Some((name, date)) = last_modified {
        headers.insert(name, date);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    headers.extend(content_range);
    Ok(response)
}

/// `If-Modified-Since` with exactly this date; `If-None-Match` takes precedence and never matches, we have no tags.
fn is_same_date(headers: &HeaderMap, modified: SystemTime) -> bool {
    let since = headers.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    let since = since.and_then(|text| httpdate::parse_http_date(text).ok());
    !headers.contains_key(header::IF_NONE_MATCH)
        && since.is_some_and(|since| unix_seconds(since) == unix_seconds(modified))
}

/// The bytes of a file in memory, without copying. Dropping it releases the version.
pub(super) struct Memory {
    reader: memfs::Reader,
    /// When the reader was opened, until the first piece is taken: that is the same moment.
    opened: Option<Instant>,
}

impl Memory {
    pub(super) fn new(reader: memfs::Reader, opened: Instant) -> Self {
        Self { reader, opened: Some(opened) }
    }
}

impl http_body::Body for Memory {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let now = self.opened.take().unwrap_or_else(Instant::now);
        let next = self.reader.next(now);
        Poll::Ready(next.map(|piece| piece.map(Frame::data).map_err(io::Error::other)))
    }

    fn is_end_stream(&self) -> bool {
        self.reader.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.reader.remaining())
    }
}

/// The bytes of a file on disk, read as the client takes them.
pub(super) fn disk(reader: DiskReader) -> Body {
    let pieces = stream::unfold(reader, |mut reader| async {
        let piece = reader.next().await?;
        Some((piece.map(Frame::data).map_err(io::Error::other), reader))
    });
    Box::pin(StreamBody::new(pieces))
}
