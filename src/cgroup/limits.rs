//! Limits as the texts of control files (cgroup-v2.rst, "Controllers").

/// Hard limits of one child with all that it forks; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Bytes; beyond it the kernel ends the child (`memory.max`).
    pub memory_bytes: u64,
    /// Percent of one CPU, may be more than 100; beyond it the child waits (`cpu.max`).
    pub cpu_percent: f64,
    /// Threads; beyond it no more can be started (`pids.max`).
    pub threads: u64,
}

/// The period of `cpu.max` in microseconds: the kernel's default.
const PERIOD: f64 = 100_000.0;
/// The kernel refuses smaller quotas.
const LEAST_QUOTA: f64 = 1_000.0;

/// Memory that all children together leave to the rest of the box: a share of RAM, within bounds.
pub(super) const RESERVE_SHARE: u64 = 8;
pub(super) const RESERVE: std::ops::RangeInclusive<u64> = 48 * 1024 * 1024..=256 * 1024 * 1024;
/// Threads of all children together.
pub(super) const JOBS_THREADS: u64 = 4096;
/// Threads of one child that has no limit of its own: one that forks for ever must not take those of the others.
pub(super) const LEAF_THREADS: u64 = 1024;

impl Limits {
    /// Control files and what is written to them. All are written each time, since a leaf may have had other limits.
    pub(super) fn files(&self) -> [(&'static str, String); 4] {
        let memory = number(self.memory_bytes);
        let threads = if self.threads == 0 { LEAF_THREADS } else { self.threads };
        [
            ("memory.max", memory),
            // Else a child without a limit of swap goes on there.
            ("memory.oom.group", "1".to_owned()),
            ("cpu.max", quota(self.cpu_percent)),
            ("pids.max", threads.to_string()),
        ]
    }
}

/// The limits of all children together, on a box with `ram` bytes.
pub(super) fn of_all(ram: u64) -> [(&'static str, String); 2] {
    let reserve = (ram / RESERVE_SHARE).clamp(*RESERVE.start(), *RESERVE.end());
    [("memory.max", number(ram.saturating_sub(reserve))), ("pids.max", JOBS_THREADS.to_string())]
}

fn number(bytes: u64) -> String {
    if bytes == 0 { "max".to_owned() } else { bytes.to_string() }
}

fn quota(percent: f64) -> String {
    if percent <= 0.0 {
        return format!("max {PERIOD}");
    }
    let quota = (percent / 100.0 * PERIOD).round().max(LEAST_QUOTA);
    format!("{quota} {PERIOD}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_limits() {
        let text = |limits: Limits| limits.files().map(|(file, text)| format!("{file}={text}")).join(" ");
        assert_eq!(text(Limits::default()), "memory.max=max memory.oom.group=1 cpu.max=max 100000 pids.max=1024");
        let limits = Limits { memory_bytes: 5 << 30, cpu_percent: 150.0, threads: 7 };
        assert_eq!(text(limits), "memory.max=5368709120 memory.oom.group=1 cpu.max=150000 100000 pids.max=7");
        let least = Limits { cpu_percent: 0.01, ..Limits::default() };
        assert!(text(least).contains("cpu.max=1000 100000"));
    }

    #[test]
    fn a_reserve_is_left() {
        let mib = 1024 * 1024;
        let memory = |ram: u64| of_all(ram * mib)[0].1.clone();
        assert_eq!(memory(400), ((400 - 50) * mib).to_string());
        assert_eq!(memory(256), ((256 - 48) * mib).to_string());
        assert_eq!(memory(8192), ((8192 - 256) * mib).to_string());
        assert_eq!(memory(16), "max", "a box that small has no use for it");
    }
}
