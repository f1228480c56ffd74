//! Owner of the configuration while the daemon runs: what is stored, what is shown, what is in force.
//!
//! `put` → merge → check → file → shown at once, in force after `reload`. Changes take turns; memory changes only
//! after the disk did. Passive owner, no task.

mod staged;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use super::Config;
use super::document::Document;
use super::driver::{self, Loaded, NOTES, Note, Place, Reading, Touch};
use super::faults::Faults;
use super::merge;
use crate::base::alarm::Alarms;
use crate::base::blocking::{Blocking, Lane};
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::base::file_driver;
use crate::base::stamp::Stamp;
use crate::base::task;

use staged::Pending;
pub use staged::{Companion, Staged};

const COMPONENT: &str = "Config";

/// Why a new configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    #[error(transparent)]
    Partial(#[from] merge::Error),
    #[error("invalid: {0}")]
    Invalid(Faults),
    /// Another change came between reading the settings and this change of them.
    #[error("the configuration was changed meanwhile")]
    Changed,
    #[error("the configuration is not stored")]
    Write { source: file_driver::Error },
}

/// What `GET /api/v3/config` shows.
#[derive(Clone, Debug)]
pub struct View {
    pub created_at: Stamp,
    pub loaded_at: Stamp,
    pub updated_at: Stamp,
    /// What is stored, under the environment.
    pub document: Document,
    /// Variables that the environment sets, in table order.
    pub overrides: Vec<&'static str>,
}

/// Cheap handle.
#[derive(Clone)]
pub struct Handle(Rc<Owner>);

struct Owner {
    place: Place,
    blocking: Blocking,
    alarms: Alarms,
    /// One change at a time.
    turn: Arc<Semaphore>,
    state: RefCell<State>,
    /// What `host.auto` found; shown while `host.name` is empty, never stored.
    addresses: RefCell<Vec<String>>,
    revisions: watch::Sender<Revisions>,
}

/// How often the settings have changed since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    /// What is stored and shown; a reload may change it, too.
    pub stored: u64,
    /// What is in force.
    pub loaded: u64,
}

struct State {
    active: Rc<Config>,
    stored: Document,
    view: View,
    /// Being made durable together with something else; void unless it becomes so.
    pending: Option<Pending>,
}

impl Handle {
    /// Takes over what `driver::load` returned and raises the alarms that it could not.
    pub fn new(loaded: Loaded, blocking: Blocking, alarms: Alarms, now: Now) -> Self {
        let Loaded { place, reading } = loaded;
        for (old, name) in &reading.overlay.deprecated {
            log::warn!(target: COMPONENT, variable = *old; "deprecated name, please use {name}");
        }
        raise(&alarms, &reading.notes, now);
        let state = RefCell::new(State::new(reading));
        Self(Rc::new(Owner {
            place,
            blocking,
            alarms,
            turn: Arc::new(Semaphore::new(1)),
            state,
            addresses: RefCell::default(),
            revisions: watch::channel(Revisions::default()).0,
        }))
    }

    /// Shows each change.
    pub fn watch(&self) -> watch::Receiver<Revisions> {
        self.0.revisions.subscribe()
    }

    /// The file that settings are stored in.
    pub fn file(&self) -> &std::path::Path {
        &self.0.place.file
    }

    /// The configuration in force.
    pub fn active(&self) -> Rc<Config> {
        self.0.state.borrow().active.clone()
    }

    /// What is stored, under the environment: in force after the next reload.
    pub fn view(&self) -> View {
        self.settle();
        let mut view = self.0.state.borrow().view.clone();
        if view.document.host.auto && view.document.host.name.is_empty() {
            view.document.host.name.clone_from(&self.0.addresses.borrow());
        }
        view
    }

    /// Shows `addresses` as host names while none is configured.
    pub fn show_addresses(&self, addresses: Vec<String>) {
        self.0.addresses.replace(addresses);
    }

    /// What is stored.
    pub fn stored(&self) -> Document {
        self.settle();
        self.0.state.borrow().stored.clone()
    }

    /// How often it has changed.
    pub fn revisions(&self) -> Revisions {
        self.settle();
        *self.0.revisions.borrow()
    }

    /// Takes over what has become durable since.
    pub fn settle(&self) {
        let mut state = self.0.state.borrow_mut();
        if let Some(Pending { stored, view, .. }) = state.pending.take_if(|pending| pending.written.get()) {
            (state.stored, state.view) = (stored, view);
            self.0.revisions.send_modify(|revisions| revisions.stored += 1);
        }
    }

    /// Lays the partial document over the stored one and stores the result; the write finishes even when the
    /// caller stops waiting. With `expected` only if nothing has changed since `revisions` said so.
    ///
    /// # Errors
    /// Nothing changed, neither on disk nor here.
    pub async fn put(&self, mut partial: Value, expected: Option<Revisions>, now: Now) -> Result<(), PutError> {
        self.drop_shown_addresses(&mut partial);
        let handle = self.clone();
        let work = task::spawn(async move {
            handle.stage(partial, expected, false, now).await?.store().await?;
            handle.0.alarms.clear(COMPONENT, "write");
            Ok(())
        });
        work.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// A client that sends back what it was shown does not mean to name the host.
    fn drop_shown_addresses(&self, partial: &mut Value) {
        let addresses = self.0.addresses.borrow();
        let is_unnamed = self.0.state.borrow().stored.host.name.is_empty();
        let Some(host) = partial.get_mut("host").and_then(Value::as_object_mut) else { return };
        if is_unnamed && !addresses.is_empty() && host.get("name").is_some_and(|name| *name == json!(*addresses)) {
            host.remove("name");
        }
    }

    /// Reads file and environment again.
    ///
    /// # Errors
    /// The new configuration is refused; the running one stays in force, and an alarm says so.
    pub async fn reload(&self, now: Now) -> Result<Rc<Config>, driver::Error> {
        let owner = &self.0;
        let _turn = owner.turn.acquire().await.expect("the turn is never closed");
        self.settle();
        let place = owner.place.clone();
        let reading = owner.blocking.run(Lane::Store, move || driver::read(&place, Touch::Write, now)).await;
        match reading {
            Ok(reading) => {
                NOTES.iter().for_each(|key| owner.alarms.clear(COMPONENT, key));
                owner.alarms.clear(COMPONENT, RELOAD);
                raise(&owner.alarms, &reading.notes, now);
                *owner.state.borrow_mut() = State::new(reading);
                owner.revisions.send_modify(|revisions| revisions.loaded += 1);
                Ok(self.active())
            }
            Err(error) => {
                let text =
                    format!("the new configuration was refused, the running one stays in force: {}", chain(&error));
                owner.alarms.raise(now, COMPONENT, RELOAD, text);
                Err(error)
            }
        }
    }
}

/// Alarm key of a refused reload.
const RELOAD: &str = "reload";

impl State {
    fn new(reading: Reading) -> Self {
        let view = View {
            created_at: reading.stored.created_at,
            loaded_at: reading.loaded_at,
            updated_at: reading.updated_at,
            document: reading.shown,
            overrides: reading.overlay.overrides,
        };
        Self { active: Rc::new(reading.config), stored: reading.stored, view, pending: None }
    }
}

fn raise(alarms: &Alarms, notes: &[Note], now: Now) {
    for note in notes {
        alarms.raise(now, COMPONENT, note.key, note.text.clone());
    }
}
