//! Ordered maps, sets and lists of few entries, built by inserting.
//!
//! `collect` and `from` sort first, with 5 kB of sorting code for each type of entry.

use std::cmp::Ordering;
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

/// Puts a short list in order; equal items stay as they stand.
pub fn sort<T>(items: &mut [T], order: impl Fn(&T, &T) -> Ordering) {
    for next in 1..items.len() {
        let at = items[..next].partition_point(|item| order(item, &items[next]) != Ordering::Greater);
        items[at..=next].rotate_right(1);
    }
}

/// A JSON object.
pub fn object(members: impl IntoIterator<Item = (String, Value)>) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, value) in members {
        object.insert(name, value);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_is_stable() {
        let mut items = [(2, 'a'), (1, 'b'), (2, 'c'), (0, 'd'), (1, 'e'), (2, 'f')];
        sort(&mut items, |a, b| a.0.cmp(&b.0));
        assert_eq!(items, [(0, 'd'), (1, 'b'), (1, 'e'), (2, 'a'), (2, 'c'), (2, 'f')]);
    }

    #[test]
    fn the_later_of_equal_keys_stays() {
        assert_eq!(map([("a", 1), ("b", 2), ("a", 3)]), BTreeMap::from([("a", 3), ("b", 2)]));
    }
}
