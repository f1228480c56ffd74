//! The persisted shape of a history (`contract/sessions.md` §10): bytes ↔ entries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::history::{Counts, History, Subject};

#[derive(Default, Deserialize, Serialize)]
struct Document {
    #[serde(default)]
    sessions: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Entry {
    location: String,
    peer: String,
    reference: String,
    total_sessions: u64,
    total_rxbytes: u64,
    total_txbytes: u64,
}

/// The file of a history, indented by four blanks.
pub(super) fn write(history: &History) -> Vec<u8> {
    let entry = |(subject, counts): (&Subject, Counts)| {
        let Subject { location, peer, reference } = subject;
        let entry = Entry {
            location: location.to_string(),
            peer: peer.to_string(),
            reference: reference.to_string(),
            total_sessions: counts.sessions,
            total_rxbytes: counts.rx_bytes,
            total_txbytes: counts.tx_bytes,
        };
        (format!("{location}:{peer}:{reference}"), entry)
    };
    // Different subjects may have the same key, as in the reference; what they count is added up.
    let mut sessions: BTreeMap<String, Entry> = BTreeMap::new();
    for (key, entry) in history.entries().map(entry) {
        match sessions.get_mut(&key) {
            None => drop(sessions.insert(key, entry)),
            Some(known) => {
                known.total_sessions = known.total_sessions.saturating_add(entry.total_sessions);
                known.total_rxbytes = known.total_rxbytes.saturating_add(entry.total_rxbytes);
                known.total_txbytes = known.total_txbytes.saturating_add(entry.total_txbytes);
            }
        }
    }
    let mut bytes = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, indent);
    Document { sessions }.serialize(&mut serializer).expect("text and numbers, written to memory");
    bytes
}

/// Adds what a file holds to `history`.
///
/// # Errors
/// It is no such document; nothing was added.
pub(super) fn read(bytes: &[u8], history: &mut History) -> Result<(), serde_json::Error> {
    let document: Document = serde_json::from_slice(bytes)?;
    for entry in document.sessions.into_values() {
        let subject = Subject {
            location: super::collector::boxed(&entry.location),
            peer: super::collector::boxed(&entry.peer),
            reference: super::collector::boxed(&entry.reference),
        };
        let (sessions, rx_bytes, tx_bytes) = (entry.total_sessions, entry.total_rxbytes, entry.total_txbytes);
        history.add(subject, Counts { sessions, rx_bytes, tx_bytes });
    }
    Ok(())
}
