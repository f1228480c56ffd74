//! Where a server listens, also while the configured name is not known.
//!
//! address → literal or `Resolver` → `Prepared` sockets → one accept task each. A name that can't be resolved leaves
//! what is open as it is, at start the loopback addresses, raises an alarm and is looked up again until it is known.
//! Sockets that stay wanted stay open; connections are none of its business. Sockets are closed at once, not when
//! their task ends, so that a socket for all addresses can make way for one of a single address on the same port.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

use super::shelf_driver::{Kind, Shelf};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::base::alarm::Alarms;
use crate::base::backoff::Backoff;
use crate::base::blocking::{Blocking, Lane};
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::base::task;
use crate::config::Address;
use crate::sys;

/// Listening queue of the kernel.
const BACKLOG: i32 = 1024;
/// What the kernel holds for a peer; it doubles the number for its own needs.
const SEND_BUFFER: usize = 128 * 1024;
/// Unsent bytes in the kernel below which a connection may write again.
const UNSENT_LOW: u32 = 64 * 1024;
/// Pause after a failed accept (out of open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Addresses of one name that are listened on; further ones are not.
const ADDRESSES: usize = 16;
/// How long start and reload wait for a name; afterwards it is looked up in the background.
const RESOLVE_TIME: Duration = Duration::from_secs(2);
/// Longest pause between two attempts to resolve a name.
pub(crate) const RETRY_CEILING: Duration = Duration::from_secs(30);

/// Alarm key of a name that is not known.
pub(crate) const ADDRESS: &str = "address";

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the host {host:?} can't be resolved")]
    Resolve { host: String, source: io::Error },
    #[error("can't listen on {address}")]
    Bind { address: SocketAddr, source: io::Error },
}

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>>>>;

/// Finds the addresses of a host name and port.
#[derive(Clone)]
pub(crate) struct Resolver(Rc<dyn Fn(String, u16) -> Lookup>);

/// Sockets that listen already, without anyone to answer.
pub struct Prepared {
    address: Address,
    opened: Vec<(SocketAddr, TcpListener)>,
    /// What is to be open; `None`: what is open stays, since the name is not known.
    places: Option<Vec<SocketAddr>>,
    /// Why these are not the addresses of the configured name.
    unknown: Option<Error>,
    resolver: Resolver,
}

/// Who answers.
pub(crate) trait Host {
    /// A socket is open there from now on.
    fn listens(&self, address: SocketAddr);

    /// Takes a connection.
    fn take(&self, stream: TcpStream, peer: SocketAddr);
}

/// Owner of the listening sockets.
#[derive(Clone)]
pub(crate) struct Listening(Rc<Inner>);

struct Inner {
    resolver: Resolver,
    alarms: Alarms,
    /// Log component.
    component: &'static str,
    host: Rc<dyn Host>,
    state: RefCell<State>,
}

struct State {
    /// As configured.
    address: Address,
    open: Vec<Open>,
    /// Looks the name up until it is known.
    search: Option<task::Owned>,
}

struct Open {
    /// As resolved; the port may be 0.
    place: SocketAddr,
    /// The only lasting hold on the socket.
    socket: Rc<TcpListener>,
    _task: task::Owned,
}

/// Opens the listeners of `address`: without a host all addresses of the box, IPv6 and IPv4; those of loopback while
/// its name is not known.
///
/// # Errors
/// The port is taken, or the address is not of this box.
pub async fn bind(address: &Address, blocking: &Blocking, shelf: &Shelf) -> Result<Prepared, Error> {
    bind_by(address, Resolver::system(blocking.clone()), shelf).await
}

async fn bind_by(address: &Address, resolver: Resolver, shelf: &Shelf) -> Result<Prepared, Error> {
    let (places, unknown) = match resolver.find_soon(address).await {
        Ok(places) => (places, None),
        Err(error) => (loopback(address.port).to_vec(), Some(error)),
    };
    let opened = open(&places, Others::None, shelf)?;
    Ok(Prepared { address: address.clone(), opened, places: Some(places), unknown, resolver })
}

/// Ends with the socket.
async fn accept(socket: Weak<TcpListener>, component: &'static str, host: Rc<dyn Host>) {
    while let Some(accepted) = next(&socket).await {
        match accepted {
            Ok((stream, peer)) => host.take(stream, peer),
            Err(error) => {
                log::warn!(target: component, error = error.to_string().as_str(); "A connection can't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The next connection; `None` once the socket is closed. Does not keep it open.
async fn next(socket: &Weak<TcpListener>) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    poll_fn(|cx| match socket.upgrade() {
        Some(socket) => socket.poll_accept(cx).map(Some),
        None => Poll::Ready(None),
    })
    .await
}

impl Resolver {
    pub(crate) fn system(blocking: Blocking) -> Self {
        Self(Rc::new(move |host, port| {
            let blocking = blocking.clone();
            let look_up = move || (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
            Box::pin(async move { blocking.run(Lane::Dns, look_up).await })
        }))
    }

    pub(crate) async fn find(&self, address: &Address) -> Result<Vec<SocketAddr>, Error> {
        let Address { host, port } = address;
        if host.is_empty() {
            return Ok(vec![(Ipv6Addr::UNSPECIFIED, *port).into()]);
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![(address, *port).into()]);
        }
        let found = (self.0)(host.clone(), *port).await.and_then(|mut found| {
            found.sort_unstable();
            found.dedup();
            found.truncate(ADDRESSES);
            if found.is_empty() { Err(io::Error::other("it has no address")) } else { Ok(found) }
        });
        found.map_err(|source| Error::Resolve { host: host.clone(), source })
    }

    /// As `find`, but not for longer than `RESOLVE_TIME`.
    pub(crate) async fn find_soon(&self, address: &Address) -> Result<Vec<SocketAddr>, Error> {
        let found = tokio::time::timeout(RESOLVE_TIME, self.find(address)).await;
        found.unwrap_or_else(|_| {
            let text = format!("no answer within {} s", RESOLVE_TIME.as_secs());
            Err(Error::Resolve { host: address.host.clone(), source: io::Error::new(io::ErrorKind::TimedOut, text) })
        })
    }
}

impl Listening {
    /// Accepts on what `bind` opened.
    pub(crate) fn new(prepared: Prepared, alarms: Alarms, component: &'static str, host: Rc<dyn Host>) -> Self {
        let state = State { address: prepared.address.clone(), open: Vec::new(), search: None };
        let resolver = prepared.resolver.clone();
        let listening = Self(Rc::new(Inner { resolver, alarms, component, host, state: RefCell::new(state) }));
        listening.put(prepared);
        listening
    }

    /// As configured.
    pub(crate) fn address(&self) -> Address {
        self.0.state.borrow().address.clone()
    }

    /// For `Shelf::keep`.
    pub(crate) fn sockets(&self) -> Vec<OwnedFd> {
        let state = self.0.state.borrow();
        state.open.iter().filter_map(|open| open.socket.as_fd().try_clone_to_owned().ok()).collect()
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.0.state.borrow().open.iter().filter_map(|open| open.socket.local_addr().ok()).collect()
    }

    /// Opens what `address` needs beyond what is open; `put` follows. Sockets of ours that stand in the way are closed.
    ///
    /// # Errors
    /// As `bind`; all is as before.
    pub(crate) async fn prepare(&self, address: &Address) -> Result<Prepared, Error> {
        let (address, resolver) = (address.clone(), self.0.resolver.clone());
        match resolver.find_soon(&address).await {
            Ok(places) => {
                let opened = self.open(&places)?;
                // It must not change what was just looked at.
                self.0.state.borrow_mut().search = None;
                Ok(Prepared { address, opened, places: Some(places), unknown: None, resolver })
            }
            Err(error) => Ok(Prepared { address, opened: Vec::new(), places: None, unknown: Some(error), resolver }),
        }
    }

    /// Listens there and nowhere else. While the name is not known, it is looked up again.
    pub(crate) fn put(&self, prepared: Prepared) {
        let Prepared { address, opened, places, unknown, .. } = prepared;
        self.0.state.borrow_mut().address = address;
        if let Some(places) = places {
            self.occupy(&places, opened);
        }
        let search = match unknown {
            None => {
                self.0.alarms.clear(self.0.component, ADDRESS);
                None
            }
            Some(error) => {
                self.complain(&error);
                Some(task::Owned::spawn(self.clone().search()))
            }
        };
        self.0.state.borrow_mut().search = search;
    }

    /// Stops listening.
    pub(crate) fn close(&self) {
        let mut state = self.0.state.borrow_mut();
        state.search = None;
        state.open.clear();
        self.0.alarms.clear(self.0.component, ADDRESS);
    }

    async fn search(self) {
        let address = self.address();
        let mut backoff = Backoff::default();
        loop {
            let [jitter] = sys::entropy();
            tokio::time::sleep(backoff.next(RETRY_CEILING, jitter)).await;
            let found = self.0.resolver.find(&address).await;
            match found.and_then(|places| Ok((self.open(&places)?, places))) {
                Ok((opened, places)) => {
                    self.occupy(&places, opened);
                    return self.0.alarms.clear(self.0.component, ADDRESS);
                }
                Err(error) => self.complain(&error),
            }
        }
    }

    fn complain(&self, error: &Error) {
        let Address { host, port } = self.address();
        let list: Vec<String> = self.addresses().iter().map(SocketAddr::to_string).collect();
        let text = format!(
            "{} can't listen on {host}:{port} ({}); it listens on {} only and goes on trying",
            self.0.component,
            chain(error),
            list.join(", ")
        );
        self.0.alarms.raise(Now::read(), self.0.component, ADDRESS, text);
    }

    /// The sockets of those `places` that are not open.
    fn open(&self, places: &[SocketAddr]) -> Result<Vec<(SocketAddr, TcpListener)>, Error> {
        let state = &mut *self.0.state.borrow_mut();
        let (stay, missing): (Vec<_>, Vec<_>) =
            places.iter().partition(|place| state.open.iter().any(|open| open.place == **place));
        let others = if stay.is_empty() { Others::None } else { Others::Some };
        let shelf = Shelf::default();
        let result = open(&missing, others, &shelf);
        let Err(Error::Bind { address, source }) = &result else { return result };
        // It may be ours: all addresses and one of them exclude each other.
        let is_in_the_way = |o: &Open| o.place.port() == address.port() && !places.contains(&o.place);
        if source.kind() != io::ErrorKind::AddrInUse || !state.open.iter().any(is_in_the_way) {
            return result;
        }
        let closed: Vec<SocketAddr> =
            state.open.extract_if(.., |o| is_in_the_way(o)).map(|open| self.end(&open)).collect();
        open(&missing, others, &shelf).inspect_err(|_| self.reopen(state, &closed))
    }

    fn reopen(&self, state: &mut State, places: &[SocketAddr]) {
        for place in places {
            match open_one(*place, &Shelf::default()) {
                Ok(socket) => state.open.push(self.accept_on(*place, socket)),
                Err(error) => log::error!(target: self.0.component, "{}", chain(&error)),
            }
        }
    }

    /// Adds `opened` and closes what is not among `places`.
    fn occupy(&self, places: &[SocketAddr], opened: Vec<(SocketAddr, TcpListener)>) {
        let opened: Vec<Open> = opened.into_iter().map(|(place, socket)| self.accept_on(place, socket)).collect();
        let mut state = self.0.state.borrow_mut();
        let is_over = |open: &mut Open| !places.contains(&open.place);
        state.open.extract_if(.., is_over).for_each(|open| {
            self.end(&open);
        });
        state.open.extend(opened);
    }

    /// What is to be done with a socket before it is closed: who waits in it is not turned away.
    fn end(&self, open: &Open) -> SocketAddr {
        let socket = SockRef::from(&*open.socket);
        while let Ok((stream, peer)) = socket.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream.into()));
            if let (Ok(stream), Some(peer)) = (stream, peer.as_socket()) {
                self.0.host.take(stream, peer);
            }
        }
        open.place
    }

    fn accept_on(&self, place: SocketAddr, socket: TcpListener) -> Open {
        let Inner { component, host, .. } = &*self.0;
        if let Ok(address) = socket.local_addr() {
            log::info!(target: component, address = address.to_string().as_str(); "Listening");
            host.listens(address);
        }
        let socket = Rc::new(socket);
        let task = task::Owned::spawn(accept(Rc::downgrade(&socket), component, host.clone()));
        Open { place, socket, _task: task }
    }
}

/// Whether some addresses of the same name are open already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    None,
    Some,
}

/// Opens all of `places`. One of several addresses of a name may be missing on this box, for example without IPv6.
fn open(places: &[SocketAddr], others: Others, shelf: &Shelf) -> Result<Vec<(SocketAddr, TcpListener)>, Error> {
    let mut opened = Vec::new();
    let mut absent = None;
    for place in places {
        match open_one(*place, shelf) {
            Ok(socket) => opened.push((*place, socket)),
            Err(error) if is_absent(&error) => absent = Some(error),
            Err(error) => return Err(error),
        }
    }
    match absent {
        Some(error) if opened.is_empty() && others == Others::None => Err(error),
        _ => Ok(opened),
    }
}

fn is_absent(error: &Error) -> bool {
    let Error::Bind { source, .. } = error else { return false };
    source.kind() == io::ErrorKind::AddrNotAvailable || source.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// [::] takes both protocols, and stands for IPv4 where there is no IPv6.
fn open_one(place: SocketAddr, shelf: &Shelf) -> Result<TcpListener, Error> {
    let opened = listen(place, shelf);
    if place.ip() != Ipv6Addr::UNSPECIFIED {
        return opened;
    }
    opened.or_else(|_| listen((Ipv4Addr::UNSPECIFIED, place.port()).into(), shelf))
}

/// The socket that a former daemon left there, or a new one.
fn listen(address: SocketAddr, shelf: &Shelf) -> Result<TcpListener, Error> {
    let open = || match shelf.take(Kind::Tcp, address) {
        Some(socket) => configure(&socket).and_then(|()| TcpListener::from_std(socket.into())),
        None => listen_anew(address),
    };
    let opened = match open() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && shelf.clear(Kind::Tcp, address.port()) => open(),
        opened => opened,
    };
    opened.map_err(|source| Error::Bind { address, source })
}

fn listen_anew(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_reuse_address(true)?;
    configure(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepted connections inherit these.
fn configure(socket: &Socket) -> io::Result<()> {
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_tcp_notsent_lowat(UNSENT_LOW)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)
}

fn loopback(port: u16) -> [SocketAddr; 2] {
    [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
}

#[cfg(test)]
mod tests;
