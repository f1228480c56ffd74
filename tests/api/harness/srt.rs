//! SRT by hand: callers that say exactly what a test wants, to the byte.
//!
//! `Caller` shakes hands, sends and receives datagrams on a socket of its own; nothing is repeated, reordered or encrypted.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for an answer, and how often a handshake is repeated meanwhile, as libsrt does.
const PATIENCE: Duration = Duration::from_secs(5);
/// See `PATIENCE`.
const REPEAT: Duration = Duration::from_millis(250);
/// Ports come again soon, and a refused socket is remembered for some seconds.
static NEXT_SOCKET: AtomicU32 = AtomicU32::new(77);
const VERSION: u32 = 0x0001_0501;
const FLAGS: u32 = 0xBF;
/// Two seconds each way: time to ask again even on a busy machine.
const DELAYS: u32 = 2000 << 16 | 2000;

/// Number of the first packet.
const FIRST: u32 = 1000;

/// Words as they stand on the wire.
pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

pub(crate) fn word(bytes: &[u8], index: usize) -> u32 {
    bytes.get(index * 4..index * 4 + 4).map_or(0, |word| u32::from_be_bytes(word.try_into().expect("four bytes")))
}

/// An extension of a handshake; `content` is filled up with zeros.
pub(crate) fn extension(kind: u32, content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    content.resize(content.len().next_multiple_of(4), 0);
    let head = kind << 16 | u32::try_from(content.len() / 4).expect("it fits a datagram");
    [&head.to_be_bytes()[..], &content].concat()
}

/// What a caller of libsrt 1.5.1 offers.
pub(crate) fn offer() -> Vec<u8> {
    extension(1, &words(&[VERSION, FLAGS, DELAYS]))
}

pub(crate) fn stream_id(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let little: Vec<u8> = bytes.chunks(4).flat_map(|word| word.iter().rev().copied()).collect();
    extension(5, &little)
}

/// A key message of the right form with a key that nobody knows.
pub(crate) fn key_message(length: u32) -> Vec<u8> {
    let mut message = words(&[0x1220_2901, 0, 0x0200_0200, 0x0400 | (length / 4)]);
    message.resize(32 + length as usize + 8, 7);
    message
}

pub(crate) struct Caller {
    socket: UdpSocket,
    /// Its socket id.
    own: u32,
    /// The server's socket for it.
    pub(crate) id: u32,
    begun: Instant,
    pub(crate) next: u32,
    /// What was published, to be sent again when the server asks for it.
    sent: Vec<Vec<u8>>,
}

impl Caller {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.connect(server).expect("an address");
        socket.set_read_timeout(Some(REPEAT)).expect("a time");
        Self {
            socket,
            own: NEXT_SOCKET.fetch_add(1, Ordering::Relaxed),
            id: 0,
            begun: Instant::now(),
            next: FIRST,
            sent: Vec::new(),
        }
    }

    /// A caller that has been let in.
    #[track_caller]
    pub(crate) fn admitted(server: SocketAddr, name: &str) -> Self {
        let mut caller = Self::new(server);
        caller.call(&[offer(), stream_id(name)].concat()).unwrap_or_else(|code| panic!("{name}: refused with {code}"));
        caller
    }

    pub(crate) fn send(&self, datagram: &[u8]) {
        // Refused while nobody listens there.
        let _ = self.socket.send(datagram);
    }

    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 2048];
        self.socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())
    }

    /// Every datagram that has come, without waiting.
    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        self.socket.set_nonblocking(true).expect("a socket");
        let found = std::iter::from_fn(|| self.receive()).collect();
        self.socket.set_nonblocking(false).expect("a socket");
        found
    }

    /// The cookie that an induction gets.
    #[track_caller]
    pub(crate) fn cookie(&self) -> u32 {
        let answer = self.exchange(&self.handshake(4, 2, 1, 0, &[]), |answer| word(answer, 9) == 1);
        word(&answer.expect("an answer to the induction"), 11)
    }

    /// Repeats a handshake until the answer that is wanted has come.
    fn exchange(&self, datagram: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            self.send(datagram);
            while let Some(answer) = self.receive() {
                if word(&answer, 0) == 0x8000_0000 && is_wanted(&answer) {
                    return Some(answer);
                }
            }
        }
        None
    }

    /// Shakes hands with these extensions: the server's socket, or the code of its refusal; 0: no answer.
    pub(crate) fn call(&mut self, extensions: &[u8]) -> Result<u32, u32> {
        let answer = self.exchange(&self.conclusion(extensions), |answer| word(answer, 9) != 1).ok_or(0u32)?;
        match word(&answer, 9) {
            u32::MAX => {
                self.id = word(&answer, 10);
                Ok(self.id)
            }
            code => Err(code),
        }
    }

    /// A conclusion with the right cookie.
    #[track_caller]
    pub(crate) fn conclusion(&self, extensions: &[u8]) -> Vec<u8> {
        self.handshake(5, 5, u32::MAX, self.cookie(), extensions)
    }

    fn handshake(&self, version: u32, flags: u32, kind: u32, cookie: u32, extensions: &[u8]) -> Vec<u8> {
        let head = [0x8000_0000, 0, self.age(), 0];
        let body = [version, flags, self.next, 1500, 8192, kind, self.own, cookie, 0x0100_007F, 0, 0, 0];
        [words(&head), words(&body), extensions.to_vec()].concat()
    }

    /// A control packet of this connection: first two words, and what follows the header.
    pub(crate) fn control(&self, first: u32, second: u32, body: &[u32]) {
        self.send(&[words(&[first, second, self.age(), self.id]), words(body)].concat());
    }

    pub(crate) fn keep_alive(&self) {
        self.control(0x8001_0000, 0, &[0]);
    }

    /// Sends the next data packet.
    pub(crate) fn publish(&mut self, payload: &[u8]) {
        let message = 0xC000_0000 | self.next & 0x03FF_FFFF;
        let datagram = [&words(&[self.next, message, self.age(), self.id])[..], payload].concat();
        self.send(&datagram);
        self.sent.push(datagram);
        self.next += 1;
    }

    /// Answers a report of lost packets.
    pub(crate) fn publish_again(&self, report: &[u8]) {
        let mut index = 4;
        while index * 4 < report.len() {
            let start = word(report, index);
            let mut end = start;
            if start >> 31 == 1 {
                index += 1;
                end = word(report, index);
            }
            index += 1;
            for number in start & 0x7FFF_FFFF..=end {
                let Some(datagram) = number.checked_sub(FIRST).and_then(|at| self.sent.get(at as usize)) else {
                    continue;
                };
                let mut datagram = datagram.clone();
                datagram[4] |= 4;
                self.send(&datagram);
            }
        }
    }

    /// Nothing comes after the last packet, so nobody misses it.
    pub(crate) fn publish_last_again(&self) {
        let last = self.next - 1;
        self.publish_again(&words(&[0x8003_0000, 0, 0, 0, last]));
    }

    /// Reports packets as lost.
    pub(crate) fn ask_again(&self, from: u32, to: u32) {
        let list = if from == to { vec![from] } else { vec![1 << 31 | from, to] };
        self.control(0x8003_0000, 0, &list);
    }

    /// Acknowledges everything before `number`.
    pub(crate) fn acknowledge(&self, number: u32) {
        self.control(0x8002_0000, 0, &[number]);
    }

    fn age(&self) -> u32 {
        u32::try_from(self.begun.elapsed().as_micros() & u128::from(u32::MAX)).expect("masked")
    }
}
