//! Live playlists of real FFmpegs that are started anew: viewers see numbers that go on, and one discontinuity.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Setup;
use crate::harness::http::Request;

const PATIENCE: Duration = Duration::from_secs(30);

fn number(playlist: &str, tag: &str) -> Option<u64> {
    playlist.lines().find_map(|line| line.strip_prefix(tag)?.parse().ok())
}

#[test]
fn a_live_playlist_goes_on_when_its_process_is_started_anew() {
    let daemon = Setup::default().start();
    let options = ["-c:v", "mpeg2video", "-g", "5", "-f", "hls", "-hls_time", "1", "-hls_list_size", "3"];
    let process = json!({
        "id": "live",
        "input": [{"id": "in", "address": "testsrc2=size=64x36:rate=5", "options": ["-f", "lavfi", "-re"]}],
        "output": [{"id": "out", "address": "{memfs}/live.m3u8", "options": options}]
    });
    daemon.call("POST", "/api/v3/process", &process, 200);
    let playlist = |wanted: &dyn Fn(&str) -> bool| {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let answer = daemon.send(&Request::get("/memfs/live.m3u8"));
            let text = answer.text().to_string();
            if answer.status == 200 && wanted(&text) {
                return text;
            }
            assert!(std::time::Instant::now() < end, "{}: {text}", answer.status);
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let first = playlist(&|text| text.matches(".ts").count() >= 2);
    assert_eq!(number(&first, "#EXT-X-MEDIA-SEQUENCE:"), Some(0));
    assert!(!first.contains("DISCONTINUITY"));
    // Stopped, so that nothing comes between this look and the end.
    daemon.call("PUT", "/api/v3/process/live/command", &json!({"command": "stop"}), 200);
    daemon.wait_for("/api/v3/process/live/state", PATIENCE, |state: &Value| state["exec"] == "finished");
    let last = playlist(&|text| text.contains("#EXT-X-ENDLIST"));
    let next = number(&last, "#EXT-X-MEDIA-SEQUENCE:").expect("a number") + last.matches(".ts").count() as u64;

    daemon.call("PUT", "/api/v3/process/live/command", &json!({"command": "start"}), 200);
    let marked = playlist(&|text| text.contains("#EXT-X-DISCONTINUITY\n"));
    assert_eq!(number(&marked, "#EXT-X-MEDIA-SEQUENCE:"), Some(next), "{marked}");
    assert_eq!(number(&marked, "#EXT-X-DISCONTINUITY-SEQUENCE:"), Some(0), "{marked}");
    // The marked segment leaves the playlist and is still counted.
    let later = playlist(&|text| !text.contains("#EXT-X-DISCONTINUITY\n"));
    assert!(number(&later, "#EXT-X-MEDIA-SEQUENCE:") > Some(next), "{later}");
    assert_eq!(number(&later, "#EXT-X-DISCONTINUITY-SEQUENCE:"), Some(1), "{later}");

    // What a client uploads is nobody's run.
    let foreign = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:1,\na.ts\n";
    for text in [foreign, &foreign.replace(":7", ":0")] {
        let path = "/api/v3/fs/mem/foreign.m3u8";
        let answer = daemon.send(&Request::new("PUT", path).body(text.as_bytes()));
        assert!(matches!(answer.status, 201 | 204), "{}", answer.status);
        assert_eq!(daemon.send(&Request::get(path)).text(), text);
    }
}
