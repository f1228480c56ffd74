//! Reads one version of a file, piece by piece, without copying.

use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;

use super::{CHUNK, Memfs, Meta};

/// The reader was the slowest one of a version that is gone, and its memory was needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("closed: too slow for a file that is no longer kept")]
pub struct Closed;

/// One open version. Dropping it gives the version up.
pub struct Reader {
    fs: Memfs,
    id: usize,
    meta: Meta,
    rest: Range<u64>,
}

impl Reader {
    pub(super) fn new(fs: Memfs, id: usize, meta: Meta) -> Self {
        let rest = 0..meta.size;
        Self { fs, id, meta, rest }
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.rest.end - self.rest.start
    }

    /// Restricts the reader to these bytes of the file.
    #[must_use]
    pub fn range(mut self, range: Range<u64>) -> Self {
        let end = range.end.min(self.meta.size);
        self.rest = range.start.min(end)..end;
        self
    }

    /// The next piece, at most `CHUNK` long; `None` at the end.
    ///
    /// # Errors
    /// `Closed`, at any time.
    pub fn next(&mut self, now: Instant) -> Option<Result<Bytes, Closed>> {
        if self.rest.is_empty() {
            return None;
        }
        let chunk = CHUNK as u64;
        let index = usize::try_from(self.rest.start / chunk).expect("a file in memory has countable pieces");
        let Some(piece) = self.fs.0.borrow_mut().chunk(now, self.id, index) else { return Some(Err(Closed)) };
        let begin = self.rest.start % chunk;
        let end = (begin + self.remaining()).min(piece.len() as u64);
        self.rest.start += end - begin;
        let within = |place: u64| usize::try_from(place).expect("at most CHUNK");
        Some(Ok(piece.slice(within(begin)..within(end))))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.fs.0.borrow_mut().drop_reader(self.id);
    }
}
