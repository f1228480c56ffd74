//! The persisted shape, as the reference writes it (`contract/process-engine.md` §1, §19): version 4, readable both
//! ways.
//!
//! bytes → `parse` → `Db`; `Db` → `serialise` → bytes. Absent members have their defaults, unknown ones are dropped,
//! an entry that is no process is kept as it is and written back.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::base::json;
use crate::base::tree;
use crate::process::{CleanupRule, HardLimits, Io, Limits, Order, ProcessConfig};

/// The layout version that is read and written.
pub const VERSION: u64 = 4;

/// What the supervisor owns and the store persists.
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

/// Why bytes are no database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("syntax error at line {line}, character {column}: {source}", line = source.line(), column = source.column())]
    Syntax { source: serde_json::Error },
    #[error("not a database: {0} has the wrong type")]
    Shape(&'static str),
    #[error("unsupported version of the DB file (want: {VERSION}, have: {0})")]
    Version(String),
}

/// A database as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    pub db: Db,
    /// Entries that are no process, by id: written back unchanged.
    pub kept: BTreeMap<String, Value>,
}

/// Reads a database of version 4.
///
/// # Errors
/// No JSON, not the shape of a database, another version.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Error> {
    read(serde_json::from_slice(bytes).map_err(|source| Error::Syntax { source })?)
}

/// As `parse`, of a document that is JSON already.
///
/// # Errors
/// Not the shape of a database, another version.
pub fn read(document: Value) -> Result<Parsed, Error> {
    let Value::Object(mut root) = document else { return Err(Error::Shape("the document")) };
    match root.get("version") {
        Some(version) if version.as_u64() == Some(VERSION) => {}
        other => return Err(Error::Version(other.unwrap_or(&Value::from(0)).to_string())),
    }
    let mut parsed = Parsed::default();
    for (id, entry) in object(root.remove("process"), "process")? {
        match RecordShape::deserialize(&entry) {
            Ok(shape) => drop(parsed.db.process.insert(id.clone(), shape.into_record(id))),
            Err(_) => drop(parsed.kept.insert(id, entry)),
        }
    }
    let mut metadata = object(root.remove("metadata"), "metadata")?;
    parsed.db.system_metadata = match metadata.remove("system") {
        Some(Value::Null) => None,
        system => Some(tree::map(object(system, "metadata.system")?)),
    };
    for (id, entries) in object(metadata.remove("process"), "metadata.process")? {
        let entries = object(Some(entries), "metadata of a process")?;
        if !entries.is_empty() {
            parsed.db.process_metadata.insert(id, tree::map(entries));
        }
    }
    Ok(parsed)
}

/// The file's bytes, keys sorted; `kept` entries stay unless `db` has a process of that id.
pub(crate) fn serialise(db: &Db, kept: &BTreeMap<String, Value>) -> Vec<u8> {
    let entries = kept.iter().map(|(id, entry)| (id.as_str(), EntryShape::Kept(entry)));
    let mut process: BTreeMap<&str, EntryShape<'_>> = tree::map(entries);
    let records =
        db.process.iter().map(|(id, record)| (id.as_str(), EntryShape::Record(Box::new(RecordShape::new(id, record)))));
    process.extend(records);
    let metadata = MetadataShape { system: &db.system_metadata, process: &db.process_metadata };
    json::indented(&DbShape { version: VERSION, process, metadata })
}

/// `null` and absence are an empty object.
fn object(value: Option<Value>, name: &'static str) -> Result<Map<String, Value>, Error> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members),
        Some(_) => Err(Error::Shape(name)),
    }
}

#[derive(Serialize)]
struct DbShape<'a> {
    version: u64,
    process: BTreeMap<&'a str, EntryShape<'a>>,
    metadata: MetadataShape<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum EntryShape<'a> {
    Record(Box<RecordShape>),
    Kept(&'a Value),
}

#[derive(Serialize)]
struct MetadataShape<'a> {
    system: &'a Option<BTreeMap<String, Value>>,
    process: &'a BTreeMap<String, BTreeMap<String, Value>>,
}

#[derive(Serialize, Deserialize)]
struct RecordShape {
    #[serde(default, deserialize_with = "lenient")]
    id: String,
    #[serde(default, deserialize_with = "lenient")]
    reference: String,
    config: ConfigShape,
    #[serde(default, deserialize_with = "lenient")]
    created_at: i64,
    #[serde(default, deserialize_with = "lenient")]
    updated_at: i64,
    #[serde(default, deserialize_with = "lenient")]
    order: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct ConfigShape {
    #[serde(deserialize_with = "lenient")]
    id: String,
    #[serde(deserialize_with = "lenient")]
    reference: String,
    #[serde(deserialize_with = "lenient")]
    ffversion: String,
    #[serde(deserialize_with = "lenient")]
    input: Vec<IoShape>,
    #[serde(deserialize_with = "lenient")]
    output: Vec<IoShape>,
    #[serde(deserialize_with = "lenient")]
    options: Vec<String>,
    reconnect: bool,
    reconnect_delay_seconds: u64,
    autostart: bool,
    stale_timeout_seconds: u64,
    limit_cpu_usage: f64,
    limit_memory_bytes: u64,
    limit_waitfor_seconds: u64,
    /// Beyond Core's, which leaves them out.
    #[serde(skip_serializing_if = "RillShape::is_default")]
    rill: RillShape,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct RillShape {
    limit_cpu_percent: f64,
    limit_memory_bytes: u64,
    limit_threads: u64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct IoShape {
    id: String,
    address: String,
    #[serde(deserialize_with = "lenient")]
    options: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    cleanup: Vec<CleanupShape>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct CleanupShape {
    pattern: String,
    max_files: u64,
    max_file_age_seconds: u64,
    purge_on_delete: bool,
}

/// `null` stands for the default, as Core writes empty lists.
fn lenient<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl RecordShape {
    fn new(id: &str, record: &Record) -> Self {
        let order = match record.order {
            Order::Start => "start",
            Order::Stop => "stop",
        };
        Self {
            id: id.to_owned(),
            reference: record.config.reference.clone(),
            config: ConfigShape::new(&record.config),
            created_at: record.created_at,
            updated_at: record.updated_at,
            order: order.to_owned(),
        }
    }

    /// Only the word `start` starts; the key of the map is the id.
    fn into_record(self, id: String) -> Record {
        let order = if self.order == "start" { Order::Start } else { Order::Stop };
        let config = self.config.into_config(id, self.reference);
        Record { config, created_at: self.created_at, updated_at: self.updated_at, order }
    }
}

impl ConfigShape {
    fn new(config: &ProcessConfig) -> Self {
        let io = |list: &[Io]| list.iter().map(IoShape::new).collect();
        Self {
            id: config.id.clone(),
            reference: config.reference.clone(),
            ffversion: config.ffversion.clone(),
            input: io(&config.input),
            output: io(&config.output),
            options: config.options.clone(),
            reconnect: config.reconnect,
            reconnect_delay_seconds: config.reconnect_delay_seconds,
            autostart: config.autostart,
            stale_timeout_seconds: config.stale_timeout_seconds,
            limit_cpu_usage: config.limits.cpu_percent,
            limit_memory_bytes: config.limits.memory_bytes,
            limit_waitfor_seconds: config.limits.waitfor_seconds,
            rill: RillShape {
                limit_cpu_percent: config.hard.cpu_percent,
                limit_memory_bytes: config.hard.memory_bytes,
                limit_threads: config.hard.threads,
            },
        }
    }

    fn into_config(self, id: String, reference: String) -> ProcessConfig {
        ProcessConfig {
            id,
            reference: if self.reference.is_empty() { reference } else { self.reference },
            input: self.input.into_iter().map(IoShape::into_io).collect(),
            output: self.output.into_iter().map(IoShape::into_io).collect(),
            options: self.options,
            reconnect: self.reconnect,
            reconnect_delay_seconds: self.reconnect_delay_seconds,
            autostart: self.autostart,
            stale_timeout_seconds: self.stale_timeout_seconds,
            limits: Limits {
                cpu_percent: self.limit_cpu_usage,
                memory_bytes: self.limit_memory_bytes,
                waitfor_seconds: self.limit_waitfor_seconds,
            },
            hard: HardLimits {
                cpu_percent: self.rill.limit_cpu_percent,
                memory_bytes: self.rill.limit_memory_bytes,
                threads: self.rill.limit_threads,
            },
            ffversion: self.ffversion,
        }
    }
}

impl RillShape {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl IoShape {
    fn new(io: &Io) -> Self {
        let rule = |rule: &CleanupRule| CleanupShape {
            pattern: rule.pattern.clone(),
            max_files: rule.max_files,
            max_file_age_seconds: rule.max_file_age_seconds,
            purge_on_delete: rule.purge_on_delete,
        };
        Self {
            id: io.id.clone(),
            address: io.address.clone(),
            options: io.options.clone(),
            cleanup: io.cleanup.iter().map(rule).collect(),
        }
    }

    fn into_io(self) -> Io {
        let rule = |shape: CleanupShape| CleanupRule {
            pattern: shape.pattern,
            max_files: shape.max_files,
            max_file_age_seconds: shape.max_file_age_seconds,
            purge_on_delete: shape.purge_on_delete,
        };
        Io {
            id: self.id,
            address: self.address,
            options: self.options,
            cleanup: self.cleanup.into_iter().map(rule).collect(),
        }
    }
}
