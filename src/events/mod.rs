//! What happens in the daemon, numbered, for whoever listens: `GET /api/v3/events`.
//!
//! supervisor, `driver` (alarms, settings, skills, log) → `push` → `Ring` → `Listener`, a cursor → `http/events`. Changes
//! are always recorded, so that a listener that comes back misses none. Progress and log lines are recorded from the
//! first listener who wants them until `LINGER` after the last: what was not recorded in between is marked as a gap.
//! Passive owner; nothing waits for a listener.

mod driver;
mod fact;
mod filter;
mod ring;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::base::clock::Now;

pub use driver::{Sources, spawn};
pub use fact::{Change, ConfigChange, Device, Fact, Kind, Subject, Totals};
pub use filter::{Filter, Subjects};
pub use ring::{Cursor, Event, Lane, RING_BYTES, RING_EVENTS, Ring, Step};

/// Listeners at once; more are refused.
pub const LISTENERS: usize = 32;
/// How long progress and log lines are recorded after the last listener left, so that one whose connection broke finds
/// them when it comes back.
pub const LINGER: Duration = Duration::from_secs(60);

/// There are `LISTENERS` already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {LISTENERS} listeners already")]
pub struct Full;

/// Why listeners are sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The rules of access have changed.
    Reload,
    Shutdown,
}

/// Cheap handle.
#[derive(Clone)]
pub struct Events(Rc<Owner>);

struct Owner {
    /// Tells this run of the daemon from others.
    run: String,
    ring: RefCell<Ring>,
    /// Something was pushed, or listeners are sent away.
    news: Notify,
    listeners: Cell<usize>,
    /// Listeners who want progress or log lines.
    curious: watch::Sender<usize>,
    /// Progress and log lines are recorded.
    recording: Cell<bool>,
    farewells: Cell<(u64, Farewell)>,
}

/// Where a listener wants to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    Now,
    /// Behind an event of this run.
    Number(u64),
    /// Behind something this run does not know: all that is kept.
    Elsewhere,
}

/// One listener; leaves when dropped.
pub struct Listener {
    events: Events,
    filter: Filter,
    cursor: Cursor,
    curious: bool,
    farewells: u64,
}

impl Events {
    /// An empty ring; `entropy` names this run.
    pub fn new(entropy: [u8; 6]) -> Self {
        Self(Rc::new(Owner {
            run: entropy.iter().map(|byte| format!("{byte:02x}")).collect(),
            ring: RefCell::default(),
            news: Notify::new(),
            listeners: Cell::new(0),
            curious: watch::channel(0).0,
            recording: Cell::new(false),
            farewells: Cell::new((0, Farewell::Shutdown)),
        }))
    }

    /// Records `fact`.
    pub fn push(&self, now: Now, fact: Fact) {
        if fact.kind().is_chatter() && !self.is_recording() {
            return;
        }
        self.0.ring.borrow_mut().push(now.wall, fact);
        self.0.news.notify_waiters();
    }

    /// Whether progress and log lines are wanted; they need not be made otherwise.
    pub fn is_recording(&self) -> bool {
        self.0.recording.get()
    }

    /// Names this run of the daemon.
    pub fn run(&self) -> &str {
        &self.0.run
    }

    /// What a listener who has last seen `id` asks for.
    pub fn since(&self, id: Option<&str>) -> Since {
        let Some(id) = id else { return Since::Now };
        let number = id.strip_prefix(&self.0.run).and_then(|rest| rest.strip_prefix('-')?.parse().ok());
        match number {
            Some(number) if number <= self.0.ring.borrow().last() => Since::Number(number),
            _ => Since::Elsewhere,
        }
    }

    /// A new listener.
    ///
    /// # Errors
    /// There are too many.
    pub fn listen(&self, filter: Filter, since: &Since) -> Result<Listener, Full> {
        let owner = &self.0;
        if owner.listeners.get() >= LISTENERS {
            return Err(Full);
        }
        owner.listeners.set(owner.listeners.get() + 1);
        let curious = filter.wants_chatter();
        if curious {
            owner.recording.set(true);
            owner.curious.send_modify(|count| *count += 1);
        }
        let cursor = match since {
            Since::Now => Cursor::behind(owner.ring.borrow().last()),
            Since::Number(number) => Cursor::behind(*number),
            Since::Elsewhere => Cursor::behind(0),
        };
        Ok(Listener { events: self.clone(), filter, cursor, curious, farewells: owner.farewells.get().0 })
    }

    /// Sends all listeners away; they may come back.
    pub fn dismiss(&self, why: Farewell) {
        let (count, _) = self.0.farewells.get();
        self.0.farewells.set((count + 1, why));
        self.0.news.notify_waiters();
    }

    /// Nobody wants progress and log lines any more.
    fn stop_recording(&self, now: Now) {
        if self.0.recording.replace(false) {
            self.push(now, Fact::Unrecorded);
        }
    }
}

impl Listener {
    /// What this listener is told next, without waiting.
    pub fn step(&mut self) -> Option<Step> {
        self.events.0.ring.borrow().step(&mut self.cursor, &self.filter)
    }

    /// The id to come back with.
    pub fn id(&self) -> String {
        format!("{}-{}", self.events.run(), self.cursor.next - 1)
    }

    /// Whether it is sent away.
    pub fn farewell(&self) -> Option<Farewell> {
        let (count, why) = self.events.0.farewells.get();
        (count != self.farewells).then_some(why)
    }

    /// Names this run of the daemon.
    pub fn run(&self) -> &str {
        self.events.run()
    }

    /// The filter it came with.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Completes when something may have happened that `step` or `farewell` have not told yet.
    pub async fn changed(&self) {
        let owner = &self.events.0;
        // Whoever asks has found nothing, and nothing happens before it waits: there is one thread.
        if owner.ring.borrow().last() < self.cursor.next && self.farewell().is_none() {
            owner.news.notified().await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let owner = &self.events.0;
        owner.listeners.set(owner.listeners.get() - 1);
        if self.curious {
            owner.curious.send_modify(|count| *count -= 1);
        }
    }
}

#[cfg(test)]
mod tests;
