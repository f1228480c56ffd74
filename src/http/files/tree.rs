//! Static directories: `/ui` and the directory routes of `router.routes` (`contract/http-api.md` §11.1, §11.2).
//!
//! Files come from the disk piece by piece through the blocking lane. Knows no auth, cache or compression.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;

use crate::base::blocking::{Blocking, Lane};
use crate::base::path::{clean, extension};
use crate::http::range::{self, Part};
use crate::http::response::{self, Answer, Body, Response};
use crate::http::{Context, Error, Request};

/// Bytes read from the disk at once.
const PIECE: usize = 64 * 1024;

struct Opened {
    file: File,
    size: u64,
    modified: SystemTime,
    /// Of the file served, which for a directory is its index.
    name: String,
}

/// Serves `path` (decoded, not cleaned) below `root`.
pub(crate) async fn serve(ctx: &Context, req: Request, root: &Path, path: &str) -> Answer {
    let (root, wanted) = (root.to_owned(), clean(path));
    let opened = ctx.blocking.run(Lane::General, move || open(&root, &wanted)).await;
    let opened = opened.map_err(|_| Error::not_found())?;
    if range::is_unmodified(&req.headers, opened.modified) {
        return Ok(response::empty(StatusCode::NOT_MODIFIED));
    }
    let part = range::part(&req.headers, opened.size, opened.modified);
    let content_range = range::content_range(&part, opened.size);
    let (status, bytes) = match part {
        Part::Whole => (StatusCode::OK, 0..opened.size),
        Part::Bytes(bytes) => (StatusCode::PARTIAL_CONTENT, bytes),
        Part::Unsatisfiable => {
            let mut error = Error::status(StatusCode::RANGE_NOT_SATISFIABLE);
            error.headers.extend(content_range.map(|value| (header::CONTENT_RANGE, value)));
            return Err(error);
        }
    };
    let length = bytes.end - bytes.start;
    let mut response = Response::new(match req.method {
        Method::HEAD => response::full(Bytes::new()),
        _ => stream_file(ctx.blocking.clone(), opened.file, bytes.start, length),
    });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(&opened.name)));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.extend(range::last_modified(opened.modified).map(|value| (header::LAST_MODIFIED, value)));
    headers.extend(content_range.map(|value| (header::CONTENT_RANGE, value)));
    Ok(response)
}

/// Opens a file, or the index of a directory. Links are followed as long as they stay below the root.
fn open(root: &Path, path: &str) -> io::Result<Opened> {
    let root = root.canonicalize()?;
    let mut found: PathBuf = root.join(path.trim_start_matches('/')).canonicalize()?;
    let mut name = path.to_owned();
    if found.is_dir() {
        found = found.join("index.html").canonicalize()?;
        name = "index.html".to_owned();
    }
    if !found.starts_with(&root) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let meta = found.metadata()?;
    if !meta.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Opened { file: File::open(&found)?, size: meta.len(), modified: meta.modified()?, name })
}

/// `length` bytes from `start` on. A file that shrinks meanwhile ends the connection, not the daemon.
fn stream_file(blocking: Blocking, mut file: File, start: u64, length: u64) -> Body {
    let begun = async move { file.seek(SeekFrom::Start(start)).map(|_| file) };
    let pieces =
        stream::try_unfold((None, Some(begun), length, blocking), |(file, begun, left, blocking)| async move {
            if left == 0 {
                return Ok(None);
            }
            let file: File = match (file, begun) {
                (Some(file), _) => file,
                (None, Some(begun)) => begun.await?,
                (None, None) => return Ok(None),
            };
            let (file, piece) = blocking.run(Lane::General, move || read_piece(file, left)).await?;
            let left = left - piece.len() as u64;
            Ok::<_, io::Error>(Some((Frame::data(piece), (Some(file), None, left, blocking))))
        });
    Box::pin(StreamBody::new(pieces))
}

fn read_piece(mut file: File, left: u64) -> io::Result<(File, Bytes)> {
    let size = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
    let mut piece = vec![0; size];
    let read = file.read(&mut piece)?;
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    piece.truncate(read);
    Ok((file, piece.into()))
}

/// By the platform table of the reference; `text/…` with its charset.
fn content_type(name: &str) -> &'static str {
    match extension(name).to_ascii_lowercase().as_str() {
        ".html" | ".htm" => "text/html; charset=utf-8",
        ".txt" => "text/plain; charset=utf-8",
        ".js" | ".mjs" => "text/javascript; charset=utf-8",
        ".css" => "text/css; charset=utf-8",
        ".xml" => "text/xml; charset=utf-8",
        ".json" | ".map" => "application/json",
        ".webmanifest" => "application/manifest+json",
        ".wasm" => "application/wasm",
        ".pdf" => "application/pdf",
        ".svg" => "image/svg+xml",
        ".png" => "image/png",
        ".jpg" | ".jpeg" => "image/jpeg",
        ".gif" => "image/gif",
        ".webp" => "image/webp",
        ".avif" => "image/avif",
        ".ico" => "image/vnd.microsoft.icon",
        ".ttf" => "font/ttf",
        ".woff" => "font/woff",
        ".woff2" => "font/woff2",
        ".mp4" => "video/mp4",
        ".ts" => "video/MP2T",
        ".m3u8" => "application/vnd.apple.mpegurl",
        _ => "application/octet-stream",
    }
}
