//! Sockets, and files in memory, that outlive the daemon: systemd keeps a hold on them (sd_pid_notify_with_fds(3), "FDSTORE=1") and hands them
//! to the next one, so that whoever comes while it starts waits instead of being refused.
//!
//! Each has the name of its protocol and address, and is used again only if it really is that socket. Who runs without
//! systemd inherits nothing and keeps nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::sys::memfd::{MFdFlags, memfd_create};
use sd_notify::NotifyState;
use socket2::{Socket, Type};

use crate::sys::socket;

/// Sockets that are taken over; further ones are closed.
const INHERITED: usize = 64;
const COMPONENT: &str = "Core";

/// A socket's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Udp,
}

/// Cheap handle to what was inherited and what is kept.
#[derive(Clone, Default)]
pub struct Shelf(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    /// By name; until somebody takes them.
    inherited: BTreeMap<String, Socket>,
    /// The same of files in memory.
    files: BTreeMap<String, File>,
    /// Those that are in use.
    memories: Vec<&'static str>,
    /// Names of what systemd holds.
    kept: Vec<String>,
}

impl Shelf {
    /// What systemd hands over. To be called once, before anything else is opened.
    pub fn inherit() -> Self {
        let shelf = Self::default();
        match socket::inherited() {
            Ok(sockets) => shelf.fill(sockets.into_iter()),
            Err(error) => log::warn!(target: COMPONENT, "what systemd hands over is not understood: {error}"),
        }
        shelf
    }

    fn fill(&self, sockets: impl Iterator<Item = (String, OwnedFd)>) {
        let state = &mut *self.0.borrow_mut();
        for (name, fd) in sockets.take(INHERITED) {
            state.kept.push(name.clone());
            let socket = Socket::from(fd);
            match socket.r#type() {
                Ok(_) => drop(state.inherited.insert(name, socket)),
                Err(_) => drop(state.files.insert(name, File::from(OwnedFd::from(socket)))),
            }
        }
    }

    /// The file in memory that was left by that name, or a new one; `None` if the kernel has none (Linux 3.17).
    pub fn memory(&self, name: &'static str) -> Option<File> {
        let state = &mut *self.0.borrow_mut();
        let left = state.files.remove(name);
        let file = left.or_else(|| memfd_create(name, MFdFlags::MFD_CLOEXEC).ok().map(File::from))?;
        if !state.kept.iter().any(|kept| kept == name) {
            let told = [NotifyState::FdStore, NotifyState::FdName(name)];
            tell(sd_notify::notify_with_fds(&told, &[file.as_fd()]));
            state.kept.push(name.to_owned());
        }
        state.memories.push(name);
        Some(file)
    }

    /// The socket that was left open there.
    pub(crate) fn take(&self, kind: Kind, place: SocketAddr) -> Option<Socket> {
        let socket = self.0.borrow_mut().inherited.remove(&name(kind, place))?;
        (identify(&socket) == Some((kind, place))).then_some(socket)
    }

    /// Closes what was left open on a port that is wanted otherwise; whether there was something.
    pub(crate) fn clear(&self, kind: Kind, port: u16) -> bool {
        let state = &mut *self.0.borrow_mut();
        let is_there = |socket: &Socket| identify(socket).is_some_and(|(it, place)| it == kind && place.port() == port);
        let cleared: Vec<String> =
            state.inherited.iter().filter(|(_, socket)| is_there(socket)).map(|(name, _)| name.clone()).collect();
        for name in &cleared {
            state.drop_kept(name);
        }
        !cleared.is_empty()
    }

    /// Lets systemd hold all of `sockets` and nothing else.
    pub fn keep(&self, sockets: Vec<OwnedFd>) {
        let state = &mut *self.0.borrow_mut();
        let sockets: Vec<Socket> = sockets.into_iter().map(Socket::from).collect();
        let named = sockets.iter().filter_map(|socket| identify(socket).map(|(kind, at)| (name(kind, at), socket)));
        let named: BTreeMap<String, &Socket> = named.collect();
        let is_used = |kept: &&String| named.contains_key(*kept) || state.memories.iter().any(|name| *name == **kept);
        let over: Vec<String> = state.kept.iter().filter(|kept| !is_used(kept)).cloned().collect();
        for over in &over {
            state.drop_kept(over);
        }
        for (name, socket) in named {
            if !state.kept.contains(&name) {
                let told = [NotifyState::FdStore, NotifyState::FdName(&name)];
                tell(sd_notify::notify_with_fds(&told, &[socket.as_fd()]));
                state.kept.push(name);
            }
        }
    }
}

impl State {
    fn drop_kept(&mut self, name: &str) {
        self.inherited.remove(name);
        self.files.remove(name);
        self.kept.retain(|kept| kept != name);
        tell(sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]));
    }
}

/// Names have no colons (sd_pid_notify_with_fds(3)).
fn name(kind: Kind, place: SocketAddr) -> String {
    format!("{kind} {place}").replace(':', ".")
}

/// What a socket is; `None` if it is no socket, or one of TCP that does not listen.
fn identify(socket: &Socket) -> Option<(Kind, SocketAddr)> {
    let place = socket.local_addr().ok()?.as_socket()?;
    match socket.r#type().ok()? {
        Type::STREAM if socket.is_listener().ok()? => Some((Kind::Tcp, place)),
        Type::DGRAM => Some((Kind::Udp, place)),
        _ => None,
    }
}

fn tell(told: std::io::Result<()>) {
    if let Err(error) = told {
        log::debug!(target: COMPONENT, "systemd can't be told of a socket: {error}");
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn shelf_with(sockets: Vec<(&str, OwnedFd)>) -> Shelf {
        let shelf = Shelf::default();
        shelf.fill(sockets.into_iter().map(|(name, fd)| (name.to_owned(), fd)));
        shelf
    }

    fn listener() -> (SocketAddr, OwnedFd) {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        (socket.local_addr().expect("an address"), socket.into())
    }

    #[test]
    fn a_socket_is_taken_once_by_its_protocol_and_address() {
        let (place, fd) = listener();
        let shelf = shelf_with(vec![(&name(Kind::Tcp, place), fd)]);
        assert!(shelf.take(Kind::Udp, place).is_none());
        assert!(shelf.take(Kind::Tcp, (place.ip(), place.port() ^ 1).into()).is_none());
        assert!(shelf.take(Kind::Tcp, place).is_some());
        assert!(shelf.take(Kind::Tcp, place).is_none());
    }

    #[test]
    fn a_socket_that_is_not_what_its_name_says_is_closed() {
        let (place, fd) = listener();
        let other = (place.ip(), place.port() ^ 1).into();
        let shelf = shelf_with(vec![(&name(Kind::Tcp, other), fd)]);
        assert!(shelf.take(Kind::Tcp, other).is_none());
        assert!(TcpStream::connect(place).is_err());

        let (place, _fd) = listener();
        let stream = TcpStream::connect(place).expect("it listens");
        let own = stream.local_addr().expect("an address");
        assert!(shelf_with(vec![(&name(Kind::Tcp, own), stream.into())]).take(Kind::Tcp, own).is_none());
        let file = tempfile::tempfile().expect("a file");
        assert!(shelf_with(vec![(&name(Kind::Tcp, own), file.into())]).take(Kind::Tcp, own).is_none());
    }

    #[test]
    fn what_stands_in_the_way_is_closed() {
        let (place, fd) = listener();
        let shelf = shelf_with(vec![("whatever", fd)]);
        assert!(!shelf.clear(Kind::Udp, place.port()));
        assert!(shelf.clear(Kind::Tcp, place.port()));
        assert!(!shelf.clear(Kind::Tcp, place.port()));
        assert!(TcpListener::bind(place).is_ok());
    }

    #[test]
    fn what_nobody_took_is_closed_in_the_end() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let place = socket.local_addr().expect("an address");
        let shelf = shelf_with(vec![(&name(Kind::Udp, place), socket.into())]);
        shelf.keep(Vec::new());
        assert!(UdpSocket::bind(place).is_ok());
        assert!(shelf.0.borrow().kept.is_empty());
    }

    #[test]
    fn files_in_memory_are_found_again() {
        let file = tempfile::tempfile().expect("a file");
        std::os::unix::fs::FileExt::write_all_at(&file, b"x", 0).expect("written");
        let shelf = shelf_with(vec![("notes", file.into())]);
        let length = |name| shelf.memory(name).expect("a file").metadata().expect("its size").len();
        assert_eq!([length("notes"), length("others")], [1, 0]);
        shelf.keep(Vec::new());
        assert_eq!(shelf.0.borrow().kept, ["notes", "others"]);
    }

    #[test]
    fn names_have_no_colons() {
        let place = "[::1]:8080".parse().expect("an address");
        assert_eq!(name(Kind::Tcp, place), "tcp [..1].8080");
    }
}
