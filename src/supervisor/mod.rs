//! Owner of all processes: their definitions, orders and children.
//!
//! `Handle` → bounded command queue → one event loop → store commit, then the pure machines. Reads go to a shared
//! table without waiting. A change is answered after its commit is durable; concurrent changes share a commit.

mod address;
mod batch;
mod child_driver;
mod client;
mod driver;
mod placeholder;
mod probe_driver;
pub mod resolve;
mod runner;
mod steps;
mod table;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value;

use crate::cgroup::Stats;
use crate::ffmpeg::{Progress, Stream};
use crate::process::{Limits, Order, ProcessConfig, State, Transitions};
use crate::store;

pub use crate::config::Companion;
pub use crate::process::ReportView;
pub use child_driver::Walls;
pub use client::Handle;
pub use driver::{Deps, REQUEST_QUEUE, Section, spawn};
pub use probe_driver::PROBES;

/// Definitions kept at once; beyond it `Error::Full`.
pub const PROCESSES: usize = 1000;
/// Metadata keys of one process, and global ones; beyond it `Error::Full`.
pub const METADATA_KEYS: usize = 1000;

/// What became of one `Change`.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Add, Update: the definition as stored.
    Stored(Rc<ProcessConfig>),
    /// Delete, Command, Metadata, Expect.
    Done,
    /// Processes, AllMetadata.
    Replaced(Differences),
}

/// What became of a list that was replaced, by id or key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    pub added: Vec<String>,
    pub updated: Vec<String>,
    pub removed: Vec<String>,
    pub unchanged: Vec<String>,
    /// Those of `unchanged` that refer to an output that is another one now.
    pub restarted: Vec<String>,
}

/// A process as it is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub config: ProcessConfig,
    /// `None`: as it is; for a new process as `autostart` says.
    pub order: Option<Order>,
    /// `None`: as they are.
    pub metadata: Option<BTreeMap<String, Value>>,
}

/// What is wrong with an item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemFault {
    pub item: usize,
    pub id: String,
    pub text: String,
}

/// Everything that clients have stored.
#[derive(Clone, Debug)]
pub struct Whole {
    /// In order of creation.
    pub processes: Vec<Stored>,
    pub metadata: Option<Rc<BTreeMap<String, Value>>>,
}

/// What clients have stored of a process.
#[derive(Clone, Debug)]
pub struct Stored {
    pub config: Rc<ProcessConfig>,
    pub order: Order,
    pub metadata: Option<Rc<BTreeMap<String, Value>>>,
}

/// Why a list of changes was refused; nothing of it has happened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("unknown process")]
    UnknownProcess(String),
    #[error("process already exists")]
    Exists(String),
    /// The definition breaks a rule; the text says which value and why.
    #[error("{0}")]
    Invalid(String),
    /// Start or restart of a process whose stored definition does not resolve.
    #[error("invalid process definition")]
    InvalidDefinition(String),
    /// `ffmpeg.max_processes`.
    #[error("max. number of running processes ({0}) reached")]
    Limit(usize),
    /// A bound of the box, not of Core.
    #[error("no more than {bound} {what} can be kept")]
    Full { what: &'static str, bound: usize },
    /// Another change came between reading what it names and this change of it.
    #[error("{0} was changed meanwhile")]
    Changed(String),
    /// Items of a whole list break rules.
    #[error("{} items are invalid", .0.len())]
    Items(Vec<ItemFault>),
    #[error("a metadata key must not be empty")]
    EmptyKey,
    /// The change could not be made durable.
    #[error("the change can't be stored")]
    Store(#[source] Arc<store::Error>),
    /// A fault of ours, logged with its cause.
    #[error("the change met an internal fault")]
    Panicked,
    #[error("the supervisor is shutting down")]
    Stopped,
}

impl From<resolve::Invalid> for Error {
    fn from(resolve::Invalid(text): resolve::Invalid) -> Self {
        Self::Invalid(text)
    }
}

/// One change of the table. `Handle::apply` takes a list, all or none.
#[derive(Clone, Debug)]
pub enum Change {
    Add(ProcessConfig),
    /// Replaces the definition of `id`; another id inside `config` renames. `revision` is that of the `ProcessView`
    /// the new definition was merged from: the change is refused with `Error::Changed` if it is no longer current.
    Update {
        id: String,
        config: ProcessConfig,
        revision: u64,
    },
    Delete {
        id: String,
    },
    Command {
        id: String,
        command: Command,
    },
    /// All processes that are to be there.
    Processes(Vec<Wanted>),
    /// All global metadata that are to be there.
    AllMetadata(BTreeMap<String, Value>),
    /// Changes nothing; the list is refused if it does not hold.
    Expect(Expectation),
    /// `process: None` means global metadata; `Value::Null` removes the key.
    Metadata {
        process: Option<String>,
        key: String,
        value: Value,
    },
}

/// What a list of changes relies on; `Error::Changed` if it is no longer so.
#[derive(Clone, Debug, PartialEq)]
pub enum Expectation {
    /// The process `id` is defined as in the `ProcessView` of this revision.
    Definition { id: String, revision: u64 },
    /// The key has this value; `None`: there is none. `process: None` means global metadata.
    Metadata { process: Option<String>, key: String, value: Option<Value> },
    /// Nothing has changed since `Handle::version` said so.
    Version(u64),
}

/// Core's process commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Start,
    Stop,
    Restart,
    Reload,
}

/// One process as readers see it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ProcessView {
    pub config: Rc<ProcessConfig>,
    /// Grows with each update of the definition.
    pub revision: u64,
    pub created_at: i64,
    pub updated_at: i64,
    /// `None`: the definition does not resolve (an invalid process); `invalid` says why.
    pub state: Option<StateView>,
    pub invalid: Option<String>,
    /// Shared with later views until the next line arrives.
    pub report: Option<Rc<ReportView>>,
    /// Shared with the table.
    pub metadata: Option<Rc<BTreeMap<String, Value>>>,
}

/// The progress of a run. Shared by all views until the run moves or `runner::PROGRESS_AGE` has passed.
#[derive(Debug, Default)]
pub struct ProgressView {
    pub progress: Progress,
    /// Room for what a reader makes of it, kept as long as the view.
    pub rendered: OnceCell<Box<[u8]>>,
}

impl std::ops::Deref for ProgressView {
    type Target = Progress;

    fn deref(&self) -> &Progress {
        &self.progress
    }
}

impl From<Progress> for ProgressView {
    fn from(progress: Progress) -> Self {
        Self { progress, rendered: OnceCell::new() }
    }
}

/// One process as it is measured: its numbers, without what they would cost as a `ProcessView`.
#[derive(Clone, Debug)]
pub struct Measured {
    pub config: Rc<ProcessConfig>,
    pub order: Order,
    pub state: State,
    /// Since the last change of state.
    pub runtime_seconds: u64,
    pub progress: Rc<ProgressView>,
    pub memory_bytes: u64,
    pub cpu_percent: f64,
    /// How often the kernel has ended it because memory was out.
    pub oom_kills: u64,
    /// While it runs in a group of its own; `oom_kills` are those of all runs.
    pub group: Option<Stats>,
    pub limits: Limits,
    pub transitions: Transitions,
}

/// What a probe found (`contract/process-engine.md` §22).
#[derive(Clone, Debug, Default)]
pub struct ProbeView {
    pub streams: Vec<Stream>,
    pub log: Vec<String>,
}

/// `contract/http-api.md` §6.7.
#[derive(Clone, Debug)]
pub struct StateView {
    pub order: Order,
    pub state: State,
    pub runtime_seconds: u64,
    /// −1 when no start is pending.
    pub reconnect_seconds: i64,
    pub last_logline: String,
    pub progress: Rc<ProgressView>,
    pub memory_bytes: u64,
    pub cpu_percent: f64,
    /// While it runs in a group of its own; `oom_kills` are those of all runs.
    pub group: Option<Stats>,
    pub command: Rc<Vec<String>>,
}
