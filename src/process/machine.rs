//! Order × state of one process: when its child starts, is interrupted, is killed, starts again.
//!
//! ```text
//!                 Start, Restart, reconnect timer                     Spawned
//!  finished  ───────────────────────────────────────────►  starting ───────────►  running
//!  failed      (order start only)                             │                     │ Stop, Restart,
//!  killed  ◄──────────────────────────────────────────────────┘                     │ stale, limit
//!     ▲                       SpawnFailed                                           ▼
//!     └──────────────── Exited: code 0 or 255 finished, else failed,  ◄──────── finishing
//!                       signal killed (also straight from running)      SIGINT, KILL_GRACE, SIGKILL
//! ```
//!
//! Inputs arrive with the time, outputs are polled after each input, `next_timeout` says when `Input::Timeout` is due.
//! Only the monotonic clock counts. Knows no child, no definition and no limit on the number of processes.

use std::time::{Duration, Instant};

use super::{Order, State, Transitions};
use crate::base::backoff::Backoff;

/// From SIGINT to SIGKILL (`contract/process-engine.md` §10).
pub const KILL_GRACE: Duration = Duration::from_secs(5);
/// A run that fails sooner than this backs off; without a delay two starts are at least this far apart (Q19).
pub const QUICK_FAILURE: Duration = Duration::from_secs(1);
/// Ceiling of the back-off of a process without `reconnect_delay_seconds`.
pub const BACKOFF_CEILING: Duration = Duration::from_secs(30);
/// A child whose input went and came back ends within this time.
pub const READY_GRACE: Duration = Duration::from_secs(10);
/// Longer delays and time-outs mean this one, so that adding them to any time is safe.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

/// The part of the definition that decides about starting and ending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    reconnect: Option<Duration>,
    stale_timeout: Option<Duration>,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// What can happen to a process. `jitter` is the caller's entropy for back-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Order start: starts now unless it runs, however long a reconnect delay is left (Q15).
    Start,
    /// Order stop.
    Stop,
    /// With order start: ends the child, if any, and starts again at once (Q16). Also after a change of the definition.
    Restart,
    Spawned,
    SpawnFailed {
        jitter: u8,
    },
    Exited {
        exit: Exit,
        jitter: u8,
    },
    /// The child showed a sign of work.
    Progressed,
    /// A resource limit was exceeded for too long.
    LimitExceeded,
    /// What the process reads from is there again: a pending start happens now.
    Ready,
    /// The time of `next_timeout` has come; harmless at any other time.
    Timeout,
}

/// What the driver must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Start a child, answer `Spawned` or `SpawnFailed`.
    Spawn,
    /// Send SIGINT.
    Interrupt(Reason),
    /// Send SIGKILL.
    Kill,
}

/// Why a child is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Ordered,
    /// No sign of work for `stale_timeout_seconds`.
    Stale,
    Limit,
}

/// The machine of one process.
#[derive(Clone, Debug)]
pub struct Machine {
    order: Order,
    state: State,
    policy: Policy,
    /// Time of the last change of `state`.
    since: Instant,
    started_at: Instant,
    active_at: Instant,
    /// Start again as soon as the child has ended.
    again: bool,
    start_at: Option<Instant>,
    kill_at: Option<Instant>,
    /// A run that ends before this time ends for something that is over.
    ready_until: Option<Instant>,
    backoff: Backoff,
    output: Option<Output>,
    transitions: Transitions,
}

impl Policy {
    /// From the definition: `reconnect`, its delay, and the stale time-out with 0 for off.
    pub fn new(reconnect: bool, delay_seconds: u64, stale_timeout_seconds: u64) -> Self {
        let seconds = |s| Duration::from_secs(s).min(LONGEST);
        Self {
            reconnect: reconnect.then(|| seconds(delay_seconds)),
            stale_timeout: (stale_timeout_seconds > 0).then(|| seconds(stale_timeout_seconds)),
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl Exit {
    /// FFmpeg answers SIGINT with code 255.
    fn state(self) -> State {
        match self {
            Self::Code(0 | 255) => State::Finished,
            Self::Code(_) => State::Failed,
            Self::Signal(_) => State::Killed,
        }
    }
}

impl Machine {
    /// A process that never ran; it stays so until `Start`.
    pub fn new(now: Instant, order: Order, policy: Policy) -> Self {
        Self {
            order,
            state: State::Finished,
            policy,
            since: now,
            started_at: now,
            active_at: now,
            again: false,
            start_at: None,
            kill_at: None,
            ready_until: None,
            backoff: Backoff::default(),
            output: None,
            transitions: Transitions::default(),
        }
    }

    /// Takes one input. Poll the outputs before the next one.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Start => self.on_start(now),
            Input::Stop => self.on_stop(now),
            Input::Restart if self.order == Order::Start => self.on_restart(now),
            Input::Restart => {}
            Input::Spawned => self.on_spawned(now),
            Input::SpawnFailed { jitter } => self.on_end(now, State::Failed, jitter),
            Input::Exited { exit, jitter } => self.on_end(now, exit.state(), jitter),
            Input::Progressed => self.active_at = now,
            Input::LimitExceeded => self.interrupt(now, Reason::Limit),
            Input::Ready => self.on_ready(now),
            Input::Timeout => self.on_timeout(now),
        }
    }

    /// What is to be done, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.take()
    }

    /// When `Input::Timeout` is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.start_at, self.kill_at, self.stale_at()].into_iter().flatten().min()
    }

    /// Takes over a changed definition; a running child is not touched.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// All changes of state so far.
    pub fn transitions(&self) -> Transitions {
        self.transitions
    }

    /// Whether a child exists or is about to.
    pub fn is_active(&self) -> bool {
        matches!(self.state, State::Starting | State::Running | State::Finishing)
    }

    /// Since the last change of state.
    pub fn runtime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Until the next start, if one is pending.
    pub fn reconnect_in(&self, now: Instant) -> Option<Duration> {
        self.start_at.map(|at| at.saturating_duration_since(now))
    }

    fn on_start(&mut self, now: Instant) {
        self.order = Order::Start;
        self.backoff.reset();
        match self.state {
            State::Starting | State::Running => {}
            State::Finishing => self.again = true,
            State::Finished | State::Failed | State::Killed => self.begin(now),
        }
    }

    fn on_stop(&mut self, now: Instant) {
        self.order = Order::Stop;
        self.again = false;
        self.start_at = None;
        self.interrupt(now, Reason::Ordered);
    }

    fn on_restart(&mut self, now: Instant) {
        self.backoff.reset();
        if self.is_active() {
            self.again = true;
            self.interrupt(now, Reason::Ordered);
        } else {
            self.begin(now);
        }
    }

    fn on_spawned(&mut self, now: Instant) {
        if self.state != State::Starting {
            return;
        }
        self.enter(now, State::Running);
        self.active_at = now;
        if self.order == Order::Stop || self.again {
            self.interrupt(now, Reason::Ordered);
        }
    }

    fn on_end(&mut self, now: Instant, state: State, jitter: u8) {
        if !self.is_active() {
            return;
        }
        self.enter(now, state);
        self.kill_at = None;
        let again = std::mem::take(&mut self.again);
        if self.order == Order::Stop {
            return;
        }
        if again {
            self.begin(now);
        } else if let Some(delay) = self.policy.reconnect {
            let is_ready = self.ready_until.take().is_some_and(|until| now <= until);
            let delay = if is_ready { Duration::ZERO } else { delay };
            self.start_at = Some(now + self.reconnect_delay(now, delay, jitter));
        }
    }

    fn on_ready(&mut self, now: Instant) {
        if self.start_at.is_some() {
            self.backoff.reset();
            self.begin(now);
        } else if self.is_active() {
            // It may not have noticed yet that what it reads from was gone.
            self.ready_until = Some(now + READY_GRACE);
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.kill_at) {
            self.kill_at = None;
            self.output = Some(Output::Kill);
        } else if due(self.start_at) {
            self.begin(now);
        } else if due(self.stale_at()) {
            self.interrupt(now, Reason::Stale);
        }
    }

    /// The configured delay, or growing ones after quick failures; never two starts within `QUICK_FAILURE`.
    fn reconnect_delay(&mut self, now: Instant, delay: Duration, jitter: u8) -> Duration {
        let ran = now.saturating_duration_since(self.started_at);
        if self.state != State::Finished && ran < QUICK_FAILURE {
            let ceiling = if delay.is_zero() { BACKOFF_CEILING } else { delay };
            return self.backoff.next(ceiling, jitter);
        }
        self.backoff.reset();
        if delay.is_zero() { QUICK_FAILURE.saturating_sub(ran) } else { delay }
    }

    fn begin(&mut self, now: Instant) {
        self.start_at = None;
        self.started_at = now;
        self.enter(now, State::Starting);
        self.output = Some(Output::Spawn);
    }

    fn interrupt(&mut self, now: Instant, reason: Reason) {
        if self.state == State::Running {
            self.enter(now, State::Finishing);
            self.kill_at = Some(now + KILL_GRACE);
            self.output = Some(Output::Interrupt(reason));
        }
    }

    fn enter(&mut self, now: Instant, state: State) {
        self.state = state;
        self.since = now;
        self.transitions.count(state);
    }

    fn stale_at(&self) -> Option<Instant> {
        let timeout = self.policy.stale_timeout.filter(|_| self.state == State::Running)?;
        Some(self.active_at + timeout)
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
