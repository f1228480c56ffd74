//! `/api/v3/rill/state`: what clients store as one. Many random states and kill -9 are in scripts/test-state.

use serde_json::{Value, json};

use crate::harness::http::Request;
use crate::harness::{Daemon, Setup};

const PATH: &str = "/api/v3/rill/state";

fn process(id: &str) -> Value {
    json!({
        "config": {
            "id": id,
            "autostart": false,
            "input": [{"id": "in", "address": "testsrc", "options": ["-f", "lavfi"]}],
            "output": [{"id": "out", "address": "-", "options": ["-f", "null"]}]
        }
    })
}

fn put(daemon: &Daemon, body: &Value) -> Value {
    daemon.call("PUT", PATH, body, 200)
}

fn ids(daemon: &Daemon) -> Vec<String> {
    let list = daemon.json("/api/v3/process?filter=none");
    list.as_array().into_iter().flatten().filter_map(|process| Some(process["id"].as_str()?.to_owned())).collect()
}

#[test]
fn what_is_read_can_be_sent_and_changes_nothing() {
    let daemon = Setup::default().start();
    daemon.call("POST", "/api/v3/process", &process("b")["config"], 200);
    daemon.call("POST", "/api/v3/process", &process("a")["config"], 200);
    daemon.call("PUT", "/api/v3/process/a/metadata/k", &json!({"x": [1, null]}), 200);
    daemon.call("PUT", "/api/v3/metadata/k", &json!("v"), 200);
    daemon.call("PUT", "/api/v3/config", &json!({"version": 3, "name": "named"}), 200);
    let whole = daemon.json(PATH);
    assert_eq!(whole["processes"][0]["config"]["id"], "a");
    assert_eq!(whole["processes"][0]["metadata"], json!({"k": {"x": [1, null]}}));
    assert_eq!((&whole["processes"][1]["order"], &whole["metadata"]), (&json!("stop"), &json!({"k": "v"})));
    assert_eq!(whole["config"]["name"], "named");
    let answer = put(&daemon, &whole);
    let nothing = json!({"added": [], "updated": [], "removed": [], "unchanged": ["a", "b"]});
    assert_eq!((&answer["changed"], &answer["processes"]), (&json!(false), &nothing));
    assert_eq!(answer["config"], json!({"updated": [], "reload": false}));
    assert_eq!(daemon.json(PATH), whole);
}

#[test]
fn parts_that_are_absent_stay_and_what_a_part_does_not_name_goes() {
    let daemon = Setup::default().start();
    put(&daemon, &json!({"processes": [process("a"), process("b")], "metadata": {"x": 1, "y": 1}}));
    let answer = put(&daemon, &json!({"config": {"log": {"max_lines": 77}}}));
    assert_eq!(answer["config"], json!({"updated": ["log.max_lines"], "reload": true}));
    assert_eq!((ids(&daemon), answer.get("processes")), (vec!["a".to_owned(), "b".to_owned()], None));
    let answer = put(&daemon, &json!({"processes": [process("b"), process("c")]}));
    let expected = json!({"added": ["c"], "updated": [], "removed": ["a"], "unchanged": ["b"]});
    assert_eq!((&answer["processes"], ids(&daemon)), (&expected, vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(put(&daemon, &json!({"metadata": {"y": 1}}))["metadata"]["removed"], json!(["x"]));
    put(&daemon, &json!({}));
    assert_eq!(daemon.json("/api/v3/metadata"), json!({"y": 1}));
    assert_eq!(daemon.json("/api/v3/config")["config"]["log"]["max_lines"], 77);
    put(&daemon, &json!({"processes": []}));
    assert!(ids(&daemon).is_empty());
}

#[test]
fn faults_of_all_parts_come_at_once_and_nothing_changes() {
    let daemon = Setup::default().start();
    put(&daemon, &json!({"processes": [process("a")]}));
    let before = daemon.json(PATH);
    let mut bad = process("b");
    bad["config"]["output"][0]["address"] = json!("/outside/x.mp4");
    let mut dangling = process("c");
    dangling["config"]["input"][0]["address"] = json!("#none:output=x");
    let config = json!({"id": "", "log": {"level": "loud"}});
    let body = json!({"processes": [bad, process("d"), dangling], "config": config});
    let refused = daemon.call("PUT", PATH, &body, 400);
    assert_eq!(refused["message"], "Invalid state");
    let details = refused["details"].to_string();
    for text in ["processes[0] ('b')", "/outside/x.mp4", "processes[2] ('c')", "config.log.level", "config.id"] {
        assert!(details.contains(text), "{text}: {details}");
    }
    assert!(!details.contains("processes[1]"), "{details}");
    let shape = json!({"processes": [{"config": {"id": ""}}, 5], "procesess": []});
    let details = daemon.call("PUT", PATH, &shape, 400)["details"].to_string();
    for text in ["processes[0] ('')", "processes[1] ('')", "procesess: unknown part"] {
        assert!(details.contains(text), "{text}: {details}");
    }
    assert_eq!(daemon.json(PATH), before);
}

#[test]
fn a_dry_run_says_what_would_happen() {
    let daemon = Setup::default().start();
    put(&daemon, &json!({"processes": [process("a")]}));
    let before = daemon.json(PATH);
    let body = json!({"processes": [process("b")], "config": {"name": "other"}, "metadata": {"k": 1}});
    let would = daemon.call("PUT", &format!("{PATH}?dry_run=true"), &body, 200);
    assert_eq!((&would["dry_run"], &would["changed"]), (&json!(true), &json!(true)));
    assert_eq!(daemon.json(PATH), before);
    let mut did = put(&daemon, &body);
    did["dry_run"] = json!(true);
    assert_eq!(did, would);
    daemon.call("PUT", &format!("{PATH}?dry_run=maybe"), &body, 400);
}

#[test]
fn a_state_that_was_changed_meanwhile_is_not_overwritten() {
    let daemon = Setup::default().start();
    let tag = |path: &str| daemon.get(path).header("ETag").expect("a tag");
    let send = |tag: &str, body: &Value| daemon.send(&Request::new("PUT", PATH).header("If-Match", tag).json(body));
    let first = tag(PATH);
    let body = json!({"processes": [process("a")]});
    let answer = send(&first, &body);
    assert_eq!((answer.status, answer.header("ETag")), (200, Some(tag(PATH))));
    assert_eq!(send(&first, &body).status, 412);
    // Each part counts.
    for (path, value) in [
        ("/api/v3/config", json!({"version": 3, "name": "x"})),
        ("/api/v3/metadata/k", json!(1)),
        ("/api/v3/process/a/metadata/k", json!(1)),
        ("/api/v3/process/a", json!({"reference": "x"})),
        ("/api/v3/process/a/command", json!({"command": "start"})),
    ] {
        let seen = tag(PATH);
        daemon.call("PUT", path, &value, 200);
        assert_eq!(send(&seen, &json!({"processes": []})).status, 412, "{path}");
    }
    assert_eq!(send(&tag(PATH), &json!({"processes": []})).status, 200);
}

#[test]
fn an_interrupted_change_is_finished_by_the_next_start() {
    let mut daemon = Setup::default().start();
    put(&daemon, &json!({"processes": [process("a")], "config": {"name": "old"}}));
    let (config, db) = (daemon.work_dir().join("config.json"), daemon.db_dir().join("db.json"));
    daemon.stop();
    let read = |path: &std::path::Path| std::fs::read_to_string(path).expect("a document");
    let (old_config, old_db) = (read(&config), read(&db));
    daemon.resume().expect("a start");
    put(&daemon, &json!({"processes": [process("b")], "config": {"name": "new"}}));
    daemon.stop();
    let digest = |text: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let files = json!([
        {"path": config, "before": digest(&old_config), "content": read(&config)},
        {"path": db, "before": digest(&old_db), "content": read(&db)},
    ]);
    // The power went when only the settings were replaced.
    std::fs::write(&db, old_db).expect("a document");
    let journal = format!("{}.journal", config.display());
    std::fs::write(&journal, json!({"version": 1, "files": files}).to_string()).expect("a journal");
    daemon.resume().expect("a start");
    assert_eq!((ids(&daemon), &daemon.json("/api/v3/config")["config"]["name"]), (vec!["b".to_owned()], &json!("new")));
    assert!(!std::path::Path::new(&journal).exists());
}
