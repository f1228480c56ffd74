//! Whether an answer is the recorded one: JSON equality with the format's allowances, and shapes.
//!
//! Pure. An error names the place and what stands there. Semantics are those of `run-golden.py`, line by line.

use regex_lite::Regex;
use serde_json::Value;

use super::pointer;

/// The one member that an object may have besides the recorded ones.
const ADDITIVE: &str = "rill";
/// Longer values are cut in messages.
const SHOWN: usize = 300;

/// Pointer patterns that loosen the comparison.
pub(crate) struct Rules<'a> {
    /// Only the JSON type counts there.
    pub(crate) volatile: &'a [String],
    /// The array there is a multiset.
    pub(crate) unordered: &'a [String],
}

/// Compares `got` with the recorded `expected` document.
pub(crate) fn compare(expected: &Value, got: &Value, rules: &Rules<'_>) -> Result<(), String> {
    compare_at(expected, got, rules, &mut Vec::new())
}

fn compare_at(expected: &Value, got: &Value, rules: &Rules<'_>, path: &mut Vec<String>) -> Result<(), String> {
    let mismatch =
        |path: &[String]| Err(format!("/{}: expected {}, got {}", path.join("/"), show_json(expected), show_json(got)));
    if rules.volatile.iter().any(|pattern| pointer::matches(pattern, path)) {
        return if kind(expected) == kind(got) {
            Ok(())
        } else {
            Err(format!("/{}: type {} expected, got {}", path.join("/"), kind(expected), show_json(got)))
        };
    }
    if kind(expected) != kind(got) {
        return mismatch(path);
    }
    // The wording of an error is the implementation's own, its presence is not.
    if *path == ["details"] {
        return if is_truthy(expected) == is_truthy(got) { Ok(()) } else { mismatch(path) };
    }
    match (expected, got) {
        (Value::Object(wanted), Value::Object(have)) => {
            let missing: Vec<_> = wanted.keys().filter(|key| !have.contains_key(*key)).collect();
            let extra: Vec<_> = have.keys().filter(|key| !wanted.contains_key(*key) && *key != ADDITIVE).collect();
            if !missing.is_empty() || !extra.is_empty() {
                return Err(format!("/{}: missing keys {missing:?}, unexpected keys {extra:?}", path.join("/")));
            }
            for (key, value) in wanted {
                path.push(key.clone());
                compare_at(value, &have[key], rules, path)?;
                path.pop();
            }
            Ok(())
        }
        (Value::Array(wanted), Value::Array(have)) => {
            if wanted.len() != have.len() {
                let (want, have) = (wanted.len(), have.len());
                return Err(format!("/{}: expected {want} elements, got {have}: {}", path.join("/"), show_json(got)));
            }
            let (mut wanted, mut have): (Vec<_>, Vec<_>) = (wanted.iter().collect(), have.iter().collect());
            if rules.unordered.iter().any(|pattern| pointer::matches(pattern, path)) {
                path.push("0".to_owned());
                wanted.sort_by_cached_key(|item| masked(item, rules, &mut path.clone()).to_string());
                have.sort_by_cached_key(|item| masked(item, rules, &mut path.clone()).to_string());
                path.pop();
            }
            for (index, (want, have)) in wanted.into_iter().zip(have).enumerate() {
                path.push(index.to_string());
                compare_at(want, have, rules, path)?;
                path.pop();
            }
            Ok(())
        }
        _ if equal(expected, got) => Ok(()),
        _ => mismatch(path),
    }
}

/// The value with its volatile parts replaced by their type, for sorting.
fn masked(value: &Value, rules: &Rules<'_>, path: &mut Vec<String>) -> Value {
    if rules.volatile.iter().any(|pattern| pointer::matches(pattern, path)) {
        return Value::String(format!("<{}>", kind(value)));
    }
    let mut child = |segment: String, value: &Value| {
        path.push(segment);
        let masked = masked(value, rules, path);
        path.pop();
        masked
    };
    match value {
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), child(key.clone(), value))).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| child(index.to_string(), item)).collect(),
        other => other.clone(),
    }
}

/// Checks `got` against a shape.
pub(crate) fn shape(shape: &Value, got: &Value) -> Result<(), String> {
    shape_at(shape, got, "/")
}

fn shape_at(shape: &Value, got: &Value, path: &str) -> Result<(), String> {
    let rules = match shape {
        Value::String(types) => return shape_type(types, got, path),
        Value::Object(rules) => rules,
        other => return Err(format!("{path}: bad shape {other}")),
    };
    let wanted = |what: &str| Err(format!("{path}: expected {what}, got {}", show_json(got)));
    if let Some(constant) = rules.get("$const") {
        return if equal(constant, got) { Ok(()) } else { wanted(&show_json(constant)) };
    }
    if let Some(pattern) = rules.get("$regex").and_then(Value::as_str) {
        let found = match got {
            Value::String(text) => compile(pattern)?.is_match(text),
            _ => false,
        };
        return if found { Ok(()) } else { wanted(&format!("a string matching {pattern}")) };
    }
    if let Some(range) = rules.get("$number") {
        let inside = match (got.as_f64(), range[0].as_f64(), range[1].as_f64()) {
            (Some(number), Some(low), Some(high)) => (low..=high).contains(&number),
            _ => false,
        };
        return if inside { Ok(()) } else { wanted(&format!("a number in {range}")) };
    }
    if let Some(shapes) = rules.get("$items").and_then(Value::as_array) {
        let Some(items) = got.as_array().filter(|items| items.len() == shapes.len()) else {
            return wanted(&format!("an array of {} elements", shapes.len()));
        };
        let mut pairs = shapes.iter().zip(items).enumerate();
        return pairs.try_for_each(|(index, (shape, item))| shape_at(shape, item, &format!("{path}{index}/")));
    }
    if let Some(shapes) = rules.get("$any_of").and_then(Value::as_array) {
        let mut errors = Vec::new();
        for shape in shapes {
            match shape_at(shape, got, path) {
                Ok(()) => return Ok(()),
                Err(error) => errors.push(error),
            }
        }
        return Err(format!("{path}: no alternative matches: {}", errors.join("; ")));
    }
    if rules.contains_key("$array") || rules.contains_key("$contains") {
        return shape_array(rules, got, path);
    }
    shape_object(rules, got, path)
}

fn shape_type(types: &str, got: &Value, path: &str) -> Result<(), String> {
    let matches = types.split('|').any(|wanted| match wanted {
        "any" => true,
        "integer" => got.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => other == kind(got),
    });
    if matches { Ok(()) } else { Err(format!("{path}: expected {types}, got {}", show_json(got))) }
}

fn shape_array(rules: &serde_json::Map<String, Value>, got: &Value, path: &str) -> Result<(), String> {
    let Some(items) = got.as_array() else {
        return Err(format!("{path}: expected an array, got {}", show_json(got)));
    };
    let limit = |name: &str, default: u64| rules.get(name).and_then(Value::as_u64).unwrap_or(default);
    let length = u64::try_from(items.len()).unwrap_or(u64::MAX);
    if length < limit("$min", 0) || length > limit("$max", u64::MAX) {
        return Err(format!("{path}: array has {length} elements"));
    }
    if let Some(shape) = rules.get("$array") {
        for (index, item) in items.iter().enumerate() {
            shape_at(shape, item, &format!("{path}{index}/"))?;
        }
    }
    for shape in rules.get("$contains").and_then(Value::as_array).into_iter().flatten() {
        if !items.iter().any(|item| shape_at(shape, item, path).is_ok()) {
            return Err(format!("{path}: no element matches {}", show_json(shape)));
        }
    }
    Ok(())
}

fn shape_object(rules: &serde_json::Map<String, Value>, got: &Value, path: &str) -> Result<(), String> {
    let Some(members) = got.as_object() else {
        return Err(format!("{path}: expected an object, got {}", show_json(got)));
    };
    if let Some(shape) = rules.get("$map") {
        let mut own = members.iter().filter(|(key, _)| *key != ADDITIVE);
        return own.try_for_each(|(key, value)| shape_at(shape, value, &format!("{path}{key}/")));
    }
    let mut known = vec![ADDITIVE];
    for (key, shape) in rules.iter().filter(|(key, _)| *key != "$extra") {
        let name = key.strip_suffix('?').unwrap_or(key);
        known.push(name);
        match members.get(name) {
            Some(value) => shape_at(shape, value, &format!("{path}{name}/"))?,
            None if key.ends_with('?') => {}
            None => return Err(format!("{path}: key {name:?} is missing")),
        }
    }
    let extra: Vec<_> = members.keys().filter(|key| !known.contains(&key.as_str())).collect();
    if extra.is_empty() || rules.get("$extra").is_some_and(is_truthy) {
        return Ok(());
    }
    Err(format!("{path}: unexpected keys {extra:?}"))
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Deep equality in which numbers compare by value.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || (x.is_f64() || y.is_f64()) && x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| equal(x, y)))
        }
        _ => a == b,
    }
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| format!("bad expression {pattern:?}: {error}"))
}

/// The value as it stands in messages.
pub(crate) fn show(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn show_json(value: &Value) -> String {
    match value {
        Value::String(text) => show(text),
        other => show(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(expected: &Value, got: &Value, volatile: &[&str], unordered: &[&str], matches: bool) {
        let owned = |list: &[&str]| list.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>();
        let (volatile, unordered) = (owned(volatile), owned(unordered));
        let rules = Rules { volatile: &volatile, unordered: &unordered };
        assert_eq!(compare(expected, got, &rules).is_ok(), matches, "{expected} against {got}");
    }

    #[test]
    fn numbers_compare_by_value_and_booleans_are_no_numbers() {
        check(&json!(1), &json!(1.0), &[], &[], true);
        check(&json!(1), &json!(true), &[], &[], false);
        check(&json!(18_446_744_073_709_551_615_u64), &json!(18_446_744_073_709_551_614_u64), &[], &[], false);
    }

    #[test]
    fn one_more_member_is_allowed_and_only_that_one() {
        check(&json!({"a": 1}), &json!({"a": 1, "rill": {}}), &[], &[], true);
        check(&json!({"a": 1}), &json!({"a": 1, "b": {}}), &[], &[], false);
        check(&json!({"a": 1, "b": 2}), &json!({"a": 1}), &[], &[], false);
    }

    #[test]
    fn details_only_have_to_be_there() {
        check(&json!({"details": ["x"]}), &json!({"details": ["y", "z"]}), &[], &[], true);
        check(&json!({"details": ["x"]}), &json!({"details": []}), &[], &[], false);
        check(&json!({"a": {"details": ["x"]}}), &json!({"a": {"details": ["y"]}}), &[], &[], false);
    }

    #[test]
    fn volatile_parts_keep_their_type() {
        check(&json!({"a": [{"t": 1}]}), &json!({"a": [{"t": 9}]}), &["/a/*/t"], &[], true);
        check(&json!({"a": [{"t": 1}]}), &json!({"a": [{"t": "9"}]}), &["/a/*/t"], &[], false);
    }

    #[test]
    fn unordered_arrays_are_multisets_even_beside_volatile_parts() {
        check(&json!([3, 1, 1]), &json!([1, 3, 1]), &[], &[""], true);
        check(&json!([3, 1, 1]), &json!([1, 3, 3]), &[], &[""], false);
        let (a, b) = (json!([{"n": "b", "t": 1}, {"n": "a", "t": 2}]), json!([{"n": "a", "t": 1}, {"n": "b", "t": 7}]));
        check(&a, &b, &["/*/t"], &[""], true);
    }

    #[track_caller]
    fn check_shape(rules: &Value, got: &Value, matches: bool) {
        assert_eq!(shape(rules, got).is_ok(), matches, "{rules} against {got}");
    }

    #[test]
    fn shapes_follow_the_format() {
        for (rules, got, matches) in [
            (json!("null|integer"), json!(1.0), true),
            (json!("integer"), json!(1.5), false),
            (json!({"$const": [1]}), json!([1.0]), true),
            (json!({"$regex": "^a"}), json!("ba"), false),
            (json!({"$number": [1, 2]}), json!(2), true),
            (json!({"$number": [1, 2]}), json!(2.1), false),
            (json!({"$items": ["string", "any"]}), json!(["a", null]), true),
            (json!({"$items": ["string"]}), json!(["a", null]), false),
            (json!({"$array": "number", "$min": 1}), json!([]), false),
            (json!({"$contains": [{"$const": 2}]}), json!([1, 2]), true),
            (json!({"$contains": [{"$const": 3}]}), json!([1, 2]), false),
            (json!({"$map": "number"}), json!({"a": 1, "rill": "x"}), true),
            (json!({"$any_of": ["string", "null"]}), json!(1), false),
            (json!({"a": "any", "b?": "string"}), json!({"a": 1}), true),
            (json!({"a": "any", "b?": "string"}), json!({"a": 1, "b": 1}), false),
            (json!({"a": "any"}), json!({"a": 1, "c": 1}), false),
            (json!({"a": "any", "$extra": true}), json!({"a": 1, "c": 1}), true),
        ] {
            check_shape(&rules, &got, matches);
        }
    }
}
