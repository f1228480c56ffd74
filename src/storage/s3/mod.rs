//! An S3 bucket as a file system: names with a leading slash are keys without one (`contract/http-api.md` §9.6).
//!
//! `S3` → `client` (signed requests, `sign`, `xml`) · `reader` streams objects · `upload` sends them whole or in parts
//! within `memory` · `driver` checks the bucket in the background, runs cleanup rules and tidies up after uploads that
//! broke off. Nothing is kept here but what is on its way; there are no directories.

mod client;
mod driver;
mod memory;
mod reader;
mod sign;
mod tidy_driver;
mod upload;
mod xml;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use tokio::sync::{Notify, watch};

pub use reader::S3Reader;
pub use upload::S3Writer;

use crate::base::blocking::Blocking;
use crate::base::https_client;
use crate::base::path;
use crate::config::S3Storage;
use client::{Ask, Client, RESTING, TIMES};
pub(super) use driver::{Deps, Purges, mount};
use memory::{BUFFER_WAIT, Memory};
use tidy_driver::Leftovers;

/// Objects of one listing; further ones are left out, with a line in the log.
const LISTED: usize = 50_000;
/// Requests of one listing.
const PAGES: usize = 200;
/// Bytes of one page: a thousand objects with names of 1024 encoded bytes.
const PAGE: usize = 4 * 1024 * 1024;
/// Bytes of other answers.
const ANSWER: usize = 64 * 1024;
/// How long a request waits for the first look at the bucket.
const LOOK_WAIT: Duration = Duration::from_secs(10);
/// Longest key, in bytes.
const KEY_BYTES: usize = 1024;

/// Why a bucket did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no answer from the S3 server")]
    Send(#[from] https_client::Error),
    #[error("the S3 server answers {status}{}{code}{}{message}", if .code.is_empty() { "" } else { ", " }, if .message.is_empty() { "" } else { ": " })]
    Refused { status: StatusCode, code: String, message: String },
    #[error("the S3 server's answer can't be used")]
    Answer(#[from] xml::Malformed),
    #[error("{0:?} is no address of an S3 server")]
    Endpoint(String),
    #[error("the name is longer than {KEY_BYTES} bytes")]
    LongName,
    #[error("the file has more than {} bytes", upload::OBJECT)]
    TooBig,
    #[error("the file changed while it was read")]
    Changed,
    #[error("the answer broke off")]
    Short,
    /// Uploads hold all the memory they may have.
    #[error("too many uploads at once: no memory for this one within {} s", BUFFER_WAIT.as_secs())]
    Busy,
    #[error("the upload has ended")]
    Ended,
}

impl Error {
    /// Whether the same request may succeed soon.
    fn may_pass(&self) -> bool {
        match self {
            Self::Send(https_client::Error::Large(_) | https_client::Error::Address(_)) => false,
            Self::Send(_) | Self::Short => true,
            Self::Refused { status, code, .. } => {
                status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || matches!(code.as_str(), "RequestTimeout" | "OperationAborted" | "SlowDown" | "InternalError")
            }
            _ => false,
        }
    }

    fn is(&self, wanted: StatusCode) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == wanted)
    }
}

/// What all mounts share.
pub(super) struct Shared {
    http: https_client::Client,
    memory: Memory,
    leftovers: Leftovers,
}

impl Shared {
    pub(super) fn spawn(blocking: &Blocking) -> Self {
        let http = https_client::Client::new(blocking.clone(), TIMES, RESTING);
        Self { http, memory: Memory::default(), leftovers: Leftovers::spawn() }
    }

    /// Waits a moment for uploads that broke off to be aborted on their servers.
    pub(super) async fn settle(&self) {
        self.leftovers.settle().await;
    }
}

/// Cheap handle to a bucket.
#[derive(Clone)]
pub struct S3(Rc<Inner>);

struct Inner {
    section: S3Storage,
    mountpoint: String,
    client: Rc<Client>,
    memory: Memory,
    leftovers: Leftovers,
    /// Wakes the task of this mount.
    wake: Rc<Notify>,
    /// The bucket has to be looked at.
    is_doubtful: Cell<bool>,
    /// It was looked at once, whatever came of it.
    is_known: watch::Sender<bool>,
    purges: Purges,
}

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Bytes.
    pub size: u64,
    pub modified: SystemTime,
    /// Names this version; servers may leave it out.
    tag: Option<HeaderValue>,
}

/// A listed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

impl S3 {
    pub(super) fn new(section: S3Storage, shared: &Shared) -> Self {
        let client = Rc::new(Client::new(&section, shared.http.clone()));
        Self(Rc::new(Inner {
            mountpoint: path::clean(&section.mountpoint),
            section,
            client,
            memory: shared.memory.clone(),
            leftovers: shared.leftovers.clone(),
            wake: Rc::default(),
            is_doubtful: Cell::new(true),
            is_known: watch::Sender::new(false),
            purges: Purges::default(),
        }))
    }

    pub fn name(&self) -> &str {
        &self.0.section.name
    }

    /// Where it is mounted, without trailing slash.
    pub fn mountpoint(&self) -> &str {
        &self.0.mountpoint
    }

    /// What the cache calls the file `name`: nothing on the disk is called like that.
    pub fn cache_name(&self, name: &str) -> String {
        format!("/\0{}{}", self.name(), path::clean(name))
    }

    pub(super) fn section(&self) -> &S3Storage {
        &self.0.section
    }

    pub(super) fn wake(&self) {
        self.0.wake.notify_one();
    }

    pub(super) fn purges(&self) -> &Purges {
        &self.0.purges
    }

    /// Lets a bucket be created first: right after the start it may not be there yet.
    async fn known(&self) {
        let mut is_known = self.0.is_known.subscribe();
        // Whoever waited long enough learns from the server itself what is wrong.
        let _ = tokio::time::timeout(LOOK_WAIT, is_known.wait_for(|is_known| *is_known)).await;
    }

    /// What is known of the file `name`; `None` if there is none.
    ///
    /// # Errors
    /// See `Error`.
    pub async fn head(&self, name: &str) -> Result<Option<Meta>, Error> {
        let Some(key) = key(name)? else { return Ok(None) };
        self.known().await;
        match self.watched(self.0.client.ask(&Ask::new(Method::HEAD, &key)).await) {
            Ok(response) => Ok(Some(meta(response.headers())?)),
            Err(error) if error.is(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the file `name` from its first byte on; `None` if there is none.
    ///
    /// # Errors
    /// See `Error`.
    pub async fn open(&self, name: &str) -> Result<Option<S3Reader>, Error> {
        let Some(key) = key(name)? else { return Ok(None) };
        self.known().await;
        match self.watched(self.0.client.ask(&Ask::new(Method::GET, &key)).await) {
            Ok(response) => {
                let meta = meta(response.headers())?;
                let rest = 0..meta.size;
                Ok(Some(S3Reader::new(self.clone(), key, meta, rest, Some(response.into_body()))))
            }
            Err(error) if error.is(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens those bytes of the file `name` that `head` found.
    ///
    /// # Errors
    /// See `Error`; `Changed`.
    pub async fn open_range(&self, name: &str, meta: Meta, range: std::ops::Range<u64>) -> Result<S3Reader, Error> {
        let key = key(name)?.ok_or(Error::Changed)?;
        let mut reader = S3Reader::new(self.clone(), key, meta, range, None);
        reader.connect().await?;
        Ok(reader)
    }

    /// Begins a new version of `name`; nobody sees it before its commit. `None`: that is no name of a file.
    ///
    /// # Errors
    /// `LongName`, `TooBig` if more bytes are `announced` than an object may have; see `Error`.
    pub async fn create(&self, name: &str, announced: Option<u64>) -> Result<Option<S3Writer>, Error> {
        if announced.is_some_and(|size| size > upload::OBJECT) {
            return Err(Error::TooBig);
        }
        let Some(key) = key(name)? else { return Ok(None) };
        let is_new = self.head(name).await?.is_none();
        Ok(Some(S3Writer::new(self.clone(), key, is_new)))
    }

    /// Removes the file `name`; false if there is none.
    ///
    /// # Errors
    /// See `Error`.
    pub async fn remove(&self, name: &str) -> Result<bool, Error> {
        let is_there = self.head(name).await?.is_some();
        if is_there {
            self.delete(&path::clean(name)[1..]).await?;
        }
        Ok(is_there)
    }

    /// Removes the object `key`, whether or not it is there.
    async fn delete(&self, key: &str) -> Result<(), Error> {
        match self.watched(self.0.client.read(&Ask::new(Method::DELETE, key), ANSWER).await) {
            Ok(_) => Ok(()),
            Err(error) if error.is(StatusCode::NOT_FOUND) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The files that begin with `prefix`, have at most `depth` slashes and are `wanted`, at most `LISTED`, in no order.
    ///
    /// # Errors
    /// See `Error`.
    pub(super) async fn list(
        &self,
        prefix: &str,
        depth: Option<usize>,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Found>, Error> {
        // A pattern that does not begin with a slash may begin with a wildcard, or matches no name.
        let Some(prefix) = prefix.strip_prefix('/').or(prefix.is_empty().then_some("")) else { return Ok(Vec::new()) };
        self.known().await;
        let (mut found, mut token): (Vec<Found>, Option<String>) = (Vec::new(), None);
        for _ in 0..PAGES {
            let mut query = vec![("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix)];
            // What lies deeper than the pattern reaches need not be sent.
            if depth == Some(prefix.matches('/').count() + 1) {
                query.push(("delimiter", "/"));
            }
            query.extend(token.as_deref().map(|token| ("continuation-token", token)));
            let ask = Ask::bucket(Method::GET).query(&query);
            let (_, xml) = self.watched(self.0.client.read(&ask, PAGE).await)?;
            let page = xml::page(&xml)?;
            let objects = page.objects.into_iter().map(|object| Found {
                path: format!("/{}", object.key),
                size: object.size,
                modified: object.modified,
            });
            found.extend(objects.filter(|object| is_wanted(&object.path)));
            token = page.next;
            if token.is_none() || found.len() >= LISTED {
                break;
            }
        }
        if token.is_some() || found.len() > LISTED {
            found.truncate(LISTED);
            log::warn!(target: "FS", name = self.name(); "only {} files below /{prefix} are listed", found.len());
        }
        Ok(found)
    }

    /// Has the bucket looked at when something failed that may have to do with it.
    fn watched<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            let is_answer = matches!(error, Error::Refused { status, code, .. } if !status.is_server_error()
                && *status != StatusCode::FORBIDDEN && *status != StatusCode::UNAUTHORIZED && code != "NoSuchBucket");
            if !is_answer {
                self.0.is_doubtful.set(true);
                self.wake();
            }
        }
        result
    }
}

/// The key of a file name; `None` for the root.
fn key(name: &str) -> Result<Option<String>, Error> {
    let mut name = path::clean(name);
    name.remove(0);
    if name.len() > KEY_BYTES {
        return Err(Error::LongName);
    }
    Ok(Some(name).filter(|name| !name.is_empty()))
}

fn meta(headers: &HeaderMap) -> Result<Meta, Error> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let size = text(header::CONTENT_LENGTH).and_then(|size| size.parse().ok());
    let modified = text(header::LAST_MODIFIED).and_then(|date| httpdate::parse_http_date(date).ok());
    Ok(Meta {
        size: size.ok_or(xml::Malformed::SIZE)?,
        modified: modified.unwrap_or(SystemTime::UNIX_EPOCH),
        tag: headers.get(header::ETAG).cloned(),
    })
}
