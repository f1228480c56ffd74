//! `GET /api/v3/events`: order, filters, resuming, ends and bounds. Cut connections and stalled readers are in
//! scripts/test-events.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};

use crate::auth;
use crate::harness::http::{self, Request};
use crate::harness::{Daemon, Setup};

/// One listener; reading waits for the next event.
pub(crate) struct Stream {
    lines: BufReader<TcpStream>,
}

impl Stream {
    #[track_caller]
    pub(crate) fn open(daemon: &Daemon, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = http::connect(daemon.address(), http::TIMEOUT).expect("a connection");
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("GET /api/v3/events?{query} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).expect("a connection that is kept");
        let mut stream = Self { lines: BufReader::new(stream) };
        let status = stream.line().expect("a status");
        assert!(status.contains(" 200 "), "{status}");
        let (kind, _, hello) = stream.next().expect("a greeting");
        assert_eq!(kind, "hello", "{hello}");
        stream
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.lines.read_line(&mut line).expect("a stream that is not broken") > 0).then(|| line.trim_end().to_owned())
    }

    /// Kind, id and data; `None` at the end. Chunk sizes and headers are lines that mean nothing here, and neither do
    /// the comments that keep the connection.
    #[track_caller]
    fn next(&mut self) -> Option<(String, String, Value)> {
        let (mut kind, mut id) = (String::new(), String::new());
        let end = Instant::now() + http::TIMEOUT;
        loop {
            assert!(Instant::now() < end, "no event came");
            let line = self.line()?;
            if let Some(value) = line.strip_prefix("id: ") {
                value.clone_into(&mut id);
            } else if let Some(value) = line.strip_prefix("event: ") {
                value.clone_into(&mut kind);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((kind, id, serde_json::from_str(data).expect("JSON")));
            } else if line == "0" {
                return None;
            }
        }
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, expected: &str) -> Value {
        let (kind, _, data) = self.next().unwrap_or_else(|| panic!("no {expected}"));
        assert_eq!(kind, expected, "{data}");
        data
    }
}

fn process(id: &str) -> Value {
    json!({
        "id": id,
        "reference": format!("ref-{id}"),
        "autostart": false,
        "input": [{"id": "in", "address": "testsrc=rate=5", "options": ["-f", "lavfi", "-re"]}],
        "output": [{"id": "out", "address": "-", "options": ["-f", "null"]}]
    })
}

fn command(daemon: &Daemon, id: &str, word: &str) {
    daemon.call("PUT", &format!("/api/v3/process/{id}/command"), &json!({"command": word}), 200);
}

#[test]
fn a_process_from_its_first_day_to_its_last() {
    let daemon = Setup::default().start();
    let mut stream = Stream::open(&daemon, "types=process,order,state,metadata&idpattern=a*", &[]);
    daemon.call("POST", "/api/v3/process", &process("b"), 200);
    daemon.call("POST", "/api/v3/process", &process("a"), 200);
    let added = stream.expect("process");
    assert_eq!((&added["id"], &added["reference"], &added["change"]), (&json!("a"), &json!("ref-a"), &json!("added")));
    command(&daemon, "a", "start");
    assert_eq!(stream.expect("order")["order"], "start");
    for (state, previous) in [("starting", "finished"), ("running", "starting")] {
        let event = stream.expect("state");
        assert_eq!(
            (&event["state"], &event["previous"], &event["order"]),
            (&json!(state), &json!(previous), &json!("start"))
        );
    }
    daemon.call("PUT", "/api/v3/process/a/metadata/k", &json!(1), 200);
    assert_eq!(stream.expect("metadata")["keys"], json!(["k"]));
    // Unchanged: nothing to tell.
    daemon.call("PUT", "/api/v3/process/a/metadata/k", &json!(1), 200);
    command(&daemon, "a", "stop");
    assert_eq!(stream.expect("order")["order"], "stop");
    assert_eq!(stream.expect("state")["state"], "finishing");
    let ended = stream.expect("state");
    assert!(ended["exit"].is_object() && ended["state"] != "finishing", "{ended}");
    daemon.call("PUT", "/api/v3/process/a", &json!({"id": "ab"}), 200);
    let renamed = stream.expect("process");
    assert_eq!((&renamed["id"], &renamed["was"], &renamed["change"]), (&json!("ab"), &json!("a"), &json!("updated")));
    daemon.call("DELETE", "/api/v3/process/ab", &Value::Null, 200);
    assert_eq!(stream.expect("process")["change"], "removed");
}

#[test]
fn progress_settings_alarms_and_log() {
    let daemon = Setup::default().start();
    let mut progress = Stream::open(&daemon, "types=progress", &[]);
    let mut config = Stream::open(&daemon, "types=config", &[]);
    let mut log = Stream::open(&daemon, "types=log&topics=process&level=info", &[]);
    let mut alarm = Stream::open(&daemon, "types=alarm", &[]);
    daemon.call("POST", "/api/v3/process", &process("a"), 200);
    command(&daemon, "a", "start");
    let first = progress.expect("progress");
    let second = progress.expect("progress");
    assert!(second["progress"]["time"].as_f64() >= first["progress"]["time"].as_f64(), "{second}");
    let line = log.expect("log");
    assert_eq!((&line["entry"]["component"], &line["entry"]["message"]), (&json!("Process"), &json!("started")));
    let body = json!({"version": 3, "service": {"token": "x"}, "ffmpeg": {"access": {"input": {"allow": ["("]}}}});
    daemon.send(&Request::new("PUT", "/api/v3/config").json(&body));
    // A port that is in use: ours.
    let address = daemon.address().to_string();
    let body = json!({"version": 3, "rtmp": {"enable": true, "address": address}});
    daemon.call("PUT", "/api/v3/config", &body, 200);
    assert_eq!(config.expect("config")["change"], "stored");
    daemon.json("/api/v3/config/reload");
    assert_eq!(config.expect("config")["change"], "loaded");
    let raised = alarm.expect("alarm");
    assert_eq!((&raised["raised"], raised["text"].is_string()), (&json!(true), true), "{raised}");
}

#[test]
fn whoever_comes_back_goes_on_where_it_was() {
    let mut daemon = Setup::default().start();
    let mut stream = Stream::open(&daemon, "types=metadata", &[]);
    let set = |daemon: &Daemon, key: &str| daemon.call("PUT", &format!("/api/v3/metadata/{key}"), &json!(1), 200);
    set(&daemon, "a");
    let (_, id, _) = stream.next().expect("an event");
    drop(stream);
    // Nobody listens.
    set(&daemon, "b");
    set(&daemon, "c");
    let mut by_header = Stream::open(&daemon, "types=metadata", &[("Last-Event-ID", &id)]);
    let mut by_query = Stream::open(&daemon, &format!("types=metadata&last_event_id={id}"), &[]);
    for stream in [&mut by_header, &mut by_query] {
        assert_eq!(stream.expect("metadata")["keys"], json!(["b"]));
        assert_eq!(stream.expect("metadata")["keys"], json!(["c"]));
    }
    daemon.stop();
    assert_eq!(by_header.expect("end")["reason"], "shutdown");
    assert!(by_header.next().is_none());
    daemon.resume().expect("a start");
    set(&daemon, "d");
    let mut stream = Stream::open(&daemon, "types=metadata", &[("Last-Event-ID", &id)]);
    assert_eq!(stream.expect("gap"), json!({"reason": "restart", "types": ["metadata"]}));
    assert_eq!(stream.expect("metadata")["keys"], json!(["d"]));
}

#[test]
fn listeners_are_bounded_and_queries_are_checked() {
    let daemon = Setup::default().start();
    let all: Vec<Stream> = (0..32).map(|_| Stream::open(&daemon, "", &[])).collect();
    let refused = daemon.get("/api/v3/events");
    assert_eq!((refused.status, refused.header("Retry-After").is_some()), (503, true));
    drop(all);
    let refused = daemon.get("/api/v3/events?types=state,stat&level=loud&idpattern=%5B");
    let details = refused.text();
    assert_eq!(refused.status, 400);
    assert!(["'stat'", "'loud'"].iter().all(|text| details.contains(text)), "{details}");
}

#[test]
fn the_stream_ends_with_its_token() {
    let daemon = auth::setup().start();
    assert_eq!(daemon.get("/api/v3/events").status, 401);
    let bearer = |seconds| format!("Bearer {}", auth::access_for(seconds));
    let mut long = Stream::open(&daemon, "types=metadata", &[("Authorization", &bearer(600))]);
    let mut short = Stream::open(&daemon, "types=metadata", &[("Authorization", &bearer(3))]);
    assert_eq!(short.expect("end")["reason"], "token_expired");
    assert!(short.next().is_none());
    let change = Request::new("PUT", "/api/v3/metadata/k").header("Authorization", &bearer(600)).json(&json!(1));
    assert_eq!(daemon.send(&change).status, 200);
    assert_eq!(long.expect("metadata")["keys"], json!(["k"]));
}

#[test]
fn other_rules_of_access_end_the_stream() {
    let daemon = Setup::default().start();
    let mut stream = Stream::open(&daemon, "types=state", &[]);
    let auth = json!({"enable": true, "username": "u", "password": "long enough"});
    daemon.call("PUT", "/api/v3/config", &json!({"version": 3, "api": {"auth": auth}}), 200);
    daemon.json("/api/v3/config/reload");
    assert_eq!(stream.expect("end")["reason"], "reload");
    assert!(stream.next().is_none());
}
