//! The server's rim: one UDP socket and one task for all callers, and where the socket is.
//!
//! socket → batches of datagrams → `Listener` → outbox → socket. While data moves, input is taken together every
//! `STEP`, so that a subscriber's packets of that time leave in one train; a quiet server wakes twice a second, one
//! without connections never. The task never waits for a peer: what the socket does not take is lost, and asked for
//! again.
//!
//! A reload keeps the socket and all connections unless its address changes; other credentials end the connections, since
//! each has to show the new ones. A name that is not known: loopback, alarm, looked up again.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::listener::{self, Listener};
use super::outbox::Outbox;
use super::{COMPONENT, Counters, View};
use crate::base::alarm::Alarms;
use crate::base::backoff::Backoff;
use crate::base::blocking::Blocking;
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::base::task;
use crate::config::{self, Address};
use crate::listen::{self, ADDRESS, Kind as SocketKind, RETRY_CEILING, Resolver, Shelf};
use crate::media::Repairs;
use crate::relay::Relay;
use crate::session::{Kind, Registry};
use crate::sys::{self, udp};

/// Kernel memory for each direction: bursts of key frames, and floods that must not crowd out handshakes.
pub const SOCKET_BUFFER: i32 = 4 * 1024 * 1024;
/// Input is taken together in this time while data moves.
const STEP: Duration = Duration::from_millis(5);
/// Batches of datagrams that one step takes before connections are served.
const BATCHES: usize = 8;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the SRT server can't listen on {address}/udp")]
    Bind { address: SocketAddr, source: io::Error },
}

/// Whom the server works with.
#[derive(Clone)]
pub struct Deps {
    pub alarms: Alarms,
    pub blocking: Blocking,
    /// What a former daemon left open.
    pub shelf: Shelf,
    pub relay: Relay,
    pub repairs: Repairs,
    pub sessions: Registry,
}

/// A socket that nobody reads yet, or the one that is read and stays.
pub struct Prepared {
    place: SocketAddr,
    socket: Option<UdpSocket>,
    /// Why this is not the address of the configured name.
    unknown: Option<listen::Error>,
}

/// Cheap handle to the server, also while there is none.
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

struct Inner {
    deps: Deps,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    section: Option<config::Srt>,
    running: Option<Running>,
    /// Looks the name up until it is known.
    search: Option<task::Owned>,
}

struct Running {
    place: SocketAddr,
    /// The only lasting hold on the socket.
    socket: Rc<UdpSocket>,
    core: Rc<RefCell<Listener>>,
    _task: task::Owned,
}

/// A server that is off until `apply`.
pub fn spawn(deps: Deps) -> Handle {
    Handle(Rc::new(Inner { deps, state: RefCell::default() }))
}

impl Handle {
    /// Opens what `section` needs beyond what is open; `apply` follows. `None`: it is to be off.
    ///
    /// # Errors
    /// The port is taken, or the address is not of this box; all is as before, but for connections on the same port.
    pub async fn prepare(&self, section: &config::Srt) -> Result<Option<Prepared>, Error> {
        if !section.enable {
            return Ok(None);
        }
        let found = Resolver::system(self.0.deps.blocking.clone()).find_soon(&section.address).await;
        let (place, unknown) = match found {
            Ok(places) => (first(&places), None),
            Err(error) => (self.place().unwrap_or(loopback(section.address.port)), Some(error)),
        };
        if self.place() == Some(place) {
            return Ok(Some(Prepared { place, socket: None, unknown }));
        }
        let socket = self.open_beside(place).map_err(|source| Error::Bind { address: place, source })?;
        Ok(Some(Prepared { place, socket: Some(socket), unknown }))
    }

    /// Puts the settings in force.
    pub fn apply(&self, section: &config::Srt, prepared: Option<Prepared>) {
        let now = Now::read();
        let former = self.0.state.borrow_mut().section.replace(section.clone());
        self.0.state.borrow_mut().search = None;
        let Some(Prepared { place, socket, unknown }) = prepared else {
            self.0.deps.alarms.clear(COMPONENT, ADDRESS);
            return self.stop(now);
        };
        match socket {
            Some(socket) => self.run(now, section, place, socket),
            None => self.change(now, section, former.as_ref()),
        }
        match unknown {
            None => self.0.deps.alarms.clear(COMPONENT, ADDRESS),
            Some(error) => {
                self.complain(&section.address, place, &error);
                let search = task::Owned::spawn(self.clone().search(section.clone()));
                self.0.state.borrow_mut().search = Some(search);
            }
        }
    }

    /// Ends all connections and closes the socket.
    pub fn shutdown(&self) {
        self.0.state.borrow_mut().search = None;
        self.stop(Now::read());
    }

    /// Where it listens; `None`: it is off.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.state.borrow().running.as_ref().and_then(|running| running.socket.local_addr().ok())
    }

    /// For `Shelf::keep`.
    pub fn socket(&self) -> Option<OwnedFd> {
        self.0.state.borrow().running.as_ref().and_then(|running| running.socket.as_fd().try_clone_to_owned().ok())
    }

    /// What is to be shown; `None`: it is off.
    pub fn view(&self, now: Instant) -> Option<View> {
        self.0.state.borrow().running.as_ref().map(|running| running.core.borrow_mut().view(now))
    }

    /// `None`: it is off.
    pub fn counters(&self) -> Option<Counters> {
        self.0.state.borrow().running.as_ref().map(|running| running.core.borrow().counters())
    }

    fn place(&self) -> Option<SocketAddr> {
        self.0.state.borrow().running.as_ref().map(|running| running.place)
    }

    /// Opens a socket. One of ours on the same port has to go first, and comes back if it was in vain.
    fn open_beside(&self, place: SocketAddr) -> io::Result<UdpSocket> {
        let shelf = &self.0.deps.shelf;
        let error = match open(place, shelf) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
            result => return result,
        };
        let Some(former) = self.place().filter(|former| former.port() == place.port()) else { return Err(error) };
        self.stop(Now::read());
        open(place, shelf).inspect_err(|_| {
            let section = self.0.state.borrow().section.clone();
            match (section, open(former, shelf)) {
                (Some(section), Ok(socket)) => self.run(Now::read(), &section, former, socket),
                (_, result) => log::error!(target: COMPONENT, "the socket on {former} is lost: {:?}", result.err()),
            }
        })
    }

    fn run(&self, now: Now, section: &config::Srt, place: SocketAddr, socket: UdpSocket) {
        self.stop(now);
        let deps = &self.0.deps;
        let deps = listener::Deps {
            relay: deps.relay.clone(),
            sessions: deps.sessions.collector(Kind::Srt),
            repairs: deps.repairs.clone(),
            entropy: sys::entropy(),
            ram: sys::memory::available(),
        };
        let mut core = Listener::new(now.mono, section, deps);
        let shown = socket.local_addr().map_or_else(|_| place.to_string(), |address| address.to_string());
        core.note(now, "listen", || vec![format!("listening on {shown}")]);
        log::info!(target: COMPONENT, address = shown.as_str(); "Server started");
        let (socket, core) = (Rc::new(socket), Rc::new(RefCell::new(core)));
        let task = task::Owned::spawn(drive(Rc::downgrade(&socket), core.clone()));
        self.0.state.borrow_mut().running = Some(Running { place, socket, core, _task: task });
    }

    /// The socket stays.
    fn change(&self, now: Now, section: &config::Srt, former: Option<&config::Srt>) {
        let state = self.0.state.borrow();
        let Some(running) = &state.running else { return };
        let mut core = running.core.borrow_mut();
        core.set_topics(section);
        let is_same = |it: &config::Srt| it.passphrase == section.passphrase && it.token == section.token;
        if !former.is_some_and(is_same) {
            let mut out = Outbox::default();
            core.set_rules(now, section, &mut out);
            flush(&running.socket, &mut out, &mut core);
        }
    }

    fn stop(&self, now: Now) {
        let Some(running) = self.0.state.borrow_mut().running.take() else { return };
        let mut out = Outbox::default();
        let mut core = running.core.borrow_mut();
        core.close(now, &mut out);
        flush(&running.socket, &mut out, &mut core);
        log::info!(target: COMPONENT, "Server stopped");
    }

    fn complain(&self, address: &Address, place: SocketAddr, error: &listen::Error) {
        let Address { host, port } = address;
        let text = format!(
            "The SRT server can't listen on {host}:{port} ({}); it listens on {place} only and goes on trying",
            chain(error)
        );
        self.0.deps.alarms.raise(Now::read(), COMPONENT, ADDRESS, text);
    }

    async fn search(self, section: config::Srt) {
        let resolver = Resolver::system(self.0.deps.blocking.clone());
        let mut backoff = Backoff::default();
        loop {
            let [jitter] = sys::entropy();
            tokio::time::sleep(backoff.next(RETRY_CEILING, jitter)).await;
            let Ok(places) = resolver.find(&section.address).await else { continue };
            let place = first(&places);
            if self.place() != Some(place) {
                match self.open_beside(place) {
                    Ok(socket) => self.run(Now::read(), &section, place, socket),
                    Err(source) => {
                        log::warn!(target: COMPONENT, "{}", chain(&Error::Bind { address: place, source }));
                        continue;
                    }
                }
            }
            return self.0.deps.alarms.clear(COMPONENT, ADDRESS);
        }
    }
}

/// Reads and writes the socket until it is closed.
async fn drive(socket: Weak<UdpSocket>, core: Rc<RefCell<Listener>>) {
    let (mut batch, mut out) = (udp::Batch::default(), Outbox::default());
    loop {
        let timeout = core.borrow().next_timeout();
        if core.borrow().is_busy(Instant::now()) {
            tokio::time::sleep(STEP).await;
        }
        if wait(&socket, timeout).await.is_err() {
            return;
        }
        for _ in 0..BATCHES {
            let Some(socket) = socket.upgrade() else { return };
            if socket.try_io(Interest::READABLE, || udp::receive(socket.as_fd(), &mut batch)).is_err() {
                break;
            }
            take(&batch, &core, &mut out);
            flush(&socket, &mut out, &mut core.borrow_mut());
        }
        loop {
            let Some(socket) = socket.upgrade() else { return };
            let has_more = core.borrow_mut().poll_output(Now::read(), &mut out);
            flush(&socket, &mut out, &mut core.borrow_mut());
            if !has_more {
                break;
            }
            // Others have a turn between two full outboxes.
            drop(socket);
            tokio::task::yield_now().await;
        }
    }
}

/// Waits for input or for the time; fails when the socket is closed.
async fn wait(socket: &Weak<UdpSocket>, timeout: Option<Instant>) -> io::Result<()> {
    let readable = poll_fn(|cx| match socket.upgrade() {
        Some(socket) => socket.poll_recv_ready(cx),
        None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
    });
    let due = async {
        match timeout {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => pending().await,
        }
    };
    tokio::select! {
        result = readable => result,
        () = due => Ok(()),
    }
}

fn take(batch: &udp::Batch, core: &RefCell<Listener>, out: &mut Outbox) {
    let now = Now::read();
    let mut core = core.borrow_mut();
    for (from, datagram) in batch.iter() {
        // Connections guard themselves; this is for what stands before them.
        let step = AssertUnwindSafe(|| core.handle_datagram(now, from, datagram, out));
        if catch_unwind(step).is_err() {
            log::error!(target: COMPONENT, "a handshake could not be handled");
        }
    }
}

fn flush(socket: &UdpSocket, out: &mut Outbox, core: &mut Listener) {
    if !out.is_empty() {
        let sent = udp::send(socket.as_fd(), &out.trains());
        core.count_unsent(sent.lost as u64);
        out.clear();
    }
}

/// One of the addresses of a name; IPv4 comes first.
fn first(places: &[SocketAddr]) -> SocketAddr {
    places.first().copied().unwrap_or(loopback(0))
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// [::] takes both protocols, and stands for IPv4 where there is no IPv6.
fn open(place: SocketAddr, shelf: &Shelf) -> io::Result<UdpSocket> {
    let opened = open_one(place, shelf);
    if place.ip() != Ipv6Addr::UNSPECIFIED || opened.as_ref().is_err_and(|it| it.kind() == io::ErrorKind::AddrInUse) {
        return opened;
    }
    opened.or_else(|_| open_one((Ipv4Addr::UNSPECIFIED, place.port()).into(), shelf))
}

/// The socket that a former daemon left there, or a new one.
fn open_one(place: SocketAddr, shelf: &Shelf) -> io::Result<UdpSocket> {
    match open_anew(place) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        opened => return opened,
    }
    match shelf.take(SocketKind::Udp, place) {
        Some(socket) => {
            socket.set_nonblocking(true)?;
            udp::enlarge_buffers(socket.as_fd(), SOCKET_BUFFER);
            UdpSocket::from_std(socket.into())
        }
        None => {
            shelf.clear(SocketKind::Udp, place.port());
            open_anew(place)
        }
    }
}

fn open_anew(place: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(place), Type::DGRAM, Some(Protocol::UDP))?;
    if place.is_ipv6() {
        socket.set_only_v6(place.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_nonblocking(true)?;
    udp::enlarge_buffers(socket.as_fd(), SOCKET_BUFFER);
    socket.bind(&place.into())?;
    UdpSocket::from_std(socket.into())
}
