//! The sessions of one collector: pending → active → ended (`contract/sessions.md` §2). Pure.
//!
//! A session is registered, becomes active by its first traffic worth counting, and ends when nothing has passed for its
//! time-out, or when a server that knows its peers says so. Ended active ones go to the history, pending ones nowhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::history::{Counts, History, Subject};
use super::rate::{Top, Window};
use super::{Kind, New, Session};
use crate::base::clock::Now;

/// Sessions of one collector, pending ones included; further ones are not counted.
pub const SESSIONS: usize = 4096;
/// Longer ids are not registered.
pub const ID_BYTES: usize = 2048;
/// Texts of a session are cut here.
pub const TEXT_BYTES: usize = 512;
/// What an empty location or peer is shown as.
pub const UNKNOWN: &str = "unknown";
const COMPONENT: &str = "Session";

/// Time-outs of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeouts {
    /// While pending, and until the first traffic.
    pub(super) inactive: Duration,
    /// Since the last traffic.
    pub(super) session: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Active,
}

/// One direction of a session or collector.
#[derive(Clone, Debug)]
struct Flow {
    bytes: u64,
    window: Window,
    top: Top,
}

impl Flow {
    fn new(now: Instant, expected: f64) -> Self {
        Self { bytes: 0, window: Window::new(now), top: Top::new(now, expected) }
    }

    fn add(&mut self, now: Instant, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.window.add(now, bytes);
        let bitrate = self.window.bitrate(now);
        self.top.raise(now, bitrate);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Rx,
    Tx,
}

#[derive(Debug)]
struct Entry {
    /// Place in the order of registration.
    number: u64,
    created_at: i64,
    subject: Subject,
    extra: Box<str>,
    state: State,
    deadline: Instant,
    rx: Flow,
    tx: Flow,
}

#[derive(Debug)]
pub(super) struct Collector {
    kind: Kind,
    pub(super) timeouts: Timeouts,
    sessions: BTreeMap<Box<str>, Entry>,
    active: usize,
    registered: u64,
    rx: Window,
    tx: Window,
    pub(super) history: History,
}

impl Collector {
    pub(super) fn new(now: Instant, kind: Kind, timeouts: Timeouts) -> Self {
        Self {
            kind,
            timeouts,
            sessions: BTreeMap::new(),
            active: 0,
            registered: 0,
            rx: Window::new(now),
            tx: Window::new(now),
            history: History::default(),
        }
    }

    /// Adds a pending session; false if there is no place. A known id stays as it is.
    pub(super) fn register(&mut self, now: Now, id: &str, new: &New<'_>) -> bool {
        if self.sessions.contains_key(id) {
            return true;
        }
        if self.sessions.len() >= SESSIONS || id.len() > ID_BYTES {
            return false;
        }
        self.registered += 1;
        let or_unknown = |text: &str| boxed(if text.is_empty() { UNKNOWN } else { text });
        let entry = Entry {
            number: self.registered,
            created_at: now.unix(),
            subject: Subject {
                location: or_unknown(new.location),
                peer: or_unknown(new.peer),
                reference: boxed(new.reference),
            },
            extra: boxed(new.extra),
            state: State::Pending,
            deadline: now.mono + self.timeouts.inactive.min(self.timeouts.session),
            rx: Flow::new(now.mono, 0.0),
            tx: Flow::new(now.mono, new.expected_bitrate),
        };
        self.log(log::Level::Debug, id, &entry.subject, "Pending");
        self.sessions.insert(id.into(), entry);
        true
    }

    /// Makes a pending session count. False if there is no such session.
    pub(super) fn activate(&mut self, id: &str) -> bool {
        let Some(entry) = self.sessions.get_mut(id) else { return false };
        if entry.state == State::Pending {
            entry.state = State::Active;
            self.active += 1;
            let subject = entry.subject.clone();
            self.log(log::Level::Debug, id, &subject, "Active");
        }
        true
    }

    /// Adds bytes; they keep the session alive. Unknown ids are ignored.
    pub(super) fn count(&mut self, now: Instant, id: &str, direction: Direction, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let Some(entry) = self.sessions.get_mut(id) else { return };
        let time_out = match entry.state {
            State::Pending => self.timeouts.inactive.min(self.timeouts.session),
            State::Active => self.timeouts.session,
        };
        entry.deadline = entry.deadline.max(now + time_out);
        match direction {
            Direction::Rx => {
                entry.rx.add(now, bytes);
                self.rx.add(now, bytes);
            }
            Direction::Tx => {
                entry.tx.add(now, bytes);
                self.tx.add(now, bytes);
            }
        }
    }

    /// Ends a session now. Unknown ids are ignored.
    pub(super) fn end(&mut self, now: Instant, id: &str) {
        if let Some((id, entry)) = self.sessions.remove_entry(id) {
            self.close(now, &id, entry);
        }
    }

    /// Ends the sessions whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        let over: Vec<Box<str>> =
            self.sessions.iter().filter(|(_, entry)| entry.deadline <= now).map(|(id, _)| id.clone()).collect();
        over.iter().for_each(|id| self.end(now, id));
    }

    pub(super) fn end_all(&mut self, now: Instant) {
        while let Some((id, entry)) = self.sessions.pop_first() {
            self.close(now, &id, entry);
        }
    }

    /// Active sessions, oldest first.
    pub(super) fn list(&mut self, now: Instant) -> Vec<Session> {
        let active = self.sessions.iter_mut().filter(|(_, entry)| entry.state == State::Active);
        let mut numbered: Vec<(u64, Session)> = active.map(|(id, entry)| (entry.number, entry.show(now, id))).collect();
        numbered.sort_unstable_by_key(|(number, _)| *number);
        numbered.into_iter().map(|(_, session)| session).collect()
    }

    /// Active sessions whose reference begins with `reference`, and ended ones.
    pub(super) fn viewers(&self, reference: &str) -> (u64, u64) {
        let is_active = |entry: &&Entry| entry.state == State::Active && entry.subject.reference.starts_with(reference);
        let active = self.sessions.values().filter(is_active).count() as u64;
        let ended = self.history.entries().filter(|(subject, _)| subject.reference.starts_with(reference));
        (active, ended.map(|(_, counts)| counts.sessions).sum())
    }

    pub(super) fn is_known(&self, id: &str) -> bool {
        self.sessions.contains_key(id)
    }

    /// Sessions, pending ones included.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn active(&self) -> usize {
        self.active
    }

    /// Bits per second received and sent.
    pub(super) fn bitrates(&mut self, now: Instant) -> (f64, f64) {
        (self.rx.bitrate(now), self.tx.bitrate(now))
    }

    /// Sum of the top bitrates of all sessions, sent; pending ones with what is expected of them (H57).
    pub(super) fn top_tx(&self, now: Instant) -> f64 {
        self.sessions.values().map(|entry| entry.tx.top.bitrate(now)).sum()
    }

    /// Top bitrate of one session, received.
    pub(super) fn top_rx_of(&self, now: Instant, id: &str) -> f64 {
        self.sessions.get(id).map_or(0.0, |entry| entry.rx.top.bitrate(now))
    }

    fn close(&mut self, now: Instant, id: &str, mut entry: Entry) {
        if entry.state == State::Pending {
            return;
        }
        self.active -= 1;
        let (rx, tx) = (&mut entry.rx, &mut entry.tx);
        log::info!(
            target: COMPONENT,
            id = id,
            r#type = self.kind.name(),
            reference = &*entry.subject.reference,
            location = &*entry.subject.location,
            peer = &*entry.subject.peer,
            rx_bytes = rx.bytes,
            rx_bitrate_kbit = rx.window.bitrate(now) / 1024.0,
            tx_bytes = tx.bytes,
            tx_bitrate_kbit = tx.window.bitrate(now) / 1024.0;
            "Closed"
        );
        self.history.add(entry.subject, Counts { sessions: 1, rx_bytes: rx.bytes, tx_bytes: tx.bytes });
    }

    fn log(&self, level: log::Level, id: &str, subject: &Subject, event: &str) {
        log::log!(
            target: COMPONENT,
            level,
            id = id,
            r#type = self.kind.name(),
            reference = &*subject.reference,
            location = &*subject.location,
            peer = &*subject.peer;
            "{event}"
        );
    }
}

impl Entry {
    fn show(&mut self, now: Instant, id: &str) -> Session {
        Session {
            id: id.to_owned(),
            reference: self.subject.reference.clone().into(),
            location: self.subject.location.clone().into(),
            peer: self.subject.peer.clone().into(),
            extra: self.extra.clone().into(),
            created_at: self.created_at,
            rx_bytes: self.rx.bytes,
            tx_bytes: self.tx.bytes,
            rx_bitrate: self.rx.window.bitrate(now),
            tx_bitrate: self.tx.window.bitrate(now),
        }
    }
}

/// The text, cut to `TEXT_BYTES`.
pub(super) fn boxed(text: &str) -> Box<str> {
    let mut end = text.len().min(TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}
