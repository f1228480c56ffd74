//! What `/proc` tells: a child's CPU time and memory, how many CPUs there are for us, children a dead daemon left.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::child::MARKER;

/// `/proc/<pid>/stat` is one line, well below this.
const STAT_BYTES: usize = 1024;
/// Environments longer than this belong to no child of ours.
const ENVIRON_BYTES: usize = 8 * 1024;

/// The open `stat` file of one process; reading it after the process has ended fails.
pub struct Stat {
    file: File,
    page_bytes: u64,
    ticks_per_second: u64,
}

impl Stat {
    /// Opens the file of process `pid`.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn open(pid: u32) -> io::Result<Self> {
        let file = File::open(format!("/proc/{pid}/stat"))?;
        // SAFETY: sysconf reads constants.
        let (page, ticks) = unsafe { (libc::sysconf(libc::_SC_PAGESIZE), libc::sysconf(libc::_SC_CLK_TCK)) };
        let page_bytes = u64::try_from(page).unwrap_or(4096);
        Ok(Self { file, page_bytes, ticks_per_second: u64::try_from(ticks).unwrap_or(100).max(1) })
    }

    /// User plus system time since the start, and the resident set in bytes.
    pub fn sample(&self) -> Option<(Duration, u64)> {
        let mut buffer = [0; STAT_BYTES];
        let length = self.file.read_at(&mut buffer, 0).ok()?;
        let (ticks, pages) = parse_stat(&buffer[..length])?;
        let cpu = Duration::from_millis(ticks.saturating_mul(1000) / self.ticks_per_second);
        Some((cpu, pages.saturating_mul(self.page_bytes)))
    }
}

/// CPU ticks and resident pages (fields 14, 15 and 24 of proc_pid_stat(5)); the name in field 2 may hold anything.
fn parse_stat(line: &[u8]) -> Option<(u64, u64)> {
    let mut fields = after_name(line)?;
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let pages: i64 = fields.nth(8)?.parse().ok()?;
    Some((user.saturating_add(system), u64::try_from(pages).unwrap_or(0)))
}

/// The fields from the third on.
fn after_name(line: &[u8]) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    let end = line.iter().rposition(|&byte| byte == b')')?;
    Some(std::str::from_utf8(&line[end + 1..]).ok()?.split_ascii_whitespace())
}

/// CPUs that the daemon and its children may use: the least quota of its cgroup and those above, else all of the box.
pub fn cpu_capacity() -> f64 {
    let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let all = u32::try_from(all).map_or(1.0, f64::from);
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(group) = own.lines().find_map(|line| line.strip_prefix("0::/")) else { return all };
    least_quota(Path::new("/sys/fs/cgroup"), group).map_or(all, |quota| quota.min(all))
}

/// In CPUs; `None` if nobody sets one.
fn least_quota(mount: &Path, group: &str) -> Option<f64> {
    let quota = |group: &Path| parse_quota(&fs::read_to_string(mount.join(group).join("cpu.max")).ok()?);
    Path::new(group).ancestors().filter_map(quota).reduce(f64::min)
}

/// `<quota> <period>` in microseconds, or `max` (cgroup-v2.rst, cpu.max).
pub(super) fn parse_quota(text: &str) -> Option<f64> {
    let mut fields = text.split_ascii_whitespace();
    let quota: f64 = fields.next()?.parse().ok()?;
    let period: f64 = fields.next()?.parse().ok()?;
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// Kills every process that carries `marker` and whose daemon is dead; returns how many there were.
///
/// Children of another living daemon with the same marker (a second start by mistake) are left alone.
pub fn kill_leftovers(marker: &OsStr) -> usize {
    let own = fs::read_link("/proc/self/exe").ok();
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| has_marker(pid, marker) && !is_supervised(pid, marker, own.as_ref()) && kill(pid, marker))
        .count()
}

/// Whether the first ancestor without the marker is a daemon like this one, but not this one.
fn is_supervised(pid: u32, marker: &OsStr, own: Option<&PathBuf>) -> bool {
    let mut parent = parent_of(pid);
    while let Some(pid) = parent.filter(|&pid| pid > 1 && has_marker(pid, marker)) {
        parent = parent_of(pid);
    }
    let Some(parent) = parent.filter(|&pid| pid != std::process::id()) else { return false };
    own.is_some() && fs::read_link(format!("/proc/{parent}/exe")).ok().as_ref() == own
}

fn parent_of(pid: u32) -> Option<u32> {
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    after_name(&line)?.nth(1)?.parse().ok()
}

fn has_marker(pid: u32, marker: &OsStr) -> bool {
    let Ok(file) = File::open(format!("/proc/{pid}/environ")) else { return false };
    let mut buffer = vec![0; ENVIRON_BYTES];
    let Ok(length) = file.read_at(&mut buffer, 0) else { return false };
    let is_ours = |variable: &[u8]| {
        variable.strip_prefix(MARKER.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) == Some(marker.as_bytes())
    };
    buffer[..length].split(|&byte| byte == 0).any(is_ours)
}

/// Kills `pid` if it is still the process with the marker.
fn kill(pid: u32, marker: &OsStr) -> bool {
    // SAFETY: plain system calls; the descriptor is ours alone. It names the process even if its number is reused.
    unsafe {
        let fd = i32::try_from(libc::syscall(libc::SYS_pidfd_open, pid, 0)).unwrap_or(-1);
        if fd < 0 {
            return false;
        }
        let fd = OwnedFd::from_raw_fd(fd);
        let no_info = std::ptr::null::<libc::siginfo_t>();
        has_marker(pid, marker)
            && libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), libc::SIGKILL, no_info, 0) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines() {
        let line = b"7 (a) b) c) S 1 7 7 0 -1 4194304 1 2 3 4 250 50 6 7 20 0 1 0 99 1000 321 18446744073709551615 1";
        assert_eq!(parse_stat(line), Some((300, 321)));
        assert_eq!(after_name(line).and_then(|mut fields| fields.nth(1)), Some("1"));
        assert_eq!(parse_stat(b"7 (a"), None);
        assert_eq!(parse_stat(b"7 (a) S 1"), None);
        let own = Stat::open(std::process::id()).expect("we run").sample().expect("we still run");
        assert!(own.1 > 100_000, "{own:?}");
    }

    #[test]
    fn quotas() {
        assert_eq!(parse_quota("150000 100000\n"), Some(1.5));
        assert_eq!(parse_quota("max 100000\n"), None);
        assert_eq!(parse_quota(""), None);
        assert!(cpu_capacity() > 0.0);
        let mount = tempfile::tempdir().expect("a directory");
        let set = |group: &str, text: &str| {
            fs::create_dir_all(mount.path().join(group)).expect("a directory");
            fs::write(mount.path().join(group).join("cpu.max"), text).expect("a file");
        };
        set("a/b", "max 100000");
        assert_eq!(least_quota(mount.path(), "a/b"), None);
        set("a", "50000 100000");
        set("a/b/c", "200000 100000");
        assert_eq!(least_quota(mount.path(), "a/b/c"), Some(0.5));
    }
}
