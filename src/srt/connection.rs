//! One caller that was let in: srt-protocol's connection, fed only with what passed the filter, and what it lacks.
//!
//! packet → `handle_packet` → the crate · `service` on every tick: data that is due goes to the channel, or the next
//! items of the channel go in; timers; packets go out. Pure; time is an argument. Data flows one way: a publisher gets
//! none and a subscriber's is ignored. What goes wrong ends this connection: `end` says why, and the listener removes it.
//!
//! A subscriber's send buffer never fills: items are only taken from the channel while it is half empty, so that a slow
//! reader falls behind in the channel, where it is moved to the next start point.

mod feed;
mod reader;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use feed::Feed;
use reader::Reader;
use srt_protocol::connection::{Connection as Accepted, ConnectionSettings, DuplexConnection};
use srt_protocol::options::{LiveBandwidthMode, PacketCount, PacketSize};
use srt_protocol::packet::{
    AckStatistics, Acknowledgement, CompressedLossList, ControlPacket, ControlTypes, DataPacket, FullAckSeqNumber,
    KeyingMaterialMessage, MsgNumber, Packet, SeqNumber, SocketId, SrtControlPacket, TimeSpan, TimeStamp,
};
use srt_protocol::protocol::handshake::Handshake;
use srt_protocol::protocol::time::Rtt;
use srt_protocol::settings::CipherSettings;

use super::filter::{self, HEADER, Head, Kind, word};
use super::handshake::{Conclusion, FLOW_WINDOW};
use super::journal::{self, Journal, Topics};
use super::outbox::Outbox;
use super::stats::{Books, Count, Level, Stats};
use crate::base::clock::Now;
use crate::media::Repair;
use crate::relay;

/// Silence after which a peer is gone; noticed at the next tick, at most half a second later (decisions.md).
pub const PEER_IDLE: Duration = Duration::from_secs(2);
/// Delay of both directions unless the caller wants more.
pub const DELAY: Duration = Duration::from_millis(120);
/// More is not granted: what is held back lies in memory.
pub(super) const DELAY_CEILING: Duration = Duration::from_secs(8);
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
    /// What each of its buffers may hold.
    packets: u64,
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
    /// What its buffers may hold.
    pub(super) packets: u64,
}

/// How long packets are held on the way to us and to the peer.
pub(super) fn delays(conclusion: &Conclusion) -> (Duration, Duration) {
    let grant = |wish: u16| Duration::from_millis(wish.into()).clamp(DELAY, DELAY_CEILING);
    (grant(conclusion.sender_delay), grant(conclusion.receiver_delay))
}

impl Side {
    pub(super) fn publisher(
        now: Instant,
        conclusion: &Conclusion,
        channel: relay::Publisher,
        repair: Option<Repair>,
    ) -> Self {
        Self::Publisher(Box::new(Feed::new(now, conclusion.sequence, channel, repair)))
    }

    /// `packets`: what the buffer of the connection may hold.
    pub(super) fn subscriber(now: Instant, packets: u64, channel: relay::Subscriber) -> Self {
        Self::Subscriber(Reader::new(now, packets / 2, channel))
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
            packets: new.packets,
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
        let Some(mut packet) = packet(head, datagram) else { return };
        if let (Side::Subscriber(reader), Packet::Control(control)) = (&mut self.side, &mut packet)
            && !reader.temper(now.mono, &mut self.books, self.delays.1, &mut control.control_type)
        {
            return;
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
                Packet::Data(data) => {
                    self.books.sent(now.mono, data.payload.len(), data.retransmitted);
                    if let (true, Side::Subscriber(reader)) = (data.retransmitted, &mut self.side) {
                        reader.sent_again(now.mono, data.seq_number.as_raw());
                    }
                }
                Packet::Control(control) => match &mut control.control_type {
                    ControlTypes::Ack(ack) => self.books.acknowledge(ack),
                    // `Feed` asks instead.
                    ControlTypes::Nak(_) => continue,
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
        let (rtt, delay) = (self.books.rtt(), self.delays.0);
        let reports = match &mut self.side {
            Side::Publisher(feed) => feed.ask(now.mono, rtt, delay),
            Side::Subscriber(_) => Vec::new(),
        };
        for report in reports {
            self.books.totals.sent_naks += 1;
            self.say(now, ControlTypes::Nak(report), out);
        }
    }

    /// Tells the peer that it is over.
    pub(super) fn say_goodbye(&mut self, now: Now, out: &mut Outbox) {
        self.say(now, ControlTypes::Shutdown, out);
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
        let waiting = self.books.receive_free.map_or(0, |free| self.packets.saturating_sub(free.into()));
        let bytes = |packets: u64| packets * u64::from(super::handshake::MSS);
        let level = Level {
            flow_window: FLOW_WINDOW.into(),
            flight: buffer.packets,
            send_buffer: buffer,
            send_buffer_time: core.tx_buffered_time,
            send_buffer_free: bytes(self.packets).saturating_sub(buffer.bytes),
            receive_buffer: Count { packets: waiting, bytes: bytes(waiting) },
            receive_buffer_time: core.rx_acknowledged_time,
            receive_buffer_free: bytes(self.packets - waiting),
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
            (Kind::Data, Side::Publisher(feed)) => {
                self.moved = now;
                let arrived = now.saturating_duration_since(self.epoch).as_micros();
                let age = u32::try_from(arrived & u128::from(u32::MAX)).unwrap_or(0).wrapping_sub(head.timestamp);
                // Half the numbers are ages, the other half would be packets from the future.
                let age = Duration::from_micros(age.into());
                if age < FUTURE && age > self.delays.0 {
                    self.books.belated(age - self.delays.0);
                }
                let missing = feed.note(now, head.first);
                self.books.received(head, length.saturating_sub(HEADER), missing);
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

    /// Sends what the crate does not.
    fn say(&mut self, now: Now, control_type: ControlTypes, out: &mut Outbox) {
        let age = now.mono.saturating_duration_since(self.epoch).as_micros();
        let timestamp = TimeStamp::from_micros(u32::try_from(age & u128::from(u32::MAX)).unwrap_or(0));
        let packet = ControlPacket { timestamp, dest_sockid: SocketId(self.remote), control_type };
        let sent = out.add(self.peer, |bytes| packet.serialize(bytes)).to_vec();
        self.note_packet(now, false, &sent);
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

/// The packet as the crate knows it. Its own parser is left out: a filtered packet needs little of it.
fn packet(head: &Head, datagram: &[u8]) -> Option<Packet> {
    let mut body = &datagram[HEADER..];
    let field = |index| word(body, index);
    let number = SeqNumber::new_truncate;
    let control_type = match head.kind {
        Kind::Data => {
            let parsed = DataPacket::parse(&mut Bytes::copy_from_slice(datagram));
            return parsed.ok().map(Packet::Data);
        }
        Kind::Handshake => return None,
        Kind::KeepAlive => ControlTypes::KeepAlive,
        Kind::Shutdown => ControlTypes::Shutdown,
        Kind::Ack => ControlTypes::Ack(acknowledgement(number(field(0)?), head.second, body)),
        Kind::Nak(_) => ControlTypes::Nak(CompressedLossList::try_from_iter(filter::losses(body).map(number))?),
        Kind::Ack2 => ControlTypes::Ack2(FullAckSeqNumber::new(head.second)?),
        Kind::DropRequest => ControlTypes::DropRequest {
            msg_to_drop: MsgNumber::new_truncate(head.second),
            range: number(field(0)?)..=number(field(1)?),
        },
        Kind::KeyRequest => {
            let message = KeyingMaterialMessage::parse(&mut body).ok()?;
            ControlTypes::Srt(SrtControlPacket::KeyRefreshRequest(message))
        }
        Kind::KeyResponse => {
            let message = KeyingMaterialMessage::parse(&mut body).ok()?;
            ControlTypes::Srt(SrtControlPacket::KeyRefreshResponse(message))
        }
    };
    let (timestamp, dest_sockid) = (TimeStamp::from_micros(head.timestamp), SocketId(head.destination));
    Some(Packet::Control(ControlPacket { timestamp, dest_sockid, control_type }))
}

/// **Source:** draft-sharabayko-srt §3.2.4.
fn acknowledgement(number: SeqNumber, full: u32, body: &[u8]) -> Acknowledgement {
    let field = |index| word(body, index);
    let micros = |time: u32| TimeSpan::from_micros(i32::try_from(time).unwrap_or(i32::MAX));
    let (Some(mean), Some(variance), Some(buffer_available)) = (field(1), field(2), field(3)) else {
        return Acknowledgement::Lite(number);
    };
    let statistics = AckStatistics {
        rtt: Rtt::new(micros(mean), micros(variance)),
        buffer_available,
        packet_receive_rate: field(4),
        estimated_link_capacity: field(5),
        data_receive_rate: field(6),
    };
    match FullAckSeqNumber::new(full) {
        Some(full) => Acknowledgement::Full(number, statistics, full),
        None => Acknowledgement::Small(number, statistics),
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
        recv_buffer_size: PacketCount(if is_publisher { new.packets } else { 1 }),
        send_buffer_size: PacketCount(new.packets),
        cipher: new.cipher.clone(),
        stream_id: None,
        bandwidth: LiveBandwidthMode::Unlimited,
        statistics_interval: NEVER,
    }
}
