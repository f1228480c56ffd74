//! What a commit has changed, found by comparing the table before and after it. Pure.
//!
//! Whatever a batch was asked for, only what is different is told: deleted and added again under the same id within a
//! batch are two facts, set to what it was before is none.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use crate::base::tree;
use crate::events::{Change, Fact, Subject};
use crate::process::Order;
use crate::supervisor::table::{Entry, Key, Metadata, Table};

/// The facts in the order that a reader can follow: removed, then by process, then global metadata.
pub(in crate::supervisor) fn between(before: &Table, after: &Table) -> Vec<Fact> {
    let old: BTreeMap<Key, &Entry> = tree::map(before.entries().iter().map(|entry| (entry.key, entry)));
    let new: BTreeMap<Key, &Entry> = tree::map(after.entries().iter().map(|entry| (entry.key, entry)));
    let removed = before.entries().iter().filter(|entry| !new.contains_key(&entry.key));
    let mut facts: Vec<Fact> =
        removed.map(|entry| Fact::Process { subject: subject(entry), change: Change::Removed }).collect();
    for entry in after.entries() {
        one(old.get(&entry.key).copied(), entry, &mut facts);
    }
    let keys = keys(before.metadata.as_ref(), after.metadata.as_ref());
    if !keys.is_empty() {
        facts.push(Fact::Metadata { subject: None, keys });
    }
    facts
}

fn one(old: Option<&Entry>, new: &Entry, facts: &mut Vec<Fact>) {
    let change = match old {
        None => Some(Change::Added),
        Some(old) if old.revision != new.revision => {
            let was = (old.config.id != new.config.id).then(|| old.config.id.as_str().into());
            Some(Change::Updated { was })
        }
        Some(_) => None,
    };
    facts.extend(change.map(|change| Fact::Process { subject: subject(new), change }));
    if old.map_or(Order::Stop, |old| old.order) != new.order {
        facts.push(Fact::Order { subject: subject(new), order: new.order });
    }
    let keys = keys(old.and_then(|old| old.metadata.as_ref()), new.metadata.as_ref());
    if !keys.is_empty() {
        facts.push(Fact::Metadata { subject: Some(subject(new)), keys });
    }
}

/// Keys whose values differ.
fn keys(before: Option<&Rc<Metadata>>, after: Option<&Rc<Metadata>>) -> Vec<String> {
    match (before, after) {
        (None, None) => return Vec::new(),
        (Some(before), Some(after)) if Rc::ptr_eq(before, after) => return Vec::new(),
        _ => {}
    }
    let none = BTreeMap::new();
    let (before, after) = (before.map_or(&none, |map| &**map), after.map_or(&none, |map| &**map));
    let differs = |other: &BTreeMap<String, Value>, key: &String, value: &Value| other.get(key) != Some(value);
    let set = after.iter().filter(|(key, value)| differs(before, key, value));
    let removed = before.iter().filter(|(key, _)| !after.contains_key(*key));
    set.chain(removed).map(|(key, _)| key.clone()).collect()
}

fn subject(entry: &Entry) -> Subject {
    Subject::new(&entry.config.id, &entry.config.reference)
}
