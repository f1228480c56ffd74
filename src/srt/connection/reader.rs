//! What a subscriber gets: items of its channel, in step with what the peer has acknowledged.
//!
//! channel → `fill` → the crate's send buffer. Acknowledgements and reports of losses pass `temper` on their way to the
//! crate, which believes them too literally. Pure; time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use srt_protocol::connection::DuplexConnection;
use srt_protocol::packet::{
    AckStatistics, Acknowledgement, CompressedLossList, ControlPacket, ControlTypes, Packet, SeqNumber, TimeSpan,
    TimeStamp,
};
use srt_protocol::protocol::time::Rtt;

use super::super::filter::{Head, PAYLOAD};
use super::super::handshake::FLOW_WINDOW;
use super::super::stats::Books;
use super::DELAY;
use crate::media::ts;
use crate::relay::{self, Next, Role};

/// Items that one tick takes from the channel: a late joiner gets its group of pictures over some ticks.
const ITEMS_PER_TICK: usize = 64;
/// Packets sent again that are remembered, and for how long.
const AGAIN: usize = 256;
/// See `AGAIN`.
const MEMORY: Duration = Duration::from_secs(1);

/// What a subscriber has got.
pub(in crate::srt) struct Reader {
    channel: relay::Subscriber,
    /// No further items are taken from the channel while this many packets are kept.
    ahead: u64,
    /// Stamp of the last packet: it does not go back, and the first ones do not lie before the connection.
    clock: Instant,
    has_begun: bool,
    /// See `be_patient`.
    is_patient: bool,
    /// The publisher has left; the end comes when the peer has had time to get the rest.
    pub(super) over: Option<Instant>,
    /// The last acknowledgement that named a new packet, or when there was nothing to acknowledge.
    pub(super) acknowledged: Instant,
    last_ack: u32,
    pub(super) too_late: u64,
    /// Packets sent again lately: number and time, the oldest first.
    again: VecDeque<(u32, Instant)>,
}

impl Reader {
    pub(super) fn new(now: Instant, ahead: u64, channel: relay::Subscriber) -> Self {
        Self {
            channel,
            ahead,
            clock: now,
            has_begun: false,
            is_patient: false,
            over: None,
            acknowledged: now,
            last_ack: 0,
            too_late: 0,
            again: VecDeque::new(),
        }
    }

    /// Puts the next items of the channel into the send buffer; whether there were some.
    pub(super) fn fill(&mut self, now: Instant, core: &mut DuplexConnection, buffered: u64, delay: Duration) -> bool {
        let room = usize::try_from(self.ahead.saturating_sub(buffered)).unwrap_or(0).min(ITEMS_PER_TICK);
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
            // What lies in the channel goes out as if it were just made: there must be time to ask for it again.
            self.clock = if item.at > self.clock { item.at.min(now) } else { now };
            let mut rest = item.bytes;
            while !rest.is_empty() {
                // Only tables can be longer than what fits into a packet.
                let length = if rest.len() > PAYLOAD { ts::RUN_BYTES } else { rest.len() };
                core.handle_data_input(now, Some((self.clock, rest.split_to(length))));
                count += 1;
                if !self.is_patient {
                    self.is_patient = true;
                    be_patient(now, core, delay);
                }
            }
        }
        if count == 0 && buffered == 0 {
            self.acknowledged = now;
        }
        count > 0
    }

    /// Keeps the crate from sending packets again that are on their way: it believes each report of a loss, however
    /// soon it is repeated, and takes what is not acknowledged a little after a round trip for lost. False: nothing is
    /// left of the packet.
    pub(super) fn temper(
        &mut self,
        now: Instant,
        books: &mut Books,
        delay: Duration,
        control: &mut ControlTypes,
    ) -> bool {
        match control {
            ControlTypes::Ack(ack) => {
                books.acknowledged(ack);
                if let Acknowledgement::Small(_, statistics) | Acknowledgement::Full(_, statistics, _) = ack {
                    statistics.rtt = patient(statistics.rtt, delay);
                }
                true
            }
            ControlTypes::Nak(list) => {
                let flight = books.rtt().min(MEMORY);
                let is_on_its_way = |number: &SeqNumber| {
                    let known = self.again.iter().rev().find(|(again, _)| *again == number.as_raw());
                    known.is_some_and(|(_, at)| now.saturating_duration_since(*at) < flight)
                };
                let missing = list.iter_decompressed().filter(|number| !is_on_its_way(number));
                let missing: Vec<SeqNumber> = missing.collect();
                CompressedLossList::try_from_iter(missing.into_iter()).map(|rest| *list = rest).is_some()
            }
            _ => true,
        }
    }

    pub(super) fn sent_again(&mut self, now: Instant, number: u32) {
        let is_old = |at: Instant| now.saturating_duration_since(at) > MEMORY;
        while self.again.len() >= AGAIN || self.again.front().is_some_and(|(_, at)| is_old(*at)) {
            self.again.pop_front();
        }
        self.again.push_back((number, now));
    }

    /// An acknowledgement has come.
    pub(super) fn hear(&mut self, now: Instant, head: &Head) {
        // The number of a full one grows; a light one has none and comes only with progress.
        if head.second == 0 || head.second != self.last_ack {
            self.last_ack = head.second;
            self.acknowledged = now;
        }
    }
}

/// A round trip whose variance makes the crate wait for acknowledgements as long as a packet is of use: it waits four
/// times the variance. One loss holds back the acknowledgements of all that follow, so that sending again by itself
/// would send all of it again; what is really lost is asked for.
fn patient(rtt: Rtt, delay: Duration) -> Rtt {
    Rtt::new(rtt.mean(), rtt.variance() + delay / 4)
}

/// Tells the crate, which begins with ten milliseconds, of a longer round trip before the first acknowledgement does.
fn be_patient(now: Instant, core: &mut DuplexConnection, delay: Duration) {
    let settings = core.settings();
    let millis = TimeSpan::from_millis;
    let statistics = AckStatistics {
        rtt: patient(Rtt::new(millis(100), millis(50)), delay),
        buffer_available: FLOW_WINDOW,
        packet_receive_rate: None,
        estimated_link_capacity: None,
        data_receive_rate: None,
    };
    let told = ControlPacket {
        timestamp: TimeStamp::MIN,
        dest_sockid: settings.local_sockid,
        control_type: ControlTypes::Ack(Acknowledgement::Small(settings.init_seq_num, statistics)),
    };
    let remote = settings.remote;
    core.handle_packet_input(now, Ok((Packet::Control(told), remote)));
}
