//! `rill import`: reads the old files, shows what becomes of them, stores it durably.
//!
//! Nothing is written before everything is read, understood and checked, and nothing at all in a dry run. What is
//! stored gives way only if asked to; its previous generation is kept. Blocks: there is no daemon to hold up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde_json::Value;

use super::plan::{self, Existing};
use super::restreamer::{self, Surroundings};
use super::{Found, Report, core, ffmpeg, json, settings};
use crate::base::clock::Now;
use crate::base::file_driver;
use crate::base::id;
use crate::base::tree;
use crate::config::document::Document;
use crate::config::{self, Config, Environment, merge};
use crate::ffmpeg::version::Version;
use crate::store::{self, Db, Record, offline_driver};
use crate::sys;

/// Where Restreamer had its database.
const RESTREAMER: &str = "v1.json";
/// What is taken of a folder.
const DOCUMENTS: [&str; 3] = ["config.json", "db.json", RESTREAMER];
/// Files that one import reads at most.
pub const FILES: usize = 16;

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Files and folders; none: Restreamer's database in the state directory.
    pub paths: Vec<PathBuf>,
    /// Adapt the stored definitions to FFmpeg instead of importing.
    pub adapt_only: bool,
    /// Show it, write nothing.
    pub dry_run: bool,
    /// What is stored gives way.
    pub force: bool,
    /// FFmpeg's version, instead of the installed one's.
    pub target: Option<Version>,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the configuration of this box can't be used")]
    Config(#[source] config::driver::Error),
    #[error("the configuration would be invalid: {0}")]
    Invalid(config::Faults),
    #[error(transparent)]
    Store(#[from] offline_driver::Error),
    #[error("{} can't be read", path.display())]
    Read { path: PathBuf, source: file_driver::Error },
    #[error("{} does not exist", path.display())]
    Missing { path: PathBuf },
    #[error("{}: syntax error at line {}, character {}", path.display(), source.line(), source.column())]
    Syntax { path: PathBuf, source: serde_json::Error },
    #[error("{} is neither Restreamer's v1.json nor Core's db.json or config.json", path.display())]
    Unknown { path: PathBuf },
    #[error("{}", path.display())]
    Restreamer { path: PathBuf, source: json::Fault },
    #[error("{}", path.display())]
    Core { path: PathBuf, source: core::Error },
    #[error("{}", path.display())]
    Settings { path: PathBuf, source: merge::Error },
    #[error("more than {FILES} files")]
    TooMany,
    #[error("FFmpeg's version is not known: is it installed? --to VERSION names one")]
    NoFfmpeg,
    #[error("{report}{} is there already and would change: --force does it, the former content stays beside it as .prev", path.display())]
    Exists { report: Report, path: PathBuf },
}

/// Does what `request` asks for; what happened, for a person. `installed` finds out FFmpeg's version.
///
/// # Errors
/// Nothing was stored, but for a configuration that could not be written after the database was.
pub fn run(
    request: &Request,
    environment: Environment,
    now: Now,
    installed: impl FnOnce(&Config) -> Option<Version>,
) -> Result<String, Error> {
    let own = config::Offline::open(environment, now).map_err(Error::Config)?;
    let config = own.check(own.document()).map_err(invalid)?;
    let store = store::Offline::open(&config.db_dir)?;
    let target = request.target.or_else(|| installed(&config));
    if request.adapt_only {
        return adapt(request, &store, target.ok_or(Error::NoFfmpeg)?, now);
    }
    let files = files(&request.paths, &config.db_dir)?;
    if files.is_empty() {
        let text = format!("{} does not exist: there is nothing to import\n", config.db_dir.join(RESTREAMER).display());
        return Ok(text);
    }
    let mut import = Import { request, own: &own, store: &store, target, now, report: Report::default() };
    let (document, db) = import.read(&files)?;
    import.store(&document, &db)
}

struct Import<'a> {
    request: &'a Request,
    own: &'a config::Offline,
    store: &'a store::Offline,
    target: Option<Version>,
    now: Now,
    report: Report,
}

impl Import<'_> {
    /// What configuration and database become.
    fn read(&mut self, files: &[PathBuf]) -> Result<(Document, Db), Error> {
        let mut document = self.own.document().clone();
        let mut db = self.store.db().clone();
        for path in files {
            if self.store.is(path) {
                self.report.skipped(path.display().to_string(), "it is this box's own database");
                continue;
            }
            let value = parse(path)?;
            if restreamer::is(&value) {
                let found = self.restreamer(path, &value, &db)?;
                db = self.lay(&db, found, &mut document);
            } else if core::is(&value) {
                let found = core::convert(value).map_err(|source| Error::Core { path: path.clone(), source })?;
                db = self.lay(&db, found, &mut document);
            } else if settings::is(&value) {
                let converted = settings::convert(value, &document);
                let (next, report) = converted.map_err(|source| Error::Settings { path: path.clone(), source })?;
                document = next;
                self.report.append(report);
            } else {
                return Err(Error::Unknown { path: path.clone() });
            }
        }
        self.own.check(&document).map_err(invalid)?;
        Ok((document, db))
    }

    fn restreamer(&self, path: &Path, value: &Value, db: &Db) -> Result<Found, Error> {
        let channel = restreamer::channel_in(&db.process_metadata).unwrap_or_else(|| id::uuid(sys::entropy()));
        let around = Surroundings::read(self.own.environment());
        let found = restreamer::convert(value, &around, &channel, self.now.unix());
        found.map_err(|source| Error::Restreamer { path: path.to_owned(), source })
    }

    /// Adapts what was found to FFmpeg and lays it over `db` and the routes.
    fn lay(&mut self, db: &Db, mut found: Found, document: &mut Document) -> Db {
        self.report.append(std::mem::take(&mut found.report));
        let adapted = self.target.map(|target| adapt_all(&mut found.db, target));
        if adapted.is_none() {
            let text = "is not found: when it is installed, rill import ffmpeg adapts the options to it";
            self.report.note("FFmpeg", text);
        }
        let laid = plan::database(db, &found.db, adapted.unwrap_or_default(), &mut self.report);
        let existing = if self.request.force { Existing::Replace } else { Existing::Keep };
        plan::routes(document, &found, existing, &mut self.report);
        laid
    }

    /// Stores what changes, the database first: without it the routes lead nowhere.
    fn store(self, document: &Document, db: &Db) -> Result<String, Error> {
        let new_db = db != self.store.db();
        let new_config = document != self.own.document();
        let is_empty = self.store.db().process.is_empty() && self.store.db().process_metadata.is_empty();
        let exists = |path: &Path| Error::Exists { report: self.report.clone(), path: path.to_owned() };
        if !self.request.force && !self.request.dry_run {
            if new_db && !is_empty {
                return Err(exists(self.store.file()));
            }
            let mut without_routes = document.clone();
            without_routes.router.routes.clone_from(&self.own.document().router.routes);
            if self.own.exists() && without_routes != *self.own.document() {
                return Err(exists(self.own.file()));
            }
        }
        let mut text = self.report.to_string();
        if self.request.dry_run {
            text.push_str("nothing was written: this was a dry run\n");
            return Ok(text);
        }
        if new_db {
            self.store.replace(db)?;
            text.push_str(&format!("{} is written\n", self.store.file().display()));
        }
        if new_config {
            self.own.replace(document).map_err(Error::Config)?;
            text.push_str(&format!("{} is written\n", self.own.file().display()));
        }
        if !new_db && !new_config {
            text.push_str("nothing changes\n");
        }
        Ok(text)
    }
}

/// `rill import ffmpeg`: the stored definitions, with a copy of the former ones beside them.
fn adapt(request: &Request, store: &store::Offline, target: Version, now: Now) -> Result<String, Error> {
    let mut db = store.db().clone();
    let mut report = Report::default();
    adapt_all(&mut db, target).into_values().for_each(|lines| report.append(lines));
    let mut text = report.to_string();
    if db == *store.db() {
        text.push_str(&format!("all definitions are for FFmpeg {target} already: nothing changes\n"));
    } else if request.dry_run {
        text.push_str("nothing was written: this was a dry run\n");
    } else {
        let millis = now.wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let backup = store.backup(millis)?;
        store.replace(&db)?;
        text.push_str(&format!("{} is written, its former content is {}\n", store.file().display(), backup.display()));
    }
    Ok(text)
}

/// What was done to each process.
fn adapt_all(db: &mut Db, target: Version) -> BTreeMap<String, Report> {
    let adapt = |(id, record): (&String, &mut Record)| {
        let mut report = Report::default();
        if let Err(error) = ffmpeg::adapt(&mut record.config, target, &mut report) {
            report.skipped(format!("options of process {id}"), error.to_string());
        }
        (id.clone(), report)
    };
    tree::map(db.process.iter_mut().map(adapt))
}

/// The files that `paths` name.
fn files(paths: &[PathBuf], db_dir: &Path) -> Result<Vec<PathBuf>, Error> {
    if paths.is_empty() {
        let default = db_dir.join(RESTREAMER);
        return Ok(if default.is_file() { vec![default] } else { Vec::new() });
    }
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let inside: Vec<PathBuf> =
                DOCUMENTS.iter().map(|name| path.join(name)).filter(|path| path.is_file()).collect();
            if inside.is_empty() {
                return Err(Error::Missing { path: path.join(DOCUMENTS.join(", ")) });
            }
            files.extend(inside);
        } else {
            files.push(path.clone());
        }
    }
    if files.len() > FILES { Err(Error::TooMany) } else { Ok(files) }
}

fn parse(path: &Path) -> Result<Value, Error> {
    let bytes = file_driver::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let bytes = bytes.ok_or_else(|| Error::Missing { path: path.to_owned() })?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Syntax { path: path.to_owned(), source })
}

fn invalid(error: config::driver::Error) -> Error {
    match error {
        config::driver::Error::Invalid(faults) => Error::Invalid(faults),
        other => Error::Config(other),
    }
}
