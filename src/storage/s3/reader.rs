//! An object on its way from the server to a client, no faster than the client takes it.
//!
//! What is held is what the connection buffers. Servers close connections that wait too long, so a transfer that breaks
//! off goes on where it was, by `Range`, as long as the object is the same version and each attempt brings bytes.

use std::ops::Range;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;

use super::client::Ask;
use super::{Error, Meta, S3, xml};
use crate::base::https_client::Download;

/// Attempts in a row without a byte.
const ATTEMPTS: usize = 3;

/// Reads one version of a file.
pub struct S3Reader {
    mount: S3,
    key: String,
    meta: Meta,
    rest: Range<u64>,
    body: Option<Download>,
    failures: usize,
}

impl S3Reader {
    pub(super) fn new(mount: S3, key: String, meta: Meta, rest: Range<u64>, body: Option<Download>) -> Self {
        Self { mount, key, meta, rest, body, failures: 0 }
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.rest.end - self.rest.start
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The server can't be reached any more, `Changed`.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        while !self.rest.is_empty() {
            match self.piece().await {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => {
                    self.failures = 0;
                    return Some(Ok(piece));
                }
                Err(error) => {
                    self.body = None;
                    self.failures += 1;
                    if self.failures >= ATTEMPTS || !error.may_pass() {
                        self.rest.start = self.rest.end;
                        return Some(Err(error));
                    }
                }
            }
        }
        None
    }

    /// Everything that remains, in one piece. For files known to be small.
    ///
    /// # Errors
    /// As `next`.
    pub async fn read_all(&mut self) -> Result<Bytes, Error> {
        let mut all = Vec::with_capacity(usize::try_from(self.remaining()).unwrap_or(0));
        while let Some(piece) = self.next().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all.into())
    }

    /// Asks for what is still to come.
    pub(super) async fn connect(&mut self) -> Result<(), Error> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let (first, last) = (self.rest.start, self.rest.end - 1);
        let range = HeaderValue::from_str(&format!("bytes={first}-{last}")).expect("digits");
        let mut ask = Ask::new(Method::GET, &self.key).header(header::RANGE, range);
        if let Some(tag) = &self.meta.tag {
            ask = ask.header(header::IF_MATCH, tag.clone());
        }
        let response = match self.mount.watched(self.mount.0.client.ask(&ask).await) {
            Err(error) if error.is(StatusCode::PRECONDITION_FAILED) || error.is(StatusCode::NOT_FOUND) => {
                return Err(Error::Changed);
            }
            answered => answered?,
        };
        let is_whole = self.rest == (0..self.meta.size) && response.status() == StatusCode::OK;
        let given = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let is_part = given.is_some_and(|given| given.starts_with(&format!("bytes {first}-{last}/")));
        if !is_whole && !is_part {
            return Err(xml::Malformed::RANGE.into());
        }
        if response.headers().get(header::ETAG) != self.meta.tag.as_ref() {
            return Err(Error::Changed);
        }
        self.body = Some(response.into_body());
        Ok(())
    }

    async fn piece(&mut self) -> Result<Bytes, Error> {
        if self.body.is_none() {
            self.connect().await?;
        }
        let body = self.body.as_mut().expect("there is something to come, so it was asked for");
        let Some(frame) = body.frame().await else {
            return Err(Error::Short);
        };
        let Ok(mut piece) = frame?.into_data() else { return Ok(Bytes::new()) };
        piece.truncate(usize::try_from(self.remaining()).unwrap_or(usize::MAX));
        self.rest.start += piece.len() as u64;
        Ok(piece)
    }
}
