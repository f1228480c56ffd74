//! HLS as the file mounts see it: playlists rewritten for a viewer, requests that belong to one viewing, uploads that
//! belong to one publishing (`contract/sessions.md` §5, §6). RFC 8216.
//!
//! text → `playlist::Prepared`, once per version of the file → one copy per viewer. Passive owner `Hls`: the prepared
//! playlists and the segments that no playlist has named yet. It serves no file and knows no session registry.

mod cache;
mod continuity;
mod ingest;
mod playlist;
#[cfg(test)]
mod tests;
mod uri;
mod viewer;

use std::cell::RefCell;
use std::rc::Rc;

pub use cache::{PREPARED, PREPARED_BYTES, Version};
pub use continuity::{Continuity, SLOT, STREAMS};
pub use ingest::UNCLAIMED;
pub use playlist::{LINE_BYTES, Prepared, entrance};
pub use viewer::{Kind, extra, is_id, peer, reference, session};

use cache::Cache;
use ingest::Unclaimed;

/// Larger playlists are neither rewritten nor counted as uploads.
pub const PLAYLIST_BYTES: u64 = 4 * 1024 * 1024;

/// Cheap handle to what is remembered of playlists and segments.
#[derive(Clone, Default)]
pub struct Hls(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    cache: Cache,
    unclaimed: Unclaimed,
}

impl Hls {
    /// The playlist `name` in that version: prepared before, or by `make` now. `None`: it can't be rewritten.
    pub fn prepare(
        &self,
        name: &str,
        version: &Version,
        make: impl FnOnce() -> Option<Prepared>,
    ) -> Option<Rc<Prepared>> {
        let known = self.0.borrow_mut().cache.find(name, version);
        if known.is_some() {
            return known;
        }
        let prepared = Rc::new(make()?);
        self.0.borrow_mut().cache.store(name, version, prepared.clone());
        Some(prepared)
    }

    /// Remembers an uploaded segment until a playlist names it.
    pub fn segment(&self, path: &str, bytes: u64) {
        self.0.borrow_mut().unclaimed.add(path, bytes);
    }

    /// Bytes of the segments that the uploaded playlist at `path` names for the first time.
    pub fn claim(&self, path: &str, content: &[u8]) -> u64 {
        std::str::from_utf8(content).map_or(0, |text| self.0.borrow_mut().unclaimed.claim(path, text))
    }
}
