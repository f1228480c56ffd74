//! The definition of a process as clients wrote it: placeholders and references unresolved
//! (`contract/process-engine.md` §1).

/// One FFmpeg process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessConfig {
    pub id: String,
    pub reference: String,
    pub input: Vec<Io>,
    pub output: Vec<Io>,
    /// Global options, placed before the first input.
    pub options: Vec<String>,
    pub reconnect: bool,
    pub reconnect_delay_seconds: u64,
    /// Only evaluated on creation.
    pub autostart: bool,
    /// 0 means off.
    pub stale_timeout_seconds: u64,
    pub limits: Limits,
    /// Held by the kernel, where it can.
    pub hard: HardLimits,
    /// Constraint written by the engine, `^` + detected FFmpeg version; empty until known.
    pub ffversion: String,
}

/// An input or output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Io {
    pub id: String,
    pub address: String,
    pub options: Vec<String>,
    /// Outputs only.
    pub cleanup: Vec<CleanupRule>,
}

/// Files that an output leaves behind and when they go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanupRule {
    /// `<file system>:<glob>`, the glob beginning with `/`.
    pub pattern: String,
    /// 0 means no limit.
    pub max_files: u64,
    /// 0 means no limit.
    pub max_file_age_seconds: u64,
    pub purge_on_delete: bool,
}

/// Hard limits of a process with all that it forks; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HardLimits {
    /// Beyond it the kernel ends the process.
    pub memory_bytes: u64,
    /// Percent of one CPU, may be more than 100; beyond it the process waits.
    pub cpu_percent: f64,
    /// Beyond it no more can be started.
    pub threads: u64,
}

/// Core's soft limits; 0 means off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Percent of all available CPUs.
    pub cpu_percent: f64,
    pub memory_bytes: u64,
    /// How long a value must exceed its limit before the process is stopped.
    pub waitfor_seconds: u64,
}
