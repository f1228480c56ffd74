//! The database of a box whose daemon does not run, for commands that change it.
//!
//! `open` → lock on the directory → bytes → `Db` → changed → `replace`: durable, the previous generation kept. The
//! daemon holds the same lock (`lock`), so the two never write side by side. Blocks: commands have no runtime to hold
//! up. A damaged file is refused here; the daemon knows how to set it aside.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::driver::FILE;
use super::schema::{self, Db, Parsed};
use crate::base::file_driver::{self, Previous};

/// Why the database cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("rill runs on {} and would write over it: stop it first", dir.display())]
    InUse { dir: PathBuf },
    #[error("{} can't be read", path.display())]
    Read { path: PathBuf, source: file_driver::Error },
    #[error("{} can't be used", path.display())]
    Refused { path: PathBuf, source: schema::Error },
    #[error("nothing was stored")]
    Write(#[from] file_driver::Error),
}

/// The right to write to a state directory, until it is dropped or the process ends.
pub struct Lock(#[expect(dead_code, reason = "dropping it unlocks")] Option<Flock<File>>);

/// Takes the lock of the state directory `dir`. A directory that is not there, or a file system without locks, has
/// nobody to keep out. `None`: someone else holds it.
pub fn lock(dir: &Path) -> Option<Lock> {
    let Ok(file) = File::open(dir) else { return Some(Lock(None)) };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Some(Lock(Some(held))),
        Err((_, Errno::EWOULDBLOCK)) => None,
        Err(_) => Some(Lock(None)),
    }
}

/// An opened database; nobody else writes to it.
pub struct Offline {
    file: PathBuf,
    parsed: Parsed,
    exists: bool,
    _lock: Lock,
}

impl Offline {
    /// Reads the database in `dir`; a missing one is empty. Writes nothing.
    ///
    /// # Errors
    /// The daemon runs, or the file cannot be read or is no database of this version.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let lock = lock(dir).ok_or_else(|| Error::InUse { dir: dir.to_owned() })?;
        let file = dir.join(FILE);
        let bytes = file_driver::read(&file).map_err(|source| Error::Read { path: file.clone(), source })?;
        let exists = bytes.is_some();
        let parsed = bytes.map(|bytes| schema::parse(&bytes)).transpose();
        let parsed = parsed.map_err(|source| Error::Refused { path: file.clone(), source })?;
        let empty =
            || Parsed { db: Db { system_metadata: Some(Default::default()), ..Db::default() }, ..Parsed::default() };
        Ok(Self { file, parsed: parsed.unwrap_or_else(empty), exists, _lock: lock })
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether there is a file.
    pub fn exists(&self) -> bool {
        self.exists
    }

    pub fn db(&self) -> &Db {
        &self.parsed.db
    }

    /// Stores `db` durably in place of what was read. Entries that are no process stay as they are.
    ///
    /// # Errors
    /// The file still has its former content.
    pub fn replace(&self, db: &Db) -> Result<(), Error> {
        let bytes = schema::serialise(db, &self.parsed.kept);
        file_driver::replace(&self.file, &bytes, Previous::Keep)?;
        file_driver::follow_owner(&self.file);
        Ok(())
    }

    /// Copies the file to `db.<millis>.json` beside it, for a person to go back to.
    ///
    /// # Errors
    /// The copy is not on the disk.
    pub fn backup(&self, millis: u128) -> Result<PathBuf, Error> {
        let path = self.file.with_file_name(format!("db.{millis}.json"));
        let Some(bytes) = file_driver::read(&self.file)? else { return Ok(path) };
        file_driver::replace(&path, &bytes, Previous::Leave)?;
        file_driver::follow_owner(&path);
        Ok(path)
    }

    /// Whether `path` is the database itself.
    pub fn is(&self, path: &Path) -> bool {
        match (fs::canonicalize(path), fs::canonicalize(&self.file)) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
    }
}
