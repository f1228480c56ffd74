//! Documents on flash: replaced whole and durably, the previous generation kept beside them.
//!
//! new bytes → `<file>.tmp` → fsync → link `<file>` to `<file>.prev` → rename over `<file>` → fsync of the directory.
//! At every moment either the old or the new content stands under the name, whatever loses power. Blocks: callers
//! are on a blocking lane or before the runtime.

pub mod journal_driver;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Damaged files kept beside a document; the last place is used again.
pub const DAMAGED_KEPT: u32 = 5;
/// Documents above this are refused on reading.
pub const DOCUMENT_BYTES: u64 = 64 * 1024 * 1024;
const FILE_MODE: u32 = 0o600;
/// For documents that other services read.
const PUBLIC_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o740;

/// The failed step.
#[derive(Debug, thiserror::Error)]
#[error("{act} {path} failed")]
pub struct Error {
    act: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// What becomes of the content that is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Previous {
    /// It becomes the previous generation.
    Keep,
    /// It is damaged: the previous generation stays as it is.
    Leave,
}

/// The content of `path`; `None` when there is no such file.
///
/// # Errors
/// The file is there but cannot be read, or is larger than `DOCUMENT_BYTES`.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let fault = |source| Error { act: "reading", path: path.to_owned(), source };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error)),
        Ok(entry) if entry.len() > DOCUMENT_BYTES => {
            return Err(fault(io::Error::new(io::ErrorKind::FileTooLarge, "larger than any document may be")));
        }
        Ok(_) => {}
    }
    fs::read(path).map(Some).map_err(fault)
}

/// Replaces the content of `path` durably; missing directories are made.
///
/// # Errors
/// Nothing changed: `path` still has its old content.
pub fn replace(path: &Path, bytes: &[u8], previous: Previous) -> Result<(), Error> {
    replace_as(path, bytes, previous, FILE_MODE)
}

/// As `replace`, for a document that everyone may read.
///
/// # Errors
/// As `replace`.
pub fn replace_public(path: &Path, bytes: &[u8], previous: Previous) -> Result<(), Error> {
    replace_as(path, bytes, previous, PUBLIC_MODE)
}

fn replace_as(path: &Path, bytes: &[u8], previous: Previous, mode: u32) -> Result<(), Error> {
    let fault = |act, path: &Path| {
        let path = path.to_owned();
        move |source| Error { act, path, source }
    };
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).map_err(fault("making the directory", dir))?;
    let temp = beside(path, "tmp");
    write_new(&temp, bytes, mode).map_err(fault("writing", &temp))?;
    let moved = keep(path, previous)
        .map_err(fault("keeping the previous generation of", path))
        .and_then(|()| fs::rename(&temp, path).map_err(fault("replacing", path)));
    if moved.is_err() {
        discard(&temp);
    }
    moved?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(fault("syncing the directory", dir))
}

/// Removes `path` durably; that it is not there is no error.
///
/// # Errors
/// It is still there.
pub fn remove(path: &Path) -> Result<(), Error> {
    let fault = |act| move |source| Error { act, path: path.to_owned(), source };
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(fault("removing"))?,
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(fault("syncing the directory of"))
}

/// Gives `path` and its previous generation to whom their directory belongs: what root writes for the daemon's user must
/// stay readable to it. Others than root can't, and need not.
pub fn follow_owner(path: &Path) {
    let Some(owner) = path.parent().and_then(|dir| fs::metadata(dir).ok()) else { return };
    for file in [path.to_owned(), previous(path)] {
        let _ = std::os::unix::fs::chown(file, Some(owner.uid()), Some(owner.gid()));
    }
}

/// Where the previous generation of `path` stands.
pub fn previous(path: &Path) -> PathBuf {
    beside(path, "prev")
}

/// Keeps the damaged `path` under another name as well, for a person to look at; it stays in place until replaced.
///
/// # Errors
/// It could not be linked.
pub fn set_aside(path: &Path) -> Result<PathBuf, Error> {
    let name = |number| beside(path, &format!("damaged.{number}"));
    let free = (1..DAMAGED_KEPT).map(name).find(|name| !name.exists()).unwrap_or_else(|| name(DAMAGED_KEPT));
    discard(&free);
    link_or_copy(path, &free).map_err(|source| Error { act: "setting aside", path: path.to_owned(), source })?;
    Ok(free)
}

fn keep(path: &Path, previous: Previous) -> io::Result<()> {
    if previous == Previous::Leave || !path.exists() {
        return Ok(());
    }
    let link = beside(path, "prev.tmp");
    discard(&link);
    link_or_copy(path, &link)?;
    fs::rename(&link, self::previous(path))?;
    // A rename between two names of one file does nothing at all.
    discard(&link);
    Ok(())
}

/// FAT has no links.
fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    write_new(to, &fs::read(from)?, FILE_MODE)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    discard(path);
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if written.is_err() {
        discard(path);
    }
    written
}

/// A leftover of an interrupted write; that there is none is the usual case.
fn discard(path: &Path) {
    let _ = fs::remove_file(path);
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn content(path: &Path) -> Option<String> {
        read(path).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn generations() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sub/db.json");
        assert_eq!(content(&file), None);
        for text in ["one", "two", "three"] {
            replace(&file, text.as_bytes(), Previous::Keep).unwrap();
        }
        assert_eq!(content(&file).as_deref(), Some("three"));
        assert_eq!(content(&previous(&file)).as_deref(), Some("two"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let names = fs::read_dir(file.parent().unwrap()).unwrap().count();
        assert_eq!(names, 2, "no temporary file stays");
    }

    #[test]
    fn a_write_interrupted_after_linking_is_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("db.json");
        replace(&file, b"one", Previous::Keep).unwrap();
        fs::hard_link(&file, previous(&file)).unwrap();
        fs::write(beside(&file, "tmp"), "torn").unwrap();
        replace(&file, b"two", Previous::Keep).unwrap();
        assert_eq!(content(&file).as_deref(), Some("two"));
        assert_eq!(content(&previous(&file)).as_deref(), Some("one"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn damage_is_set_aside_and_does_not_become_the_previous_generation() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("db.json");
        replace(&file, b"good", Previous::Keep).unwrap();
        replace(&file, b"newer", Previous::Keep).unwrap();
        for _ in 0..8 {
            fs::write(&file, "torn").unwrap();
            let aside = set_aside(&file).unwrap();
            replace(&file, b"good", Previous::Leave).unwrap();
            assert_eq!(content(&aside).as_deref(), Some("torn"));
        }
        assert_eq!(content(&previous(&file)).as_deref(), Some("good"));
        let names = u32::try_from(fs::read_dir(dir.path()).unwrap().count()).unwrap();
        assert_eq!(names, 2 + DAMAGED_KEPT);
    }

    #[test]
    fn a_failed_write_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("db.json");
        replace(&file, b"one", Previous::Keep).unwrap();
        fs::create_dir(beside(&file, "tmp")).unwrap();
        let error = replace(&file, b"two", Previous::Keep).unwrap_err();
        assert!(error.to_string().contains("db.json.tmp"), "{error}");
        assert_eq!(content(&file).as_deref(), Some("one"));
        assert_eq!(content(&previous(&file)), None);
    }
}
