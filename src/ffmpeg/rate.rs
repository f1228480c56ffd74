//! A rate over the last half minute: totals in, average per second out (`ffmpeg-parsing.md` §7).
//!
//! Thirty one-second buckets from the first total on; the average is over the completed ones. Unlike the reference
//! the average follows the clock, not the reports: it decays when FFmpeg falls silent. Time is an argument.

use std::time::Instant;

use heapless::Deque;

/// Completed one-second buckets an average is made of.
pub(super) const BUCKETS: usize = 30;

/// Averages one growing counter.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate {
    start: Option<Instant>,
    total: u64,
    /// Second since `start` that `running` belongs to.
    second: u64,
    running: u64,
    completed: Deque<u64, BUCKETS>,
}

impl Rate {
    /// Notes the counter's total. A counter that went back adds nothing and counts on from there.
    pub(super) fn record(&mut self, now: Instant, total: u64) {
        let start = *self.start.get_or_insert(now);
        let second = now.saturating_duration_since(start).as_secs();
        if second > self.second {
            let running = std::mem::take(&mut self.running);
            self.complete(running);
            for _ in 0..(second - self.second - 1).min(BUCKETS as u64) {
                self.complete(0);
            }
            self.second = second;
        }
        self.running = self.running.saturating_add(total.saturating_sub(self.total));
        self.total = total;
    }

    /// Counts per second over the completed seconds; 0 in the first one.
    pub(super) fn average(&self, now: Instant) -> f64 {
        let Some(start) = self.start else { return 0.0 };
        let second = now.saturating_duration_since(start).as_secs();
        let seconds = usize::try_from(second.max(self.second)).unwrap_or(usize::MAX).min(BUCKETS);
        if seconds == 0 {
            return 0.0;
        }
        // Seconds completed since the last total: the running bucket, then silence.
        let silent = usize::try_from(second.saturating_sub(self.second)).unwrap_or(usize::MAX);
        let mut sum =
            self.completed.iter().rev().take(seconds.saturating_sub(silent)).fold(0u64, |a, b| a.saturating_add(*b));
        if silent > 0 && silent <= seconds {
            sum = sum.saturating_add(self.running);
        }
        sum as f64 / seconds as f64
    }

    fn complete(&mut self, bucket: u64) {
        if self.completed.is_full() {
            self.completed.pop_front();
        }
        let pushed = self.completed.push_back(bucket);
        debug_assert!(pushed.is_ok(), "room was made above");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn only_completed_seconds_count() {
        let start = Instant::now();
        let mut rate = Rate::default();
        assert_eq!(rate.average(start), 0.0);
        rate.record(start, 10);
        rate.record(at(start, 0.5), 25);
        assert_eq!(rate.average(at(start, 0.9)), 0.0);
        assert_eq!(rate.average(at(start, 1.0)), 25.0);
        rate.record(at(start, 1.5), 125);
        assert_eq!(rate.average(at(start, 1.9)), 25.0);
        assert_eq!(rate.average(at(start, 2.0)), 62.5);
    }

    #[test]
    fn the_average_decays_to_zero_in_silence() {
        let start = Instant::now();
        let mut rate = Rate::default();
        for second in 0..100 {
            rate.record(at(start, f64::from(second)), u64::try_from(second * 30).expect("positive"));
        }
        assert_eq!(rate.average(at(start, 99.5)), 30.0);
        assert_eq!(rate.average(at(start, 100.0)), 30.0);
        assert_eq!(rate.average(at(start, 114.0)), 16.0);
        assert_eq!(rate.average(at(start, 129.0)), 1.0);
        assert_eq!(rate.average(at(start, 130.0)), 0.0);
        assert_eq!(rate.average(at(start, 1e9)), 0.0);
        rate.record(at(start, 1e6), 99 * 30 + 60);
        assert_eq!(rate.average(at(start, 1e6)), 0.0);
        assert_eq!(rate.average(at(start, 1e6 + 1.0)), 2.0);
    }

    #[test]
    fn totals_beyond_4_gib_and_times_beyond_32_bits() {
        let (start, total) = (Instant::now(), u64::from(u32::MAX) - 50);
        let mut rate = Rate::default();
        rate.record(start, total);
        let base = rate.average(at(start, 1.0));
        rate.record(at(start, 1.5), total + 100);
        assert_eq!(rate.average(at(start, 2.0)), (base + 100.0) / 2.0);
        assert_eq!(rate.average(at(start, 5e9)), 0.0);
        rate.record(at(start, 5e9), total + 200);
        assert_eq!(rate.average(at(start, 5e9 + 1.0)), 100.0 / 30.0);
    }

    #[test]
    fn a_counter_that_starts_over_adds_nothing() {
        let start = Instant::now();
        let mut rate = Rate::default();
        rate.record(start, 1000);
        rate.record(at(start, 1.0), 0);
        rate.record(at(start, 1.1), 5);
        assert_eq!(rate.average(at(start, 2.0)), 502.5);
    }
}
