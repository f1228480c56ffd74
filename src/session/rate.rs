//! How fast bytes pass: the mean of the last completed seconds, and the highest mean of late (`contract/sessions.md`
//! §3). Pure; a window counts its seconds from its own beginning.

use std::time::{Duration, Instant};

use heapless::HistoryBuf;

/// Completed seconds that a mean covers.
const WINDOW_SECONDS: usize = 10;
const BUCKET: Duration = Duration::from_secs(1);
/// What remains of a top bitrate after a second without a higher one.
const DECAY_PER_SECOND: f64 = 0.95;

/// Bytes of the running second and of the completed ones before it.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// When the running second began.
    since: Instant,
    running: u64,
    completed: HistoryBuf<u64, WINDOW_SECONDS>,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, running: 0, completed: HistoryBuf::new() }
    }

    /// Bytes that come late count for the running second.
    pub(super) fn add(&mut self, now: Instant, bytes: u64) {
        self.advance(now);
        self.running = self.running.saturating_add(bytes);
    }

    /// Bits per second; 0 within the first second.
    pub(super) fn bitrate(&mut self, now: Instant) -> f64 {
        self.advance(now);
        if self.completed.is_empty() {
            return 0.0;
        }
        let bytes: f64 = self.completed.iter().map(|&bytes| bytes as f64).sum();
        bytes * 8.0 / self.completed.len() as f64
    }

    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed < BUCKET {
            return;
        }
        let seconds = passed.as_secs();
        self.completed.write(std::mem::take(&mut self.running));
        for _ in 1..seconds.min(WINDOW_SECONDS as u64 + 1) {
            self.completed.write(0);
        }
        self.since += Duration::from_secs(seconds);
    }
}

/// The highest mean bitrate seen, which fades.
#[derive(Clone, Copy, Debug)]
pub(super) struct Top {
    /// Bits per second at `since`.
    bitrate: f64,
    since: Instant,
}

impl Top {
    pub(super) fn new(now: Instant, bitrate: f64) -> Self {
        Self { bitrate, since: now }
    }

    pub(super) fn raise(&mut self, now: Instant, bitrate: f64) {
        if bitrate >= self.bitrate(now) {
            *self = Self::new(now, bitrate);
        }
    }

    /// Bits per second.
    pub(super) fn bitrate(&self, now: Instant) -> f64 {
        self.bitrate * DECAY_PER_SECOND.powf(now.saturating_duration_since(self.since).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes at seconds after the beginning, then the bitrate at a second.
    #[track_caller]
    fn check(bytes: &[(f64, u64)], at: f64, expected: f64) {
        let begin = Instant::now();
        let mut window = Window::new(begin);
        for &(second, bytes) in bytes {
            window.add(begin + Duration::from_secs_f64(second), bytes);
        }
        let bitrate = window.bitrate(begin + Duration::from_secs_f64(at));
        assert!((bitrate - expected).abs() < 1e-6, "{bitrate} instead of {expected}");
    }

    #[test]
    fn the_mean_covers_completed_seconds_only() {
        check(&[], 0.0, 0.0);
        check(&[(0.0, 1000)], 0.9, 0.0);
        check(&[(0.0, 1000)], 1.0, 8000.0);
        check(&[(0.0, 1000), (0.5, 1000)], 1.9, 16_000.0);
        check(&[(0.0, 1000), (1.5, 9000)], 1.9, 8000.0);
        check(&[(0.0, 1000), (1.5, 9000)], 2.0, 40_000.0);
        check(&[(0.0, 1000)], 4.0, 2000.0);
        check(&[(0.0, 1000)], 10.5, 800.0);
        check(&[(0.0, 1000)], 11.0, 0.0);
        check(&[(0.0, 1000), (1000.0, 500)], 1000.9, 0.0);
        check(&[(0.0, 1000), (1000.0, 500)], 1001.0, 400.0);
    }

    #[test]
    fn a_clock_that_lags_counts_for_the_running_second() {
        check(&[(5.0, 1000), (3.0, 1000)], 6.0, 8000.0 * 2.0 / 6.0);
    }

    #[test]
    fn a_top_fades_and_rises() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let mut top = Top::new(begin, 1000.0);
        assert!((top.bitrate(at(1)) - 950.0).abs() < 1e-6);
        assert!((top.bitrate(at(2)) - 902.5).abs() < 1e-6);
        top.raise(at(2), 900.0);
        assert!((top.bitrate(at(2)) - 902.5).abs() < 1e-6);
        top.raise(at(2), 2000.0);
        assert!((top.bitrate(at(3)) - 1900.0).abs() < 1e-6);
        assert!(top.bitrate(at(1000)) < 1e-6);
    }
}
