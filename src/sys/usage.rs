//! What the box and our share of it are doing: CPU time, memory, network interfaces, volumes, the daemon's own use.
//!
//! Where a cgroup above us limits CPU or memory, the group is the box: its quota, its use. Version 2 only; under version 1
//! the figures are those of the whole machine. Plain reads of `/proc` and `/sys`, a few dozen microseconds each, but for
//! `volume`, which may hang with its disk.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::proc::{Stat, parse_quota};

/// Interfaces that are told; containers make hundreds.
pub const INTERFACES: usize = 64;

/// CPU time since some moment in the past, all CPUs together, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuTimes {
    /// CPUs that may be used; a fraction under a quota.
    pub capacity: f64,
    pub user: f64,
    pub system: f64,
    /// `None`: a cgroup does not count it; it is what is left of `capacity`.
    pub idle: Option<f64>,
    /// Interrupts, waiting for disks, other guests of the host.
    pub other: f64,
}

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub total: u64,
    /// What can still be had without swapping.
    pub free: u64,
}

/// Bytes since the interface is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub received: u64,
    pub sent: u64,
}

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    pub total: u64,
    pub used: u64,
    /// What programs without special rights may still write; file systems keep some for root.
    pub free: u64,
}

impl Volume {
    /// From numbers of blocks, free ones and those of them for everyone, and the size of one.
    fn new(blocks: u64, free: u64, open: u64, unit: u64) -> Self {
        let used = blocks.saturating_sub(free);
        let bytes = |blocks: u64| blocks.saturating_mul(unit);
        Self { total: bytes(blocks), used: bytes(used), free: bytes(open.min(free)) }
    }
}

/// The daemon itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    pub cpu: Duration,
    /// Bytes.
    pub resident: u64,
    /// Bytes of the heap: in use, and kept for later. `None` with an allocator that does not tell.
    pub heap: Option<(u64, u64)>,
}

/// The groups whose limits concern us.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cgroups {
    /// The tightest quota in CPUs.
    cpu: Option<(PathBuf, f64)>,
    /// Groups with a memory limit.
    memory: Vec<PathBuf>,
}

impl Cgroups {
    /// Looks for limits of our group and those above it.
    pub fn find() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        own.map_or_else(Self::default, |own| Self::below(Path::new("/sys/fs/cgroup"), own))
    }

    fn below(root: &Path, own: &str) -> Self {
        let mut found = Self::default();
        for group in Path::new(own).ancestors().map(|group| root.join(group)) {
            let quota = fs::read_to_string(group.join("cpu.max")).ok().and_then(|text| parse_quota(&text));
            if let Some(quota) = quota
                && found.cpu.as_ref().is_none_or(|(_, tightest)| quota < *tightest)
            {
                found.cpu = Some((group.clone(), quota));
            }
            if read_number(&group.join("memory.max")).is_some() {
                found.memory.push(group);
            }
        }
        found
    }

    /// CPU time of the group with the quota, else of the box.
    pub fn cpu_times(&self) -> Option<CpuTimes> {
        if let Some((group, capacity)) = &self.cpu {
            return parse_cpu_stat(&fs::read_to_string(group.join("cpu.stat")).ok()?, *capacity);
        }
        let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let capacity = u32::try_from(all).map_or(1.0, f64::from);
        parse_proc_stat(&fs::read_to_string("/proc/stat").ok()?, capacity)
    }

    /// Memory of the box, or what the limits leave of it.
    pub fn memory(&self) -> Option<Memory> {
        let mut memory = parse_meminfo(&fs::read_to_string("/proc/meminfo").ok()?)?;
        for group in &self.memory {
            let Some(limit) = read_number(&group.join("memory.max")) else { continue };
            let used = read_number(&group.join("memory.current")).unwrap_or(0);
            let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
            // Pages of files that were read once are given back at the first need.
            let used = used.saturating_sub(field(&stat, "inactive_file").unwrap_or(0));
            memory.total = memory.total.min(limit);
            memory.free = memory.free.min(limit.saturating_sub(used));
        }
        Some(memory)
    }
}

/// The interfaces of our network namespace.
pub fn interfaces() -> Vec<Interface> {
    let text = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    text.lines().filter_map(parse_interface).take(INTERFACES).collect()
}

/// The volume that `path` lies on.
///
/// # Errors
/// What `statvfs` says.
pub fn volume(path: &Path) -> io::Result<Volume> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // Not statvfs: on 32-bit systems it counts blocks in 32 bits and refuses larger volumes.
    // SAFETY: a struct of numbers, for which zeros are a value.
    let mut stat: libc::statvfs64 = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in a zero and the struct is ours.
    if unsafe { libc::statvfs64(path.as_ptr(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    #[allow(clippy::useless_conversion)] // its width is the system's
    let unit = u64::from(stat.f_frsize);
    Ok(Volume::new(stat.f_blocks, stat.f_bfree, stat.f_bavail, unit))
}

/// What the daemon uses.
pub fn own() -> Option<Own> {
    let (cpu, resident) = Stat::open(std::process::id()).ok()?.sample()?;
    Some(Own { cpu, resident, heap: heap() })
}

#[cfg(target_env = "gnu")]
fn heap() -> Option<(u64, u64)> {
    // SAFETY: a plain call that fills a struct of numbers.
    let heap = unsafe { libc::mallinfo2() };
    Some(((heap.uordblks + heap.hblkhd) as u64, heap.fordblks as u64))
}

#[cfg(not(target_env = "gnu"))]
fn heap() -> Option<(u64, u64)> {
    None
}

fn read_number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The number behind `name` in lines of name and number.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Sums over all CPUs, in the first line of `/proc/stat` (proc_stat(5)).
fn parse_proc_stat(text: &str, capacity: f64) -> Option<CpuTimes> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line.split_ascii_whitespace().map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let &[user, nice, system, idle, ref rest @ ..] = &ticks[..] else { return None };
    // SAFETY: sysconf reads a constant.
    let per_second = match unsafe { libc::sysconf(libc::_SC_CLK_TCK) } {
        ticks if ticks > 0 => i32::try_from(ticks).map_or(100.0, f64::from),
        _ => 100.0,
    };
    // iowait, irq, softirq, steal; guests are part of user and nice.
    let other: f64 = rest.iter().take(4).sum();
    Some(CpuTimes {
        capacity,
        user: (user + nice) / per_second,
        system: system / per_second,
        idle: Some(idle / per_second),
        other: other / per_second,
    })
}

/// `cpu.stat` (cgroup-v2.rst).
fn parse_cpu_stat(text: &str, capacity: f64) -> Option<CpuTimes> {
    let seconds = |name| field(text, name).map(|micros| Duration::from_micros(micros).as_secs_f64());
    Some(CpuTimes { capacity, user: seconds("user_usec")?, system: seconds("system_usec")?, idle: None, other: 0.0 })
}

fn parse_meminfo(text: &str) -> Option<Memory> {
    let bytes = |name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    let total = bytes("MemTotal")?;
    Some(Memory { total, free: bytes("MemAvailable").or_else(|| bytes("MemFree"))?.min(total) })
}

/// A line of `/proc/net/dev`: `name: rx_bytes … (8 fields) tx_bytes …`; the headings have no number there.
fn parse_interface(line: &str) -> Option<Interface> {
    let (name, numbers) = line.rsplit_once(": ").or_else(|| line.rsplit_once(':'))?;
    let mut numbers = numbers.split_ascii_whitespace();
    let received = numbers.next()?.parse().ok()?;
    let sent = numbers.nth(7)?.parse().ok()?;
    Some(Interface { name: name.trim().to_owned(), received, sent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc() {
        let stat = "cpu  400 100 300 5000 60 10 20 10 7 3\ncpu0 1 2 3 4\nintr 5\n";
        let times = parse_proc_stat(stat, 4.0).expect("times");
        let ticks = 400.0 / times.user * 1.25;
        assert_eq!(times.capacity, 4.0);
        assert_eq!((times.system * ticks, times.other * ticks), (300.0, 100.0));
        assert_eq!(times.idle.map(|idle| idle * ticks), Some(5000.0));
        assert_eq!(parse_proc_stat("cpu0 1 2 3 4\n", 1.0), None);
        assert_eq!(parse_proc_stat("cpu  1 x 3 4\n", 1.0), None);
        assert_eq!(
            parse_cpu_stat("usage_usec 3\nuser_usec 2000000\nsystem_usec 500000\n", 0.5).map(|t| (t.user, t.system)),
            Some((2.0, 0.5))
        );
        let meminfo = "MemTotal:  1000 kB\nMemFree:   100 kB\nMemAvailable:   700 kB\n";
        assert_eq!(parse_meminfo(meminfo), Some(Memory { total: 1_024_000, free: 716_800 }));
        assert_eq!(parse_meminfo("MemTotal:  1000 kB\nMemFree:   100 kB\n").map(|m| m.free), Some(102_400));
        assert_eq!(parse_meminfo("MemFree:   100 kB\n"), None);
    }

    #[test]
    fn interfaces_are_told_apart_from_headings() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
             face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n    \
             lo: 123 4 0 0 0 0 0 0 456 4 0 0 0 0 0 0\n\
             eth0:1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n\
             br0:1: 5 2 0 0 0 0 0 0 6 4 0 0 0 0 0 0\n";
        let found: Vec<_> = text.lines().filter_map(parse_interface).map(|i| (i.name, i.received, i.sent)).collect();
        let expected = [("lo", 123, 456), ("eth0", 1, 3), ("br0:1", 5, 6)];
        assert_eq!(found, expected.map(|(name, received, sent)| (name.to_owned(), received, sent)));
    }

    #[test]
    fn volumes_beyond_4_gib_and_16_tib() {
        let half = Volume { total: 1 << 32, used: 1 << 31, free: 1 << 30 };
        assert_eq!(Volume::new(1 << 20, 1 << 19, 1 << 18, 4096), half);
        let full = Volume { total: 1 << 45, used: (1 << 45) - 4096, free: 4096 };
        assert_eq!(Volume::new(1 << 33, 1, 2, 4096), full);
        let own = volume(Path::new("/")).expect("a volume");
        assert!(own.used <= own.total);
        assert!(volume(Path::new("/nowhere")).is_err() && volume(Path::new("a\0b")).is_err());
    }

    #[test]
    fn counters_of_interfaces_and_ticks_go_beyond_32_bits() {
        let found = parse_interface("eth0: 5000000000 4 0 0 0 0 0 0 18446744073709551615 4 0 0 0 0 0 0");
        assert_eq!(found.map(|i| (i.received, i.sent)), Some((5_000_000_000, u64::MAX)));
        let meminfo = "MemTotal: 8388608 kB\nMemAvailable: 5242880 kB\n";
        assert_eq!(parse_meminfo(meminfo), Some(Memory { total: 8 << 30, free: 5 << 30 }));
    }

    #[test]
    fn limits_of_groups_above_count() {
        let root = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        file("a/b/cpu.max", "max 100000\n");
        file("a/cpu.max", "150000 100000\n");
        file("a/cpu.stat", "usage_usec 30\nuser_usec 3000000\nsystem_usec 1000000\n");
        file("a/b/memory.max", "max\n");
        file("a/memory.max", "104857600\n");
        file("a/memory.current", "52428800\n");
        file("a/memory.stat", "anon 1\ninactive_file 10485760\n");
        let groups = Cgroups::below(root.path(), "a/b");
        let times = groups.cpu_times().expect("times");
        assert_eq!((times.capacity, times.user, times.system, times.idle), (1.5, 3.0, 1.0, None));
        let memory = groups.memory().expect("memory");
        assert_eq!(memory.total, 104_857_600);
        assert!(memory.free <= 62_914_560, "{memory:?}");
        assert_eq!(Cgroups::below(root.path(), "c"), Cgroups::default());
    }

    #[test]
    fn this_box() {
        let groups = Cgroups::find();
        let times = groups.cpu_times().expect("times");
        assert!(times.capacity > 0.0 && times.user > 0.0 && times.system > 0.0, "{times:?}");
        let memory = groups.memory().expect("memory");
        assert!(memory.free > 0 && memory.free <= memory.total, "{memory:?}");
        assert!(interfaces().iter().any(|interface| interface.name == "lo"));
        let volume = volume(Path::new("/")).expect("the root");
        assert!(volume.used <= volume.total && volume.total > 0, "{volume:?}");
        let own = own().expect("we run");
        assert!(own.resident > 1_000_000, "{own:?}");
        assert!(own.heap.is_none_or(|(used, _)| used > 0), "{own:?}");
    }
}
