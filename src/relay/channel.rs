//! One channel: the ring of its latest items, the headers for those who begin, and who waits.
//!
//! push → headers by slot → ring, trimmed to its bounds → wakers of those who wait. A cursor is a number that grows with
//! every item; `read` turns it into an item, or says why there is none. Pure.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::{ChannelView, Item, Protocol, Role, Track};

/// Bytes of one ring, if its share of all rings is not smaller. Beyond it the oldest items go; a group of pictures that
/// has lost its beginning is no start point any more.
pub const RING_BYTES: usize = 8 * 1024 * 1024;
/// Items of one ring, since each costs more than its bytes; see `RING_BYTES`.
pub const RING_ITEMS: usize = 16_384;
/// Older items go, whatever the group of pictures; see `RING_BYTES`.
pub const RING_TIME: Duration = Duration::from_secs(30);
/// Items before the last two start points are kept this long for subscribers with hiccups. Without video: what a new
/// subscriber gets at once.
pub const KEEP_TIME: Duration = Duration::from_secs(2);
/// Slots for headers; a header beyond them is not kept.
pub const HEADERS: usize = 16;
/// A longer header is passed on, not kept.
pub const HEADER_BYTES: usize = 64 * 1024;

/// Bytes that an item counts beside its own.
const ITEM_COST: usize = size_of::<Item>();

/// What a cursor points at.
pub(super) enum Read {
    Item(Item),
    /// It lies before the ring.
    Behind,
    /// It has seen everything so far.
    Empty,
    /// It has seen everything, and there will be no more.
    Ended,
}

#[derive(Default)]
pub(super) struct Channel {
    publisher: u64,
    /// By slot, in order of first arrival.
    headers: Vec<(u8, Item)>,
    /// Grows with every header that is another one than before.
    revision: u64,
    ring: VecDeque<Item>,
    /// Number of the first item of the ring.
    first: u64,
    ring_bytes: usize,
    /// Items before it belong to other headers.
    valid: u64,
    has_video: bool,
    /// The last two video start points that are in the ring and valid.
    previous: Option<u64>,
    newest: Option<u64>,
    /// In order of arrival, hence by key.
    seats: Vec<Seat>,
    next_key: u64,
    ended: bool,
    received_bytes: u64,
    dropped_items: u64,
}

/// A subscriber.
struct Seat {
    key: u64,
    id: u64,
    /// It waits.
    waker: Option<Waker>,
}

impl Channel {
    pub(super) fn new(publisher: u64) -> Self {
        Self { publisher, ..Self::default() }
    }

    /// Takes an item; `bound` bytes are what the ring may take.
    pub(super) fn push(&mut self, item: Item, bound: usize) {
        self.received_bytes += item.bytes.len() as u64;
        match item.role {
            Role::Header(slot) => self.keep_header(slot, &item),
            role => self.note(item.track, role == Role::Key),
        }
        let now = item.at;
        self.ring_bytes += cost(&item);
        self.ring.push_back(item);
        while self.is_too_large(bound) || self.is_too_old(now) {
            self.drop_oldest();
        }
    }

    /// There will be no more items.
    pub(super) fn end(&mut self) -> Vec<Waker> {
        self.ended = true;
        self.wakers()
    }

    /// What the cursor `number` points at.
    pub(super) fn read(&self, number: u64) -> Read {
        if number < self.first {
            return Read::Behind;
        }
        let item = usize::try_from(number - self.first).ok().and_then(|index| self.ring.get(index));
        match item {
            Some(item) => Read::Item(item.clone()),
            None if self.ended => Read::Ended,
            None => Read::Empty,
        }
    }

    /// Where a subscriber can begin; `None`: at the next start point.
    pub(super) fn start(&self) -> Option<u64> {
        if self.has_video { self.newest } else { Some(self.valid.max(self.first)) }
    }

    /// The number that the next item will have.
    pub(super) fn next_number(&self) -> u64 {
        self.first + self.ring.len() as u64
    }

    pub(super) fn header(&self, index: usize) -> Option<&Item> {
        self.headers.get(index).map(|(_, item)| item)
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Adds a subscriber; the result names it.
    pub(super) fn join(&mut self, id: u64) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        self.seats.push(Seat { key, id, waker: None });
        key
    }

    pub(super) fn leave(&mut self, key: u64) {
        self.seats.retain(|seat| seat.key != key);
    }

    /// Wakes subscriber `key` at the next item.
    pub(super) fn wait(&mut self, key: u64, waker: &Waker) {
        if let Ok(index) = self.seats.binary_search_by_key(&key, |seat| seat.key) {
            self.seats[index].waker = Some(waker.clone());
        }
    }

    pub(super) fn count_dropped(&mut self, items: u64) {
        self.dropped_items += items;
    }

    pub(super) fn subscribers(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn view(&self, protocol: Protocol, path: Rc<str>) -> ChannelView {
        ChannelView {
            protocol,
            path,
            publisher: self.publisher,
            subscribers: self.seats.iter().map(|seat| seat.id).collect(),
            received_bytes: self.received_bytes,
            dropped_items: self.dropped_items,
            cached_bytes: self.ring_bytes,
        }
    }

    /// Those who wait, to be woken.
    pub(super) fn wakers(&mut self) -> Vec<Waker> {
        self.seats.iter_mut().filter_map(|seat| seat.waker.take()).collect()
    }

    /// Media is to be pushed.
    fn note(&mut self, track: Track, is_key: bool) {
        if !matches!(track, Track::Video | Track::Mixed) {
            return;
        }
        self.has_video = true;
        if is_key {
            self.previous = self.newest;
            self.newest = Some(self.next_number());
        }
    }

    fn keep_header(&mut self, slot: u8, item: &Item) {
        if item.bytes.len() > HEADER_BYTES {
            return;
        }
        match self.headers.iter().position(|(known, _)| *known == slot) {
            Some(index) if self.headers[index].1.bytes == item.bytes => return,
            Some(index) => self.headers[index].1 = item.clone(),
            None if self.headers.len() < HEADERS => self.headers.push((slot, item.clone())),
            None => return,
        }
        self.revision += 1;
        // Metadata changes nothing for a decoder.
        if item.track != Track::Data {
            self.valid = self.next_number() + 1;
            (self.previous, self.newest) = (None, None);
        }
    }

    fn is_too_large(&self, bound: usize) -> bool {
        self.ring_bytes > bound || self.ring.len() > RING_ITEMS
    }

    fn is_too_old(&self, now: Instant) -> bool {
        let Some(oldest) = self.ring.front() else { return false };
        let age = now.saturating_duration_since(oldest.at);
        let is_group = self.previous.or(self.newest).is_some_and(|start| self.first >= start);
        age > if is_group { RING_TIME } else { KEEP_TIME }
    }

    fn drop_oldest(&mut self) {
        let Some(item) = self.ring.pop_front() else { return };
        self.ring_bytes -= cost(&item);
        self.first += 1;
        for start in [&mut self.previous, &mut self.newest] {
            *start = start.filter(|number| *number >= self.first);
        }
    }
}

fn cost(item: &Item) -> usize {
    item.bytes.len() + ITEM_COST
}
