//! What FFmpegs can't touch, by real ones on this kernel: the daemon's files, whatever names them.
//!
//! Folders of these tests lie outside of `/tmp`, which FFmpegs may use.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Daemon, Setup};
use crate::service::start_child;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// Copies `input` to nowhere; whether FFmpeg could read it, and all that it said.
#[track_caller]
fn reads(daemon: &Daemon, id: &str, input: &Value) -> (bool, String) {
    let process = json!({
        "id": id,
        "input": [input],
        "output": [{"id": "out", "address": "-", "options": ["-map", "0", "-f", "null"]}]
    });
    daemon.call("POST", "/api/v3/process", &process, 200);
    let ended = |state: &Value| state["exec"] == "failed" || state["exec"] == "finished";
    let state = daemon.wait_for(&format!("/api/v3/process/{id}/state"), PATIENCE, ended);
    let report = daemon.call("GET", &format!("/api/v3/process/{id}/report"), &Value::Null, 200);
    (state["exec"] == "finished", report.to_string())
}

fn raw(path: &Path) -> Value {
    let options = ["-f", "rawvideo", "-pixel_format", "gray", "-video_size", "4x4"];
    json!({"id": "in", "address": path, "options": options})
}

fn playlist(path: &Path) -> Value {
    json!({"id": "in", "address": path, "options": ["-f", "concat", "-safe", "0"]})
}

#[test]
fn ffmpegs_read_their_inputs_and_not_the_settings() {
    let (state, media) = (folder(), folder());
    let secret = state.path().join("secret.yuv");
    std::fs::write(&secret, [0; 64]).expect("a file");
    let clip = media.path().join("clip.yuv");
    std::fs::write(&clip, [0; 64]).expect("a file");
    // An input that is allowed names one that is not.
    let list = media.path().join("list.ffconcat");
    let entry =
        format!("ffconcat version 1.0\nfile '{}'\noption video_size 4x4\noption pixel_format gray\n", secret.display());
    std::fs::write(&list, entry).expect("a file");
    let setup = || Setup::default().env("CORE_DB_DIR", &state.path().display().to_string());

    let daemon = setup().start();
    let shown = |daemon: &Daemon| daemon.call("GET", "/api/v3/hardware", &Value::Null, 200)["sandbox"].take();
    assert_eq!(shown(&daemon), json!({"mode": "landlock", "reason": null}));
    let (can, said) = reads(&daemon, "clip", &raw(&clip));
    assert!(can, "{said}");
    for (id, input) in [("direct", raw(&secret)), ("list", playlist(&list))] {
        let (can, said) = reads(&daemon, id, &input);
        assert!(!can && said.contains("Permission denied"), "{id}: {said}");
    }
    drop(daemon);

    // These can be read where nothing is in the way.
    let daemon = setup().env("RILL_FFMPEG_SANDBOX", "false").start();
    assert_eq!(shown(&daemon), json!({"mode": "none", "reason": "rill.ffmpeg_sandbox is off"}));
    let (can, said) = reads(&daemon, "direct-open", &raw(&secret));
    assert!(can, "{said}");
}

#[test]
fn what_is_configured_is_open() {
    let (media, more) = (folder(), folder());
    let clip = media.path().join("clip.yuv");
    std::fs::write(&clip, [0; 64]).expect("a file");
    let movie = |path: &Path| json!({"id": "in", "address": format!("movie={}:f=rawvideo", path.display()), "options": ["-f", "lavfi"]});

    let daemon = Setup::default().start();
    let (can, said) = reads(&daemon, "shut", &movie(&clip));
    assert!(!can && said.contains("Permission denied"), "{said}");
    drop(daemon);

    let paths = format!("{},{}", more.path().display(), media.path().display());
    let daemon = Setup::default().env("RILL_FFMPEG_PATHS", &paths).start();
    let (_, said) = reads(&daemon, "open", &movie(&clip));
    assert!(!said.contains("Permission denied"), "{said}");
}

#[test]
fn memory_that_is_out_is_taken_from_children_first() {
    let daemon = Setup::default().start();
    let child = start_child(&daemon);
    let score = |pid: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("it runs");
        text.trim().parse::<i32>().expect("a number")
    };
    assert_eq!(score(&child), 300);
    assert!(score(&daemon.pid().to_string()) < 300);
}
