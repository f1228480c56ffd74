//! What rescue changes: settings restored, everything set aside, a reboot asked for.
//!
//! Nothing is deleted. What is replaced stays beside the new under a name that says why.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cause::Check;
use super::probe_driver::Place;
use super::record::Record;
use crate::auth::stored_driver;
use crate::base::admin_client;
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::base::file_driver::{self, Previous};

/// Factory resets whose files are kept; the last place is used again.
pub(super) const RESETS_KEPT: u32 = 3;
const ADMIN_TIME: Duration = Duration::from_secs(5);
const ADMIN_ANSWER: u64 = 256;

/// Why nothing was repaired.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("there are no previous settings")]
    NoPrevious,
    #[error("the previous settings are refused as well: {0}")]
    Refused(String),
    #[error(transparent)]
    File(#[from] file_driver::Error),
    #[error("{} can't be set aside", path.display())]
    SetAside { path: PathBuf, source: io::Error },
    #[error("rill-admin, which alone may reboot, can't be asked at {}", admin_client::SOCKET)]
    Admin(#[source] io::Error),
    #[error("rill-admin refuses to reboot: {0}")]
    AdminRefused(String),
}

/// Restores the previous settings if the daemon refuses the current ones and would take those; once, until the daemon
/// has run. Returns what was done.
pub(super) fn roll_back(place: &Place, check: &Check, now: Now) -> Option<Record> {
    let Check::Refused(reason) = check else { return None };
    let note = place.config.with_file_name(Record::FILE);
    let former = file_driver::read(&note).ok().flatten().and_then(|bytes| Record::parse(&bytes));
    let previous = file_driver::previous(&place.config);
    if former.is_some_and(|record| !record.told) || !previous.exists() || place.check(&previous) != Check::Valid {
        return None;
    }
    let mut refused = place.config.as_os_str().to_owned();
    refused.push(".refused");
    let refused = PathBuf::from(refused);
    let record = Record { at: now.unix(), refused: refused.display().to_string(), reason: reason.clone(), told: false };
    // Noted first: whatever loses power, it does not happen twice.
    let done = file_driver::replace(&note, &record.to_bytes(), Previous::Leave).and_then(|()| {
        let bad = file_driver::read(&place.config)?.unwrap_or_default();
        file_driver::replace(&refused, &bad, Previous::Leave)?;
        let good = file_driver::read(&previous)?.unwrap_or_default();
        file_driver::replace(&place.config, &good, Previous::Leave)
    });
    match done {
        Ok(()) => Some(record),
        Err(error) => {
            log::error!(target: super::COMPONENT, "The previous settings can't be restored: {}", chain(&error));
            None
        }
    }
}

/// Exchanges the settings for the previous ones, which become the previous ones in turn.
///
/// # Errors
/// There are none, or the daemon refuses them; nothing has changed.
pub(super) fn restore(place: &Place) -> Result<(), Error> {
    let previous = file_driver::previous(&place.config);
    let bytes = file_driver::read(&previous)?.ok_or(Error::NoPrevious)?;
    // Without a program that can be asked a person decides.
    if let Check::Refused(text) = place.check(&previous) {
        return Err(Error::Refused(text.trim().replace('\n', "; ")));
    }
    Ok(file_driver::replace(&place.config, &bytes, Previous::Keep)?)
}

/// Moves settings, processes and login into a folder beside them; the daemon begins with its defaults.
///
/// # Errors
/// Some are still in place.
pub(super) fn reset(place: &Place) -> Result<PathBuf, Error> {
    let dir = place.config.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = |number: u32| dir.join(format!("before-reset.{number}"));
    let aside = (1..RESETS_KEPT).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(RESETS_KEPT));
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::SetAside { path, source }
    };
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(fault(&aside))?;
    }
    fs::create_dir_all(&aside).map_err(fault(&aside))?;
    let auth = stored_driver::place(&place.config);
    let db = place.db_dir().join("db.json");
    let mut journal = place.config.as_os_str().to_owned();
    journal.push(".journal");
    let record = place.config.with_file_name(Record::FILE);
    // The login last: while one of the others is still there, it is asked for.
    for document in [db, PathBuf::from(journal), place.config.clone(), record, auth] {
        for path in [file_driver::previous(&document), document] {
            let Some(name) = path.file_name().filter(|_| path.exists()) else { continue };
            let to = aside.join(name);
            // Folders may be on different file systems.
            let moved = fs::rename(&path, &to).or_else(|_| fs::copy(&path, &to).and_then(|_| fs::remove_file(&path)));
            moved.map_err(fault(&path))?;
        }
    }
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(fault(dir))?;
    Ok(aside)
}

/// Asks the helper that may reboot.
///
/// # Errors
/// It is not there, or refuses.
pub(super) fn reboot() -> Result<(), Error> {
    let ask = || {
        let mut socket = UnixStream::connect(admin_client::SOCKET)?;
        socket.set_read_timeout(Some(ADMIN_TIME))?;
        socket.set_write_timeout(Some(ADMIN_TIME))?;
        socket.write_all(b"reboot\n")?;
        let mut answer = String::new();
        socket.take(ADMIN_ANSWER).read_to_string(&mut answer).map(|_| answer)
    };
    let answer = ask().map_err(Error::Admin)?;
    match answer.trim() {
        "ok" => Ok(()),
        other => Err(Error::AdminRefused(other.to_owned())),
    }
}
