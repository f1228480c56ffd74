//! Reads and writes the configuration file (`contract/config.md` §1).
//!
//! `Place` → bytes → damaged ones replaced by the previous generation → `merge` over the defaults → environment →
//! checks → `Config` → file written if it changed. A file that was refused (version, types, values) is never
//! touched; a damaged one is set aside.

pub mod offline_driver;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::document::Document;
use super::environment::{DEFAULT_FILE, Environment};
use super::faults::Faults;
use super::fields::{self, Overlay};
use super::merge::{self, Over};
use super::values::{Entry, Files};
use super::{Config, checks, convert, names};
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::base::file_driver::{self, Previous, journal_driver};
use crate::base::stamp::Stamp;
use crate::sys;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Read(#[from] file_driver::Error),
    #[error("failed to read JSON from '{}'", path.display())]
    Refused { path: PathBuf, source: merge::Error },
    #[error("not all variables are set or are valid: {0}")]
    Invalid(Faults),
}

/// A fault that did not prevent the reading: raised as an alarm once there are alarms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) key: &'static str,
    pub(super) text: String,
}

/// Alarm keys of this module.
pub(super) const NOTES: [&str; 3] = ["damaged", "journal", "write"];

/// Where the configuration comes from; the same for the life of the daemon.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) environment: Environment,
    pub(super) cwd: PathBuf,
}

/// The configuration as it was read at one time.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// As in the file.
    pub(super) stored: Document,
    /// `stored` under the environment.
    pub(super) shown: Document,
    pub(super) overlay: Overlay,
    pub(super) config: Config,
    pub(super) updated_at: Stamp,
    pub(super) loaded_at: Stamp,
    pub(super) notes: Vec<Note>,
}

/// What `main` hands to `app`.
pub struct Loaded {
    pub(super) place: Place,
    pub(super) reading: Reading,
}

impl Loaded {
    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.reading.config
    }

    /// Faults that did not prevent the reading.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.reading.notes.iter().map(|note| note.text.as_str())
    }

    /// Whether there was no file, or nothing of it could be used.
    pub fn is_fresh(&self) -> bool {
        self.reading.updated_at == Stamp::ZERO
    }

    /// The file it came from.
    pub fn file(&self) -> &Path {
        &self.place.file
    }
}

/// The variables of this process over those of `.env` in the working directory.
pub fn environment() -> Environment {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    let dotenv = fs::read_to_string(".env").unwrap_or_default();
    Environment::new(std::env::vars_os().map(|(name, value)| (text(name), text(value))), &dotenv)
}

/// Reads the configuration for a start, writing the file when it changed.
///
/// # Errors
/// The file cannot be read, is of an unknown version, or holds invalid values; it was not touched.
pub fn load(environment: Environment, now: Now) -> Result<Loaded, Error> {
    let place = Place::find(environment)?;
    let recovered = journal_driver::recover(&journal(&place.file));
    let mut reading = read(&place, Touch::Write, now)?;
    if let Err(error) = recovered {
        let text = format!("a change of settings and processes may be half done: {}", chain(&error));
        reading.notes.push(Note { key: "journal", text });
    }
    Ok(Loaded { place, reading })
}

/// As `load` for `rill config check` and `show`: writes nothing, makes no directory, takes no previous generation.
///
/// # Errors
/// As `load`, and when the file is damaged.
pub fn inspect(environment: Environment, now: Now) -> Result<Loaded, Error> {
    let place = Place::find(environment)?;
    let mut reading = read(&place, Touch::Nothing, now)?;
    if journal(&place.file).exists() {
        let text = "the next start finishes a change of settings and processes that was interrupted".to_owned();
        reading.notes.push(Note { key: "journal", text });
    }
    Ok(Loaded { place, reading })
}

/// The effective configuration as JSON; secrets as `***` unless they are asked for.
pub fn show(loaded: &Loaded, secrets: Secrets) -> String {
    let mut document = loaded.reading.shown.clone();
    if secrets == Secrets::Hide {
        fields::hide_secrets(&mut document);
    }
    String::from_utf8_lossy(&document.to_bytes()).into_owned()
}

/// Whether `show` prints secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    Hide,
    Show,
}

/// Whether reading may change the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    Nothing,
    Write,
}

impl Place {
    /// The strongest existing regular file, else the default one.
    pub(super) fn find(environment: Environment) -> Result<Self, Error> {
        let places = environment.config_files();
        let only = if places.len() == 1 { places.first() } else { None };
        let existing = || places.iter().find(|place| place.is_file());
        let file = only.or_else(existing).cloned().unwrap_or_else(|| DEFAULT_FILE.into());
        let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        Ok(Self { file: cwd.join(file).components().collect(), environment, cwd })
    }
}

/// What is stored, or the defaults; writes nothing.
pub(super) fn stored(place: &Place, now: Now) -> Result<Document, Error> {
    let defaults = Document::defaults(names::generate(now.wall, &sys::entropy()));
    Ok(find_document(place, &defaults, Touch::Nothing)?.stored)
}

/// Where changes that concern `file` and other documents are noted until all of them are made.
pub(super) fn journal(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".journal");
    name.into()
}

/// Reads, checks and, where `touch` allows it, writes back.
pub(super) fn read(place: &Place, touch: Touch, now: Now) -> Result<Reading, Error> {
    let defaults = Document::defaults(names::generate(now.wall, &sys::entropy()));
    let found = find_document(place, &defaults, touch)?;
    let mut notes = found.notes;
    let (shown, overlay, config) = effective(place, &found.stored, touch).map_err(Error::Invalid)?;
    if found.changed && touch == Touch::Write {
        let previous = if found.damaged { Previous::Leave } else { Previous::Keep };
        if found.damaged
            && let Err(error) = file_driver::set_aside(&place.file)
        {
            notes.push(Note { key: "write", text: chain(&error) });
        }
        if let Err(error) = file_driver::replace(&place.file, &found.stored.to_bytes(), previous) {
            let text = format!("the configuration is not stored, a restart makes new secrets: {}", chain(&error));
            notes.push(Note { key: "write", text });
        }
    }
    if touch == Touch::Nothing {
        notes.extend(missing_mime_file(&config));
    }
    Ok(Reading {
        updated_at: if found.fresh { Stamp::ZERO } else { found.stored.created_at },
        loaded_at: Stamp::at(now.wall),
        stored: found.stored,
        shown,
        overlay,
        config,
        notes,
    })
}

/// Lays the environment over `stored`, checks the result and gives it its types.
pub(super) fn effective(place: &Place, stored: &Document, touch: Touch) -> Result<(Document, Overlay, Config), Faults> {
    let mut shown = stored.clone();
    let mut faults = Faults::default();
    let overlay = fields::overlay(&mut shown, &place.environment, &mut faults);
    let search = place.environment.value("PATH").unwrap_or(DEFAULT_PATH);
    let files = Disk { cwd: &place.cwd, search, touch };
    checks::check(&mut shown, &files, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    match convert::config(&shown, &place.cwd) {
        Ok(config) => Ok((shown, overlay, config)),
        Err(invalid) => {
            faults.add("version", invalid);
            Err(faults)
        }
    }
}

struct Found {
    stored: Document,
    /// There was no file, or nothing of it could be used.
    fresh: bool,
    damaged: bool,
    /// The file lacks something that `stored` has, or the other way round.
    changed: bool,
    notes: Vec<Note>,
}

fn find_document(place: &Place, defaults: &Document, touch: Touch) -> Result<Found, Error> {
    let file = &place.file;
    let refused = |source| Error::Refused { path: file.clone(), source };
    let fresh = |stored: &Document, damaged, notes| Found {
        stored: stored.clone(),
        fresh: true,
        damaged,
        changed: true,
        notes,
    };
    let Some(bytes) = file_driver::read(file)? else {
        return Ok(fresh(defaults, false, Vec::new()));
    };
    let fault = match merge::parse(&bytes) {
        Ok(partial) => {
            let mut stored = merge::merge_value(defaults, partial.clone(), Over::Defaults).map_err(refused)?;
            fields::imply_self_signed(&mut stored);
            let changed = serde_json::to_value(&stored).ok() != Some(partial);
            return Ok(Found { stored, fresh: false, damaged: false, changed, notes: Vec::new() });
        }
        Err(fault) if touch == Touch::Nothing && !bytes.is_empty() => return Err(refused(fault)),
        Err(fault) => fault,
    };
    let previous = file_driver::previous(file);
    let older = file_driver::read(&previous)
        .ok()
        .flatten()
        .and_then(|bytes| merge::merge(defaults, &bytes, Over::Defaults).ok());
    let note = |then: &str| {
        let text = format!("{} was damaged ({fault}) and set aside; {then}", file.display());
        vec![Note { key: "damaged", text }]
    };
    Ok(match older {
        Some(stored) => {
            let notes = note("the previous generation is in force, check the last changes");
            Found { stored, fresh: false, damaged: true, changed: true, notes }
        }
        None => fresh(defaults, true, note("there is no previous generation, the defaults are in force")),
    })
}

/// For `rill config check`; in the running daemon the owner of the table raises an alarm.
fn missing_mime_file(config: &Config) -> Option<Note> {
    let path = config.storage.mimetypes_file.as_ref()?;
    let text = || format!("{} does not exist, the built-in table of mime types serves", path.display());
    (!path.exists()).then(|| Note { key: "mimetypes", text: text() })
}

/// Where programs are looked for when the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const DATA_DIR_MODE: u32 = 0o750;

/// The real disk.
struct Disk<'a> {
    cwd: &'a Path,
    search: &'a str,
    touch: Touch,
}

impl Files for Disk<'_> {
    fn entry(&self, path: &Path) -> Option<Entry> {
        let entry = fs::metadata(self.cwd.join(path)).ok()?;
        Some(match () {
            () if entry.is_dir() => Entry::Dir,
            () if entry.is_file() => Entry::File,
            () => Entry::Other,
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match self.touch {
            Touch::Nothing => Ok(()),
            Touch::Write => DirBuilder::new().recursive(true).mode(DATA_DIR_MODE).create(self.cwd.join(path)),
        }
    }

    fn is_executable(&self, binary: &str) -> bool {
        let runs = |path: &Path| {
            fs::metadata(path).is_ok_and(|entry| entry.is_file() && entry.permissions().mode() & 0o111 != 0)
        };
        if binary.contains('/') {
            return runs(&self.cwd.join(binary));
        }
        self.search.split(':').filter(|dir| !dir.is_empty()).any(|dir| runs(&Path::new(dir).join(binary)))
    }
}
