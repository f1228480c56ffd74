//! Compresses answers on the fly (`contract/http-api.md` §2.8): piece by piece, few at a time.
//!
//! When too many answers are being compressed already the next one goes out as it is, which HTTP allows.

use std::cell::Cell;
use std::io::{self, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use http_body::{Body as _, Frame};

use super::Asked;
use crate::http::request::condition;
use crate::http::response::{Body, Response};
use crate::http::route::Gzip;

/// Answers compressed at once; each costs some 300 KiB.
const COMPRESSIONS: usize = 16;
/// Smaller bodies are not compressed.
const MIN_BODY: u64 = 1000;
/// Bytes compressed before others get their turn, about a millisecond on a small board.
const PIECE: usize = 16 * 1024;
/// Beginnings of content types that are worth it on file routes.
const TYPES: [&str; 7] = [
    "application/vnd.apple.mpegurl",
    "application/x-mpegurl",
    "application/json",
    "text/html",
    "text/javascript",
    "text/plain",
    "image/svg+xml",
];

/// Counts the compressions under way.
#[derive(Clone, Default)]
pub(crate) struct Compressions(Rc<Cell<usize>>);

struct Turn(Compressions);

impl Compressions {
    fn begin(&self) -> Option<Turn> {
        let running = self.0.get();
        (running < COMPRESSIONS).then(|| {
            self.0.set(running + 1);
            Turn(self.clone())
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let running = &self.0.0;
        running.set(running.get() - 1);
    }
}

/// Whether answers of this kind are compressed for clients that want it.
pub(crate) fn concerns(gzip: Gzip, response: &Response) -> bool {
    match gzip {
        Gzip::Never => false,
        Gzip::Always => true,
        Gzip::ByType => {
            // Not looked up: a hash costs more than passing the few headers of a file.
            let mut headers = response.headers().iter();
            headers.find(|(name, _)| **name == header::CONTENT_TYPE).is_some_and(|(_, value)| is_worthy(value))
        }
    }
}

/// Whether files of this type are worth it.
pub(super) fn is_worthy(content_type: &HeaderValue) -> bool {
    TYPES.iter().any(|worthy| content_type.as_bytes().starts_with(worthy.as_bytes()))
}

/// Compresses the body if the client wants it and it is worth it.
pub(crate) fn apply(asked: &Asked<'_>, response: Response, compressions: &Compressions) -> Response {
    if !asked.accepts_gzip || asked.method == Method::HEAD || !compressible(&response) {
        return response;
    }
    let Some(turn) = compressions.begin() else { return response };
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::ACCEPT_RANGES);
    condition::compressed(&mut parts.headers);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let body = Compressed { body, piece: Bytes::new(), encoder: Some(encoder), _turn: turn };
    Response::from_parts(parts, Box::pin(body))
}

fn compressible(response: &Response) -> bool {
    let size = response.body().size_hint();
    let announced = response.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    let size = announced.or(size.exact()).unwrap_or(MIN_BODY);
    let whole =
        !matches!(response.status(), StatusCode::PARTIAL_CONTENT | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    whole && size >= MIN_BODY && !response.headers().contains_key(header::CONTENT_ENCODING)
}

struct Compressed {
    body: Body,
    /// Received, not yet compressed.
    piece: Bytes,
    /// `None` once the trailer is out.
    encoder: Option<GzEncoder<Vec<u8>>>,
    _turn: Turn,
}

impl http_body::Body for Compressed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            let Some(encoder) = &mut self.encoder else { return Poll::Ready(None) };
            let out = std::mem::take(encoder.get_mut());
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
            if self.piece.has_remaining() {
                return self.compress_piece(cx);
            }
            match std::task::ready!(self.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.piece = data;
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    let encoder = self.encoder.take().expect("checked above");
                    let rest = encoder.finish()?;
                    return Poll::Ready(Some(Ok(Frame::data(rest.into()))));
                }
            }
        }
    }
}

impl Compressed {
    /// Compresses one piece; if nothing comes out of it, others have their turn first.
    fn compress_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = self.piece.split_to(self.piece.len().min(PIECE));
        let Some(encoder) = &mut self.encoder else { return Poll::Ready(None) };
        encoder.write_all(&piece)?;
        let out = std::mem::take(encoder.get_mut());
        if out.is_empty() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(out.into()))))
    }
}
