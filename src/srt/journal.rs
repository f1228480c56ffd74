//! The log of `/api/v3/srt`: what the protocol did, by topics that the configuration chooses (`srt.log`).
//!
//! connection → `Topics::has` → lines → ring of the connection, or of the server for what belongs to none. Topics are
//! names like `handshake:recv:dump`; a configured `handshake` or `handshake:recv` takes all below it. Lines are made
//! only for topics that are on. Secrets never come here: who writes a line knows what stands in it.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Entries of one topic; the oldest go.
pub(super) const ENTRIES: usize = 100;
/// Bytes of all entries of one connection; the topic with most entries gives its oldest.
pub(super) const BYTES: usize = 64 * 1024;
/// Bytes of a packet that a dump shows.
const DUMPED: usize = 64;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Unix milliseconds.
    pub at: i64,
    pub lines: Vec<String>,
}

/// Entries by topic, oldest first.
pub type Entries = BTreeMap<&'static str, VecDeque<Entry>>;

/// Which topics are on.
#[derive(Clone, Debug, Default)]
pub(super) struct Topics(Rc<[String]>);

/// The entries of one connection, or of the server.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: Entries,
    bytes: usize,
}

impl Topics {
    /// The names in `topics` while `is_on`, else none.
    pub(super) fn new(is_on: bool, topics: &[String]) -> Self {
        Self(if is_on { topics.into() } else { Rc::default() })
    }

    /// Whether `topic` or one above it is on.
    pub(super) fn has(&self, topic: &str) -> bool {
        let is_above = |name: &String| {
            topic.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        self.0.iter().any(is_above)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Journal {
    pub(super) fn add(&mut self, at: i64, topic: &'static str, lines: Vec<String>) {
        let entry = Entry { at, lines };
        self.bytes += entry.bytes();
        let entries = self.entries.entry(topic).or_default();
        entries.push_back(entry);
        if entries.len() > ENTRIES {
            self.bytes -= entries.pop_front().map_or(0, |entry| entry.bytes());
        }
        while self.bytes > BYTES {
            let Some(longest) = self.entries.values_mut().max_by_key(|entries| entries.len()) else { break };
            self.bytes -= longest.pop_front().map_or(0, |entry| entry.bytes());
        }
    }

    pub(super) fn entries(&self) -> &Entries {
        &self.entries
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.lines.iter().map(|line| size_of::<String>() + line.len()).sum::<usize>()
    }
}

/// The beginning of a packet in hexadecimal, sixteen bytes a line.
pub(super) fn dump(packet: &[u8]) -> Vec<String> {
    let shown = &packet[..packet.len().min(DUMPED)];
    let line = |(index, bytes): (usize, &[u8])| {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:04x}  {}", index * 16, hex.join(" "))
    };
    let mut lines: Vec<String> = shown.chunks(16).enumerate().map(line).collect();
    if packet.len() > DUMPED {
        lines.push(format!("{} bytes in all", packet.len()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_prefixes_at_colons() {
        let topics = Topics::new(true, &["connection".to_owned(), "handshake:recv".to_owned()]);
        for (topic, expected) in [
            ("connection", true),
            ("connection:new", true),
            ("connections", false),
            ("handshake:recv:dump", true),
            ("handshake:send:dump", false),
            ("packet:recv:dump", false),
        ] {
            assert_eq!(topics.has(topic), expected, "{topic}");
        }
        assert!(!Topics::new(false, &["connection".to_owned()]).has("connection"));
        assert!(!Topics::new(true, &[]).has("connection"));
    }

    #[test]
    fn the_oldest_entries_go() {
        let mut journal = Journal::default();
        for at in 0..i64::try_from(ENTRIES).expect("small") + 5 {
            journal.add(at, "listen", vec!["line".to_owned()]);
        }
        let entries = &journal.entries()["listen"];
        assert_eq!((entries.len(), entries[0].at), (ENTRIES, 5));
    }

    #[test]
    fn bytes_are_bounded_over_all_topics() {
        let mut journal = Journal::default();
        for at in 0..80 {
            for topic in ["listen", "connection:new", "handshake:recv:dump"] {
                journal.add(at, topic, vec!["x".repeat(1000)]);
            }
        }
        let bytes: usize = journal.entries().values().flatten().map(Entry::bytes).sum();
        assert!(bytes <= BYTES && bytes == journal.bytes, "{bytes}");
        assert!(journal.entries().values().all(|entries| !entries.is_empty()));
        journal.add(0, "listen", vec!["x".repeat(2 * BYTES)]);
        assert!(journal.bytes <= BYTES);
    }

    #[test]
    fn dumps_are_cut() {
        assert_eq!(dump(&[0x80, 0x05]), ["0000  80 05"]);
        let lines = dump(&[0; 1316]);
        assert_eq!((lines.len(), lines[4].as_str()), (5, "1316 bytes in all"));
    }
}
