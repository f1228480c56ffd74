//! Live streams between one publisher and many subscribers: publish once, play many.
//!
//! `publish` → `Publisher::push(Item)` → the channel's ring → each `Subscriber` reads it with a cursor of its own, from
//! the cached headers and the newest start point on. Items are shared, never copied per subscriber.
//!
//! Invariants: a channel's ring is bounded in bytes and in time, all rings together in bytes; a subscriber that falls
//! behind its ring goes on at the newest start point, counted; a publisher never waits. Channels are keyed by protocol
//! and path: what RTMP publishes, SRT does not carry. Passive owner: no tasks, no IO, no clock of its own, and no
//! knowledge of codecs: whoever publishes says what is a header and what is a start point.

mod channel;
mod subscriber;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

pub use channel::{HEADER_BYTES, HEADERS, KEEP_TIME, RING_BYTES, RING_ITEMS, RING_TIME};
pub use subscriber::{Next, Subscriber};

use channel::Channel;

/// Channels at once, of all protocols; a further publisher is refused.
pub const CHANNELS: usize = 512;
/// Longer paths are refused.
pub const PATH_BYTES: usize = 1024;
/// All rings together take an eighth of the memory, at most this; each channel has an equal share of it.
pub const TOTAL_BYTES: usize = 128 * 1024 * 1024;

/// Whose channel it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Rtmp,
    Srt,
}

impl Protocol {
    pub const ALL: [Self; 2] = [Self::Rtmp, Self::Srt];

    pub fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Srt => "srt",
        }
    }
}

/// What an item carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    Audio,
    Video,
    Data,
    /// All of them, as a run of MPEG-TS packets.
    Mixed,
}

/// What a subscriber that begins needs to know of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Codec header, metadata or program table: kept until the next one of the same slot and handed to everyone who
    /// begins. The number is the publisher's; beyond `HEADERS` slots it is passed on, not kept.
    Header(u8),
    /// Decoding can begin here. Of audio each item; while a channel has video, only video counts.
    Key,
    /// Needs what came before it.
    Delta,
}

/// A message (RTMP) or a run of packets (SRT), shared by all who read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub track: Track,
    pub role: Role,
    /// The publisher's own time. RTMP: milliseconds, wraps at 2^32. SRT: not used.
    pub stamp: u32,
    /// When it came.
    pub at: Instant,
    /// What is sent to every subscriber: RTMP: the message without chunk headers; SRT: the payload as received.
    pub bytes: Bytes,
}

/// Why there is no channel for a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("already publishing")]
    Conflict,
    #[error("there are {CHANNELS} streams already")]
    Full,
    #[error("the path is longer than {PATH_BYTES} bytes")]
    Path,
}

/// A channel as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelView {
    pub protocol: Protocol,
    pub path: Rc<str>,
    /// What `publish` was told.
    pub publisher: u64,
    /// What `subscribe` was told, in order of arrival.
    pub subscribers: Vec<u64>,
    pub received_bytes: u64,
    /// Items that subscribers missed because they were too slow.
    pub dropped_items: u64,
    /// Bytes in the ring.
    pub cached_bytes: usize,
}

/// Sums over one protocol; the counters include channels that have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub channels: u64,
    pub subscribers: u64,
    pub cached_bytes: u64,
    pub received_bytes: u64,
    pub dropped_items: u64,
}

/// Cheap handle to all channels.
#[derive(Clone)]
pub struct Relay(Rc<Shared>);

type Channels = BTreeMap<(Protocol, Rc<str>), Rc<RefCell<Channel>>>;

struct Shared {
    /// Bytes of all rings together.
    bound: usize,
    channels: RefCell<Channels>,
    /// Received bytes and dropped items of channels that have ended, by protocol.
    ended: [Cell<(u64, u64)>; Protocol::ALL.len()],
}

/// The right to fill a channel; dropping it ends the channel.
pub struct Publisher {
    relay: Relay,
    protocol: Protocol,
    path: Rc<str>,
    channel: Rc<RefCell<Channel>>,
}

impl Relay {
    /// `ram`: bytes that the daemon may use.
    pub fn new(ram: u64) -> Self {
        let bound = usize::try_from(ram / 8).unwrap_or(usize::MAX).min(TOTAL_BYTES);
        Self(Rc::new(Shared { bound, channels: RefCell::default(), ended: Default::default() }))
    }

    /// Opens the channel `path`. `id` is shown as its publisher and means nothing here.
    ///
    /// # Errors
    /// The channel exists, or there is no place for another.
    pub fn publish(&self, protocol: Protocol, path: &str, id: u64) -> Result<Publisher, Refused> {
        let mut channels = self.0.channels.borrow_mut();
        if path.len() > PATH_BYTES {
            return Err(Refused::Path);
        }
        let path: Rc<str> = path.into();
        let key = (protocol, path.clone());
        if channels.contains_key(&key) {
            return Err(Refused::Conflict);
        }
        if channels.len() >= CHANNELS {
            return Err(Refused::Full);
        }
        let channel = Rc::new(RefCell::new(Channel::new(id)));
        channels.insert(key, channel.clone());
        Ok(Publisher { relay: self.clone(), protocol, path, channel })
    }

    /// Begins to read the channel `path`; `None`: nobody publishes there. `id` is shown as a subscriber.
    pub fn subscribe(&self, protocol: Protocol, path: &str, id: u64) -> Option<Subscriber> {
        let channel = self.0.channels.borrow().get(&(protocol, path.into())).cloned()?;
        Some(Subscriber::new(channel, id))
    }

    pub fn is_published(&self, protocol: Protocol, path: &str) -> bool {
        self.0.channels.borrow().contains_key(&(protocol, path.into()))
    }

    /// The channels of one protocol, by path.
    pub fn channels(&self, protocol: Protocol) -> Vec<ChannelView> {
        let channels = self.0.channels.borrow();
        let own = channels.iter().filter(|((of, _), _)| *of == protocol);
        own.map(|((protocol, path), channel)| channel.borrow().view(*protocol, path.clone())).collect()
    }

    pub fn totals(&self, protocol: Protocol) -> Totals {
        let (received_bytes, dropped_items) = self.0.ended[protocol as usize].get();
        let begun = Totals { received_bytes, dropped_items, ..Totals::default() };
        self.channels(protocol).iter().fold(begun, |sum, channel| Totals {
            channels: sum.channels + 1,
            subscribers: sum.subscribers + channel.subscribers.len() as u64,
            cached_bytes: sum.cached_bytes + channel.cached_bytes as u64,
            received_bytes: sum.received_bytes + channel.received_bytes,
            dropped_items: sum.dropped_items + channel.dropped_items,
        })
    }

    /// What one ring may take.
    fn share(&self) -> usize {
        let channels = self.0.channels.borrow().len().max(1);
        (self.0.bound / channels).min(RING_BYTES)
    }
}

impl Publisher {
    pub fn path(&self) -> &Rc<str> {
        &self.path
    }

    /// Hands an item to all subscribers and wakes those who wait; several in a row wake them once.
    pub fn push(&self, item: Item) {
        self.push_quietly(item);
        self.wake();
    }

    /// As `push`, but who waits goes on waiting until `wake`: each wake-up is a write for each subscriber.
    pub fn push_quietly(&self, item: Item) {
        let share = self.relay.share();
        self.channel.borrow_mut().push(item, share);
    }

    /// Wakes those who wait.
    pub fn wake(&self) {
        let woken = self.channel.borrow_mut().wakers();
        woken.into_iter().for_each(std::task::Waker::wake);
    }

    /// How many read it.
    pub fn subscribers(&self) -> usize {
        self.channel.borrow().subscribers()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.relay.0.channels.borrow_mut().remove(&(self.protocol, self.path.clone()));
        let woken = self.channel.borrow_mut().end();
        let view = self.channel.borrow().view(self.protocol, self.path.clone());
        let sums = &self.relay.0.ended[self.protocol as usize];
        let (bytes, drops) = sums.get();
        sums.set((bytes + view.received_bytes, drops + view.dropped_items));
        woken.into_iter().for_each(std::task::Waker::wake);
    }
}
