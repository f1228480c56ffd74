//! HTTP/1.1 as little as the tests need: one request on each connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

const TIMEOUT: Duration = Duration::from_secs(30);
/// What a browser says that it reads.
pub(crate) const HTML: (&str, &str) = ("Accept", "text/html,*/*;q=0.8");

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> String {
        let mut lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

#[track_caller]
pub(crate) fn send(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    send_from(SocketAddr::from(([127, 0, 0, 1], 0)), to, method, path, headers, body)
}

/// From an address of this machine's.
#[track_caller]
pub(crate) fn send_from(
    from: SocketAddr,
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&from.into()).expect("an own address");
    socket.connect(&to.into()).expect("the page listens");
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request += &format!("Host: {to}\r\n");
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    let text = exchange(socket.into(), format!("{request}\r\n{body}").as_bytes()).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("headers");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, headers: head.to_owned(), body: body.to_owned() }
}

/// Sends bytes; the answer, if there is one.
pub(crate) fn raw(to: SocketAddr, bytes: &[u8]) -> Option<String> {
    exchange(TcpStream::connect(to).expect("the page listens"), bytes)
}

/// A connection that goes no further.
pub(crate) fn begin(to: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("the page listens");
    stream.write_all(text.as_bytes()).expect("it takes the beginning");
    stream
}

fn exchange(mut stream: TcpStream, bytes: &[u8]) -> Option<String> {
    stream.set_read_timeout(Some(TIMEOUT)).expect("a time");
    // It may be closed before all is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
}
