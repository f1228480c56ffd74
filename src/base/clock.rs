//! One reading of both clocks, passed as an argument to everything that needs the time.
//!
//! Durations, ages, order and time-outs use `mono`; `wall` is only for stamps that people read, since it jumps
//! (a board without a battery starts in 1970 and is corrected minutes later).

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A point in time on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub mono: Instant,
    pub wall: SystemTime,
}

impl Now {
    /// Reads both clocks. Drivers call this; pure code takes the result.
    pub fn read() -> Self {
        Self { mono: Instant::now(), wall: SystemTime::now() }
    }

    /// Seconds since the epoch, negative before it.
    pub fn unix(&self) -> i64 {
        unix_seconds(self.wall)
    }
}

/// Seconds since the epoch, rounded towards the past, negative before 1970.
pub fn unix_seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            let gap = before.duration();
            let whole = i64::try_from(gap.as_secs()).unwrap_or(i64::MAX);
            -whole - i64::from(gap.subsec_nanos() > 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn seconds_before_1970_and_after_2038_and_2106() {
        let after = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(unix_seconds(UNIX_EPOCH - Duration::from_millis(1500)), -2);
        assert_eq!(unix_seconds(after(1 << 31)), 1 << 31);
        assert_eq!(unix_seconds(after((1 << 32) + 5)), (1 << 32) + 5);
        let now = Now { mono: Instant::now() + Duration::from_secs(1 << 33), wall: after(1 << 33) };
        assert_eq!((now.unix(), now.mono.elapsed()), (1 << 33, Duration::ZERO));
    }
}
