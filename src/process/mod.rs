//! One supervised process as pure values: its definition, its state machine, its limits and its report.

pub mod config;
pub mod limits;
pub mod machine;
pub mod report;

pub use config::{CleanupRule, HardLimits, Io, Limits, ProcessConfig};
pub use report::{Report, ReportView};

/// Wanted state of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Start,
    Stop,
}

impl Order {
    /// As clients and the store spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

/// Actual state of a process (`contract/process-engine.md` §9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Finished,
    Starting,
    Running,
    Finishing,
    Failed,
    Killed,
}

impl State {
    /// As clients spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Finishing => "finishing",
            Self::Failed => "failed",
            Self::Killed => "killed",
        }
    }
}

/// How often a process came into each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transitions {
    pub failed: u64,
    pub finished: u64,
    pub finishing: u64,
    pub killed: u64,
    pub running: u64,
    pub starting: u64,
}

impl Transitions {
    /// Counts one.
    pub fn count(&mut self, state: State) {
        *match state {
            State::Failed => &mut self.failed,
            State::Finished => &mut self.finished,
            State::Finishing => &mut self.finishing,
            State::Killed => &mut self.killed,
            State::Running => &mut self.running,
            State::Starting => &mut self.starting,
        } += 1;
    }

    /// Takes over what another process did.
    pub fn add(&mut self, other: Self) {
        self.failed += other.failed;
        self.finished += other.finished;
        self.finishing += other.finishing;
        self.killed += other.killed;
        self.running += other.running;
        self.starting += other.starting;
    }
}
