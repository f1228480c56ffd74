//! What a connection did, as `/api/v3/srt` lists it (`contract/rtmp-srt.md` B.5).
//!
//! The connection shows every packet that comes and goes; what the crate counts wrongly or not at all (losses,
//! retransmissions, round-trip times, capacities) is read from the packets themselves. Pure numbers, no time but an
//! argument. Byte counts include the headers of IP, UDP and SRT.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use srt_protocol::packet::{AckStatistics, Acknowledgement};
use srt_protocol::protocol::time::Rtt;

use super::filter::Head;
use super::handshake::MSS;

/// IPv4, UDP and SRT.
const HEADERS_V4: u64 = 44;
/// IPv6, UDP and SRT.
const HEADERS_V6: u64 = 64;
/// Flag of a data packet that is sent again.
const RETRANSMITTED: u32 = 1 << 26;
/// While nothing has been sent for this long, nobody is kept busy by sending.
const BUSY_GAP: Duration = Duration::from_millis(100);

/// Packets and bytes of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub packets: u64,
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: u64) {
        self.packets += 1;
        self.bytes += bytes;
    }
}

/// Since the connection was made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    pub sent: Count,
    pub received: Count,
    pub sent_unique: Count,
    pub received_unique: Count,
    /// Reported lost by the peer.
    pub send_loss: u64,
    /// Missing when later ones came.
    pub receive_loss: Count,
    pub sent_again: Count,
    pub received_again: u64,
    pub sent_acks: u64,
    pub received_acks: u64,
    pub sent_naks: u64,
    pub received_naks: u64,
    pub sent_keys: u64,
    pub received_keys: u64,
    /// Time spent with data to send.
    pub send_duration: Duration,
    /// Never sent, since the peer was too slow or it was too late.
    pub send_drop: Count,
    pub receive_drop: Count,
    pub undecrypted: Count,
}

/// As it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Level {
    /// **Units:** microseconds between two packets, as measured.
    pub send_period: u64,
    pub flow_window: u64,
    pub flight: u64,
    pub rtt: Duration,
    /// Bits per second.
    pub link_capacity: u64,
    /// Data that is kept until it is acknowledged or too late.
    pub send_buffer: Count,
    pub send_buffer_time: Duration,
    pub send_buffer_free: u64,
    pub receive_buffer: Count,
    pub receive_buffer_time: Duration,
    pub receive_buffer_free: u64,
    pub send_delay: Duration,
    pub receive_delay: Duration,
    /// By how much packets came too late on average.
    pub belated: Duration,
}

/// Both, as one moment's answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    pub age: Duration,
    /// Largest packet, with the headers of IPv4 and UDP.
    pub mss: u64,
    pub totals: Totals,
    pub level: Level,
}

/// Keeps the books of one connection.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) totals: Totals,
    headers: u64,
    last_sent: Option<Instant>,
    rtt: Duration,
    /// Packets per second.
    capacity: u32,
    /// Packets that the receive buffer of ours can still take.
    pub(super) receive_free: Option<u32>,
    /// Sum and number.
    belated: (Duration, u64),
}

impl Books {
    pub(super) fn new(peer: SocketAddr) -> Self {
        Self {
            totals: Totals::default(),
            // A mapped IPv4 address travels as IPv4.
            headers: if peer.ip().to_canonical().is_ipv4() { HEADERS_V4 } else { HEADERS_V6 },
            last_sent: None,
            rtt: Duration::from_millis(100),
            capacity: 0,
            receive_free: None,
            belated: (Duration::ZERO, 0),
        }
    }

    /// A data packet has come, before which so many are missing.
    pub(super) fn received(&mut self, head: &Head, payload: usize, missing: u32) {
        let bytes = self.headers + payload as u64;
        let totals = &mut self.totals;
        totals.received.add(bytes);
        totals.receive_loss.packets += u64::from(missing);
        totals.receive_loss.bytes += u64::from(missing) * bytes;
        if head.second & RETRANSMITTED != 0 {
            totals.received_again += 1;
        } else {
            totals.received_unique.add(bytes);
        }
    }

    /// A data packet goes out.
    pub(super) fn sent(&mut self, now: Instant, payload: usize, is_again: bool) {
        let bytes = self.headers + payload as u64;
        let totals = &mut self.totals;
        totals.sent.add(bytes);
        match is_again {
            true => totals.sent_again.add(bytes),
            false => totals.sent_unique.add(bytes),
        }
        if let Some(gap) = self.last_sent.map(|last| now - last).filter(|gap| *gap < BUSY_GAP) {
            totals.send_duration += gap;
        }
        self.last_sent = Some(now);
    }

    /// An acknowledgement goes out; it is put right on the way.
    pub(super) fn acknowledge(&mut self, ack: &mut Acknowledgement) {
        self.totals.sent_acks += 1;
        if let Acknowledgement::Small(_, statistics) | Acknowledgement::Full(_, statistics, _) = ack {
            straighten(statistics);
            self.receive_free = Some(statistics.buffer_available);
        }
        self.acknowledged(ack);
    }

    /// Reads what an acknowledgement tells, in either direction.
    pub(super) fn acknowledged(&mut self, ack: &Acknowledgement) {
        let Some(statistics) = ack.statistics() else { return };
        // The crate says so before it has measured anything.
        if statistics.rtt != Rtt::default()
            && let Ok(micros) = u64::try_from(statistics.rtt.mean().as_micros())
        {
            self.rtt = Duration::from_micros(micros);
        }
        if let Some(capacity) = statistics.estimated_link_capacity {
            self.capacity = capacity;
        }
    }

    /// A data packet came when its time was over.
    pub(super) fn belated(&mut self, by: Duration) {
        let (sum, count) = self.belated;
        self.belated = (sum + by, count + 1);
    }

    /// Data packets that the core threw away.
    pub(super) fn dropped(&mut self, sent: u64, received: u64, undecrypted: u64) {
        let bytes = |packets| packets * u64::from(MSS);
        self.totals.send_drop = Count { packets: sent, bytes: bytes(sent) };
        self.totals.receive_drop = Count { packets: received, bytes: bytes(received) };
        self.totals.undecrypted = Count { packets: undecrypted, bytes: bytes(undecrypted) };
    }

    /// What acknowledgements told; the connection adds what it knows.
    pub(super) fn level(&self) -> Level {
        let (late, count) = self.belated;
        let belated = late.as_nanos() / u128::from(count.max(1));
        let period = self.totals.send_duration.as_micros() / u128::from(self.totals.sent.packets.max(1));
        Level {
            send_period: u64::try_from(period).unwrap_or(u64::MAX),
            rtt: self.rtt,
            link_capacity: u64::from(self.capacity) * u64::from(MSS) * 8,
            belated: Duration::from_nanos(u64::try_from(belated).unwrap_or(u64::MAX)),
            ..Level::default()
        }
    }

    /// As the peer, or our acknowledgements, last had it.
    pub(super) fn rtt(&self) -> Duration {
        self.rtt
    }

    /// Everything that came and went, for the session.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.totals.received.bytes, self.totals.sent.bytes)
    }
}

/// Puts three fields of an acknowledgement where the protocol wants them: the crate fills link capacity with bytes per
/// second and bytes per second with the capacity.
fn straighten(statistics: &mut AckStatistics) {
    std::mem::swap(&mut statistics.estimated_link_capacity, &mut statistics.data_receive_rate);
    // The fields stand in order on the wire; one that is missing would end them.
    if statistics.packet_receive_rate.is_some() {
        statistics.estimated_link_capacity.get_or_insert(0);
        statistics.data_receive_rate.get_or_insert(0);
    }
}

#[cfg(test)]
mod tests {
    use srt_protocol::packet::{FullAckSeqNumber, SeqNumber, TimeSpan};

    use super::super::filter::Kind;
    use super::*;

    fn data(number: u32, is_again: bool) -> Head {
        let second = if is_again { RETRANSMITTED } else { 0 };
        Head { kind: Kind::Data, destination: 1, timestamp: 0, first: number, second }
    }

    fn books() -> Books {
        Books::new("192.0.2.1:5000".parse().expect("an address"))
    }

    #[test]
    fn losses_and_retransmissions_are_counted() {
        let mut books = books();
        let packets = [(10, 0, false), (11, 0, false), (15, 3, false), (13, 0, true), (12, 0, true), (16, 0, false)];
        for (number, missing, is_again) in packets {
            books.received(&data(number, is_again), 1316, missing);
        }
        let totals = books.totals;
        assert_eq!((totals.received.packets, totals.received_unique.packets), (6, 4));
        assert_eq!((totals.receive_loss.packets, totals.received_again), (3, 2));
        assert_eq!(totals.received.bytes, 6 * (1316 + 44));
    }

    #[test]
    fn sending_counts_time_only_while_busy() {
        let (mut books, start) = (books(), Instant::now());
        for millis in [0, 5, 10, 5000, 5010] {
            books.sent(start + Duration::from_millis(millis), 1316, millis == 5000);
        }
        assert_eq!(books.totals.send_duration, Duration::from_millis(20));
        assert_eq!((books.totals.sent.packets, books.totals.sent_again.packets), (5, 1));
    }

    #[test]
    fn acknowledgements_tell_round_trip_and_capacity() {
        let mut books = books();
        let micros = TimeSpan::from_micros;
        let mut statistics = AckStatistics {
            rtt: Rtt::new(micros(82_400), micros(100)),
            buffer_available: 8000,
            packet_receive_rate: Some(760),
            estimated_link_capacity: Some(1_000_000),
            data_receive_rate: Some(50_000),
        };
        straighten(&mut statistics);
        assert_eq!((statistics.estimated_link_capacity, statistics.data_receive_rate), (Some(50_000), Some(1_000_000)));
        let number = FullAckSeqNumber::new(1).expect("not 0");
        books.acknowledged(&Acknowledgement::Full(SeqNumber(5), statistics, number));
        books.acknowledged(&Acknowledgement::Lite(SeqNumber(6)));
        let level = books.level();
        assert_eq!(level.rtt, Duration::from_micros(82_400));
        assert_eq!(level.link_capacity, 50_000 * 1500 * 8);
    }

    #[test]
    fn an_acknowledgement_without_capacity_keeps_its_other_fields() {
        let span = TimeSpan::from_micros(1);
        let mut statistics = AckStatistics {
            rtt: Rtt::new(span, span),
            buffer_available: 1,
            packet_receive_rate: Some(760),
            estimated_link_capacity: Some(9),
            data_receive_rate: None,
        };
        straighten(&mut statistics);
        assert_eq!((statistics.estimated_link_capacity, statistics.data_receive_rate), (Some(0), Some(9)));
    }

    #[test]
    fn lateness_is_a_mean() {
        let mut books = books();
        assert_eq!(books.level().belated, Duration::ZERO);
        books.belated(Duration::from_millis(10));
        books.belated(Duration::from_millis(30));
        assert_eq!(books.level().belated, Duration::from_millis(20));
    }

    #[test]
    fn counts_go_beyond_32_bits() {
        let mut books = books();
        let edge = Count { packets: u64::from(u32::MAX), bytes: u64::from(u32::MAX) };
        (books.totals.received, books.totals.sent) = (edge, edge);
        books.belated = (Duration::from_millis(10) * u32::MAX, u64::from(u32::MAX));
        books.received(&data(1, false), 1316, 0);
        books.sent(Instant::now(), 1316, false);
        books.belated(Duration::from_millis(10));
        books.dropped(1 << 32, 0, 0);
        let over = Count { packets: 1 << 32, bytes: u64::from(u32::MAX) + 1316 + 44 };
        assert_eq!((books.totals.received, books.totals.sent, books.bytes()), (over, over, (over.bytes, over.bytes)));
        assert_eq!(books.totals.send_drop.bytes, 1500 << 32);
        assert_eq!(books.level().belated, Duration::from_millis(10));
    }
}
