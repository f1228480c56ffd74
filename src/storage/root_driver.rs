//! One directory on disk as a file system: blocking calls that cannot leave it.
//!
//! Links are followed as long as the file they end at is inside; an absolute link inside answers where it points.
//! What was opened is checked afterwards by the path the kernel knows it under, so that no race with a link counts.
//! Uploads go to a hidden file beside their target and are renamed. Called on a blocking thread only.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::Error;
use crate::base::path;

/// Files of one scan; further ones are left out, with a line in the log.
pub(super) const SCANNED: usize = 50_000;
/// Directories below each other that a scan enters.
const SCANNED_DEPTH: usize = 64;
/// Names of uploads in flight begin like this; they are never listed or served.
const UPLOAD_PREFIX: &str = ".rill-upload-";
/// Without `O_LARGEFILE` 32-bit systems neither open nor write a file beyond 2 GiB.
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK).union(OFlag::O_LARGEFILE);
const CREATE: OFlag =
    OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_EXCL).union(OFlag::O_CLOEXEC).union(OFlag::O_LARGEFILE);

/// The directory.
#[derive(Debug)]
pub(super) struct Root {
    /// As configured.
    dir: PathBuf,
    /// Without links.
    real: PathBuf,
    /// Tells our uploads in flight from leftovers of another run.
    run: String,
}

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Found {
    File(File, Stat),
    Directory,
    /// An absolute link to this name in the file system.
    Link(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Bytes.
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

/// A file that a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    pub(super) path: String,
    pub(super) stat: Stat,
}

/// An upload in flight.
#[derive(Debug)]
pub(super) struct Temporary {
    dir: OwnedFd,
    name: String,
    target: String,
    /// Size of what it will replace.
    pub(super) replaces: Option<u64>,
}

impl Root {
    pub(super) fn new(dir: &Path, run: String) -> Self {
        let real = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        Self { dir: dir.to_owned(), real, run }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens what the cleaned path `name` stands for.
    pub(super) fn open(&self, name: &str) -> Result<Found, Error> {
        if name == "/" {
            return Ok(Found::Directory);
        }
        if is_upload(name) {
            return Err(Error::NotFound);
        }
        let full = self.real.join(&name[1..]);
        let opened = match nix::fcntl::open(&full, READ | OFlag::O_NOFOLLOW, Mode::empty()) {
            Err(Errno::ELOOP) => match self.link(&full)? {
                Some(target) => return Ok(Found::Link(target)),
                None => nix::fcntl::open(&full, READ, Mode::empty()),
            },
            opened => opened,
        };
        let file = File::from(opened.map_err(|errno| read_error(errno, name))?);
        self.check_inside(&file)?;
        let meta = file.metadata().map_err(|source| Error::Io { act: "read", path: name.to_owned(), source })?;
        if meta.is_dir() {
            return Ok(Found::Directory);
        }
        if !meta.is_file() {
            return Err(Error::NotFound);
        }
        let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(Found::File(file, Stat { size: meta.size(), modified }))
    }

    /// Where the link at `full` points, if that is an absolute path inside; `None` if it is relative.
    fn link(&self, full: &Path) -> Result<Option<String>, Error> {
        let target = fs::read_link(full).map_err(|_| Error::NotFound)?;
        if !target.is_absolute() {
            return Ok(None);
        }
        let text = path::clean(target.to_str().ok_or(Error::NotFound)?);
        let inside = |root: &Path| Some(format!("/{}", Path::new(&text).strip_prefix(root).ok()?.to_str()?));
        inside(&self.dir).or_else(|| inside(&self.real)).map(Some).ok_or(Error::NotFound)
    }

    fn check_inside(&self, fd: &impl AsFd) -> Result<(), Error> {
        let known = fs::read_link(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()));
        if known.is_ok_and(|real| real.starts_with(&self.real)) { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Begins an upload to the cleaned path `name`, creating the directories above it.
    pub(super) fn create(&self, name: &str, number: u64) -> Result<(Temporary, File), Error> {
        let io = |errno: Errno| write_error(errno, name);
        let (above, last) = split(name).ok_or(Error::NoName)?;
        if is_upload(name) {
            return Err(io(Errno::EPERM));
        }
        let dir = self.directory(above, Missing::Create).map_err(io)?;
        let replaces = match entry(&dir, last) {
            Ok(meta) if meta.is_dir() => return Err(Error::IsDirectory(name.to_owned())),
            Ok(meta) if meta.is_file() => Some(meta.size()),
            Ok(_) => Some(0),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(io(errno)),
        };
        let temporary = format!("{UPLOAD_PREFIX}{}-{number}", self.run);
        let mode = Mode::from_bits_truncate(0o644);
        let file = openat(&dir, temporary.as_str(), CREATE, mode).map_err(io)?;
        Ok((Temporary { dir, name: temporary, target: last.to_owned(), replaces }, file.into()))
    }

    /// Removes the file or link at the cleaned path `name`, never a directory, and tells its size.
    pub(super) fn remove(&self, name: &str) -> Result<u64, Error> {
        let (above, last) = split(name).ok_or(Error::NotFound)?;
        let dir = self.directory(above, Missing::Fail).map_err(|_| Error::NotFound)?;
        let meta = entry(&dir, last).map_err(|errno| read_error(errno, name))?;
        if meta.is_dir() {
            return Err(Error::NotFound);
        }
        unlinkat(&dir, last, UnlinkatFlags::NoRemoveDir).map_err(|errno| write_error(errno, name))?;
        Ok(meta.size())
    }

    /// Opens the directory `above`, checking at each link that it stays inside.
    fn directory(&self, above: &str, missing: Missing) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = nix::fcntl::open(&self.real, flags, Mode::empty())?;
        for part in above.split('/').filter(|part| !part.is_empty()) {
            let mut next = openat(&dir, part, flags | OFlag::O_NOFOLLOW, Mode::empty());
            if matches!(next, Err(Errno::ENOENT)) && missing == Missing::Create {
                match mkdirat(&dir, part, Mode::from_bits_truncate(0o755)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
                next = openat(&dir, part, flags | OFlag::O_NOFOLLOW, Mode::empty());
            }
            // A link answers ELOOP or ENOTDIR here; it counts if it ends inside.
            if matches!(next, Err(Errno::ELOOP | Errno::ENOTDIR)) && readlinkat(&dir, part).is_ok() {
                next = openat(&dir, part, flags, Mode::empty());
                if let Ok(fd) = &next {
                    self.check_inside(fd).map_err(|_| Errno::EXDEV)?;
                }
            }
            dir = next?;
        }
        Ok(dir)
    }

    /// All files whose name begins with `prefix`, at most `depth` separators deep; no more than `SCANNED`.
    pub(super) fn scan(&self, prefix: &str, depth: Option<usize>) -> Vec<Scanned> {
        let mut found = Vec::new();
        self.walk(prefix, depth, |path, entry| {
            if found.len() == SCANNED {
                log::warn!(target: "DiskFS", "more than {SCANNED} files below {prefix}, the rest is ignored");
                return ControlFlow::Break(());
            }
            if let Ok(meta) = entry.metadata() {
                let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push(Scanned { path, stat: Stat { size: meta.size(), modified } });
            }
            ControlFlow::Continue(())
        });
        found
    }

    /// Number of all files and the sum of their sizes in bytes.
    pub(super) fn measure(&self) -> (u64, u64) {
        let (mut files, mut sum) = (0u64, 0u64);
        self.walk("/", None, |_, entry| {
            files += 1;
            sum = sum.saturating_add(entry.metadata().map_or(0, |meta| meta.size()));
            ControlFlow::Continue(())
        });
        (files, sum)
    }

    /// Visits all files whose name begins with `prefix`. Links are not followed; leftovers of other runs go.
    fn walk(
        &self,
        prefix: &str,
        depth: Option<usize>,
        mut visit: impl FnMut(String, &fs::DirEntry) -> ControlFlow<()>,
    ) {
        let start = path::clean(prefix.rsplit_once('/').map_or("", |(above, _)| above));
        let Ok(real) = fs::canonicalize(self.real.join(&start[1..])) else { return };
        if !real.starts_with(&self.real) {
            return;
        }
        let start = if start == "/" { String::new() } else { start };
        let depth = depth.unwrap_or(SCANNED_DEPTH).min(SCANNED_DEPTH);
        let mut open = vec![(real, start)];
        while let Some((real, name)) = open.pop() {
            let Ok(entries) = fs::read_dir(&real) else { continue };
            for entry in entries.flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                let Some(last) = entry.file_name().to_str().map(str::to_owned) else { continue };
                let path = format!("{name}/{last}");
                if last.starts_with(UPLOAD_PREFIX) {
                    self.sweep(&entry.path(), &last);
                } else if kind.is_dir() && path.matches('/').count() < depth {
                    open.push((entry.path(), path));
                } else if kind.is_file() && path.starts_with(prefix) && visit(path, &entry).is_break() {
                    return;
                }
            }
        }
    }

    fn sweep(&self, file: &Path, name: &str) {
        if !name[UPLOAD_PREFIX.len()..].starts_with(&self.run) {
            // Gone already is as good.
            let _ = fs::remove_file(file);
        }
    }
}

impl Temporary {
    /// Replaces the target.
    pub(super) fn commit(self) -> Result<(), Error> {
        renameat(&self.dir, self.name.as_str(), &self.dir, self.target.as_str()).map_err(|errno| {
            // The reason why it failed matters more than a leftover, which the next scan removes.
            let _ = unlinkat(&self.dir, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
            write_error(errno, &self.target)
        })
    }

    /// Leaves no trace.
    pub(super) fn abort(self) {
        let _ = unlinkat(&self.dir, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    Fail,
}

fn split(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('/').filter(|(_, last)| !last.is_empty())
}

fn is_upload(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with(UPLOAD_PREFIX))
}

/// What `last` is in the directory, without following a link. Not `fstat` of nix, which on 32-bit systems fails at files
/// beyond 2 GiB and at times after 2038.
fn entry(dir: &OwnedFd, last: &str) -> Result<fs::Metadata, Errno> {
    let path = format!("/proc/self/fd/{}/{last}", dir.as_raw_fd());
    fs::symlink_metadata(path).map_err(|error| error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw))
}

/// Names that cannot be there are not found; the rest is the disk's fault.
fn read_error(errno: Errno, name: &str) -> Error {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::EINVAL | Errno::ELOOP | Errno::ENXIO => {
            Error::NotFound
        }
        errno => Error::Io { act: "read", path: name.to_owned(), source: errno.into() },
    }
}

fn write_error(errno: Errno, name: &str) -> Error {
    let source = io::Error::from(errno);
    match errno {
        Errno::EISDIR => Error::IsDirectory(name.to_owned()),
        Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::EINVAL | Errno::ELOOP | Errno::EPERM | Errno::EXDEV => {
            Error::BadName { path: name.to_owned(), source }
        }
        _ => Error::Io { act: "write", path: name.to_owned(), source },
    }
}
