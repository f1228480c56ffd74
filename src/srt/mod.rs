//! SRT: live streams published and requested over UDP (`contract/rtmp-srt.md` B).
//!
//! datagrams → `server` → `listener` → `filter` → handshake: `cookie`, `stream_id`, `access` → `connection` on
//! srt-protocol's core → the relay's channel → the connections of its subscribers → `outbox` → `server`. `stats` and
//! `journal` keep what `/api/v3/srt` shows.
//!
//! Everything but `server` is pure. srt-protocol gives reordering, retransmission, timing and encryption. Hostile bytes
//! make it panic or count for seconds, so that it sees no datagram that `filter` has not passed, no handshake at all, and
//! packets only as `connection` has made them. Live mode only: no file transfers, no bonding, no packet filters, no
//! rendezvous, no callers before 1.4.1.

mod access;
mod connection;
mod cookie;
mod filter;
mod handshake;
mod journal;
mod listener;
mod outbox;
mod server;
mod stats;
mod stream_id;

pub use connection::{DELAY, PEER_IDLE};
pub use journal::{Entries, Entry};
pub use listener::CONNECTIONS;
pub use server::{Deps, Error, Handle, Prepared, SOCKET_BUFFER, spawn};
pub use stats::{Count, Level, Stats, Totals};

use crate::base::clock::Now;
use crate::relay::ChannelView;

/// Log component.
const COMPONENT: &str = "SRT";

/// What is to be shown.
#[derive(Clone, Debug)]
pub struct View {
    pub channels: Vec<ChannelView>,
    /// By socket id.
    pub connections: Vec<(u32, Stats, Entries)>,
    /// What belongs to no connection.
    pub log: Entries,
}

/// Since the server began, but for `connections`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub connections: u64,
    pub datagrams: u64,
    /// Datagrams that must not be parsed.
    pub filtered: u64,
    /// Datagrams for no connection, handshakes without our cookie.
    pub strays: u64,
    /// Callers that were turned away.
    pub refused: u64,
    /// Connections that ended by a panic.
    pub panicked: u64,
    /// Runs of datagrams that the system did not take.
    pub unsent: u64,
}

/// Unix milliseconds.
fn millis(now: Now) -> i64 {
    let since = now.wall.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The topics under which a packet that comes (`recv`) or goes (`send`) is logged.
fn topics_of(is_received: bool, packet: &[u8]) -> [&'static str; 2] {
    let first = filter::word(packet, 0).unwrap_or(0);
    let names = match first >> 16 {
        0..=0x7FFF => ["data:recv:dump", "data:send:dump"],
        0x8001 => ["control:recv:keepalive:dump", "control:send:keepalive:dump"],
        0x8002 => ["control:recv:ACK:dump", "control:send:ACK:dump"],
        0x8003 => ["control:recv:NAK:dump", "control:send:NAK:dump"],
        0x8005 => ["control:recv:shutdown:dump", "control:send:shutdown:dump"],
        0x8006 => ["control:recv:ACKACK:dump", "control:send:ACKACK:dump"],
        0xFFFF => ["control:recv:KM:dump", "control:send:KM:dump"],
        _ => ["control:recv:dump", "control:send:dump"],
    };
    if is_received { ["packet:recv:dump", names[0]] } else { ["packet:send:dump", names[1]] }
}
