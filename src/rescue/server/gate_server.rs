//! The gate: who may connect, how many at once, how many bytes they may send and how long they may take.
//!
//! peer → near? → place free? → bytes both ways to tiny_http until one side ends, `REQUEST_BYTES` are sent or
//! `CONNECTION_TIME` is over. Slow or silent peers cost their own place and nothing else.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use super::{Event, SERVED};
use crate::rescue::COMPONENT;
use crate::rescue::login::is_near;

/// Connections of one peer at once on one address of the box: browsers open six. Further ones are closed, as are those
/// beyond `SERVERS` times `SERVED`.
const CONNECTIONS_PER_PEER: usize = 6;
/// All that a connection may send.
const REQUEST_BYTES: usize = 64 * 1024;
/// Life of a connection: longer than the slowest answer.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
const INNER_TIME: Duration = Duration::from_secs(2);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const PIECE: usize = 4096;
const STACK: usize = 64 * 1024;

/// Admits connections for ever and spreads them over `servers`.
pub(super) fn admit(listener: &TcpListener, servers: &[SocketAddr], events: &SyncSender<Event>) {
    // Who is connected, and to which server; the other half of each mark is held by its connection.
    let mut places: Vec<(IpAddr, SocketAddr, Arc<()>)> = Vec::new();
    loop {
        let Ok((stream, peer)) = listener.accept() else {
            // Out of files, or a peer that went away.
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        let peer = peer.ip().to_canonical();
        places.retain(|(_, _, mark)| Arc::strong_count(mark) > 1);
        let own = places.iter().filter(|(other, ..)| *other == peer).count();
        let load = |server: &SocketAddr| places.iter().filter(|(_, other, _)| other == server).count();
        let free = servers.iter().copied().find(|server| load(server) < SERVED);
        let Some(inner) = free.filter(|_| is_near(peer) && own < CONNECTIONS_PER_PEER) else { continue };
        let mark = Arc::new(());
        places.push((peer, inner, mark.clone()));
        let events = events.clone();
        let work = move || {
            let _mark = mark;
            connect(&stream, peer, inner, &events);
        };
        if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(work) {
            log::warn!(target: COMPONENT, "no thread for a connection: {error}");
        }
    }
}

fn connect(outer: &TcpStream, peer: IpAddr, server: SocketAddr, events: &SyncSender<Event>) {
    let end = Instant::now() + CONNECTION_TIME;
    let Ok(inner) = TcpStream::connect_timeout(&server, INNER_TIME) else { return };
    let Ok(port) = inner.local_addr().map(|address| address.port()) else { return };
    let name = (server.port(), port);
    // Before the first byte: its requests come later through the same queue.
    if events.send(Event::Joined { inner: name, peer }).is_err() {
        return;
    }
    thread::scope(|scope| {
        let back = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || {
            carry(&inner, outer, end, usize::MAX);
            close(outer, &inner);
        });
        if back.is_err() || !carry(outer, &inner, end, REQUEST_BYTES) {
            close(outer, &inner);
        }
    });
    let _ = events.send(Event::Left { inner: name });
}

/// Carries bytes until `from` ends. False: the limit or the time is over, or one of them is gone.
fn carry(mut from: &TcpStream, mut to: &TcpStream, end: Instant, limit: usize) -> bool {
    let (mut piece, mut carried) = ([0; PIECE], 0_usize);
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        if from.set_read_timeout(Some(left)).and_then(|()| to.set_write_timeout(Some(left))).is_err() {
            return false;
        }
        match from.read(&mut piece) {
            Ok(0) => return to.shutdown(Shutdown::Write).is_ok(),
            Ok(length) => {
                carried = carried.saturating_add(length);
                if carried > limit || to.write_all(&piece[..length]).is_err() {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    false
}

/// Either may be closed already.
fn close(outer: &TcpStream, inner: &TcpStream) {
    let _ = outer.shutdown(Shutdown::Both);
    let _ = inner.shutdown(Shutdown::Both);
}
