//! File routes: `/` (disk), `/memfs`, S3 mounts: get, head, put, post, delete (`contract/http-api.md` §9).
//!
//! request → `serve` → `viewed` for clients that are counted → `disk` (index, links), memory or `s3`, through `caching`
//! → `send` (parts, dates, streaming) · `upload`. The API's `/api/v3/fs` reads and writes through the same functions.
//! Auth, CORS and compression are around it, not here.

mod caching;
mod disk;
pub mod mime;
mod playlist;
mod s3;
mod send;
#[cfg(test)]
mod tests;
pub(crate) mod tree;
mod upload;
mod viewed;

use http::{HeaderMap, HeaderValue, Method, header};

use crate::http::error::storage::{missing, unknown_mount};
use crate::http::hls::{Publishing, Viewing};
use crate::http::layer::{self, access_log::Entry};
use crate::http::response::{self, Response};
use crate::http::{Answer, Context, Error, Request, range};
use crate::memfs::{Memfs, Meta};
use crate::storage::{self, Mount};
use send::{Asked, Facts, Memory};

/// What a file without a known extension is, but below `/`.
const DATA: HeaderValue = HeaderValue::from_static("application/data");
const HTML: HeaderValue = HeaderValue::from_static("text/html");

/// As `serve` for what waits for nothing: reading from memory.
pub(crate) fn at_once(
    ctx: &Context,
    entry: &Entry,
    headers: &HeaderMap,
    is_conditional: bool,
    mount: &str,
    path: &str,
) -> Option<Answer> {
    let Mount::Mem(mem) = ctx.storage.mount(mount)? else { return None };
    if !reads(&entry.method) {
        return None;
    }
    let asked = Asked { now: entry.started, method: &entry.method, headers, is_conditional, path };
    if let Some(viewing) = Viewing::of(ctx, entry.client, &entry.uri, headers, path) {
        return Some(viewed::from_memory(ctx, mem, &asked, entry.client, &viewing));
    }
    Some(memory(mem, &asked, ctx.mime.of(path).cloned().unwrap_or(DATA)))
}

/// Serves `path` (decoded, beginning with `/`, not yet cleaned) of the file system `mount` (`disk`, `mem`).
pub(crate) async fn serve(ctx: &Context, req: Request, mount: &str, path: &str) -> Answer {
    if viewed::concerns(&req.method, path) {
        return viewed::serve(ctx, req, mount, path).await;
    }
    if matches!(req.method, Method::PUT | Method::POST) {
        return viewed::write(ctx, req, mount, path).await;
    }
    mounted(&ctx.storage, &ctx.mime, req, mount, path, None).await
}

/// Reads `path` as it is: no cache, no corrected playlists (`/api/v3/fs`).
pub(crate) async fn read(ctx: &Context, req: &Request, mount: &str, path: &str) -> Answer {
    let asked = Asked::new(req, path);
    let content_type = ctx.mime.of(path).cloned().unwrap_or(DATA);
    match ctx.storage.mount(mount).ok_or_else(|| unknown_mount(mount))? {
        Mount::Mem(mem) => memory(mem, &asked, content_type),
        Mount::Disk(disk) => disk::plain(disk, &asked, content_type).await,
        Mount::S3(s3) => s3::plain(&s3, &asked, content_type).await,
    }
}

/// Stores the body as `path`.
pub(crate) async fn write(ctx: &Context, req: Request, mount: &str, path: &str) -> Answer {
    upload::write(&ctx.storage, req, mount, path, None).await
}

/// Removes the file `path`.
pub(crate) async fn remove(ctx: &Context, mount: &str, path: &str) -> Answer {
    upload::remove(&ctx.storage, mount, path).await
}

/// Serves every mount; `publishing` hears of an upload's pieces.
async fn mounted(
    storage: &storage::Handle,
    mime: &mime::Table,
    req: Request,
    mount: &str,
    path: &str,
    publishing: Option<&mut Publishing>,
) -> Answer {
    if let Some(answer) = in_memory(storage, mime, mount, &Asked::new(&req, path)) {
        return answer;
    }
    match storage.mount(mount).ok_or_else(|| unknown_mount(mount))? {
        Mount::Mem(_) => written(storage, req, mount, path, publishing).await,
        Mount::Disk(_) if reads(&req.method) => {
            let content_type = mime.of(path).cloned().unwrap_or(HTML);
            disk::mounted(storage, &Asked::new(&req, path), content_type).await
        }
        Mount::Disk(_) => caching::skipped(storage.cache(), Err(Error::not_found())),
        Mount::S3(s3) if reads(&req.method) => {
            let content_type = mime.of(path).cloned().unwrap_or(DATA);
            s3::mounted(storage.cache(), &s3, &Asked::new(&req, path), content_type).await
        }
        Mount::S3(_) => caching::skipped(storage.cache(), written(storage, req, mount, path, publishing).await),
    }
}

async fn written(
    storage: &storage::Handle,
    req: Request,
    mount: &str,
    path: &str,
    publishing: Option<&mut Publishing>,
) -> Answer {
    match req.method {
        Method::PUT | Method::POST => upload::write(storage, req, mount, path, publishing).await,
        Method::DELETE => upload::remove(storage, mount, path).await,
        _ => Err(Error::not_found()),
    }
}

fn in_memory(storage: &storage::Handle, mime: &mime::Table, mount: &str, asked: &Asked<'_>) -> Option<Answer> {
    match storage.mount(mount)? {
        Mount::Mem(mem) if reads(asked.method) => {
            Some(memory(mem, asked, mime.of(asked.path).cloned().unwrap_or(DATA)))
        }
        _ => None,
    }
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn memory(mem: &Memfs, asked: &Asked<'_>, content_type: HeaderValue) -> Answer {
    let reader = mem.open(asked.now, asked.path).ok_or_else(|| missing(asked.path))?;
    let meta = reader.meta();
    let shown = Shown::of(meta, &content_type);
    if asked.is_plain()
        && let Some(shown) = shown
        && shown.content_type == content_type
    {
        let (headers, whole) = (shown.headers.clone(), 0..meta.size);
        let body: response::Body = Box::pin(Memory::new(reader.range(whole), asked.now));
        let mut response = Response::new(body);
        *response.headers_mut() = headers;
        return Ok(response);
    }
    let last_modified = shown.and_then(|shown| shown.last_modified.clone());
    let facts =
        Facts { size: meta.size, modified: meta.modified, last_modified, is_dated: !meta.ambiguous, content_type };
    send::answer(asked, facts, |range| Box::pin(Memory::new(reader.range(range), asked.now)))
}

/// What answers with a version in memory have in common, kept beside it: making headers costs more than copying them.
struct Shown {
    content_type: HeaderValue,
    last_modified: Option<HeaderValue>,
    /// Of an answer with the whole file of this type.
    headers: HeaderMap,
}

impl Shown {
    /// `None`: somebody else keeps something beside the version. `content_type` counts for the first who asks.
    fn of<'a>(meta: &'a Meta, content_type: &HeaderValue) -> Option<&'a Self> {
        let kept = meta.kept.get_or_init(|| Box::new(Self::new(meta, content_type)));
        kept.downcast_ref()
    }

    fn new(meta: &Meta, content_type: &HeaderValue) -> Self {
        let last_modified = range::last_modified(meta.modified);
        let mut headers = HeaderMap::with_capacity(3);
        // In the order in which the layers look for them.
        headers.insert(header::CONTENT_TYPE, content_type.clone());
        headers.insert(header::VARY, layer::file_vary(content_type));
        headers.extend(last_modified.clone().map(|date| (header::LAST_MODIFIED, date)));
        Self { content_type: content_type.clone(), last_modified, headers }
    }
}

/// `Last-Modified`: the same text for everyone who reads this version.
fn dated(meta: &Meta, content_type: &HeaderValue) -> Option<HeaderValue> {
    Shown::of(meta, content_type)?.last_modified.clone()
}
