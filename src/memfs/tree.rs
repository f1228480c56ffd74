//! The files, who reads and replaces them, and the accounts of their memory.
//!
//! Room is made in this order: the reader of a dead version that has not moved for the longest time is closed; then,
//! if the policy is to evict, the oldest file goes that is not being replaced. Every change of the accounts is here.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::broadcast;

use super::meter::Meters;
use super::quota::{Bound, Policy, Usage};
use super::{CHANGES, Change, ChangeKind, Entry, Error, FILES, Kept, Meta};
use crate::base::clock::{Now, unix_seconds};

/// The bytes of one version, in pieces of `CHUNK` but the last. Each reader holds it once.
pub(super) type Content = Rc<Vec<Bytes>>;

pub(super) struct Tree {
    files: BTreeMap<Arc<str>, File>,
    /// Oldest first; the version breaks ties and gives the order of commits.
    by_age: BTreeSet<(Instant, u64, Arc<str>)>,
    /// By the id of the reader, `None` where one has been dropped; as many as there were at once.
    readers: Vec<Option<Open>>,
    vacant: Vec<usize>,
    /// Versions that only readers hold: bytes, number of readers.
    held: BTreeMap<u64, (u64, usize)>,
    usage: Usage,
    policy: Policy,
    pub(super) meters: Meters,
    last_id: u64,
    /// Latest second of the wall clock that a version taken out of the tree shows.
    taken_second: Option<i64>,
    changes: broadcast::Sender<Change>,
}

struct File {
    meta: Meta,
    content: Content,
    /// The upload in flight that gets the credit for this file, and how much it has written.
    replacement: Option<(u64, u64)>,
}

impl File {
    fn credit(&self) -> u64 {
        self.replacement.map_or(0, |(_, written)| written.min(self.meta.size))
    }
}

/// One reader.
struct Open {
    version: u64,
    /// `None` once it has been closed as the slowest.
    content: Option<Content>,
    /// When it last took a chunk.
    progress: Instant,
}

impl Tree {
    pub(super) fn new(bound: Bound) -> Self {
        Self {
            files: BTreeMap::new(),
            by_age: BTreeSet::new(),
            readers: Vec::new(),
            vacant: Vec::new(),
            held: BTreeMap::new(),
            usage: Usage { bound: bound.bytes, ..Usage::default() },
            policy: bound.policy,
            meters: Meters::default(),
            last_id: 0,
            taken_second: None,
            changes: broadcast::Sender::new(CHANGES),
        }
    }

    pub(super) fn resize(&mut self, bound: Bound) {
        self.usage.bound = bound.bytes;
        self.policy = bound.policy;
        // What cannot be made to fit stays; uploads are refused until it has gone.
        let _ = self.make_room(0);
    }

    pub(super) fn usage(&self) -> Usage {
        Usage { files: self.files.len(), readers: self.readers.len() - self.vacant.len(), ..self.usage }
    }

    pub(super) fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    pub(super) fn meta(&self, path: &str) -> Option<Meta> {
        self.files.get(path).map(|file| file.meta.clone())
    }

    pub(super) fn list(&self, prefix: &str) -> Vec<Entry> {
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        self.files
            .range::<str, _>(from)
            .take_while(|(path, _)| path.starts_with(prefix))
            .map(|(path, file)| Entry { path: path.clone(), meta: file.meta.clone() })
            .collect()
    }

    pub(super) fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    // Readers.

    pub(super) fn open(&mut self, now: Instant, path: &str) -> Option<(usize, Meta)> {
        let file = self.files.get(path)?;
        let open = Open { version: file.meta.version, content: Some(file.content.clone()), progress: now };
        let id = match self.vacant.pop() {
            Some(id) => id,
            None => {
                self.readers.push(None);
                self.readers.len() - 1
            }
        };
        self.readers[id] = Some(open);
        Some((id, file.meta.clone()))
    }

    /// The piece `index` of what `reader` reads; `None` if the reader has been closed.
    pub(super) fn chunk(&mut self, now: Instant, reader: usize, index: usize) -> Option<Bytes> {
        let open = self.readers.get_mut(reader)?.as_mut()?;
        open.progress = now;
        open.content.as_ref()?.get(index).cloned()
    }

    pub(super) fn drop_reader(&mut self, reader: usize) {
        self.close(reader);
        self.readers[reader] = None;
        self.vacant.push(reader);
    }

    /// Takes the content from a reader.
    fn close(&mut self, reader: usize) {
        let Some(open) = self.readers.get_mut(reader).and_then(Option::as_mut) else { return };
        if open.content.take().is_none() {
            return;
        }
        if let Some((bytes, readers)) = self.held.get_mut(&open.version) {
            *readers -= 1;
            if *readers == 0 {
                self.usage.held -= *bytes;
                self.held.remove(&open.version);
            }
        }
    }

    // Writers.

    /// Accounts for `more` bytes of the upload `writer` to `path`, which has `written` so far.
    pub(super) fn reserve(&mut self, writer: u64, path: &str, written: u64, more: u64) -> Result<(), Error> {
        let total = written + more;
        if total > self.usage.bound {
            return Err(Error::TooBig);
        }
        let credited = self.set_credit(writer, path, total);
        let made = self.make_room(more);
        if made.is_err() && credited {
            self.set_credit(writer, path, written);
        }
        made?;
        self.usage.in_flight += more;
        Ok(())
    }

    /// Ends the upload `writer` without a trace.
    pub(super) fn abort(&mut self, writer: u64, path: &str, written: u64) {
        self.usage.in_flight -= written;
        if self.set_credit(writer, path, 0)
            && let Some(file) = self.files.get_mut(path)
        {
            file.replacement = None;
        }
    }

    /// Shows the upload `writer` as the file `path`. True if there was none before.
    ///
    /// # Errors
    /// `Full` beyond `FILES` if the policy is to refuse; the upload is not ended then.
    pub(super) fn commit(&mut self, now: Now, upload: Upload) -> Result<bool, Error> {
        let Upload { writer, path, content, written } = upload;
        let is_new = !self.files.contains_key(&path);
        if is_new && self.files.len() >= FILES {
            let oldest = self.by_age.first().map(|(_, _, path)| path.clone());
            match (self.policy, oldest) {
                (Policy::Evict, Some(oldest)) => self.remove(&oldest),
                _ => return Err(Error::Full),
            };
        }
        let replacement = self.take(&path).and_then(|old| old.replacement).filter(|&(other, _)| other != writer);
        let ambiguous = self.taken_second == Some(unix_seconds(now.wall));
        self.usage.in_flight -= written;
        self.usage.stored += written;
        let version = self.new_id();
        let meta =
            Meta { size: written, version, inserted: now.mono, modified: now.wall, ambiguous, kept: Kept::default() };
        self.by_age.insert((now.mono, version, path.clone()));
        self.files.insert(path.clone(), File { meta, content, replacement: None });
        if let Some((other, total)) = replacement {
            self.set_credit(other, &path, total);
        }
        // The version replaced may now be held by readers.
        let _ = self.make_room(0);
        self.announce(path, ChangeKind::Written { version });
        Ok(is_new)
    }

    pub(super) fn remove(&mut self, path: &str) -> bool {
        let Some((path, _)) = self.files.get_key_value(path) else { return false };
        let path = path.clone();
        self.take(&path);
        self.announce(path, ChangeKind::Removed);
        true
    }

    // Accounts.

    /// Makes `total` the size of the upload that replaces `path`. False if another upload has the credit, or there
    /// is nothing to replace.
    fn set_credit(&mut self, writer: u64, path: &str, total: u64) -> bool {
        let Some(file) = self.files.get_mut(path) else { return false };
        if file.replacement.is_some_and(|(owner, _)| owner != writer) {
            return false;
        }
        self.usage.credit -= file.credit();
        file.replacement = Some((writer, total));
        self.usage.credit += file.credit();
        true
    }

    fn make_room(&mut self, more: u64) -> Result<(), Error> {
        while !self.usage.fits(more) {
            if self.close_slowest() {
                continue;
            }
            if self.policy == Policy::Refuse || !self.evict_oldest() {
                return Err(Error::Full);
            }
        }
        Ok(())
    }

    /// Closes the reader of a dead version that has not moved for the longest time.
    fn close_slowest(&mut self) -> bool {
        let is_dead = |open: &Open| self.held.get(&open.version).is_some_and(|&(bytes, _)| bytes > 0);
        let open = self.readers.iter().enumerate().filter_map(|(id, open)| Some((id, open.as_ref()?)));
        let dead = open.filter(|(_, open)| open.content.is_some() && is_dead(open));
        let Some((slowest, _)) = dead.min_by_key(|(_, open)| open.progress) else { return false };
        self.close(slowest);
        true
    }

    fn evict_oldest(&mut self) -> bool {
        // A file under replacement frees little: its credit goes with it.
        let gain = |path: &Arc<str>| self.files.get(path).map_or(0, |file| file.meta.size - file.credit());
        let oldest = self.by_age.iter().map(|(_, _, path)| path).find(|path| gain(path) > 0).cloned();
        oldest.is_some_and(|path| self.remove(&path))
    }

    /// Takes a file out of the tree; if it is being read, its bytes are held from now on.
    fn take(&mut self, path: &str) -> Option<File> {
        let Slot::Occupied(slot) = self.files.entry(path.into()) else { return None };
        let (path, file) = slot.remove_entry();
        self.usage.credit -= file.credit();
        self.usage.stored -= file.meta.size;
        self.by_age.remove(&(file.meta.inserted, file.meta.version, path));
        self.taken_second = self.taken_second.max(Some(unix_seconds(file.meta.modified)));
        let readers = Rc::strong_count(&file.content) - 1;
        if readers > 0 {
            self.usage.held += file.meta.size;
            self.held.insert(file.meta.version, (file.meta.size, readers));
        }
        Some(file)
    }

    fn announce(&self, path: Arc<str>, kind: ChangeKind) {
        // Nobody needs to be listening.
        let _ = self.changes.send(Change { path, kind });
    }
}

/// A complete upload.
pub(super) struct Upload {
    pub(super) writer: u64,
    pub(super) path: Arc<str>,
    pub(super) content: Content,
    pub(super) written: u64,
}
