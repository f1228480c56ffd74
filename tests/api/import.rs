//! `rill import` from outside: old databases and configurations, then a daemon that serves and plays what they held.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Daemon, Setup};

const PATIENCE: Duration = Duration::from_secs(40);

fn golden(name: &str) -> String {
    format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A daemon that is not started yet; its environment names no FFmpeg that is not there.
fn prepared() -> Daemon {
    Daemon::prepare(&Setup::default()).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn import(daemon: &Daemon, arguments: &[&str], expected: i32) -> String {
    let arguments: Vec<&str> = ["import"].iter().chain(arguments).copied().collect();
    let (code, out, errors) = daemon.command(&arguments, &[]);
    assert_eq!(code, expected, "{arguments:?}\n{out}{errors}");
    out + &errors
}

fn db(daemon: &Daemon) -> Option<Value> {
    let bytes = fs::read(daemon.db_dir().join("db.json")).ok()?;
    Some(serde_json::from_slice(&bytes).expect("the database is JSON"))
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).expect("a folder").flatten().map(|entry| entry.file_name().display().to_string()).collect();
    names.sort();
    names
}

#[test]
fn a_restreamer_plays_on() {
    let mut daemon = prepared();
    // What a camera would send: a file that FFmpeg reads in real time, again and again.
    let film = daemon.work_dir().join("film.ts");
    let film = film.to_str().expect("temporary directories have UTF-8 names").to_owned();
    let made = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=10", "-t", "20"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "20", &film])
        .status();
    assert!(made.is_ok_and(|status| status.success()), "FFmpeg makes a film");
    let mut old: Value =
        serde_json::from_str(&fs::read_to_string(golden("restreamer-0.6.8_rtsp-rtmp.json")).unwrap()).unwrap();
    old["addresses"]["srcAddress"] = json!(film);
    old["addresses"]["srcStreams"]["audio"] = Value::Null;
    old["userActions"]["repeatToOptionalOutput"] = json!("stop");
    let v1 = daemon.db_dir().join("v1.json");
    fs::write(&v1, old.to_string()).unwrap();

    let dry = import(&daemon, &["--dry-run"], 0);
    assert!(dry.contains("added    process restreamer-ui:ingest:") && dry.contains("nothing was written"), "{dry}");
    assert_eq!(names(&daemon.db_dir()), ["v1.json"]);
    assert!(!daemon.work_dir().join("config.json").exists());
    import(&daemon, &[], 0);
    let again = import(&daemon, &[], 0);
    assert!(again.contains("nothing changes"), "{again}");

    daemon.resume().unwrap();
    let processes = daemon.json("/api/v3/process");
    let ids: Vec<&str> = processes.as_array().unwrap().iter().filter_map(|process| process["id"].as_str()).collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    let ingest = ids.iter().find(|id| id.starts_with("restreamer-ui:ingest:") && !id.ends_with("_snapshot")).unwrap();
    let channel = ingest.trim_start_matches("restreamer-ui:ingest:");
    let config = daemon.json(&format!("/api/v3/process/{ingest}/config"));
    assert_eq!(config["input"][0]["address"], film.as_str());
    let options = config["output"][0]["options"].to_string();
    // FFmpeg 4's -vsync became what this FFmpeg knows.
    assert!(options.contains(r#""-fps_mode","passthrough""#) && !options.contains("vsync"), "{options}");
    let ui = daemon.json(&format!("/api/v3/process/{ingest}/metadata/restreamer-ui"));
    assert_eq!(ui["imported"], true);
    let config = daemon.json("/api/v3/config");
    assert_eq!(config["config"]["router"]["routes"]["/hls/live.stream.m3u8"], format!("/memfs/{channel}.m3u8"));

    // The old address leads to the stream.
    daemon.wait_for(&format!("/api/v3/process/{ingest}/state"), PATIENCE, |state| state["exec"] == "running");
    daemon.wait_for(&format!("/api/v3/fs/mem?glob=/{channel}_*.ts"), PATIENCE, |files| {
        files.as_array().is_some_and(|files| files.len() > 1)
    });
    let response = daemon.get("/hls/live.stream.m3u8");
    let location = response.header("location");
    let playlist =
        if response.status == 200 { response } else { daemon.get(&location.expect("a redirect names its target")) };
    assert!(playlist.text().contains("#EXTM3U") && playlist.text().contains(".ts"), "{}", playlist.text());
    daemon.stop();
}

#[test]
fn a_core_is_served_and_written_back_as_version_4() {
    for name in ["core_db-1.json", "core_db-2.json", "core_db-3.json", "core-16.16_db-4.json", "core-16.18_db-4.json"] {
        let mut daemon = prepared();
        import(&daemon, &[&golden(name)], 0);
        daemon.resume().unwrap();
        let config = daemon.json("/api/v3/process/front/config");
        assert_eq!(config["reconnect_delay_seconds"], 15, "{name}");
        assert_eq!(config["limits"]["memory_mbytes"], 100);
        assert_eq!(config["input"][0]["options"][2], "-timeout", "adapted: {config}");
        daemon.call("PUT", "/api/v3/process/front/metadata/note", &json!("written back"), 200);
        daemon.stop();
        let db = db(&daemon).expect("a database");
        assert_eq!(db["version"], 4);
        assert_eq!(db["process"]["front"]["config"]["limit_memory_bytes"], 104_857_600);
        assert_eq!(db["metadata"]["process"]["front"]["note"], "written back");
    }
}

#[test]
fn what_is_there_gives_way_only_by_force() {
    let mut daemon = prepared();
    let (four, one) = (golden("core-16.16_db-4.json"), golden("core_db-1.json"));
    import(&daemon, &[&four], 0);
    let first = db(&daemon);
    let refused = import(&daemon, &[&one], 1);
    assert!(refused.contains("--force"), "{refused}");
    assert_eq!(db(&daemon), first);
    import(&daemon, &["--force", &one], 0);
    let merged = db(&daemon).unwrap();
    assert_eq!(merged["process"]["front"]["config"]["limit_cpu_usage"], 0.0);
    assert!(merged["process"]["back door/2"].is_object(), "what is stored beside it stays");
    let previous: Value = serde_json::from_slice(&fs::read(daemon.db_dir().join("db.json.prev")).unwrap()).unwrap();
    assert_eq!(Some(previous), first);

    daemon.resume().unwrap();
    let running = import(&daemon, &["--force", &four], 1);
    assert!(running.contains("stop it first"), "{running}");
    daemon.stop();
}

#[test]
fn settings_are_taken_over_and_checked() {
    let mut daemon = prepared();
    let shown = import(&daemon, &[&golden("core_config-2.json"), "--dry-run"], 0);
    assert!(shown.contains("changed  setting rtmp.app: \"/\" becomes \"/live\""), "{shown}");
    assert!(!shown.contains("correct horse"), "{shown}");
    import(&daemon, &[&golden("core_config-2.json")], 0);
    daemon.resume().unwrap();
    assert_eq!(daemon.get("/api/v3/config").status, 200, "localhost needs no login, as there");
    let config = daemon.json("/api/v3/config");
    assert_eq!(config["config"]["storage"]["memory"]["max_size_mbytes"], 200);
    assert_eq!(config["config"]["update_check"], false);
    daemon.stop();
    let refused = import(&daemon, &[&golden("core_config-3.json")], 1);
    assert!(refused.contains("config.json is there already"), "{refused}");
    import(&daemon, &[&golden("core_config-3.json"), "--force"], 0);
    assert!(daemon.work_dir().join("config.json.prev").exists());

    let mut broken: Value = serde_json::from_str(&fs::read_to_string(golden("core_config-3.json")).unwrap()).unwrap();
    broken["address"] = json!("nowhere");
    broken["service"] = json!({"url": 5});
    let file = daemon.work_dir().join("broken.json");
    fs::write(&file, broken.to_string()).unwrap();
    let refused = import(&daemon, &["broken.json", "--force"], 1);
    assert!(refused.contains("broken.json: expect type 'string' for 'service.url', found number"), "{refused}");
}

#[test]
fn broken_files_are_refused_by_name_and_place() {
    let daemon = prepared();
    let file = daemon.work_dir().join("old.json");
    for (content, expected) in [
        ("{\n  \"version\": 4,\n  oops", "old.json: syntax error at line 3, character 3"),
        ("", "old.json: syntax error at line 1, character 0"),
        ("[]", "is neither Restreamer's v1.json nor Core's"),
        ("{\"version\": 9, \"process\": {}}", "old.json: its version is 9; versions 1 to 4 can be imported"),
        (
            "{\"addresses\": {\"srcAddress\": []}, \"userActions\": {}}",
            "old.json: addresses.srcAddress: expected text, found a list",
        ),
        (&"[".repeat(100_000), "old.json: syntax error at line 1"),
    ] {
        fs::write(&file, content).unwrap();
        let refused = import(&daemon, &["old.json"], 1);
        assert!(refused.contains(expected), "{refused}");
    }
    fs::File::create(&file).unwrap().set_len(65 * 1024 * 1024).unwrap();
    let refused = import(&daemon, &["old.json"], 1);
    assert!(refused.contains("old.json can't be read"), "{refused}");
    let missing = import(&daemon, &["nothing.json"], 1);
    assert!(missing.contains("nothing.json does not exist"), "{missing}");
    assert!(import(&daemon, &[], 0).contains("there is nothing to import"));
    assert_eq!(import(&daemon, &["--nonsense"], 2), "rill: invalid option '--nonsense'; see rill --help\n");
    assert_eq!(names(&daemon.db_dir()), Vec::<String>::new());
}

#[test]
fn definitions_follow_an_upgrade_of_ffmpeg() {
    let daemon = prepared();
    import(&daemon, &[&golden("core-16.16_db-4.json"), "--to", "4.4.1"], 0);
    let before = db(&daemon).unwrap();
    assert_eq!(before["process"]["front"]["config"]["output"][0]["options"][2], "-vsync");
    let dry = import(&daemon, &["ffmpeg", "--to", "7.1", "--dry-run"], 0);
    assert!(dry.contains("changed  process front: -stimeout becomes -timeout"), "{dry}");
    assert_eq!(db(&daemon).unwrap(), before);
    import(&daemon, &["ffmpeg", "--to", "7.1"], 0);
    let config = &db(&daemon).unwrap()["process"]["front"]["config"];
    let input = json!(["-rtsp_transport", "tcp", "-timeout", "5000000", "-listen_timeout", "30"]);
    assert_eq!((&config["ffversion"], &config["input"][0]["options"]), (&json!("^7.1.0"), &input));
    assert_eq!(config["output"][0]["options"][5], "volume=1,aresample=osr=44100:ochl=stereo");
    let backup = names(&daemon.db_dir()).into_iter().find(|name| name.starts_with("db.1")).expect("a copy");
    let backup: Value = serde_json::from_slice(&fs::read(daemon.db_dir().join(backup)).unwrap()).unwrap();
    assert_eq!(backup, before);
    assert!(import(&daemon, &["ffmpeg", "--to", "7.1"], 0).contains("nothing changes"));
}
