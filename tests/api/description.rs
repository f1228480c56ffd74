//! The API description against answers, the other way round: what it names is really answered.
//!
//! `harness/described.rs` fails every test whose answers show more than is described. Here one daemon is asked for all that
//! it can show, and every member of every type of an answer must have been seen, but for those that need what a test
//! machine has not.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::described::{self, Seen};
use crate::harness::http::Request;
use crate::harness::{Daemon, Setup};

const PATIENCE: Duration = Duration::from_secs(30);

/// Types that are not shown here, and why.
const UNSEEN: &[(&str, &str)] = &[
    ("AVStream.", "inputs of a patched FFmpeg"),
    ("AVStreamIO.", "as above"),
    ("PlayoutStatus.", "as above; playout.rs has a stand-in"),
    ("PlayoutStatusIO.", "as above"),
    ("PlayoutStatusSwap.", "as above"),
    ("ProcessProgressIO.channels", "as above"),
    ("ProcessState.rill", "a definition that became invalid; degraded.rs has them"),
    ("ProcessStateRill.", "as above"),
    ("SkillDevice.", "sound or video devices of this machine"),
    ("HardwareKnown.", "the board under test is a known one"),
    ("HardwareMedium.", "a root file system on a block device"),
    ("HardwareZone.", "sensors of this machine"),
    ("HardwareCamera.", "devices of this machine; scripts/test-hardware has them"),
    ("HardwareFormat.", "as above"),
    ("HardwareSize.", "as above"),
    ("HardwareInput.", "as above"),
    ("HardwareControl.", "as above"),
    ("HardwareSound.", "as above"),
    ("HardwarePcm.", "as above"),
    ("HardwareCodec.", "as above"),
    ("HardwareRender.", "as above"),
    ("HardwareNode.", "as above"),
    ("SkillEncoder.", "GPUs or codecs of this machine; http/api/skills.rs has them"),
    ("SkillEncoderSize.", "as above"),
    ("SkillLoad.", "as above; tests/process/trials.rs has the numbers"),
    ("Alarm.", "standing faults; degraded.rs has them"),
    ("AboutRill.update", "a newer version than this"),
    ("RillSystem.", "a root helper; system.rs has one"),
    ("RillListed.restarted", "references between processes; state.rs has them"),
    ("ConfigTenant.", "tenants of Auth0"),
    ("ConfigS3.", "mounts of S3"),
    ("ConfigMountAuth.", "as above"),
    ("GraphPosition.", "faulty queries; golden/graph.json has them"),
    ("GraphErrorKind.", "as above"),
    ("GraphError.", "as above"),
];

/// Asks, and remembers what the answer shows.
struct Tour {
    daemon: Daemon,
    seen: Seen,
}

impl Tour {
    #[track_caller]
    fn ask(&mut self, method: &str, path: &str, body: Option<&Value>, status: u16) -> Value {
        let mut request = Request::new(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = self.daemon.send(&request);
        assert_eq!(response.status, status, "{method} {path}: {}", response.text());
        assert_eq!(described::fault(&request, &response, &mut self.seen), None);
        response.json().unwrap_or(Value::Null)
    }

    #[track_caller]
    fn get(&mut self, path: &str) -> Value {
        self.ask("GET", path, None, 200)
    }
}

fn processes() -> [Value; 2] {
    let live = json!({
        "id": "live", "reference": "r", "limits": {"cpu_usage": 500, "memory_mbytes": 4000, "waitfor_seconds": 5},
        "input": [
            {"id": "v", "address": "testsrc2=size=64x36:rate=10", "options": ["-f", "lavfi", "-re"]},
            {"id": "a", "address": "sine=sample_rate=48000", "options": ["-f", "lavfi", "-re"]},
        ],
        "output": [{
            "id": "out", "address": "{memfs}/live.m3u8",
            "options": ["-c:v", "mpeg2video", "-c:a", "aac", "-f", "hls", "-hls_time", "1"],
            "cleanup": [{"pattern": "memfs:/live*", "max_files": 20, "max_file_age_seconds": 60, "purge_on_delete": true}],
        }, {"id": "rtmp", "address": "{rtmp,name=tour}", "options": ["-map", "1:a", "-c:a", "aac", "-f", "flv"]}, {
            "id": "srt", "address": "{srt,name=tour,mode=publish}",
            "options": ["-map", "0:v", "-c:v", "mpeg2video", "-f", "mpegts"],
        }],
    });
    let ended = json!({
        "id": "ended", "reconnect": false, "rill": {"limits": {"threads": 500}},
        "input": [{"id": "in", "address": "testsrc2=size=64x36:rate=10", "options": ["-f", "lavfi", "-t", "1"]}],
        "output": [{"id": "out", "address": "-", "options": ["-f", "null"]}],
    });
    [live, ended]
}

/// Names of the types that answers lead to.
fn answered_types() -> BTreeSet<String> {
    fn follow(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(key, member)| match member {
                Value::String(target) if key == "$ref" && target.starts_with("#/components/schemas/") => {
                    let name = target.rsplit('/').next().unwrap_or_default();
                    if found.insert(name.to_owned()) {
                        follow(&described::document()["components"]["schemas"][name], found);
                    }
                }
                member => follow(member, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| follow(item, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    let paths = described::document()["paths"].as_object().expect("paths");
    for operation in paths.values().flat_map(|methods| methods.as_object().into_iter().flat_map(|m| m.values())) {
        follow(&operation["responses"], &mut found);
    }
    found
}

#[test]
fn everything_that_is_described_is_answered() {
    let daemon = Setup::default()
        .env("CORE_METRICS_ENABLE", "true")
        .env("CORE_METRICS_ENABLE_PROMETHEUS", "true")
        .env("CORE_METRICS_INTERVAL_SECONDS", "1")
        .env("CORE_SESSIONS_IP_IGNORELIST", "10.0.0.0/8")
        .env("CORE_SESSIONS_SESSION_TIMEOUT_SEC", "1")
        .env("CORE_DEBUG_PROFILING", "true")
        .env("CORE_RTMP_ENABLE", "true")
        .env("CORE_RTMP_ADDRESS", "127.0.0.1:${RTMP_PORT}")
        .env("CORE_SRT_ENABLE", "true")
        .env("CORE_SRT_ADDRESS", "127.0.0.1:${SRT_PORT}")
        .env("CORE_SRT_LOG_ENABLE", "true")
        .env("CORE_SRT_LOG_TOPICS", "listen,connection")
        .start();
    let mut tour = Tour { daemon, seen: Seen::new() };
    for process in processes() {
        tour.ask("POST", "/api/v3/process", Some(&process), 200);
    }
    tour.ask("PUT", "/api/v3/process/ended/metadata/k", Some(&json!([1])), 200);
    tour.ask("PUT", "/api/v3/metadata/k", Some(&json!("v")), 200);
    view(&tour.daemon);
    tour.daemon.wait_for("/api/v3/rtmp", PATIENCE, |list| list[0]["name"] == "/tour");
    tour.daemon.wait_for("/api/v3/srt", PATIENCE, |list| list["publisher"]["tour"].is_u64());
    let finished = |state: &Value| state["exec"] == "finished" && state["runtime_seconds"].is_u64();
    tour.daemon.wait_for("/api/v3/process/ended/state", PATIENCE, finished);
    for command in ["stop", "start"] {
        tour.ask("PUT", "/api/v3/process/ended/command", Some(&json!({"command": command})), 200);
    }
    tour.daemon.wait_for("/api/v3/process/ended/report", PATIENCE, |report| report["history"][0].is_object());
    for path in PATHS {
        tour.get(path);
    }
    tour.ask("GET", "/api/v3/process/nope", None, 404);
    let names = ["cpu_ncpu", "mem_total", "session_total"].map(|name| json!({"name": name}));
    tour.ask("POST", "/api/v3/metrics", Some(&json!({"metrics": names})), 200);
    tour.ask("POST", "/api/graph/query", Some(&json!({"query": "{ process(id: \"nope\") { id } }"})), 200);
    tour.ask("POST", "/api/v3/hardware/probe?trials=true", None, 200);
    tour.ask("POST", "/api/v3/hardware/probe?trials=perhaps", None, 400);
    let stored = tour.get("/api/v3/rill/state");
    let (processes, metadata) = (&stored["processes"], &stored["metadata"]);
    let same = json!({"processes": processes, "metadata": metadata, "config": {"name": "renamed"}});
    tour.ask("PUT", "/api/v3/rill/state?dry_run=true", Some(&same), 200);
    log_in(&mut tour);

    // Shown where children have control groups: `scripts/test-service`.
    let of_groups =
        |name: &String| ["ProcessStateGroup.", "ProcessStatePressure."].iter().any(|it| name.starts_with(it));
    let missing: Vec<String> = unseen(&tour.seen).into_iter().filter(|name| !of_groups(name)).collect();
    assert!(missing.is_empty(), "described, but nothing showed them: {missing:?}");
}

const PATHS: &[&str] = &[
    "/api/v3/srt",
    "/api",
    "/ping",
    "/api/openapi.json",
    "/api/swagger/doc.json",
    "/api/swagger/index.html",
    "/api/v3/process",
    "/api/v3/process/live",
    "/api/v3/process/live/config",
    "/api/v3/process/live/state",
    "/api/v3/process/live/probe",
    "/api/v3/process/ended/report",
    "/api/v3/process/ended/metadata",
    "/api/v3/process/ended/metadata/k",
    "/api/v3/metadata",
    "/api/v3/metadata/k",
    "/api/v3/config",
    "/api/v3/skills",
    "/api/v3/skills/reload",
    "/api/v3/hardware",
    "/api/v3/log",
    "/api/v3/log?format=raw",
    "/api/v3/fs",
    "/api/v3/fs/mem",
    "/api/v3/fs/mem/live.m3u8",
    "/memfs/live.m3u8",
    "/api/v3/metrics",
    "/metrics",
    "/api/v3/session?collectors=hls,hlsingress,http,ffmpeg",
    "/api/v3/session/active?collectors=hls,hlsingress,http,ffmpeg",
    "/api/v3/rill/state",
    "/api/v3/rtmp",
    "/api/v3/widget/process/live",
    "/api/graph",
];

/// At a daemon that asks for it.
fn log_in(tour: &mut Tour) {
    tour.daemon = Setup::default()
        .env("CORE_API_AUTH_ENABLE", "true")
        .env("CORE_API_AUTH_USERNAME", "admin")
        .env("CORE_API_AUTH_PASSWORD", "secret")
        .start();
    let credentials = json!({"username": "admin", "password": "secret"});
    let tokens = tour.ask("POST", "/api/login", Some(&credentials), 200);
    let token = format!("Bearer {}", tokens["refresh_token"].as_str().expect("a token"));
    let request = Request::get("/api/login/refresh").header("Authorization", &token);
    let response = tour.daemon.send(&request);
    assert_eq!(response.status, 200);
    assert_eq!(described::fault(&request, &response, &mut tour.seen), None);
}

/// Watches the stream until one viewing has ended, and begins another.
fn view(daemon: &Daemon) {
    let playing = |daemon: &Daemon| {
        let end = std::time::Instant::now() + PATIENCE;
        while daemon.get("/memfs/live.m3u8").status != 200 {
            assert!(std::time::Instant::now() < end, "{}", daemon.log_tail());
            std::thread::sleep(Duration::from_millis(100));
        }
        let master = daemon.get("/memfs/live.m3u8").text();
        let variant = master.lines().find(|line| line.contains("session=")).expect("a variant").to_owned();
        let list = daemon.get(&format!("/memfs/{variant}")).text();
        let segment = list.lines().find(|line| line.contains(".ts?")).expect("a segment");
        assert_eq!(daemon.get(&format!("/memfs/{segment}")).status, 200);
    };
    playing(daemon);
    let ended = |sessions: &Value| sessions["hls"]["summary"]["sessions"].as_u64() > Some(0);
    daemon.wait_for("/api/v3/session?collectors=hls", PATIENCE, ended);
    playing(daemon);
}

/// Members that were never shown, as `Type.member`.
fn unseen(seen: &Seen) -> Vec<String> {
    let mut missing = Vec::new();
    for name in answered_types() {
        let members = &described::document()["components"]["schemas"][&name]["properties"];
        for member in members.as_object().into_iter().flat_map(serde_json::Map::keys) {
            let full = format!("{name}.{member}");
            if !seen.contains(&full) && !UNSEEN.iter().any(|(start, _)| full.starts_with(start)) {
                missing.push(full);
            }
        }
    }
    let known = answered_types();
    for (start, _) in UNSEEN {
        let name = start.split('.').next().unwrap_or_default();
        assert!(known.contains(name), "{start}: not answered anywhere any more");
    }
    missing
}
