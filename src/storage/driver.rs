//! The task of the mounts: cleanup rules once a second, what dropped uploads left, the size of the disk.
//!
//! It sleeps while there is nothing to watch. Files in memory are found by the literal beginning of a rule's
//! pattern; directories on disk are read once per round for all rules that begin there, however many they are.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;

use super::Inner;
use super::cleanup::{Candidate, Rule, Target};
use crate::base::clock::Now;
use crate::base::error::chain;

/// Time between two rounds of the cleanup rules.
pub(super) const ROUND: Duration = Duration::from_secs(1);
/// Time between two measurements of a disk with a size limit.
pub(super) const MEASURE: Duration = Duration::from_secs(10);
/// How long after a purge an upload may still arrive: what FFmpeg had sent before it ended may wait in a socket.
const LATE_UPLOAD: Duration = Duration::from_secs(2);
/// Purging rules that are remembered for late uploads; beyond it the oldest is forgotten.
const LATE_RULES: usize = 64;
/// A disk that answers slowly is read at most this share of the time: one in `DISK_SHARE`.
const DISK_SHARE: u32 = 20;

/// Runs until the last handle is gone. A round that fails costs that round only.
pub(super) async fn run(inner: Weak<Inner>) {
    let mut schedule = Schedule { measured: None, disk_from: Instant::now() };
    loop {
        let Some(inner) = inner.upgrade() else { return };
        if AssertUnwindSafe(round(&inner, &mut schedule)).catch_unwind().await.is_err() {
            log::error!(target: "Cleanup", "a round of the cleanup rules failed");
        }
        let wake = inner.wake.clone();
        let is_busy = inner.has_work();
        drop(inner);
        if is_busy {
            tokio::time::sleep(ROUND).await;
        } else {
            wake.notified().await;
        }
    }
}

/// When the slow parts of a round are due.
struct Schedule {
    measured: Option<Instant>,
    disk_from: Instant,
}

async fn round(inner: &Inner, schedule: &mut Schedule) {
    let begun = Instant::now();
    inner.disk.sweep().await;
    clean_mem(inner, begun);
    purge_late(inner, begun);
    // The first measurement also removes what uploads of the last run left.
    let is_due = |at| inner.disk.has_limit() && begun.duration_since(at) >= MEASURE;
    if schedule.measured.is_none_or(is_due) {
        schedule.measured = Some(begun);
        inner.disk.measure().await;
        report_size(inner);
    }
    purge_disk(inner).await;
    if begun >= schedule.disk_from {
        let started = Instant::now();
        clean_disk(inner).await;
        schedule.disk_from = Instant::now() + started.elapsed() * DISK_SHARE;
    }
}

/// Removes what the standing rules about files in memory say.
fn clean_mem(inner: &Inner, now: Instant) {
    let rules = inner.rules.borrow().standing(&Target::Mem);
    for rule in rules {
        let files = inner.mem.list(rule.glob.prefix()).into_iter().filter(|file| rule.glob.matches(&file.path));
        let candidates = files.map(|file| Candidate {
            path: file.path.to_string(),
            since: file.meta.inserted,
            order: u128::from(file.meta.version),
        });
        for path in rule.victims(now, candidates.collect()) {
            inner.mem.remove(&path);
        }
    }
}

/// Rules about files in memory whose owner is gone, while its last uploads may still arrive.
#[derive(Default)]
pub(super) struct Late(VecDeque<(String, Rule, Instant)>);

impl Late {
    /// An owner is back: what matches is its own again.
    pub(super) fn forget(&mut self, owner: &str) {
        self.0.retain(|(gone, ..)| gone != owner);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn remember(&mut self, owner: &str, rule: Rule, until: Instant) {
        if self.0.len() >= LATE_RULES {
            self.0.pop_front();
        }
        self.0.push_back((owner.to_owned(), rule, until));
    }

    /// The rules that still count at `now`, and once more those whose time is over.
    fn take(&mut self, now: Instant) -> Vec<Rule> {
        let rules = self.0.iter().map(|(_, rule, _)| rule.clone()).collect();
        self.0.retain(|(.., until)| now < *until);
        rules
    }
}

/// Removes the files of those `rules` of `owner` that purge.
pub(super) fn purge(inner: &Rc<Inner>, owner: &str, rules: Vec<Rule>) {
    for rule in rules.into_iter().filter(|rule| rule.purge) {
        match &rule.target {
            Target::Mem => {
                purge_mem(inner, &rule);
                inner.late.borrow_mut().remember(owner, rule, Instant::now() + LATE_UPLOAD);
            }
            Target::Disk => inner.purges.borrow_mut().push(rule),
            Target::S3(name) => {
                if let Some(mount) = inner.s3.borrow().iter().find(|mount| mount.name() == name) {
                    mount.purges().add(owner, rule.clone());
                    mount.wake();
                }
            }
        }
    }
    inner.wake.notify_one();
}

fn purge_late(inner: &Inner, now: Instant) {
    let rules = inner.late.borrow_mut().take(now);
    for rule in rules {
        purge_mem(inner, &rule);
    }
}

fn purge_mem(inner: &Inner, rule: &Rule) {
    let files = inner.mem.list(rule.glob.prefix());
    for file in files.iter().filter(|file| rule.glob.matches(&file.path)) {
        inner.mem.remove(&file.path);
    }
}

async fn purge_disk(inner: &Inner) {
    let rules = std::mem::take(&mut *inner.purges.borrow_mut());
    for rule in rules {
        let files = inner.disk.scan(rule.glob.prefix().to_owned(), rule.glob.depth()).await;
        for file in files.iter().filter(|file| rule.glob.matches(&file.path)) {
            remove_from_disk(inner, &file.path).await;
        }
    }
}

async fn clean_disk(inner: &Inner) {
    let rules = inner.rules.borrow().standing(&Target::Disk);
    let mut starts: BTreeMap<String, Vec<&Rule>> = BTreeMap::new();
    for rule in &rules {
        let prefix = rule.glob.prefix();
        let directory = prefix.rfind('/').map_or("/", |slash| &prefix[..=slash]);
        starts.entry(directory.to_owned()).or_default().push(rule);
    }
    let mut there = HashSet::new();
    for (directory, rules) in starts {
        // The deepest rule decides; `None`, the deepest of all, must win.
        let depth = rules.iter().map(|rule| rule.glob.depth()).try_fold(0, |most, depth| Some(most.max(depth?)));
        let files = inner.disk.scan(directory, depth).await;
        let now = Now::read().mono;
        for rule in rules {
            let matching = files.iter().filter(|file| rule.glob.matches(&file.path));
            let candidates: Vec<Candidate> = {
                let mut seen = inner.seen.borrow_mut();
                matching.map(|file| seen.note(now, &file.path, file.stat.modified)).collect()
            };
            there.extend(candidates.iter().map(|file| file.path.clone()));
            for path in rule.victims(now, candidates) {
                remove_from_disk(inner, &path).await;
            }
        }
    }
    inner.seen.borrow_mut().keep(&there);
}

async fn remove_from_disk(inner: &Inner, path: &str) {
    match inner.disk.remove(path).await {
        // Two rules may agree about a file.
        Ok(()) | Err(super::Error::NotFound) => inner.cache.invalidate(path),
        Err(error) => log::warn!(target: "Cleanup", path = path; "{}", chain(&error)),
    }
}

fn report_size(inner: &Inner) {
    if inner.disk.is_full() {
        let text = "the size limit of the disk is reached: uploads are refused until files are removed".to_owned();
        inner.alarms.raise(Now::read(), "DiskFS", "size", text);
    } else {
        inner.alarms.clear("DiskFS", "size");
    }
}
