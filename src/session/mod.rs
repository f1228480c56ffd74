//! Counted viewings and publishings of all servers (`contract/sessions.md`).
//!
//! A server asks its `Collector` whether a client is counted, registers a session, activates it, adds bytes, and may end
//! it; `driver` ends what has timed out and keeps the histories on disk. Passive owner: time is an argument, a disabled
//! registry takes nothing and shows nothing. Sessions, ids, texts and histories are bounded.

mod collector;
mod document;
mod driver;
mod history;
mod rate;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::Notify;

pub use collector::{ID_BYTES, SESSIONS, TEXT_BYTES, UNKNOWN};
pub use driver::{Driver, spawn};
pub use history::{Counts, HISTORY, OTHER, Subject, Summary};

use crate::base::clock::Now;
use crate::config;
use collector::{Direction, Timeouts};
use history::History;

/// Until the first traffic, but for uploads.
const INACTIVE: Duration = Duration::from_secs(5);
/// Both time-outs of uploads.
const INGRESS: Duration = Duration::from_secs(30);
/// What a time-out of nothing means.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// What is held free of `max_bitrate_mbit` for players that fetch ahead.
const RESERVE: f64 = 1.15;
const MBIT: f64 = 1024.0 * 1024.0;

/// The collectors, in the order of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Hls,
    HlsIngress,
    Rtmp,
    Srt,
    Http,
    Https,
    Ffmpeg,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Hls, Self::HlsIngress, Self::Rtmp, Self::Srt, Self::Http, Self::Https, Self::Ffmpeg];
    /// Whose bitrates the limit sums up.
    const LIMITED: [Self; 4] = [Self::Hls, Self::Rtmp, Self::Srt, Self::Ffmpeg];

    pub fn name(self) -> &'static str {
        match self {
            Self::Hls => "hls",
            Self::HlsIngress => "hlsingress",
            Self::Rtmp => "rtmp",
            Self::Srt => "srt",
            Self::Http => "http",
            Self::Https => "https",
            Self::Ffmpeg => "ffmpeg",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn timeouts(self, timeout: Duration) -> Timeouts {
        let session = if timeout.is_zero() { DEFAULT_TIMEOUT } else { timeout };
        match self {
            Self::HlsIngress => Timeouts { inactive: INGRESS, session: INGRESS },
            _ => Timeouts { inactive: INACTIVE, session },
        }
    }
}

/// A session to be registered.
#[derive(Clone, Copy, Debug, Default)]
pub struct New<'a> {
    pub reference: &'a str,
    /// Empty: unknown.
    pub location: &'a str,
    /// Empty: unknown.
    pub peer: &'a str,
    pub extra: &'a str,
    /// Bits per second that it is expected to take before anything has been sent.
    pub expected_bitrate: f64,
}

/// An active session as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub id: String,
    pub reference: String,
    pub location: String,
    pub peer: String,
    pub extra: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Received by the daemon.
    pub rx_bytes: u64,
    /// Sent by the daemon.
    pub tx_bytes: u64,
    /// Bits per second.
    pub rx_bitrate: f64,
    /// Bits per second.
    pub tx_bitrate: f64,
}

/// Numbers of one collector.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    pub active: u64,
    /// Ended sessions and their bytes.
    pub ended: Counts,
    /// Bits per second.
    pub rx_bitrate: f64,
    /// Bits per second.
    pub tx_bitrate: f64,
    /// 0: no limit.
    pub max_sessions: u64,
    /// Bits per second; 0: no limit.
    pub max_rx_bitrate: f64,
    /// Bits per second; 0: no limit.
    pub max_tx_bitrate: f64,
}

/// Why a new viewer is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    #[error("Number of sessions exceeded")]
    Sessions,
    #[error("Bitrate limit exceeded")]
    Bitrate,
}

/// Cheap handle to all collectors.
#[derive(Clone)]
pub struct Registry(Rc<Shared>);

struct Shared {
    state: RefCell<State>,
    /// A session came while there was none, or the settings changed.
    changed: Notify,
}

struct State {
    settings: config::Sessions,
    collectors: [collector::Collector; Kind::ALL.len()],
    /// Whether the client that was asked for last is counted: several ask while one request is answered.
    judged: Cell<Option<(IpAddr, bool)>>,
}

/// Cheap handle to one collector.
#[derive(Clone)]
pub struct Collector {
    shared: Rc<Shared>,
    kind: Kind,
}

impl Registry {
    pub fn new(now: Now, section: &config::Sessions) -> Self {
        let collectors =
            Kind::ALL.map(|kind| collector::Collector::new(now.mono, kind, kind.timeouts(section.timeout)));
        let state = RefCell::new(State { settings: section.clone(), collectors, judged: Cell::default() });
        Self(Rc::new(Shared { state, changed: Notify::new() }))
    }

    pub fn is_enabled(&self) -> bool {
        self.0.state.borrow().settings.enable
    }

    pub fn collector(&self, kind: Kind) -> Collector {
        Collector { shared: self.0.clone(), kind }
    }

    /// The collector of that name; `None` also while sessions are disabled.
    pub fn named(&self, name: &str) -> Option<Collector> {
        Kind::named(name).filter(|_| self.is_enabled()).map(|kind| self.collector(kind))
    }

    /// Numbers of all collectors; none while sessions are disabled.
    pub fn stats(&self, now: Instant) -> Vec<(Kind, Stats)> {
        let kinds = if self.is_enabled() { &Kind::ALL[..] } else { &[] };
        kinds.iter().map(|&kind| (kind, self.collector(kind).stats(now))).collect()
    }

    /// Puts other settings in force. Sessions and histories stay, unless sessions are disabled.
    pub(crate) fn configure(&self, now: Instant, section: &config::Sessions) {
        let mut state = self.0.state.borrow_mut();
        state.settings = section.clone();
        state.judged.take();
        for kind in Kind::ALL {
            state.of(kind).timeouts = kind.timeouts(section.timeout);
        }
        if !section.enable {
            state.collectors.iter_mut().for_each(|collector| collector.end_all(now));
        }
        drop(state);
        self.0.changed.notify_one();
    }

    /// Ends the sessions whose time is over; false when none are left.
    fn tick(&self, now: Instant) -> bool {
        let mut state = self.0.state.borrow_mut();
        state.collectors.iter_mut().for_each(|collector| collector.expire(now));
        state.collectors.iter().any(|collector| collector.len() > 0)
    }

    fn end_all(&self, now: Instant) {
        self.0.state.borrow_mut().collectors.iter_mut().for_each(|collector| collector.end_all(now));
    }

    /// Reads or fills the history of one collector.
    fn with_history<T>(&self, kind: Kind, work: impl FnOnce(&mut History) -> T) -> T {
        work(&mut self.0.state.borrow_mut().of(kind).history)
    }
}

impl State {
    fn of(&mut self, kind: Kind) -> &mut collector::Collector {
        &mut self.collectors[kind as usize]
    }

    fn get(&self, kind: Kind) -> &collector::Collector {
        &self.collectors[kind as usize]
    }
}

impl Collector {
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn is_enabled(&self) -> bool {
        self.shared.state.borrow().settings.enable
    }

    /// Whether a client at `address` is counted: sessions are on, and it is an address that is not to be ignored.
    pub fn takes(&self, address: Option<IpAddr>) -> bool {
        let state = self.shared.state.borrow();
        let Some(address) = address.filter(|_| state.settings.enable) else { return false };
        match state.judged.get() {
            Some((judged, verdict)) if judged == address => verdict,
            _ => {
                let verdict = !contains(&state.settings.ip_ignorelist, address);
                state.judged.set(Some((address, verdict)));
                verdict
            }
        }
    }

    /// Whether one more viewer may come who is expected to take `expected` bit/s.
    ///
    /// # Errors
    /// A limit is reached. Pending viewers count (H57).
    pub fn admit(&self, now: Instant, expected: f64) -> Result<(), Exceeded> {
        let state = self.shared.state.borrow();
        let (sessions, mbit) = (state.settings.max_sessions, state.settings.max_bitrate_mbit);
        let present = state.get(self.kind).len() as u64;
        // Who would not be counted would not be limited either.
        let is_full = present >= SESSIONS as u64;
        if sessions > 0 && (present >= sessions || is_full) {
            return Err(Exceeded::Sessions);
        }
        if mbit > 0 {
            let taken: f64 = Kind::LIMITED.iter().map(|&kind| state.get(kind).top_tx(now)).sum();
            if is_full || RESERVE * taken + expected >= mbit as f64 * MBIT {
                return Err(Exceeded::Bitrate);
            }
        }
        Ok(())
    }

    /// Adds a pending session. A known id stays as it is; beyond `SESSIONS` and `ID_BYTES` it is not counted.
    pub fn register(&self, now: Now, id: &str, new: New<'_>) {
        let mut state = self.shared.state.borrow_mut();
        if state.settings.enable && state.of(self.kind).register(now, id, &new) {
            drop(state);
            self.shared.changed.notify_one();
        }
    }

    /// Makes a pending session count. False if there is no such session.
    pub fn activate(&self, id: &str) -> bool {
        self.shared.state.borrow_mut().of(self.kind).activate(id)
    }

    /// Adds received bytes.
    pub fn ingress(&self, now: Instant, id: &str, bytes: u64) {
        self.shared.state.borrow_mut().of(self.kind).count(now, id, Direction::Rx, bytes);
    }

    /// Adds sent bytes.
    pub fn egress(&self, now: Instant, id: &str, bytes: u64) {
        self.shared.state.borrow_mut().of(self.kind).count(now, id, Direction::Tx, bytes);
    }

    /// Ends a session, for servers that know when a peer has gone. Unknown ids are ignored.
    pub fn end(&self, now: Instant, id: &str) {
        self.shared.state.borrow_mut().of(self.kind).end(now, id);
    }

    /// Whether there is such a session, pending or active.
    pub fn is_known(&self, id: &str) -> bool {
        self.shared.state.borrow().get(self.kind).is_known(id)
    }

    /// Active sessions, oldest first.
    pub fn list(&self, now: Instant) -> Vec<Session> {
        self.shared.state.borrow_mut().of(self.kind).list(now)
    }

    /// What has ended.
    pub fn summary(&self) -> Summary {
        self.shared.state.borrow().get(self.kind).history.summary()
    }

    /// Active and ended sessions whose reference begins with `reference`.
    pub fn viewers(&self, reference: &str) -> (u64, u64) {
        self.shared.state.borrow().get(self.kind).viewers(reference)
    }

    /// The highest bitrate of late that a session received, bit/s.
    pub fn top_ingress(&self, now: Instant, id: &str) -> f64 {
        self.shared.state.borrow().get(self.kind).top_rx_of(now, id)
    }

    pub fn stats(&self, now: Instant) -> Stats {
        let mut state = self.shared.state.borrow_mut();
        let limits = match self.kind {
            Kind::HlsIngress => (0, 0.0),
            _ => (state.settings.max_sessions, state.settings.max_bitrate_mbit as f64 * MBIT),
        };
        let collector = state.of(self.kind);
        let (rx_bitrate, tx_bitrate) = collector.bitrates(now);
        Stats {
            active: collector.active() as u64,
            ended: collector.history.total(),
            rx_bitrate,
            tx_bitrate,
            max_sessions: limits.0,
            max_rx_bitrate: 0.0,
            max_tx_bitrate: limits.1,
        }
    }
}

fn contains(nets: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    nets.iter().any(|net| net.contains(&address))
}
