//! Takes samples: on demand, and every interval while the history is on.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::health::Health;
use super::health_driver::{self, Board};
use super::{cpu, rows};
use crate::base::alarm::Alarms;
use crate::base::blocking::{Blocking, Lane};
use crate::base::clock::Now;
use crate::base::task;
use crate::config;
use crate::metrics::{Answer, Family, History, Query, Requests, Row, exposition};
use crate::relay::Relay;
use crate::sys::usage::{self, Cgroups, Volume};
use crate::{log, rtmp, session, srt, storage, supervisor};

/// The volume is asked again after this time.
const VOLUME_AGE: Duration = Duration::from_secs(5);
/// All files of the disk mount are counted again after this time, or `WALK_SHARE` times what it took.
const WALK_AGE: Duration = Duration::from_secs(30);
const WALK_SHARE: u32 = 200;
/// Buckets are listed again after this time: their servers may be far and charge for it.
const BUCKET_AGE: Duration = Duration::from_secs(300);
/// A disk that takes longer is left to answer the next one who asks.
const PATIENCE: Duration = Duration::from_secs(2);
/// As `PATIENCE`, for a sample of the history.
const TICK_PATIENCE: Duration = Duration::from_millis(100);

/// What is measured.
pub struct Deps {
    pub alarms: Alarms,
    pub blocking: Blocking,
    pub board: Board,
    pub log: log::Handle,
    pub relay: Relay,
    pub requests: Requests,
    pub rtmp: rtmp::Handle,
    pub sessions: session::Registry,
    pub srt: srt::Handle,
    pub storage: storage::Handle,
    pub supervisor: supervisor::Handle,
}

/// Cheap handle to the monitor.
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

pub(super) struct Inner {
    pub(super) deps: Deps,
    pub(super) health: RefCell<Health>,
    started: Instant,
    cgroups: Cgroups,
    cpu: RefCell<cpu::Meter>,
    disk: Disk,
    buckets: Buckets,
    section: RefCell<Option<config::Metrics>>,
    /// While `metrics.enable` is on.
    history: RefCell<Option<History>>,
    ticker: RefCell<Option<JoinHandle<()>>>,
}

/// What is known of the disk.
#[derive(Default)]
struct Disk {
    volume: Cell<Option<Volume>>,
    asked: Cell<Option<Instant>>,
    walk_from: Cell<Option<Instant>>,
    /// A look at it is under way.
    busy: Cell<bool>,
    done: Notify,
}

/// What is known of the S3 mounts.
#[derive(Default)]
struct Buckets {
    /// Number and bytes of the files by mount, for those that have answered.
    known: RefCell<BTreeMap<String, (u64, u64)>>,
    list_from: Cell<Option<Instant>>,
    busy: Cell<bool>,
}

/// Makes the monitor; it looks after the board on the current `LocalSet`, where its ticker runs, too, while `section` asks
/// for a history.
pub fn spawn(now: Now, section: &config::Metrics, deps: Deps) -> Handle {
    let cgroups = Cgroups::find();
    let mut cpu = cpu::Meter::default();
    if let Some(times) = cgroups.cpu_times() {
        cpu.sample(now.mono, times);
    }
    let handle = Handle(Rc::new(Inner {
        deps,
        health: RefCell::new(Health::new(now.mono)),
        started: now.mono,
        cgroups,
        cpu: RefCell::new(cpu),
        disk: Disk::default(),
        buckets: Buckets::default(),
        section: RefCell::default(),
        history: RefCell::default(),
        ticker: RefCell::default(),
    }));
    handle.configure(section);
    task::spawn(health_driver::watch(Rc::downgrade(&handle.0)));
    handle
}

impl Handle {
    /// Puts a section in force. The history starts over when its range or interval changes.
    pub fn configure(&self, section: &config::Metrics) {
        let inner = &self.0;
        if inner.section.replace(Some(section.clone())).as_ref() == Some(section) {
            return;
        }
        if let Some(ticker) = inner.ticker.take() {
            ticker.abort();
        }
        inner.history.take();
        if section.enable {
            *inner.history.borrow_mut() = Some(History::new(section.range, section.interval));
            let ticker = task::spawn(tick(Rc::downgrade(inner), section.interval));
            *inner.ticker.borrow_mut() = Some(ticker);
        }
    }

    /// Current values, or those of the past if a time range is asked for.
    pub async fn query(&self, query: &Query) -> Answer {
        let now = Now::read();
        if query.timerange != 0 {
            return self.0.history.borrow().as_ref().map(|history| history.query(now, query)).unwrap_or_default();
        }
        let rows = self.0.sample(now, PATIENCE, |family| query.concerns(family)).await;
        let (timerange, interval) = self.resolution();
        Answer { timerange, interval, metrics: query.select(&rows, now.unix()) }
    }

    /// Everything as Prometheus reads it; `core` is the instance's id.
    pub async fn exposition(&self, core: &str) -> String {
        let now = Now::read();
        let mut rows = self.0.sample(now, PATIENCE, |_| true).await;
        let history = self.0.history.borrow().as_ref().map(|history| (history.bytes(), history.samples()));
        rows.extend(rows::daemon(&self.0.deps, usage::own(), history));
        rows.push(Row::new(Family::Health, Vec::new(), self.0.health.borrow().values()));
        exposition(core, &rows)
    }

    /// Seconds of history that are kept, and between samples; 0 while it is off.
    fn resolution(&self) -> (u64, u64) {
        self.0.history.borrow().as_ref().map(History::resolution).unwrap_or_default()
    }
}

/// Samples everything into the history until the last handle is gone.
async fn tick(inner: Weak<Inner>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let step = async {
            let now = Now::read();
            let rows = inner.sample(now, TICK_PATIENCE, |_| true).await;
            if let Some(history) = &mut *inner.history.borrow_mut() {
                history.push(now.mono, rows);
            }
        };
        if AssertUnwindSafe(step).catch_unwind().await.is_err() {
            ::log::error!(target: "Core", "a sample of the metrics failed");
        }
    }
}

impl Inner {
    /// The rows of the families that are `wanted`, waiting for a disk no longer than `patience`.
    async fn sample(self: &Rc<Self>, now: Now, patience: Duration, wanted: impl Fn(Family) -> bool) -> Vec<Row> {
        if wanted(Family::Disk) || wanted(Family::Filesystem) {
            self.look_at_disk(now.mono, patience).await;
        }
        let mut rows = Vec::new();
        if wanted(Family::Cpu)
            && let Some(times) = self.cgroups.cpu_times()
        {
            rows.push(rows::cpu(times.capacity, self.cpu.borrow_mut().sample(now.mono, times)));
        }
        if wanted(Family::Memory) {
            rows.extend(self.cgroups.memory().map(rows::memory));
        }
        if wanted(Family::Network) {
            rows.extend(usage::interfaces().into_iter().map(rows::network));
        }
        if wanted(Family::Disk) {
            let dir = self.deps.storage.disk().dir();
            rows.extend(self.disk.volume.get().map(|volume| rows::disk(&dir, volume)));
        }
        if wanted(Family::Filesystem) {
            self.look_at_buckets(now.mono);
            rows.extend(rows::filesystems(&self.deps.storage, &self.buckets.known.borrow()));
        }
        if rows::PROCESS_FAMILIES.into_iter().any(&wanted) {
            let (processes, total) = self.deps.supervisor.measure();
            rows::processes(&processes, total, &wanted, &mut rows);
        }
        if wanted(Family::Session) {
            rows.extend(rows::sessions(&self.deps.sessions.stats(now.mono)));
        }
        if wanted(Family::Uptime) {
            rows.push(rows::uptime(now.mono.saturating_duration_since(self.started)));
        }
        rows
    }

    /// Has the buckets listed if the last time is long ago; nobody waits for it.
    fn look_at_buckets(self: &Rc<Self>, now: Instant) {
        let is_due = self.buckets.list_from.get().is_none_or(|from| from <= now);
        if is_due && !self.buckets.busy.replace(true) {
            self.buckets.list_from.set(Some(now + BUCKET_AGE));
            task::spawn(list_buckets(self.clone()));
        }
    }

    /// Waits for a fresh look at the disk if the last one is old, but not for long.
    async fn look_at_disk(self: &Rc<Self>, now: Instant, patience: Duration) {
        let is_fresh = |at: Option<Instant>, age| at.is_some_and(|at| now.saturating_duration_since(at) < age);
        if is_fresh(self.disk.asked.get(), VOLUME_AGE) && !self.disk.busy.get() {
            return;
        }
        let done = self.disk.done.notified();
        if !self.disk.busy.replace(true) {
            self.disk.asked.set(Some(now));
            task::spawn(look(self.clone()));
        }
        // Who comes while it hangs has what was known before.
        let _ = tokio::time::timeout(patience, done).await;
    }
}

/// One look at the disk; it takes as long as the disk takes.
async fn look(inner: Rc<Inner>) {
    let Inner { disk, deps, .. } = &*inner;
    let dir = deps.storage.disk().dir();
    disk.volume.set(deps.blocking.run(Lane::General, move || usage::volume(&dir)).await.ok());
    let begun = Instant::now();
    if disk.walk_from.get().is_none_or(|from| from <= begun) {
        deps.storage.disk().measure().await;
        disk.walk_from.set(Some(Instant::now() + WALK_AGE.max(begun.elapsed() * WALK_SHARE)));
    }
    disk.busy.set(false);
    disk.done.notify_waiters();
}

/// Counts the files of all S3 mounts; one that does not answer is not known.
async fn list_buckets(inner: Rc<Inner>) {
    let storage = &inner.deps.storage;
    let mounts = storage.mounts().into_iter().filter(|mount| mount.kind == rows::S3);
    let mut known = BTreeMap::new();
    for name in mounts.map(|mount| mount.name) {
        let Some(mount) = storage.mount(&name) else { continue };
        if let Ok(files) = storage.list(mount, None).await {
            let bytes = files.iter().map(|file| file.size).sum();
            known.insert(name, (files.len() as u64, bytes));
        }
    }
    inner.buckets.known.replace(known);
    inner.buckets.busy.set(false);
}
