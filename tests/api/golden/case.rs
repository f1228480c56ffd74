//! One recorded exchange: build the request, compare the answer, keep captures for the cases after it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::compare::{self, Rules, compile, show};
use super::pointer;
use crate::harness::Variables;
use crate::harness::http::{self, Request, Response};
use crate::harness::setup::substitute;
use crate::harness::tls;

/// Where the daemon listens.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) plain: SocketAddr,
    pub(crate) secure: SocketAddr,
}

/// Runs a case, again and again while its `retry` allows.
pub(crate) fn run(case: &Value, address: Addresses, variables: &mut Variables) -> Result<(), String> {
    pause(case);
    let milliseconds = |name: &str| case["retry"][name].as_u64().map(Duration::from_millis);
    let end = Instant::now() + milliseconds("timeout_ms").unwrap_or_default();
    loop {
        match attempt(case, address, variables) {
            Err(_) if case["retry"].is_object() && Instant::now() < end => {
                std::thread::sleep(milliseconds("interval_ms").unwrap_or(Duration::from_millis(200)));
            }
            verdict => return verdict,
        }
    }
}

/// Runs a case without its `retry`.
pub(crate) fn run_once(case: &Value, address: Addresses, variables: &mut Variables) -> Result<(), String> {
    pause(case);
    attempt(case, address, variables)
}

fn pause(case: &Value) {
    if let Some(delay) = case["delay_ms"].as_u64() {
        std::thread::sleep(Duration::from_millis(delay));
    }
}

fn attempt(case: &Value, address: Addresses, variables: &mut Variables) -> Result<(), String> {
    let request = build(&substitute(&case["request"], variables))?;
    let answer = if case["request"]["scheme"] == "https" {
        tls::connect(address.secure, tls::Offer::default(), http::TIMEOUT)
            .and_then(|stream| http::exchange(stream, &address.secure.to_string(), &request))
    } else {
        http::send(address.plain, &request, http::TIMEOUT)
    };
    let response = answer.map_err(|error| error.to_string())?;
    check(case, &response, variables)?;
    capture(case, &response, variables)
}

fn build(request: &Value) -> Result<Request, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        match value {
            Value::Array(values) => headers.extend(values.iter().map(|value| (name.clone(), text(value)))),
            value => headers.push((name.clone(), text(value))),
        }
    }
    Ok(Request {
        method: text(&request["method"]),
        path: text(&request["path"]),
        headers,
        body: body(request)?,
        chunked: request["chunked"] == true,
    })
}

fn body(request: &Value) -> Result<Option<Vec<u8>>, String> {
    if let Some(json) = request.get("json") {
        return Ok(Some(json.to_string().into_bytes()));
    }
    match request.get("body") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone().into_bytes())),
        Some(body) => {
            if let Some(unit) = body["repeat"].as_str() {
                let count = body["count"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
                return Ok(Some(unit.repeat(count).into_bytes()));
            }
            let encoded = body["base64"].as_str().unwrap_or_default();
            BASE64_STANDARD.decode(encoded).map(Some).map_err(|error| format!("request body: {error}"))
        }
    }
}

fn check(case: &Value, response: &Response, variables: &Variables) -> Result<(), String> {
    let expected = substitute(&case["response"], variables);
    let text = response.text();
    if expected["status"] != response.status {
        let (want, have) = (&expected["status"], response.status);
        return Err(format!("status {want} expected, got {have}, body {}", show(&text)));
    }
    for (name, rule) in expected["headers"].as_object().into_iter().flatten() {
        check_header(name, rule, response.header(name).as_deref())?;
    }
    if let Some(body) = expected.get("body") {
        let list = |name: &str| -> Vec<String> {
            case[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let (volatile, unordered) = (list("volatile"), list("unordered"));
        compare::compare(body, &response.json()?, &Rules { volatile: &volatile, unordered: &unordered })?;
    }
    if let Some(shape) = expected.get("body_shape") {
        compare::shape(shape, &response.json()?)?;
    }
    check_text(&expected, &text)?;
    match expected["body_length"].as_u64() {
        Some(length) if usize::try_from(length) != Ok(response.body.len()) => {
            Err(format!("body length: expected {length}, got {}", response.body.len()))
        }
        _ => Ok(()),
    }
}

fn check_text(expected: &Value, text: &str) -> Result<(), String> {
    if let Some(want) = expected["body_text"].as_str().filter(|want| *want != text) {
        return Err(format!("body: expected {}, got {}", show(want), show(text)));
    }
    if let Some(pattern) = expected["body_full_regex"].as_str()
        && !compile(&format!(r"\A(?:{pattern})\z"))?.is_match(text)
    {
        return Err(format!("body: {pattern} does not match all of {}", show(text)));
    }
    let patterns = |name: &str| expected[name].as_array().into_iter().flatten().filter_map(Value::as_str);
    for pattern in patterns("body_regex") {
        if !compile(&format!("(?m){pattern}"))?.is_match(text) {
            return Err(format!("body: nothing matches {pattern} in {}", show(text)));
        }
    }
    for pattern in patterns("body_not_regex") {
        if compile(&format!("(?m){pattern}"))?.is_match(text) {
            return Err(format!("body: {pattern} must not match {}", show(text)));
        }
    }
    Ok(())
}

fn check_header(name: &str, rule: &Value, have: Option<&str>) -> Result<(), String> {
    let tokens = |list: &mut dyn Iterator<Item = &str>| -> Vec<String> {
        let mut tokens: Vec<_> = list.map(|t| t.trim().to_owned()).filter(|token| !token.is_empty()).collect();
        tokens.sort();
        tokens.dedup();
        tokens
    };
    let wanted = |list: &Value| tokens(&mut list.as_array().into_iter().flatten().filter_map(Value::as_str));
    let matches = match rule {
        Value::Null => have.is_none(),
        Value::String(want) => have == Some(want),
        rule => match rule["regex"].as_str() {
            Some(pattern) => have.is_some_and(|have| compile(pattern).is_ok_and(|regex| regex.is_match(have))),
            None => {
                let have = tokens(&mut have.unwrap_or_default().split(','));
                (rule["set"].is_null() || have == wanted(&rule["set"]))
                    && wanted(&rule["contains"]).iter().all(|token| have.contains(token))
            }
        },
    };
    if matches { Ok(()) } else { Err(format!("header {name}: expected {rule}, got {have:?}")) }
}

fn capture(case: &Value, response: &Response, variables: &mut Variables) -> Result<(), String> {
    for (name, rule) in case["capture"].as_object().into_iter().flatten() {
        let value = match rule {
            Value::String(pointer) => {
                let document = response.json()?;
                match pointer::get(&document, pointer) {
                    Some(Value::String(text)) => text.clone(),
                    Some(other) => other.to_string(),
                    None => return Err(format!("capture {name}: nothing at {pointer}")),
                }
            }
            rule => match (rule["header"].as_str(), rule["regex"].as_str()) {
                (Some(header), _) => {
                    response.header(header).ok_or_else(|| format!("capture {name}: no header {header}"))?
                }
                (None, Some(pattern)) => {
                    let text = response.text();
                    let found = compile(&format!("(?m){pattern}"))?.captures(&text).and_then(|groups| groups.get(1));
                    found.map(|group| group.as_str().to_owned()).ok_or(format!("capture {name}: no {pattern}"))?
                }
                (None, None) => return Err(format!("capture {name}: unknown rule {rule}")),
            },
        };
        variables.insert(name.clone(), value);
    }
    Ok(())
}
