//! SRT as the server reads it, without sockets: datagrams of a few callers in a row.

mod access;
mod connection;
mod cookie;
mod filter;
mod handshake;
mod journal;
mod listener;
mod outbox;
mod stats;
mod stream_id;

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use crate::base::clock::Now;
use crate::config;
use crate::media::Repairs;
use crate::relay::{ChannelView, Relay};
use crate::session::Collector;
use journal::Entries;
use listener::Listener;
use outbox::Outbox;
use stats::Stats;

include!("srt_shared.rs");

const ENTROPY: [u8; 32] = [7; 32];

pub(crate) fn stream_id(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        stream_id::StreamId::parse(text);
    }
}

/// A byte, odd if there is a passphrase; then records of a head (flags, length of two bytes) and a datagram. Flags: 0x03 the caller, 0x04 its cookie is put in,
/// 0x08 the socket id of its connection is put in, 0xf0 time that passes before it, in steps of 20 ms.
pub(crate) fn datagrams(data: &[u8]) {
    let Some((first, mut data)) = data.split_first() else { return };
    let mut now = Now { mono: Instant::now(), wall: SystemTime::UNIX_EPOCH };
    let section = config::Srt {
        passphrase: if first % 2 == 1 { "correct-horse".to_owned() } else { String::new() },
        token: String::new(),
        log_enable: true,
        log_topics: vec!["connection".to_owned(), "packet".to_owned()],
    };
    let deps = listener::Deps {
        relay: Relay::new(1 << 30),
        sessions: Collector,
        repairs: Repairs::new(true),
        entropy: ENTROPY,
        ram: 1 << 30,
    };
    let mut listener = Listener::new(now.mono, &section, deps);
    let (mut callers, mut out) = ([Caller::default(); 4], Outbox::default());
    while let Some(([flags, high, low], rest)) = data.split_first_chunk() {
        let (datagram, rest) = rest.split_at(rest.len().min(u16::from_be_bytes([*high, *low]).into()));
        data = rest;
        let passed = Duration::from_millis(20 * u64::from(flags >> 4));
        now = Now { mono: now.mono + passed, wall: now.wall + passed };
        let caller = &mut callers[usize::from(flags & 3)];
        let from = SocketAddr::from(([192, 0, 2, 1], 1000 + u16::from(flags & 3)));
        let mut datagram = datagram.to_vec();
        caller.fill_in(*flags, &mut datagram);
        listener.handle_datagram(now, from, &datagram, &mut out);
        while listener.poll_output(now, &mut out) {
            out.clear();
        }
        for train in out.trains() {
            let index = usize::from(train.to.port()) % 4;
            train.bytes.chunks(train.segment).for_each(|answer| callers[index].learn(answer));
        }
        out.clear();
    }
}

/// What a caller has been told.
#[derive(Clone, Copy, Default)]
struct Caller {
    cookie: u32,
    socket: u32,
}

impl Caller {
    fn fill_in(self, flags: u8, datagram: &mut [u8]) {
        let mut put = |word: usize, value: u32| {
            if let Some(place) = datagram.get_mut(4 * word..4 * word + 4) {
                place.copy_from_slice(&value.to_be_bytes());
            }
        };
        if flags & 4 != 0 {
            put(11, self.cookie);
        }
        if flags & 8 != 0 {
            put(3, self.socket);
        }
    }

    /// Handshakes carry a cookie, or the id of the new connection.
    fn learn(&mut self, answer: &[u8]) {
        let word = |index| filter::word(answer, index).unwrap_or(0);
        if word(0) != 0x8000_0000 {
            return;
        }
        match word(9) {
            1 => self.cookie = word(11),
            u32::MAX => self.socket = word(10),
            _ => {}
        }
    }
}
