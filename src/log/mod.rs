//! What the daemon says: one threshold for everything, one topic filter for the output, a bounded ring for the API.
//!
//! `log` macros → `entry` captured and redacted → ring → topics → `limit` → journal or stderr. Targets are Core's
//! component names. The logger holds the one Mutex of the daemon, since `log::Log` must be Sync.

mod counts;
mod driver;
mod entry;
mod limit;
mod redact;
mod ring;
mod topic;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::log::LevelFilter;
use serde_json::Value;
use tokio::sync::Notify;

pub use entry::Entry;
pub use redact::Redactor;

use counts::Counts;
use limit::Limiter;
use ring::Ring;
use topic::Topics;

/// Entries that wait for whoever taps the log; beyond it the oldest are lost and counted.
pub const TAP_LINES: usize = 1024;

/// What a reload may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Threshold of output and ring.
    pub level: LevelFilter,
    /// Component names in any case; empty means all. Filters the output, not the ring.
    pub topics: Vec<String>,
    /// Entries of the ring; 0 keeps none.
    pub max_lines: usize,
    /// Values that never appear in an entry.
    pub secrets: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: LevelFilter::Info, topics: Vec::new(), max_lines: 1000, secrets: Vec::new() }
    }
}

/// Cheap handle to the ring and the settings.
#[derive(Clone)]
pub struct Handle(Arc<Mutex<State>>, Arc<Counts>);

struct State {
    topics: Topics,
    redactor: Arc<Redactor>,
    ring: Ring,
    limiter: Limiter,
    /// Entries since they were last taken; `None` while nobody taps.
    tap: Option<Tapped>,
    news: Arc<Notify>,
}

/// What was logged since the tap was last asked.
#[derive(Debug, Default)]
pub struct Tapped {
    pub lines: VecDeque<Entry>,
    /// Older entries that were not fetched in time.
    pub lost: u64,
}

/// Makes the daemon's logger the process's logger: the journal when stderr is connected to it, else stderr.
pub fn init(settings: Settings) -> Handle {
    let handle = Handle::new(settings);
    driver::install(&handle);
    handle
}

impl Handle {
    fn new(settings: Settings) -> Self {
        ::log::set_max_level(settings.level);
        let state = State {
            topics: Topics::new(&settings.topics),
            redactor: Arc::new(Redactor::new(settings.secrets)),
            ring: Ring::new(settings.max_lines),
            limiter: Limiter::default(),
            tap: None,
            news: Arc::default(),
        };
        Self(Arc::new(Mutex::new(state)), Arc::default())
    }

    /// From now on entries are kept for `tapped`.
    pub fn tap(&self) {
        self.state().tap.get_or_insert_default();
    }

    /// Entries are no longer kept for `tapped`.
    pub fn untap(&self) {
        self.state().tap = None;
    }

    /// What was logged since the last call; waits until there is something.
    pub async fn tapped(&self) -> Tapped {
        let news = self.state().news.clone();
        loop {
            let tapped = self.state().tap.as_mut().map(std::mem::take).unwrap_or_default();
            if !tapped.lines.is_empty() {
                return tapped;
            }
            news.notified().await;
        }
    }

    /// Takes new settings; entries that still fit stay in the ring.
    pub fn apply(&self, settings: Settings) {
        ::log::set_max_level(settings.level);
        let mut state = self.state();
        state.topics = Topics::new(&settings.topics);
        state.redactor = Arc::new(Redactor::new(settings.secrets));
        state.ring.resize(settings.max_lines);
    }

    /// How many entries of each level there were: error, warn, info, debug.
    pub fn entries(&self) -> [u64; 4] {
        self.1.entries()
    }

    /// How many panics there were, wherever they ended.
    pub fn panics(&self) -> u64 {
        self.1.panics()
    }

    /// The ring as console lines, oldest first.
    pub fn console(&self) -> Vec<String> {
        self.state().ring.iter().map(entry::Entry::console).collect()
    }

    /// The ring as objects, oldest first.
    pub fn raw(&self) -> Vec<Value> {
        self.state().ring.iter().map(entry::Entry::raw).collect()
    }

    /// A panic while the lock was held leaves a usable state: every step on it is complete in itself.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps `entry` for the API.
    fn keep(&mut self, entry: Entry) {
        if let Some(tap) = &mut self.tap {
            if tap.lines.len() >= TAP_LINES {
                tap.lines.pop_front();
                tap.lost += 1;
            }
            tap.lines.push_back(entry.clone());
            self.news.notify_one();
        }
        self.ring.push(entry);
    }
}
