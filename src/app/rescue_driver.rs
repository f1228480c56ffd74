//! What the daemon leaves for the rescue page, and what that left for the daemon, in files beside the configuration.
//!
//! start, reload → configured login → `auth.json`; listening addresses → `bound.json`. A configuration that is lost makes
//! the login of `auth.json` stay in force, so that a damaged card does not open the box. `rescue.json` says that rescue
//! has restored settings → alarm, until settings are loaded on purpose. Nothing is written that is there already.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use tokio::sync::Semaphore;

use crate::auth::stored::Stored;
use crate::auth::stored_driver;
use crate::base::alarm::Alarms;
use crate::base::blocking::{Blocking, Lane};
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::base::file_driver::{self, Previous};
use crate::config::{Config, Loaded};
use crate::rescue::record::{Bound, Record};
use crate::sys;

const COMPONENT: &str = "Core";
/// Alarm key of a login that is in force without being configured.
const LOST: &str = "login";
/// Alarm key of a login that rescue won't know.
const KEEP: &str = "login-file";
/// Alarm key of settings that rescue has restored.
const RESTORED: &str = "rescue";

/// What is kept for rescue.
pub(super) struct Keep {
    /// The configuration file.
    config: PathBuf,
    /// In force in place of the lost configuration's.
    login: Option<Rc<Stored>>,
    /// One writes after the other, so that the newest is the last.
    turn: Rc<Semaphore>,
}

impl Keep {
    /// Looks for a login that outlives the configuration.
    pub(super) fn open(loaded: &Loaded, alarms: &Alarms, now: Now) -> Self {
        let file = stored_driver::place(loaded.file());
        let found = if loaded.config().api.auth.enable { None } else { stored_driver::read(&file) };
        let login = found.filter(|login| loaded.is_fresh() || login.stays);
        if let Some(login) = &login {
            let text = format!(
                "The settings were lost, the login of {} stays in force; configure api.auth anew, or remove that file",
                file.display()
            );
            alarms.raise(now, COMPONENT, LOST, text);
            if !login.stays
                && let Err(error) = stored_driver::let_stay(&file, login)
            {
                alarms.raise(now, COMPONENT, KEEP, format!("The next start asks for no login: {}", chain(&error)));
            }
        }
        Self { config: loaded.file().to_owned(), login: login.map(Rc::new), turn: Rc::new(Semaphore::new(1)) }
    }

    /// The login that is in force in place of a lost configuration's.
    pub(super) fn login(&self) -> Option<Rc<Stored>> {
        self.login.clone()
    }

    /// `config`, with a login asked for if the lost one asked for it.
    pub(super) fn guard(&self, config: Rc<Config>) -> Rc<Config> {
        let Some(login) = self.login.as_ref().filter(|_| !config.api.auth.enable) else { return config };
        let mut guarded = (*config).clone();
        guarded.api.auth.enable = true;
        guarded.api.auth.username.clone_from(&login.username);
        Rc::new(guarded)
    }

    /// A reload has put `config` in force: a login of its own replaces the one that stayed.
    pub(super) fn loaded(&mut self, config: &Config, alarms: &Alarms) {
        let auth = &config.api.auth;
        if self.login.is_some() && auth.enable && !auth.password.is_empty() {
            self.login = None;
            alarms.clear(COMPONENT, LOST);
        }
    }

    /// Makes the files say what is in force. They are written beside the loop; nobody waits.
    pub(super) fn store(&self, config: &Config, bound: Vec<SocketAddr>, blocking: &Blocking, alarms: &Alarms) {
        let place = self.config.with_file_name(Bound::FILE);
        let bound = Bound { http: bound }.to_bytes();
        let file = stored_driver::place(&self.config);
        let (auth, stays) = (config.api.auth.clone(), self.login.is_some());
        let (blocking, alarms, turn) = (blocking.clone(), alarms.clone(), self.turn.clone());
        crate::base::task::spawn(async move {
            let work = move || {
                if !matches!(file_driver::read(&place), Ok(Some(former)) if former == bound)
                    && let Err(error) = file_driver::replace(&place, &bound, Previous::Leave)
                {
                    log::warn!(target: COMPONENT, "rescue won't know the address: {}", chain(&error));
                }
                match () {
                    () if stays => Ok(()),
                    () if auth.enable => stored_driver::keep(&file, &auth.username, &auth.password, sys::entropy()),
                    () => stored_driver::forget(&file),
                }
            };
            let _turn = turn.acquire().await.expect("the turn is never closed");
            match blocking.run(Lane::General, work).await {
                Ok(()) => alarms.clear(COMPONENT, KEEP),
                Err(error) => {
                    let text = format!("The rescue page won't know the login: {}", chain(&error));
                    alarms.raise(Now::read(), COMPONENT, KEEP, text);
                }
            }
        });
    }

    /// Says what rescue has done since the daemon ran last.
    pub(super) fn tell(&self, alarms: &Alarms, now: Now) {
        let file = self.config.with_file_name(Record::FILE);
        let Some(mut record) = file_driver::read(&file).ok().flatten().and_then(|bytes| Record::parse(&bytes)) else {
            return;
        };
        alarms.raise(now, COMPONENT, RESTORED, record.sentence());
        if !record.told {
            record.told = true;
            if let Err(error) = file_driver::replace(&file, &record.to_bytes(), Previous::Leave) {
                log::warn!(target: COMPONENT, "{}", chain(&error));
            }
        }
    }

    /// Somebody has loaded settings on purpose: what rescue restored is history.
    pub(super) fn settle(&self, alarms: &Alarms) {
        alarms.clear(COMPONENT, RESTORED);
        if let Err(error) = file_driver::remove(&self.config.with_file_name(Record::FILE)) {
            log::warn!(target: COMPONENT, "{}", chain(&error));
        }
    }
}
