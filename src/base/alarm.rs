//! What the box wants a person to know: a bounded list of standing alarms, shown by the API below `rill`.
//!
//! Whoever finds a lasting fault raises an alarm under a key and clears it when the fault has gone. Each alarm is
//! logged once when raised. Passive owner.

use std::rc::Rc;

use tokio::sync::watch;

use super::clock::Now;

/// Alarms kept at once; beyond it new keys are logged but not listed.
pub const ALARMS: usize = 32;

/// One standing fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Log component and topic, for example `ProcessStore`.
    pub component: &'static str,
    /// Names the fault within its component; raising it again replaces the text.
    pub key: String,
    /// One sentence: what is wrong, what the box does instead, what a person can do.
    pub text: String,
    /// Unix seconds.
    pub since: i64,
}

/// Cheap handle to the list.
#[derive(Clone)]
pub struct Alarms(Rc<watch::Sender<Vec<Alarm>>>);

impl Default for Alarms {
    fn default() -> Self {
        Self(Rc::new(watch::channel(Vec::new()).0))
    }
}

impl Alarms {
    /// Raises or rewords the alarm `key` of `component`.
    pub fn raise(&self, now: Now, component: &'static str, key: &str, text: String) {
        let standing = |list: &[Alarm]| list.iter().position(|a| a.component == component && a.key == key);
        let place = standing(&self.0.borrow());
        if place.is_some_and(|place| self.0.borrow()[place].text == text) {
            return;
        }
        log::warn!(target: component, "{text}");
        self.0.send_if_modified(|list| {
            match place {
                Some(place) => list[place].text = text,
                None if list.len() < ALARMS => {
                    list.push(Alarm { component, key: key.to_owned(), text, since: now.unix() });
                }
                None => return false,
            }
            true
        });
    }

    /// Ends the alarm `key` of `component`; unknown keys are ignored.
    pub fn clear(&self, component: &'static str, key: &str) {
        self.0.send_if_modified(|list| {
            let before = list.len();
            list.retain(|a| a.component != component || a.key != key);
            list.len() < before
        });
    }

    /// The standing alarms, oldest first.
    pub fn list(&self) -> Vec<Alarm> {
        self.0.borrow().clone()
    }

    /// Shows the list whenever it changes.
    pub fn watch(&self) -> watch::Receiver<Vec<Alarm>> {
        self.0.subscribe()
    }
}
