//! Ordered maps and sets of few entries, built by inserting.
//!
//! `collect` and `from` sort first, with 5 kB of sorting code for each type of entry.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Of two entries with the same key the later one stays, as with `collect`.
pub fn map<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    for (key, value) in entries {
        map.insert(key, value);
    }
    map
}

pub fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    for item in items {
        set.insert(item);
    }
    set
}

/// A JSON object.
pub fn object(members: impl IntoIterator<Item = (String, Value)>) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, value) in members {
        object.insert(name, value);
    }
    object
}
