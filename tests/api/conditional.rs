//! Conditional requests: entity tags, 304, 412, and no update that is lost.

use serde_json::{Value, json};

use crate::harness::http::{Request, Response};
use crate::harness::{Daemon, Setup};

fn process(id: &str) -> Value {
    json!({
        "id": id,
        "autostart": false,
        "input": [{"id": "in", "address": "testsrc", "options": ["-f", "lavfi"]}],
        "output": [{"id": "out", "address": "-", "options": ["-f", "null"]}]
    })
}

#[track_caller]
fn tag(response: &Response) -> String {
    let tag = response.header("ETag").unwrap_or_else(|| panic!("no ETag: {} {}", response.status, response.text()));
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "a strong tag: {tag}");
    tag
}

#[track_caller]
fn change(daemon: &Daemon, method: &str, path: &str, header: (&str, &str), body: &Value, status: u16) -> Response {
    let request = Request::new(method, path).header(header.0, header.1);
    let response = daemon.send(&if body.is_null() { request } else { request.json(body) });
    assert_eq!(response.status, status, "{method} {path} {header:?}: {}", response.text());
    response
}

/// Reads with the tag it has, and with another one.
#[track_caller]
fn check_reads(daemon: &Daemon, path: &str) -> String {
    let first = daemon.get(path);
    let tag = tag(&first);
    let known = daemon.send(&Request::get(path).header("If-None-Match", &format!("\"x\", W/{tag}")));
    assert_eq!((known.status, known.body.len(), known.header("ETag")), (304, 0, Some(tag.clone())), "{path}");
    let other = daemon.send(&Request::get(path).header("If-None-Match", "\"x\""));
    assert_eq!((other.status, &other.body), (200, &first.body), "{path}");
    assert_eq!(daemon.send(&Request::get(path).header("If-Match", "\"x\"")).status, 412, "{path}");
    tag
}

#[test]
fn what_clients_store_has_tags_that_follow_it() {
    let daemon = Setup::default().start();
    daemon.call("POST", "/api/v3/process", &process("a"), 200);
    daemon.call("PUT", "/api/v3/metadata/key", &json!([1]), 200);
    daemon.call("PUT", "/api/v3/process/a/metadata/key", &json!({"x": 1}), 200);
    let paths = [
        "/api/v3/config",
        "/api/v3/process?filter=config",
        "/api/v3/process?filter=config,metadata",
        "/api/v3/process/a?filter=config",
        "/api/v3/process/a/config",
        "/api/v3/metadata",
        "/api/v3/metadata/key",
        "/api/v3/process/a/metadata",
        "/api/v3/process/a/metadata/key",
    ];
    let before = paths.map(|path| check_reads(&daemon, path));
    assert_eq!(paths.map(|path| check_reads(&daemon, path)), before, "nothing has changed");
    daemon.call("PUT", "/api/v3/config", &json!({"version": 3, "name": "other"}), 200);
    daemon.call("PUT", "/api/v3/process/a", &json!({"reference": "other"}), 200);
    daemon.call("PUT", "/api/v3/metadata/key", &json!([2]), 200);
    daemon.call("PUT", "/api/v3/process/a/metadata/key", &json!({"x": 2}), 200);
    for (path, (before, after)) in paths.iter().zip(before.iter().zip(paths.map(|path| check_reads(&daemon, path)))) {
        assert_ne!(*before, after, "{path}");
    }
    assert_eq!(daemon.get("/api/v3/process").header("ETag"), None, "states change all the time");
}

#[test]
fn a_compressed_answer_has_a_tag_of_its_own() {
    let daemon = Setup::default().start();
    let path = "/api/v3/config";
    let plain = tag(&daemon.get(path));
    let zipped = tag(&daemon.send(&Request::get(path).header("Accept-Encoding", "gzip")));
    assert_ne!(plain, zipped);
    for tag in [&plain, &zipped] {
        let known = Request::get(path).header("Accept-Encoding", "gzip").header("If-None-Match", tag);
        assert_eq!(daemon.send(&known).header("ETag").as_ref(), Some(tag));
    }
    change(&daemon, "PUT", path, ("If-Match", &zipped), &json!({"version": 3, "name": "n"}), 200);
    change(&daemon, "PUT", path, ("If-Match", &zipped), &json!({"version": 3, "name": "m"}), 412);
    assert_eq!(daemon.json(path)["config"]["name"], "n");
}

#[test]
fn changes_that_rely_on_something_else_are_refused() {
    let daemon = Setup::default().start();
    daemon.call("POST", "/api/v3/process", &process("a"), 200);
    let (one, list) = ("/api/v3/process/a", "/api/v3/process");
    let seen = tag(&daemon.get("/api/v3/process/a/config"));
    assert_eq!(seen, tag(&daemon.get("/api/v3/process/a?filter=config")));
    let answer = change(&daemon, "PUT", one, ("If-Match", &seen), &json!({"reference": "x"}), 200);
    assert_eq!(tag(&answer), tag(&daemon.get("/api/v3/process/a/config")));
    change(&daemon, "PUT", one, ("If-Match", &seen), &json!({"reference": "y"}), 412);
    change(&daemon, "PUT", one, ("If-Match", &format!("W/{}", tag(&answer))), &json!({"reference": "y"}), 412);
    change(&daemon, "DELETE", one, ("If-Match", &seen), &Value::Null, 412);
    change(&daemon, "DELETE", one, ("If-None-Match", "*"), &Value::Null, 412);
    let listed = tag(&daemon.get("/api/v3/process?filter=config"));
    change(&daemon, "POST", list, ("If-Match", &listed), &process("b"), 200);
    change(&daemon, "POST", list, ("If-Match", &listed), &process("c"), 412);
    assert_eq!(daemon.json("/api/v3/process/a/config")["reference"], "x");
    change(&daemon, "DELETE", one, ("If-Match", "*"), &Value::Null, 200);
    change(&daemon, "DELETE", one, ("If-Match", "*"), &Value::Null, 404);
    assert_eq!(daemon.json("/api/v3/process?filter=config").as_array().map(Vec::len), Some(1));
}

#[test]
fn a_key_is_made_once_and_changed_by_who_has_seen_it() {
    let daemon = Setup::default().start();
    daemon.call("POST", "/api/v3/process", &process("a"), 200);
    for path in ["/api/v3/metadata/key", "/api/v3/process/a/metadata/key"] {
        change(&daemon, "PUT", path, ("If-Match", "*"), &json!(0), 412);
        let made = tag(&change(&daemon, "PUT", path, ("If-None-Match", "*"), &json!(1), 200));
        assert_eq!(made, tag(&daemon.get(path)));
        change(&daemon, "PUT", path, ("If-None-Match", "*"), &json!(2), 412);
        change(&daemon, "PUT", path, ("If-Match", &made), &json!(3), 200);
        change(&daemon, "PUT", path, ("If-Match", &made), &Value::Bool(true), 412);
        assert_eq!(daemon.json(path), json!(3));
    }
    change(&daemon, "PUT", "/api/v3/process/b/metadata/key", ("If-Match", "*"), &json!(1), 404);
}

/// Many clients count up together: each reads, adds one and stores it if nobody was faster.
#[test]
fn no_update_is_lost() {
    const CLIENTS: u32 = 6;
    const STEPS: u32 = 10;
    let daemon = Setup::default().start();
    daemon.call("PUT", "/api/v3/metadata/count", &json!(0), 200);
    daemon.call("PUT", "/api/v3/config", &json!({"version": 3, "name": "0"}), 200);
    daemon.call(
        "POST",
        "/api/v3/process",
        &json!({"reference": "0", "id": "a", "autostart": false,
        "input": [{"address": "testsrc"}], "output": [{"address": "-"}]}),
        200,
    );
    // Path to read, path to write, number → body, answer → number.
    type Step = (&'static str, &'static str, fn(u32) -> Value, fn(&Value) -> Option<u32>);
    let steps: [Step; 3] = [
        ("/api/v3/metadata/count", "/api/v3/metadata/count", |n| json!(n), |v| v.as_u64()?.try_into().ok()),
        (
            "/api/v3/process/a/config",
            "/api/v3/process/a",
            |n| json!({"reference": n.to_string()}),
            |v| v["reference"].as_str()?.parse().ok(),
        ),
        (
            "/api/v3/config",
            "/api/v3/config",
            |n| json!({"version": 3, "name": n.to_string()}),
            |v| v["config"]["name"].as_str()?.parse().ok(),
        ),
    ];
    for (read, write, body, number) in steps {
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut left = STEPS;
                    while left > 0 {
                        let seen = daemon.get(read);
                        let count = number(&seen.json().expect("JSON")).expect("a number");
                        let request = Request::new("PUT", write).header("If-Match", &tag(&seen));
                        match daemon.send(&request.json(&body(count + 1))) {
                            Response { status: 200, .. } => left -= 1,
                            Response { status: 412, .. } => {}
                            other => panic!("{write}: {} {}", other.status, other.text()),
                        }
                    }
                });
            }
        });
        assert_eq!(number(&daemon.json(read)), Some(CLIENTS * STEPS), "{write}");
    }
}

#[test]
fn web_pages_may_use_them() {
    let daemon = Setup::default().start();
    let origin = ("Origin", "http://127.0.0.1:9");
    let answer = daemon.send(&Request::get("/api/v3/config").header(origin.0, origin.1));
    assert_eq!(answer.header("Access-Control-Expose-Headers").as_deref(), Some("Content-Length,ETag"));
    let preflight = Request::new("OPTIONS", "/api/v3/config").header(origin.0, origin.1);
    let preflight = daemon.send(&preflight.header("Access-Control-Request-Headers", "if-match"));
    assert!(preflight.header("Access-Control-Allow-Headers").is_some_and(|list| list.contains("If-Match")));
}
