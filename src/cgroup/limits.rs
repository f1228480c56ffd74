//! Limits as the texts of control files (cgroup-v2.rst, "Controllers").

use crate::process::HardLimits;

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

/// Memory of the daemon that is not taken from it: its code and what it works with, not the files that it serves.
pub(super) const DAEMON_MEMORY: u64 = 32 * 1024 * 1024;

/// Control files of a leaf and what is written to them. All are written each time, since it may have had other limits.
pub(super) fn of_leaf(limits: &HardLimits) -> [(&'static str, String); 4] {
    let threads = if limits.threads == 0 { LEAF_THREADS } else { limits.threads };
    [
        ("memory.max", number(limits.memory_bytes)),
        // All of it ends, not just the largest of its processes.
        ("memory.oom.group", "1".to_owned()),
        ("cpu.max", quota(limits.cpu_percent)),
        ("pids.max", threads.to_string()),
    ]
}

/// The limits of all children together, on a box with `ram` bytes.
pub(super) fn of_all(ram: u64) -> [(&'static str, String); 2] {
    let reserve = (ram / RESERVE_SHARE).clamp(*RESERVE.start(), *RESERVE.end());
    [("memory.max", number(ram.saturating_sub(reserve))), ("pids.max", JOBS_THREADS.to_string())]
}

/// What the daemon itself is given. In force as far as the groups above have as much (`MemoryMin=`).
pub(super) fn of_daemon() -> [(&'static str, String); 1] {
    [("memory.min", DAEMON_MEMORY.to_string())]
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
        let text = |limits: HardLimits| of_leaf(&limits).map(|(file, text)| format!("{file}={text}")).join(" ");
        assert_eq!(text(HardLimits::default()), "memory.max=max memory.oom.group=1 cpu.max=max 100000 pids.max=1024");
        let limits = HardLimits { memory_bytes: 5 << 30, cpu_percent: 150.0, threads: 7 };
        assert_eq!(text(limits), "memory.max=5368709120 memory.oom.group=1 cpu.max=150000 100000 pids.max=7");
        let least = HardLimits { cpu_percent: 0.01, ..HardLimits::default() };
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
