//! The supervisor's event loop: requests, commits, children, ticks and time-outs, one at a time.
//!
//! ```text
//! Handle ─ apply ─► queue ─► Batch on a copy ─► store commit ─► table swapped, effects ─► callers answered
//!                              (next batch waits; reads, children and timers do not)
//! child tasks ─ Said ─► Runner          ticker ─► usage, limits          next_timeout ─► grace, reconnect, stale
//! ```
//! All requests that wait when a commit ends share the next one. A caller whose change ends a child is answered when
//! that child is gone; nobody else waits for it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::child_driver::{Launcher, SAID_QUEUE, Said};
use super::probe_driver::Probes;
use super::resolve::ResolveEnv;
use super::runner::Runner;
use super::steps::Supervisor;
use super::table::{Key, Table};
use super::{Change, Companion, Error, Handle, Outcome, Walls};
use crate::base::blocking::Blocking;
use crate::base::clock::Now;
use crate::base::task;
use crate::cgroup;
use crate::config;
use crate::events::Events;
use crate::process::Transitions;
use crate::process::machine::{Input, KILL_GRACE};
use crate::skills::trial::{self, Overload};
use crate::store::{self, Db};
use crate::sys::child::find_program;
use crate::sys::proc;
use crate::{session, skills, storage};

/// Requests waiting for the event loop; beyond it callers wait in line. One batch takes all that wait.
pub const REQUEST_QUEUE: usize = 64;
/// Between two samples of each child.
const TICK: Duration = Duration::from_secs(1);
/// Shutdown and callers give up on a child that not even SIGKILL ends.
pub(super) const CHILD_DEADLINE: Duration = Duration::from_secs(KILL_GRACE.as_secs() + 2);
/// How often, and how far apart, leftovers of a dead daemon are looked for until there are none.
const LEFTOVER_SCANS: usize = 20;
const LEFTOVER_PAUSE: Duration = Duration::from_millis(50);

/// A commit under way.
pub(super) type Commit = Pin<Box<dyn Future<Output = Result<(), store::Error>>>>;

/// Handles that the supervisor works with.
pub struct Deps {
    pub store: store::Handle,
    pub storage: storage::Handle,
    /// Asked for FFmpeg's version only.
    pub skills: skills::Handle,
    /// Come before the first process, and keep out of the way of all others.
    pub trials: trial::Handle,
    /// Told what happens to processes.
    pub events: Events,
    pub sessions: session::Registry,
    pub blocking: Blocking,
    /// Hold children.
    pub groups: cgroup::Handle,
}

/// The supervisor's part of the configuration.
pub struct Section {
    pub ffmpeg: config::Ffmpeg,
    pub env: ResolveEnv,
    /// What FFmpegs may touch.
    pub walls: Walls,
}

/// What readers share with the loop.
pub(super) struct Shared {
    pub(super) table: Table,
    pub(super) runners: BTreeMap<Key, Runner>,
    pub(super) launcher: Launcher,
    /// Changes of state of the processes that are gone.
    pub(super) past: Transitions,
    /// Running processes ask the board's encoder for more than it can do.
    pub(super) overload: Option<Overload>,
}

/// What the handle asks for.
pub(super) enum Request {
    Apply(Ask),
    Reconfigure { section: Box<Section>, reply: oneshot::Sender<()> },
    Appeared(Vec<String>),
    Shutdown { reply: oneshot::Sender<()> },
}

/// A list of changes and who waits for it.
pub(super) struct Ask {
    pub(super) changes: Vec<Change>,
    /// Written together with the changes, or not at all.
    pub(super) companion: Option<Companion>,
    /// Only says what would happen.
    pub(super) is_preview: bool,
    pub(super) reply: Reply,
}

pub(super) type Reply = oneshot::Sender<Result<Vec<Outcome>, Error>>;

/// Everything that wakes the loop.
enum Event {
    Request(Request),
    Committed(Result<(), store::Error>),
    Said(Said),
    /// FFmpeg's version is known, or it is another one.
    Version(skills::Version),
    /// Encoders have been tried, or that took long enough.
    Ready,
    Tick,
    Timeout,
    /// The last handle is gone.
    Abandoned,
}

/// Takes over `db` and starts what is ordered to run. `marker` tells children of this daemon from others, also after
/// its death: its database directory.
pub fn spawn(section: Section, marker: &OsStr, db: Db, deps: Deps) -> Handle {
    let (requests, requests_rx) = mpsc::channel(REQUEST_QUEUE);
    let (said, said_rx) = mpsc::channel(SAID_QUEUE);
    let launcher = Launcher {
        program: find_program(&section.ffmpeg.binary),
        marker: marker.to_owned(),
        version: None,
        cpus: proc::cpu_capacity(),
        said,
        since: tokio::time::Instant::now(),
        blocking: deps.blocking.clone(),
        sessions: deps.sessions.collector(session::Kind::Ffmpeg),
        memfs: deps.storage.mem().clone(),
        events: deps.events.clone(),
        groups: deps.groups.clone(),
        walls: Rc::new(section.walls.clone()),
    };
    let (runners, past) = (BTreeMap::new(), Transitions::default());
    let shared = Shared { table: Table::load(db), runners, launcher, past, overload: None };
    let shared = Rc::new(RefCell::new(shared));
    let probes = Probes::default();
    let handle = Handle { requests, shared: shared.clone(), probes: probes.clone() };
    let mut ticker = interval(TICK);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let inputs = Inputs {
        requests: requests_rx,
        said: said_rx,
        skills: deps.skills.clone(),
        version: None,
        ready: Some(ready(deps.trials.clone())),
        ticker,
        commit: None,
        stash: None,
        abandoned: false,
    };
    let mut supervisor = Supervisor::new(shared, section, deps, probes);
    supervisor.load(Now::read());
    task::spawn(supervisor.run(inputs));
    handle
}

/// The loop's sources.
struct Inputs {
    requests: mpsc::Receiver<Request>,
    said: mpsc::Receiver<Said>,
    skills: skills::Handle,
    /// FFmpeg's, as last handed on.
    version: Option<skills::Version>,
    /// Nothing has been started yet but what somebody asked for.
    ready: Option<Pin<Box<dyn Future<Output = ()>>>>,
    ticker: Interval,
    commit: Option<Commit>,
    /// A request that ended a batch because it is none.
    stash: Option<Request>,
    /// No handle is left.
    abandoned: bool,
}

impl Inputs {
    /// The next event. What may need a commit waits while one is under way.
    async fn next(&mut self, wake: Option<Instant>, watching: bool) -> Event {
        let Self { requests, said, skills, version, ready, ticker, commit, stash, abandoned } = self;
        let committing = commit.is_some();
        if !committing && let Some(request) = stash.take() {
            return Event::Request(request);
        }
        tokio::select! {
            result = async { commit.as_mut().expect("checked by the branch").await }, if committing => {
                *commit = None;
                Event::Committed(result)
            }
            request = requests.recv(), if !committing && !*abandoned => {
                *abandoned = request.is_none();
                request.map_or(Event::Abandoned, Event::Request)
            }
            Some(said) = said.recv() => Event::Said(said),
            found = skills.next_version(*version), if !committing => {
                *version = Some(found);
                Event::Version(found)
            }
            () = async { ready.as_mut().expect("checked by the branch").await }, if ready.is_some() => {
                *ready = None;
                Event::Ready
            }
            _ = ticker.tick(), if watching => Event::Tick,
            () = sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => Event::Timeout,
        }
    }

    /// Another change that waits already.
    fn more(&mut self) -> Option<Ask> {
        match self.requests.try_recv().ok()? {
            Request::Apply(ask) => Some(ask),
            other => {
                self.stash = Some(other);
                None
            }
        }
    }
}

impl Supervisor {
    async fn run(mut self, mut inputs: Inputs) {
        let marker = self.shared.borrow().launcher.marker.clone();
        clear_leftovers(&marker).await;
        while !self.is_done(Now::read()) {
            let event = inputs.next(self.wake_at(), self.has_children()).await;
            let now = Now::read();
            self.handle(now, event, &mut inputs);
            self.settle(now);
            self.occupy();
        }
        let _ = timeout(CHILD_DEADLINE, self.probes.ended()).await;
        clear_leftovers(&marker).await;
        self.answer_closers();
    }

    fn handle(&mut self, now: Now, event: Event, inputs: &mut Inputs) {
        match event {
            Event::Request(Request::Apply(ask)) => inputs.commit = self.collect(now, ask, || inputs.more()),
            Event::Request(Request::Reconfigure { section, reply }) => {
                self.reconfigure(now, *section);
                let _ = reply.send(());
            }
            Event::Request(Request::Appeared(inputs)) => self.appeared(now, &inputs),
            Event::Request(Request::Shutdown { reply }) => self.close(now, Some(reply)),
            Event::Abandoned => self.close(now, None),
            Event::Committed(result) => self.committed(now, result),
            Event::Said(said) => {
                self.hear(now, said);
                // Children are heard together.
                while let Ok(said) = inputs.said.try_recv() {
                    self.hear(now, said);
                }
            }
            Event::Version(version) => inputs.commit = self.learned(version),
            Event::Ready => self.boot(now),
            Event::Tick => {
                self.each(now, |runner, launcher| {
                    runner.tick(now, launcher);
                    runner.tell_progress(now, launcher);
                });
                self.weigh(now);
            }
            Event::Timeout => self.each(now, |runner, launcher| runner.drive(now, Input::Timeout, launcher)),
        }
    }
}

fn ready(trials: trial::Handle) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move { trials.ready().await })
}

/// Kills what a dead daemon, or an escaped descendant, left running, and waits until it is gone.
async fn clear_leftovers(marker: &OsStr) {
    for scan in 0..LEFTOVER_SCANS {
        let found = proc::kill_leftovers(marker);
        if found == 0 {
            return;
        }
        if scan == 0 {
            log::warn!(target: "Process", processes = found; "killed what an earlier run left behind");
        }
        sleep(LEFTOVER_PAUSE).await;
    }
}
