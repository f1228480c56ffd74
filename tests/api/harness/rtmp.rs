//! A small RTMP peer, written for tests only: it says what it is told, byte by byte, and reads what comes back.
//!
//! Knows just enough of chunks to read our server (formats 0 to 3, extended times), and nothing of the daemon's code.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);
const CHUNK: usize = 128;

/// What came: type, time, body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) time: u32,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Whether the body holds this text, as AMF0 does.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|piece| piece == text.as_bytes())
    }
}

pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    chunk: usize,
    /// By chunk stream: time, extended or not, length, type, and what has come.
    streams: BTreeMap<u8, (u32, bool, usize, u8, Vec<u8>)>,
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a short text");
    [&[2][..], &length.to_be_bytes(), value.as_bytes()].concat()
}

pub(crate) fn number(value: f64) -> Vec<u8> {
    [&[0][..], &value.to_be_bytes()].concat()
}

pub(crate) fn command(name: &str, transaction: f64, rest: &[u8]) -> Vec<u8> {
    [text(name), number(transaction), rest.to_vec()].concat()
}

/// A whole message in chunks of 128 bytes on chunk stream `id`.
pub(crate) fn message(id: u8, kind: u8, time: u32, body: &[u8]) -> Vec<u8> {
    let mut out = head(id, kind, time, body.len());
    let mut pieces = body.chunks(CHUNK);
    out.extend(pieces.next().unwrap_or_default());
    for piece in pieces {
        out.push(0xC0 | id);
        out.extend(piece);
    }
    out
}

/// The head of a message that may never be finished.
pub(crate) fn head(id: u8, kind: u8, time: u32, length: usize) -> Vec<u8> {
    let length = u32::try_from(length).expect("24 bits");
    let mut out = vec![id];
    out.extend(&time.to_be_bytes()[1..]);
    out.extend(&length.to_be_bytes()[1..]);
    out.push(kind);
    out.extend([1, 0, 0, 0]);
    out
}

/// C0, C1 and C2 at once; the server does not look into C2.
pub(crate) fn handshake() -> Vec<u8> {
    let mut out = vec![3];
    out.resize(1 + 2 * 1536, 0);
    out
}

impl Peer {
    /// After the handshake.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        let mut peer = Self { stream, buffer: Vec::new(), chunk: CHUNK, streams: BTreeMap::new() };
        peer.stream.write_all(&handshake())?;
        let mut answer = vec![0; 1 + 2 * 1536];
        peer.stream.read_exact(&mut answer)?;
        Ok(peer)
    }

    /// After the answer to `connect`.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, app: &str) -> Self {
        let mut peer = Self::connect(address).expect("a connection");
        let object = [&[3][..], &text("app")[1..], &text(app), &[0, 0, 9]].concat();
        peer.say(20, &command("connect", 1.0, &object));
        peer.expect("NetConnection.Connect.Success");
        peer
    }

    #[track_caller]
    pub(crate) fn publish(address: SocketAddr, app: &str, name: &str) -> Self {
        let mut peer = Self::open(address, app);
        peer.ask("publish", name);
        peer.expect("NetStream.Publish.Start");
        peer
    }

    #[track_caller]
    pub(crate) fn play(address: SocketAddr, app: &str, name: &str) -> Self {
        let mut peer = Self::open(address, app);
        peer.ask("play", name);
        peer.expect("NetStream.Play.Start");
        peer
    }

    /// Sends `publish` or `play`.
    #[track_caller]
    pub(crate) fn ask(&mut self, what: &str, name: &str) {
        self.say(20, &command(what, 5.0, &[vec![5], text(name), text("live")].concat()));
    }

    #[track_caller]
    pub(crate) fn say(&mut self, kind: u8, body: &[u8]) {
        self.raw(&message(3, kind, 0, body)).expect("sent");
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads on until a message says `what`.
    #[track_caller]
    pub(crate) fn expect(&mut self, what: &str) -> Message {
        loop {
            match self.read() {
                Ok(message) if message.says(what) => return message,
                Ok(_) => {}
                Err(error) => panic!("{what} never came: {error}"),
            }
        }
    }

    /// The next message.
    pub(crate) fn read(&mut self) -> io::Result<Message> {
        loop {
            let [first] = self.take()?;
            let (format, id) = (first >> 6, first & 0x3F);
            let mut stream = self.streams.remove(&id).unwrap_or_default();
            let mut time = stream.0;
            if format < 3 {
                let [a, b, c] = self.take()?;
                time = u32::from_be_bytes([0, a, b, c]);
                if format < 2 {
                    let [a, b, c, kind] = self.take()?;
                    (stream.2, stream.3) = (u32::from_be_bytes([0, a, b, c]) as usize, kind);
                }
                if format == 0 {
                    self.take::<4>()?;
                }
                stream.1 = time == 0xFF_FFFF;
            }
            if stream.1 {
                time = u32::from_be_bytes(self.take()?);
            }
            stream.0 = time;
            let length = (stream.2 - stream.4.len()).min(self.chunk);
            self.fill(length)?;
            stream.4.extend(self.buffer.drain(..length));
            let is_whole = stream.4.len() == stream.2;
            let body = if is_whole { std::mem::take(&mut stream.4) } else { Vec::new() };
            let kind = stream.3;
            self.streams.insert(id, stream);
            match (is_whole, kind) {
                (true, 1) => self.chunk = u32::from_be_bytes(body[..4].try_into().expect("four bytes")) as usize,
                (true, _) => return Ok(Message { kind, time, body }),
                (false, _) => {}
            }
        }
    }

    /// The end of the connection; whatever comes before it is thrown away.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self) {
        let mut scrap = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut scrap) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&error.kind()) => {
                    panic!("the connection does not end")
                }
                Err(_) => return,
            }
        }
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.fill(N)?;
        let bytes = self.buffer[..N].try_into().expect("filled");
        self.buffer.drain(..N);
        Ok(bytes)
    }

    fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.buffer.len() < length {
            let mut piece = [0; 16 * 1024];
            let count = self.stream.read(&mut piece)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend(&piece[..count]);
        }
        Ok(())
    }
}
