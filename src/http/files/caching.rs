//! What the cache of disk and S3 mounts says in `X-Cache` and `Cache-Control` (`contract/http-api.md` §9.5).

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderName, HeaderValue};

use super::send::{self, Asked, Facts};
use crate::http::range;
use crate::http::response::{self, Answer, Body};
use crate::storage::{Cache, Cached};

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// What the cache has for a request.
pub(super) enum Look {
    Found(Answer),
    /// Not to be asked; what `X-Cache` says, if anything.
    Skip(Option<&'static str>),
    /// Not there, but it may be.
    Fill,
}

/// Asks the cache for the file that it knows as `name`.
pub(super) fn look(cache: &Cache, asked: &Asked<'_>, name: &str, content_type: &HeaderValue) -> Look {
    if !cache.is_enabled() {
        return Look::Skip(None);
    }
    if *asked.method != Method::GET {
        return Look::Skip(Some("SKIP ONLYGET"));
    }
    if !cache.takes(asked.path) {
        return Look::Skip(Some("SKIP EXT"));
    }
    let Some((cached, remaining)) = cache.find(Instant::now(), name) else { return Look::Fill };
    let answer = from_memory(asked, cached, content_type.clone());
    Look::Found(aging(labelled(&format!("HIT {:.3}", remaining.as_secs_f64()), answer), remaining))
}

/// Answers with a file that was just stored.
pub(super) fn missed(cache: &Cache, asked: &Asked<'_>, file: Cached, content_type: HeaderValue) -> Answer {
    aging(labelled("MISS", from_memory(asked, file, content_type)), cache.ttl())
}

/// The answer to a method that the cache is never asked for.
pub(super) fn skipped(cache: &Cache, answer: Answer) -> Answer {
    labelled_if(cache.is_enabled().then_some("SKIP ONLYGET"), answer)
}

pub(super) fn from_memory(asked: &Asked<'_>, file: Cached, content_type: HeaderValue) -> Answer {
    let Cached { content, modified } = file;
    let is_dated = Facts::is_settled(modified);
    let last_modified = range::last_modified(modified);
    let facts = Facts { size: content.len() as u64, modified, last_modified, is_dated, content_type };
    send::answer(asked, facts, |range| part_of(&content, range))
}

/// Says what the cache did, in refusals as well.
pub(super) fn labelled(label: &str, answer: Answer) -> Answer {
    let value = HeaderValue::from_str(label).expect("our own words and digits");
    match answer {
        Ok(mut response) => {
            response.headers_mut().insert(X_CACHE, value);
            Ok(response)
        }
        Err(mut error) => {
            error.headers.push((X_CACHE, value));
            Err(error)
        }
    }
}

pub(super) fn labelled_if(label: Option<&str>, answer: Answer) -> Answer {
    match label {
        Some(label) => labelled(label, answer),
        None => answer,
    }
}

/// Says how long the answer may be kept.
fn aging(answer: Answer, remaining: Duration) -> Answer {
    let seconds = remaining.as_secs_f64().round();
    let value = HeaderValue::from_str(&format!("max-age={seconds:.0}")).expect("digits");
    answer.map(|mut response| {
        response.headers_mut().insert(header::CACHE_CONTROL, value);
        response
    })
}

fn part_of(content: &Bytes, range: Range<u64>) -> Body {
    let place = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(content.len());
    response::full(content.slice(place(range.start)..place(range.end)))
}
