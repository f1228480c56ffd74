//! The listeners and all their connections (`contract/http-api.md` §1).
//!
//! `bind` → `spawn` → one accept loop per listener, one task per connection, one look at all of them a second. The plain
//! door is always open, the one with TLS if configured; both lead to the same routes. A reload replaces the context, and
//! the listeners only if their address changed. Beyond `CONNECTIONS` a peer gets 503.

mod connection;
mod dispatch;
mod exchange;
mod pace;
mod progress;
mod secure;
mod tally;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use super::Context;
use super::body::LARGE_BODIES;
use super::layer::gzip::Compressions;
use crate::base::task;
use crate::config::Address;
use crate::listen::{Ebb, Host, Listening, Shelf};
use crate::metrics::Requests;
use crate::tls::{self, Gate};

pub use crate::listen::{Error, Prepared, Turn, bind};

use progress::Progress;

/// Connections at once, if the limit of open files allows that many.
pub const CONNECTIONS: usize = 4096;
/// Open files left for everything but connections.
pub const OTHER_FILES: usize = 192;
/// Peers beyond `CONNECTIONS` that are told so at once; further ones are just closed.
pub const REFUSALS: usize = 32;
/// How long the connections have to finish at shutdown.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long those who have just come have to ask for something at shutdown.
const NEWCOMERS: Duration = Duration::from_secs(1);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const REFUSAL_TIME: Duration = Duration::from_secs(1);
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json\r\n\
    Content-Length: 79\r\n\r\n{\"code\":503,\"message\":\"Service Unavailable\",\"details\":[\"too many connections\"]}";

/// What all connections share.
struct Shared {
    context: RefCell<Rc<Context>>,
    requests: Requests,
    large_bodies: Rc<Semaphore>,
    compressions: Compressions,
    connections: RefCell<BTreeMap<u64, Rc<Progress>>>,
    next: Cell<u64>,
    /// As many as `connections` holds.
    crowd: Rc<Cell<usize>>,
    ebb: Rc<Ebb>,
    refusals: Cell<usize>,
    limit: usize,
    /// A connection ended.
    ended: Notify,
    /// The first connection came.
    came: Notify,
}

/// A way in: plain, or through TLS.
struct Entrance {
    shared: Rc<Shared>,
    /// The address that is listened on, as configured, for the log.
    address: RefCell<Rc<str>>,
    gate: Option<Gate>,
}

/// Cheap handle to the server.
#[derive(Clone)]
pub struct Handle {
    shared: Rc<Shared>,
    plain: Door,
    secure: Rc<RefCell<Option<Door>>>,
    looker: Rc<JoinHandle<()>>,
}

/// An entrance and its sockets.
#[derive(Clone)]
struct Door {
    entrance: Rc<Entrance>,
    listening: Listening,
}

/// A connection's entry among all of them; leaves with it.
struct Place {
    shared: Rc<Shared>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self { shared, id } = self;
        shared.connections.borrow_mut().remove(id);
        shared.counts(shared.crowd.get() - 1);
        shared.ended.notify_waiters();
    }
}

/// Starts to accept on the plain door. `open_files` is the limit of the process.
pub fn spawn(prepared: Prepared, context: Context, open_files: usize) -> Handle {
    let limit = CONNECTIONS.min(open_files.saturating_sub(OTHER_FILES)).max(16);
    let requests = context.requests.clone();
    let shared = Rc::new(Shared {
        context: RefCell::new(Rc::new(context)),
        requests,
        large_bodies: Rc::new(Semaphore::new(LARGE_BODIES)),
        compressions: Compressions::default(),
        connections: RefCell::default(),
        next: Cell::new(0),
        crowd: Rc::default(),
        ebb: Rc::default(),
        refusals: Cell::new(0),
        limit,
        ended: Notify::new(),
        came: Notify::new(),
    });
    let looker = Rc::new(task::spawn(look(shared.clone())));
    let plain = Door::open(prepared, shared.clone(), None);
    Handle { shared, plain, secure: Rc::default(), looker }
}

impl Handle {
    /// Puts a new configuration in force; requests under way finish under the old one.
    pub fn replace(&self, context: Context) {
        let former = self.shared.context.replace(Rc::new(context));
        if former.auth.is_enabled() {
            self.addresses().into_iter().for_each(|address| self.shared.warn_if_open(address));
        }
    }

    /// The address that is listened on, as configured.
    pub fn address(&self) -> Address {
        self.plain.listening.address()
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.doors().iter().flat_map(|door| door.listening.addresses()).collect()
    }

    /// Where it listens without TLS.
    pub fn plain_addresses(&self) -> Vec<SocketAddr> {
        self.plain.listening.addresses()
    }

    /// For `Shelf::keep`.
    pub fn sockets(&self) -> Vec<OwnedFd> {
        self.doors().iter().flat_map(|door| door.listening.sockets()).collect()
    }

    /// Everything of a move to `address` that can fail; `listen` follows.
    ///
    /// # Errors
    /// The port is taken, or the address is not of this box; nothing has changed.
    pub async fn prepare(&self, address: &Address) -> Result<Prepared, Error> {
        self.plain.listening.prepare(address).await
    }

    /// Listens there from now on; connections stay.
    pub fn listen(&self, prepared: Prepared) {
        self.plain.listening.put(prepared);
        self.plain.name();
    }

    /// As `prepare` for the TLS listener; `None`: there is to be none.
    ///
    /// # Errors
    /// As `prepare`.
    pub async fn prepare_secure(&self, address: Option<&Address>) -> Result<Turn, Error> {
        let (door, blocking) = (self.secure.borrow().clone(), self.shared.context().blocking.clone());
        Turn::prepare(door.as_ref().map(|door| &door.listening), address, &blocking, &Shelf::default()).await
    }

    /// Does what was prepared; connections stay.
    pub fn listen_secure(&self, secure: Turn, tls: &tls::Handle) {
        match secure {
            Turn::Stays => {}
            Turn::Closes => {
                if let Some(door) = self.secure.take() {
                    door.listening.close();
                }
            }
            Turn::Opens(prepared) => {
                let door = Door::open(prepared, self.shared.clone(), Some(Gate::new(tls.clone())));
                self.secure.replace(Some(door));
            }
            Turn::Moves(prepared) => {
                let door = self.secure.borrow().clone();
                if let Some(door) = door {
                    door.listening.put(prepared);
                    door.name();
                }
            }
        }
    }

    /// Stops listening and lets answers under way finish within `GRACE`, also those to whom it accepted a moment ago.
    pub async fn shutdown(&self) {
        self.doors().iter().for_each(|door| door.listening.close());
        self.shared.each(Progress::finish);
        if tokio::time::timeout(NEWCOMERS, self.emptied()).await.is_err() {
            self.shared.each(Progress::close_fresh);
        }
        if tokio::time::timeout(GRACE - NEWCOMERS, self.emptied()).await.is_err() {
            self.shared.each(Progress::close);
        }
        self.looker.abort();
    }

    /// Waits until the last connection has ended.
    async fn emptied(&self) {
        while self.shared.crowd.get() > 0 {
            self.shared.ended.notified().await;
        }
    }

    fn doors(&self) -> Vec<Door> {
        std::iter::once(self.plain.clone()).chain(self.secure.borrow().clone()).collect()
    }
}

impl Door {
    fn open(prepared: Prepared, shared: Rc<Shared>, gate: Option<Gate>) -> Self {
        let alarms = shared.context().alarms.clone();
        let entrance = Rc::new(Entrance { shared, address: RefCell::new("".into()), gate });
        let listening = Listening::new(prepared, alarms, entrance.component(), Rc::new(entrance.clone()));
        let door = Self { entrance, listening };
        door.name();
        door
    }

    fn name(&self) {
        let Address { host, port } = self.listening.address();
        self.entrance.address.replace(format!("{host}:{port}").into());
    }
}

impl Entrance {
    fn component(&self) -> &'static str {
        if self.gate.is_some() { "HTTPS" } else { "HTTP" }
    }
}

impl Host for Rc<Entrance> {
    fn listens(&self, address: SocketAddr) {
        self.shared.warn_if_open(address);
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let shared = &self.shared;
        if shared.crowd.get() < shared.limit {
            shared.open(stream, peer, self.clone());
            return;
        }
        log::warn!(target: self.component(), "There are {} connections already, a further one is refused", shared.limit);
        shared.requests.refused();
        // Under TLS it would have to be encrypted, which is what there is no place for.
        if self.gate.is_none() {
            shared.refuse(stream);
        }
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

    fn warn_if_open(&self, address: SocketAddr) {
        if !self.context().auth.is_enabled() && !address.ip().to_canonical().is_loopback() {
            log::warn!(target: "Core", "Everyone in the network may use the API; api.auth.enable asks for a login");
        }
    }

    fn counts(&self, connections: usize) {
        self.crowd.set(connections);
        self.requests.connected(connections);
        self.ebb.set(connections);
    }

    fn open(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, entrance: Rc<Entrance>) {
        let progress = Progress::new(self.crowd.clone());
        let id = self.next.get();
        self.next.set(id + 1);
        self.connections.borrow_mut().insert(id, progress.clone());
        self.counts(self.crowd.get() + 1);
        self.came.notify_one();
        let place = Place { shared: self.clone(), id };
        task::spawn(async move {
            let peer = peer.ip().to_canonical();
            connection::serve(stream, peer, entrance, place.shared.clone(), progress).await;
            drop(place);
        });
    }

    /// Tells a peer that there is no place, without hearing it.
    fn refuse(self: &Rc<Self>, mut stream: TcpStream) {
        if self.refusals.get() >= REFUSALS || !matches!(stream.try_write(REFUSAL), Ok(n) if n == REFUSAL.len()) {
            return;
        }
        self.refusals.set(self.refusals.get() + 1);
        let shared = self.clone();
        task::spawn(async move {
            // Closing over unread bytes would take the answer back.
            let mut scrap = [0; 1024];
            let _ = tokio::time::timeout(REFUSAL_TIME, stream.read(&mut scrap)).await;
            drop(stream);
            shared.refusals.set(shared.refusals.get() - 1);
        });
    }
}

async fn look(shared: Rc<Shared>) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        while shared.crowd.get() == 0 {
            shared.came.notified().await;
        }
        ticks.tick().await;
        let now = Instant::now();
        shared.each(|progress| progress.look(now));
    }
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
