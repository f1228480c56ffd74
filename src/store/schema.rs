//! The persisted shape, as the reference writes it (`contract/process-engine.md` §19).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::process::{Order, ProcessConfig};

/// What the supervisor owns and the store persists. Serialisation shapes (`limit_cpu_usage` …) are private to this file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Db {
    pub process: BTreeMap<String, Record>,
    /// Global metadata by key; `None` once the last key was removed.
    pub system_metadata: Option<BTreeMap<String, Value>>,
    /// Metadata by process id; absent when a process has none.
    pub process_metadata: BTreeMap<String, BTreeMap<String, Value>>,
}

/// One persisted process.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub config: ProcessConfig,
    /// Unix seconds.
    pub created_at: i64,
    pub updated_at: i64,
    pub order: Order,
}
