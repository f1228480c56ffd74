//! Settings that are checked and may be stored: alone, or together with a document of someone else.
//!
//! `stage` takes the turn, so that nothing else changes meanwhile → `store`, or `companion`, whose `written` is set by
//! whoever makes it durable: from that moment on the handle shows the new settings. Dropped without either, nothing
//! happens.

use std::cell::Cell;
use std::rc::Rc;

use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use super::{Handle, PutError, Revisions, View};
use crate::base::blocking::Lane;
use crate::base::clock::Now;
use crate::base::file_driver::journal_driver::{Joint, Replacement};
use crate::base::file_driver::{self, Previous};
use crate::base::stamp::Stamp;
use crate::config::document::Document;
use crate::config::driver::{self, Touch};
use crate::config::fields::Overlay;
use crate::config::merge::{self, Over};

/// See the module.
pub struct Staged {
    handle: Handle,
    turn: OwnedSemaphorePermit,
    stored: Document,
    shown: Document,
    overlay: Overlay,
    differences: Vec<String>,
}

/// The configuration file, to be replaced in one step with another document.
pub struct Companion {
    pub joint: Joint,
    /// Set once both are durable, at the moment when readers see the other document.
    pub written: Rc<Cell<bool>>,
    /// Nothing else changes the settings until then.
    pub turn: OwnedSemaphorePermit,
}

/// What is shown as soon as `written` is set.
pub(super) struct Pending {
    pub(super) written: Rc<Cell<bool>>,
    pub(super) stored: Document,
    pub(super) view: View,
}

impl Handle {
    /// Lays the partial document over the stored one and checks the result; changes nothing but, unless it is only a
    /// `trial`, directories that settings ask for. With `expected` only if nothing has changed since `revisions` said so.
    ///
    /// # Errors
    /// It is refused.
    pub async fn stage(
        &self,
        partial: Value,
        expected: Option<Revisions>,
        trial: bool,
        now: Now,
    ) -> Result<Staged, PutError> {
        let owner = &self.0;
        let turn = owner.turn.clone().acquire_owned().await.expect("the turn is never closed");
        if expected.is_some_and(|expected| expected != self.revisions()) {
            return Err(PutError::Changed);
        }
        let base = self.stored();
        let mut stored = merge::merge_value(&base, partial, Over::Stored)?;
        let differences = differences(&base, &stored);
        stored.created_at = Stamp::at(now.wall);
        let place = owner.place.clone();
        let touch = if trial { Touch::Nothing } else { Touch::Write };
        let work = move || {
            let (shown, overlay, _) = driver::effective(&place, &stored, touch).map_err(PutError::Invalid)?;
            Ok::<_, PutError>((stored, shown, overlay))
        };
        let (stored, shown, overlay) = owner.blocking.run(Lane::Store, work).await?;
        Ok(Staged { handle: self.clone(), turn, stored, shown, overlay, differences })
    }
}

impl Staged {
    /// Names of what is different, as `log.level`.
    pub fn differences(&self) -> &[String] {
        &self.differences
    }

    /// Stores the settings, different or not.
    ///
    /// # Errors
    /// Nothing changed.
    pub(super) async fn store(self) -> Result<(), PutError> {
        let (handle, path, bytes) = (self.handle.clone(), self.handle.0.place.file.clone(), self.stored.to_bytes());
        let work = move || file_driver::replace(&path, &bytes, Previous::Keep);
        handle.0.blocking.run(Lane::Store, work).await.map_err(|source| PutError::Write { source })?;
        let companion = self.into_pending();
        companion.written.set(true);
        handle.settle();
        Ok(())
    }

    /// The file as it is to be; `None` if nothing is different.
    pub fn companion(self) -> Option<Companion> {
        (!self.differences.is_empty()).then(|| self.into_pending())
    }

    fn into_pending(self) -> Companion {
        let Self { handle, turn, stored, shown, overlay, .. } = self;
        let file = handle.0.place.file.clone();
        let written = Rc::<Cell<bool>>::default();
        let joint =
            Joint { journal: driver::journal(&file), file: Replacement { path: file, bytes: stored.to_bytes() } };
        let mut state = handle.0.state.borrow_mut();
        let view = View {
            created_at: stored.created_at,
            updated_at: stored.created_at,
            loaded_at: state.view.loaded_at,
            document: shown,
            overrides: overlay.overrides,
        };
        state.pending = Some(Pending { written: written.clone(), stored, view });
        Companion { joint, written, turn }
    }
}

/// Paths of the members that differ, but for the time of storing.
fn differences(before: &Document, after: &Document) -> Vec<String> {
    let value = |document: &Document| serde_json::to_value(document).unwrap_or_default();
    let mut paths = Vec::new();
    walk("", &value(before), &value(after), &mut paths);
    paths.retain(|path| path != "created_at");
    paths
}

fn walk(path: &str, before: &Value, after: &Value, paths: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) if path != "router.routes" => {
            for (name, value) in new {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(&below, old.get(name).unwrap_or(&Value::Null), value, paths);
            }
        }
        (before, after) if before != after => paths.push(path.to_owned()),
        _ => {}
    }
}
