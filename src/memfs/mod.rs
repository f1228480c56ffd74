//! Files in memory: bounded, versioned, all or nothing.
//!
//! `create` → `Writer` (append, commit; dropped it aborts) → the tree shows the new version to everyone at once ·
//! `open` → `Reader`, chunk by chunk without a copy, of the version that was there when it was opened.
//!
//! Invariants: files, uploads in flight and versions that only readers still hold stay within the bound together;
//! what a file being replaced occupies is credited to the upload that replaces it, so memory is at worst twice the
//! bound, while everything is replaced at once. Ages and order come from the monotonic clock. There are no
//! directories. Passive owner: no tasks, no IO, no clock of its own.

mod meter;
mod quota;
mod reader;
#[cfg(test)]
mod tests;
mod tree;
mod writer;

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::broadcast;

pub use meter::{METER_PREFIXES, Meter};
pub use quota::{Bound, Policy, Usage, implied_bound};
pub use reader::{Closed, Reader};
pub use writer::{Committed, Writer};

use crate::base::path;
use tree::Tree;

/// Files at once; one more evicts the oldest or is refused, as the bound says.
pub const FILES: usize = 16_384;
/// Longer names are refused.
pub const NAME_BYTES: usize = 1024;
/// Files are kept in pieces of this size: an upload never moves what it has written.
pub const CHUNK: usize = 64 * 1024;
/// Changes a subscriber may lag behind before it has to list anew.
pub const CHANGES: usize = 256;

/// Why a file was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a file needs a name")]
    NoName,
    #[error("the name is longer than {NAME_BYTES} bytes")]
    NameTooLong,
    /// Larger than the whole file system.
    #[error("File is too big")]
    TooBig,
    /// The bound is reached and its policy, or what is being written, leaves nothing to evict.
    #[error("not enough space on device")]
    Full,
}

/// What is known about a version of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Bytes.
    pub size: u64,
    /// Unique in this run; grows with every commit.
    pub version: u64,
    /// When the version was committed; ages count from here.
    pub inserted: Instant,
    /// The wall clock's opinion of the same moment, only to be shown.
    pub modified: SystemTime,
    /// The name had another version within the same second of the wall clock: `modified` does not tell them apart.
    pub ambiguous: bool,
    /// Kept as long as the version.
    pub kept: Kept,
}

/// Room for what readers keep beside a version for those after them, in their own shape. It makes no version different.
#[derive(Clone, Default)]
pub struct Kept(Rc<OnceCell<Box<dyn Any>>>);

impl Kept {
    /// What the first caller made.
    pub fn get_or_init(&self, make: impl FnOnce() -> Box<dyn Any>) -> &dyn Any {
        &**self.0.get_or_init(make)
    }
}

impl PartialEq for Kept {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Kept {}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "kept" } else { "nothing kept" })
    }
}

/// A listed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: Arc<str>,
    pub meta: Meta,
}

/// What happened to a file, for those who follow along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub path: Arc<str>,
    pub kind: ChangeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The version that everyone sees from now on.
    Written {
        version: u64,
    },
    Removed,
}

/// Cheap handle to one file system.
#[derive(Clone)]
pub struct Memfs(Rc<RefCell<Tree>>);

impl Memfs {
    pub fn new(bound: Bound) -> Self {
        Self(Rc::new(RefCell::new(Tree::new(bound))))
    }

    /// Applies another bound. Files stay unless the new policy evicts them; readers of dead versions go first.
    pub fn resize(&self, bound: Bound) {
        self.0.borrow_mut().resize(bound);
    }

    /// Begins a new version of `name`; nobody sees it before its commit.
    ///
    /// # Errors
    /// `NoName` for the root, `NameTooLong`.
    pub fn create(&self, name: &str) -> Result<Writer, Error> {
        let name = path::clean(name);
        if name == "/" {
            return Err(Error::NoName);
        }
        if name.len() > NAME_BYTES {
            return Err(Error::NameTooLong);
        }
        Ok(Writer::new(self.clone(), name.into()))
    }

    /// Counts from now on what uploads bring to names that begin with one of `prefixes`.
    pub fn meter(&self, prefixes: &[String]) -> Meter {
        self.0.borrow_mut().meters.add(prefixes)
    }

    /// The current version of `name`.
    pub fn meta(&self, name: &str) -> Option<Meta> {
        self.0.borrow().meta(&path::clean(name))
    }

    /// Opens the current version of `name`; it stays readable when it is replaced or removed meanwhile, unless the
    /// bound closes the reader as the slowest.
    pub fn open(&self, now: Instant, name: &str) -> Option<Reader> {
        let (id, meta) = self.0.borrow_mut().open(now, &path::cleaned(name))?;
        Some(Reader::new(self.clone(), id, meta))
    }

    /// Removes `name`; false if there is no such file.
    pub fn remove(&self, name: &str) -> bool {
        self.0.borrow_mut().remove(&path::clean(name))
    }

    /// The files whose name begins with `prefix`, by name.
    pub fn list(&self, prefix: &str) -> Vec<Entry> {
        self.0.borrow().list(prefix)
    }

    pub fn usage(&self) -> Usage {
        self.0.borrow().usage()
    }

    /// Follows all changes from now on. A subscriber that lags more than `CHANGES` behind is told so.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.0.borrow().changes()
    }
}
