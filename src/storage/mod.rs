//! The file systems by name: `disk`, `mem`, and those of S3; and the cleanup rules that run over them.
//!
//! `Handle::mount` → `Mount` → reader or writer. The task in `driver` runs the rules; `disk_driver` does the disk's
//! IO on blocking threads; `s3` speaks to its servers; `cache` keeps small files of disk and S3. What a reload changes
//! is applied by `reconfigure`: files in memory stay, and so do S3 mounts that it does not concern.

mod cache;
mod cleanup;
mod disk_driver;
mod driver;
mod live_driver;
mod root_driver;
mod s3;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::SystemTime;

use tokio::sync::Notify;

pub use cache::{Cache, CacheUsage, Cached};
pub use disk_driver::{Disk, DiskReader, DiskUsage, DiskWriter, Opened};
pub use live_driver::{Live, Record};
pub use s3::{Error as S3Error, Meta as S3Meta, S3, S3Reader, S3Writer};

use crate::base::alarm::Alarms;
use crate::base::blocking::Blocking;
use crate::base::glob::Glob;
use crate::base::task;
use crate::config;
use crate::media::Repairs;
use crate::memfs::{self, Bound, Memfs, Policy, implied_bound};
use crate::process::CleanupRule;
use cleanup::{Rule, Rules, Seen};

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("file not found")]
    NotFound,
    #[error("a file needs a name")]
    NoName,
    #[error("{0} is a directory")]
    IsDirectory(String),
    /// The name cannot be written to, whatever the disk's state.
    #[error("can't write {path}")]
    BadName { path: String, source: io::Error },
    /// Larger than the whole file system.
    #[error("File is too big")]
    TooBig,
    /// The size limit of the disk is reached.
    #[error("not enough space on device")]
    Full,
    /// The disk failed.
    #[error("can't {act} {path}")]
    Io { act: &'static str, path: String, source: io::Error },
    #[error(transparent)]
    Memfs(#[from] memfs::Error),
    #[error(transparent)]
    S3(#[from] s3::Error),
}

/// Handles and facts that the mounts need.
pub struct Deps {
    pub blocking: Blocking,
    pub alarms: Alarms,
    /// Bytes of memory that the daemon may use (`sys::memory::available`).
    pub ram: u64,
    /// Tells uploads of this run from leftovers of another.
    pub entropy: [u8; 8],
    /// Of segments in memory.
    pub repairs: Repairs,
    /// What live playlists were up to, of a former daemon; empty if there was none.
    pub record: Option<Record>,
}

#[cfg(test)]
impl Deps {
    /// Of a box with 1 GiB.
    pub(crate) fn sample() -> Self {
        let (blocking, alarms, repairs) = (Blocking::default(), Alarms::default(), Repairs::default());
        Self { blocking, alarms, ram: 1 << 30, entropy: [7; 8], repairs, record: None }
    }
}

/// Cheap handle to all mounts.
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

struct Inner {
    mem: Memfs,
    repairs: Repairs,
    live: Live,
    disk: Disk,
    cache: Cache,
    ram: u64,
    memory_limit: Cell<Option<u64>>,
    alarms: Alarms,
    s3: RefCell<Vec<S3>>,
    s3_shared: s3::Shared,
    rules: Rc<RefCell<Rules>>,
    seen: RefCell<Seen>,
    /// Rules about the disk whose files are to be removed.
    purges: RefCell<Vec<Rule>>,
    late: RefCell<driver::Late>,
    wake: Rc<Notify>,
}

/// A file system.
pub enum Mount<'a> {
    Mem(&'a Memfs),
    Disk(&'a Disk),
    S3(S3),
}

/// What the API tells about a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    pub kind: &'static str,
    /// Where it is mounted.
    pub path: String,
}

/// A listed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub path: String,
    /// Bytes.
    pub size: u64,
    pub modified: SystemTime,
    /// Order of age within a file system, oldest first, whatever the wall clock did.
    pub age: u128,
}

/// Whether dropping rules also removes the files of `purge_on_delete` rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    Yes,
    No,
}

/// Starts the mounts on the current `LocalSet`.
pub fn spawn(section: &config::Storage, deps: Deps) -> Handle {
    let run: String = deps.entropy.iter().map(|byte| format!("{byte:02x}")).collect();
    let wake = Rc::new(Notify::new());
    let s3_shared = s3::Shared::spawn(&deps.blocking);
    let disk = Disk::new(deps.blocking, &section.disk.dir, run, wake.clone());
    disk.reconfigure(&section.disk.dir, section.disk.max_size);
    let inner = Rc::new(Inner {
        mem: Memfs::new(bound(&section.memory, deps.ram)),
        repairs: deps.repairs,
        live: Live::new(deps.record),
        disk,
        cache: Cache::new(section.disk.cache.clone()),
        ram: deps.ram,
        memory_limit: Cell::new(section.memory.max_size),
        alarms: deps.alarms,
        s3: RefCell::default(),
        s3_shared,
        rules: Rc::default(),
        seen: RefCell::default(),
        purges: RefCell::default(),
        late: RefCell::default(),
        wake,
    });
    task::spawn(driver::run(Rc::downgrade(&inner)));
    inner.mount_s3(&section.s3);
    Handle(inner)
}

fn bound(section: &config::MemoryStorage, ram: u64) -> Bound {
    match section.max_size {
        None => implied_bound(ram),
        Some(bytes) => Bound { bytes, policy: if section.purge { Policy::Evict } else { Policy::Refuse } },
    }
}

impl Handle {
    /// Applies another configuration. Files in memory stay; the disk cache starts over if it is about something else.
    pub fn reconfigure(&self, section: &config::Storage) {
        let inner = &self.0;
        inner.memory_limit.set(section.memory.max_size);
        inner.mem.resize(bound(&section.memory, inner.ram));
        if inner.disk.dir() != section.disk.dir {
            inner.cache.clear();
        }
        inner.disk.reconfigure(&section.disk.dir, section.disk.max_size);
        inner.cache.reconfigure(section.disk.cache.clone());
        inner.mount_s3(&section.s3);
        inner.wake.notify_one();
    }

    /// The file system of this name.
    pub fn mount(&self, name: &str) -> Option<Mount<'_>> {
        match name {
            "mem" => Some(Mount::Mem(&self.0.mem)),
            "disk" => Some(Mount::Disk(&self.0.disk)),
            name => self.0.s3.borrow().iter().find(|mount| mount.name() == name).cloned().map(Mount::S3),
        }
    }

    /// All file systems.
    pub fn mounts(&self) -> Vec<Described> {
        let described = |name: &str, kind, path: &str| Described { name: name.to_owned(), kind, path: path.to_owned() };
        let own = [described("disk", "disk", "/"), described("mem", "mem", "/memfs")];
        let s3 = self.0.s3.borrow();
        own.into_iter().chain(s3.iter().map(|mount| described(mount.name(), "s3", mount.mountpoint()))).collect()
    }

    /// Waits a moment for what is still to be tidied up elsewhere.
    pub async fn settle(&self) {
        self.0.s3_shared.settle().await;
    }

    pub fn mem(&self) -> &Memfs {
        &self.0.mem
    }

    /// Of segments in memory.
    pub fn live(&self) -> &Live {
        &self.0.live
    }

    pub fn repairs(&self) -> &Repairs {
        &self.0.repairs
    }

    pub fn disk(&self) -> &Disk {
        &self.0.disk
    }

    /// The configured bound of the files in memory, in bytes; `None`: the implied one holds.
    pub fn memory_limit(&self) -> Option<u64> {
        self.0.memory_limit.get()
    }

    /// Small files of the disk mount. Whoever writes to the disk through us invalidates them.
    pub fn cache(&self) -> &Cache {
        &self.0.cache
    }

    /// The files of `mount` that match `glob`, all without one, in no order.
    ///
    /// # Errors
    /// `S3`.
    pub async fn list(&self, mount: Mount<'_>, glob: Option<&Glob>) -> Result<Vec<Listed>, Error> {
        let prefix = glob.map_or("/", Glob::prefix);
        let matches = |path: &str| glob.is_none_or(|glob| glob.matches(path));
        let by_date = |path: String, size, modified: SystemTime| {
            let age = modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
            Listed { path, size, modified, age }
        };
        Ok(match mount {
            Mount::Mem(mem) => {
                let files = mem.list(prefix).into_iter().filter(|file| matches(&file.path));
                files
                    .map(|file| Listed {
                        path: file.path.to_string(),
                        size: file.meta.size,
                        modified: file.meta.modified,
                        age: u128::from(file.meta.version),
                    })
                    .collect()
            }
            Mount::Disk(disk) => {
                let files = disk.scan(prefix.to_owned(), glob.and_then(Glob::depth)).await;
                let files = files.into_iter().filter(|file| matches(&file.path));
                files.map(|file| by_date(file.path, file.stat.size, file.stat.modified)).collect()
            }
            Mount::S3(s3) => {
                let files = s3.list(prefix, glob.and_then(Glob::depth), matches).await?;
                files.into_iter().map(|file| by_date(file.path, file.size, file.modified)).collect()
            }
        })
    }

    /// Replaces the cleanup rules of `owner` (a process id); placeholders are resolved already.
    pub fn set_rules(&self, owner: &str, rules: Vec<CleanupRule>) {
        self.0.late.borrow_mut().forget(owner);
        self.0.rules.borrow_mut().set(owner, &rules);
        self.0.wake.notify_one();
        for mount in self.0.s3.borrow().iter() {
            mount.purges().forget(owner);
            mount.wake();
        }
    }

    /// Drops the rules of `owner`. Files in memory that are to be purged are gone at once, those on disk soon.
    pub fn drop_rules(&self, owner: &str, purge: Purge) {
        let rules = self.0.rules.borrow_mut().drop(owner);
        if purge == Purge::Yes {
            driver::purge(&self.0, owner, rules);
        }
    }
}

impl Inner {
    /// Mounts what `sections` name; mounts that are the same already stay.
    fn mount_s3(&self, sections: &[config::S3Storage]) {
        let (alarms, cache, rules) = (self.alarms.clone(), self.cache.clone(), self.rules.clone());
        let former = self.s3.take();
        if former.iter().map(S3::section).ne(sections) {
            cache.clear();
        }
        let deps = s3::Deps { alarms, cache, rules };
        self.s3.replace(s3::mount(sections, former, &self.s3_shared, &deps));
    }

    /// Whether the next round may find something to do.
    fn has_work(&self) -> bool {
        let rules = self.rules.borrow();
        self.disk.has_limit()
            || self.disk.has_dropped()
            || !self.purges.borrow().is_empty()
            || !self.late.borrow().is_empty()
            || rules.has_standing()
    }
}
