//! Update check, service reports and the box's address, against stand-ins on loopback, also silent ones.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Setup;

/// The first update check waits up to twenty seconds.
const PATIENCE: Duration = Duration::from_secs(40);

/// Answers every request by its path and tells path and body; the address.
fn service() -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let (tx, rx) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Some(told) = answer(stream)
                && tx.send(told).is_err()
            {
                return;
            }
        }
    });
    (address, rx)
}

fn answer(mut stream: TcpStream) -> Option<(String, String)> {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    let (head, body) = loop {
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        text.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&text);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let path = head.split(' ').nth(1)?.to_owned();
    let answer = match path.as_str() {
        "/version" => r#"{"latest_version": "datarhei-core v16.99.0"}"#.to_owned(),
        "/address" => "192.0.2.7".to_owned(),
        "/api/v1/token/login" => r#"{"access_token": "a1", "token_type": "Bearer"}"#.to_owned(),
        _ => r#"{"next_update": 3600}"#.to_owned(),
    };
    let length = answer.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}").ok()?;
    Some((path, body))
}

#[test]
fn what_is_switched_on_is_told_and_heard() {
    let (url, heard) = service();
    let daemon = Setup::default()
        .env("CORE_ID", "box one")
        .env("CORE_UPDATE_CHECK", "true")
        .env("RILL_UPDATE_URL", &format!("{url}/version"))
        .env("CORE_HOST_AUTO", "true")
        .env("RILL_ADDRESS_URLS", &format!("{url}/address,{url}/address"))
        .env("CORE_SERVICE_ENABLE", "true")
        .env("CORE_SERVICE_TOKEN", "service secret")
        .env("CORE_SERVICE_URL", &url)
        .start();
    let config =
        daemon.wait_for("/api/v3/config", PATIENCE, |view| view["config"]["host"]["name"] == json!(["192.0.2.7"]));
    // Sent back as it was shown, it is not stored.
    daemon.call("PUT", "/api/v3/config", &config["config"], 200);
    let stored = std::fs::read_to_string(daemon.work_dir().join("config.json")).expect("stored");
    let stored: Value = serde_json::from_str(&stored).expect("JSON");
    assert_eq!(stored["host"]["name"], json!([]));

    daemon.wait_for("/api", PATIENCE, |about| about["rill"]["update"] == "16.99.0");
    let log = daemon.log();
    assert!(log.contains("New version available"), "{log}");
    assert!(!log.contains("service secret"), "{log}");
    assert_eq!(daemon.json("/api")["rill"]["alarms"], json!([]));
    let heard: Vec<(String, String)> = heard.try_iter().collect();
    let body = |path: &str| -> Value {
        let (_, body) = heard.iter().find(|(heard, _)| heard == path).unwrap_or_else(|| panic!("{path}: {heard:?}"));
        serde_json::from_str(body).expect("a JSON body")
    };
    let report = body("/api/v1/core/monitor/box%20one");
    assert_eq!(report["proc_states"], json!([0, 0, 0, 0, 0, 0]));
    assert!(report["sys_mem"][0].as_u64() > Some(0), "{report}");
    assert_eq!(body("/version")["core_id"], "box one");
    assert_eq!(heard.iter().filter(|(path, _)| path.contains("/monitor/")).count(), 1, "one an hour, as asked");
}

#[test]
fn a_service_that_is_silent_holds_nothing_up() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("bound"));
    let mut daemon = Setup::default()
        .env("CORE_HOST_AUTO", "true")
        .env("RILL_ADDRESS_URLS", &url)
        .env("CORE_SERVICE_ENABLE", "true")
        .env("CORE_SERVICE_TOKEN", "t")
        .env("CORE_SERVICE_URL", &url)
        .start();
    // Both have come, and wait for an answer while the box serves.
    let _waiting = [silent.accept().expect("one"), silent.accept().expect("the other")];
    assert_eq!(daemon.get("/ping").status, 200);
    assert_eq!(daemon.json("/api/v3/config")["config"]["host"]["name"], json!([]));
    daemon.stop();
}
