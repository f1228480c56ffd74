//! The body of `PUT /api/v3/rill/state`: every fault of its shape at once, each with its place. Pure.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::base::tree;
use crate::http::api::process;
use crate::process::{Order, ProcessConfig};
use crate::supervisor::Wanted;

/// The member of a stored document that says when it was stored.
pub(super) const STORED_AT: &str = "created_at";

/// The parts that are named.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) processes: Option<Vec<Wanted>>,
    pub(super) metadata: Option<BTreeMap<String, Value>>,
    /// A partial document.
    pub(super) config: Option<Value>,
}

/// Reads the body. `stored` gives the definition that a process has now: it lends ids to inputs and outputs that come
/// without, and stands for what is shown alike.
///
/// # Errors
/// One text for each fault.
pub(super) fn state(
    body: Map<String, Value>,
    stored: impl Fn(&str) -> Option<Rc<ProcessConfig>>,
) -> Result<State, Vec<String>> {
    let mut faults = Vec::new();
    let mut state = State::default();
    for (name, value) in body {
        match (name.as_str(), value) {
            ("processes" | "metadata" | "config", Value::Null) => {}
            ("processes", Value::Array(items)) => {
                let read = items.into_iter().enumerate().filter_map(|(at, item)| {
                    let mut found = Vec::new();
                    let (id, wanted) = item_of(item, &stored, &mut found);
                    faults.extend(found.iter().map(|text| located(at, &id, text)));
                    wanted
                });
                state.processes = Some(read.collect());
            }
            ("metadata", Value::Object(members)) => state.metadata = Some(tree::map(members)),
            ("config", Value::Object(mut members)) => {
                members.remove(STORED_AT);
                members.entry("version").or_insert_with(|| crate::config::document::VERSION.into());
                state.config = Some(members.into());
            }
            ("processes", _) => faults.push("processes: expect an array".to_owned()),
            ("metadata" | "config", _) => faults.push(format!("{name}: expect an object")),
            _ => faults.push(format!("{name}: unknown part; known are: processes, metadata, config")),
        }
    }
    if faults.is_empty() { Ok(state) } else { Err(faults) }
}

/// A fault of a process of the list.
pub(super) fn located(at: usize, id: &str, text: &str) -> String {
    format!("processes[{at}] ('{id}'): {text}")
}

/// A partial document that names nothing.
pub(super) fn no_settings() -> Value {
    json!({"version": crate::config::document::VERSION})
}

/// The id as far as it can be read, and what is wanted unless something is wrong.
fn item_of(
    item: Value,
    stored: &impl Fn(&str) -> Option<Rc<ProcessConfig>>,
    faults: &mut Vec<String>,
) -> (String, Option<Wanted>) {
    let Value::Object(members) = item else {
        faults.push("expect an object".to_owned());
        return (String::new(), None);
    };
    let (mut config, mut order, mut metadata) = (None, None, None);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("config", value) => config = Some(value),
            ("order" | "metadata", Value::Null) if name == "order" => {}
            ("order", Value::String(word)) if word == Order::Start.name() => order = Some(Order::Start),
            ("order", Value::String(word)) if word == Order::Stop.name() => order = Some(Order::Stop),
            ("order", _) => faults.push("order: expect 'start' or 'stop'".to_owned()),
            ("metadata", Value::Null) => metadata = Some(BTreeMap::new()),
            ("metadata", Value::Object(members)) => metadata = Some(tree::map(members)),
            ("metadata", _) => faults.push("metadata: expect an object".to_owned()),
            _ => faults.push(format!("{name}: unknown member; known are: config, order, metadata")),
        }
    }
    let id = config.as_ref().and_then(|config| config.get("id")?.as_str()).unwrap_or_default().to_owned();
    let Some(config) = config else {
        faults.push("config: missing".to_owned());
        return (id, None);
    };
    if id.trim().is_empty() {
        faults.push("config.id: missing".to_owned());
    }
    match process::definition(config, stored(&id).as_deref()) {
        Ok(config) if faults.is_empty() => (id, Some(Wanted { config, order, metadata })),
        Ok(_) => (id, None),
        Err(found) => {
            faults.extend(found.into_iter().map(|text| format!("config: {text}")));
            (id, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<Rc<ProcessConfig>> {
        None
    }

    fn parse(body: Value) -> Result<State, Vec<String>> {
        state(serde_json::from_value(body).unwrap(), nothing)
    }

    fn config(id: &str) -> Value {
        json!({"id": id, "input": [{"id": "i", "address": "x"}], "output": [{"id": "o", "address": "-"}]})
    }

    #[test]
    fn parts_that_are_absent_are_not_named() {
        let state = parse(json!({})).unwrap();
        assert!(state.processes.is_none() && state.metadata.is_none() && state.config.is_none());
        let state = parse(json!({"processes": [], "metadata": {}, "config": {"log": {}, "created_at": "x"}})).unwrap();
        assert_eq!(state.processes.map(|list| list.len()), Some(0));
        assert_eq!(state.metadata, Some(BTreeMap::new()));
        assert_eq!(state.config, Some(json!({"version": 3, "log": {}})));
    }

    #[test]
    fn a_process_with_and_without_order_and_metadata() {
        let list = json!([
            {"config": config("a")},
            {"config": config("b"), "order": "stop", "metadata": {"k": 1}},
            {"config": config("c"), "order": null, "metadata": null},
        ]);
        let list = parse(json!({"processes": list})).unwrap().processes.unwrap();
        let shown: Vec<_> = list.iter().map(|w| (w.config.id.as_str(), w.order, w.metadata.as_ref())).collect();
        let (some, none) = (BTreeMap::from([("k".to_owned(), json!(1))]), BTreeMap::new());
        assert_eq!(shown, [("a", None, None), ("b", Some(Order::Stop), Some(&some)), ("c", None, Some(&none))]);
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let faults = parse(json!({
            "process": [],
            "metadata": 1,
            "processes": [1, {"config": config("a")}, {"order": "go", "more": 1}, {"config": {"id": "d", "input": 5}},
                {"config": config("")}],
        }));
        let faults = faults.unwrap_err().join("\n");
        for text in [
            "process: unknown part",
            "metadata: expect an object",
            "processes[0] (''): expect an object",
            "processes[2] (''): order: expect",
            "processes[2] (''): more: unknown",
            "processes[2] (''): config: missing",
            "processes[3] ('d'): config: expect type 'array' for 'input'",
            "processes[4] (''): config.id: missing",
        ] {
            assert!(faults.contains(text), "{text}\n{faults}");
        }
        assert!(!faults.contains("processes[1]"), "{faults}");
    }
}
