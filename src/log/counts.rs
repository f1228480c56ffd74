//! How much was logged, and how often something panicked. Counted without the lock: a panic may come while it is held.

use std::sync::atomic::{AtomicU64, Ordering};

use ::log::Level;

/// Since the start.
#[derive(Default)]
pub(super) struct Counts {
    entries: [AtomicU64; 4],
    panics: AtomicU64,
}

impl Counts {
    pub(super) fn logged(&self, level: Level) {
        let index = match level {
            Level::Error => 0,
            Level::Warn => 1,
            Level::Info => 2,
            Level::Debug | Level::Trace => 3,
        };
        self.entries[index].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn entries(&self) -> [u64; 4] {
        self.entries.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    pub(super) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_counted_each() {
        let counts = Counts::default();
        [Level::Info, Level::Trace, Level::Info, Level::Debug, Level::Error].into_iter().for_each(|l| counts.logged(l));
        counts.panicked();
        assert_eq!((counts.entries(), counts.panics()), ([1, 0, 2, 2], 1));
    }
}
