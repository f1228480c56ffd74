//! What a publisher brings: lost packets are asked for again, payloads go on into its channel.
//!
//! data packet → `note` → `Missing` → `ask` for what did not come · the crate's receive buffer → `release`, when its time
//! has come → media::ts, which finds where subscribers can begin → channel. The crate asks, too, but after two, three, four
//! round trips: at a loss of 2 % some packets are too late then. Its reports are not sent. Pure; time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use srt_protocol::connection::DuplexConnection;
use srt_protocol::packet::{CompressedLossList, SeqNumber};

use super::super::filter::SPAN;
use crate::media::{Repair, ts};
use crate::relay::{self, Item, Role, Track};

/// Numbers of packets, 31 bits.
const NUMBERS: u32 = 1 << 31;
/// Added to a round trip and a quarter before a packet is asked for again: both sides work in ticks.
const TICKS: Duration = Duration::from_millis(20);
/// Steps in which data is released, and how far back they begin after a standstill.
const STEP: Duration = Duration::from_millis(2);
/// See `STEP`.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Numbers of one report, so that it fits into a datagram however they lie.
const REPORT: usize = 300;

/// What a publisher brings on its way into the channel.
pub(in crate::srt) struct Feed {
    channel: relay::Publisher,
    stream: ts::Stream,
    runs: Vec<ts::Run>,
    missing: Missing,
    /// What was due then has been handed out.
    released: Instant,
}

/// Packets that did not come, by number.
#[derive(Debug)]
struct Missing {
    /// The number that a new packet has.
    expected: u32,
    /// In order; at most `SPAN`, the size of the receive buffer.
    list: VecDeque<Gap>,
}

#[derive(Debug)]
struct Gap {
    number: u32,
    since: Instant,
    asked: Option<Instant>,
}

impl Feed {
    /// `first`: the number that the caller begins with.
    pub(super) fn new(now: Instant, first: u32, channel: relay::Publisher, repair: Option<Repair>) -> Self {
        let stream = ts::Stream::new(ts::Use::Channel, repair);
        Self { channel, stream, runs: Vec::new(), missing: Missing::new(first), released: now }
    }

    /// Packet `number` has come; how many before it are missing.
    pub(super) fn note(&mut self, now: Instant, number: u32) -> u32 {
        self.missing.note(now, number)
    }

    /// Reports of what is to be sent (again): at once when it is found missing, and after each round trip.
    pub(super) fn ask(&mut self, now: Instant, rtt: Duration, delay: Duration) -> Vec<CompressedLossList> {
        self.missing.forget(now, delay);
        let numbers = self.missing.due(now, rtt * 5 / 4 + TICKS);
        let report = |numbers: &[u32]| CompressedLossList::try_from_iter(numbers.iter().map(|it| SeqNumber(*it)));
        numbers.chunks(REPORT).filter_map(report).collect()
    }

    /// Hands the data whose time has come to the channel. Time goes on in small steps: where a packet is missing, the
    /// crate gives up all that is late with it.
    pub(super) fn release(&mut self, now: Instant, core: &mut DuplexConnection, delay: Duration) {
        let mut at = self.released.max(now.checked_sub(CATCH_UP).unwrap_or(now));
        while at < now {
            at = (at + STEP).min(now);
            self.release_until(at, core, delay);
        }
        self.released = now;
    }

    fn release_until(&mut self, now: Instant, core: &mut DuplexConnection, delay: Duration) {
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

impl Missing {
    fn new(first: u32) -> Self {
        Self { expected: first, list: VecDeque::new() }
    }

    fn note(&mut self, now: Instant, number: u32) -> u32 {
        let expected = self.expected;
        let ahead = number.wrapping_sub(expected) % NUMBERS;
        if ahead >= NUMBERS / 2 {
            self.list.retain(|gap| gap.number != number);
            return 0;
        }
        self.expected = (number + 1) % NUMBERS;
        // The receive buffer does not take what lies further ahead.
        let kept = if ahead < SPAN { ahead } else { 0 };
        for step in 0..kept {
            if self.list.len() >= SPAN as usize {
                self.list.pop_front();
            }
            self.list.push_back(Gap { number: (expected + step) % NUMBERS, since: now, asked: None });
        }
        ahead
    }

    /// Removes what would come too late.
    fn forget(&mut self, now: Instant, delay: Duration) {
        let is_over = |gap: &Gap| now.saturating_duration_since(gap.since) >= delay;
        while self.list.front().is_some_and(is_over) {
            self.list.pop_front();
        }
    }

    fn due(&mut self, now: Instant, pause: Duration) -> Vec<u32> {
        let is_due = |gap: &&mut Gap| gap.asked.is_none_or(|at| now.saturating_duration_since(at) >= pause);
        let due = self.list.iter_mut().filter(is_due);
        due.map(|gap| {
            gap.asked = Some(now);
            gap.number
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(80);

    fn noted(missing: &mut Missing, now: Instant, numbers: &[u32]) -> Vec<u32> {
        numbers.iter().map(|number| missing.note(now, *number)).collect()
    }

    #[test]
    fn gaps_are_asked_for_until_they_are_filled() {
        let (mut missing, start) = (Missing::new(9), Instant::now());
        assert_eq!(noted(&mut missing, start, &[10, 9, 11, 14, 15]), [1, 0, 0, 2, 0]);
        assert_eq!(missing.due(start, RTT), [12, 13]);
        assert_eq!(missing.due(start + RTT / 2, RTT), [0; 0]);
        missing.note(start + RTT, 12);
        assert_eq!(missing.due(start + RTT, RTT), [13]);
        missing.note(start + RTT, 13);
        assert_eq!(missing.due(start + 3 * RTT, RTT), [0; 0]);
    }

    #[test]
    fn what_would_come_too_late_is_forgotten() {
        let (mut missing, start) = (Missing::new(0), Instant::now());
        noted(&mut missing, start, &[0, 2]);
        noted(&mut missing, start + RTT, &[4]);
        missing.forget(start + RTT, RTT);
        assert_eq!(missing.due(start + RTT, RTT), [3]);
    }

    #[test]
    fn numbers_wrap_and_the_list_is_bounded() {
        let (mut missing, start) = (Missing::new(NUMBERS - 2), Instant::now());
        assert_eq!(noted(&mut missing, start, &[NUMBERS - 2, 1, NUMBERS - 1, 2]), [0, 2, 0, 0]);
        assert_eq!(missing.due(start, RTT), [0]);
        assert_eq!(missing.note(start, 3 + SPAN), SPAN);
        assert_eq!(missing.list.len(), 1, "further ahead than the receive buffer reaches");
        let mut number = 4 + SPAN;
        for _ in 0..20 {
            number += SPAN - 1;
            missing.note(start, number);
        }
        assert_eq!(missing.list.len(), SPAN as usize);
    }
}
