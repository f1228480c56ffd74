//! Runs the trials: one FFmpeg at a time, in a control group of its own, within bounds of time, memory and output.
//!
//! `Board` from above, versions → `Ledger` → a round: `Attempt` → child → `Judge` → `Ledger` → `trials.json` and a
//! `watch`. The first round comes before any process is started (`Handle::ready`, at most `TRIALS_TIME`); what it did not
//! come to is tried when no process has run for `SETTLE`, or when asked. A process that starts ends a round that nobody
//! asked for; its trial stays untried. Nothing is written while nothing is tried.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout, timeout_at};

use super::driver::stamp;
use super::trial::{Attempt, Board, End, Judge, Ledger, Outcome, Trial, Versions};
use super::{Handle as Skills, Version};
use crate::base::blocking::{Blocking, Lane};
use crate::base::error::chain;
use crate::base::file_driver::{self, Previous};
use crate::base::task;
use crate::cgroup::{self, Leaf};
use crate::process::HardLimits;
use crate::sys::child::{Bounds, Child, Outputs, find_program};
use crate::sys::proc::Stat;

/// All trials of one round, and what processes wait for them at the start.
const TRIALS_TIME: Duration = Duration::from_secs(20);
/// One trial; the source is computed too, which takes a small board as long as the encoding.
const TRIAL_TIME: Duration = Duration::from_secs(8);
/// A trial is not begun when less is left of its round.
const LEAST_TIME: Duration = Duration::from_secs(1);
/// CPU time of one trial.
const TRIAL_CPU: Duration = Duration::from_secs(16);
/// Memory of one trial; FFmpeg needs about 130 MiB for 1080p in software.
const TRIAL_MEMORY: u64 = 384 << 20;
/// Percent of one core, and threads, of one trial.
const TRIAL_CORES: f64 = 200.0;
const TRIAL_THREADS: u64 = 128;
/// No process has run for so long before a round goes on that nobody asked for.
const SETTLE: Duration = Duration::from_secs(10);
/// Between two looks at what a trial uses, for boards without control groups.
const SAMPLE: Duration = Duration::from_millis(100);
/// After SIGKILL; who is still there then hangs in the kernel.
const REAP: Duration = Duration::from_secs(2);
/// What an ended child may have left in its pipes.
const DRAIN: Duration = Duration::from_millis(500);
/// Bytes read at once.
const PIECE: usize = 32 * 1024;
/// Requests that wait for the task; beyond it callers wait in line.
const REQUEST_QUEUE: usize = 8;
const FILE: &str = "trials.json";
const COMPONENT: &str = "FFmpeg";

/// What the owner works with.
pub struct Deps {
    pub skills: Skills,
    pub groups: cgroup::Handle,
    pub blocking: Blocking,
}

/// Cheap handle to the task.
#[derive(Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    board: Rc<watch::Sender<Option<Rc<Board>>>>,
    busy: Rc<watch::Sender<bool>>,
    trials: watch::Receiver<Rc<[Trial]>>,
    ready: watch::Receiver<bool>,
    ready_until: Instant,
}

enum Request {
    Again { answer: oneshot::Sender<()> },
    Configure { binary: PathBuf },
}

/// Bounds, as tests set them shorter.
#[derive(Clone, Copy)]
struct Patience {
    round: Duration,
    trial: Duration,
    least: Duration,
    settle: Duration,
    cpu: Duration,
    memory: u64,
}

const PATIENCE: Patience = Patience {
    round: TRIALS_TIME,
    trial: TRIAL_TIME,
    least: LEAST_TIME,
    settle: SETTLE,
    cpu: TRIAL_CPU,
    memory: TRIAL_MEMORY,
};

/// Starts the owner of trials with `binary`; their outcomes are kept in `dir`. Nothing is tried before a board is offered.
pub fn spawn(binary: PathBuf, dir: &Path, deps: Deps) -> Handle {
    spawn_with(binary, dir, deps, PATIENCE)
}

fn spawn_with(binary: PathBuf, dir: &Path, deps: Deps, patience: Patience) -> Handle {
    let (requests, requests_rx) = mpsc::channel(REQUEST_QUEUE);
    let (board, board_rx) = watch::channel(None);
    let (busy, busy_rx) = watch::channel(false);
    let (trials_tx, trials) = watch::channel(Rc::from([]));
    let (ready_tx, ready) = watch::channel(false);
    // Not that of processes: what earlier daemons left of those is killed while trials may run already.
    let mut marker = dir.as_os_str().to_owned();
    marker.push("#trial");
    let driver = Driver {
        bench: Bench { binary, marker, groups: deps.groups, busy: busy_rx, patience },
        file: dir.join(FILE),
        saved: Vec::new(),
        skills: deps.skills,
        version: None,
        blocking: deps.blocking,
        ledger: Ledger::default(),
        board: board_rx,
        obstacle: String::new(),
        rests: false,
        requests: requests_rx,
        trials: trials_tx,
        ready: ready_tx,
    };
    task::spawn(driver.run());
    let ready_until = Instant::now() + patience.round;
    Handle { requests, board: Rc::new(board), busy: Rc::new(busy), trials, ready, ready_until }
}

impl Handle {
    /// Says what there is to be tried, now and whenever that changes.
    pub fn offer(&self, board: Board) {
        self.board.send_if_modified(|known| {
            let is_new = known.as_deref() != Some(&board);
            if is_new {
                *known = Some(Rc::new(board));
            }
            is_new
        });
    }

    /// What was offered last.
    pub fn board(&self) -> Option<Rc<Board>> {
        self.board.borrow().clone()
    }

    /// Tries with another FFmpeg from now on.
    pub async fn configure(&self, binary: PathBuf) {
        // A closed queue means that the daemon ends.
        let _ = self.requests.send(Request::Configure { binary }).await;
    }

    /// Says whether processes run, so that trials keep out of their way.
    pub fn set_busy(&self, is_busy: bool) {
        self.busy.send_if_modified(|known| std::mem::replace(known, is_busy) != is_busy);
    }

    /// Completes when the first round is over, or has taken long enough.
    pub async fn ready(&self) {
        let mut ready = self.ready.clone();
        // Late or never: processes start.
        let _ = timeout_at(self.ready_until, ready.wait_for(|is_ready| *is_ready)).await;
    }

    /// What is known without waiting.
    pub fn latest(&self) -> Rc<[Trial]> {
        self.trials.borrow().clone()
    }

    /// Tries all encoders, whatever is known of them and whatever runs. Calls that come while one runs share the next.
    pub async fn try_again(&self) -> Rc<[Trial]> {
        let (answer, tried) = oneshot::channel();
        if self.requests.send(Request::Again { answer }).await.is_ok() {
            // Its end is that of the daemon.
            let _ = tried.await;
        }
        self.latest()
    }
}

/// Why the task goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Asked,
    /// No process has run for a while, and something is untried.
    Idle,
    /// Another board or FFmpeg.
    Change,
}

struct Driver {
    bench: Bench,
    file: PathBuf,
    /// What the file holds.
    saved: Vec<u8>,
    skills: Skills,
    /// FFmpeg's, as last seen.
    version: Option<Version>,
    blocking: Blocking,
    ledger: Ledger,
    board: watch::Receiver<Option<Rc<Board>>>,
    /// Why nothing can be tried; empty: it can.
    obstacle: String,
    /// The last round came to all that it could try.
    rests: bool,
    requests: mpsc::Receiver<Request>,
    trials: watch::Sender<Rc<[Trial]>>,
    ready: watch::Sender<bool>,
}

impl Driver {
    async fn run(mut self) {
        self.load().await;
        let mut answers: Vec<oneshot::Sender<()>> = Vec::new();
        while let Some(cause) = self.next(&mut answers).await {
            let Some(board) = self.board.borrow_and_update().clone() else {
                answers.clear();
                continue;
            };
            self.look(&board).await;
            self.rests = false;
            let is_first = !*self.ready.borrow() && !*self.bench.busy.borrow();
            if cause != Cause::Change || is_first {
                self.rests = self.round(&board, cause).await;
            }
            self.publish(&board);
            self.ready.send_replace(true);
            for answer in answers.drain(..) {
                // Who asked may have gone.
                let _ = answer.send(());
            }
        }
    }

    /// Waits for what calls for another look; `None`: the daemon ends.
    async fn next(&mut self, answers: &mut Vec<oneshot::Sender<()>>) -> Option<Cause> {
        let has_begun = *self.ready.borrow();
        let goes_on = has_begun && !self.rests;
        let request = tokio::select! {
            request = self.requests.recv() => request?,
            Ok(()) = self.board.changed() => return Some(Cause::Change),
            version = self.skills.next_version(self.version), if has_begun => {
                self.version = Some(version);
                return Some(Cause::Change);
            }
            () = idle(self.bench.busy.clone(), self.bench.patience.settle), if goes_on => return Some(Cause::Idle),
        };
        let mut cause = Cause::Change;
        let mut next = Some(request);
        while let Some(request) = next {
            match request {
                Request::Again { answer } => {
                    answers.push(answer);
                    cause = Cause::Asked;
                }
                Request::Configure { binary } => self.bench.binary = binary,
            }
            next = self.requests.try_recv().ok();
        }
        Some(cause)
    }

    /// Which FFmpeg, kernel and firmware there are, and whether anything can be tried with them.
    async fn look(&mut self, board: &Board) {
        if self.ledger.attempts(board, true).is_empty() {
            return;
        }
        self.version = self.skills.version().await;
        let binary = self.bench.binary.clone();
        let found = self.blocking.run(Lane::General, move || (stamp(&binary), kernel())).await;
        let (Some(version), (Some(stamp), kernel)) = (self.version, found) else {
            self.obstacle = "there is no FFmpeg to try it with".to_owned();
            return;
        };
        let modified = stamp.modified.unwrap_or(SystemTime::UNIX_EPOCH).duration_since(UNIX_EPOCH);
        let seconds = modified.unwrap_or_default().as_secs();
        let ffmpeg = format!("{version} {} {} {seconds}", stamp.path.display(), stamp.size);
        self.ledger.adopt(Versions { ffmpeg, kernel, firmware: board.firmware.clone() });
        self.obstacle.clear();
    }

    /// Tries what is untried, all if asked, until the round's time is over or a process starts. False: something is left.
    async fn round(&mut self, board: &Board, cause: Cause) -> bool {
        let until = Instant::now() + self.bench.patience.round;
        let is_asked = cause == Cause::Asked;
        let mut attempts = self.ledger.attempts(board, is_asked);
        if attempts.is_empty() || !self.obstacle.is_empty() {
            return true;
        }
        if self.ledger.is_dangerous() && !is_asked {
            self.obstacle = "the box went down while encoders were tried; it is tried again only when asked".to_owned();
            return true;
        }
        let skills = self.skills.skills().await;
        if !skills.has_input_device("lavfi") {
            self.obstacle = "this FFmpeg has no test picture to try it with (lavfi)".to_owned();
            return true;
        }
        attempts.retain(|attempt| skills.has_encoder(&attempt.encoder));
        if attempts.is_empty() {
            return true;
        }
        self.ledger.begin();
        self.save().await;
        let is_over = self.make(board, &attempts, until, !is_asked).await;
        self.ledger.end();
        self.save().await;
        is_over
    }

    async fn make(&mut self, board: &Board, attempts: &[Attempt], until: Instant, yields: bool) -> bool {
        let mut cut: Vec<&str> = Vec::new();
        for attempt in attempts {
            if cut.contains(&attempt.encoder.as_str()) {
                continue;
            }
            if Instant::now() + self.bench.patience.least > until {
                return false;
            }
            let (outcome, was_cut) = match self.bench.attempt(attempt, until, yields).await {
                Ok(made) => made,
                Err(Interruption::Outside) => return false,
                Err(Interruption::NotStarted(error)) => {
                    self.obstacle = format!("FFmpeg can't be started: {error}");
                    return true;
                }
            };
            tell(attempt, &outcome);
            if was_cut {
                cut.push(&attempt.encoder);
            }
            self.ledger.note(attempt, outcome, was_cut);
            self.save().await;
            self.publish(board);
        }
        true
    }

    fn publish(&self, board: &Board) {
        // What is kept may be of another FFmpeg than the one that is missing.
        let nothing = Ledger::default();
        let ledger = if self.version.is_some() { &self.ledger } else { &nothing };
        let trials = ledger.trials(board, &self.obstacle);
        self.trials.send_if_modified(|known| {
            let is_new = **known != *trials;
            if is_new {
                *known = trials.into();
            }
            is_new
        });
    }

    async fn load(&mut self) {
        let file = self.file.clone();
        let read = move || {
            let bytes = file_driver::read(&file).ok()??;
            // Damaged, or of another format: everything is tried once more, and the file written anew.
            Ledger::read(&bytes).map(|ledger| (bytes, ledger))
        };
        if let Some((bytes, ledger)) = self.blocking.run(Lane::General, read).await {
            (self.saved, self.ledger) = (bytes, ledger);
        }
    }

    async fn save(&mut self) {
        let bytes = self.ledger.document();
        if bytes == self.saved {
            return;
        }
        let (file, content) = (self.file.clone(), bytes.clone());
        match self.blocking.run(Lane::General, move || file_driver::replace(&file, &content, Previous::Keep)).await {
            Ok(()) => self.saved = bytes,
            Err(error) => log::warn!(target: COMPONENT, "What encoders can do is not kept: {}", chain(&error)),
        }
    }
}

fn tell(attempt: &Attempt, outcome: &Outcome) {
    let (encoder, size) = (attempt.encoder.as_str(), attempt.size);
    match outcome {
        Ok(shown) => {
            log::info!(target: COMPONENT, encoder = encoder; "works at {size}: {} frames a second", shown.fps.unwrap_or(0.0));
        }
        Err(reason) => log::warn!(target: COMPONENT, encoder = encoder; "does not work at {size}: {reason}"),
    }
}

/// Release and build.
fn kernel() -> String {
    let text = |name: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    format!("{} {}", text("osrelease").trim(), text("version").trim())
}

/// Completes when nothing has been busy for `settle`; never, when the daemon ends.
async fn idle(mut busy: watch::Receiver<bool>, settle: Duration) {
    while busy.wait_for(|is_busy| !*is_busy).await.is_ok() {
        match timeout(settle, busy.wait_for(|is_busy| *is_busy)).await {
            Err(_) => return,
            Ok(Ok(_)) => {}
            Ok(Err(_)) => break,
        }
    }
    std::future::pending().await
}

/// Where one attempt is made.
struct Bench {
    binary: PathBuf,
    marker: OsString,
    groups: cgroup::Handle,
    busy: watch::Receiver<bool>,
    patience: Patience,
}

/// Why a child is not listened to any more.
enum Stop {
    Ended,
    Killed(End),
    Interrupted,
}

/// Why an attempt says nothing about its encoder.
enum Interruption {
    /// The round's time is over, or a process has started.
    Outside,
    NotStarted(io::Error),
}

impl Bench {
    /// Tries one encoder at one size until `until`, and says whether its child had to be killed.
    async fn attempt(&self, attempt: &Attempt, until: Instant, yields: bool) -> Result<(Outcome, bool), Interruption> {
        self.run(attempt, &attempt.command(), until, yields).await
    }

    async fn run(
        &self,
        attempt: &Attempt,
        command: &[String],
        until: Instant,
        yields: bool,
    ) -> Result<(Outcome, bool), Interruption> {
        let memory_bytes = self.patience.memory;
        let limits = HardLimits { memory_bytes, cpu_percent: TRIAL_CORES, threads: TRIAL_THREADS };
        let leaf = self.groups.leaf("trial", &limits);
        let bounds = Bounds { cage: leaf.as_ref().map(Leaf::cage), ..Bounds::default() };
        let spawned = Child::spawn(&find_program(&self.binary), command, &self.marker, bounds);
        let (mut child, mut outputs) = spawned.map_err(Interruption::NotStarted)?;
        let mut judge = Judge::new(attempt.codec);
        let end = match self.follow(&child, &mut outputs, &mut judge, until, yields).await {
            Stop::Ended => {
                let _ = timeout(DRAIN, drain(&mut outputs, &mut judge)).await;
                let end = exit(&mut child);
                // What the kernel did in a control group looks like any other SIGKILL.
                let was_full = leaf.is_some_and(|leaf| leaf.stats().oom_kills > 0);
                if was_full { End::Memory(memory_bytes) } else { end }
            }
            Stop::Killed(end) => {
                bury(child, leaf).await;
                end
            }
            Stop::Interrupted => {
                bury(child, leaf).await;
                return Err(Interruption::Outside);
            }
        };
        let was_cut = !matches!(end, End::Exit(_) | End::Signal(_));
        Ok((judge.verdict(Instant::now().into_std(), attempt.size, &end), was_cut))
    }

    async fn follow(
        &self,
        child: &Child,
        outputs: &mut Outputs,
        judge: &mut Judge,
        until: Instant,
        yields: bool,
    ) -> Stop {
        let limit = Instant::now() + self.patience.trial;
        let stat = Stat::open(child.pid()).ok();
        let mut busy = self.busy.clone();
        let mut samples = interval(SAMPLE);
        samples.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut output, mut stderr) = (vec![0; PIECE], vec![0; PIECE]);
        let (mut makes, mut speaks) = (true, true);
        loop {
            let is_bounded = tokio::select! {
                length = outputs.extra.read(&mut output), if makes => {
                    let length = length.unwrap_or(0);
                    makes = length > 0;
                    judge.output(Instant::now().into_std(), &output[..length])
                }
                length = outputs.stderr.read(&mut stderr), if speaks => {
                    let length = length.unwrap_or(0);
                    speaks = length > 0;
                    judge.said(&stderr[..length])
                }
                () = child.exited() => return Stop::Ended,
                () = sleep_until(limit.min(until)) => {
                    return if until < limit { Stop::Interrupted } else { Stop::Killed(End::TimedOut(self.patience.trial)) };
                }
                _ = samples.tick() => {
                    if let Some(end) = stat.as_ref().and_then(|stat| self.excess(stat)) {
                        return Stop::Killed(end);
                    }
                    true
                }
                _ = busy.wait_for(|is_busy| *is_busy), if yields => return Stop::Interrupted,
            };
            if !is_bounded {
                return Stop::Killed(End::Chatter);
            }
        }
    }

    /// What a control group would not have allowed.
    fn excess(&self, stat: &Stat) -> Option<End> {
        let (cpu, memory) = stat.sample()?;
        if memory > self.patience.memory {
            return Some(End::Memory(self.patience.memory));
        }
        (cpu > self.patience.cpu).then_some(End::Cpu(self.patience.cpu))
    }
}

/// Reads what an ended child has left, as far as it is bounded.
async fn drain(outputs: &mut Outputs, judge: &mut Judge) {
    let mut bytes = vec![0; PIECE];
    loop {
        let length = read(&mut outputs.extra, &mut bytes).await;
        if length == 0 || !judge.output(Instant::now().into_std(), &bytes[..length]) {
            break;
        }
    }
    loop {
        let length = read(&mut outputs.stderr, &mut bytes).await;
        if length == 0 || !judge.said(&bytes[..length]) {
            break;
        }
    }
}

async fn read(pipe: &mut pipe::Receiver, bytes: &mut [u8]) -> usize {
    pipe.read(bytes).await.unwrap_or(0)
}

/// Kills a child and waits for its end. One that hangs in the kernel is waited for beside everything else.
async fn bury(mut child: Child, leaf: Option<Leaf>) {
    child.group().kill();
    if timeout(REAP, child.exited()).await.is_ok() {
        exit(&mut child);
        return;
    }
    log::error!(target: COMPONENT, pid = child.pid(); "a trial can't be killed: it hangs in the kernel");
    task::spawn(async move {
        child.exited().await;
        exit(&mut child);
        drop(leaf);
    });
}

/// Takes the status of a child that has ended.
fn exit(child: &mut Child) -> End {
    let status = child.reap().and_then(|status| status.ok_or_else(|| io::ErrorKind::WouldBlock.into()));
    match status.map(|status| (status.code(), status.signal())) {
        Ok((Some(code), _)) => End::Exit(code),
        Ok((None, Some(signal))) => End::Signal(signal),
        Ok((None, None)) | Err(_) => End::Exit(-1),
    }
}

#[cfg(test)]
mod tests;
