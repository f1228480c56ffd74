//! What uploads bring, counted by the names they go to.
//!
//! `Memfs::meter(prefixes)` → `Meter`; an upload looks for its meter once, when it begins, and adds its bytes as they
//! arrive. It counts for one meter at most: the one with the longest prefix of its name, among equals the latest.
//! Refused bytes do not count, those of an upload that is aborted later do. A dropped meter counts nothing, also not
//! what uploads still bring that began while it was there.

use std::cell::Cell;
use std::rc::{Rc, Weak};

/// Prefixes of all meters together; what is beyond is not counted.
pub const METER_PREFIXES: usize = 2048;

/// Counts uploads until it is dropped.
#[derive(Debug, Default)]
pub struct Meter(Rc<Tally>);

#[derive(Debug, Default)]
struct Tally {
    bytes: Cell<u64>,
    /// Tells meters apart, also after they are gone.
    number: u64,
}

impl Meter {
    /// Bytes since the meter was made.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.get()
    }
}

/// Where an upload counts; nowhere for most.
#[derive(Clone, Debug, Default)]
pub(super) struct Count(Weak<Tally>);

impl Count {
    pub(super) fn add(&self, bytes: u64) {
        if let Some(total) = self.0.upgrade() {
            total.bytes.set(total.bytes.get().saturating_add(bytes));
        }
    }

    /// The number of the meter that it counts for.
    pub(super) fn number(&self) -> Option<u64> {
        self.0.upgrade().map(|total| total.number)
    }
}

/// All meters, oldest first; those that are gone leave when the next one comes. And how many there were.
#[derive(Debug, Default)]
pub(super) struct Meters(Vec<(Box<str>, Count)>, u64);

impl Meters {
    /// The root is no prefix: it would own what nobody has named.
    pub(super) fn add(&mut self, prefixes: &[String]) -> Meter {
        self.0.retain(|(_, count)| count.0.strong_count() > 0);
        self.1 += 1;
        let meter = Meter(Rc::new(Tally { bytes: Cell::new(0), number: self.1 }));
        let named = prefixes.iter().filter(|prefix| !matches!(prefix.as_str(), "" | "/"));
        for prefix in named.take(METER_PREFIXES - self.0.len()) {
            self.0.push((prefix.as_str().into(), Count(Rc::downgrade(&meter.0))));
        }
        meter
    }

    /// Where an upload to `name` counts.
    pub(super) fn find(&self, name: &str) -> Count {
        let matching =
            self.0.iter().filter(|(prefix, count)| name.starts_with(&**prefix) && count.0.strong_count() > 0);
        matching.max_by_key(|(prefix, _)| prefix.len()).map(|(_, count)| count.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(list: &[&str]) -> Vec<String> {
        list.iter().map(|&prefix| prefix.to_owned()).collect()
    }

    #[test]
    fn the_longest_prefix_counts_then_the_latest() {
        let mut meters = Meters::default();
        let live = meters.add(&prefixes(&["/live", "/other/x"]));
        let live_2 = meters.add(&prefixes(&["/live_2"]));
        let nobody = meters.add(&prefixes(&["/", ""]));
        for (name, bytes) in
            [("/live.m3u8", 1), ("/live0.ts", 10), ("/live_2_0.ts", 100), ("/other/x1.ts", 1000), ("/li", 5), ("/", 5)]
        {
            meters.find(name).add(bytes);
        }
        assert_eq!([live.bytes(), live_2.bytes(), nobody.bytes()], [1011, 100, 0]);
        let again = meters.add(&prefixes(&["/live"]));
        meters.find("/live0.ts").add(7);
        assert_eq!([live.bytes(), again.bytes()], [1011, 7]);
    }

    #[test]
    fn more_than_4_gib_are_counted() {
        let mut meters = Meters::default();
        let live = meters.add(&prefixes(&["/live"]));
        let count = meters.find("/live0.ts");
        (0..3).for_each(|_| count.add(3 << 30));
        assert_eq!(live.bytes(), 9 << 30);
    }

    #[test]
    fn a_dropped_meter_makes_room_for_the_others() {
        let mut meters = Meters::default();
        let outer = meters.add(&prefixes(&["/live"]));
        let inner = meters.add(&prefixes(&["/live_2"]));
        let began_before = meters.find("/live_2_0.ts");
        drop(inner);
        began_before.add(5);
        meters.find("/live_2_1.ts").add(3);
        assert_eq!(outer.bytes(), 3);
        drop(outer);
        drop(meters.add(&[]));
        assert!(meters.0.is_empty());
    }

    #[test]
    fn prefixes_beyond_the_bound_do_not_count() {
        let mut meters = Meters::default();
        let many: Vec<String> = (0..METER_PREFIXES).map(|n| format!("/{n}.")).collect();
        let first = meters.add(&many);
        let late = meters.add(&prefixes(&["/late"]));
        meters.find("/late").add(1);
        meters.find("/7.ts").add(1);
        assert_eq!([first.bytes(), late.bytes(), meters.0.len() as u64], [1, 0, METER_PREFIXES as u64]);
        drop(first);
        let late = meters.add(&prefixes(&["/late"]));
        meters.find("/late").add(1);
        assert_eq!(late.bytes(), 1);
    }
}
