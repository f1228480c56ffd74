//! How much memory the daemon may use, and how it gives back what it does not.

use std::fs;
use std::path::Path;

/// Assumed when the kernel does not say: the smallest board we run on.
const UNKNOWN: u64 = 256 * 1024 * 1024;

/// Bytes: RAM, or less if a cgroup above us has a limit.
pub fn available() -> u64 {
    let ram = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text)).unwrap_or(UNKNOWN);
    let own = fs::read_to_string("/proc/self/cgroup").ok();
    let own = own.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::/")));
    let limits = own.into_iter().flat_map(|own| Path::new(own).ancestors()).filter_map(|group| {
        let file = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
        fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
    });
    limits.fold(ram, u64::min)
}

/// Lets all threads allocate from one heap: there is one thread that counts, and each further heap costs pages. To be
/// called before any thread starts.
pub fn share_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a plain call that sets a number.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives free pages of the heap back to the system; for the end of work that needed much at once and comes seldom.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a plain call; the allocator locks itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// `MemTotal` of `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo() {
        assert_eq!(total("MemTotal:         405404 kB\nMemFree: 1 kB\n"), Some(405_404 * 1024));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert!(available() > 0);
    }
}
