//! The disk mount at `/`: index files, links, playlists (`contract/http-api.md` §9.2).

use std::io;
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::caching::{self, Look, from_memory, labelled, labelled_if};
use super::playlist::{self, PLAYLIST_BYTES, is_playlist};
use super::send::{self, Asked, Facts};
use crate::base::path::clean;
use crate::http::Error;
use crate::http::error::storage::{missing, refused};
use crate::http::range::{self, Part};
use crate::http::response::{self, Answer, Response};
use crate::storage::{self, Cached, Disk, DiskReader, Opened};

/// What a path in `Location` cannot hold as it is (RFC 3986 §3.3).
const IN_PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`').add(b'{').add(b'}');

/// What a path stands for once index files are looked up.
pub(super) enum Target {
    File(DiskReader),
    /// Another name of the file system.
    Link(String),
}

/// Opens `path`; a directory means its `index.html`.
///
/// # Errors
/// 404 that names what was looked for, 5xx.
pub(super) async fn open(disk: &Disk, path: &str) -> Result<Target, Error> {
    let mut wanted = path.to_owned();
    if wanted.ends_with('/') {
        wanted.push_str("index.html");
    }
    let mut opened = disk.open(&wanted).await;
    if matches!(opened, Ok(Opened::Directory)) {
        wanted.push_str("/index.html");
        opened = disk.open(&wanted).await;
    }
    match opened.map_err(|error| refused(&error, &wanted))? {
        Opened::File(reader) => Ok(Target::File(reader)),
        Opened::Link(target) => Ok(Target::Link(target)),
        Opened::Directory => Err(missing(&wanted)),
    }
}

/// Answers with the file `path` as it is, or where the link leads.
pub(super) async fn plain(disk: &Disk, asked: &Asked<'_>, content_type: HeaderValue) -> Answer {
    match open(disk, asked.path).await? {
        Target::Link(target) => redirect(&target),
        Target::File(reader) => {
            let facts = facts(&reader, content_type);
            send::answer(asked, facts, |range| send::disk(reader.range(range)))
        }
    }
}

/// Answers `/…` with playlists corrected and through the cache.
pub(super) async fn mounted(storage: &storage::Handle, asked: &Asked<'_>, content_type: HeaderValue) -> Answer {
    match caching::look(storage.cache(), asked, asked.path, &content_type) {
        Look::Found(answer) => answer,
        Look::Skip(label) => labelled_if(label, uncached(storage.disk(), asked, content_type).await),
        Look::Fill => fill(storage, asked, content_type).await,
    }
}

/// A miss: the file is read whole and kept if it may be; otherwise it streams.
async fn fill(storage: &storage::Handle, asked: &Asked<'_>, content_type: HeaderValue) -> Answer {
    let (disk, cache) = (storage.disk(), storage.cache());
    let mut reader = match open(disk, asked.path).await {
        Ok(Target::File(reader)) => reader,
        Ok(Target::Link(target)) => return labelled("SKIP NOTOK", redirect(&target)),
        Err(error) => return labelled("SKIP NOTOK", Err(error)),
    };
    let facts = facts(&reader, content_type);
    if facts.part(asked) != Some(Part::Whole) {
        return labelled("SKIP NOTOK", stream(disk, asked, facts, reader).await);
    }
    let Some(admitted) = cache.admit(reader.size()) else {
        return labelled("SKIP TOOBIG", stream(disk, asked, facts, reader).await);
    };
    let content = read_whole(disk, asked, &mut reader).await?;
    let cached = Cached { content, modified: reader.modified() };
    cache.store(Instant::now(), asked.path, admitted, cached.clone());
    caching::missed(cache, asked, cached, facts.content_type)
}

async fn uncached(disk: &Disk, asked: &Asked<'_>, content_type: HeaderValue) -> Answer {
    match open(disk, asked.path).await? {
        Target::Link(target) => redirect(&target),
        Target::File(reader) => {
            let facts = facts(&reader, content_type);
            stream(disk, asked, facts, reader).await
        }
    }
}

/// Sends a file as the client takes it; playlists are read whole and corrected.
async fn stream(disk: &Disk, asked: &Asked<'_>, facts: Facts, mut reader: DiskReader) -> Answer {
    if !is_playlist(asked.path) {
        return send::answer(asked, facts, |range| send::disk(reader.range(range)));
    }
    let answer = if asked.is_head() || reader.size() > PLAYLIST_BYTES {
        send::answer(asked, facts, |range| send::disk(reader.range(range)))
    } else {
        let content = read_whole(disk, asked, &mut reader).await?;
        from_memory(asked, Cached { content, modified: reader.modified() }, facts.content_type)
    };
    answer.map(|mut response| {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
        response
    })
}

/// The whole file; a playlist corrected.
async fn read_whole(disk: &Disk, asked: &Asked<'_>, reader: &mut DiskReader) -> Result<Bytes, Error> {
    let content = reader.read_all().await.map_err(|error| refused(&error, asked.path))?;
    if !is_playlist(asked.path) || reader.size() > PLAYLIST_BYTES {
        return Ok(content);
    }
    let dir = disk.dir();
    Ok(match (std::str::from_utf8(&content), dir.to_str()) {
        (Ok(text), Some(dir)) => playlist::strip(text, dir, &clean(asked.path)).into(),
        _ => content,
    })
}

fn facts(reader: &DiskReader, content_type: HeaderValue) -> Facts {
    let modified = reader.modified();
    let last_modified = range::last_modified(modified);
    Facts { size: reader.size(), modified, last_modified, is_dated: Facts::is_settled(modified), content_type }
}

fn redirect(target: &str) -> Answer {
    let location = utf8_percent_encode(target, IN_PATH).to_string();
    let location = HeaderValue::from_str(&location).map_err(|_| Error::internal(&io::Error::other("a bad link")))?;
    let mut response = Response::new(response::full(Bytes::new()));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}
