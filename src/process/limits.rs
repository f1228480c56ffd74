//! Core's soft limits: samples once a second, a verdict when a value stays above its limit for `waitfor`.
//!
//! sample of `sys` → `CpuMeter` → `Usage` → `LimitWatch` → verdict. Restarting is the machine's business; hard limits are
//! the kernel's.

use std::time::{Duration, Instant};

use super::Limits;

/// What a child uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Resident set of the child alone.
    pub memory_bytes: u64,
    /// Percent of all CPUs the daemon may use.
    pub cpu_percent: f64,
}

/// Turns the child's growing CPU time into percent.
#[derive(Clone, Copy, Debug)]
pub struct CpuMeter {
    /// CPUs the daemon may use, fractions from a cgroup quota included.
    capacity: f64,
    last: Option<(Instant, Duration)>,
}

/// Watches one child.
#[derive(Clone, Copy, Debug)]
pub struct LimitWatch {
    limits: Limits,
    memory_since: Option<Instant>,
    cpu_since: Option<Instant>,
}

/// Which limit was exceeded for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    Memory,
    Cpu,
}

impl CpuMeter {
    /// `capacity` in CPUs.
    pub fn new(capacity: f64) -> Self {
        Self { capacity, last: None }
    }

    /// Percent since the last sample; 0 for the first one. `cpu_time` is user plus system time since the child's start.
    pub fn sample(&mut self, now: Instant, cpu_time: Duration) -> f64 {
        let Some((then, before)) = self.last.replace((now, cpu_time)) else {
            return 0.0;
        };
        let available = now.saturating_duration_since(then).as_secs_f64() * self.capacity;
        if available <= 0.0 {
            return 0.0;
        }
        100.0 * cpu_time.saturating_sub(before).as_secs_f64() / available
    }
}

impl LimitWatch {
    /// Limits of 0 are off.
    pub fn new(limits: Limits) -> Self {
        Self { limits, memory_since: None, cpu_since: None }
    }

    /// The verdict of one sample: a value is above its limit and first was so `waitfor` ago or earlier.
    pub fn sample(&mut self, now: Instant, usage: Usage) -> Option<Exceeded> {
        let wait = Duration::from_secs(self.limits.waitfor_seconds);
        let memory = self.limits.memory_bytes > 0 && usage.memory_bytes > self.limits.memory_bytes;
        let cpu = self.limits.cpu_percent > 0.0 && usage.cpu_percent > self.limits.cpu_percent;
        let memory_for = above(&mut self.memory_since, memory, now);
        let cpu_for = above(&mut self.cpu_since, cpu, now);
        if memory_for.is_some_and(|time| time >= wait) {
            Some(Exceeded::Memory)
        } else if cpu_for.is_some_and(|time| time >= wait) {
            Some(Exceeded::Cpu)
        } else {
            None
        }
    }
}

/// For how long the value has been above; a sample at or below the limit starts over.
fn above(since: &mut Option<Instant>, exceeds: bool, now: Instant) -> Option<Duration> {
    if !exceeds {
        *since = None;
        return None;
    }
    Some(now.saturating_duration_since(*since.get_or_insert(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples one second apart; the index of the first verdict.
    #[track_caller]
    fn check(limits: Limits, samples: &[(u64, f64)], expected: Option<(usize, Exceeded)>) {
        let start = Instant::now();
        let mut watch = LimitWatch::new(limits);
        let verdict = samples.iter().enumerate().find_map(|(n, &(memory_bytes, cpu_percent))| {
            let now = start + Duration::from_secs(n as u64);
            watch.sample(now, Usage { memory_bytes, cpu_percent }).map(|which| (n, which))
        });
        assert_eq!(verdict, expected, "{limits:?}");
    }

    #[test]
    fn verdicts() {
        let limits = |cpu_percent, memory_bytes, waitfor_seconds| Limits { cpu_percent, memory_bytes, waitfor_seconds };
        let high = [(200, 90.0); 8];
        check(limits(0.0, 0, 0), &high, None);
        check(limits(0.0, 100, 0), &high, Some((0, Exceeded::Memory)));
        check(limits(0.0, 100, 3), &high, Some((3, Exceeded::Memory)));
        check(limits(50.0, 0, 3), &high, Some((3, Exceeded::Cpu)));
        check(limits(50.0, 100, 3), &high, Some((3, Exceeded::Memory)));
        check(limits(90.0, 200, 0), &high, None);
        check(limits(0.0, 100, u64::MAX), &high, None);
        let dip = [(200, 0.0), (200, 0.0), (100, 0.0), (200, 0.0), (200, 0.0), (200, 0.0)];
        check(limits(0.0, 100, 2), &dip, Some((5, Exceeded::Memory)));
        let both_but_never_long = [(200, 0.0), (0, 90.0), (200, 0.0), (0, 90.0)];
        check(limits(50.0, 100, 1), &both_but_never_long, None);
    }

    #[test]
    fn cpu_percent_is_of_all_cpus() {
        let start = Instant::now();
        let mut meter = CpuMeter::new(4.0);
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(meter.sample(at(0), Duration::from_secs(9)), 0.0);
        assert_eq!(meter.sample(at(1), Duration::from_secs(11)), 50.0);
        assert_eq!(meter.sample(at(3), Duration::from_secs(11)), 0.0);
        assert_eq!(meter.sample(at(3), Duration::from_secs(12)), 0.0, "no time has passed");
        assert_eq!(meter.sample(at(4), Duration::from_secs(1)), 0.0, "time does not run backwards");
    }
}
