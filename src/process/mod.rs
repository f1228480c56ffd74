//! One supervised process as pure values: its definition, its state machine, its limits and its report.

pub mod config;
pub mod limits;
pub mod machine;
pub mod report;

pub use config::{CleanupRule, Io, Limits, ProcessConfig};
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
