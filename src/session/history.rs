//! What has ended: sessions and bytes by location, peer and reference (`contract/sessions.md` §10). Pure.
//!
//! The peer comes from a header that the client chooses, so the history is capped: beyond `HISTORY` entries the one
//! that was touched longest ago is added to the entry `OTHER`, so that sums never shrink.

use std::collections::BTreeMap;

/// Entries of one collector's history.
pub const HISTORY: usize = 1024;
/// Location, peer and reference of what no longer has an entry of its own.
pub const OTHER: &str = "other";

/// Ended sessions and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub sessions: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.sessions = self.sessions.saturating_add(other.sessions);
        self.rx_bytes = self.rx_bytes.saturating_add(other.rx_bytes);
        self.tx_bytes = self.tx_bytes.saturating_add(other.tx_bytes);
    }
}

/// Whose sessions an entry sums up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    pub location: Box<str>,
    pub peer: Box<str>,
    pub reference: Box<str>,
}

impl Subject {
    fn other() -> Self {
        Self { location: OTHER.into(), peer: OTHER.into(), reference: OTHER.into() }
    }
}

/// Ended sessions of a collector, by what clients ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub total: Counts,
    pub peers: BTreeMap<Box<str>, Peer>,
    pub locations: BTreeMap<Box<str>, Counts>,
    pub references: BTreeMap<Box<str>, Counts>,
}

/// One peer's part of a summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    pub total: Counts,
    pub locations: BTreeMap<Box<str>, Counts>,
}

#[derive(Clone, Debug)]
struct Entry {
    counts: Counts,
    /// Place in the order of changes.
    touched: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct History {
    entries: BTreeMap<Subject, Entry>,
    /// Changes so far.
    changes: u64,
}

impl History {
    pub(super) fn add(&mut self, subject: Subject, counts: Counts) {
        if self.entries.len() >= HISTORY && !self.entries.contains_key(&subject) {
            self.merge_oldest();
        }
        self.changes += 1;
        let touched = self.changes;
        let entry = self.entries.entry(subject).or_insert(Entry { counts: Counts::default(), touched });
        entry.touched = touched;
        entry.counts.add(counts);
    }

    /// Grows with every change.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Subject, Counts)> {
        self.entries.iter().map(|(subject, entry)| (subject, entry.counts))
    }

    pub(super) fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.entries().for_each(|(_, counts)| total.add(counts));
        total
    }

    pub(super) fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for (subject, counts) in self.entries() {
            summary.total.add(counts);
            let peer = summary.peers.entry(subject.peer.clone()).or_default();
            peer.total.add(counts);
            peer.locations.entry(subject.location.clone()).or_default().add(counts);
            summary.locations.entry(subject.location.clone()).or_default().add(counts);
            summary.references.entry(subject.reference.clone()).or_default().add(counts);
        }
        summary
    }

    /// Makes room for one entry and for `OTHER`.
    fn merge_oldest(&mut self) {
        let other = Subject::other();
        while self.entries.len() >= HISTORY {
            let own = self.entries.iter().filter(|(subject, _)| **subject != other);
            let Some(oldest) = own.min_by_key(|(_, entry)| entry.touched).map(|(subject, _)| subject.clone()) else {
                return;
            };
            let Some(entry) = self.entries.remove(&oldest) else { return };
            let sum = self.entries.entry(other.clone()).or_insert(Entry { counts: Counts::default(), touched: 0 });
            sum.counts.add(entry.counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(location: &str, peer: &str, reference: &str) -> Subject {
        Subject { location: location.into(), peer: peer.into(), reference: reference.into() }
    }

    const ONE: Counts = Counts { sessions: 1, rx_bytes: 10, tx_bytes: 100 };

    #[test]
    fn sums_by_peer_location_and_reference() {
        let mut history = History::default();
        for (location, peer, reference) in
            [("/a", "p", "a"), ("/b", "p", "b"), ("/a", "q", "a"), ("/a", "p", "a"), ("/a", "p", "other")]
        {
            history.add(subject(location, peer, reference), ONE);
        }
        let summary = history.summary();
        assert_eq!(summary.total, Counts { sessions: 5, rx_bytes: 50, tx_bytes: 500 });
        assert_eq!(summary.total, history.total());
        let sessions = |counts: &BTreeMap<Box<str>, Counts>| {
            counts.iter().map(|(name, counts)| format!("{name}={} ", counts.sessions)).collect::<String>()
        };
        assert_eq!(sessions(&summary.locations), "/a=4 /b=1 ");
        assert_eq!(sessions(&summary.references), "a=3 b=1 other=1 ");
        let peer = &summary.peers["p"];
        assert_eq!((peer.total.sessions, sessions(&peer.locations).as_str()), (4, "/a=3 /b=1 "));
        assert_eq!(history.changes(), 5);
    }

    #[test]
    fn beyond_the_bound_the_oldest_become_one() {
        let mut history = History::default();
        let peers = HISTORY as u64 * 3;
        for peer in 0..peers {
            history.add(subject("/a", &format!("{peer}.example"), "a"), ONE);
            history.add(subject("/a", "regular", "a"), ONE);
            assert!(history.entries().count() <= HISTORY);
        }
        let summary = history.summary();
        assert_eq!(summary.total.sessions, peers * 2);
        assert_eq!(summary.peers["regular"].total.sessions, peers);
        assert_eq!(summary.peers[OTHER].total.sessions, peers - (HISTORY as u64 - 2));
        assert!(summary.peers.contains_key(format!("{}.example", peers - 1).as_str()));
    }
}
