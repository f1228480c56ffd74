//! The one ticker of all sessions, and the histories on disk.
//!
//! A session comes → tick once a second while there are some → ended ones change a history → `<db.dir>/sessions/
//! <collector>.json`, replaced durably every `persist_interval`, at shutdown and when persistence is switched. Without
//! sessions nothing wakes up, without a change nothing is written. A damaged file is set aside and the former generation
//! used, with a line in the log: sessions never keep the daemon from starting.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::{Kind, Registry, document};
use crate::base::alarm::Alarms;
use crate::base::blocking::{Blocking, Lane};
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::base::file_driver::{self, Previous};
use crate::base::task;
use crate::config;

const TICK: Duration = Duration::from_secs(1);
const COMPONENT: &str = "SessionStore";

/// Keeps the registry's time and files; one per daemon.
pub struct Driver {
    files: Rc<Files>,
    ticker: JoinHandle<()>,
}

struct Files {
    registry: Registry,
    dir: PathBuf,
    blocking: Blocking,
    alarms: Alarms,
    /// How far each history is on disk.
    saved: RefCell<[u64; Kind::ALL.len()]>,
    /// What was on disk at the start is in memory: what is there later is older.
    loaded: Cell<bool>,
}

/// Reads the histories if they are persisted, and starts the ticker. `db_dir` is where the store's files are.
pub async fn spawn(registry: Registry, db_dir: &Path, blocking: Blocking, alarms: Alarms) -> Driver {
    let dir = db_dir.join("sessions");
    let files = Rc::new(Files { registry, dir, blocking, alarms, saved: RefCell::default(), loaded: Cell::default() });
    if files.persists() {
        files.load().await;
    }
    let ticker = task::spawn(run(files.clone()));
    Driver { files, ticker }
}

impl Driver {
    /// Puts other settings in force. Histories are written if they were to be persisted, or are from now on.
    pub async fn configure(&self, section: &config::Sessions) {
        let files = &self.files;
        let did = files.persists();
        files.registry.configure(Instant::now(), section);
        if files.persists() {
            files.load().await;
        }
        if did || files.persists() {
            files.save(&Kind::ALL).await;
        }
    }

    /// Ends all sessions and writes what is to be persisted.
    pub async fn shutdown(&self) {
        self.ticker.abort();
        self.files.registry.end_all(Instant::now());
        if self.files.persists() {
            self.files.save(&Kind::ALL).await;
        }
    }
}

async fn run(files: Rc<Files>) {
    let registry = &files.registry;
    let mut written = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let due = files.interval().filter(|_| files.is_unsaved()).map(|interval| written + interval);
        if registry.tick(Instant::now()) {
            ticks.tick().await;
        } else {
            tokio::select! {
                () = registry.0.changed.notified() => {}
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
            }
            ticks.reset();
        }
        if due.is_some_and(|due| Instant::now() >= due) {
            // Uploads are written at the end only.
            let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| *kind != Kind::HlsIngress).collect();
            files.save(&kinds).await;
            written = Instant::now();
        }
    }
}

impl Files {
    fn persists(&self) -> bool {
        let state = self.registry.0.state.borrow();
        state.settings.enable && state.settings.persist
    }

    /// How often histories are written; `None`: at the end only.
    fn interval(&self) -> Option<Duration> {
        let interval = self.registry.0.state.borrow().settings.persist_interval;
        (self.persists() && !interval.is_zero()).then_some(interval)
    }

    fn changes(&self, kind: Kind) -> u64 {
        self.registry.with_history(kind, |history| history.changes())
    }

    /// Whether a history waits for its interval.
    fn is_unsaved(&self) -> bool {
        let is_due = |kind: Kind| self.changes(kind) != self.saved.borrow()[kind as usize];
        self.interval().is_some() && Kind::ALL.into_iter().any(|kind| kind != Kind::HlsIngress && is_due(kind))
    }

    fn path(&self, kind: Kind) -> PathBuf {
        self.dir.join(format!("{}.json", kind.name()))
    }

    async fn load(&self) {
        if self.loaded.replace(true) {
            return;
        }
        for kind in Kind::ALL {
            let path = self.path(kind);
            let found = self.blocking.run(Lane::General, move || read(&path)).await;
            let Some(bytes) = found else { continue };
            let before = self.changes(kind);
            // What has been counted meanwhile is not on disk yet.
            let loaded = self.registry.with_history(kind, |history| document::read(&bytes, history));
            if loaded.is_ok() && before == 0 {
                self.saved.borrow_mut()[kind as usize] = self.changes(kind);
            }
        }
    }

    /// Writes the histories that have changed.
    async fn save(&self, kinds: &[Kind]) {
        for &kind in kinds {
            let changes = self.changes(kind);
            if changes == self.saved.borrow()[kind as usize] {
                continue;
            }
            let bytes = self.registry.with_history(kind, |history| document::write(history));
            let path = self.path(kind);
            let work = move || file_driver::replace(&path, &bytes, Previous::Keep);
            match self.blocking.run(Lane::General, work).await {
                Ok(()) => {
                    self.saved.borrow_mut()[kind as usize] = changes;
                    self.alarms.clear(COMPONENT, kind.name());
                }
                Err(error) => {
                    let text = format!("The history of sessions can't be written: {}", chain(&error));
                    self.alarms.raise(Now::read(), COMPONENT, kind.name(), text);
                }
            }
        }
    }
}

/// The document, or its former generation if it is damaged.
fn read(path: &Path) -> Option<Vec<u8>> {
    let sound = |path: &Path| {
        let bytes = file_driver::read(path).ok()??;
        let mut scrap = super::History::default();
        Some((document::read(&bytes, &mut scrap).is_ok(), bytes))
    };
    match sound(path) {
        None => None,
        Some((true, bytes)) => Some(bytes),
        Some((false, _)) => {
            let aside = file_driver::set_aside(path).map(|aside| aside.display().to_string()).unwrap_or_default();
            log::warn!(target: COMPONENT, path = path.display().to_string().as_str(), aside = aside.as_str();
                "A damaged history is set aside, the former generation is used");
            sound(&file_driver::previous(path)).filter(|(is_sound, _)| *is_sound).map(|(_, bytes)| bytes)
        }
    }
}
