//! Core's database, versions 1 to 4.
//!
//! Version 4 is the one that Core 16 and Rill write. Whatever an earlier version lacks has its default, whatever it has
//! more is named in the report: a list of processes instead of a map, a definition without a record around it, an order
//! that only `autostart` tells. Later Cores write version 4 with more members; those are named too.

use serde_json::{Map, Value, json};

use super::Found;
use crate::base::tree;
use crate::store::schema::{self, VERSION};

/// Why a database can't be taken over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("its version is {0}; versions 1 to {VERSION} can be imported")]
    Version(String),
    #[error(transparent)]
    Shape(#[from] schema::Error),
}

/// Members of a definition and of its record that have a counterpart.
const CONFIG: [&str; 15] = [
    "id",
    "reference",
    "ffversion",
    "input",
    "output",
    "options",
    "reconnect",
    "reconnect_delay_seconds",
    "autostart",
    "stale_timeout_seconds",
    "limit_cpu_usage",
    "limit_memory_bytes",
    "limit_waitfor_seconds",
    // What Rill has beyond Core.
    "rill",
    // There is one kind.
    "type",
];
const RECORD: [&str; 6] = ["id", "reference", "config", "created_at", "updated_at", "order"];

/// Whether this is a database of Core.
pub(super) fn is(document: &Value) -> bool {
    document.get("version").is_some() && document.get("process").is_some()
}

/// What the database holds.
///
/// # Errors
/// Another version, or not the shape of a database.
pub(super) fn convert(document: Value) -> Result<Found, Error> {
    let version = document["version"].as_u64().filter(|version| (1..=VERSION).contains(version));
    let version = version.ok_or_else(|| Error::Version(document["version"].to_string()))?;
    let mut found = Found::default();
    if version < VERSION {
        found.report.note("the database", format!("version {version} is read as version {VERSION}"));
    }
    let Value::Object(mut root) = document else { return Err(schema::Error::Shape("the document").into()) };
    root.insert("version".to_owned(), json!(VERSION));
    let mut processes = by_id(root.remove("process"))?;
    let domains = root.remove("domain");
    let mut metadata = match root.remove("metadata") {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    take_domains(domains, &mut processes, &mut metadata, &mut found);
    for (id, entry) in &mut processes {
        wrap(entry);
        name_strangers(id, entry, &mut found);
    }
    root.insert("process".to_owned(), Value::Object(processes));
    root.insert("metadata".to_owned(), Value::Object(metadata));
    let parsed = schema::read(Value::Object(root))?;
    for id in parsed.kept.keys() {
        found.report.skipped(format!("process {id}"), "its entry is no definition of a process");
    }
    found.db = parsed.db;
    Ok(found)
}

/// The processes by id, also of a list.
fn by_id(processes: Option<Value>) -> Result<Map<String, Value>, Error> {
    let id = |entry: &Value| {
        let id = entry.get("id").or_else(|| entry.get("config")?.get("id"))?;
        id.as_str().map(str::to_owned)
    };
    match processes {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members),
        Some(Value::Array(entries)) => {
            let named = |(index, entry): (usize, Value)| (id(&entry).unwrap_or_else(|| format!("#{index}")), entry);
            Ok(tree::object(entries.into_iter().enumerate().map(named)))
        }
        Some(_) => Err(schema::Error::Shape("process").into()),
    }
}

/// Later Cores keep processes in domains, which API version 3 does not know.
fn take_domains(
    domains: Option<Value>,
    processes: &mut Map<String, Value>,
    metadata: &mut Map<String, Value>,
    found: &mut Found,
) {
    let Some(Value::Object(domains)) = domains else { return };
    for (name, mut domain) in domains {
        let mut take = |key| domain.get_mut(key).map(Value::take).unwrap_or_default();
        let mut entries = take("metadata");
        let Value::Object(members) = take("process") else { continue };
        for (id, entry) in members {
            let what = format!("process {id} of domain {name}");
            if processes.contains_key(&id) {
                found.report.skipped(what, "there are no domains here, and another process has this id");
                continue;
            }
            found.report.note(what, "there are no domains here, it keeps its id");
            if let Some(own) = entries.get_mut(&id).filter(|own| !own.is_null())
                && let Value::Object(all) = metadata.entry("process").or_insert_with(|| json!({}))
            {
                all.insert(id.clone(), own.take());
            }
            processes.insert(id, entry);
        }
    }
}

/// Puts the record around a bare definition and gives an order to one that has none.
fn wrap(entry: &mut Value) {
    let Value::Object(members) = entry else { return };
    if !members.contains_key("config") && members.contains_key("input") {
        let mut record = Map::new();
        for key in RECORD {
            if let Some(value) = members.get(key) {
                record.insert(key.to_owned(), value.clone());
            }
        }
        record.insert("config".to_owned(), Value::Object(std::mem::take(members)));
        *members = record;
    }
    if members.get("order").is_none_or(Value::is_null) {
        let autostart = members.get("config").is_some_and(|config| config.get("autostart") == Some(&Value::Bool(true)));
        members.insert("order".to_owned(), json!(if autostart { "start" } else { "stop" }));
    }
}

/// Reports every member that says something and has no counterpart here.
fn name_strangers(id: &str, entry: &Value, found: &mut Found) {
    let empty = Map::new();
    let members = entry.as_object().unwrap_or(&empty);
    let config = members.get("config").and_then(Value::as_object).unwrap_or(&empty);
    let strange = |(key, value): &(&String, &Value), known: &[&str]| !known.contains(&key.as_str()) && !is_empty(value);
    let record = members.iter().filter(|member| strange(member, &RECORD) && !CONFIG.contains(&member.0.as_str()));
    let config = config.iter().filter(|member| strange(member, &CONFIG));
    for (key, value) in record.chain(config) {
        found
            .report
            .skipped(format!("{key} of process {id}"), format!("there is no such setting here, it was {value}"));
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(members) => members.values().all(is_empty),
    }
}
