//! Figures of `/proc/self`, and their text.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::fs;
use std::path::Path;

use crate::base::tree;
use crate::supervisor::ProcessView;

/// Bytes that are read of one file.
const FILE: usize = 64 * 1024;
/// Nanoseconds of a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// Adds a name and its value.
pub(super) fn line(text: &mut String, name: &str, value: impl Display) {
    let _ = writeln!(text, "{name:<42} {value:>14}");
}

/// A file of `/proc` as text, at most `FILE` bytes; empty if it can't be read.
pub(super) fn read(path: impl AsRef<Path>) -> String {
    let mut bytes = fs::read(path).unwrap_or_default();
    bytes.truncate(FILE);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The text of a process's report.
pub(super) fn report_bytes(view: &ProcessView) -> usize {
    view.report.as_ref().map_or(0, |report| report.lines().map(String::len).sum())
}

/// A thread by `/proc/self/task`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thread {
    name: String,
    state: char,
    /// Nanoseconds.
    cpu: u64,
    /// Times that it went to sleep, and that it was interrupted.
    given: u64,
    taken: u64,
}

/// All threads by their id.
pub(super) fn threads() -> BTreeMap<u32, Thread> {
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let thread = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let status = read(entry.path().join("status"));
        let schedule = read(entry.path().join("schedstat"));
        Some((id, Thread::new(&status, &schedule)))
    };
    tree::map(entries.filter_map(thread))
}

impl Thread {
    /// From `status` and `schedstat` of proc_pid_status(5), proc_pid_schedstat(5).
    fn new(status: &str, schedule: &str) -> Self {
        Self {
            name: value(status, "Name").to_owned(),
            state: value(status, "State").chars().next().unwrap_or('?'),
            cpu: schedule.split_ascii_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0),
            given: number(status, "voluntary_ctxt_switches"),
            taken: number(status, "nonvoluntary_ctxt_switches"),
        }
    }
}

/// What has come to each thread since `before`; threads that ended meanwhile are left out.
pub(super) fn since(now: BTreeMap<u32, Thread>, before: &BTreeMap<u32, Thread>) -> BTreeMap<u32, Thread> {
    let difference = |(id, thread): (u32, Thread)| {
        let Some(before) = before.get(&id) else { return (id, thread) };
        let cpu = thread.cpu.saturating_sub(before.cpu);
        let given = thread.given.saturating_sub(before.given);
        let taken = thread.taken.saturating_sub(before.taken);
        (id, Thread { cpu, given, taken, ..thread })
    };
    tree::map(now.into_iter().map(difference))
}

/// Threads as lines.
pub(super) fn table(threads: &BTreeMap<u32, Thread>) -> String {
    let mut text = format!("{:>8} {:<16} state {:>12} {:>10} {:>10}\n", "thread", "name", "ms", "given", "taken");
    for (id, Thread { name, state, cpu, given, taken }) in threads {
        let (whole, rest) = (cpu / MILLISECOND, cpu % MILLISECOND / 1000);
        let _ = writeln!(text, "{id:>8} {name:<16} {state:>5} {whole:>8}.{rest:03} {given:>10} {taken:>10}");
    }
    text
}

/// Counters of the process that only grow.
#[derive(Debug)]
pub(super) struct Sample(Vec<(&'static str, u64)>);

impl Sample {
    /// As at the start.
    pub(super) fn none() -> Self {
        Self::new("", "", std::iter::empty())
    }

    pub(super) fn take() -> Self {
        Self::new(&read("/proc/self/stat"), &read("/proc/self/io"), threads().values())
    }

    /// From `stat` and `io` of proc_pid_stat(5), proc_pid_io(5).
    fn new<'a>(stat: &str, io: &str, threads: impl Iterator<Item = &'a Thread>) -> Self {
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
        let field = |at: usize| fields.get(at).and_then(|text| text.parse().ok()).unwrap_or(0);
        let (given, taken, cpu) =
            threads.fold((0, 0, 0), |(given, taken, cpu), t| (given + t.given, taken + t.taken, cpu + t.cpu));
        Self(vec![
            ("processor time, µs", cpu / 1000),
            ("switches given (it had nothing to do)", given),
            ("switches taken (others were more urgent)", taken),
            ("page faults without disk", field(7)),
            ("page faults with disk", field(9)),
            ("read calls", number(io, "syscr")),
            ("write calls", number(io, "syscw")),
            ("bytes read, sockets included", number(io, "rchar")),
            ("bytes written, sockets included", number(io, "wchar")),
            ("bytes read from disks", number(io, "read_bytes")),
            ("bytes written to disks", number(io, "write_bytes")),
        ])
    }

    /// What was added since `before`, as lines.
    pub(super) fn since(&self, before: &Self) -> String {
        let mut text = String::new();
        for ((name, now), (_, before)) in self.0.iter().zip(&before.0) {
            line(&mut text, name, now.saturating_sub(*before));
        }
        text
    }
}

/// What stands behind `NAME:`.
fn value<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("").trim()
}

fn number(text: &str, name: &str) -> u64 {
    value(text, name).parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\trill\nState:\tS (sleeping)\nvoluntary_ctxt_switches:\t12\n\
        nonvoluntary_ctxt_switches:\t3\n";

    #[test]
    fn threads_and_what_came_to_them() {
        let thread = Thread::new(STATUS, "2500000 7 9\n");
        let expected = Thread { name: "rill".to_owned(), state: 'S', cpu: 2_500_000, given: 12, taken: 3 };
        assert_eq!(thread, expected);
        let before = BTreeMap::from([(1, Thread { cpu: 500_000, given: 2, taken: 3, ..thread.clone() })]);
        let now = BTreeMap::from([(1, thread.clone()), (2, thread)]);
        let text = table(&since(now, &before));
        assert!(text.contains("1 rill                 S        2.000         10          0\n"), "{text}");
        assert!(text.contains("2 rill                 S        2.500         12          3\n"), "{text}");
        assert_eq!(Thread::new("", "").state, '?');
        assert!(threads().values().any(|thread| thread.cpu > 0));
    }

    #[test]
    fn counters_of_the_process() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 2 30 4 250 50";
        let io = "rchar: 10\nwchar: 20\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\n";
        let thread = Thread::new(STATUS, "2500000 7 9\n");
        let later = Sample::new(stat, io, std::iter::once(&thread));
        let text = later.since(&Sample::none());
        for (name, value) in [("processor time, µs", 2500), ("page faults without disk", 100), ("write calls", 4)] {
            let mut expected = String::new();
            line(&mut expected, name, value);
            assert!(text.contains(&expected), "{text}");
        }
        assert!(later.since(&later).lines().all(|line| line.ends_with(" 0")));
        assert!(Sample::take().0.iter().any(|(name, value)| *name == "read calls" && *value > 0));
    }
}
