//! The last events with their numbers, and cursors into them. Pure.
//!
//! One sequence, two lanes: a flood of log lines or progress never pushes changes out. A listener is a cursor, nothing
//! more; one that falls behind what is kept is told from where to where it missed something.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;

use super::fact::Fact;
use super::filter::Filter;

/// Events of each lane; the oldest goes first.
pub const RING_EVENTS: usize = 2048;
/// Bytes of each lane, roughly; the oldest goes first.
pub const RING_BYTES: usize = 512 * 1024;
/// Bytes that an event takes beside the texts of its fact: itself and what is written for the wire.
const EVENT_BYTES: usize = 384;

/// Something that happened.
#[derive(Debug)]
pub struct Event {
    /// Counts from 1 at the start of the daemon, without holes.
    pub number: u64,
    pub at: SystemTime,
    pub fact: Fact,
    /// Room for what the first listener makes of it.
    pub rendered: OnceCell<Bytes>,
}

/// Which of the two an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// States, orders, definitions, settings, alarms.
    Changes,
    /// Progress and log lines.
    Chatter,
}

/// Where a listener stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Everything below is behind it.
    pub next: u64,
    /// Up to where it was told that changes and chatter are gone.
    told: [u64; 2],
}

/// What a listener is told next.
#[derive(Clone, Debug)]
pub enum Step {
    Event(Rc<Event>),
    /// Some events of `lane` from `from` to `to` are gone.
    Gap {
        lane: Lane,
        from: u64,
        to: u64,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ring {
    changes: Kept,
    chatter: Kept,
    last: u64,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Rc<Event>>,
    bytes: usize,
    /// Number of the newest event that was pushed out.
    lost: u64,
}

impl Cursor {
    /// Behind the event `number`.
    pub fn behind(number: u64) -> Self {
        Self { next: number + 1, told: [0; 2] }
    }
}

impl Ring {
    /// Adds `fact` as the newest.
    pub fn push(&mut self, at: SystemTime, fact: Fact) {
        self.last += 1;
        let lane = if fact.kind().is_chatter() { &mut self.chatter } else { &mut self.changes };
        lane.push(Event { number: self.last, at, fact, rendered: OnceCell::new() });
    }

    /// Number of the newest event; 0 before the first.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// What comes at `cursor`, which moves behind it. `None`: nothing new passes `filter`.
    pub fn step(&self, cursor: &mut Cursor, filter: &Filter) -> Option<Step> {
        let lanes = [
            (Lane::Changes, &self.changes, filter.wants_changes()),
            (Lane::Chatter, &self.chatter, filter.wants_chatter()),
        ];
        for (place, (lane, kept, wanted)) in lanes.into_iter().enumerate() {
            let from = cursor.next.max(cursor.told[place] + 1);
            if wanted && from <= kept.lost {
                cursor.told[place] = kept.lost;
                return Some(Step::Gap { lane, from, to: kept.lost });
            }
        }
        let [mut changes, mut chatter] = [&self.changes, &self.chatter].map(|kept| kept.from(cursor.next).peekable());
        loop {
            let number = |event: Option<&&Rc<Event>>| event.map_or(u64::MAX, |event| event.number);
            let lane = if number(changes.peek()) < number(chatter.peek()) { &mut changes } else { &mut chatter };
            let Some(event) = lane.next() else {
                cursor.next = self.last + 1;
                return None;
            };
            if filter.has(&event.fact) {
                cursor.next = event.number + 1;
                return Some(Step::Event(event.clone()));
            }
        }
    }
}

impl Kept {
    fn push(&mut self, event: Event) {
        self.bytes += size(&event);
        self.events.push_back(Rc::new(event));
        while self.events.len() > RING_EVENTS || self.bytes > RING_BYTES {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= size(&oldest);
            self.lost = oldest.number;
        }
    }

    fn from(&self, number: u64) -> impl Iterator<Item = &Rc<Event>> {
        self.events.range(self.events.partition_point(|event| event.number < number)..)
    }
}

/// The text of an event stands in it twice once it was written for the wire.
fn size(event: &Event) -> usize {
    EVENT_BYTES + 2 * event.fact.size()
}

#[cfg(test)]
mod tests;
