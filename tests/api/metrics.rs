//! Measured values that are plausible and move, in queries, in the history and for Prometheus.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::http::Request;
use crate::harness::{Daemon, Setup};

const PATH: &str = "/api/v3/metrics";
const LIMIT: Duration = Duration::from_secs(30);

/// The series of one metric; `labels` are expressions.
fn query(daemon: &Daemon, name: &str, labels: Value) -> Vec<Value> {
    let body = json!({"metrics": [{"name": name, "labels": labels}]});
    daemon.call("POST", PATH, &body, 200)["metrics"].as_array().cloned().unwrap_or_default()
}

/// The current value of the only series that is chosen.
#[track_caller]
fn value(daemon: &Daemon, name: &str, labels: Value) -> f64 {
    let found = query(daemon, name, labels);
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    found[0]["values"][0][1].as_f64().expect("a number")
}

#[track_caller]
fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A process that works in real time until it is stopped.
fn start(daemon: &Daemon, id: &str) {
    let body = json!({
        "id": id,
        "input": [{"id": "in", "address": "testsrc=size=64x36:rate=10", "options": ["-f", "lavfi", "-re"]}],
        "output": [{"id": "out", "address": "-", "options": ["-f", "null"]}],
        "limits": {"cpu_usage": 90, "memory_mbytes": 1000}
    });
    daemon.call("POST", "/api/v3/process", &body, 200);
}

#[test]
fn the_box_is_described_plausibly() {
    let daemon = Setup::default().start();
    let all = json!({});
    let ncpu = value(&daemon, "cpu_ncpu", all.clone());
    assert!(ncpu > 0.0, "{ncpu}");
    let percent =
        |daemon: &Daemon| ["cpu_user", "cpu_system", "cpu_idle", "cpu_other"].map(|n| value(daemon, n, json!({})));
    let first = percent(&daemon);
    // The daemon itself makes work by being asked.
    wait("CPU percentages that move", || percent(&daemon) != first);
    let sum: f64 = percent(&daemon).iter().sum();
    assert!((99.0..=101.0).contains(&sum), "{sum}");
    let (total, free) = (value(&daemon, "mem_total", all.clone()), value(&daemon, "mem_free", all.clone()));
    assert!(total > 64e6 && free > 0.0 && free <= total, "{free} of {total}");
    let (total, usage) = (value(&daemon, "disk_total", all.clone()), value(&daemon, "disk_usage", all.clone()));
    assert!(total > 0.0 && usage > 0.0 && usage <= total, "{usage} of {total}");
    assert_eq!(query(&daemon, "disk_total", all.clone())[0]["labels"]["path"], json!(daemon.data_dir()));
    let sent = || value(&daemon, "net_tx", json!({"interface": "^lo$"}));
    let before = sent();
    wait("bytes on the loopback", || sent() > before);
    let before = value(&daemon, "uptime_uptime", all.clone());
    wait("time that passes", || value(&daemon, "uptime_uptime", all.clone()) > before);
}

#[test]
fn a_process_is_measured_while_it_works() {
    let daemon = Setup::default().start();
    start(&daemon, "a");
    start(&daemon, "b");
    let of = |name: &str| value(&daemon, "restream_process", json!({"processid": "^a$", "name": format!("^{name}$")}));
    wait("frames", || of("frame") > 0.0);
    let before = of("frame");
    wait("more frames", || of("frame") > before);
    wait("the memory of a process", || of("memory") > 1e6);
    wait("CPU time of a process", || of("cpu") > 0.0);
    assert_eq!((of("cpu_limit"), of("memory_limit")), (90.0, 1000.0 * 1024.0 * 1024.0));
    let io = query(&daemon, "restream_io", json!({"processid": "^a$", "name": "^frame$"}));
    let kinds: Vec<&str> = io.iter().filter_map(|series| series["labels"]["type"].as_str()).collect();
    assert_eq!(kinds, ["input", "output"]);
    assert_eq!(io[1]["labels"]["media"], "video");
    assert_eq!(value(&daemon, "restream_state", json!({"state": "running"})), 2.0);
    assert_eq!(value(&daemon, "restream_process_states", json!({"processid": "a", "state": "starting"})), 1.0);
    daemon.call("DELETE", "/api/v3/process/a", &Value::Null, 200);
    assert!(query(&daemon, "restream_process", json!({"processid": "^a$"})).is_empty());
    // What all processes ever did outlives them.
    assert_eq!(value(&daemon, "ffmpeg_process", json!({"state": "starting"})), 2.0);
    assert_eq!(value(&daemon, "ffmpeg_process", json!({"state": "finished"})), 1.0);
}

#[test]
fn the_history_follows_a_process_through_its_states() {
    let setup = Setup::default().env("CORE_METRICS_ENABLE", "true");
    let daemon = setup.env("CORE_METRICS_RANGE_SECONDS", "60").env("CORE_METRICS_INTERVAL_SECONDS", "1").start();
    start(&daemon, "a");
    let labels = json!({"processid": "^a$", "name": "^frame$"});
    let history = |interval: i64| {
        let metrics = json!([{"name": "restream_process", "labels": labels}]);
        let body = json!({"timerange_sec": 60, "interval_sec": interval, "metrics": metrics});
        daemon.call("POST", PATH, &body, 200)["metrics"].as_array().cloned().unwrap_or_default()
    };
    let values = |state: &str| {
        let series = history(1).into_iter().find(|series| series["labels"]["state"] == state);
        let pairs = series.and_then(|series| series["values"].as_array().cloned()).unwrap_or_default();
        pairs
            .iter()
            .map(|pair| (pair[0].as_i64().expect("a time"), pair[1].as_f64().expect("a value")))
            .collect::<Vec<_>>()
    };
    wait("three samples", || values("running").len() >= 3);
    let running = values("running");
    assert!(running.is_sorted() && running.last() > running.first(), "{running:?}");
    assert!(running.windows(2).all(|pair| pair[1].0 - pair[0].0 == 1), "{running:?}");
    daemon.call("PUT", "/api/v3/process/a/command", &json!({"command": "stop"}), 200);
    wait("a series of the new state", || !values("finished").is_empty());
    let finished = values("finished");
    assert!(finished[0].0 > running[0].0 && finished[0].1 == 0.0, "{finished:?} after {running:?}");
    assert!(history(0).is_empty(), "H30");
    assert!(!history(2).is_empty());
}

#[test]
fn h29_all_file_systems_are_measured() {
    let setup = Setup::default().env("CORE_STORAGE_MEMORY_MAX_SIZE_MBYTES", "7");
    let daemon = setup.env("CORE_STORAGE_MEMORY_AUTH_ENABLE", "false").start();
    assert_eq!(daemon.send(&Request::new("PUT", "/memfs/a.ts").body("12345")).status, 201);
    assert_eq!(daemon.send(&Request::new("PUT", "/api/v3/fs/disk/b.ts").body("123")).status, 201);
    let of = |metric: &str, name: &str| value(&daemon, metric, json!({"name": format!("^{name}$")}));
    assert_eq!((of("filesystem_files", "memfs"), of("filesystem_usage", "memfs")), (1.0, 5.0));
    assert_eq!((of("filesystem_limit", "memfs"), of("filesystem_limit", "disk")), (7.0 * 1024.0 * 1024.0, 0.0));
    assert_eq!(of("filesystem_usage", "disk"), 3.0);
}

#[test]
fn queries_are_bounded_and_reading() {
    let daemon = Setup::default().start();
    let many = |count: usize| json!({"metrics": vec![json!({"name": "cpu_ncpu"}); count]});
    assert_eq!(daemon.call("POST", PATH, &many(256), 200)["metrics"].as_array().map(Vec::len), Some(1));
    daemon.call("POST", PATH, &many(257), 400);
    let labels = json!({"processid": r"\w{1000}\w{1000}\w{1000}"});
    assert!(query(&daemon, "restream_process", labels).is_empty());
    for body in [r#"{"metrics":null}"#, r#"{"metrics":[null]}"#, r#"{"metrics":[{"name":"cpu_ncpu","labels":null}]}"#] {
        let request = Request::new("POST", PATH).header("Content-Type", "application/json").body(body);
        // A query changes nothing, so that a page from elsewhere may ask.
        let answer = daemon.send(&request.header("Origin", "http://elsewhere.example"));
        assert_eq!(answer.status, 200, "{body}");
    }
    assert_eq!(daemon.get("/metrics").status, 404, "without metrics.enable_prometheus it is a file");
}

#[test]
fn prometheus_comes_and_goes_with_its_setting() {
    let daemon = Setup::default().env("CORE_METRICS_ENABLE_PROMETHEUS", "true").start();
    assert_eq!(daemon.get("/none").status, 404);
    let scrape = || daemon.get("/metrics").text();
    let text = scrape();
    let sample = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in:\n{text}"));
        line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number")
    };
    assert!(sample(&text, "rill_resident_bytes{") > 1e6);
    // The kernel counts it in ticks.
    wait("CPU time", || sample(&scrape(), "rill_cpu_seconds_total{") > 0.0);
    assert!(sample(&text, "rill_http_connections{") >= 1.0 && sample(&text, "rill_memfs_bound_bytes{") > 0.0);
    assert!(text.contains("rill_http_requests_total{code=\"404\",core="), "{text}");
    assert!(text.contains("rill_build_info{"), "{text}");
    assert!(!text.contains("rill_history_bytes"), "there is none");
}
