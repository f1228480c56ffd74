//! The RTMP listeners and their connections.
//!
//! `spawn` → `prepare` a section, which may fail → `apply` it: once at the start, once for each reload. A listener that
//! stays the same is not touched, nor are its connections; if app or token are other ones, all connections end, since
//! they were let in by rules that hold no more. Who neither publishes nor plays makes way when too many wait.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use tokio::net::TcpStream;

use super::address::Rules;
use super::chunk::Budget;
use super::connection::CONNECT_TIME;
use super::peer_driver;
use super::wire_driver::Wire;
use crate::base::alarm::Alarms;
use crate::base::blocking::Blocking;
use crate::base::task;
use crate::config::{self, Address};
use crate::listen::{self, Ebb, Host, Listening, Shelf, Turn};
use crate::media::Repairs;
use crate::relay::Relay;
use crate::session;
use crate::tls::{self, Gate};

/// Connections at once, if the limit of open files allows that many; further ones are closed.
const CONNECTIONS: usize = 1024;
/// Connections that neither publish nor play; beyond it the oldest of them is closed.
pub const PENDING: usize = 256;

/// Why the server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("RTMP server")]
    Plain(#[source] listen::Error),
    #[error("RTMPS server")]
    Secure(#[source] listen::Error),
}

/// What is configured while the server is on.
#[derive(Clone, PartialEq, Eq)]
pub struct Section {
    address: Address,
    /// Where RTMPS listens, if it does.
    secure: Option<Address>,
    rules: Rules,
}

impl Section {
    /// `None`: the server is off.
    pub fn new(config: &config::Config) -> Option<Self> {
        let section = &config.rtmp;
        let is_secure = section.enable_tls && config.tls.enable;
        section.enable.then(|| Self {
            address: section.address.clone(),
            secure: is_secure.then(|| section.address_tls.clone()),
            rules: Rules::new(section),
        })
    }
}

/// What the server works with.
#[derive(Clone)]
pub struct Deps {
    pub alarms: Alarms,
    pub blocking: Blocking,
    /// What a former daemon left open.
    pub shelf: Shelf,
    pub relay: Relay,
    pub repairs: Repairs,
    pub sessions: session::Registry,
    pub tls: tls::Handle,
}

/// Numbers for the monitor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub connections: u64,
    /// Accepted since the start.
    pub accepted: u64,
    /// Closed for want of a place, since the start.
    pub refused: u64,
}

/// Cheap handle to the server, whether it is on or off.
#[derive(Clone)]
pub struct Handle {
    shared: Rc<Shared>,
    doors: Rc<RefCell<[Option<Listening>; 2]>>,
}

/// A section whose sockets are open already.
pub struct Change {
    rules: Option<Rules>,
    turns: [Turn; 2],
}

/// The ways in: plain, and through TLS.
const PLAIN: usize = 0;
const SECURE: usize = 1;
const COMPONENTS: [&str; 2] = ["RTMP", "RTMPS"];

/// Who comes through a door.
struct Entrance {
    shared: Rc<Shared>,
    gate: Option<Gate>,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) deps: Deps,
    pub(super) budget: Budget,
    /// In force; the last ones while the server is off.
    rules: RefCell<Rc<Rules>>,
    /// By order of arrival.
    seats: RefCell<BTreeMap<u64, Rc<Seat>>>,
    ebb: Rc<Ebb>,
    pending: Cell<usize>,
    next: Cell<u64>,
    limit: usize,
    stats: Cell<Stats>,
}

/// A connection's place among all of them.
#[derive(Default)]
pub(super) struct Seat {
    shared: Weak<Shared>,
    is_settled: Cell<bool>,
    is_closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Connections that the limit of open files allows.
pub fn connections(open_files: usize) -> usize {
    (open_files / 8).clamp(16, CONNECTIONS)
}

/// A server that is off. `open_files` is the limit of the process.
pub fn spawn(deps: Deps, open_files: usize) -> Handle {
    let shared = Rc::new(Shared {
        deps,
        budget: Budget::default(),
        rules: RefCell::default(),
        seats: RefCell::default(),
        ebb: Rc::default(),
        pending: Cell::new(0),
        next: Cell::new(0),
        limit: connections(open_files),
        stats: Cell::default(),
    });
    Handle { shared, doors: Rc::default() }
}

impl Handle {
    /// For `Shelf::keep`.
    pub fn sockets(&self) -> Vec<OwnedFd> {
        self.doors.borrow().iter().flatten().flat_map(Listening::sockets).collect()
    }

    /// Everything of a section that can fail.
    ///
    /// # Errors
    /// A port is taken, or an address is not of this box; nothing has changed.
    pub async fn prepare(&self, section: Option<&Section>) -> Result<Change, Error> {
        let plain = section.map(|section| &section.address);
        let secure = section.and_then(|section| section.secure.as_ref());
        let plain = self.turn(PLAIN, plain).await.map_err(Error::Plain)?;
        let secure = self.turn(SECURE, secure).await.map_err(Error::Secure)?;
        Ok(Change { rules: section.map(|section| section.rules.clone()), turns: [plain, secure] })
    }

    /// Puts a prepared section in force.
    pub fn apply(&self, change: Change) {
        let shared = &self.shared;
        let is_same = change.rules.as_ref().is_some_and(|rules| *rules == **shared.rules.borrow());
        if let Some(rules) = change.rules {
            shared.rules.replace(Rc::new(rules));
        }
        for (which, turn) in change.turns.into_iter().enumerate() {
            self.take_turn(which, turn);
        }
        if !is_same {
            shared.close_all();
        }
    }

    pub fn stats(&self) -> Stats {
        Stats { connections: self.shared.seats.borrow().len() as u64, ..self.shared.stats.get() }
    }

    /// Stops listening and ends all connections.
    pub fn shutdown(&self) {
        for which in [PLAIN, SECURE] {
            self.take_turn(which, Turn::Closes);
        }
        self.shared.close_all();
    }

    async fn turn(&self, which: usize, address: Option<&Address>) -> Result<Turn, listen::Error> {
        let door = self.doors.borrow()[which].clone();
        Turn::prepare(door.as_ref(), address, &self.shared.deps.blocking, &self.shared.deps.shelf).await
    }

    fn take_turn(&self, which: usize, turn: Turn) {
        let door = &mut self.doors.borrow_mut()[which];
        match turn {
            Turn::Stays => {}
            Turn::Closes => {
                if let Some(door) = door.take() {
                    door.close();
                }
            }
            Turn::Opens(prepared) => {
                let deps = &self.shared.deps;
                let gate = (which == SECURE).then(|| Gate::new(deps.tls.clone()));
                let entrance = Rc::new(Entrance { shared: self.shared.clone(), gate });
                *door = Some(Listening::new(prepared, deps.alarms.clone(), COMPONENTS[which], Rc::new(entrance)));
            }
            Turn::Moves(prepared) => {
                if let Some(door) = door {
                    door.put(prepared);
                }
            }
        }
    }
}

impl Entrance {
    fn component(&self) -> &'static str {
        COMPONENTS[usize::from(self.gate.is_some())]
    }
}

impl Host for Rc<Entrance> {
    fn listens(&self, _: SocketAddr) {}

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let Some((number, seat)) = self.shared.sit() else {
            log::warn!(target: self.component(), "There are {} connections already, a further one is refused",
                self.shared.limit);
            return;
        };
        let entrance = self.clone();
        // IPv4 on a socket for all addresses is shown as such.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        task::spawn(async move {
            let shared = entrance.shared.clone();
            let wire = match &entrance.gate {
                None => Some(Wire::plain(stream)),
                Some(gate) => {
                    let securing = Box::pin(Wire::secure(stream, peer.ip(), gate));
                    let in_time = tokio::time::timeout(CONNECT_TIME, securing);
                    tokio::select! {
                        wire = in_time => wire.ok().flatten(),
                        () = std::future::poll_fn(|cx| seat.poll_closed(cx)) => None,
                    }
                }
            };
            if let Some(wire) = wire {
                peer_driver::serve(wire, peer, shared.clone(), seat).await;
            }
            shared.stand_up(number);
        });
    }
}

impl Shared {
    pub(super) fn rules(&self) -> Rc<Rules> {
        self.rules.borrow().clone()
    }

    /// A number for a publisher or player, unique in this run.
    pub(super) fn number(&self) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        number
    }

    fn count(&self, add: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.get();
        add(&mut stats);
        self.stats.set(stats);
    }

    /// A place for a connection; the oldest one that waits may have to make way. `None`: all are taken.
    fn sit(self: &Rc<Self>) -> Option<(u64, Rc<Seat>)> {
        if self.pending.get() >= PENDING {
            let seats = self.seats.borrow();
            let oldest = seats.values().find(|seat| !seat.is_settled.get() && !seat.is_closed.get()).cloned();
            drop(seats);
            if let Some(oldest) = oldest {
                self.count(|stats| stats.refused += 1);
                oldest.close();
            }
        }
        if self.seats.borrow().len() >= self.limit {
            self.count(|stats| stats.refused += 1);
            return None;
        }
        self.count(|stats| stats.accepted += 1);
        self.pending.set(self.pending.get() + 1);
        let seat = Rc::new(Seat { shared: Rc::downgrade(self), ..Seat::default() });
        let number = self.number();
        self.seats.borrow_mut().insert(number, seat.clone());
        self.ebb.set(self.seats.borrow().len());
        Some((number, seat))
    }

    fn stand_up(&self, number: u64) {
        let seat = self.seats.borrow_mut().remove(&number);
        self.ebb.set(self.seats.borrow().len());
        if let Some(seat) = seat {
            // It waits no more.
            seat.set_settled(true);
        }
    }

    fn close_all(&self) {
        let seats: Vec<Rc<Seat>> = self.seats.borrow().values().cloned().collect();
        seats.iter().for_each(|seat| seat.close());
    }
}

impl Seat {
    /// Whether the connection publishes or plays.
    pub(super) fn set_settled(&self, is_settled: bool) {
        if self.is_settled.replace(is_settled) == is_settled {
            return;
        }
        if let Some(shared) = self.shared.upgrade() {
            let pending = shared.pending.get();
            shared.pending.set(if is_settled { pending - 1 } else { pending + 1 });
        }
    }

    /// Ready when the connection is to end.
    pub(super) fn poll_closed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_closed.get() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(known) => known.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn close(&self) {
        self.is_closed.set(true);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
