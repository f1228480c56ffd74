//! Live playlists in memory that go on after their FFmpeg, or the daemon itself, was started anew.
//!
//! What is remembered lies in a file in memory that outlives the daemon if somebody holds it (`listen::Shelf`); each
//! playlist writes one slot of it. Flash is not touched.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::hls::{Continuity, SLOT, STREAMS};

/// A file in memory that may outlive the daemon.
pub type Record = File;

/// Passive owner of what live playlists were up to.
#[derive(Default)]
pub struct Live {
    continuity: RefCell<Continuity>,
    record: Option<File>,
}

impl Live {
    /// Goes on where `record` ends; without one, nothing outlives the daemon.
    pub(super) fn new(record: Option<File>) -> Self {
        let mut bytes = vec![0; SLOT * STREAMS];
        // A new one is shorter, and what can't be read is not remembered.
        let known = record.as_ref().and_then(|file| file.read_at(&mut bytes, 0).ok()).unwrap_or(0);
        bytes.truncate(known);
        Self { continuity: RefCell::new(Continuity::load(&bytes)), record }
    }

    /// The playlist that viewers are to see instead of `text`, written to `name` in the given run of its process; `None`: it
    /// is as it is to be.
    pub fn resume(&self, name: &str, run: u64, text: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(text).ok()?;
        let (shown, slot) = self.continuity.borrow_mut().resume(name, run, text);
        if let (Some((number, slot)), Some(record)) = (slot, &self.record)
            && let Err(error) = record.write_all_at(&slot, (number * SLOT) as u64)
        {
            log::debug!(target: "Storage", "what {name} is up to is not kept: {error}");
        }
        shown
    }
}
