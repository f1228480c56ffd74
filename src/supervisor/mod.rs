//! Owner of all processes: their definitions, orders and children.
//!
//! `Handle` → bounded command queue → one event loop → store commit, then the pure machines. Reads go to a shared
//! table without waiting. A change is answered after its commit is durable; concurrent changes share a commit.

pub mod resolve;

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use crate::ffmpeg::Progress;
use crate::process::{Order, ProcessConfig, State};

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
    /// `process: None` means global metadata; `Value::Null` removes the key.
    Metadata {
        process: Option<String>,
        key: String,
        value: Value,
    },
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
    pub report: Option<ReportView>,
    pub metadata: Option<BTreeMap<String, Value>>,
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
    pub progress: Progress,
    pub memory_bytes: u64,
    pub cpu_percent: f64,
    pub command: Rc<Vec<String>>,
}

/// `contract/http-api.md` §6.8.
#[derive(Clone, Debug, Default)]
pub struct ReportView {
    pub created_at: i64,
    pub prelude: Vec<String>,
    /// Unix seconds and line.
    pub log: Vec<(i64, String)>,
    /// Finished runs, oldest first; their own `history` is empty.
    pub history: Vec<ReportView>,
}
