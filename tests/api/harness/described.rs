//! Holds an exchange against the API description: its status, its type and each member of its body have to be named
//! there, and nothing that is named as required may be missing.
//!
//! `http::send` asks for every exchange of every test, so that a wire type and its description can't part unnoticed. Paths
//! that depend on the configuration (static directories, mounts of S3, the disk) are not judged. The schemas are the few
//! forms that `src/http/openapi/schema.rs` writes; an unknown one panics.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::http::{Request, Response};

/// `Type.member` of what an answer showed.
pub(crate) type Seen = BTreeSet<String>;

/// The description, made once.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let bytes = rill::http::openapi::openapi().expect("tables that can be read");
        serde_json::from_slice(&bytes).expect("JSON")
    })
}

/// What is wrong with the exchange; members that it shows are added to `seen`.
pub(crate) fn fault(request: &Request, response: &Response, seen: &mut Seen) -> Option<String> {
    let path = request.path.split('?').next().unwrap_or_default();
    if !["/api", "/ping", "/memfs/", "/metrics"].iter().any(|start| path.starts_with(start)) {
        return None;
    }
    let operation = operation(&request.method, path)?;
    // What the parser refuses, or the TLS listener, concerns no operation.
    let is_text = response.header("Content-Type").is_some_and(|kind| kind.starts_with("text/plain"));
    if response.status == 431 || response.status == 400 && is_text {
        return None;
    }
    let id = operation["operationId"].as_str().unwrap_or_default();
    let answers = &operation["responses"];
    let answer = answers.get(response.status.to_string()).or_else(|| answers.get("default"));
    let Some(answer) = answer.map(resolved) else {
        return Some(format!("{id}: {} is not described: {}", response.status, response.text()));
    };
    let Some(content) = answer["content"].as_object() else {
        return (!response.body.is_empty())
            .then(|| format!("{id}: {} has no body: {}", response.status, response.text()));
    };
    if request.method == "HEAD" || response.status == 304 {
        return None;
    }
    let kind = response.header("Content-Type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    let Some(content) = content.get(kind).or_else(|| content.get("*/*")) else {
        return Some(format!("{id}: {} has type {kind:?}, which is not described", response.status));
    };
    if kind != "application/json" || content["schema"]["format"] == "binary" {
        return None;
    }
    let value = match response.json() {
        Ok(value) => value,
        Err(error) => return Some(format!("{id}: {error}")),
    };
    differs(&content["schema"], &value, id, "", seen)
}

/// The operation with the most literal path.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let wanted: Vec<&str> = template.split('/').collect();
        // A file's path may hold slashes.
        let is_open = template.ends_with("/{filepath}") || template.ends_with("/{name}");
        let same = wanted.len() == parts.len() || is_open && wanted.len() < parts.len();
        same && wanted.iter().zip(&parts).all(|(w, p)| w == p || w.starts_with('{') && (is_open || !p.is_empty()))
    };
    let paths = document()["paths"].as_object().expect("paths").iter();
    let paths = paths.filter(|(template, _)| *template != "/{filepath}" && fits(template));
    let found = paths.min_by_key(|(template, _)| template.matches('{').count())?;
    found.1.get(method.to_ascii_lowercase())
}

fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            document().pointer(reference.trim_start_matches('#')).expect("a reference that leads somewhere")
        }
        None => value,
    }
}

/// How `value` differs from `schema`; `at` is the type or operation, `path` where the value stands in the answer.
fn differs(schema: &'static Value, value: &Value, at: &str, path: &str, seen: &mut Seen) -> Option<String> {
    let wrong = |text: String| Some(format!("{at}: {path:?} {text}: {value}"));
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return differs(resolved(schema), value, name, path, seen);
    }
    if let Some(alternatives) = schema["anyOf"].as_array() {
        let mut found = None;
        for alternative in alternatives {
            let mut shown = Seen::new();
            match differs(alternative, value, at, path, &mut shown) {
                None => {
                    seen.append(&mut shown);
                    return None;
                }
                fault => found = fault,
            }
        }
        return found;
    }
    if let Some(literals) = schema["enum"].as_array() {
        return if literals.contains(value) { None } else { wrong("is none of the literals".to_owned()) };
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let fits = |kind: &&str| match *kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64() && schema["minimum"] != 0,
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("an unknown type: {other}"),
    };
    if !kinds.iter().any(fits) {
        return wrong(format!("is no {kinds:?}"));
    }
    match value {
        Value::Array(items) => items_differ(schema, items, at, path, seen),
        Value::Object(members) => members_differ(schema, members, at, path, seen),
        _ => None,
    }
}

fn items_differ(schema: &'static Value, items: &[Value], at: &str, path: &str, seen: &mut Seen) -> Option<String> {
    let kinds = schema["prefixItems"].as_array();
    if kinds.is_some_and(|kinds| kinds.len() != items.len()) {
        return Some(format!("{at}: {path:?} has {} items", items.len()));
    }
    let kind = |index: usize| kinds.map_or(&schema["items"], |kinds| &kinds[index]);
    items.iter().enumerate().find_map(|(i, item)| differs(kind(i), item, at, &format!("{path}/{i}"), seen))
}

fn members_differ(
    schema: &'static Value,
    members: &Map<String, Value>,
    at: &str,
    path: &str,
    seen: &mut Seen,
) -> Option<String> {
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !members.contains_key(name) {
            return Some(format!("{at}: {path:?} lacks {name:?}"));
        }
    }
    members.iter().find_map(|(name, member)| {
        let path = format!("{path}/{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => {
                seen.insert(format!("{at}.{name}"));
                differs(schema, member, at, &path, seen)
            }
            (None, Value::Bool(true)) => None,
            (None, kind @ Value::Object(_)) => differs(kind, member, at, &path, seen),
            _ => Some(format!("{at}: {path:?} is not described")),
        }
    })
}
