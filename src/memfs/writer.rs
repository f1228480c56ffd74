//! Writes one version of a file; nobody sees it before `commit`.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::meter::Count;
use super::tree::Upload;
use super::{CHUNK, Error, Memfs};
use crate::base::clock::Now;

/// First size of a piece that grows.
const SMALL: usize = 4096;

/// An upload in flight. Dropping it aborts: the file stays as it was.
pub struct Writer {
    fs: Memfs,
    id: u64,
    path: Arc<str>,
    chunks: Vec<Bytes>,
    tail: Vec<u8>,
    written: u64,
    count: Count,
    committed: bool,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// There was no such file before.
    pub created: bool,
}

impl Writer {
    pub(super) fn new(fs: Memfs, path: Arc<str>) -> Self {
        let (id, count) = {
            let mut tree = fs.0.borrow_mut();
            (tree.new_id(), tree.meters.find(&path))
        };
        Self { fs, id, path, chunks: Vec::new(), tail: Vec::new(), written: 0, count, committed: false }
    }

    /// The name it will have.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The run of the process that writes it; `None`: somebody else does. Each `Memfs::meter` begins one.
    pub fn run(&self) -> Option<u64> {
        self.count.number()
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    /// Adds `data` to the end.
    ///
    /// # Errors
    /// `TooBig`, `Full`: nothing of `data` was added.
    pub fn append(&mut self, mut data: &[u8]) -> Result<(), Error> {
        let more = data.len() as u64;
        self.fs.0.borrow_mut().reserve(self.id, &self.path, self.written, more)?;
        self.written += more;
        self.count.add(more);
        while !data.is_empty() {
            let (piece, rest) = data.split_at(data.len().min(CHUNK - self.tail.len()));
            let len = self.tail.len() + piece.len();
            if len > self.tail.capacity() {
                let capacity = (self.tail.capacity() * 2).max(len).clamp(SMALL, CHUNK);
                self.tail.reserve_exact(capacity - self.tail.len());
            }
            self.tail.extend_from_slice(piece);
            if len == CHUNK {
                self.chunks.push(Bytes::from(std::mem::take(&mut self.tail)));
            }
            data = rest;
        }
        Ok(())
    }

    /// Replaces the file by what was appended.
    ///
    /// # Errors
    /// `Full` if there are too many files; the upload is aborted then.
    pub fn commit(mut self, now: Now) -> Result<Committed, Error> {
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.chunks.push(Bytes::from(tail.into_boxed_slice()));
        }
        let content = Rc::new(std::mem::take(&mut self.chunks));
        let upload = Upload { writer: self.id, path: self.path.clone(), content, written: self.written };
        let created = self.fs.0.borrow_mut().commit(now, upload)?;
        self.committed = true;
        Ok(Committed { created })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.committed {
            self.fs.0.borrow_mut().abort(self.id, &self.path, self.written);
        }
    }
}
