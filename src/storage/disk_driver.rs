//! The disk mount: `root_driver` on the blocking threads, with a size limit.
//!
//! Reads and uploads stream in pieces, nothing is held whole. The limit counts what the last measurement found,
//! what was uploaded and removed since, and uploads in flight; FFmpeg's own files are seen by the next measurement.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::Error;
use super::root_driver::{Found, Root, Scanned, Stat, Temporary};
use crate::base::blocking::{Blocking, Lane};
use crate::base::path;

/// Bytes read or written by one call on a blocking thread.
pub(super) const DISK_CHUNK: usize = 128 * 1024;

/// Cheap handle to the disk mount.
#[derive(Clone)]
pub struct Disk(Rc<Inner>);

struct Inner {
    blocking: Blocking,
    wake: Rc<Notify>,
    run: String,
    root: RefCell<Arc<Root>>,
    /// Bytes; 0 means no limit.
    limit: Cell<u64>,
    account: RefCell<Account>,
    last_upload: Cell<u64>,
    /// Uploads that were dropped; the next tick removes their files.
    dropped: RefCell<Vec<Temporary>>,
}

#[derive(Default)]
struct Account {
    /// Sizes of all files; `None` before the first measurement.
    stored: Option<u64>,
    /// Number of files at the last measurement.
    files: u64,
    in_flight: u64,
    /// Parts of `stored` that uploads in flight will replace.
    credit: u64,
}

/// What the files of the disk mount take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskUsage {
    pub files: u64,
    /// Bytes.
    pub stored: u64,
    /// Bytes; 0 means no limit.
    pub limit: u64,
}

/// What a name of the disk stands for.
pub enum Opened {
    File(DiskReader),
    Directory,
    /// An absolute link to this name in the file system.
    Link(String),
}

impl Disk {
    /// `run` tells uploads of this run from leftovers of another; `wake` is told when one was dropped.
    pub(super) fn new(blocking: Blocking, dir: &Path, run: String, wake: Rc<Notify>) -> Self {
        let root = RefCell::new(Arc::new(Root::new(dir, run.clone())));
        Self(Rc::new(Inner {
            wake,
            blocking,
            run,
            root,
            limit: Cell::new(0),
            account: RefCell::default(),
            last_upload: Cell::new(0),
            dropped: RefCell::default(),
        }))
    }

    /// Applies another directory or limit. Uploads in flight end in the old directory.
    pub(super) fn reconfigure(&self, dir: &Path, limit: u64) {
        if self.dir() != dir {
            *self.0.root.borrow_mut() = Arc::new(Root::new(dir, self.0.run.clone()));
            self.0.account.borrow_mut().stored = None;
        }
        self.0.limit.set(limit);
    }

    /// The directory as configured, absolute.
    pub fn dir(&self) -> PathBuf {
        self.0.root.borrow().dir().to_owned()
    }

    /// Opens the file `name`.
    ///
    /// # Errors
    /// `NotFound`, also for links that leave the directory; `Io`.
    pub async fn open(&self, name: &str) -> Result<Opened, Error> {
        let (name, disk) = (path::clean(name), self.clone());
        let asked = name.clone();
        let found = self.run(move |root| root.open(&asked)).await?;
        Ok(match found {
            Found::Directory => Opened::Directory,
            Found::Link(target) => Opened::Link(target),
            Found::File(file, stat) => {
                Opened::File(DiskReader { disk, name, file: Arc::new(file), stat, rest: 0..stat.size })
            }
        })
    }

    /// Begins a new version of `name`; nobody sees it before its commit.
    ///
    /// # Errors
    /// `NoName`, `IsDirectory`, `BadName`, `Io`.
    pub async fn create(&self, name: &str) -> Result<DiskWriter, Error> {
        let name = path::clean(name);
        let number = self.0.last_upload.get() + 1;
        self.0.last_upload.set(number);
        if self.0.limit.get() > 0 && self.0.account.borrow().stored.is_none() {
            self.measure().await;
        }
        let asked = name.clone();
        let (temporary, file) = self.run(move |root| root.create(&asked, number)).await?;
        let replaces = temporary.replaces;
        Ok(DiskWriter {
            disk: self.clone(),
            name,
            temporary: Some(temporary),
            file: Arc::new(file),
            replaces,
            buffer: Vec::new(),
            written: 0,
        })
    }

    /// Removes the file `name`.
    ///
    /// # Errors
    /// `NotFound`, also for directories; `Io`.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        let name = path::clean(name);
        let size = self.run(move |root| root.remove(&name)).await?;
        let mut account = self.0.account.borrow_mut();
        account.stored = account.stored.map(|stored| stored.saturating_sub(size));
        Ok(())
    }

    /// The files whose name begins with `prefix`, at most `depth` separators deep, in no order.
    pub(super) async fn scan(&self, prefix: String, depth: Option<usize>) -> Vec<Scanned> {
        self.run(move |root| root.scan(&prefix, depth)).await
    }

    /// Sums up all files; also removes leftovers of other runs. As dear as reading all directories.
    pub async fn measure(&self) {
        let (files, stored) = self.run(Root::measure).await;
        let mut account = self.0.account.borrow_mut();
        (account.files, account.stored) = (files, Some(stored));
    }

    /// What the last measurement found; `None` before the first one.
    pub fn usage(&self) -> Option<DiskUsage> {
        let account = self.0.account.borrow();
        account.stored.map(|stored| DiskUsage { files: account.files, stored, limit: self.0.limit.get() })
    }

    /// Whether the size limit is reached.
    pub fn is_full(&self) -> bool {
        let limit = self.0.limit.get();
        limit > 0 && self.0.account.borrow().stored.is_some_and(|stored| stored >= limit)
    }

    pub(super) fn has_limit(&self) -> bool {
        self.0.limit.get() > 0
    }

    pub(super) fn has_dropped(&self) -> bool {
        !self.0.dropped.borrow().is_empty()
    }

    /// Removes the files of dropped uploads.
    pub(super) async fn sweep(&self) {
        let dropped = std::mem::take(&mut *self.0.dropped.borrow_mut());
        if !dropped.is_empty() {
            self.run(move |_| dropped.into_iter().for_each(Temporary::abort)).await;
        }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Root) -> T + Send + 'static) -> T {
        let root = self.0.root.borrow().clone();
        self.0.blocking.run(Lane::General, move || work(&root)).await
    }
}

/// Reads one version of a file on disk.
pub struct DiskReader {
    disk: Disk,
    name: String,
    file: Arc<File>,
    stat: Stat,
    rest: Range<u64>,
}

impl DiskReader {
    /// Bytes of the file when it was opened.
    pub fn size(&self) -> u64 {
        self.stat.size
    }

    pub fn modified(&self) -> std::time::SystemTime {
        self.stat.modified
    }

    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.rest.end - self.rest.start
    }

    /// Restricts the reader to these bytes of the file.
    #[must_use]
    pub fn range(mut self, range: Range<u64>) -> Self {
        let end = range.end.min(self.stat.size);
        self.rest = range.start.min(end)..end;
        self
    }

    /// The next piece, at most `DISK_CHUNK` long; `None` at the end.
    ///
    /// # Errors
    /// `Io`, also when the file became shorter meanwhile.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        if self.rest.is_empty() {
            return None;
        }
        let len = usize::try_from(self.remaining()).unwrap_or(usize::MAX).min(DISK_CHUNK);
        Some(self.read(len).await)
    }

    /// Everything that remains, in one piece. For files known to be small.
    ///
    /// # Errors
    /// As `next`.
    pub async fn read_all(&mut self) -> Result<Bytes, Error> {
        let len = usize::try_from(self.remaining()).unwrap_or(usize::MAX);
        self.read(len).await
    }

    async fn read(&mut self, len: usize) -> Result<Bytes, Error> {
        let (file, from) = (self.file.clone(), self.rest.start);
        let read = self.disk.run(move |_| {
            let mut piece = vec![0; len];
            file.read_exact_at(&mut piece, from).map(|()| piece)
        });
        let io = |source| Error::Io { act: "read", path: self.name.clone(), source };
        let piece = read.await.map_err(io)?;
        self.rest.start += piece.len() as u64;
        Ok(piece.into())
    }
}

/// Writes one version of a file on disk. Dropping it aborts: the file stays as it was.
pub struct DiskWriter {
    disk: Disk,
    name: String,
    temporary: Option<Temporary>,
    file: Arc<File>,
    replaces: Option<u64>,
    buffer: Vec<u8>,
    written: u64,
}

impl DiskWriter {
    /// Adds `data` to the end.
    ///
    /// # Errors
    /// `TooBig`, `Full`, `Io`.
    pub async fn append(&mut self, mut data: &[u8]) -> Result<(), Error> {
        self.reserve(data.len() as u64)?;
        while !data.is_empty() {
            let (piece, rest) = data.split_at(data.len().min(DISK_CHUNK - self.buffer.len()));
            self.buffer.extend_from_slice(piece);
            if self.buffer.len() == DISK_CHUNK {
                self.flush().await?;
            }
            data = rest;
        }
        Ok(())
    }

    /// Replaces the file by what was appended; true if there was none.
    ///
    /// # Errors
    /// `IsDirectory`, `Io`; the upload is aborted then.
    pub async fn commit(mut self) -> Result<bool, Error> {
        self.flush().await?;
        let temporary = self.temporary.take().expect("taken once, here or in drop");
        let committed = self.disk.run(move |_| temporary.commit()).await;
        self.settle(committed.is_ok());
        committed.map(|()| self.replaces.is_none())
    }

    fn reserve(&mut self, more: u64) -> Result<(), Error> {
        let limit = self.disk.0.limit.get();
        let mut account = self.disk.0.account.borrow_mut();
        let replaces = self.replaces.unwrap_or(0);
        let credit = (self.written + more).min(replaces) - self.written.min(replaces);
        if limit > 0 {
            if self.written + more > limit {
                return Err(Error::TooBig);
            }
            let charged = account.stored.unwrap_or(0) + account.in_flight + more;
            if charged > limit + account.credit + credit {
                return Err(Error::Full);
            }
        }
        account.in_flight += more;
        account.credit += credit;
        self.written += more;
        Ok(())
    }

    /// Takes the upload out of the accounts of uploads in flight.
    fn settle(&mut self, committed: bool) {
        let mut account = self.disk.0.account.borrow_mut();
        let replaces = self.replaces.unwrap_or(0);
        account.in_flight -= self.written;
        account.credit -= self.written.min(replaces);
        if committed {
            account.stored = account.stored.map(|stored| (stored + self.written).saturating_sub(replaces));
        }
        self.written = 0;
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let (mut buffer, file) = (std::mem::take(&mut self.buffer), self.file.clone());
        let written = self.disk.run(move |_| {
            let result = (&*file).write_all(&buffer);
            buffer.clear();
            result.map(|()| buffer)
        });
        let io = |source| Error::Io { act: "write", path: self.name.clone(), source };
        self.buffer = written.await.map_err(io)?;
        Ok(())
    }
}

impl Drop for DiskWriter {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            self.disk.0.dropped.borrow_mut().push(temporary);
            self.disk.0.wake.notify_one();
            self.settle(false);
        }
    }
}
