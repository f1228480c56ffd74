//! CPU time → percentages, over the time from reading to reading. Pure.

use std::time::{Duration, Instant};

use crate::sys::usage::CpuTimes;

/// Readings closer together than this would be noise; the former percentages stay.
const LEAST: Duration = Duration::from_millis(500);

/// Remembers the last reading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    last: Option<(Instant, CpuTimes)>,
    shown: Percent,
}

/// Of all CPUs that may be used; together 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Percent {
    pub(super) system: f64,
    pub(super) user: f64,
    pub(super) idle: f64,
    pub(super) other: f64,
}

impl Default for Percent {
    fn default() -> Self {
        Self { system: 0.0, user: 0.0, idle: 100.0, other: 0.0 }
    }
}

impl Meter {
    /// The percentages since the last reading, all idle at the first one.
    pub(super) fn sample(&mut self, now: Instant, times: CpuTimes) -> Percent {
        let Some((then, before)) = self.last else {
            self.last = Some((now, times));
            return self.shown;
        };
        let elapsed = now.saturating_duration_since(then);
        if elapsed < LEAST {
            return self.shown;
        }
        self.last = Some((now, times));
        // Counters of offline CPUs may go back.
        let grown = |now: f64, before: f64| (now - before).max(0.0);
        let user = grown(times.user, before.user);
        let system = grown(times.system, before.system);
        let other = grown(times.other, before.other);
        let idle = match (times.idle, before.idle) {
            (Some(now), Some(before)) => grown(now, before),
            _ => (elapsed.as_secs_f64() * times.capacity - user - system - other).max(0.0),
        };
        let total = user + system + idle + other;
        if total > 0.0 {
            let share = |part: f64| 100.0 * part / total;
            self.shown = Percent { system: share(system), user: share(user), idle: share(idle), other: share(other) };
        }
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(user: f64, system: f64, idle: Option<f64>, other: f64) -> CpuTimes {
        CpuTimes { capacity: 2.0, user, system, idle, other }
    }

    #[track_caller]
    fn check(readings: &[(u64, CpuTimes)], expected: [f64; 4]) {
        let (start, mut meter) = (Instant::now(), Meter::default());
        let sample = |&(ms, times): &(u64, CpuTimes)| meter.sample(start + Duration::from_millis(ms), times);
        let Percent { system, user, idle, other } = readings.iter().map(sample).last().expect("a reading");
        assert_eq!([system, user, idle, other], expected);
    }

    #[test]
    fn percentages() {
        let boxed = |user, system, idle, other| times(user, system, Some(idle), other);
        check(&[(0, boxed(5.0, 5.0, 5.0, 5.0))], [0.0, 0.0, 100.0, 0.0]);
        check(&[(0, boxed(1.0, 1.0, 1.0, 1.0)), (1000, boxed(1.5, 2.0, 1.25, 1.25))], [50.0, 25.0, 12.5, 12.5]);
        let soon = [(0, boxed(1.0, 1.0, 1.0, 1.0)), (499, boxed(2.0, 1.0, 1.0, 1.0))];
        check(&soon, [0.0, 0.0, 100.0, 0.0]);
        // A group's idle time is what is left of its quota, never below nothing.
        check(&[(0, times(1.0, 1.0, None, 0.0)), (1000, times(1.5, 1.5, None, 0.0))], [25.0, 25.0, 50.0, 0.0]);
        check(&[(0, times(1.0, 1.0, None, 0.0)), (1000, times(4.0, 2.0, None, 0.0))], [25.0, 75.0, 0.0, 0.0]);
        // Nothing moved, or went back.
        check(&[(0, boxed(1.0, 1.0, 1.0, 1.0)), (1000, boxed(1.0, 1.0, 1.0, 1.0))], [0.0, 0.0, 100.0, 0.0]);
        check(&[(0, boxed(9.0, 1.0, 1.0, 1.0)), (1000, boxed(1.0, 2.0, 2.0, 1.0))], [50.0, 0.0, 50.0, 0.0]);
    }
}
