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
