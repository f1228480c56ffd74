//! The listeners and all their connections (`contract/http-api.md` §1).
//!
//! `bind` → `spawn` → one accept loop per listener, one task per connection, one look at all of them a second. A reload
//! replaces the context, and the listeners only if the address changed. Beyond `CONNECTIONS` a peer gets 503.

mod connection;
mod dispatch;
mod exchange;
mod pace;
mod progress;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use super::Context;
use super::body::LARGE_BODIES;
use super::layer::gzip::Compressions;
use crate::base::blocking::{Blocking, Lane};
use crate::config::Address;

use progress::Progress;

/// Connections at once, if the limit of open files allows that many.
pub const CONNECTIONS: usize = 4096;
/// Open files left for everything but connections.
pub const OTHER_FILES: usize = 192;
/// Peers beyond `CONNECTIONS` that are told so at once; further ones are just closed.
pub const REFUSALS: usize = 32;
/// How long the connections have to finish at shutdown.
pub const GRACE: Duration = Duration::from_secs(5);
/// Listening queue of the kernel.
pub const BACKLOG: i32 = 1024;
/// What the kernel holds for a peer; it doubles the number for its own needs.
pub const SEND_BUFFER: usize = 128 * 1024;
/// Unsent bytes in the kernel below which a connection may write again.
pub const UNSENT_LOW: u32 = 64 * 1024;
/// Pause after a failed accept (out of open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const REFUSAL_TIME: Duration = Duration::from_secs(1);
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json\r\n\
    Content-Length: 79\r\n\r\n{\"code\":503,\"message\":\"Service Unavailable\",\"details\":[\"too many connections\"]}";

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the host {host:?} can't be resolved")]
    Resolve { host: String, source: io::Error },
    #[error("can't listen on {address}")]
    Bind { address: SocketAddr, source: io::Error },
}

/// Sockets that listen already, of one configured address.
pub struct Listeners {
    address: Address,
    sockets: Vec<TcpListener>,
}

/// What all connections share.
struct Shared {
    context: RefCell<Rc<Context>>,
    large_bodies: Rc<Semaphore>,
    compressions: Compressions,
    connections: RefCell<BTreeMap<u64, Rc<Progress>>>,
    next: Cell<u64>,
    /// As many as `connections` holds.
    crowd: Rc<Cell<usize>>,
    refusals: Cell<usize>,
    limit: usize,
    /// A connection ended.
    ended: Notify,
}

/// Cheap handle to the server.
#[derive(Clone)]
pub struct Handle {
    shared: Rc<Shared>,
    accepting: Rc<RefCell<Accepting>>,
    looker: Rc<JoinHandle<()>>,
}

struct Accepting {
    address: Address,
    sockets: Vec<SocketAddr>,
    loops: Vec<JoinHandle<()>>,
}

/// Opens the listeners of `address`: without a host all addresses of the box, IPv6 and IPv4.
///
/// # Errors
/// The host is no address and no resolvable name, or the port is taken.
pub async fn bind(address: &Address, blocking: &Blocking) -> Result<Listeners, Error> {
    let sockets = match address.host.as_str() {
        "" => vec![bind_any(address.port)?],
        host => {
            let (name, port) = (host.to_owned(), address.port);
            let resolved = blocking.run(Lane::Dns, move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter));
            let resolved = resolved.await.map_err(|source| Error::Resolve { host: host.to_owned(), source })?;
            resolved.into_iter().map(bind_one).collect::<Result<_, _>>()?
        }
    };
    Ok(Listeners { address: address.clone(), sockets })
}

/// Starts to accept. `open_files` is the limit of the process.
pub fn spawn(listeners: Listeners, context: Context, open_files: usize) -> Handle {
    let limit = CONNECTIONS.min(open_files.saturating_sub(OTHER_FILES)).max(16);
    let shared = Rc::new(Shared {
        context: RefCell::new(Rc::new(context)),
        large_bodies: Rc::new(Semaphore::new(LARGE_BODIES)),
        compressions: Compressions::default(),
        connections: RefCell::default(),
        next: Cell::new(0),
        crowd: Rc::default(),
        refusals: Cell::new(0),
        limit,
        ended: Notify::new(),
    });
    let looker = Rc::new(tokio::task::spawn_local(look(shared.clone())));
    let accepting = Rc::new(RefCell::new(accept_on(listeners, &shared)));
    Handle { shared, accepting, looker }
}

impl Listeners {
    /// Where they listen, for logs and tests on port 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }
}

impl Handle {
    /// Puts a new configuration in force; requests under way finish under the old one.
    pub fn replace(&self, context: Context) {
        *self.shared.context.borrow_mut() = Rc::new(context);
    }

    /// The address that is listened on, as configured.
    pub fn address(&self) -> Address {
        self.accepting.borrow().address.clone()
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.accepting.borrow().sockets.clone()
    }

    /// Listens elsewhere from now on; connections stay.
    pub fn listen(&self, listeners: Listeners) {
        let accepting = accept_on(listeners, &self.shared);
        let former = std::mem::replace(&mut *self.accepting.borrow_mut(), accepting);
        former.loops.iter().for_each(JoinHandle::abort);
    }

    /// Stops listening and lets answers under way finish within `GRACE`.
    pub async fn shutdown(&self) {
        self.accepting.borrow().loops.iter().for_each(JoinHandle::abort);
        self.shared.each(Progress::finish);
        let emptied = async {
            while self.shared.crowd.get() > 0 {
                self.shared.ended.notified().await;
            }
        };
        if tokio::time::timeout(GRACE, emptied).await.is_err() {
            self.shared.each(Progress::close);
        }
        self.looker.abort();
    }
}

impl Shared {
    fn context(&self) -> Rc<Context> {
        self.context.borrow().clone()
    }

    fn each(&self, act: impl Fn(&Progress)) {
        let all: Vec<Rc<Progress>> = self.connections.borrow().values().cloned().collect();
        all.iter().for_each(|progress| act(progress));
    }

    fn open(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, address: &Rc<str>) {
        let progress = Progress::new(Instant::now(), self.crowd.clone());
        let id = self.next.get();
        self.next.set(id + 1);
        self.connections.borrow_mut().insert(id, progress.clone());
        self.crowd.set(self.crowd.get() + 1);
        let (shared, address) = (self.clone(), address.clone());
        tokio::task::spawn_local(async move {
            let peer = peer.ip().to_canonical();
            connection::serve(stream, peer, address, shared.clone(), progress).await;
            shared.connections.borrow_mut().remove(&id);
            shared.crowd.set(shared.crowd.get() - 1);
            shared.ended.notify_waiters();
        });
    }

    /// Tells a peer that there is no place, without hearing it.
    fn refuse(self: &Rc<Self>, mut stream: TcpStream) {
        if self.refusals.get() >= REFUSALS || !matches!(stream.try_write(REFUSAL), Ok(n) if n == REFUSAL.len()) {
            return;
        }
        self.refusals.set(self.refusals.get() + 1);
        let shared = self.clone();
        tokio::task::spawn_local(async move {
            // Closing over unread bytes would take the answer back.
            let mut scrap = [0; 1024];
            let _ = tokio::time::timeout(REFUSAL_TIME, stream.read(&mut scrap)).await;
            drop(stream);
            shared.refusals.set(shared.refusals.get() - 1);
        });
    }
}

fn accept_on(listeners: Listeners, shared: &Rc<Shared>) -> Accepting {
    let addresses = listeners.addresses();
    let Listeners { address, sockets } = listeners;
    let text: Rc<str> = format!("{}:{}", address.host, address.port).into();
    let start = |socket| tokio::task::spawn_local(accept(socket, text.clone(), shared.clone()));
    Accepting { loops: sockets.into_iter().map(start).collect(), sockets: addresses, address }
}

async fn accept(listener: TcpListener, address: Rc<str>, shared: Rc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) if shared.crowd.get() < shared.limit => shared.open(stream, peer, &address),
            Ok((stream, _)) => {
                log::warn!(target: "HTTP", "There are {} connections already, a further one is refused", shared.limit);
                shared.refuse(stream);
            }
            Err(error) => {
                log::warn!(target: "HTTP", error = error.to_string().as_str(); "A connection can't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn look(shared: Rc<Shared>) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        shared.each(|progress| progress.look(now));
    }
}

/// [::] for both protocols, or IPv4 where there is no IPv6.
fn bind_any(port: u16) -> Result<TcpListener, Error> {
    bind_one((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|_| bind_one((Ipv4Addr::UNSPECIFIED, port).into()))
}

fn bind_one(address: SocketAddr) -> Result<TcpListener, Error> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
        }
        socket.set_reuse_address(true)?;
        // Accepted connections inherit these.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.set_tcp_notsent_lowat(UNSENT_LOW)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|source| Error::Bind { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_a_whole_answer() {
        let text = std::str::from_utf8(REFUSAL).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
