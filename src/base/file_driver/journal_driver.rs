//! Several documents replaced together: all of them or none, whatever loses power.
//!
//! contents → journal, durable: from here on the change has happened → each document replaced → journal removed. A start
//! that finds a journal finishes it first (`recover`). A journal that fits neither what the documents held nor what they
//! were to hold is of another time, and changes nothing. Blocks, as `file_driver`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, Previous, read, replace};
use crate::base::id;

const VERSION: u64 = 1;

/// A document that is to be replaced together with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// A document and the journal that makes its replacement one step with that of others. Its owner finishes what the
/// journal says at the next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joint {
    pub journal: PathBuf,
    pub file: Replacement,
}

/// What `recover` has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// An interrupted change has been finished.
    Finished,
    /// The journal was of another time, or damaged; it is gone.
    Discarded,
}

#[derive(Serialize, Deserialize)]
struct Journal {
    version: u64,
    files: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    path: PathBuf,
    /// Names the content it had; `None`: there was no such file.
    before: Option<String>,
    content: String,
}

/// Replaces all documents, or none.
///
/// # Errors
/// All documents hold what they held before.
pub fn replace_all(journal: &Path, replacements: &[Replacement]) -> Result<(), Error> {
    let mut before = Vec::with_capacity(replacements.len());
    let mut files = Vec::with_capacity(replacements.len());
    for Replacement { path, bytes } in replacements {
        let old = read(path)?;
        files.push(Entry {
            path: path.clone(),
            before: old.as_deref().map(id::of_content),
            content: String::from_utf8(bytes.clone())
                .map_err(|error| fault("noting", journal, io::Error::other(error)))?,
        });
        before.push(old);
    }
    let text = serde_json::to_vec(&Journal { version: VERSION, files })
        .map_err(|error| fault("noting", journal, io::Error::other(error)))?;
    replace(journal, &text, Previous::Leave)?;
    for (at, Replacement { path, bytes }) in replacements.iter().enumerate() {
        if let Err(error) = replace(path, bytes, Previous::Keep) {
            undo(journal, &replacements[..=at], &before)?;
            return Err(error);
        }
    }
    // One that stays fits what the documents hold, and later nothing: it does no harm.
    let _ = remove(journal);
    Ok(())
}

/// Finishes what the journal says, if there is one.
///
/// # Errors
/// A document cannot be read or written; the journal stays for the next start.
pub fn recover(journal: &Path) -> Result<Option<Recovered>, Error> {
    let Some(bytes) = read(journal)? else { return Ok(None) };
    let parsed = serde_json::from_slice(&bytes).ok().filter(|journal: &Journal| journal.version == VERSION);
    let Some(Journal { files, .. }) = parsed else { return remove(journal).map(|()| Some(Recovered::Discarded)) };
    let mut left = Vec::new();
    for Entry { path, before, content } in &files {
        let current = read(path)?;
        if current.as_deref() == Some(content.as_bytes()) {
            continue;
        }
        if current.as_deref().map(id::of_content) != *before {
            return remove(journal).map(|()| Some(Recovered::Discarded));
        }
        left.push((path, content));
    }
    for (path, content) in left {
        replace(path, content.as_bytes(), Previous::Keep)?;
    }
    remove(journal).map(|()| Some(Recovered::Finished))
}

/// Gives the documents back what they held. If even that fails, the next start finishes the change.
fn undo(journal: &Path, replaced: &[Replacement], before: &[Option<Vec<u8>>]) -> Result<(), Error> {
    for (Replacement { path, bytes }, old) in replaced.iter().zip(before) {
        match old {
            // The one that failed was not replaced.
            _ if read(path)?.as_ref() != Some(bytes) => {}
            Some(old) => replace(path, old, Previous::Leave)?,
            None => remove(path)?,
        }
    }
    remove(journal)
}

fn remove(path: &Path) -> Result<(), Error> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::remove_file(path).and_then(|()| File::open(dir)?.sync_all()).map_err(|source| fault("removing", path, source))
}

fn fault(act: &'static str, path: &Path, source: io::Error) -> Error {
    Error { act, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        dir: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let place = Self { dir: tempfile::tempdir().unwrap() };
            fs::write(place.path("a"), "a0").unwrap();
            fs::write(place.path("b"), "b0").unwrap();
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn change(&self, a: &str, b: &str) -> [Replacement; 2] {
            [("a", a), ("b", b)].map(|(name, text)| Replacement { path: self.path(name), bytes: text.into() })
        }

        #[track_caller]
        fn check(&self, a: &str, b: &str) {
            let text = |name| fs::read_to_string(self.path(name)).unwrap();
            assert_eq!((text("a").as_str(), text("b").as_str()), (a, b));
        }

        /// The journal of a change that was interrupted before it replaced anything.
        fn interrupt(&self, a: &str, b: &str) {
            replace_all(&self.path("journal"), &self.change(a, b)).unwrap();
            let files = [("a", "a0", a), ("b", "b0", b)].map(|(name, before, content)| Entry {
                path: self.path(name),
                before: Some(id::of_content(before.as_bytes())),
                content: content.to_owned(),
            });
            let journal = Journal { version: VERSION, files: files.into() };
            fs::write(self.path("journal"), serde_json::to_vec(&journal).unwrap()).unwrap();
            fs::write(self.path("a"), "a0").unwrap();
            fs::write(self.path("b"), "b0").unwrap();
        }
    }

    #[test]
    fn all_are_replaced_and_the_journal_goes() {
        let place = Place::new();
        replace_all(&place.path("journal"), &place.change("a1", "b1")).unwrap();
        place.check("a1", "b1");
        assert!(!place.path("journal").exists());
        assert_eq!(recover(&place.path("journal")).unwrap(), None);
    }

    #[test]
    fn an_interrupted_change_is_finished() {
        for replaced in [&[][..], &["a"], &["b"], &["a", "b"]] {
            let place = Place::new();
            place.interrupt("a1", "b1");
            for name in replaced {
                fs::write(place.path(name), format!("{name}1")).unwrap();
            }
            assert_eq!(recover(&place.path("journal")).unwrap(), Some(Recovered::Finished), "{replaced:?}");
            place.check("a1", "b1");
            assert!(!place.path("journal").exists());
        }
    }

    #[test]
    fn a_journal_of_another_time_changes_nothing() {
        let place = Place::new();
        place.interrupt("a1", "b1");
        fs::write(place.path("b"), "b2").unwrap();
        assert_eq!(recover(&place.path("journal")).unwrap(), Some(Recovered::Discarded));
        place.check("a0", "b2");
        fs::write(place.path("journal"), "{").unwrap();
        assert_eq!(recover(&place.path("journal")).unwrap(), Some(Recovered::Discarded));
        place.check("a0", "b2");
        assert!(!place.path("journal").exists());
    }

    #[test]
    fn a_document_that_cannot_be_replaced_gives_the_others_back() {
        for obstacle in ["a.tmp", "b.tmp"] {
            let place = Place::new();
            fs::create_dir(place.path(obstacle)).unwrap();
            assert!(replace_all(&place.path("journal"), &place.change("a1", "b1")).is_err());
            place.check("a0", "b0");
            assert!(!place.path("journal").exists());
        }
    }

    #[test]
    fn a_file_that_was_not_there_is_made_or_not() {
        let place = Place::new();
        let change = [
            Replacement { path: place.path("new"), bytes: b"n1".into() },
            Replacement { path: place.path("b"), bytes: b"b1".into() },
        ];
        fs::create_dir(place.path("b.tmp")).unwrap();
        assert!(replace_all(&place.path("journal"), &change).is_err());
        assert!(!place.path("new").exists());
        fs::remove_dir(place.path("b.tmp")).unwrap();
        replace_all(&place.path("journal"), &change).unwrap();
        assert_eq!(fs::read_to_string(place.path("new")).unwrap(), "n1");
    }
}
