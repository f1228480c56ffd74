//! `commands.json` and `placeholders.json`: definitions in, command lines and refusals out, over HTTP.
//!
//! file → a daemon per instance → each vector's setup, request and what follows → verdicts. `tests/vectors-skip.txt`
//! names what differs by decision. The text of an error is ours; its presence and the message count.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::golden::lists::{self, VECTORS, tests_dir};
use crate::harness::http::{Request, Response};
use crate::harness::setup::substitute;
use crate::harness::{Daemon, Setup, Variables};

#[test]
fn placeholders() {
    run("placeholders.json", 87);
}

#[test]
fn commands() {
    run("commands.json", 141);
}

fn load(file: &str) -> Value {
    let path = tests_dir().join("contract").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // The addresses are those of loopback; the rest are variables of the harness.
    let text = ["HTTP", "RTMP", "SRT", "S3"]
        .iter()
        .fold(text, |text, name| text.replace(&format!("${{{name}_ADDR}}"), &format!("127.0.0.1:${{{name}_PORT}}")));
    let text = text.replace("${ROOT}", "${WORK_DIR}").replace("${CWD}", "${WORK_DIR}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn run(file: &str, count: usize) {
    let document = load(file);
    let skipped = lists::read(VECTORS);
    let vectors = document["vectors"].as_array().expect("a list of vectors");
    assert_eq!(vectors.len(), count);
    let name = |vector: &Value| format!("{file}::{}", vector["id"].as_str().expect("vectors have ids"));
    for stale in skipped.keys().filter(|key| key.starts_with(file)) {
        assert!(vectors.iter().any(|vector| name(vector) == *stale), "no such vector: {stale}");
    }
    let mut instances: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for vector in vectors.iter().filter(|vector| !skipped.contains_key(&name(vector))) {
        instances.entry(vector["instance"].as_str().expect("vectors name their instance")).or_default().push(vector);
    }
    let mut failures = Vec::new();
    for (instance, vectors) in instances {
        let daemon = start(&document["instances"][instance]);
        for vector in vectors {
            if let Err(reason) = check(&daemon, vector) {
                failures.push(format!("\nFAIL {}\n     {reason}", name(vector)));
            }
            clear(&daemon);
        }
    }
    assert!(failures.is_empty(), "{} failed{}", failures.len(), failures.concat());
}

fn start(instance: &Value) -> Daemon {
    let env = instance["env"].as_object().into_iter().flatten();
    let setup = Setup {
        env: env.map(|(name, value)| (name.clone(), value.as_str().map(str::to_owned))).collect(),
        config_file: instance.get("config_file").cloned(),
        ..Setup::default()
    };
    setup.start()
}

fn check(daemon: &Daemon, vector: &Value) -> Result<(), String> {
    let vector = fill(vector, &daemon.variables);
    for request in vector["setup"].as_array().into_iter().flatten() {
        let response = send(daemon, request);
        if response.status != 200 {
            return Err(format!("setup: {} {}", response.status, response.text()));
        }
    }
    let expect = &vector["expect"];
    let answer = judge_status(&send(daemon, &vector["request"]), expect["status"].as_u64())?;
    if let Some(command) = expect.get("command") {
        let id = answer["id"].as_str().ok_or("the answer has no id")?;
        let state = daemon.json(&format!("/api/v3/process/{}/state", encode(id)));
        equal("command", &state["command"], command)?;
    }
    if let Some(config) = expect.get("config") {
        equal("config", &answer, config)?;
    }
    if let Some(body) = expect.get("body") {
        equal("answer", &answer, body)?;
    }
    if expect.get("message").is_some() {
        refusal(&answer, expect)?;
    }
    for more in expect["more"].as_array().into_iter().flatten() {
        let answer = judge_status(&send(daemon, &more["request"]), more["status"].as_u64())?;
        let wanted = &more["result"];
        if wanted.get("message").is_some() {
            refusal(&answer, wanted)?;
        } else if wanted.get("order").is_some() {
            equal("state", &json!({"order": answer["order"], "command": answer["command"]}), wanted)?;
        } else {
            equal("result", &answer, wanted)?;
        }
    }
    Ok(())
}

fn send(daemon: &Daemon, request: &Value) -> Response {
    let text = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
    let body = request.get("raw").and_then(Value::as_str).map(str::to_owned);
    let body = body.or_else(|| request.get("body").map(Value::to_string));
    let mut sent = Request::new(&text("method"), &text("path"));
    let content_type = request["headers"]["Content-Type"].as_str().unwrap_or("application/json");
    if let Some(body) = body {
        sent = sent.header("Content-Type", content_type).body(body);
    }
    daemon.send(&sent)
}

fn judge_status(response: &Response, wanted: Option<u64>) -> Result<Value, String> {
    if Some(u64::from(response.status)) != wanted {
        return Err(format!("{} instead of {wanted:?}: {}", response.status, response.text()));
    }
    response.json()
}

/// Code and message as recorded; details there or not there.
fn refusal(answer: &Value, wanted: &Value) -> Result<(), String> {
    let empty = |value: &Value| value["details"].as_array().is_none_or(Vec::is_empty);
    let same = answer["code"] == wanted["code"] && answer["message"] == wanted["message"];
    if same && empty(answer) == empty(wanted) { Ok(()) } else { Err(format!("{answer} instead of {wanted}")) }
}

fn equal(what: &str, found: &Value, wanted: &Value) -> Result<(), String> {
    if matches(found, wanted) { Ok(()) } else { Err(format!("{what}: {found}\n     instead of {wanted}")) }
}

/// Equality with numbers by value and `${SHORTUUID}` for any generated id.
fn matches(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::String(id), Value::String(wanted)) if wanted == "${SHORTUUID}" => {
            let alphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
            id.len() == 22 && id.chars().all(|c| alphabet.contains(c))
        }
        (Value::Number(found), Value::Number(wanted)) => found.as_f64() == wanted.as_f64(),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(f, w)| matches(f, w))
        }
        (Value::Object(found), Value::Object(wanted)) => {
            found.len() == wanted.len() && wanted.iter().all(|(key, w)| found.get(key).is_some_and(|f| matches(f, w)))
        }
        (found, wanted) => found == wanted,
    }
}

/// Leaves nothing for the next vector.
fn clear(daemon: &Daemon) {
    for process in daemon.json("/api/v3/process?filter=none").as_array().into_iter().flatten() {
        let id = process["id"].as_str().expect("processes have ids");
        daemon.call("DELETE", &format!("/api/v3/process/{}", encode(id)), &Value::Null, 200);
    }
}

fn encode(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Replaces the tokens, first those that escape a character as `{name^c}` does: two backslashes before it.
fn fill(value: &Value, variables: &Variables) -> Value {
    substitute(&escaped(value, variables), variables)
}

fn escaped(value: &Value, variables: &Variables) -> Value {
    match value {
        Value::String(text) => Value::String(escaped_text(text, variables)),
        Value::Array(items) => items.iter().map(|item| escaped(item, variables)).collect(),
        Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), escaped(v, variables))).collect(),
        other => other.clone(),
    }
}

fn escaped_text(text: &str, variables: &Variables) -> String {
    let addresses = ["HTTP", "RTMP", "SRT"]
        .map(|name| (format!("{name}_ADDR"), format!("127.0.0.1:{}", variables[&format!("{name}_PORT")])));
    let known = addresses.iter().map(|(name, value)| (name, value)).chain(variables);
    let mut text = text.to_owned();
    for (name, value) in known {
        for c in [':', '/'] {
            let token = format!("${{{name}|esc={c}}}");
            text = text.replace(&token, &value.replace(c, &format!("\\\\{c}")));
        }
    }
    text
}
