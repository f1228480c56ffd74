//! One caller that was let in: srt-protocol's connection, fed only with what passed the filter, and what it lacks.
//!
//! packet → `handle_packet` → the crate · `service` on every tick: data that is due goes to the channel, or the next
//! items of the channel go in; timers; packets go out. Pure; time is an argument. Data flows one way: a publisher gets
//! none and a subscriber's is ignored. What goes wrong ends this connection: `end` says why, and the listener removes it.
//!
//! A subscriber's send buffer never fills: items are only taken from the channel while it is half empty, so that a slow
//! reader falls behind in the channel, where it is moved to the next start point.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use srt_protocol::connection::{Connection as Accepted, ConnectionSettings, DuplexConnection};
use srt_protocol::options::{LiveBandwidthMode, PacketCount, PacketSize};
use srt_protocol::packet::{ControlPacket, ControlTypes, Packet, SeqNumber, SocketId, TimeStamp};
use srt_protocol::protocol::handshake::Handshake;
use srt_protocol::settings::CipherSettings;

use super::filter::{HEADER, Head, Kind, PAYLOAD};
use super::handshake::{Conclusion, FLOW_WINDOW};
use super::journal::{self, Journal, Topics};
use super::outbox::Outbox;
use super::stats::{Books, Count, Level, Stats};
use crate::base::clock::Now;
use crate::media::{Repair, ts};
use crate::relay::{self, Item, Next, Role, Track};

/// Silence after which a peer is gone; noticed at the next tick, at most half a second later (decisions.md).
pub const PEER_IDLE: Duration = Duration::from_secs(2);
/// Delay of both directions unless the caller wants more.
pub const DELAY: Duration = Duration::from_millis(120);
/// More is not granted: what is held back lies in memory.
pub(super) const DELAY_CEILING: Duration = Duration::from_secs(8);
/// Packets that wait for their time or for missing ones; further ones are dropped and counted.
pub(super) const RECEIVE_PACKETS: u64 = 8192;
/// Packets that are kept until they are acknowledged or too late.
pub(super) const SEND_PACKETS: u64 = 8192;
/// No further items are taken from the channel while this many packets are kept.
const SEND_AHEAD: u64 = SEND_PACKETS / 2;
/// Items that one tick takes from the channel: a late joiner gets its group of pictures over some ticks.
const ITEMS_PER_TICK: usize = 64;
/// A subscriber that acknowledges nothing for this long, although it was sent something, is ended.
pub(super) const STALLED: Duration = Duration::from_secs(5);
/// Packets that were dropped as too late; the crate keeps some bytes of each for ever, so the connection is ended.
pub(super) const TOO_LATE: u64 = 65_536;
/// Key messages of one second; each costs a millisecond, further ones are ignored.
const KEYS_PER_SECOND: u32 = 4;
/// Drop requests of one tick; a report of many separate losses would make as many.
const DROP_REQUESTS: u32 = 8;
/// A connection whose last data is older needs few ticks.
const QUIET: Duration = Duration::from_secs(1);
/// Half of what a timestamp of 32 bits can say.
const FUTURE: Duration = Duration::from_micros(1 << 31);
/// The crate's own idea of idle peers, which comes too late.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum End {
    #[error("the peer has left")]
    Left,
    #[error("nothing was heard of the peer")]
    Idle,
    #[error("the peer acknowledges nothing")]
    Stalled,
    #[error("too much was too late for the peer")]
    TooLate,
    #[error("the publisher has left")]
    Over,
    #[error("a new connection from the same address publishes")]
    Replaced,
    #[error("a packet could not be handled")]
    Panicked,
    #[error("the server closes")]
    Closed,
}

/// What the peer does here.
pub(super) enum Side {
    Publisher(Box<Feed>),
    Subscriber(Reader),
}

/// What a publisher brings on its way into the channel.
pub(super) struct Feed {
    channel: relay::Publisher,
    stream: ts::Stream,
    runs: Vec<ts::Run>,
}

/// What a subscriber has got.
pub(super) struct Reader {
    channel: relay::Subscriber,
    /// Stamp of the last packet: it does not go back, and the first ones do not lie before the connection.
    clock: Instant,
    has_begun: bool,
    /// The publisher has left; the end comes when the peer has had time to get the rest.
    over: Option<Instant>,
    /// The last acknowledgement that named a new packet, or when there was nothing to acknowledge.
    acknowledged: Instant,
    last_ack: u32,
    too_late: u64,
}

/// One connection.
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    /// The peer's socket.
    pub(super) remote: u32,
    pub(super) resource: Rc<str>,
    pub(super) side: Side,
    pub(super) journal: Journal,
    pub(super) end: Option<End>,
    /// It waits to be served.
    pub(super) is_queued: bool,
    /// Our answer, until the peer has shown that it has it.
    pub(super) acceptance: Option<Vec<u8>>,
    core: DuplexConnection,
    books: Books,
    pub(super) topics: Topics,
    since: Instant,
    /// When the peer's clock, and ours for it, was zero.
    epoch: Instant,
    heard: Instant,
    /// When data came or went.
    moved: Instant,
    delays: (Duration, Duration),
    keys: (Instant, u32),
    /// Bytes received and sent that the session knows of.
    counted: (u64, u64),
}

/// What a connection is made from.
pub(super) struct New<'a> {
    pub(super) peer: SocketAddr,
    pub(super) id: u32,
    pub(super) conclusion: &'a Conclusion,
    pub(super) cipher: Option<CipherSettings>,
    pub(super) resource: Rc<str>,
    pub(super) side: Side,
    pub(super) topics: Topics,
}

/// How long packets are held on the way to us and to the peer.
pub(super) fn delays(conclusion: &Conclusion) -> (Duration, Duration) {
    let grant = |wish: u16| Duration::from_millis(wish.into()).clamp(DELAY, DELAY_CEILING);
    (grant(conclusion.sender_delay), grant(conclusion.receiver_delay))
}

impl Side {
    pub(super) fn publisher(channel: relay::Publisher, repair: Option<Repair>) -> Self {
        let stream = ts::Stream::new(ts::Use::Channel, repair);
        Self::Publisher(Box::new(Feed { channel, stream, runs: Vec::new() }))
    }

    pub(super) fn subscriber(now: Instant, channel: relay::Subscriber) -> Self {
        Self::Subscriber(Reader {
            channel,
            clock: now,
            has_begun: false,
            over: None,
            acknowledged: now,
            last_ack: 0,
            too_late: 0,
        })
    }

    pub(super) fn is_publisher(&self) -> bool {
        matches!(self, Self::Publisher(_))
    }
}

impl Connection {
    pub(super) fn new(now: Instant, new: New<'_>) -> Self {
        let delays = delays(new.conclusion);
        let settings = settings(now, &new, delays);
        Self {
            epoch: settings.socket_start_time,
            peer: new.peer,
            remote: new.conclusion.socket,
            resource: new.resource,
            side: new.side,
            journal: Journal::default(),
            end: None,
            is_queued: false,
            acceptance: None,
            core: DuplexConnection::new(Accepted { settings, handshake: Handshake::Connector }),
            books: Books::new(new.peer),
            topics: new.topics,
            since: now,
            heard: now,
            moved: now,
            delays,
            keys: (now, 0),
            counted: (0, 0),
        }
    }

    /// Takes a packet that has passed the filter and is no handshake.
    pub(super) fn handle_packet(&mut self, now: Now, head: &Head, datagram: &[u8]) {
        self.heard = now.mono;
        self.acceptance = None;
        self.note_packet(now, true, datagram);
        if !self.concerns(now.mono, head, datagram.len()) {
            return;
        }
        let mut bytes = Bytes::copy_from_slice(datagram);
        let Ok(packet) = Packet::parse(&mut bytes, self.peer.is_ipv6()) else { return };
        if let Packet::Control(ControlPacket { control_type: ControlTypes::Ack(ack), .. }) = &packet {
            self.books.acknowledged(ack);
        }
        self.core.handle_packet_input(now.mono, Ok((packet, self.peer)));
    }

    /// Does what the time demands: a whole tick. Packets go to `out`.
    pub(super) fn tick(&mut self, now: Now, out: &mut Outbox) {
        if let Side::Subscriber(reader) = &mut self.side {
            let buffered = buffered(&mut self.core, now.mono);
            if reader.fill(now.mono, &mut self.core, buffered, self.delays.1) {
                self.moved = now.mono;
            }
        }
        let before = buffered(&mut self.core, now.mono);
        self.core.check_timers(now.mono);
        let after = buffered(&mut self.core, now.mono);
        match &mut self.side {
            Side::Subscriber(reader) => reader.too_late += before.saturating_sub(after),
            Side::Publisher(feed) => feed.release(now.mono, &mut self.core, self.delays.0),
        }
        self.flush(now, out);
        self.judge(now.mono);
    }

    /// Hands out the packets that are ready.
    pub(super) fn flush(&mut self, now: Now, out: &mut Outbox) {
        let mut drop_requests = 0;
        while let Some((mut packet, to)) = self.core.next_packet(now.mono) {
            match &mut packet {
                Packet::Data(data) => self.books.sent(now.mono, data.payload.len(), data.retransmitted),
                Packet::Control(control) => match &mut control.control_type {
                    ControlTypes::Ack(ack) => self.books.acknowledge(ack),
                    ControlTypes::Nak(_) => self.books.totals.sent_naks += 1,
                    ControlTypes::Srt(_) => self.books.totals.sent_keys += 1,
                    ControlTypes::DropRequest { .. } if drop_requests >= DROP_REQUESTS => continue,
                    ControlTypes::DropRequest { .. } => drop_requests += 1,
                    _ => {}
                },
            }
            let sent = out.add(to, |bytes| packet.serialize(bytes));
            if !self.topics.is_empty() {
                let sent = sent.to_vec();
                self.note_packet(now, false, &sent);
            }
        }
    }

    /// Tells the peer that it is over.
    pub(super) fn say_goodbye(&mut self, now: Now, out: &mut Outbox) {
        let timestamp =
            u32::try_from(now.mono.saturating_duration_since(self.epoch).as_micros() & u128::from(u32::MAX))
                .unwrap_or(0);
        let goodbye = ControlPacket {
            timestamp: TimeStamp::from_micros(timestamp),
            dest_sockid: SocketId(self.remote),
            control_type: ControlTypes::Shutdown,
        };
        let sent = out.add(self.peer, |bytes| goodbye.serialize(bytes)).to_vec();
        self.note_packet(now, false, &sent);
    }

    /// Writes lines about this connection, if the topic is on.
    pub(super) fn note(&mut self, now: Now, topic: &'static str, lines: impl FnOnce() -> Vec<String>) {
        if self.topics.has(topic) {
            self.journal.add(super::millis(now), topic, lines());
        }
    }

    /// Whether data moved lately, or still has to.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        let waits = matches!(&self.side, Side::Subscriber(reader) if reader.over.is_some());
        waits || now.saturating_duration_since(self.moved) < QUIET
    }

    /// Bytes received and sent since the last call, with headers.
    pub(super) fn uncounted(&mut self) -> (u64, u64) {
        let (received, sent) = self.books.bytes();
        let former = std::mem::replace(&mut self.counted, (received, sent));
        (received - former.0, sent - former.1)
    }

    pub(super) fn stats(&mut self, now: Instant) -> Stats {
        self.core.update_statistics(now);
        let core = self.core.statistics();
        let too_late = match &self.side {
            Side::Subscriber(reader) => reader.too_late,
            Side::Publisher(_) => 0,
        };
        self.books.dropped(too_late + core.tx_dropped_data, core.rx_dropped_data, core.rx_decrypt_errors);
        let buffer = Count { packets: core.tx_buffered_data, bytes: core.tx_buffered_bytes };
        let waiting = self.books.receive_free.map_or(0, |free| RECEIVE_PACKETS.saturating_sub(free.into()));
        let bytes = |packets: u64| packets * u64::from(super::handshake::MSS);
        let level = Level {
            flow_window: FLOW_WINDOW.into(),
            flight: buffer.packets,
            send_buffer: buffer,
            send_buffer_time: core.tx_buffered_time,
            send_buffer_free: bytes(SEND_PACKETS).saturating_sub(buffer.bytes),
            receive_buffer: Count { packets: waiting, bytes: bytes(waiting) },
            receive_buffer_time: core.rx_acknowledged_time,
            receive_buffer_free: bytes(RECEIVE_PACKETS - waiting),
            send_delay: self.delays.1,
            receive_delay: self.delays.0,
            ..self.books.level()
        };
        let mss = self.core.settings().max_packet_size.0 + 44;
        Stats { age: now.saturating_duration_since(self.since), mss, totals: self.books.totals, level }
    }

    /// Counts a packet and says whether the crate needs to see it.
    fn concerns(&mut self, now: Instant, head: &Head, length: usize) -> bool {
        let totals = &mut self.books.totals;
        match (head.kind, &mut self.side) {
            (Kind::KeepAlive, _) => true,
            (Kind::Data, Side::Publisher(_)) => {
                self.moved = now;
                let arrived = now.saturating_duration_since(self.epoch).as_micros();
                let age = u32::try_from(arrived & u128::from(u32::MAX)).unwrap_or(0).wrapping_sub(head.timestamp);
                // Half the numbers are ages, the other half would be packets from the future.
                let age = Duration::from_micros(age.into());
                if age < FUTURE && age > self.delays.0 {
                    self.books.belated(age - self.delays.0);
                }
                self.books.received(head, length.saturating_sub(HEADER));
                true
            }
            // The rest of its stream is still to be handed out.
            (Kind::Shutdown, Side::Publisher(_)) | (Kind::Ack2 | Kind::DropRequest, Side::Publisher(_)) => true,
            (Kind::Shutdown, Side::Subscriber(_)) => {
                self.end = Some(End::Left);
                false
            }
            (Kind::Ack, Side::Subscriber(reader)) => {
                totals.received_acks += 1;
                reader.hear(now, head);
                true
            }
            (Kind::Nak(count), Side::Subscriber(_)) => {
                totals.received_naks += 1;
                totals.send_loss += u64::from(count);
                true
            }
            (Kind::KeyRequest, Side::Publisher(_)) | (Kind::KeyResponse, Side::Subscriber(_)) => {
                totals.received_keys += 1;
                if now.saturating_duration_since(self.keys.0) >= Duration::from_secs(1) {
                    self.keys = (now, 0);
                }
                self.keys.1 += 1;
                self.keys.1 <= KEYS_PER_SECOND
            }
            _ => false,
        }
    }

    /// Whether it is over.
    fn judge(&mut self, now: Instant) {
        let silence = now.saturating_duration_since(self.heard);
        let reason = match &self.side {
            _ if silence >= PEER_IDLE => Some(End::Idle),
            Side::Publisher(_) if !self.core.is_open() => Some(End::Left),
            Side::Publisher(_) => None,
            Side::Subscriber(reader) if reader.over.is_some_and(|at| now >= at) => Some(End::Over),
            Side::Subscriber(reader) if reader.too_late > TOO_LATE => Some(End::TooLate),
            Side::Subscriber(reader) if now.saturating_duration_since(reader.acknowledged) >= STALLED => {
                Some(End::Stalled)
            }
            Side::Subscriber(_) => None,
        };
        self.end = self.end.or(reason);
    }

    fn note_packet(&mut self, now: Now, is_received: bool, packet: &[u8]) {
        if self.topics.is_empty() {
            return;
        }
        for topic in super::topics_of(is_received, packet) {
            self.note(now, topic, || journal::dump(packet));
        }
    }
}

impl Feed {
    /// Hands the data whose time has come to the channel.
    fn release(&mut self, now: Instant, core: &mut DuplexConnection, delay: Duration) {
        let mut dropped = core.statistics().rx_dropped_data;
        loop {
            if let Some((sent_at, bytes)) = core.next_data(now) {
                self.stream.push(bytes, &mut self.runs);
                self.publish((sent_at + delay).min(now));
                continue;
            }
            // Nothing: or packets were given up and the next ones may be due.
            let now_dropped = core.statistics().rx_dropped_data;
            if now_dropped == dropped {
                return;
            }
            dropped = now_dropped;
        }
    }

    fn publish(&mut self, at: Instant) {
        let item = |track, role, bytes| Item { track, role, stamp: 0, at, bytes };
        for run in self.runs.drain(..) {
            let role = if run.joint.is_some() { Role::Key } else { Role::Delta };
            if let Some(tables) = run.joint {
                // Not of any track: other counters in them do not make older start points useless.
                self.channel.push(item(Track::Data, Role::Header(0), tables));
            }
            self.channel.push(item(Track::Mixed, role, run.bytes));
        }
    }
}

impl Reader {
    /// Puts the next items of the channel into the send buffer; whether there were some.
    fn fill(&mut self, now: Instant, core: &mut DuplexConnection, buffered: u64, delay: Duration) -> bool {
        let room = usize::try_from(SEND_AHEAD.saturating_sub(buffered)).unwrap_or(0).min(ITEMS_PER_TICK);
        let mut count = 0;
        while count < room {
            let item = match self.channel.take() {
                Next::Item(item) => item,
                Next::Empty => break,
                Next::Ended => {
                    // Until then it may ask again for what it has missed.
                    self.over.get_or_insert(now + delay + DELAY);
                    break;
                }
            };
            // Headers are for those who begin; in the middle they would be packets that nobody sent.
            if matches!(item.role, Role::Header(_)) && self.has_begun {
                continue;
            }
            self.has_begun |= !matches!(item.role, Role::Header(_));
            self.clock = self.clock.max(item.at.min(now));
            let mut rest = item.bytes;
            while !rest.is_empty() {
                // Only tables can be longer than what fits into a packet.
                let length = if rest.len() > PAYLOAD { ts::RUN_BYTES } else { rest.len() };
                core.handle_data_input(now, Some((self.clock, rest.split_to(length))));
                count += 1;
            }
        }
        if count == 0 && buffered == 0 {
            self.acknowledged = now;
        }
        count > 0
    }

    /// An acknowledgement has come.
    fn hear(&mut self, now: Instant, head: &Head) {
        // The number of a full one grows; a light one has none and comes only with progress.
        if head.second == 0 || head.second != self.last_ack {
            self.last_ack = head.second;
            self.acknowledged = now;
        }
    }
}

fn buffered(core: &mut DuplexConnection, now: Instant) -> u64 {
    core.update_statistics(now);
    core.statistics().tx_buffered_data
}

/// The crate makes these in its own handshake, which is not used. Its clock is the caller's: zero is when the caller's
/// socket was made.
fn settings(now: Instant, new: &New<'_>, delays: (Duration, Duration)) -> ConnectionSettings {
    let conclusion = new.conclusion;
    let age = Duration::from_micros(conclusion.timestamp.into()).min(Duration::from_secs(10));
    let is_publisher = new.side.is_publisher();
    ConnectionSettings {
        remote: new.peer,
        remote_sockid: SocketId(conclusion.socket),
        local_sockid: SocketId(new.id),
        socket_start_time: now.checked_sub(age).unwrap_or(now),
        rtt: Duration::ZERO,
        init_seq_num: SeqNumber::new_truncate(conclusion.sequence),
        max_packet_size: PacketSize(u64::from(conclusion.mss) - 44),
        max_flow_size: PacketCount(FLOW_WINDOW.into()),
        // Memory is reserved by these. A publisher's send delay is how long its last data may take to be handed out.
        send_tsbpd_latency: if is_publisher { delays.0 } else { delays.1 },
        recv_tsbpd_latency: if is_publisher { delays.0 } else { DELAY },
        too_late_packet_drop: true,
        peer_idle_timeout: NEVER,
        recv_buffer_size: PacketCount(if is_publisher { RECEIVE_PACKETS } else { 1 }),
        send_buffer_size: PacketCount(SEND_PACKETS),
        cipher: new.cipher.clone(),
        stream_id: None,
        bandwidth: LiveBandwidthMode::Unlimited,
        statistics_interval: NEVER,
    }
}
