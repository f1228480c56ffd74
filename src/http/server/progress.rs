//! How one connection moves, and what it is told: shared by its task, its bytes and the server.
//!
//! The bytes report here as they pass; once a second the server lets `pace` judge the report, and orders follow.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::pace::{Phase, Reason, Seen, Verdict, Window, judge};

/// Up to this many connections keep hyper's buffers for `REST_AFTER`; beyond it all give them back at once.
pub(super) const UNCROWDED: usize = 64;

/// What a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Give hyper's buffers back until the next request.
    Rest,
    /// Answer what is under way, then close.
    Finish,
    Close,
}

/// How a connection moves; shared by its task, its bytes and the server.
pub(super) struct Progress {
    phase: Cell<Phase>,
    /// When a look first found it in this phase: nobody reads a clock for each request.
    since: Cell<Option<Instant>>,
    sent: Cell<u64>,
    blocked: Cell<bool>,
    window: Cell<Option<Window>>,
    /// The answer's body is with hyper; once flushed the connection is idle.
    answered: Cell<bool>,
    /// The answer left part of the request unread.
    unread: Cell<bool>,
    order: Cell<Option<Order>>,
    waker: RefCell<Option<Waker>>,
    undelivered: Cell<u64>,
    /// The next blocked write asks the kernel for `undelivered`.
    measure: Cell<bool>,
    resting: Cell<bool>,
    /// Requests under way.
    active: Cell<usize>,
    /// HTTP/2: many requests at once, and frames that are no request.
    is_multiplexed: Cell<bool>,
    /// The peer takes no more answers; what it has sent before counts.
    left: Cell<bool>,
    /// Answers of an HTTP/2 connection whose next piece is there and waits for the peer's window.
    owed: Cell<usize>,
    /// Connections of the server.
    crowd: Rc<Cell<usize>>,
}

impl Progress {
    pub(super) fn new(crowd: Rc<Cell<usize>>) -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Fresh),
            since: Cell::new(None),
            sent: Cell::new(0),
            blocked: Cell::new(false),
            window: Cell::new(None),
            answered: Cell::new(false),
            unread: Cell::new(false),
            order: Cell::new(None),
            waker: RefCell::new(None),
            undelivered: Cell::new(0),
            measure: Cell::new(false),
            resting: Cell::new(false),
            active: Cell::new(0),
            is_multiplexed: Cell::new(false),
            left: Cell::new(false),
            owed: Cell::new(0),
            crowd,
        })
    }

    /// Judges the connection and gives it orders.
    pub(super) fn look(&self, now: Instant) {
        let since = self.since.get().unwrap_or(now);
        self.since.set(Some(since));
        let seen = Seen {
            phase: self.phase.get(),
            since,
            blocked: self.blocked.get() || self.owed.get() > 0,
            delivered: self.sent.get().saturating_sub(self.undelivered.get()),
            window: self.window.get(),
        };
        match judge(seen, now) {
            Verdict::Keep(window) => {
                self.window.set(window);
                if self.blocked.get() {
                    self.measure.set(true);
                    self.wake();
                }
            }
            Verdict::Rest if self.order.get().is_none() && !self.resting.get() => self.give(Order::Rest),
            Verdict::Rest => {}
            Verdict::Close(reason) => {
                if reason == Reason::SlowReader {
                    log::debug!(target: "HTTP", "A connection takes its answer too slowly and is closed");
                }
                self.give(Order::Close);
            }
        }
    }

    /// Asks the connection to end after the answer under way, or after the first one if it is new.
    pub(super) fn finish(&self) {
        self.give(Order::Finish);
    }

    /// Ends the connection.
    pub(super) fn close(&self) {
        self.give(Order::Close);
    }

    /// Ends the connection if nothing has been asked on it.
    pub(super) fn close_fresh(&self) {
        if self.is_fresh() {
            self.close();
        }
    }

    /// Whether nothing has been asked yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.phase.get() == Phase::Fresh
    }

    /// The body of the current answer has gone to hyper or was dropped.
    pub(super) fn answered(&self, unread: bool) {
        self.active.set(self.active.get().saturating_sub(1));
        self.answered.set(self.active.get() == 0);
        self.unread.set(unread);
    }

    /// A request's headers are complete.
    pub(super) fn asked(&self) {
        if self.active.get() == 0 {
            if self.is_fresh() && self.order.get() == Some(Order::Finish) {
                self.wake();
            }
            self.enter(Phase::Busy);
        }
        self.active.set(self.active.get() + 1);
        self.answered.set(false);
    }

    /// The handshake is over; `is_multiplexed`: HTTP/2 follows.
    pub(super) fn secured(&self, is_multiplexed: bool) {
        self.is_multiplexed.set(is_multiplexed);
        self.enter(Phase::Fresh);
    }

    /// Whether the connection carries many requests at once.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.is_multiplexed.get()
    }

    /// An answer's next piece waits for the peer, or does not any more.
    pub(super) fn owe(&self, is_owed: bool) {
        let owed = self.owed.get();
        self.owed.set(if is_owed { owed + 1 } else { owed.saturating_sub(1) });
    }

    /// Whether the connection was told to close over an answer that its peer does not take, or a request that does not
    /// come.
    pub(super) fn is_given_up(&self) -> bool {
        self.order.get() == Some(Order::Close) && self.phase.get() != Phase::Idle
    }

    /// Bytes have come from the peer.
    pub(super) fn received(&self) {
        // A frame of HTTP/2 may be anything; its headers count as idle time until they are complete.
        if self.phase.get() == Phase::Idle && !self.is_multiplexed.get() {
            self.enter(Phase::Head);
        }
    }

    /// A write to the socket has been tried; `undelivered` asks the kernel.
    pub(super) fn wrote(&self, polled: &Poll<io::Result<usize>>, undelivered: impl FnOnce() -> u64) {
        self.blocked.set(polled.is_pending());
        if let Poll::Ready(Ok(bytes)) = polled {
            self.sent.set(self.sent.get() + *bytes as u64);
        }
        if polled.is_pending() && self.measure.take() {
            self.undelivered.set(undelivered());
        }
    }

    /// A write has found nobody who takes it.
    pub(super) fn left(&self) {
        self.left.set(true);
        self.blocked.set(false);
    }

    /// Whether nobody takes answers any more.
    pub(super) fn has_left(&self) -> bool {
        self.left.get()
    }

    /// hyper has written all it had, so an answer that was handed over is out.
    pub(super) fn flushed(&self) {
        if self.answered.replace(false) && self.phase.get() == Phase::Busy {
            self.enter(Phase::Idle);
        }
    }

    /// Wakes this task when an order comes.
    pub(super) fn order(&self, cx: &Context<'_>) -> Option<Order> {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|held| held.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.order.get()
    }

    /// Whether hyper's buffers are to be given back now. Takes the order.
    pub(super) fn may_rest(&self) -> bool {
        let told = self.order.get() == Some(Order::Rest);
        if told {
            self.order.set(None);
        }
        self.phase.get() == Phase::Idle && (told || self.crowd.get() > UNCROWDED)
    }

    /// Whether the connection is outside of hyper.
    pub(super) fn set_resting(&self, resting: bool) {
        self.resting.set(resting);
    }

    /// Whether the last answer left part of its request unread.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.get()
    }

    fn give(&self, order: Order) {
        if self.order.get() != Some(Order::Close) {
            self.order.set(Some(order));
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(None);
    }
}
