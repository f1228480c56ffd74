//! Connections and the life of the daemon: keep-alive, crowds, pipelines, unread bodies, reload, stop, failed starts.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::http::{self, Request, Response};
use crate::harness::{Daemon, Setup};

const PATIENCE: Duration = Duration::from_secs(20);
/// More than keep their buffers between requests.
const CROWD: usize = 100;

fn connect(daemon: &Daemon) -> BufReader<TcpStream> {
    BufReader::new(http::connect(daemon.address(), http::TIMEOUT).expect("a connection"))
}

fn ask(stream: &mut BufReader<TcpStream>, bytes: &[u8]) {
    stream.get_mut().write_all(bytes).expect("a connection that is kept");
}

fn answer(stream: &mut BufReader<TcpStream>) -> Response {
    http::read_response(stream, "GET").expect("an answer")
}

fn ping(stream: &mut BufReader<TcpStream>) {
    ask(stream, b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(answer(stream).text(), "pong");
}

fn is_closed(stream: &mut BufReader<TcpStream>) -> bool {
    matches!(stream.read(&mut [0]), Ok(0) | Err(_))
}

/// A daemon whose configuration comes from its file, so that a reload can change all of it.
fn from_file(config: Value) -> Daemon {
    let mut setup = Setup { config_file: Some(config), ..Setup::default() };
    setup.env.push(("CORE_ADDRESS".to_owned(), None));
    setup.start()
}

fn created_at(daemon: &Daemon) -> Value {
    daemon.json("/api")["created_at"].clone()
}

#[test]
fn every_connection_of_a_crowd_is_kept() {
    let daemon = Setup::default().start();
    let mut crowd: Vec<_> = (0..CROWD).map(|_| connect(&daemon)).collect();
    for _ in 0..3 {
        crowd.iter_mut().for_each(ping);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_also_in_a_crowd() {
    let daemon = Setup::default().start();
    let mut crowd: Vec<_> = (0..CROWD).map(|_| connect(&daemon)).collect();
    crowd.iter_mut().for_each(ping);
    let stream = &mut crowd[0];
    let two = "GET /ping HTTP/1.1\r\nHost: a\r\n\r\nGET /api/nope HTTP/1.1\r\nHost: a\r\n\r\nGET /pi";
    ask(stream, two.as_bytes());
    assert_eq!(answer(stream).status, 200);
    assert_eq!(answer(stream).status, 404);
    // The rest of the third comes when the connection rests already.
    ask(stream, b"ng HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer(stream).text(), "pong");
}

#[test]
fn headers_in_single_bytes_are_understood() {
    let daemon = Setup::default().start();
    let mut stream = connect(&daemon);
    ping(&mut stream);
    for byte in b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n" {
        ask(&mut stream, &[*byte]);
    }
    assert_eq!(answer(&mut stream).text(), "pong");
}

#[test]
fn a_client_that_closes_its_half_gets_its_answer() {
    let daemon = Setup::default()
        .env("CORE_API_AUTH_ENABLE", "true")
        .env("CORE_API_AUTH_USERNAME", "admin")
        .env("CORE_API_AUTH_PASSWORD", "secret")
        .start();
    let mut stream = connect(&daemon);
    ping(&mut stream);
    // A refused login takes its time.
    ask(&mut stream, b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    stream.get_ref().shutdown(Shutdown::Write).expect("a connection");
    assert_eq!(answer(&mut stream).status, 400);
    assert!(is_closed(&mut stream));
}

#[test]
fn a_client_that_sends_a_large_body_to_nowhere_sees_why() {
    let daemon = Setup::default().start();
    let mut request = Request::new("POST", "/api/v3/nope").body(vec![b'x'; 8 << 20]);
    for chunked in [false, true] {
        request.chunked = chunked;
        let response = daemon.send(&request);
        assert_eq!(response.status, 404);
        assert_eq!(response.header("Connection").as_deref(), Some("close"));
    }
}

#[test]
fn malformed_requests_get_400_and_the_connection_ends() {
    let daemon = Setup::default().start();
    for request in [
        "GET /ping HTTP/1.1\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /api/v3/process/% HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /ping HTTP/1.1\r\nHost : a\r\n\r\n",
    ] {
        let mut stream = connect(&daemon);
        ask(&mut stream, request.as_bytes());
        assert_eq!(answer(&mut stream).status, 400, "{request:?}");
        assert!(is_closed(&mut stream), "{request:?}");
    }
    let mut stream = connect(&daemon);
    ask(&mut stream, b"GET /ping HTTP/1.0\r\n\r\n");
    assert_eq!(answer(&mut stream).status, 200, "HTTP/1.0 needs no Host");
}

#[test]
fn a_client_whose_headers_are_too_long_is_not_cut_off_before_it_reads_why() {
    let daemon = Setup::default().start();
    let mut stream = connect(&daemon);
    ask(&mut stream, b"GET /ping HTTP/1.1\r\nHost: a\r\nX-Long: ");
    // Far more than is read of them.
    ask(&mut stream, &vec![b'x'; 1 << 20]);
    stream.get_ref().shutdown(Shutdown::Write).expect("a connection that is kept");
    assert_eq!(answer(&mut stream).status, 431);
    assert_eq!(stream.read(&mut [0]).expect("an end, not a reset"), 0);
}

#[test]
fn headers_that_never_end_are_given_up() {
    let daemon = Setup::default().start();
    let mut silent = connect(&daemon);
    let mut dribbler = connect(&daemon);
    ping(&mut dribbler);
    ask(&mut dribbler, b"GET /ping HTTP/1.1\r\nHost: a\r\nX-");
    assert!(is_closed(&mut silent) && is_closed(&mut dribbler));
}

#[test]
fn beyond_the_limit_peers_are_told_so() {
    let daemon = Setup { open_files: Some(256), ..Setup::default() }.start();
    // 192 files are kept for other things, an eighth of all for RTMP.
    let mut held: Vec<_> = (0..32).map(|_| connect(&daemon)).collect();
    let refused = |daemon: &Daemon| {
        let mut stream = connect(daemon);
        let answered = http::read_response(&mut stream, "GET");
        answered.is_ok_and(|response| response.status == 503 && response.json().is_ok_and(|body| body["code"] == 503))
    };
    held.iter_mut().for_each(ping);
    assert!(refused(&daemon));
    held.truncate(10);
    let end = Instant::now() + PATIENCE;
    while http::send(daemon.address(), &Request::get("/ping"), PATIENCE).is_ok_and(|response| response.status != 200) {
        assert!(Instant::now() < end, "places are given back");
    }
}

#[test]
fn a_reload_keeps_connections_and_shows_itself() {
    let daemon = from_file(json!({"version": 3, "address": "127.0.0.1:${HTTP_PORT}"}));
    let before = daemon.json("/api/v3/config")["loaded_at"].clone();
    let mut stream = connect(&daemon);
    ping(&mut stream);
    daemon.call("PUT", "/api/v3/config", &json!({"version": 3, "log": {"level": "debug"}}), 200);
    daemon.call("GET", "/api/v3/config/reload", &Value::Null, 200);
    daemon.wait_for("/api/v3/config", PATIENCE, |config| config["loaded_at"] != before);
    ping(&mut stream);
    daemon.wait_for("/api/v3/log", PATIENCE, |log| log.to_string().contains("level=DEBUG"));
}

/// Process ids of the children that run now.
fn children(daemon: &Daemon) -> Vec<String> {
    let pid = daemon.pid();
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("a kernel that lists children");
    list.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_reload_with_another_log_level_leaves_ffmpeg_running() {
    let daemon = from_file(json!({"version": 3, "address": "127.0.0.1:${HTTP_PORT}"}));
    let process = json!({
        "id": "live",
        "input": [{"id": "in", "address": "testsrc", "options": ["-re", "-f", "lavfi"]}],
        "output": [{"id": "out", "address": "-", "options": ["-f", "null"]}]
    });
    daemon.call("POST", "/api/v3/process", &process, 200);
    let frames = |state: &Value| state["progress"]["frame"].as_u64().unwrap_or(0);
    daemon.wait_for("/api/v3/process/live/state", PATIENCE, |state| frames(state) > 0);
    // The skills are read by children too.
    daemon.json("/api/v3/skills");
    let running = children(&daemon);
    assert_eq!(running.len(), 1);
    let before = daemon.json("/api/v3/config")["loaded_at"].clone();
    daemon.call("PUT", "/api/v3/config", &json!({"version": 3, "log": {"level": "debug"}}), 200);
    daemon.call("GET", "/api/v3/config/reload", &Value::Null, 200);
    daemon.wait_for("/api/v3/config", PATIENCE, |config| config["loaded_at"] != before);
    let seen = frames(&daemon.json("/api/v3/process/live/state"));
    daemon.wait_for("/api/v3/process/live/state", PATIENCE, |state| frames(state) > seen);
    assert_eq!(children(&daemon), running);
}

#[test]
fn a_reload_with_another_address_moves_the_listener_only() {
    let mut daemon = from_file(json!({"version": 3, "address": "127.0.0.1:${HTTP_PORT}"}));
    let former = daemon.address();
    let mut stream = connect(&daemon);
    ping(&mut stream);
    let next = daemon.variables["TLS_PORT"].clone();
    let address = json!({"version": 3, "address": format!("127.0.0.1:{next}")});
    daemon.call("PUT", "/api/v3/config", &address, 200);
    daemon.signal(Signal::SIGHUP);
    daemon.variables.insert("HTTP_PORT".to_owned(), next);
    let end = Instant::now() + PATIENCE;
    while http::send(daemon.address(), &Request::get("/ping"), PATIENCE).is_err() {
        assert!(Instant::now() < end, "{}", daemon.log_tail());
    }
    while http::send(former, &Request::get("/ping"), PATIENCE).is_ok() {
        assert!(Instant::now() < end, "the former port is closed");
    }
    ping(&mut stream);
}

#[test]
fn a_reload_that_fails_leaves_everything_as_it_was() {
    let daemon = from_file(json!({"version": 3, "address": "127.0.0.1:${HTTP_PORT}"}));
    let before = created_at(&daemon);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let reload = |config: &Value, expected: &str| {
        fs::write(daemon.work_dir().join("config.json"), config.to_string()).expect("written");
        daemon.signal(Signal::SIGHUP);
        daemon.wait_for("/api", PATIENCE, |about| about["rill"]["alarms"].to_string().contains(expected));
        assert_eq!(created_at(&daemon), before);
    };
    reload(&json!({"version": 3, "address": format!("127.0.0.1:{port}")}), "can't listen on");
    reload(&json!({"version": 3, "address": "nonsense"}), "refused");
    let routes = json!({"routes": {"/api/x": "/y"}});
    let address = format!("127.0.0.1:{}", daemon.address().port());
    reload(&json!({"version": 3, "address": address, "router": routes}), "/api/x");
    // A good one ends the complaint.
    fs::write(daemon.work_dir().join("config.json"), json!({"version": 3, "address": address}).to_string())
        .expect("written");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("/api", PATIENCE, |about| about["rill"]["alarms"].as_array().is_some_and(Vec::is_empty));
}

#[test]
fn every_way_to_stop_is_graceful() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = Setup::default().start();
        let mut idle = connect(&daemon);
        ping(&mut idle);
        daemon.signal(signal);
        let status = daemon.wait();
        assert!(status.success(), "{signal}: {status}");
        assert!(is_closed(&mut idle));
    }
}

/// Under systemd the next daemon answers who comes later; who was accepted before can only be answered by this one.
#[test]
fn who_connected_just_before_the_stop_is_answered() {
    let mut daemon = Setup::default().start();
    let mut newcomer = connect(&daemon);
    // Accepted in their order: whoever is answered now came after the newcomer.
    ping(&mut connect(&daemon));
    daemon.signal(Signal::SIGTERM);
    let listens = || TcpStream::connect(daemon.address()).is_ok();
    while listens() {
        std::thread::sleep(Duration::from_millis(5));
    }
    ping(&mut newcomer);
    assert!(is_closed(&mut newcomer));
    assert!(daemon.wait().success());
}

#[test]
fn a_start_that_fails_says_why_in_its_last_line() {
    let mut daemon = Daemon::prepare(&Setup::default()).expect("a work directory");
    let _taken = TcpListener::bind(daemon.address()).expect("a free port");
    let status = daemon.run_to_end().expect("it ends");
    assert_eq!(status.code(), Some(1));
    let log = daemon.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("can't listen on 127.0.0.1:"), "{last}");
}
