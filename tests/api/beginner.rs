//! The beginner's flow of the Core documentation with a real FFmpeg, without RTMP: create, check, update, stop, start,
//! find out why an input fails, delete; and the same picture as HLS from memory.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::http::Request;
use crate::harness::{Daemon, Setup};

/// For everything that waits for FFmpeg on two busy cores.
const PATIENCE: Duration = Duration::from_secs(40);

fn picture(id: &str) -> Value {
    json!({
        "id": id,
        "reference": "beginner",
        "input": [{"id": "in", "address": "testsrc2=size=320x180:rate=10", "options": ["-f", "lavfi", "-re"]}],
        "output": [{"id": "out", "address": "-", "options": ["-c:v", "libx264", "-preset", "ultrafast", "-f", "null"]}],
        "options": ["-err_detect", "ignore_err"],
        "reconnect": true,
        "reconnect_delay_seconds": 1
    })
}

fn command(daemon: &Daemon, id: &str, command: &str) {
    let answer = daemon.call("PUT", &format!("/api/v3/process/{id}/command"), &json!({"command": command}), 200);
    assert_eq!(answer, "OK");
}

#[track_caller]
fn wait_until_running(daemon: &Daemon, id: &str) -> Value {
    daemon.wait_for(&format!("/api/v3/process/{id}/state"), PATIENCE, |state| {
        // What FFmpeg says of its outputs and its first report come by ways of their own.
        let progress = &state["progress"];
        state["exec"] == "running" && progress["frame"].as_u64() > Some(0) && progress["outputs"][0].is_object()
    })
}

/// Process ids of the daemon's children.
fn children(daemon: &Daemon) -> Vec<String> {
    let parent = format!("PPid:\t{}\n", daemon.pid());
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter(|entry| fs::read_to_string(entry.path().join("status")).is_ok_and(|status| status.contains(&parent)))
        .map(|entry| entry.file_name().display().to_string())
        .collect()
}

#[test]
fn a_beginner_creates_checks_updates_stops_starts_and_deletes() {
    let daemon = Setup::default().start();
    let stored = daemon.call("POST", "/api/v3/process", &picture("first"), 200);
    assert_eq!(stored["id"], "first");
    assert_eq!(stored["autostart"], true);

    let state = wait_until_running(&daemon, "first");
    assert_eq!(state["order"], "start");
    assert_eq!(state["progress"]["inputs"][0]["type"], "video");
    assert_eq!(state["progress"]["outputs"][0]["codec"], "h264");
    assert_eq!(state["progress"]["outputs"][0]["width"], 320);
    let process = daemon.json("/api/v3/process/first");
    assert_eq!(process["config"]["options"], json!(["-err_detect", "ignore_err"]));
    assert!(process["report"]["prelude"].as_array().is_some_and(|lines| !lines.is_empty()));

    // Only what is given changes, and the process runs again with it.
    let update = json!({"output": [{"options": ["-c:v", "mpeg2video", "-f", "null"]}]});
    let updated = daemon.call("PUT", "/api/v3/process/first", &update, 200);
    assert_eq!(updated["output"][0]["address"], "-");
    let state = daemon.wait_for("/api/v3/process/first/state", PATIENCE, |state| {
        state["progress"]["outputs"][0]["codec"] == "mpeg2video"
    });
    assert_eq!(state["order"], "start");

    command(&daemon, "first", "stop");
    let state = daemon.json("/api/v3/process/first/state");
    assert_eq!((&state["order"], &state["exec"]), (&json!("stop"), &json!("finished")));
    assert_eq!(children(&daemon), Vec::<String>::new());

    command(&daemon, "first", "start");
    wait_until_running(&daemon, "first");

    let response = daemon.send(&Request::new("DELETE", "/api/v3/process/first"));
    assert_eq!((response.status, response.json()), (200, Ok(json!("OK"))));
    assert_eq!(daemon.get("/api/v3/process/first").status, 404);
    assert_eq!(daemon.json("/api/v3/process"), json!([]));
    assert_eq!(children(&daemon), Vec::<String>::new());
}

#[test]
fn a_failing_input_says_why() {
    let daemon = Setup::default().start();
    let mut process = picture("broken");
    process["input"] = json!([{"id": "in", "address": "/nowhere/at/all.mp4", "options": ["-re"]}]);
    process["reconnect_delay_seconds"] = json!(60);
    daemon.call("POST", "/api/v3/process", &process, 200);
    let state = daemon.wait_for("/api/v3/process/broken/state", PATIENCE, |state| state["exec"] == "failed");
    assert_eq!(state["order"], "start");
    assert!(state["reconnect_seconds"].as_i64() >= Some(0), "{state}");
    assert!(state["last_logline"].as_str().is_some_and(|line| line.contains("No such file")), "{state}");
    let report = daemon.json("/api/v3/process/broken/report");
    assert!(report["log"].to_string().contains("No such file"), "{report}");
    let probe = daemon.json("/api/v3/process/broken/probe");
    assert_eq!(probe["streams"], json!([]));
    assert!(probe["log"].to_string().contains("No such file"), "{probe}");
}

#[test]
fn a_stream_plays_from_memory() {
    let daemon = Setup::default().start();
    let mut process = picture("live");
    process["output"] = json!([{
        "id": "hls",
        "address": "{memfs}/live.m3u8",
        "options": [
            "-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-f", "hls", "-hls_time", "1", "-hls_list_size", "4",
            "-hls_flags", "delete_segments", "-hls_segment_filename", "{memfs}/live_%03d.ts", "-method", "PUT",
            "-http_persistent", "1"
        ],
        "cleanup": [{"pattern": "memfs:/live*", "purge_on_delete": true}]
    }]);
    daemon.call("POST", "/api/v3/process", &process, 200);
    let list = daemon.wait_for("/api/v3/fs/mem?glob=/live_*.ts&sort=name", PATIENCE, |files| {
        files.as_array().is_some_and(|files| files.len() >= 3)
    });
    assert!(list[0]["name"].as_str().is_some_and(|name| name.starts_with("/live_")), "{list}");

    let playlist = daemon.get("/memfs/live.m3u8");
    assert_eq!(playlist.status, 200);
    assert_eq!(playlist.header("Content-Type").as_deref(), Some("application/vnd.apple.mpegurl"));
    let text = playlist.text();
    let segments: Vec<&str> = text.lines().filter(|line| line.ends_with(".ts")).collect();
    let last = segments.last().unwrap_or_else(|| panic!("no segment in {text}"));
    let segment = daemon.get(&format!("/memfs/{last}"));
    assert_eq!((segment.status, segment.header("Content-Type").as_deref()), (200, Some("video/MP2T")));
    assert_eq!(segment.body.len() % 188, 0);
    assert!(segment.body.chunks(188).all(|packet| packet[0] == 0x47), "transport stream packets begin with 0x47");

    // What the process made goes with it.
    assert_eq!(daemon.send(&Request::new("DELETE", "/api/v3/process/live")).status, 200);
    daemon.wait_for("/api/v3/fs/mem", PATIENCE, |files| *files == json!([]));
}
