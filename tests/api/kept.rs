//! What the daemon keeps for the rescue page beside its configuration: the login, where it listens, and that settings were
//! restored; and that a configuration which is lost does not open the box.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::http::Request;
use crate::harness::{Daemon, Setup};

const PATIENCE: Duration = Duration::from_secs(20);

fn with_login() -> Setup {
    let auth = json!({"enable": true, "username": "admin", "password": "pass-word"});
    Setup { config_file: Some(json!({"version": 3, "api": {"auth": auth}})), ..Setup::default() }
}

fn content(daemon: &Daemon, name: &str) -> Option<Value> {
    serde_json::from_slice(&fs::read(daemon.work_dir().join(name)).ok()?).ok()
}

/// Waits until the file says what is wanted.
#[track_caller]
fn wait_for(daemon: &Daemon, name: &str, wanted: impl Fn(Option<&Value>) -> bool) -> Option<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = content(daemon, name);
        if wanted(found.as_ref()) {
            return found;
        }
        assert!(Instant::now() < end, "{name} never became what was wanted; last: {found:?}\n{}", daemon.log_tail());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn login(daemon: &Daemon, password: &str) -> u16 {
    let body = json!({"username": "admin", "password": password});
    daemon.send(&Request::new("POST", "/api/login").json(&body)).status
}

fn lose_config(daemon: &mut Daemon) {
    assert!(daemon.stop().success());
    for name in ["config.json", "config.json.prev"] {
        let _ = fs::remove_file(daemon.work_dir().join(name));
    }
    daemon.resume().unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn address_and_login_are_written_when_they_change() {
    let mut daemon = with_login().start();
    let bound = wait_for(&daemon, "bound.json", |found| found.is_some()).expect("waited for it");
    assert!(bound["http"][0].as_str().is_some_and(|text| text.ends_with(&format!(":{}", daemon.address().port()))));
    let kept = wait_for(&daemon, "auth.json", |found| found.is_some()).expect("waited for it");
    assert_eq!(kept["username"], "admin");
    assert!(!kept.to_string().contains("pass-word"));
    assert!(daemon.stop().success());
    daemon.resume().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(login(&daemon, "pass-word"), 200);
    assert_eq!(content(&daemon, "auth.json"), Some(kept), "the same salt: it was not written again");
}

#[test]
fn a_login_outlives_the_configuration() {
    let mut daemon = with_login().start();
    wait_for(&daemon, "auth.json", |found| found.is_some());
    lose_config(&mut daemon);
    // The second start finds a file with defaults, which asks for no login.
    for _ in 0..2 {
        assert_eq!(daemon.get("/api/v3/config").status, 401);
        assert_eq!(login(&daemon, "pass-word"), 200);
        assert_eq!(content(&daemon, "auth.json").expect("it is there")["stays"], true);
        assert!(daemon.stop().success());
        daemon.resume().unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(login(&daemon, "another"), 401);
    assert!(daemon.log().contains("stays in force"));
}

#[test]
fn without_a_kept_login_a_lost_configuration_is_as_ever() {
    let mut daemon = Setup::default().start();
    wait_for(&daemon, "bound.json", |found| found.is_some());
    lose_config(&mut daemon);
    assert_eq!(daemon.get("/api/v3/config").status, 200);
    assert_eq!(content(&daemon, "auth.json"), None);
}

#[test]
fn a_login_that_is_switched_off_is_forgotten() {
    let mut daemon = with_login().start();
    wait_for(&daemon, "auth.json", |found| found.is_some());
    assert!(daemon.stop().success());
    let mut config = content(&daemon, "config.json").expect("it is there");
    config["api"]["auth"]["enable"] = false.into();
    fs::write(daemon.work_dir().join("config.json"), config.to_string()).expect("written");
    daemon.resume().unwrap_or_else(|error| panic!("{error}"));
    wait_for(&daemon, "auth.json", |found| found.is_none());
    assert_eq!(daemon.get("/api/v3/config").status, 200);
}

#[test]
fn what_rescue_has_restored_is_an_alarm_until_settings_are_loaded() {
    let mut daemon = Setup::default().start();
    assert!(daemon.stop().success());
    let record =
        json!({"version": 1, "at": 7, "refused": "config.json.refused", "reason": "log.level: x", "told": false});
    fs::write(daemon.work_dir().join("rescue.json"), record.to_string()).expect("written");
    daemon.resume().unwrap_or_else(|error| panic!("{error}"));
    let has_alarm = |about: &Value| {
        let alarms = about["rill"]["alarms"].as_array().cloned().unwrap_or_default();
        alarms.iter().any(|alarm| alarm["text"].as_str().is_some_and(|text| text.contains("config.json.refused")))
    };
    daemon.wait_for("/api", PATIENCE, has_alarm);
    assert_eq!(content(&daemon, "rescue.json").expect("it stays")["told"], true);
    assert_eq!(daemon.get("/api/v3/config/reload").status, 200);
    daemon.wait_for("/api", PATIENCE, |about| !has_alarm(about));
    assert_eq!(content(&daemon, "rescue.json"), None);
}
