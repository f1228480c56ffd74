//! Input that no honest client sends: foreign pages, floods of logins, too large bodies and headers, odd ids.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::http::{self, Request};
use crate::harness::{Daemon, Setup};

const JSON_LIMIT: usize = 4 << 20;
const LOGIN_LIMIT: usize = 4 << 10;
const HEADER_LIMIT: usize = 32 << 10;

fn process(id: &str) -> Value {
    json!({
        "id": id,
        "autostart": false,
        "input": [{"id": "in", "address": "testsrc", "options": ["-f", "lavfi"]}],
        "output": [{"id": "out", "address": "-", "options": ["-f", "null"]}]
    })
}

/// Every route that changes something: method and path.
const WRITES: &[(&str, &str)] = &[
    ("POST", "/api/v3/process"),
    ("PUT", "/api/v3/process/one"),
    ("DELETE", "/api/v3/process/one"),
    ("PUT", "/api/v3/process/one/command"),
    ("PUT", "/api/v3/process/one/metadata/key"),
    ("PUT", "/api/v3/metadata/key"),
    ("PUT", "/api/v3/fs/mem/file"),
    ("DELETE", "/api/v3/fs/mem/file"),
    ("PUT", "/api/v3/fs/disk/file"),
    ("DELETE", "/api/v3/fs/disk/file"),
    ("PUT", "/api/v3/config"),
    ("GET", "/api/v3/config/reload"),
    ("PUT", "/memfs/file"),
    ("POST", "/memfs/file"),
    ("DELETE", "/memfs/file"),
];

/// Every route that only answers.
const READS: &[&str] = &[
    "/ping",
    "/api",
    "/api/v3/process",
    "/api/v3/process/one",
    "/api/v3/process/one/config",
    "/api/v3/process/one/state",
    "/api/v3/process/one/report",
    "/api/v3/metadata",
    "/api/v3/metadata/key",
    "/api/v3/process/one/metadata",
    "/api/v3/fs",
    "/api/v3/fs/mem",
    "/api/v3/fs/mem/file",
    "/api/v3/config",
    "/api/v3/log",
    "/api/v3/skills",
    "/memfs/file",
    "/file",
];

/// A daemon without auth whose state a refused write would change.
fn open_daemon() -> Daemon {
    let daemon = Setup::default().env("CORE_STORAGE_MEMORY_AUTH_ENABLE", "false").start();
    daemon.call("POST", "/api/v3/process", &process("one"), 200);
    daemon.call("PUT", "/api/v3/metadata/key", &json!("value"), 200);
    for path in ["/api/v3/fs/mem/file", "/api/v3/fs/disk/file"] {
        assert_eq!(daemon.send(&Request::new("PUT", path).body("content")).status, 201);
    }
    daemon
}

fn everything(daemon: &Daemon) -> Vec<Value> {
    let processes = daemon.json("/api/v3/process?filter=config,metadata");
    let about = daemon.json("/api");
    let mut seen = vec![processes, daemon.json("/api/v3/metadata"), daemon.json("/api/v3/config")];
    seen.push(about["created_at"].clone());
    for name in ["mem", "disk"] {
        seen.push(daemon.json(&format!("/api/v3/fs/{name}")));
    }
    seen
}

#[test]
fn a_page_from_elsewhere_changes_nothing_while_auth_is_off() {
    let daemon = open_daemon();
    let before = everything(&daemon);
    for header in [("Origin", "http://evil.example"), ("Origin", "null"), ("Host", "evil.example")] {
        for (method, path) in WRITES {
            let request = Request::new(method, path).header(header.0, header.1).json(&process("evil"));
            let response = daemon.send(&request);
            assert_eq!(response.status, 403, "{method} {path} with {header:?}: {}", response.text());
        }
    }
    assert_eq!(everything(&daemon), before);
}

#[test]
fn a_page_from_elsewhere_may_read_and_our_own_may_write() {
    let daemon = open_daemon();
    for path in READS {
        let response = daemon.send(&Request::get(path).header("Origin", "http://player.example"));
        assert_eq!(response.status, 200, "GET {path}: {}", response.text());
    }
    let address = daemon.address();
    let own = [format!("http://{address}"), format!("http://localhost:{}", address.port())];
    for origin in &own {
        let host = origin.trim_start_matches("http://");
        let request = Request::new("PUT", "/api/v3/metadata/key").header("Origin", origin).header("Host", host);
        let response = daemon.send(&request.json(&json!("own")));
        assert_eq!(response.status, 200, "{origin}: {}", response.text());
    }
    for host in ["rill.local:8080", "[::1]:8080", "192.168.1.7"] {
        let request = Request::new("PUT", "/api/v3/metadata/key").header("Host", host).json(&json!("own"));
        assert_eq!(daemon.send(&request).status, 200, "Host {host}");
    }
}

fn daemon_with_login() -> Daemon {
    Setup::default()
        .env("CORE_API_AUTH_ENABLE", "true")
        .env("CORE_API_AUTH_USERNAME", "admin")
        .env("CORE_API_AUTH_PASSWORD", "secret")
        .start()
}

#[test]
fn a_flood_of_logins_leaves_everyone_else_alone() {
    let daemon = daemon_with_login();
    let right = json!({"username": "admin", "password": "secret"});
    let token = daemon.call("POST", "/api/login", &right, 200)["access_token"].as_str().expect("a token").to_owned();
    let wrong = Request::new("POST", "/api/login").json(&json!({"username": "admin", "password": "guess"}));
    let mut refused: Vec<u16> = std::thread::scope(|scope| {
        let attempts: Vec<_> = (0..60).map(|_| scope.spawn(|| daemon.send(&wrong).status)).collect();
        // While they wait for their answers, a request of somebody else is served at once.
        for _ in 0..20 {
            let start = Instant::now();
            let about = daemon.send(&Request::get("/api/v3/fs").header("Authorization", &format!("Bearer {token}")));
            assert_eq!(about.status, 200);
            assert!(start.elapsed() < Duration::from_secs(3), "other requests wait for failed logins");
        }
        attempts.into_iter().map(|attempt| attempt.join().expect("a request that is answered")).collect()
    });
    refused.sort_unstable();
    refused.dedup();
    assert!(refused.iter().all(|status| [401, 429, 503].contains(status)), "{refused:?}");
    assert!(refused.iter().any(|status| *status != 401), "at most eight failed logins may be pending");
}

#[test]
fn a_login_body_has_four_kibibytes_at_most() {
    let daemon = daemon_with_login();
    let body = json!({"username": "admin", "password": "x".repeat(LOGIN_LIMIT)});
    assert_eq!(daemon.send(&Request::new("POST", "/api/login").json(&body)).status, 413);
}

/// `json` and blanks, `length` bytes together.
fn padded(json: &str, length: usize) -> String {
    format!("{json}{}", " ".repeat(length - json.len()))
}

#[test]
fn a_json_body_has_four_mebibytes_at_most() {
    let daemon = open_daemon();
    for (method, path) in WRITES.iter().filter(|(method, path)| *method != "GET" && path.starts_with("/api/v3/")) {
        if *method == "DELETE" || path.starts_with("/api/v3/fs") {
            continue;
        }
        let body = padded("{}", JSON_LIMIT + 1);
        let mut request = Request::new(method, path).header("Content-Type", "application/json").body(body);
        assert_eq!(daemon.send(&request).status, 413, "{method} {path} with a length");
        request.chunked = true;
        assert_eq!(daemon.send(&request).status, 413, "{method} {path} in chunks");
    }
    // One byte less is read, and understood.
    let body = padded("\"fits\"", JSON_LIMIT);
    let request = Request::new("PUT", "/api/v3/metadata/key").header("Content-Type", "application/json").body(body);
    assert_eq!(daemon.send(&request).status, 200);
}

#[test]
fn request_headers_have_thirty_two_kibibytes_at_most() {
    let daemon = open_daemon();
    let many = |request: Request, count: usize| {
        (0..count).fold(request, |request, index| request.header(&format!("X-{index}"), &"y".repeat(1000)))
    };
    assert_eq!(daemon.send(&Request::get("/ping").header("X-Long", &"y".repeat(HEADER_LIMIT))).status, 431);
    assert_eq!(daemon.send(&many(Request::get("/ping"), 40)).status, 431);
    assert_eq!(daemon.send(&many(Request::get("/ping"), 20)).status, 200);
    let target = format!("/{}", "a".repeat(HEADER_LIMIT));
    let response = daemon.send(&Request::get(&target));
    assert!([414, 431].contains(&response.status), "{}", response.status);
}

#[test]
fn odd_ids_are_names_like_any_other() {
    let mut daemon = Setup::default().start();
    let long = "x".repeat(4096);
    let odd = ["a/b", "../../etc/passwd", "..", ".", "line\nbreak", "nul\0", "a b", "ü", "100%", "?#&", &long];
    let path = |id: &str| {
        let encoded: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("/api/v3/process/{encoded}")
    };
    for id in odd {
        let stored = daemon.call("POST", "/api/v3/process", &process(id), 200);
        assert_eq!(stored["id"], id);
        daemon.call("PUT", &format!("{}/metadata/%2E%2E%2Fkey", path(id)), &json!(id), 200);
    }
    daemon.kill();
    daemon.resume().unwrap_or_else(|error| panic!("{error}"));
    for id in odd {
        let found = daemon.json(&path(id));
        assert_eq!((&found["id"], &found["metadata"]["../key"]), (&json!(id), &json!(id)));
        let response = daemon.send(&Request::new("DELETE", &path(id)));
        assert_eq!(response.status, 200, "{id:?}: {}", response.text());
    }
    assert_eq!(daemon.json("/api/v3/process"), json!([]));
    let mut files = std::fs::read_dir(daemon.db_dir()).expect("the database folder").flatten();
    assert!(files.all(|file| file.file_name().display().to_string().starts_with("db")));
}

#[test]
fn files_never_leave_their_root() {
    let daemon = open_daemon();
    for path in
        ["/memfs/../db/db.json", "/../db/db.json", "/%2e%2e/db/db.json", "/..%2fdb%2fdb.json", "/a/../../db/db.json"]
    {
        let response = daemon.send(&Request::get(path));
        assert!([400, 404].contains(&response.status), "{path}: {} {}", response.status, response.text());
    }
    for path in ["/api/v3/fs/disk/../db/x", "/api/v3/fs/disk/%2e%2e/db/x", "/api/v3/fs/disk/..%2fdb%2fx"] {
        daemon.send(&Request::new("PUT", path).body("x"));
        assert!(!daemon.db_dir().join("x").exists(), "{path} left the disk folder");
    }
}

#[test]
fn bytes_that_are_no_request_end_one_connection_only() {
    let daemon = open_daemon();
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /api/v3/process HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PUT /memfs/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 18446744073709551615\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        // An answer or a closed connection, both are fine.
        if let Ok(response) = http::send_raw(daemon.address(), bytes, Duration::from_secs(15)) {
            assert!(response.status >= 400, "{bytes:?}: {}", response.status);
        }
        assert_eq!(daemon.get("/ping").status, 200);
    }
}
