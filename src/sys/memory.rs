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

/// Gives back what seldom work (the start, reading FFmpeg's lists) leaves behind: free pages of the heap, and code that
/// is not needed again. The kernel maps each page of code with fifteen neighbours; what is still needed is mapped anew
/// from the page cache at its next use.
pub fn settle() {
    trim();
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for range in maps.lines().filter_map(code) {
        // SAFETY: unchanged pages of a file; dropped ones read the same again.
        unsafe {
            libc::madvise(std::ptr::with_exposed_provenance_mut(range.start), range.len(), libc::MADV_DONTNEED);
        }
    }
}

/// Gives back the free pages of the heap, also those between pages in use.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a plain call; the allocator locks itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The addresses of a line of `/proc/self/maps` (proc_pid_maps(5)) if they are executable, read-only and a file's.
fn code(line: &str) -> Option<std::ops::Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (addresses, permissions) = (fields.next()?, fields.next()?);
    let inode = fields.nth(2)?;
    let (start, end) = addresses.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    (permissions == "r-xp" && inode != "0").then_some(number(start)?..number(end)?)
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
    fn lines_of_maps() {
        let line =
            |permissions, inode| format!("55c0a000-55c1f000 {permissions} 00011000 fe:01 {inode}   /usr/bin/rill");
        assert_eq!(code(&line("r-xp", "1234")), Some(0x55c0_a000..0x55c1_f000));
        assert_eq!(code(&line("r--p", "1234")), None);
        assert_eq!(code(&line("rwxp", "1234")), None);
        assert_eq!(code(&line("r-xp", "0")), None);
        assert_eq!(code("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]"), None);
        settle();
    }

    #[test]
    fn meminfo() {
        assert_eq!(total("MemTotal:         405404 kB\nMemFree: 1 kB\n"), Some(405_404 * 1024));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert!(available() > 0);
    }
}
