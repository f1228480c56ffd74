//! The last entries, bounded by number and by bytes; the oldest goes first.

use std::collections::VecDeque;

use super::entry::Entry;

/// Bytes of all entries together, whatever number is configured.
pub(super) const RING_BYTES: usize = 4 * 1024 * 1024;

/// Entries, oldest first.
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    max_lines: usize,
    bytes: usize,
}

impl Ring {
    pub(super) fn new(max_lines: usize) -> Self {
        Self { entries: VecDeque::new(), max_lines, bytes: 0 }
    }

    /// Keeps `entry` as the newest.
    pub(super) fn push(&mut self, entry: Entry) {
        if self.max_lines == 0 {
            return;
        }
        self.bytes += entry.size();
        self.entries.push_back(entry);
        self.trim();
    }

    /// Keeps the newest `max_lines`.
    pub(super) fn resize(&mut self, max_lines: usize) {
        self.max_lines = max_lines;
        self.trim();
        self.entries.shrink_to_fit();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    fn trim(&mut self) {
        while self.entries.len() > self.max_lines || self.bytes > RING_BYTES {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use super::*;

    fn entry(message: impl Into<String>) -> Entry {
        Entry {
            at: SystemTime::UNIX_EPOCH,
            level: ::log::Level::Info,
            component: "Core".into(),
            message: message.into(),
            fields: BTreeMap::new(),
        }
    }

    fn messages(ring: &Ring) -> Vec<&str> {
        ring.iter().map(|entry| entry.message.as_str()).collect()
    }

    #[test]
    fn bounded_by_lines_and_resizable() {
        let mut ring = Ring::new(3);
        ["a", "b", "c", "d"].into_iter().for_each(|message| ring.push(entry(message)));
        assert_eq!(messages(&ring), ["b", "c", "d"]);
        ring.resize(2);
        assert_eq!(messages(&ring), ["c", "d"]);
        ring.resize(0);
        ring.push(entry("e"));
        assert!(messages(&ring).is_empty());
    }

    #[test]
    fn bounded_by_bytes() {
        let mut ring = Ring::new(usize::MAX);
        for _ in 0..3 {
            ring.push(entry("x".repeat(RING_BYTES / 2)));
        }
        assert_eq!(messages(&ring).len(), 1);
    }
}
