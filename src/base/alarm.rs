//! What the box wants a person to know: a bounded list of standing alarms, shown by the API below `rill`.
//!
//! Whoever finds a lasting fault raises an alarm under a key and clears it when the fault has gone. Each alarm is
//! logged once when raised. Passive owner.

use std::cell::RefCell;
use std::rc::Rc;

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
#[derive(Clone, Default)]
pub struct Alarms(Rc<RefCell<Vec<Alarm>>>);

impl Alarms {
    /// Raises or rewords the alarm `key` of `component`.
    pub fn raise(&self, now: Now, component: &'static str, key: &str, text: String) {
        let mut list = self.0.borrow_mut();
        if let Some(standing) = list.iter_mut().find(|a| a.component == component && a.key == key) {
            if standing.text != text {
                log::warn!(target: component, "{text}");
                standing.text = text;
            }
            return;
        }
        log::warn!(target: component, "{text}");
        if list.len() < ALARMS {
            list.push(Alarm { component, key: key.to_owned(), text, since: now.unix() });
        }
    }

    /// Ends the alarm `key` of `component`; unknown keys are ignored.
    pub fn clear(&self, component: &'static str, key: &str) {
        self.0.borrow_mut().retain(|a| a.component != component || a.key != key);
    }

    /// The standing alarms, oldest first.
    pub fn list(&self) -> Vec<Alarm> {
        self.0.borrow().clone()
    }
}
