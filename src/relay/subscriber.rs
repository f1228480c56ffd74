//! A reader of a channel with a cursor of its own.
//!
//! begin: headers → newest start point → every item. Behind the ring: counted, then begin again; headers only if they
//! are other ones. Never hands out a video frame before the key frame that it needs.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::channel::{Channel, Read};
use super::{Item, Role, Track};

/// What a subscriber gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Item(Item),
    /// Nothing for now; `Subscriber::ready` waits.
    Empty,
    /// The publisher has left, and everything has been handed out.
    Ended,
}

/// One reader. Dropping it leaves the channel.
pub struct Subscriber {
    channel: Rc<RefCell<Channel>>,
    key: u64,
    place: Place,
    /// Until a key frame has come.
    needs_key: bool,
    /// Of the headers that were handed out last.
    revision: Option<u64>,
}

#[derive(Clone, Copy)]
enum Place {
    /// Waits for a start point; items from `missed` on are counted as dropped.
    Waiting { missed: Option<u64> },
    /// Takes the header of this index, then begins at `start`.
    Headers { index: usize, start: u64 },
    /// Takes the item of this number.
    At(u64),
}

impl Subscriber {
    pub(super) fn new(channel: Rc<RefCell<Channel>>, id: u64) -> Self {
        let key = channel.borrow_mut().join(id);
        Self { channel, key, place: Place::Waiting { missed: None }, needs_key: true, revision: None }
    }

    /// The next item, without waiting.
    pub fn take(&mut self) -> Next {
        let shared = self.channel.clone();
        let mut channel = shared.borrow_mut();
        loop {
            match self.place {
                Place::Waiting { missed } => match channel.start() {
                    Some(start) => self.begin(&mut channel, start, missed),
                    None if channel.has_ended() => return Next::Ended,
                    None => return Next::Empty,
                },
                Place::Headers { .. } if self.revision != Some(channel.revision()) => {
                    self.place = Place::Waiting { missed: None };
                }
                Place::Headers { index, start } => match channel.header(index) {
                    Some(header) => {
                        self.place = Place::Headers { index: index + 1, start };
                        return Next::Item(header.clone());
                    }
                    None => self.place = Place::At(start),
                },
                Place::At(number) => match channel.read(number) {
                    Read::Item(item) => {
                        self.place = Place::At(number + 1);
                        if self.passes(&item) {
                            return Next::Item(item);
                        }
                    }
                    Read::Empty => return Next::Empty,
                    Read::Ended => return Next::Ended,
                    Read::Behind => self.place = Place::Waiting { missed: Some(number) },
                },
            }
        }
    }

    /// Whether `take` has something to say; else the task is woken when it has.
    pub fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        let mut channel = self.channel.borrow_mut();
        let is_ready = match self.place {
            Place::Waiting { .. } => channel.start().is_some() || channel.has_ended(),
            Place::Headers { .. } => true,
            Place::At(number) => number < channel.next_number() || channel.has_ended(),
        };
        if is_ready {
            return Poll::Ready(());
        }
        channel.wait(self.key, cx.waker());
        Poll::Pending
    }

    /// Waits until `take` has something to say.
    pub async fn ready(&self) {
        poll_fn(|cx| self.poll_ready(cx)).await;
    }

    fn begin(&mut self, channel: &mut Channel, start: u64, missed: Option<u64>) {
        channel.count_dropped(missed.map_or(0, |number| start.saturating_sub(number)));
        let is_known = self.revision == Some(channel.revision());
        self.revision = Some(channel.revision());
        self.needs_key = true;
        self.place = if is_known { Place::At(start) } else { Place::Headers { index: 0, start } };
    }

    fn passes(&mut self, item: &Item) -> bool {
        if !matches!(item.track, Track::Video | Track::Mixed) || matches!(item.role, Role::Header(_)) {
            return true;
        }
        self.needs_key &= item.role != Role::Key;
        !self.needs_key
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.channel.borrow_mut().leave(self.key);
    }
}
