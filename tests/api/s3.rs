//! S3 mounts against a store of our own: a server that is away or says no, uploads in parts, readers, cleanup rules.
//!
//! What needs a server that checks signatures, and sizes, is in `scripts/test-s3`.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::http::{self, Request, Response};
use crate::harness::s3::{Shelf, Store};
use crate::harness::{Daemon, Setup};

const PATIENCE: Duration = Duration::from_secs(40);
/// More than two parts of the daemon's.
const LARGE: usize = 20 * 1024 * 1024;

fn setup(port: u16, key: &str) -> Setup {
    let mount = format!("http://{key}:secret@us-east-1.127.0.0.1:{port}/bucket?name=my-s3_1&mount=/cloud");
    Setup::default().env("CORE_STORAGE_S3", &mount)
}

/// A daemon whose mount works.
fn mounted(store: &Store) -> Daemon {
    let daemon = setup(store.port, "key").start();
    wait_for("the bucket", || store.look(|shelf| shelf.asked.iter().any(|line| line == "PUT /bucket")));
    daemon
}

#[track_caller]
fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}: never");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn alarm(about: &Value, key: &str) -> Option<String> {
    let alarms = about["rill"]["alarms"].as_array()?;
    alarms.iter().find(|alarm| alarm["key"] == key).and_then(|alarm| alarm["text"].as_str()).map(str::to_owned)
}

/// Waits until the mount complains.
#[track_caller]
fn complaint(daemon: &Daemon) -> String {
    let about = daemon.wait_for("/api", PATIENCE, |about| alarm(about, "s3 my-s3_1").is_some());
    alarm(&about, "s3 my-s3_1").expect("waited for it")
}

fn put(daemon: &Daemon, path: &str, body: Vec<u8>) -> Response {
    daemon.send(&Request::new("PUT", path).body(body))
}

/// Bytes without a period that fits parts.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((i / 7 + i * 31) % 251).expect("a byte")).collect()
}

#[test]
fn a_server_that_is_down_degrades_the_mount_and_nothing_else() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let port = port.expect("a free port").port();
    let mut daemon = setup(port, "key").start();
    let text = complaint(&daemon);
    assert!(text.contains("my-s3_1") && text.contains("no connection") && text.contains("network"), "{text}");
    assert_eq!(daemon.get("/memfs/x").status, 404);
    assert_eq!(daemon.json("/api/v3/fs").as_array().map(Vec::len), Some(3));
    let store = Store::empty(port, None).expect("the port is still free");
    daemon.wait_for("/api", PATIENCE, |about| alarm(about, "s3 my-s3_1").is_none());
    assert_eq!(put(&daemon, "/cloud/a.txt", b"hello".to_vec()).status, 201);
    assert_eq!(store.look(|shelf| shelf.objects["a.txt"].0.clone()), b"hello");
    drop(store);
    let refused = daemon.get("/api/v3/fs/my-s3_1/a.txt");
    assert_eq!(refused.status, 502, "{}", refused.text());
    complaint(&daemon);
    assert_eq!(daemon.get("/api/v3/fs/my-s3_1").status, 502, "an empty list would be a lie");
    assert!(daemon.stop().success());
}

#[test]
fn wrong_credentials_are_named() {
    let store = Store::empty(0, Some("right")).expect("a store");
    let daemon = setup(store.port, "wrong").start();
    let text = complaint(&daemon);
    assert!(text.contains("InvalidAccessKeyId") && text.contains("check access_key_id"), "{text}");
    assert_eq!(put(&daemon, "/cloud/a.txt", b"x".to_vec()).status, 502);
    assert!(!daemon.log().contains("secret"), "the log keeps secrets");
}

#[test]
fn uploads_in_parts_arrive_whole_or_not_at_all() {
    let store = Store::empty(0, None).expect("a store");
    let daemon = mounted(&store);
    let body = pattern(LARGE);
    // Hiccups cost time, nothing else.
    store.look(|shelf| shelf.faults = 2);
    let mut request = Request::new("PUT", "/cloud/dir/big.bin").body(body.clone());
    request.chunked = true;
    assert_eq!(daemon.send(&request).status, 201);
    let arrived = |shelf: &mut Shelf| (shelf.objects["dir/big.bin"].0 == body, shelf.uploads.len());
    assert_eq!(store.look(arrived), (true, 0));
    assert!(store.look(|shelf| shelf.asked.iter().any(|line| line.contains("partNumber=3"))), "it went in parts");
    assert_eq!(daemon.get("/api/v3/fs/my-s3_1/dir/big.bin").body, body);

    store.look(|shelf| shelf.last_part = Some(1));
    let refused = put(&daemon, "/cloud/dir/big.bin", vec![0; LARGE]);
    assert_eq!(refused.status, 502, "{}", refused.text());
    assert!(refused.text().contains("InternalError"), "{}", refused.text());
    wait_for("the parts are gone", || store.look(|shelf| shelf.uploads.is_empty()));
    assert_eq!(store.look(arrived), (true, 0), "the file stays as it was");
}

#[test]
fn a_client_that_goes_away_leaves_nothing() {
    let store = Store::empty(0, None).expect("a store");
    let mut daemon = mounted(&store);
    let upload = || {
        let mut stream = http::connect(daemon.address(), http::TIMEOUT).expect("connected");
        let head =
            format!("PUT /cloud/half.ts HTTP/1.1\r\nHost: {}\r\nContent-Length: {LARGE}\r\n\r\n", daemon.address());
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&pattern(LARGE - 1))).expect("sent");
        let has_part = |shelf: &mut Shelf| shelf.uploads.values().any(|parts| !parts.is_empty());
        wait_for("a part has arrived", || store.look(has_part));
        stream
    };
    drop(upload());
    wait_for("the parts are gone", || store.look(|shelf| shelf.uploads.is_empty()));
    // As does a daemon that stops in the middle.
    let stream = upload();
    assert!(daemon.stop().success());
    drop(stream);
    assert!(store.look(|shelf| shelf.uploads.is_empty()), "parts are left");
    assert!(store.look(|shelf| shelf.objects.is_empty()));
}

#[test]
fn readers_get_what_they_ask_for() {
    let store = Store::empty(0, None).expect("a store");
    let daemon = mounted(&store);
    let body = pattern(100_000);
    store.look(|shelf| shelf.store("a b/ü.mp4", body.clone()));
    let path = "/cloud/a%20b/%C3%BC.mp4";
    let head = daemon.send(&Request::new("HEAD", path));
    assert_eq!((head.status, head.header("Content-Length").as_deref()), (200, None), "as on other mounts");
    let ask = |range: &str| daemon.send(&Request::get(path).header("Range", range));
    let part = ask("bytes=1000-1999");
    assert_eq!((part.status, part.header("Content-Range").as_deref()), (206, Some("bytes 1000-1999/100000")));
    assert!(part.body == body[1000..2000]);
    assert!(ask("bytes=-10").body == body[99_990..]);
    assert_eq!(ask("bytes=100000-").status, 416);
    let whole = daemon.get(path);
    assert!(whole.body == body && whole.header("Content-Type").as_deref() == Some("video/mp4"));
    assert_eq!(daemon.get("/cloud/").status, 404);
    let list = daemon.json("/api/v3/fs/my-s3_1?glob=/a%20b/*");
    assert_eq!(list[0]["name"], "/a b/ü.mp4");
    assert_eq!(put(&daemon, "/cloud/", vec![1]).status, 400);
    assert_eq!(put(&daemon, &format!("/cloud/{}", "x".repeat(1025)), vec![1]).status, 400);
}

#[test]
fn a_reader_does_not_notice_connections_that_break() {
    let store = Store::empty(0, None).expect("a store");
    let daemon = mounted(&store);
    let body = pattern(3_000_000);
    store.look(|shelf| {
        shelf.store("film.mp4", body.clone());
        shelf.cuts = 4;
    });
    assert!(daemon.get("/api/v3/fs/my-s3_1/film.mp4").body == body);
    let resumed = |line: &&String| line.starts_with("GET /bucket/film.mp4");
    assert_eq!(store.look(|shelf| shelf.asked.iter().filter(resumed).count()), 5);
}

/// A board without a battery starts in 1970.
#[test]
fn a_wrong_clock_is_corrected_by_the_servers() {
    let store = Store::empty(0, None).expect("a store");
    store.look(|shelf| shelf.ahead = Some(50 * 365 * 86_400));
    let daemon = mounted(&store);
    assert_eq!(put(&daemon, "/cloud/a.txt", b"x".to_vec()).status, 201);
    assert_eq!(daemon.get("/cloud/a.txt").text(), "x");
    assert!(alarm(&daemon.json("/api"), "s3 my-s3_1").is_none());
}

/// The reference served what it had cached for minutes (H44).
#[test]
fn writes_are_seen_at_once() {
    let store = Store::empty(0, None).expect("a store");
    let daemon = mounted(&store);
    let cached = || {
        let answer = daemon.get("/cloud/a.txt");
        let label = answer.header("X-Cache").unwrap_or_default();
        (answer.status, answer.text(), label.split(' ').next().unwrap_or_default().to_owned())
    };
    let expect = |status, text: &str, label: &str| assert_eq!(cached(), (status, text.to_owned(), label.to_owned()));
    assert_eq!(put(&daemon, "/cloud/a.txt", b"one".to_vec()).status, 201);
    expect(200, "one", "MISS");
    expect(200, "one", "HIT");
    assert_eq!(put(&daemon, "/api/v3/fs/my-s3_1/a.txt", b"two".to_vec()).status, 204);
    expect(200, "two", "MISS");
    assert_eq!(put(&daemon, "/cloud//a.txt", b"three".to_vec()).status, 204);
    expect(200, "three", "MISS");
    assert_eq!(daemon.send(&Request::new("DELETE", "/api/v3/fs/my-s3_1/a.txt")).status, 200);
    assert_eq!(cached().0, 404);
}

#[test]
fn rules_clean_and_purge_the_mount() {
    let store = Store::empty(0, None).expect("a store");
    let daemon = mounted(&store);
    let names = || store.look(|shelf| shelf.objects.keys().cloned().collect::<Vec<_>>());
    store.look(|shelf| {
        for number in 0..5 {
            shelf.store(&format!("live/s_{number}.ts"), vec![0]);
            // Older than those before it: the date decides among files that were found together.
            shelf.objects.values_mut().for_each(|(_, time)| *time -= 10);
        }
        shelf.store("live/s.m3u8", vec![0]);
        shelf.store("other.ts", vec![0]);
    });
    let rule = |pattern: &str, most: u64, purge: bool| json!({"pattern": pattern, "max_files": most, "max_file_age_seconds": 0, "purge_on_delete": purge});
    let cleanup = [rule("my-s3_1:/live/s_*.ts", 2, true), rule("my-s3_1:/live/*.m3u8", 0, true)];
    let process = json!({
        "id": "p", "autostart": false,
        "input": [{"id": "in", "address": "{fs:my-s3_1}/in.mp4", "options": []}],
        "output": [{"id": "out", "address": "{fs:my-s3_1}/live/s.m3u8", "options": ["-f", "hls"], "cleanup": cleanup}],
    });
    daemon.call("POST", "/api/v3/process", &process, 200);
    let command = daemon.json("/api/v3/process/p/state")["command"].to_string();
    assert!(command.contains(&format!("http://{}/cloud/live/s.m3u8", daemon.address())), "{command}");
    wait_for("the oldest have gone", || names() == ["live/s.m3u8", "live/s_3.ts", "live/s_4.ts", "other.ts"]);
    let deleted = daemon.send(&Request::new("DELETE", "/api/v3/process/p"));
    assert_eq!(deleted.status, 200);
    wait_for("the rest is purged", || names() == ["other.ts"]);
}

#[test]
fn a_mount_that_is_in_the_way_says_so() {
    let store = Store::empty(0, None).expect("a store");
    let mount = format!("http://k:s@r.127.0.0.1:{}/bucket", store.port);
    let list = format!("{mount}?name=a&mount=/memfs/x|{mount}?name=b&mount=/c/|{mount}?name=d&mount=//c");
    let daemon = Setup::default().env("CORE_STORAGE_S3", &list).start();
    let about = daemon.json("/api");
    let is_wrong = |name: &str| alarm(&about, &format!("s3 {name} mountpoint")).is_some();
    assert_eq!(["a", "b", "d"].map(is_wrong), [true, false, true]);
    wait_for("the buckets", || store.look(|shelf| shelf.asked.len() >= 3));
    assert_eq!(put(&daemon, "/c/x.txt", b"x".to_vec()).status, 201);
    assert_eq!(daemon.get("/memfs/x/x.txt").status, 404, "memory is memory");
    assert_eq!(daemon.get("/api/v3/fs/d/x.txt").text(), "x", "the API reaches all");
}

#[test]
fn metrics_tell_what_a_bucket_holds() {
    let store = Store::empty(0, None).expect("a store");
    store.look(|shelf| ["a", "b/c", "d"].iter().for_each(|key| shelf.store(key, vec![0; 5])));
    let daemon = setup(store.port, "key").env("CORE_METRICS_ENABLE_PROMETHEUS", "true").start();
    let has = |name: &str, value: &str| {
        let text = daemon.get("/metrics").text();
        text.lines().any(|line| line.starts_with(name) && line.contains("\"my-s3_1\"") && line.ends_with(value))
    };
    wait_for("its files", || has("filesystem_files", " 3"));
    assert!(has("filesystem_usage_bytes", " 15") && has("filesystem_limit_bytes", " -1"));
}
