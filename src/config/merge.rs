//! Partial documents of version 1, 2 or 3 laid over a whole one: the file over the defaults, a PUT over what is
//! stored (`contract/config.md` §3).
//!
//! JSON bytes → version → upgrade of the partial → members merged by path. Objects merge, lists are replaced,
//! `null` keeps a scalar and empties a list, unknown members are dropped.

use serde_json::{Map, Value, json};

use super::document::{Document, VERSION};

/// Why a partial document was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("syntax error at line {line}, character {column}: {source}", line = source.line(), column = source.column())]
    Syntax { source: serde_json::Error },
    #[error("expect type '{expected}' for '{path}', found {found}")]
    Type { expected: &'static str, path: String, found: &'static str },
    #[error("a value has the wrong type")]
    Shape { source: serde_json::Error },
    #[error("unknown configuration layout version (found version {0}, expecting version {VERSION})")]
    Version(i64),
    #[error("migrating rtmp.address to rtmp.address_tls failed: {0:?} has no numeric port above 1")]
    RtmpAddress(String),
}

/// What a partial document is laid over; version 1 fills the RTMP address from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// A file over the defaults.
    Defaults,
    /// A request body over what is stored.
    Stored,
}

/// Lays the JSON object `bytes` over `base`; the result has the current version.
///
/// # Errors
/// No JSON, no object, an unknown version, a member of another type.
pub fn merge(base: &Document, bytes: &[u8], over: Over) -> Result<Document, Error> {
    merge_value(base, parse(bytes)?, over)
}

/// The JSON of a document.
///
/// # Errors
/// No JSON.
pub fn parse(bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Syntax { source })
}

/// As `merge`, after `parse`.
///
/// # Errors
/// As `merge`.
pub fn merge_value(base: &Document, mut partial: Value, over: Over) -> Result<Document, Error> {
    upgrade(&mut partial, over)?;
    let mut whole = serde_json::to_value(base).map_err(|source| Error::Shape { source })?;
    lay(&mut whole, partial, "")?;
    serde_json::from_value(whole).map_err(|source| Error::Shape { source })
}

fn lay(base: &mut Value, partial: Value, path: &str) -> Result<(), Error> {
    match (base, partial) {
        (Value::Object(members), Value::Object(partial)) => {
            for (key, value) in partial {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match members.get_mut(&key) {
                    Some(member) => lay(member, value, &below)?,
                    None if path == ROUTES => drop(members.insert(key, value)),
                    None => {}
                }
            }
        }
        (Value::Object(members), Value::Null) if path == ROUTES => members.clear(),
        (Value::Array(list), Value::Null) => list.clear(),
        (_, Value::Null) => {}
        (base, partial) if kind(base) == kind(&partial) => *base = partial,
        (base, partial) => {
            return Err(Error::Type { expected: kind(base), path: path.to_owned(), found: kind(&partial) });
        }
    }
    Ok(())
}

/// The one object whose keys are free.
const ROUTES: &str = "router.routes";

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Rewrites a partial document of version 1 or 2 as one of version 3.
fn upgrade(partial: &mut Value, over: Over) -> Result<(), Error> {
    let found = kind(partial);
    let Value::Object(members) = partial else {
        return Err(Error::Type { expected: "object", path: String::new(), found });
    };
    let version = match members.get("version") {
        None | Some(Value::Null) => 0,
        Some(Value::Number(number)) if number.is_i64() => number.as_i64().unwrap_or_default(),
        Some(other) => {
            return Err(Error::Type { expected: "int64", path: "version".to_owned(), found: kind(other) });
        }
    };
    if !(1..=VERSION).contains(&version) {
        return Err(Error::Version(version));
    }
    if version == 1 {
        one_to_two(members, over)?;
    }
    if version <= 2 {
        two_to_three(members);
    }
    members.insert("version".to_owned(), VERSION.into());
    Ok(())
}

/// RTMPS gets its own address, the plain server the port below it; `rtmp.app` becomes absolute.
fn one_to_two(members: &mut Map<String, Value>, over: Over) -> Result<(), Error> {
    let rtmp = members.entry("rtmp").or_insert_with(|| json!({}));
    let Value::Object(rtmp) = rtmp else { return Ok(()) };
    rtmp.remove("address_tls");
    if let Some(Value::String(app)) = rtmp.get_mut("app")
        && !app.starts_with('/')
    {
        app.insert(0, '/');
    }
    if rtmp.get("enable_tls") != Some(&Value::Bool(true)) {
        return Ok(());
    }
    rtmp.insert("enable".to_owned(), true.into());
    let address = match (rtmp.get("address"), over) {
        (Some(Value::String(address)), _) => address.clone(),
        (_, Over::Defaults) => ":1935".to_owned(),
        (_, Over::Stored) => return Ok(()),
    };
    let below = |address: &str| {
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse::<u16>().ok().filter(|port| *port > 1)?;
        Some(format!("{host}:{}", port - 1))
    };
    let plain = below(&address).ok_or_else(|| Error::RtmpAddress(address.clone()))?;
    rtmp.insert("address".to_owned(), plain.into());
    rtmp.insert("address_tls".to_owned(), address.into());
    Ok(())
}

/// The list of cached types becomes the allow list; what version 2 did not know starts from its default.
fn two_to_three(members: &mut Map<String, Value>) {
    let storage = members.entry("storage").or_insert_with(|| json!({}));
    if let Value::Object(storage) = storage {
        storage.insert("s3".to_owned(), json!([]));
        if let Some(types) = storage.get_mut("disk").and_then(|disk| disk.get_mut("cache")?.get_mut("types")) {
            *types = json!({ "allow": types.take() });
        }
    }
    if let Some(Value::Object(tls)) = members.get_mut("tls") {
        tls.remove("email");
    }
    let debug = members.entry("debug").or_insert_with(|| json!({}));
    if let Value::Object(debug) = debug {
        debug.insert("memory_limit_mbytes".to_owned(), 0.into());
    }
}
