//! What the process API does better than the reference on purpose (decisions.md), and updates that meet.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::http::Request;
use crate::harness::{Daemon, Setup};

fn process(id: &str) -> Value {
    json!({
        "id": id,
        "autostart": false,
        "input": [{"id": "in", "address": "testsrc", "options": ["-f", "lavfi"]}],
        "output": [{"id": "out", "address": "-", "options": ["-f", "null"]}]
    })
}

fn add(daemon: &Daemon, body: &Value) -> Value {
    daemon.call("POST", "/api/v3/process", body, 200)
}

fn command(daemon: &Daemon, id: &str) -> Value {
    daemon.json(&format!("/api/v3/process/{id}/state"))["command"].clone()
}

#[test]
fn h12_an_empty_type_means_ffmpeg() {
    let daemon = Setup::default().start();
    let mut body = process("a");
    body["type"] = json!("");
    assert_eq!(add(&daemon, &body)["type"], "ffmpeg");
}

#[test]
fn h15_an_id_named_twice_is_answered_once() {
    let daemon = Setup::default().start();
    add(&daemon, &process("a"));
    let list = daemon.json("/api/v3/process?filter=none&id=a,a");
    assert_eq!(list.as_array().map(Vec::len), Some(1));
}

#[test]
fn h05_keys_are_as_documented_and_the_last_of_several_wins() {
    let daemon = Setup::default().start();
    let mut body = process("a");
    body["Reference"] = json!("ignored");
    assert_eq!(add(&daemon, &body)["reference"], "");
    let text = r#"{"reference":"first","reference":"last"}"#;
    let request = crate::harness::http::Request::new("PUT", "/api/v3/process/a");
    let answer = daemon.send(&request.header("Content-Type", "application/json").body(text));
    assert_eq!(answer.json().expect("JSON")["reference"], "last");
}

#[test]
fn h20_only_the_playout_port_itself_is_replaced() {
    let setup = Setup::default().env("CORE_PLAYOUT_ENABLE", "true");
    let setup = setup.env("CORE_PLAYOUT_MIN_PORT", "42000").env("CORE_PLAYOUT_MAX_PORT", "42001");
    let daemon = setup.start();
    let mut body = process("a");
    let options = json!(["-a", "1", "-playout_httpport", "99", "-b", "2"]);
    body["input"] = json!([{"id": "in", "address": "playout:http://h/x", "options": options}]);
    add(&daemon, &body);
    let expected =
        json!(["-a", "1", "-b", "2", "-playout_httpport", "42000", "-i", "playout:http://h/x", "-f", "null", "-"]);
    assert_eq!(command(&daemon, "a"), expected);
    // Q42: what is refused late holds no port.
    daemon.call("POST", "/api/v3/process", &body, 400);
    body["id"] = json!("b");
    add(&daemon, &body);
    assert!(command(&daemon, "b").as_array().is_some_and(|command| command.contains(&json!("42001"))));
    body["id"] = json!("c");
    daemon.call("POST", "/api/v3/process", &body, 400);
    daemon.call("DELETE", "/api/v3/process/a", &Value::Null, 200);
    add(&daemon, &body);
}

#[test]
fn a_picture_without_length_reaches_a_playout_with_one() {
    let route = json!({
        "method": "PUT", "path": "/v1/errorframe.jpg", "content_type": "application/octet-stream",
        "status": 200, "type": "text/plain", "body": "got ${REQUEST_BODY}",
    });
    let server = json!({"type": "http", "port": "${PLAYOUT_PORT}", "routes": [route]});
    let setup = Setup { fixtures: vec![server], ..Setup::default() }.env("CORE_PLAYOUT_ENABLE", "true");
    let setup =
        setup.env("CORE_PLAYOUT_MIN_PORT", "${PLAYOUT_PORT}").env("CORE_PLAYOUT_MAX_PORT", "${PLAYOUT_PORT_MAX}");
    let daemon = setup.start();
    let mut body = process("a");
    body["input"] = json!([{"id": "in", "address": "playout:http://h/x"}]);
    add(&daemon, &body);
    let mut request = Request::new("PUT", "/api/v3/process/a/playout/in/errorframe/x.jpg").body("a picture");
    request.chunked = true;
    assert_eq!(daemon.send(&request).text(), "got a picture");
}

/// A database with a process whose output is outside of the disk directory, ordered to run.
fn with_invalid() -> Setup {
    let config = json!({
        "id": "bad", "reference": "", "ffversion": "", "options": [],
        "input": [{"id": "in", "address": "testsrc", "options": [], "cleanup": []}],
        "output": [{"id": "out", "address": "/outside/x.mp4", "options": [], "cleanup": []}],
        "reconnect": false, "reconnect_delay_seconds": 0, "autostart": false, "stale_timeout_seconds": 0,
        "limit_cpu_usage": 0, "limit_memory_bytes": 0, "limit_waitfor_seconds": 0,
    });
    let record = json!({
        "id": "bad", "reference": "", "config": config,
        "created_at": 1_700_000_000, "updated_at": 1_700_000_001, "order": "start",
    });
    let db = json!({"version": 4, "process": {"bad": record}, "metadata": {"system": {}, "process": {}}});
    Setup { files: vec![json!({"path": "${DB_DIR}/db.json", "text": db.to_string()})], ..Setup::default() }
}

#[test]
fn h17_an_invalid_process_says_why_and_is_repaired_by_an_update() {
    let daemon = with_invalid().start();
    let state = daemon.json("/api/v3/process/bad/state");
    assert_eq!((&state["order"], &state["command"]), (&json!(""), &Value::Null));
    assert!(state["rill"]["invalid"].as_str().is_some_and(|why| why.contains("/outside/x.mp4")), "{state}");
    daemon.call("PUT", "/api/v3/process/bad/command", &json!({"command": "stop"}), 200);
    daemon.call("PUT", "/api/v3/process/bad", &json!({"output": [{"address": "-"}]}), 200);
    assert_eq!(command(&daemon, "bad"), json!(["-i", "testsrc", "-"]));
}

#[test]
fn h17_an_invalid_process_with_order_start_can_be_deleted() {
    let daemon = with_invalid().start();
    daemon.call("DELETE", "/api/v3/process/bad", &Value::Null, 200);
    assert_eq!(daemon.get("/api/v3/process/bad").status, 404);
}

#[test]
fn q17_a_failed_reload_keeps_the_old_command() {
    let daemon = Setup::default().start();
    add(&daemon, &process("source"));
    let mut body = process("reader");
    body["input"] = json!([{"id": "in", "address": "#source:output=out"}]);
    add(&daemon, &body);
    daemon.call("DELETE", "/api/v3/process/source", &Value::Null, 200);
    daemon.call("PUT", "/api/v3/process/reader/command", &json!({"command": "reload"}), 400);
    assert_eq!(command(&daemon, "reader"), json!(["-i", "-", "-f", "null", "-"]));
}

/// A PUT names only what it changes: two that come at once must both survive.
#[test]
fn updates_at_the_same_time_lose_nothing() {
    const ROUNDS: u64 = 25;
    let daemon = Setup::default().start();
    add(&daemon, &process("a"));
    std::thread::scope(|scope| {
        for field in ["reconnect_delay_seconds", "stale_timeout_seconds"] {
            let daemon = &daemon;
            scope.spawn(move || {
                for round in 1..=ROUNDS {
                    daemon.call("PUT", "/api/v3/process/a", &json!({field: round}), 200);
                }
            });
        }
    });
    let config = daemon.json("/api/v3/process/a/config");
    assert_eq!([&config["reconnect_delay_seconds"], &config["stale_timeout_seconds"]], [ROUNDS, ROUNDS]);
}

/// Stock FFmpeg says `size=N/A` for HLS and tee: the bytes come from our own server.
fn sizes_come_from_memory(id: &str, address: &str, options: &[&str]) {
    const PATIENCE: Duration = Duration::from_secs(40);
    let daemon = Setup::default().env("CORE_STORAGE_MEMORY_AUTH_ENABLE", "false").start();
    let options = [["-c:v", "libx264", "-preset", "ultrafast", "-g", "10"].as_slice(), options].concat();
    add(
        &daemon,
        &json!({
            "id": id,
            "input": [{"id": "in", "address": "testsrc2=size=320x180:rate=10", "options": ["-f", "lavfi", "-re"]}],
            "output": [{"id": "out", "address": address, "options": options}]
        }),
    );
    let files = |path: &str, extension: &str| -> Vec<u64> {
        let list = daemon.json(path);
        let list = list.as_array().expect("a list").iter();
        let list = list.filter(|file| file["name"].as_str().is_some_and(|name| name.ends_with(extension)));
        list.map(|file| file["size_bytes"].as_u64().expect("a size")).collect()
    };
    let all = "/api/v3/fs/mem";
    let segments_to_come = |count: usize| {
        daemon.wait_for(all, PATIENCE, |_| files(all, ".ts").len() >= count);
        files(all, ".ts")
    };
    let before: u64 = segments_to_come(3).iter().sum();
    let state = daemon.wait_for(&format!("/api/v3/process/{id}/state"), PATIENCE, |state| {
        state["progress"]["size_kb"].as_u64().is_some_and(|kb| kb * 1024 >= before)
    });
    let size = state["progress"]["size_kb"].as_u64().expect("a size") * 1024;
    // What was on its way when the state was read has arrived with the segment after next.
    let after = segments_to_come(files(all, ".ts").len() + 2);
    let playlists = files(all, ".m3u8").iter().sum::<u64>() * after.len() as u64;
    assert!(size <= after.iter().sum::<u64>() + playlists, "{size} of {after:?}, {playlists}");
    let progress = &state["progress"];
    let (kbit, seconds) = (progress["bitrate_kbit"].as_f64().expect("a rate"), progress["time"].as_f64());
    // Averaged over whole seconds, by a clock that is not the stream's: the right order is what counts.
    let expected = size as f64 * 8.0 / 1024.0 / seconds.expect("a time");
    assert!(kbit > expected / 3.0 && kbit < expected * 3.0, "{kbit} kbit/s instead of {expected}: {progress}");
}

#[test]
fn hls_to_memory_has_size_and_bitrate() {
    let segments = ["-hls_segment_filename", "{memfs}/parts/s_%05d.ts"];
    let hls = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "0", "-method", "PUT"];
    sizes_come_from_memory("hls", "{memfs}/{processid}.m3u8", &[hls.as_slice(), &segments].concat());
}

#[test]
fn a_tee_to_memory_has_size_and_bitrate() {
    let list = "[f=hls:hls_time=1:hls_list_size=0:method=PUT]{memfs}/a.m3u8|[f=null]-";
    sizes_come_from_memory("tee", list, &["-map", "0:v", "-flags", "+global_header", "-f", "tee"]);
}

#[test]
fn a_process_made_for_another_ffmpeg_is_named_in_the_log_at_boot() {
    let mut daemon = Setup::default().start();
    add(&daemon, &process("old"));
    assert!(daemon.stop().success());
    let file = daemon.db_dir().join("db.json");
    let mut db: Value = serde_json::from_slice(&std::fs::read(&file).expect("stored")).expect("JSON");
    db["process"]["old"]["config"]["ffversion"] = json!("^1.2.3");
    std::fs::write(&file, db.to_string()).expect("written");
    daemon.resume().unwrap_or_else(|error| panic!("{error}"));
    let said = |log: &Value| log.to_string().contains("made for FFmpeg ^1.2.3");
    daemon.wait_for("/api/v3/log", Duration::from_secs(20), said);
    assert_eq!(daemon.json("/api/v3/process/old/state")["order"], "stop", "that is all");
}
