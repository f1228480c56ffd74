//! An upload of unknown length: whole with one request if it is small, else in parts, one on its way while the next
//! one fills.
//!
//! bytes → part (memory taken as they come) → sent, repeated if need be → tags → complete. Nobody sees anything before
//! that. All parts have the same size, since some servers insist on it. An upload that is dropped is left to `tidy`.

use bytes::Bytes;
use http::header;
use http::{Method, StatusCode};
use ring::digest;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::{Ask, Payload};
use super::memory::Held;
use super::{ANSWER, Error, S3, sign, xml};
use crate::base::task;

/// Bytes of one part; an upload holds at most two.
pub(super) const PART: usize = 8 * 1024 * 1024;
/// Parts of one object. **Source:** Amazon S3, "multipart upload limits".
const PARTS: u64 = 10_000;
/// Bytes of one object: 78 GiB.
pub(super) const OBJECT: u64 = PARTS * PART as u64;

/// Bytes up to which a part grows step by step.
const SMALL: usize = 512 * 1024;

/// Writes one version of a file. Dropping it aborts: the file stays as it was.
pub struct S3Writer {
    mount: S3,
    key: String,
    is_new: bool,
    written: u64,
    part: Part,
    upload: Option<Upload>,
    /// Of the parts that the server has, in order.
    tags: Vec<String>,
    sending: Option<Sending>,
}

/// Bytes that wait to be sent, and the memory they stand in.
#[derive(Default)]
struct Part {
    bytes: Vec<u8>,
    digest: Option<digest::Context>,
    held: Held,
}

impl S3Writer {
    pub(super) fn new(mount: S3, key: String, is_new: bool) -> Self {
        let part = Part::default();
        Self { mount, key, is_new, written: 0, part, upload: None, tags: Vec::new(), sending: None }
    }

    /// Adds `data` to the end.
    ///
    /// # Errors
    /// `TooBig`, `Busy`, those of the server.
    pub async fn append(&mut self, mut data: &[u8]) -> Result<(), Error> {
        if self.written + data.len() as u64 > OBJECT {
            return Err(Error::TooBig);
        }
        self.written += data.len() as u64;
        while !data.is_empty() {
            if self.part.bytes.len() == PART {
                self.send_part().await?;
            }
            let (piece, rest) = data.split_at(data.len().min(PART - self.part.bytes.len()));
            let mount = &self.mount.0;
            if !mount.memory.cover(&mut self.part.held, self.part.bytes.len() + piece.len()).await {
                return Err(Error::Busy);
            }
            self.part.extend(piece);
            if mount.client.wants_digest() {
                // As the bytes come: a whole part at once would hold up everybody else.
                self.part.digest.get_or_insert_with(|| digest::Context::new(&digest::SHA256)).update(piece);
            }
            data = rest;
        }
        Ok(())
    }

    /// Replaces the file by what was appended; true if there was none.
    ///
    /// # Errors
    /// Those of the server; the upload is aborted then.
    pub async fn commit(mut self) -> Result<bool, Error> {
        if self.upload.is_none() {
            let (body, _held) = std::mem::take(&mut self.part).finish();
            let ask = Ask::new(Method::PUT, &self.key).body(body);
            self.mount.watched(self.mount.0.client.read(&ask, ANSWER).await)?;
            return Ok(self.is_new);
        }
        self.send_part().await?;
        self.wait_for_part().await?;
        let upload = self.upload.take().ok_or(Error::Ended)?;
        match self.complete(&upload).await {
            Ok(()) => {}
            // Asked twice because the first answer got lost.
            Err(error) if error.is(StatusCode::NOT_FOUND) => {
                let there = self.mount.head(&self.key).await?;
                if there.is_none_or(|meta| meta.size != self.written) {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        upload.forget();
        Ok(self.is_new)
    }

    async fn complete(&self, upload: &Upload) -> Result<(), Error> {
        let query = [("uploadId", upload.id.as_str())];
        let body = Payload { bytes: xml::complete(&self.tags).into(), sha256: None };
        let ask = Ask::new(Method::POST, &self.key).query(&query).body(body);
        let (_, answer) = self.mount.watched(self.mount.0.client.read(&ask, ANSWER).await)?;
        match xml::refusal(&answer) {
            None => Ok(()),
            Some(xml::Refusal { code, message }) => Err(Error::Refused { status: StatusCode::OK, code, message }),
        }
    }

    /// Sends the part that is there as soon as the one before has arrived.
    async fn send_part(&mut self) -> Result<(), Error> {
        if self.upload.is_none() {
            self.upload = Some(Upload::begin(&self.mount, &self.key).await?);
        }
        self.wait_for_part().await?;
        let id = self.upload.as_ref().map(|upload| upload.id.clone()).ok_or(Error::Ended)?;
        let (mount, key, number) = (self.mount.clone(), self.key.clone(), self.tags.len() + 1);
        let (body, held) = std::mem::take(&mut self.part).finish();
        self.sending = Some(Sending(task::spawn(async move {
            let _held = held;
            let number = number.to_string();
            let query = [("partNumber", number.as_str()), ("uploadId", id.as_str())];
            let ask = Ask::new(Method::PUT, &key).query(&query).body(body);
            let (headers, _) = mount.watched(mount.0.client.read(&ask, ANSWER).await)?;
            let tag = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
            Ok(tag.ok_or(xml::Malformed::TAG)?.to_owned())
        })));
        Ok(())
    }

    async fn wait_for_part(&mut self) -> Result<(), Error> {
        if let Some(mut sending) = self.sending.take() {
            let tag = (&mut sending.0).await.map_err(|_| Error::Ended)??;
            self.tags.push(tag);
        }
        Ok(())
    }
}

impl Part {
    fn extend(&mut self, piece: &[u8]) {
        let len = self.bytes.len() + piece.len();
        if len > SMALL && self.bytes.capacity() < PART {
            // Growing by doubling leaves holes in the heap; what is not written to costs nothing.
            self.bytes.reserve_exact(PART - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
    }

    fn finish(self) -> (Payload, Held) {
        let sha256 = self.digest.map(|digest| sign::hex(digest.finish().as_ref()));
        (Payload { bytes: Bytes::from(self.bytes), sha256 }, self.held)
    }
}

/// A part on its way. Dropping it takes it off the way.
struct Sending(JoinHandle<Result<String, Error>>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An upload in parts that the server knows. Dropping it has it aborted there.
struct Upload {
    mount: S3,
    key: String,
    id: String,
    is_over: bool,
}

impl Upload {
    /// Begins it in a task of its own: an id that nobody waits for any more is known and aborted all the same.
    async fn begin(mount: &S3, key: &str) -> Result<Self, Error> {
        let (mount, key) = (mount.clone(), key.to_owned());
        let (tx, rx) = oneshot::channel();
        task::spawn(async move {
            let ask = Ask::new(Method::POST, &key).query(&[("uploads", "")]);
            let answer = mount.watched(mount.0.client.read(&ask, ANSWER).await);
            let id = answer.and_then(|(_, answer)| Ok(xml::upload_id(&answer)?));
            let begun = id.map(|id| {
                mount.0.leftovers.begin();
                Self { mount, key, id, is_over: false }
            });
            // Whoever has gone drops the upload.
            let _ = tx.send(begun);
        });
        rx.await.map_err(|_| Error::Ended)?
    }

    fn forget(mut self) {
        self.is_over = true;
        self.mount.0.leftovers.end();
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_over {
            let (key, id) = (std::mem::take(&mut self.key), std::mem::take(&mut self.id));
            self.mount.0.leftovers.add(self.mount.0.client.clone(), key, id);
        }
    }
}
