//! S3 mounts: files as they are, through the cache of the disk mount (`contract/http-api.md` §9.2, §9.5, §9.6).
//!
//! A whole file is one request to the server. For parts, conditions and `HEAD` its size and date are asked for first.

use std::io;
use std::time::Instant;

use futures_util::stream;
use http::header::HeaderValue;
use http_body::Frame;
use http_body_util::StreamBody;

use super::caching::{self, Look, labelled, labelled_if};
use super::send::{self, Asked, Facts};
use crate::http::Error;
use crate::http::error::storage::{missing, refused};
use crate::http::range::{self, Part};
use crate::http::response::{self, Answer, Body};
use crate::storage::{Cache, Cached, S3, S3Error, S3Meta, S3Reader};

/// Answers with the file `path` as it is.
pub(super) async fn plain(s3: &S3, asked: &Asked<'_>, content_type: HeaderValue) -> Answer {
    if asked.is_plain() {
        let reader = open(s3, asked).await?;
        let facts = facts(reader.meta(), content_type);
        return send::answer(asked, facts, |_| body(reader));
    }
    let meta = s3.head(asked.path).await.map_err(|error| fault(error, asked))?;
    let meta = meta.ok_or_else(|| missing(asked.path))?;
    let facts = facts(&meta, content_type);
    let range = match facts.part(asked) {
        Some(Part::Whole) => 0..meta.size,
        Some(Part::Bytes(range)) => range,
        None | Some(Part::Unsatisfiable) => 0..0,
    };
    if asked.is_head() || range.is_empty() {
        return send::answer(asked, facts, |_| response::full(""));
    }
    // Before the answer begins, so that a failure can be its status.
    let reader = s3.open_range(asked.path, meta, range).await.map_err(|error| fault(error, asked))?;
    send::answer(asked, facts, |_| body(reader))
}

/// Answers `<mount>/…`.
pub(super) async fn mounted(cache: &Cache, s3: &S3, asked: &Asked<'_>, content_type: HeaderValue) -> Answer {
    let name = s3.cache_name(asked.path);
    match caching::look(cache, asked, &name, &content_type) {
        Look::Found(answer) => return answer,
        Look::Skip(label) => return labelled_if(label, plain(s3, asked, content_type).await),
        Look::Fill if !asked.is_plain() => return labelled("SKIP NOTOK", plain(s3, asked, content_type).await),
        Look::Fill => {}
    }
    let mut reader = match open(s3, asked).await {
        Ok(reader) => reader,
        Err(error) => return labelled("SKIP NOTOK", Err(error)),
    };
    let (size, modified) = (reader.meta().size, reader.meta().modified);
    let Some(admitted) = cache.admit(size) else {
        let facts = facts(reader.meta(), content_type);
        return labelled("SKIP TOOBIG", send::answer(asked, facts, |_| body(reader)));
    };
    let content = match reader.read_all().await {
        Ok(content) => content,
        Err(error) => return labelled("SKIP NOTOK", Err(fault(error, asked))),
    };
    let cached = Cached { content, modified };
    cache.store(Instant::now(), &name, admitted, cached.clone());
    caching::missed(cache, asked, cached, content_type)
}

async fn open(s3: &S3, asked: &Asked<'_>) -> Result<S3Reader, Error> {
    let opened = s3.open(asked.path).await.map_err(|error| fault(error, asked))?;
    opened.ok_or_else(|| missing(asked.path))
}

fn fault(error: S3Error, asked: &Asked<'_>) -> Error {
    refused(&error.into(), asked.path)
}

fn facts(meta: &S3Meta, content_type: HeaderValue) -> Facts {
    let last_modified = range::last_modified(meta.modified);
    let is_dated = Facts::is_settled(meta.modified);
    Facts { size: meta.size, modified: meta.modified, last_modified, is_dated, content_type }
}

/// The bytes of an object, read as the client takes them.
fn body(reader: S3Reader) -> Body {
    let pieces = stream::unfold(reader, |mut reader| async {
        let piece = reader.next().await?;
        Some((piece.map(Frame::data).map_err(io::Error::other), reader))
    });
    Box::pin(StreamBody::new(pieces))
}
