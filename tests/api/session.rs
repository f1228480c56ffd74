//! Viewers from outside: a burst against the limits, forwarded headers, fragmented MP4, ranges, reloads, restarts.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::http::{self, Request, Response};
use crate::harness::{Daemon, Setup};

const PATIENCE: Duration = Duration::from_secs(40);
const ACTIVE: &str = "/api/v3/session/active?collectors=hls";

/// Loopback is counted.
fn setup() -> Setup {
    Setup::default().env("CORE_STORAGE_MEMORY_AUTH_ENABLE", "false").env("CORE_SESSIONS_IP_IGNORELIST", "")
}

fn put(daemon: &Daemon, path: &str, body: impl Into<Vec<u8>>) {
    let status = daemon.send(&Request::new("PUT", path).body(body)).status;
    assert!(status == 201 || status == 204, "{path}: {status}");
}

fn stream(daemon: &Daemon) {
    put(daemon, "/memfs/live.m3u8", "#EXTM3U\n#EXTINF:2,\nlive_1.ts\n");
    put(daemon, "/memfs/live_1.ts", vec![7; 300_000]);
}

/// The session that an entrance gives.
fn session_in(entrance: &Response) -> String {
    let text = entrance.text();
    text.rsplit_once("session=").unwrap_or_else(|| panic!("no session in {text}")).1.trim_end().to_owned()
}

fn reload(daemon: &Daemon, sessions: &Value) {
    daemon.call("PUT", "/api/v3/config", &json!({"version": 3, "sessions": sessions}), 200);
    assert_eq!(daemon.json("/api/v3/config/reload"), "OK");
}

fn max_sessions(daemon: &Daemon, expected: u64) {
    daemon.wait_for("/api/v3/session?collectors=hls", PATIENCE, |all| all["hls"]["active"]["max_sessions"] == expected);
}

/// H57: those who have not loaded a segment yet count.
#[test]
fn a_burst_of_viewers_does_not_pass_the_limit() {
    let daemon = setup().env("CORE_SESSIONS_MAX_SESSIONS", "3").start();
    stream(&daemon);
    let own = session_in(&daemon.get("/memfs/live.m3u8"));
    let playlist = format!("/memfs/live.m3u8?session={own}");
    assert_eq!(daemon.get(&playlist).status, 200);
    let (address, together) = (daemon.address(), Arc::new(Barrier::new(50)));
    let viewers: Vec<_> = (0..50)
        .map(|_| {
            let together = together.clone();
            std::thread::spawn(move || {
                let get = |path: &str| http::send(address, &Request::get(path), http::TIMEOUT).expect("an answer");
                let session = session_in(&get("/memfs/live.m3u8"));
                together.wait();
                get(&format!("/memfs/live.m3u8?session={session}")).status
            })
        })
        .collect();
    let statuses: Vec<u16> = viewers.into_iter().map(|viewer| viewer.join().expect("no panic")).collect();
    let with = |status: u16| statuses.iter().filter(|&&seen| seen == status).count();
    assert_eq!((with(200), with(509)), (2, 48), "{statuses:?}");
    let refused = daemon.get("/memfs/live.m3u8").json().expect("JSON");
    let expected =
        json!({"code": 509, "message": "Bandwith limit exceeded", "details": ["Number of sessions exceeded"]});
    assert_eq!(refused, expected);
    assert_eq!(daemon.get(&playlist).status, 200, "who is in stays in");
}

#[test]
fn forwarded_headers_of_strangers_mean_nothing() {
    let daemon = Setup::default().env("CORE_STORAGE_MEMORY_AUTH_ENABLE", "false").start();
    stream(&daemon);
    let forwarded = |path: &str| {
        daemon.send(&Request::get(path).header("X-Forwarded-For", "203.0.113.77").header("X-Real-IP", "203.0.113.77"))
    };
    assert!(!forwarded("/memfs/live.m3u8").text().contains("session="), "loopback stays on the ignore list");
    reload(&daemon, &json!({"ip_ignorelist": [], "max_sessions": 9}));
    max_sessions(&daemon, 9);
    let entrance = forwarded("/memfs/live.m3u8");
    assert_eq!(entrance.header("cache-control").as_deref(), Some("private"), "H46");
    let session = session_in(&entrance);
    forwarded(&format!("/memfs/live.m3u8?session={session}"));
    forwarded(&format!("/memfs/live_1.ts?session={session}"));
    assert_eq!(daemon.json(ACTIVE)["hls"][0]["extra"], "[127.0.0.0] golden");
}

#[test]
fn fragments_and_parts_of_them_count() {
    let daemon = setup().start();
    let text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:2,\n1.m4s\n";
    put(&daemon, "/memfs/a/init.mp4", vec![1; 1000]);
    put(&daemon, "/memfs/a/1.m4s", vec![2; 200_000]);
    put(&daemon, "/memfs/a/live.m3u8", text);
    let ingest = daemon.json("/api/v3/session/active?collectors=hlsingress");
    let received = ingest["hlsingress"][0]["bytes_rx"].as_u64().expect("bytes");
    assert!((201_000..203_000).contains(&received), "{ingest}");
    let session = session_in(&daemon.get("/memfs/a/live.m3u8"));
    let playlist = daemon.get(&format!("/memfs/a/live.m3u8?session={session}")).text();
    assert_eq!(
        playlist.replace(&session, "ID"),
        text.replace("init.mp4", "init.mp4?session=ID").replace("1.m4s", "1.m4s?session=ID")
    );
    assert_eq!(daemon.json(ACTIVE), json!({"hls": []}));
    daemon.get(&format!("/memfs/a/init.mp4?session={session}"));
    let part = Request::get(&format!("/memfs/a/1.m4s?session={session}")).header("Range", "bytes=0-99999");
    assert_eq!(daemon.send(&part).status, 206);
    let counted =
        |all: &Value| all["hls"][0]["bytes_tx"].as_u64().is_some_and(|bytes| (101_000..103_000).contains(&bytes));
    daemon.wait_for(ACTIVE, PATIENCE, counted);
    let list = daemon.json(ACTIVE);
    assert_eq!(
        (&list["hls"][0]["local"], &list["hls"][0]["reference"]),
        (&json!("/memfs/a/live.m3u8"), &json!("live"))
    );
}

/// What a viewer sees of a playlist follows its file, also on disk.
#[test]
fn a_new_version_is_rewritten_anew() {
    let daemon = setup().start();
    for mount in ["/memfs", "/api/v3/fs/disk"] {
        let file = format!("{}/x.m3u8?session=2222222222222222222222", mount.replace("/api/v3/fs/disk", ""));
        for segment in ["1.ts", "2.ts", "1.ts"] {
            put(&daemon, &format!("{mount}/x.m3u8"), format!("{segment}\n"));
            for _ in 0..2 {
                let part = Request::get(&file).header("Range", "bytes=0-3");
                assert_eq!(daemon.send(&part).text(), format!("{segment}?session=2222222222222222222222\n"));
            }
        }
    }
}

#[test]
fn a_reload_keeps_viewers_and_a_restart_their_history() {
    let mut daemon = setup().env("CORE_SESSIONS_PERSIST", "true").start();
    stream(&daemon);
    let session = session_in(&daemon.get("/memfs/live.m3u8"));
    daemon.get(&format!("/memfs/live.m3u8?session={session}"));
    daemon.get(&format!("/memfs/live_1.ts?session={session}"));
    reload(&daemon, &json!({"max_sessions": 1}));
    max_sessions(&daemon, 1);
    assert_eq!(daemon.json(ACTIVE)["hls"][0]["id"], session.as_str());
    assert_eq!(daemon.get("/memfs/live.m3u8").status, 509);
    assert_eq!(daemon.get(&format!("/memfs/live.m3u8?session={session}")).status, 200);
    assert!(daemon.stop().success());
    assert!(daemon.db_dir().join("sessions/hls.json").exists());
    daemon.resume().unwrap_or_else(|error| panic!("{error}"));
    let summary = &daemon.json("/api/v3/session?collectors=hls")["hls"]["summary"];
    assert_eq!((&summary["sessions"], &summary["local"]["/memfs/live.m3u8"]["sessions"]), (&json!(1), &json!(1)));
}
