//! File routes for clients that are counted: playlists are rewritten, segments marked, uploads noted (`http/hls.rs`).
//!
//! Memory answers at once, from a playlist prepared once per version; other mounts serve the file as for everybody and
//! the answer is rewritten.

use std::net::IpAddr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderValue};

use super::send::Asked;
use super::{DATA, Method, dated, memory, mounted, reads};
use crate::base::clock::Now;
use crate::hls::{PLAYLIST_BYTES, Version};
use crate::http::error::storage::missing;
use crate::http::hls::{Ending, Publishing, Viewing};
use crate::http::response::{self, Answer, Response};
use crate::http::{Context, Error, Request};
use crate::memfs::{Memfs, Meta};

/// Reads from memory.
pub(super) fn from_memory(
    ctx: &Context,
    mem: &Memfs,
    asked: &Asked<'_>,
    client: Option<IpAddr>,
    viewing: &Viewing<'_>,
) -> Answer {
    let content_type = ctx.mime.of(asked.path).cloned().unwrap_or(DATA);
    if !viewing.is_playlist() {
        return memory(mem, asked, content_type).map(|response| viewing.track(response));
    }
    viewing.enter(ctx, asked.now, client).map_err(|error| typed(error, &content_type))?;
    let meta = mem.meta(asked.path).ok_or_else(|| missing(asked.path))?;
    let read = || read_whole(mem, asked.now, asked.path);
    let prepared = match meta.size > PLAYLIST_BYTES {
        true => None,
        false => viewing.prepare(ctx, &Version::Number(meta.version), read),
    };
    let Some(prepared) = prepared else {
        return memory(mem, asked, content_type).map(|response| viewing.track(response));
    };
    let text = viewing.render(&prepared, Ending::Open);
    Ok(viewing.track(rewritten(asked, &meta, content_type, text)))
}

/// Reads from another mount.
pub(super) async fn serve(ctx: &Context, req: Request, mount: &str, path: &str) -> Answer {
    let (uri, headers, client) = (req.uri.clone(), req.headers.clone(), req.client);
    let ending = if mount == "disk" { Ending::Newline } else { Ending::Open };
    let Some(viewing) = Viewing::of(ctx, client, &uri, &headers, path) else {
        return mounted(&ctx.storage, &ctx.mime, req, mount, path, None).await;
    };
    if !viewing.is_playlist() {
        return mounted(&ctx.storage, &ctx.mime, req, mount, path, None).await.map(|response| viewing.track(response));
    }
    let entered = viewing.enter(ctx, Instant::now(), client);
    entered.map_err(|error| typed(error, ctx.mime.of(path).unwrap_or(&DATA)))?;
    let mut req = req;
    // Parts of a playlist that is rewritten would be parts of something else.
    req.headers.remove(header::RANGE);
    let is_head = req.method == Method::HEAD;
    let response = mounted(&ctx.storage, &ctx.mime, req, mount, path, None).await?;
    if is_head { Ok(response) } else { viewing.rewrite(ctx, response, ending).await }
}

/// Stores an upload and counts it.
pub(super) async fn write(ctx: &Context, req: Request, mount: &str, path: &str) -> Answer {
    let mut publishing = Publishing::of(ctx, &req, path);
    let answer = mounted(&ctx.storage, &ctx.mime, req, mount, path, publishing.as_mut()).await;
    if answer.is_ok()
        && let Some(publishing) = publishing
    {
        publishing.done(ctx, Now::read());
    }
    answer
}

/// Whether requests of this kind go through here on mounts other than memory.
pub(super) fn concerns(method: &Method, path: &str) -> bool {
    reads(method) && crate::hls::Kind::of(path) != crate::hls::Kind::Other
}

/// A refusal to `HEAD` says what a `GET` would be about; with a body the body's type counts (H01).
fn typed(mut error: Error, content_type: &HeaderValue) -> Error {
    error.headers.push((header::CONTENT_TYPE, content_type.clone()));
    error
}

fn rewritten(asked: &Asked<'_>, meta: &Meta, content_type: HeaderValue, text: Bytes) -> Response {
    let length = text.len();
    let mut response = Response::new(response::full(if asked.is_head() { Bytes::new() } else { text }));
    let headers = response.headers_mut();
    if asked.is_head() {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let date = dated(meta, &content_type);
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    if let Some(date) = date {
        headers.insert(header::LAST_MODIFIED, date);
    }
    response
}

fn read_whole(mem: &Memfs, now: Instant, path: &str) -> Option<Bytes> {
    let mut reader = mem.open(now, path)?;
    let mut content = BytesMut::new();
    while let Some(piece) = reader.next(now) {
        content.extend_from_slice(&piece.ok()?);
    }
    Some(content.freeze())
}
