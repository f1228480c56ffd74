//! The database file: what the reference writes, damage, refusal, failed writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::base::alarm::Alarms;
use crate::base::blocking::Blocking;
use crate::base::clock::Now;
use crate::process::{CleanupRule, HardLimits, Io, Limits, Order, ProcessConfig};

/// Runs `test` as the daemon would: one thread.
fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

async fn opened(dir: &Path) -> (Handle, Db, Alarms) {
    let alarms = Alarms::default();
    let (handle, db) = open(dir, Blocking::default(), alarms.clone(), Now::read()).await.unwrap();
    (handle, db, alarms)
}

fn keys(alarms: &Alarms) -> Vec<String> {
    alarms.list().into_iter().map(|alarm| alarm.key).collect()
}

fn record(id: &str) -> Record {
    let rule =
        CleanupRule { pattern: "memfs:/x*".into(), max_files: 3, max_file_age_seconds: 4, purge_on_delete: true };
    Record {
        config: ProcessConfig {
            id: id.into(),
            reference: "r".into(),
            input: vec![Io { id: "in".into(), address: "a".into(), options: vec!["-re".into()], cleanup: Vec::new() }],
            output: vec![Io { id: "out".into(), address: "b".into(), options: Vec::new(), cleanup: vec![rule] }],
            options: vec!["-y".into()],
            reconnect: true,
            reconnect_delay_seconds: 5,
            autostart: true,
            stale_timeout_seconds: 6,
            limits: Limits { cpu_percent: 7.5, memory_bytes: 8, waitfor_seconds: 9 },
            hard: HardLimits::default(),
            ffversion: "^5.1.9".into(),
        },
        created_at: 1_700_000_000,
        updated_at: 1_700_000_001,
        order: Order::Start,
    }
}

fn db(ids: &[&str]) -> Db {
    Db {
        process: ids.iter().map(|id| ((*id).to_owned(), record(id))).collect(),
        system_metadata: Some(BTreeMap::from([("k".to_owned(), json!({"a": 1}))])),
        process_metadata: BTreeMap::from([("p".to_owned(), BTreeMap::from([("note".to_owned(), json!("hi"))]))]),
    }
}

#[test]
fn the_file_is_what_the_reference_writes() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (handle, fresh, alarms) = opened(dir.path()).await;
        assert_eq!(fresh, Db { system_metadata: Some(BTreeMap::new()), ..Db::default() });
        handle.commit(&db(&["p"])).await.unwrap();
        let text = fs::read_to_string(dir.path().join("db.json")).unwrap();
        assert!(text.starts_with("{\n    \"version\": 4,\n    \"process\": {\n        \"p\": {\n"), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        let io = |id, address, options: Value, cleanup: Value| json!({"id": id, "address": address, "options": options, "cleanup": cleanup});
        let cleanup =
            json!([{"pattern": "memfs:/x*", "max_files": 3, "max_file_age_seconds": 4, "purge_on_delete": true}]);
        let expected = json!({
            "version": 4,
            "process": {"p": {
                "id": "p", "reference": "r", "order": "start", "created_at": 1_700_000_000, "updated_at": 1_700_000_001,
                "config": {
                    "id": "p", "reference": "r", "ffversion": "^5.1.9",
                    "input": [io("in", "a", json!(["-re"]), json!([]))],
                    "output": [io("out", "b", json!([]), cleanup)],
                    "options": ["-y"], "reconnect": true, "reconnect_delay_seconds": 5, "autostart": true,
                    "stale_timeout_seconds": 6, "limit_cpu_usage": 7.5, "limit_memory_bytes": 8,
                    "limit_waitfor_seconds": 9,
                },
            }},
            "metadata": {"system": {"k": {"a": 1}}, "process": {"p": {"note": "hi"}}},
        });
        assert_eq!(value, expected);
        assert_eq!(opened(dir.path()).await.1, db(&["p"]));
        assert!(keys(&alarms).is_empty());
    });
}

#[test]
fn hard_limits_are_kept_beside_what_the_reference_writes() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let mut limited = db(&["p", "q"]);
        let hard = HardLimits { cpu_percent: 150.0, memory_bytes: 5_000_000_000, threads: 64 };
        limited.process.get_mut("p").unwrap().config.hard = hard;
        opened(dir.path()).await.0.commit(&limited).await.unwrap();
        assert_eq!(opened(dir.path()).await.1, limited);
        let value: Value = serde_json::from_slice(&fs::read(dir.path().join("db.json")).unwrap()).unwrap();
        let shape = json!({"limit_cpu_percent": 150.0, "limit_memory_bytes": 5_000_000_000_u64, "limit_threads": 64});
        assert_eq!(value["process"]["p"]["config"]["rill"], shape);
        assert_eq!(value["process"]["q"]["config"].get("rill"), None);
    });
}

#[test]
fn unchanged_content_is_not_written() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("db.json");
        opened(dir.path()).await.0.commit(&db(&["p"])).await.unwrap();
        let (handle, read, _) = opened(dir.path()).await;
        fs::remove_file(&file).unwrap();
        handle.commit(&read).await.unwrap();
        assert!(!file.exists());
        handle.commit(&db(&["p", "q"])).await.unwrap();
        assert!(file.exists());
    });
}

#[test]
fn partial_entries_have_defaults_and_foreign_ones_are_kept() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let odd = json!({"id": "odd", "order": "start"});
        let text = json!({
            "version": 4,
            "process": {"odd": odd, "p": {"config": {"input": null, "output": [{"cleanup": null}]}}},
            "metadata": {"system": null, "process": {"p": null}},
        });
        fs::write(dir.path().join("db.json"), text.to_string()).unwrap();
        let (handle, db, alarms) = opened(dir.path()).await;
        assert_eq!(keys(&alarms), ["kept"]);
        assert_eq!(db.process.keys().collect::<Vec<_>>(), ["p"]);
        assert_eq!(db.process["p"].config.id, "p");
        assert_eq!(db.process["p"].order, Order::Stop);
        assert_eq!(db.system_metadata, None);
        handle.commit(&Db::default()).await.unwrap();
        let written: Value = serde_json::from_slice(&fs::read(dir.path().join("db.json")).unwrap()).unwrap();
        assert_eq!(written["process"], json!({"odd": odd}));
        assert_eq!(written["metadata"]["system"], Value::Null);
    });
}

type Damage = fn(&[u8]) -> Vec<u8>;

#[test]
fn damage_is_answered_with_the_previous_generation() {
    let torn: [Damage; 4] =
        [|_| Vec::new(), |bytes| bytes[..bytes.len() / 2].to_vec(), |bytes| vec![0; bytes.len()], |_| b"[]".to_vec()];
    for damage in torn {
        run(async {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("db.json");
            let (handle, ..) = opened(dir.path()).await;
            handle.commit(&db(&["p"])).await.unwrap();
            handle.commit(&db(&["p", "q"])).await.unwrap();
            let bytes = damage(&fs::read(&file).unwrap());
            fs::write(&file, &bytes).unwrap();

            let (handle, read, alarms) = opened(dir.path()).await;
            assert_eq!(read, db(&["p"]));
            assert_eq!(keys(&alarms), ["damaged"]);
            assert_eq!(fs::read(dir.path().join("db.json.damaged.1")).unwrap(), bytes);
            // The restored file is whole: another start needs no previous generation.
            let (_, again, alarms) = opened(dir.path()).await;
            assert_eq!((again, keys(&alarms)), (db(&["p"]), Vec::new()));
            handle.commit(&db(&["p", "r"])).await.unwrap();
            assert_eq!(opened(dir.path()).await.1, db(&["p", "r"]));
        });
    }
}

#[test]
fn damage_without_a_previous_generation_starts_empty() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("db.json"), "{\"version\": 4, \"proc").unwrap();
        let (_, read, alarms) = opened(dir.path()).await;
        assert!(read.process.is_empty());
        assert_eq!(keys(&alarms), ["damaged"]);
        assert!(dir.path().join("db.json.damaged.1").exists());
    });
}

#[test]
fn another_version_is_refused_and_left_untouched() {
    run(async {
        for text in ["{\"version\": 3}", "{}", "{\"version\": \"4\"}"] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("db.json");
            fs::write(&file, text).unwrap();
            let refused = open(dir.path(), Blocking::default(), Alarms::default(), Now::read()).await;
            assert!(matches!(refused, Err(Error::Refused { .. })), "{text}");
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    });
}

#[test]
fn a_commit_that_cannot_be_written_is_an_error_and_is_tried_again() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (handle, _, alarms) = opened(dir.path()).await;
        handle.commit(&db(&["p"])).await.unwrap();
        let obstacle = dir.path().join("db.json.tmp");
        fs::create_dir(&obstacle).unwrap();
        assert!(matches!(handle.commit(&db(&["q"])).await, Err(Error::Write { .. })));
        assert_eq!(keys(&alarms), ["write"]);
        assert_eq!(opened(dir.path()).await.1, db(&["p"]));
        fs::remove_dir(&obstacle).unwrap();
        handle.commit(&db(&["q"])).await.unwrap();
        assert_eq!(opened(dir.path()).await.1, db(&["q"]));
        assert!(keys(&alarms).is_empty());
    });
}
