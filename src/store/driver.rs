//! Reads `db.json` once and replaces it durably at each commit.
//!
//! `Db` → bytes on the caller's thread → unchanged content ends here → blocking lane of the store → temp file, fsync,
//! previous generation, rename. One commit at a time: the supervisor gathers changes into batches above.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;

use super::schema::{self, Db, Parsed};
use crate::base::alarm::Alarms;
use crate::base::blocking::{Blocking, Lane};
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::base::file_driver::journal_driver::{self, Joint, Replacement};
use crate::base::file_driver::{self, Previous};

const COMPONENT: &str = "ProcessStore";
pub(super) const FILE: &str = "db.json";

/// Why the store cannot be opened, or a commit is not durable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the process database cannot be read")]
    Read { source: file_driver::Error },
    #[error("{} is refused and left untouched", path.display())]
    Refused { path: PathBuf, source: schema::Error },
    #[error("the change is not stored")]
    Write { source: file_driver::Error },
}

/// Cheap handle to the database file.
#[derive(Clone)]
pub struct Handle(Rc<Owner>);

struct Owner {
    file: PathBuf,
    blocking: Blocking,
    alarms: Alarms,
    kept: BTreeMap<String, Value>,
    /// What the file holds; `None` while that is unknown.
    written: RefCell<Option<Rc<Vec<u8>>>>,
}

/// Reads the database in `dir`; a missing file is an empty one. A damaged file is set aside, its previous generation
/// restored and an alarm raised.
///
/// # Errors
/// The file cannot be read or is of another version; it was not touched.
pub async fn open(dir: &Path, blocking: Blocking, alarms: Alarms, now: Now) -> Result<(Handle, Db), Error> {
    let file = dir.join(FILE);
    let place = file.clone();
    let opened = blocking.run(Lane::Store, move || read(&place)).await?;
    for (key, text) in opened.notes {
        alarms.raise(now, COMPONENT, key, text);
    }
    let Parsed { db, kept } = opened.parsed;
    if !kept.is_empty() {
        let ids: Vec<&str> = kept.keys().map(String::as_str).collect();
        let text = format!("entries of the database that are no process are kept but not run: {}", ids.join(", "));
        alarms.raise(now, COMPONENT, "kept", text);
    }
    let written = RefCell::new(opened.written.map(Rc::new));
    Ok((Handle(Rc::new(Owner { file, blocking, alarms, kept, written })), db))
}

impl Handle {
    /// Makes `db` durable before it returns; unchanged content is not written.
    ///
    /// # Errors
    /// The file still has its former content.
    pub async fn commit(&self, db: &Db) -> Result<(), Error> {
        self.commit_with(db, None).await
    }

    /// As `commit`, and replaces `companion`, if there is one, in the same step.
    ///
    /// # Errors
    /// Both still have their former content.
    pub async fn commit_with(&self, db: &Db, companion: Option<Joint>) -> Result<(), Error> {
        let owner = &self.0;
        let bytes = Rc::new(schema::serialise(db, &owner.kept));
        if owner.written.borrow().as_ref() == Some(&bytes) {
            let Some(Joint { file: Replacement { path, bytes }, .. }) = companion else { return Ok(()) };
            let work = move || file_driver::replace(&path, &bytes, Previous::Keep);
            return owner.blocking.run(Lane::Store, work).await.map_err(|source| Error::Write { source });
        }
        // Unknown until the write has ended, also when the caller stops waiting for it.
        *owner.written.borrow_mut() = None;
        let (file, content) = (owner.file.clone(), bytes.to_vec());
        let work = move || match companion {
            None => file_driver::replace(&file, &content, Previous::Keep),
            Some(companion) => {
                let db = Replacement { path: file, bytes: content };
                journal_driver::replace_all(&companion.journal, &[companion.file, db])
            }
        };
        owner.blocking.run(Lane::Store, work).await.map_err(|source| {
            let error = Error::Write { source };
            owner.alarms.raise(Now::read(), COMPONENT, "write", chain(&error));
            error
        })?;
        owner.alarms.clear(COMPONENT, "write");
        *owner.written.borrow_mut() = Some(bytes);
        Ok(())
    }
}

struct Opened {
    parsed: Parsed,
    written: Option<Vec<u8>>,
    notes: Vec<(&'static str, String)>,
}

fn read(file: &Path) -> Result<Opened, Error> {
    let unreadable = |source| Error::Read { source };
    let previous = file_driver::previous(file);
    let Some(bytes) = file_driver::read(file).map_err(unreadable)? else {
        let text = || format!("{} is missing, {} is not used", file.display(), previous.display());
        let notes = if previous.exists() { vec![("missing", text())] } else { Vec::new() };
        return Ok(Opened { parsed: empty(), written: None, notes });
    };
    let fault = match schema::parse(&bytes) {
        Ok(parsed) => return Ok(Opened { parsed, written: Some(bytes), notes: Vec::new() }),
        Err(source @ schema::Error::Version(_)) => {
            return Err(Error::Refused { path: file.to_owned(), source });
        }
        Err(fault) => fault,
    };
    let older = file_driver::read(&previous).ok().flatten();
    let older = older.and_then(|bytes| Some((schema::parse(&bytes).ok()?, bytes)));
    let (parsed, restored, then) = match older {
        Some((parsed, bytes)) => (parsed, bytes, "the previous generation is in force, check the last changes"),
        None => {
            let bytes = schema::serialise(&empty().db, &BTreeMap::new());
            (empty(), bytes, "there is no previous generation, the list of processes is empty")
        }
    };
    let mut notes = vec![("damaged", format!("{} was damaged ({fault}) and set aside; {then}", file.display()))];
    let set_aside = file_driver::set_aside(file).map(drop);
    let restore = || file_driver::replace(file, &restored, Previous::Leave);
    let written = match set_aside.and_then(|()| restore()) {
        Ok(()) => Some(restored),
        Err(error) => {
            notes.push(("write", chain(&error)));
            None
        }
    };
    Ok(Opened { parsed, written, notes })
}

/// A fresh database: global metadata are there, but none yet.
fn empty() -> Parsed {
    let db = Db { system_metadata: Some(BTreeMap::new()), ..Db::default() };
    Parsed { db, kept: BTreeMap::new() }
}
