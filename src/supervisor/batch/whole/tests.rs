//! Whole lists against a table: what is touched, what is not, and every fault at once.

use serde_json::json;

use super::super::tests::{Bench, process, started};
use super::*;
use crate::supervisor::{Change, Expectation};

fn wanted(config: ProcessConfig) -> Wanted {
    Wanted { config, order: None, metadata: None }
}

#[track_caller]
fn put(bench: &mut Bench, list: Vec<Wanted>) -> (Differences, Vec<Effect>) {
    let (outcomes, effects) = bench.outcome(Change::Processes(list)).unwrap();
    match outcomes {
        Outcome::Replaced(differences) => (differences, effects),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn faults(bench: &mut Bench, list: Vec<Wanted>) -> Vec<(usize, String)> {
    let before = bench.batch.table.clone();
    let Err(Error::Items(faults)) = bench.outcome(Change::Processes(list)) else { panic!("no faults") };
    let ids = |table: &Table| table.entries().iter().map(|entry| entry.config.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&before), ids(&bench.batch.table), "nothing has changed");
    faults.into_iter().map(|fault| (fault.item, fault.text)).collect()
}

#[test]
fn what_is_named_is_there_and_nothing_else() {
    let mut bench = Bench::new();
    bench.done(Change::Add(process("gone", "x")));
    bench.done(Change::Add(started("same", "x")));
    bench.done(Change::Add(process("other", "x")));
    let (gone, same, other) = (bench.key("gone"), bench.key("same"), bench.key("other"));
    let list = || vec![wanted(started("new", "x")), wanted(process("other", "y")), wanted(started("same", "x"))];
    let (differences, effects) = put(&mut bench, list());
    let named = |list: &[&str]| list.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
    assert_eq!(differences.added, named(&["new"]));
    assert_eq!(differences.updated, named(&["other"]));
    assert_eq!(differences.removed, named(&["gone"]));
    assert_eq!(differences.unchanged, named(&["same"]));
    let new = bench.key("new");
    let expected = [
        Effect::Removed { key: gone, id: "gone".to_owned() },
        Effect::Added(new),
        Effect::Replaced { key: other, old_id: "other".to_owned() },
        Effect::Start(new),
    ];
    assert_eq!(effects, expected);
    assert_eq!(bench.key("same"), same);
    bench.batch.dirty = false;
    let (differences, effects) = put(&mut bench, list());
    assert_eq!((differences.unchanged.len(), effects, bench.batch.dirty), (3, vec![], false), "the same again");
}

#[test]
fn orders_and_metadata_are_part_of_it() {
    let mut bench = Bench::new();
    bench.done(Change::Add(process("a", "x")));
    bench.done(Change::Add(started("b", "x")));
    let metadata = BTreeMap::from([("k".to_owned(), json!(1)), ("none".to_owned(), json!(null))]);
    let list = || {
        vec![
            Wanted { order: Some(Order::Start), ..wanted(process("a", "x")) },
            Wanted { order: Some(Order::Stop), metadata: Some(metadata.clone()), ..wanted(started("b", "x")) },
        ]
    };
    let (differences, effects) = put(&mut bench, list());
    assert_eq!(differences.updated, ["a", "b"]);
    assert_eq!(effects, [Effect::Stop(bench.key("b")), Effect::Start(bench.key("a"))]);
    let stored = bench.batch.table.get("b").and_then(|entry| entry.metadata.clone()).unwrap();
    assert_eq!(*stored, BTreeMap::from([("k".to_owned(), json!(1))]));
    assert_eq!(put(&mut bench, list()).0.unchanged, ["a", "b"]);
    // What is not said stays.
    assert_eq!(put(&mut bench, vec![wanted(process("a", "x")), wanted(started("b", "x"))]).0.unchanged, ["a", "b"]);
    let cleared = Wanted { metadata: Some(BTreeMap::new()), ..wanted(started("b", "x")) };
    assert_eq!(put(&mut bench, vec![wanted(process("a", "x")), cleared]).0.updated, ["b"]);
    assert_eq!(bench.batch.table.get("b").and_then(|entry| entry.metadata.clone()), None);
}

#[test]
fn references_work_in_any_order_and_are_followed() {
    let mut bench = Bench::new();
    let reader = || wanted(started("reader", "#source:output=out"));
    let source = |address: &str| {
        let mut config = process("source", "x");
        config.output[0].address = address.to_owned();
        wanted(config)
    };
    put(&mut bench, vec![reader(), source("rtmp://h/1")]);
    let (differences, effects) = put(&mut bench, vec![reader(), source("rtmp://h/2")]);
    assert_eq!((differences.updated, differences.restarted), (vec!["source".to_owned()], vec!["reader".to_owned()]));
    assert!(effects.contains(&Effect::Replaced { key: bench.key("reader"), old_id: "reader".to_owned() }));
    let (differences, effects) = put(&mut bench, vec![reader(), source("rtmp://h/2")]);
    assert_eq!((differences.restarted.len(), effects), (0, vec![]));
    let found = faults(&mut bench, vec![reader()]);
    assert!(found.len() == 1 && found[0].1.contains("unknown process 'source'"), "{found:?}");
}

#[test]
fn a_definition_that_became_invalid_may_stay_as_it_is() {
    let mut bench = Bench::new();
    bench.done(Change::Add(process("source", "x")));
    bench.done(Change::Add(started("reader", "#source:output=out")));
    bench.done(Change::Delete { id: "source".to_owned() });
    let (differences, effects) = put(&mut bench, vec![wanted(started("reader", "#source:output=out"))]);
    assert_eq!((differences.unchanged, effects), (vec!["reader".to_owned()], vec![]));
}

#[test]
fn every_fault_is_found_and_nothing_happens() {
    let mut bench = Bench::new();
    bench.max_processes = 1;
    bench.done(Change::Add(started("runs", "x")));
    let metadata = BTreeMap::from([(String::new(), json!(1))]);
    let found = faults(
        &mut bench,
        vec![
            wanted(process("a", "#none:output=x")),
            Wanted { metadata: Some(metadata), ..wanted(process("b", "x")) },
            wanted(started("runs", "x")),
            wanted(started("c", "x")),
            wanted(process("d", "")),
        ],
    );
    let places: Vec<usize> = found.iter().map(|(item, _)| *item).collect();
    assert_eq!(places, [0, 1, 3, 4], "{found:?}");
    assert!(found[2].1.contains("max. number"), "{found:?}");
    let twice = faults(&mut bench, vec![wanted(process("a", "x")), wanted(process("a", "x"))]);
    assert_eq!((twice.len(), twice[0].0), (1, 1));
    // A slot that becomes free may be taken by the same list.
    let stopped = Wanted { order: Some(Order::Stop), ..wanted(started("runs", "x")) };
    assert_eq!(put(&mut bench, vec![wanted(started("c", "x")), stopped]).0.added, ["c"]);
}

#[test]
fn global_metadata() {
    let mut bench = Bench::new();
    let mut put = |keys: &[(&str, i32)]| {
        let map = keys.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        match bench.outcome(Change::AllMetadata(map)).unwrap().0 {
            Outcome::Replaced(differences) => differences,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(put(&[("a", 1), ("b", 1)]).added, ["a", "b"]);
    let differences = put(&[("b", 2), ("c", 1)]);
    assert_eq!(
        (differences.added, differences.updated, differences.removed),
        (vec!["c".to_owned()], vec!["b".to_owned()], vec!["a".to_owned()])
    );
    assert_eq!(put(&[("b", 2), ("c", 1)]).unchanged, ["b", "c"]);
}

#[test]
fn expectations() {
    let mut bench = Bench::new();
    bench.done(Change::Add(process("a", "x")));
    let (version, revision) = (bench.batch.table.version, bench.batch.table.get("a").unwrap().revision);
    let definition = |revision| Change::Expect(Expectation::Definition { id: "a".to_owned(), revision });
    let key = |value| Change::Expect(Expectation::Metadata { process: None, key: "k".to_owned(), value });
    assert!(bench.change(definition(revision)).is_ok() && bench.change(definition(revision + 1)).is_err());
    assert!(bench.change(key(None)).is_ok() && bench.change(key(Some(json!(1)))).is_err());
    assert!(bench.change(Change::Expect(Expectation::Version(version))).is_ok());
    bench.done(Change::Metadata { process: None, key: "k".to_owned(), value: json!(1) });
    assert!(bench.change(key(None)).is_err() && bench.change(key(Some(json!(1)))).is_ok());
    assert!(bench.change(Change::Expect(Expectation::Version(version))).is_err());
}
