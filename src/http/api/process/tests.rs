//! The process API without HTTP: selection, filters and the shape of views on the wire.

use std::rc::Rc;

use serde_json::{Value, json};

use super::*;
use crate::cgroup::Stats;
use crate::ffmpeg::{FrameRate, IoProgress, Progress};
use crate::process::{Order, State as Exec};
use crate::supervisor::{ReportView, StateView};

fn view(id: &str, reference: &str) -> ProcessView {
    ProcessView {
        config: Rc::new(ProcessConfig { id: id.to_owned(), reference: reference.to_owned(), ..Default::default() }),
        revision: 1,
        created_at: 1_700_000_000,
        updated_at: 1_700_000_001,
        state: None,
        invalid: Some("no such thing".to_owned()),
        report: None,
        metadata: None,
    }
}

fn query(text: &str) -> Query {
    Query::parse(text)
}

fn shown(view: &ProcessView, filter: &str) -> Value {
    let mut out = Vec::new();
    write(&mut out, view, Filter::new(&query(filter))).unwrap();
    serde_json::from_slice(&out).unwrap()
}

#[track_caller]
fn check_select(text: &str, expected: &[&str]) {
    let views = [("cam:1", "front"), ("cam:2", "back"), ("cam:3", "front"), ("rec_1", "archive"), ("a,b", "front")]
        .map(|(id, reference)| view(id, reference));
    let found = select(views.to_vec(), &query(text));
    let ids: Vec<&str> = found.iter().map(|v| v.config.id.as_str()).collect();
    assert_eq!(ids, expected, "{text}");
}

#[test]
fn lists_are_narrowed() {
    check_select("id=cam:1,rec_1,nope", &["cam:1", "rec_1"]);
    check_select("id=cam:1,cam:1", &["cam:1"]);
    check_select("id=a%2Cb", &[]);
    check_select("reference=front&id=cam:2", &["cam:1", "cam:3", "a,b"]);
    check_select("idpattern=cam*&refpattern=f*", &["cam:1", "cam:3"]);
    check_select("idpattern=cam*&id=cam:2,rec_1", &["cam:2"]);
    check_select("idpattern=*&reference=archive", &["rec_1"]);
    check_select("idpattern=%5B", &[]);
    check_select("idpattern=&id=", &["cam:1", "cam:2", "cam:3", "rec_1", "a,b"]);
}

#[test]
fn filters_select_parts() {
    let keys = |filter: &str| -> Vec<String> {
        let value = shown(&view("a", ""), filter);
        value.as_object().unwrap().keys().filter(|k| !k.ends_with("_at")).cloned().collect()
    };
    assert_eq!(keys("filter=none"), ["id", "reference", "type"]);
    assert_eq!(keys("filter=foo,metadata"), ["id", "metadata", "reference", "type"]);
    assert_eq!(keys("filter= state"), ["id", "reference", "type"]);
    for all in ["", "filter=", "filter=,"] {
        assert_eq!(keys(all), ["config", "id", "metadata", "reference", "report", "state", "type"]);
    }
}

#[test]
fn an_invalid_process_shows_zero_values_and_the_reason() {
    let value = shown(&view("bad", ""), "filter=state,report,metadata");
    let progress = json!({"inputs": [], "outputs": [], "frame": 0, "packet": 0, "fps": 0, "q": 0, "size_kb": 0,
        "time": 0, "bitrate_kbit": 0, "speed": 0, "drop": 0, "dup": 0});
    let state = json!({"order": "", "exec": "", "runtime_seconds": 0, "reconnect_seconds": 0, "last_logline": "",
        "progress": progress, "memory_bytes": 0, "cpu_usage": 0, "command": null,
        "rill": {"invalid": "no such thing"}});
    assert_eq!(value["state"], state);
    let report = json!({"created_at": -62_135_596_800_i64, "prelude": null, "log": [], "history": []});
    assert_eq!(value["report"], report);
    assert_eq!(value["metadata"], Value::Null);
}

fn running() -> ProcessView {
    let video = IoProgress {
        id: "in".to_owned(),
        address: "pipe:".to_owned(),
        kind: "video".to_owned(),
        size_bytes: 2047,
        framerate: FrameRate { min: 24.9, max: 25.0, avg: 24.9876 },
        bitrate: 2048.0,
        width: 160,
        pix_fmt: "yuv420p".to_owned(),
        ..IoProgress::default()
    };
    let progress = Progress {
        inputs: vec![video],
        frame: 7,
        fps: 25.0,
        time: 1.2345,
        bitrate: 1536.0,
        size_bytes: 4096,
        ..Progress::default()
    };
    let state = StateView {
        order: Order::Start,
        state: Exec::Running,
        runtime_seconds: 3,
        reconnect_seconds: -1,
        last_logline: "line".to_owned(),
        progress: Rc::new(progress.into()),
        memory_bytes: 9,
        cpu_percent: 1.0 / 3.0,
        group: None,
        command: Rc::new(vec!["-y".to_owned()]),
    };
    let log = vec![(12, "line".to_owned())];
    let run = ReportView { created_at: 11, prelude: vec!["p".to_owned()], log, ..ReportView::default() };
    let report = ReportView { history: vec![Rc::new(run.clone())], ..run };
    ProcessView { state: Some(state), invalid: None, report: Some(Rc::new(report)), ..view("a", "") }
}

#[test]
fn a_control_group_on_the_wire() {
    let mut view = running();
    let group = Stats {
        memory: 9,
        memory_peak: 10,
        oom_kills: 2,
        cpu_us: 1_500_000,
        throttled_us: 1,
        threads: 12,
        memory_pressure: 2.5,
        ..Stats::default()
    };
    view.state.as_mut().unwrap().group = Some(group);
    let expected = json!({"memory_bytes": 9, "memory_peak_bytes": 10, "oom_kills": 2, "cpu_seconds": 1.5,
        "throttled_seconds": 0, "threads": 12, "refused_threads": 0, "pressure": {"cpu": 0, "memory": 2.5, "io": 0}});
    assert_eq!(shown(&view, "filter=state")["state"]["rill"], json!({"group": expected}));
}

#[test]
fn a_running_process_on_the_wire() {
    let value = shown(&running(), "filter=state,report");
    let (state, progress) = (&value["state"], &value["state"]["progress"]);
    assert_eq!([&state["order"], &state["exec"]], ["start", "running"]);
    assert_eq!((&state["cpu_usage"], &state["command"]), (&json!(0.333), &json!(["-y"])));
    assert_eq!(state.get("rill"), None);
    let totals = ["fps", "time", "bitrate_kbit", "size_kb", "frame"].map(|key| progress[key].clone());
    assert_eq!(totals, [json!(25), json!(1.235), json!(1.5), json!(4), json!(7)]);
    let stream = json!({"id": "in", "address": "pipe:", "index": 0, "stream": 0, "format": "", "type": "video",
        "codec": "", "coder": "", "frame": 0, "keyframe": 0, "framerate": {"min": 24.9, "max": 25.0, "avg": 24.988},
        "fps": 0.0, "packet": 0, "pps": 0.0, "size_kb": 1, "bitrate_kbit": 2.0, "extradata_size_bytes": 0,
        "pix_fmt": "yuv420p", "q": 0.0, "width": 160, "avstream": null});
    assert_eq!(progress["inputs"], json!([stream]));
    let run = json!({"created_at": 11, "prelude": ["p"], "log": [["12", "line"]]});
    let mut report = run.clone();
    report["history"] = json!([run]);
    assert_eq!(value["report"], report);
    let view = running();
    assert_eq!(shown(&view, "filter=report"), shown(&view, "filter=report"), "rendered once, shown twice");
}
