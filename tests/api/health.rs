//! A board that is not well: as an alarm in words, as an event and as a metric, until it is well again. All that can be
//! wrong is in `src/monitor/health_tests.rs`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::events::Stream;
use crate::harness::{Daemon, Setup};

/// Two looks at an idle board.
const PATIENCE: Duration = Duration::from_secs(90);

fn board(daemon: &Daemon, file: &str, text: &str) {
    let path = daemon.work_dir().join("board").join(file);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

/// Keys and texts of the standing alarms of the board.
fn alarms(about: &Value) -> Vec<(String, String)> {
    let all = about["rill"]["alarms"].as_array().cloned().unwrap_or_default();
    let ours = all.into_iter().filter(|alarm| alarm["component"] == "Health");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ours.map(|alarm| (text(&alarm["key"]), text(&alarm["text"]))).collect()
}

fn metric(daemon: &Daemon, condition: &str) -> String {
    let text = daemon.get("/metrics").text();
    let mut lines = text.lines().filter(|line| line.starts_with("rill_health{"));
    let line = lines.find(|line| line.contains(&format!("condition=\"{condition}\"")));
    line.unwrap_or_else(|| panic!("{condition} is not in {text}")).rsplit(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn a_hot_board_says_so_until_it_is_cool() {
    let setup = Setup::default()
        .env("CORE_METRICS_ENABLE_PROMETHEUS", "true")
        .env("CORE_SRT_ENABLE", "true")
        .env("CORE_SRT_ADDRESS", "127.0.0.1:${SRT_PORT}");
    let mut daemon = Daemon::prepare(&setup).expect("a folder");
    let temperature = "sys/class/thermal/thermal_zone0/temp";
    board(&daemon, temperature, "86000\n");
    board(&daemon, "proc/sys/net/core/rmem_max", "212992\n");
    board(&daemon, "proc/self/mountinfo", "24 1 179:2 / / ro,noatime - ext4 /dev/mmcblk0p2 ro\n");
    daemon.resume().expect("a daemon");
    let about = daemon.wait_for("/api", PATIENCE, |about| alarms(about).len() == 3);
    let [(heat, text), (storage, broken), (buffer, room)] = &alarms(&about)[..] else { panic!("{about}") };
    assert_eq!([heat.as_str(), storage, buffer], ["heat", "storage_failing", "receive_buffer"]);
    assert_eq!(text, "The board is at 86 °C and slows itself down. Give it air or a heat sink.");
    let state = daemon.db_dir();
    assert!(broken.contains("of settings") && broken.contains(&state.display().to_string()), "{broken}");
    assert!(room.contains("net.core.rmem_max=4194304"), "{room}");
    assert_eq!(metric(&daemon, "heat"), "1");
    assert_eq!(metric(&daemon, "under_voltage"), "0");

    let mut stream = Stream::open(&daemon, "types=alarm", &[]);
    board(&daemon, temperature, "61000\n");
    let process = json!({
        "id": "live",
        "input": [{"id": "in", "address": "testsrc=size=64x36:rate=5", "options": ["-f", "lavfi", "-re"]}],
        "output": [{"id": "out", "address": "-", "options": ["-f", "null"]}]
    });
    daemon.call("POST", "/api/v3/process", &process, 200);
    daemon.wait_for("/api", PATIENCE, |about| alarms(about).len() == 2);
    let cleared = stream.expect("alarm");
    assert_eq!((&cleared["raised"], &cleared["key"]), (&json!(false), &json!("heat")), "{cleared}");
    assert_eq!(metric(&daemon, "heat"), "0");
    // While a process runs, it is looked at more often.
    board(&daemon, "sys/class/hwmon/hwmon2/name", "rpi_volt\n");
    board(&daemon, "sys/class/hwmon/hwmon2/in0_lcrit_alarm", "1\n");
    let raised = stream.expect("alarm");
    assert_eq!((&raised["raised"], &raised["key"]), (&json!(true), &json!("under_voltage")), "{raised}");
    assert!(raised["text"].as_str().is_some_and(|text| text.starts_with("The power supply is too weak")), "{raised}");
    assert!(Path::new(&daemon.work_dir().join("db/db.json")).exists(), "it is only told to be broken");
}
