//! The page's HTTP: tiny_http behind a gate that bounds peers, bytes and time, and a few threads that read requests.
//!
//! `listen` → `gate_server` → tiny_http on loopback → `work` → `Event` to the one owner → `Reply` → answer. Nothing is
//! decided here. tiny_http has no time-outs and a thread for each connection, so connections are admitted by the gate.

mod gate_server;
pub(crate) mod request;

use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use socket2::{Domain, Socket, Type};
use tiny_http::{Header, Response, Server, StatusCode};

use super::page::Answer;
use request::{BODY_BYTES, Request};

/// Where the page comes when the daemon's port is taken.
pub(crate) const OTHER_PORTS: [u16; 4] = [8080, 8081, 8088, 8888];
/// Places that are listened on.
pub(crate) const PLACES: usize = 4;
/// Events that wait for the owner; who brings more waits.
const EVENTS: usize = 64;
/// Connections that one tiny_http is given: as many as the threads that its pool always has. With more, one may wait for a
/// thread that another keeps (its pool counts threads as free that are just being woken).
const SERVED: usize = 4;
/// tiny_http's for each socket that is listened on.
const SERVERS: usize = 3;
const STACK: usize = 256 * 1024;
const BACKLOG: i32 = 64;

/// A connection on loopback: the port of the server, and that of the gate's end.
pub(crate) type Inner = (u16, u16);

/// What the owner hears.
pub(crate) enum Event {
    /// From now on this connection to tiny_http stands for `peer`.
    Joined {
        inner: Inner,
        peer: IpAddr,
    },
    Left {
        inner: Inner,
    },
    /// `inner` came from the gate, or from nobody known.
    Request {
        inner: Inner,
        request: Request,
        reply: SyncSender<Answer>,
    },
}

/// Opens the first usable of `places`, all of one kind together: as they are, on every address if theirs is gone, on
/// `OTHER_PORTS` if the port is not to be had.
pub(crate) fn listen(places: &[SocketAddr]) -> Vec<TcpListener> {
    let mut open = Vec::new();
    for place in places.iter().take(PLACES) {
        match bind(*place) {
            Ok(listener) => open.push(listener),
            Err(error) => log::warn!(target: super::COMPONENT, "no page on {place}: {error}"),
        }
    }
    if !open.is_empty() {
        return open;
    }
    let hosts: &[IpAddr] = match places.iter().all(|place| place.ip().is_loopback()) {
        true => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
        false => &[IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
    };
    let own = places.iter().map(SocketAddr::port);
    for port in own.chain(OTHER_PORTS).filter(|port| *port != 0) {
        open.extend(hosts.iter().filter_map(|host| bind(SocketAddr::new(*host, port)).ok()));
        if !open.is_empty() {
            log::warn!(target: super::COMPONENT, "The page is on port {port}, since the daemon's address is not to be had");
            break;
        }
    }
    open
}

fn bind(place: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(place), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if place.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&place.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Why `place` can't be had; `None` if it can.
pub(crate) fn is_taken(place: SocketAddr) -> Option<io::Error> {
    bind(place).err()
}

/// Starts to answer on `listeners`.
///
/// # Errors
/// There are no threads or no loopback.
pub(crate) fn serve(listeners: Vec<TcpListener>) -> io::Result<Receiver<Event>> {
    let (events, heard) = sync_channel(EVENTS);
    for listener in listeners {
        let mut inner = Vec::new();
        for _ in 0..SERVERS {
            inner.push(start(&events)?);
        }
        let events = events.clone();
        spawn(move || gate_server::admit(&listener, &inner, &events))?;
    }
    Ok(heard)
}

/// One tiny_http on loopback with a reader for each of its connections: one that reads a slow body holds up nobody else.
fn start(events: &SyncSender<Event>) -> io::Result<SocketAddr> {
    let inner = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = inner.local_addr()?;
    let server = Arc::new(Server::from_listener(inner, None).map_err(io::Error::other)?);
    for _ in 0..SERVED {
        let (server, events) = (server.clone(), events.clone());
        spawn(move || work(&server, address.port(), &events))?;
    }
    Ok(address)
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().stack_size(STACK).spawn(work).map(drop)
}

fn work(server: &Server, own: u16, events: &SyncSender<Event>) {
    while let Ok(mut incoming) = server.recv() {
        let Some(inner) = incoming.remote_addr().map(|peer| (own, peer.port())) else { continue };
        let request = match read(&mut incoming) {
            Ok(request) => request,
            Err(status) => {
                let _ = incoming.respond(Response::empty(StatusCode(status)));
                continue;
            }
        };
        let (reply, answer) = sync_channel(1);
        if events.send(Event::Request { inner, request, reply }).is_err() {
            return;
        }
        if let Ok(answer) = answer.recv() {
            // Who went away needs no answer.
            let _ = incoming.respond(response(answer));
        }
    }
}

fn read(incoming: &mut tiny_http::Request) -> Result<Request, u16> {
    const LENGTH_REQUIRED: u16 = 411;
    const TOO_LARGE: u16 = 413;
    const BAD_REQUEST: u16 = 400;
    let headers = incoming.headers().iter();
    let headers = headers.map(|header| (header.field.as_str().as_str().to_ascii_lowercase(), header.value.to_string()));
    let mut request = Request {
        method: incoming.method().to_string(),
        path: incoming.url().to_owned(),
        headers: headers.collect(),
        body: Vec::new(),
    };
    match incoming.body_length() {
        Some(length) if length > BODY_BYTES => return Err(TOO_LARGE),
        None if request.header("transfer-encoding").is_some() => return Err(LENGTH_REQUIRED),
        _ => {}
    }
    let limit = u64::try_from(BODY_BYTES).unwrap_or(u64::MAX);
    incoming.as_reader().take(limit).read_to_end(&mut request.body).map_err(|_| BAD_REQUEST)?;
    Ok(request)
}

/// What a page may do: nothing but show itself, in its own style, and send its forms here.
const POLICY: &str = "default-src 'none'; style-src 'sha256-wiAL5xinWOSWl/1CwrAv+ycddrGeUOqyo8Rzz4ueBc8='; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

fn response(answer: Answer) -> Response<io::Cursor<Vec<u8>>> {
    let kind = if answer.json { "application/json" } else { "text/html; charset=utf-8" };
    let mut headers = vec![
        ("Content-Type", kind),
        ("Content-Security-Policy", POLICY),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        // Not no-referrer: browsers would send forms with the Origin null.
        ("Referrer-Policy", "same-origin"),
    ];
    if answer.status == 503 {
        headers.push(("Retry-After", "30"));
    }
    headers.extend(answer.cookie.as_deref().map(|cookie| ("Set-Cookie", cookie)));
    let mut response = Response::from_data(answer.body).with_status_code(StatusCode(answer.status));
    for (name, value) in headers {
        if let Ok(header) = Header::from_bytes(name, value) {
            response.add_header(header);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use ring::digest::{SHA256, digest};

    use super::*;
    use crate::rescue::page::STYLE;

    #[test]
    fn the_policy_names_the_style_of_the_page() {
        let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
        assert!(POLICY.contains(&format!("'sha256-{hash}'")), "{hash}");
    }
}
