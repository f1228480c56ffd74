//! The rescue page with the real programs over real sockets: causes, what strangers and who logs in may do, roll-back,
//! repair until the daemon would start again. systemd's part is in `scripts/test-rescue-service`, a browser's in
//! `scripts/test-rescue`.

mod client;
#[path = "../api/harness/ports.rs"]
mod ports;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rill::auth::stored_driver;
use serde_json::{Value, json};

use client::{Answer, HTML, send};

const PATIENCE: Duration = Duration::from_secs(30);
const BAD: &str = r#"{"version": 3, "log": {"level": "nonsense"}}"#;

/// A box whose daemon does not run.
struct Box {
    dir: tempfile::TempDir,
    port: u16,
    rescue: Option<Child>,
    environment: Vec<(&'static str, String)>,
}

impl Box {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["config", "run", "bin"] {
            fs::create_dir(dir.path().join(name)).expect("a folder");
        }
        Self { dir, port: ports::free_port(1), rescue: None, environment: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn with(self, name: &str, text: &str) -> Self {
        fs::write(self.path(name), text).expect("written");
        self
    }

    /// The login `admin`, `pass-word`.
    fn with_login(self) -> Self {
        let file = stored_driver::place(&self.path("config/config.json"));
        stored_driver::keep(&file, "admin", "pass-word", [5; 16]).expect("written");
        self
    }

    fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Programs found before the system's.
    fn program(self, name: &str, script: &str) -> Self {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        self
    }

    fn command(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        let search = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap_or_default());
        command.current_dir(self.dir.path()).env_clear().env("PATH", search);
        command.env("CORE_CONFIGFILE", self.path("config/config.json")).env("CORE_DB_DIR", self.path("config"));
        command.env("CORE_STORAGE_DISK_DIR", self.path("data")).env("RUNTIME_DIRECTORY", self.path("run"));
        command.env("CORE_ADDRESS", format!("127.0.0.1:{}", self.port));
        command.env("MONITOR_SERVICE_RESULT", "exit-code").env("MONITOR_EXIT_STATUS", "1");
        command.envs(self.environment.iter().cloned()).stdin(Stdio::null());
        command
    }

    /// Starts the page; `rill` is looked for beside it.
    fn spawn(&mut self, program: PathBuf) {
        let log = fs::File::create(self.path("log")).expect("a log");
        let child = self.command(program).stdout(Stdio::null()).stderr(log).spawn().expect("rescue can be run");
        self.rescue = Some(child);
    }

    fn start(mut self) -> Self {
        self.spawn(env!("CARGO_BIN_EXE_rill-rescue").into());
        self.wait_for_page();
        self
    }

    fn wait_for_page(&self) {
        let end = Instant::now() + PATIENCE;
        while !self.log().contains("Listening") {
            assert!(Instant::now() < end, "no page: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        send(self.address(), "GET", path, headers, "")
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut all = vec![("Content-Type", "application/json")];
        all.extend(headers);
        send(self.address(), "POST", &format!("/api/rescue/{path}"), &all, &body.to_string())
    }

    /// The class, as a stranger sees it.
    fn cause(&self) -> String {
        self.get("/api/rescue", &[]).json()["cause"].as_str().unwrap_or_default().to_owned()
    }

    /// An `Authorization` header.
    fn log_in(&self) -> String {
        let answer = self.post("login", &[], &json!({"username": "admin", "password": "pass-word"}));
        assert_eq!(answer.status, 200, "{}", answer.body);
        format!("Bearer {}", answer.json()["token"].as_str().expect("a token"))
    }

    fn wait(&mut self) -> ExitStatus {
        let child = self.rescue.as_mut().expect("it runs");
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                self.rescue = None;
                return status;
            }
            assert!(
                Instant::now() < end,
                "rescue does not end:\n{}",
                fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn check(&self) -> bool {
        let done = self.command(env!("CARGO_BIN_EXE_rill").into()).args(["config", "check"]).output();
        done.expect("rill can be run").status.success()
    }

    fn content(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

impl Drop for Box {
    fn drop(&mut self) {
        if let Some(mut child) = self.rescue.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn good(name: &str) -> String {
    json!({"version": 3, "name": name}).to_string()
}

#[test]
fn a_stranger_sees_state_and_class_only() {
    let page = Box::new().with_login().with("config/config.json", BAD).start();
    let answer = page.get("/", &[HTML]);
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("data-cause=\"config\"") && !answer.body.contains("nonsense"), "{}", answer.body);
    assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    let state = page.get("/api/rescue", &[]).json();
    let members: Vec<_> = state.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["cause", "login", "message", "retry_seconds", "state"]);
    for path in ["/api/v3/process", "/memfs/x.m3u8", "/ping"] {
        let answer = page.get(path, &[]);
        assert_eq!((answer.status, answer.header("retry-after")), (503, "30".to_owned()), "{path}");
    }
    for path in ["retry", "check", "restore", "reset", "reboot", "logout"] {
        assert_eq!(page.post(path, &[], &json!({})).status, 401, "{path}");
        assert_eq!(page.post(path, &[("Authorization", "Bearer 00")], &json!({})).status, 401, "{path}");
    }
    assert_eq!(page.post("other", &[], &json!({})).status, 404);
}

#[test]
fn who_logs_in_sees_errors_and_a_journal_without_secrets() {
    let journal = "echo 'rill: rtmp://u:p4ss@host/x?token=abc hidden-word <b>'";
    let config = r#"{"version": 3, "log": {"level": "nonsense"}, "rtmp": {"token": "hidden-word"}}"#;
    let page = Box::new().with_login().with("config/config.json", config).program("journalctl", journal).start();
    let token = page.log_in();
    let state = page.get("/api/rescue", &[("Authorization", &token)]).json();
    assert!(state["errors"].to_string().contains("log.level"), "{state}");
    assert_eq!(state["journal"][0], "rill: rtmp://u:***@host/x?token=*** *** <b>");
    assert_eq!(page.post("logout", &[("Authorization", &token)], &json!({})).status, 200);
    assert_eq!(page.get("/api/rescue", &[("Authorization", &token)]).json().get("errors"), None);
}

#[test]
fn a_form_needs_its_session_and_its_origin() {
    let page = Box::new().with_login().with("config/config.json", BAD).start();
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let login = |origin: &str| {
        let headers = [form, HTML, ("Origin", origin)];
        send(page.address(), "POST", "/api/rescue/login", &headers, "username=admin&password=pass-word")
    };
    assert_eq!(login("http://evil.example").status, 403);
    assert_eq!(login("null").status, 403);
    let own = format!("http://{}", page.address());
    let answer = login(&own);
    assert_eq!(answer.status, 200);
    let cookie = answer.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let (_, rest) = answer.body.split_once("name=\"form\" value=\"").expect("a form");
    let secret = rest.split('"').next().expect("its secret");
    let check = |origin: &str, host: &str, body: &str| {
        let headers = [form, HTML, ("Origin", origin), ("Host", host), ("Cookie", &cookie)];
        send(page.address(), "POST", "/api/rescue/check", &headers, body).status
    };
    let host = page.address().to_string();
    assert_eq!(check(&own, &host, &format!("form={secret}")), 200);
    assert_eq!(check(&own, &host, "form=00"), 403);
    assert_eq!(check(&own, &host, ""), 403);
    assert_eq!(check("http://evil.example", &host, &format!("form={secret}")), 403);
    assert_eq!(check("http://evil.example", "evil.example", &format!("form={secret}")), 403);
}

#[test]
fn logins_are_limited() {
    let page = Box::new().with_login().with("config/config.json", BAD).start();
    let answers: Vec<u16> =
        (0..12).map(|_| page.post("login", &[], &json!({"username": "admin", "password": "wrong"})).status).collect();
    assert_eq!(answers[..10], [401; 10]);
    assert_eq!(answers[11], 429);
    assert_eq!(page.post("login", &[], &json!({"username": "admin", "password": "pass-word"})).status, 429);
}

#[test]
fn without_a_login_only_a_try_can_be_asked_for() {
    let mut page = Box::new().with("config/config.json", BAD).start();
    assert_eq!(page.post("login", &[], &json!({"username": "admin", "password": ""})).status, 403);
    assert_eq!(page.post("reset", &[], &json!({})).status, 401);
    assert_eq!(page.post("retry", &[("Origin", "http://evil.example")], &json!({})).status, 403);
    assert_eq!(page.post("retry", &[], &json!({})).status, 200);
    assert!(page.wait().success(), "0 makes systemd start rill");
}

#[test]
fn refused_settings_are_rolled_back_once() {
    let mut page = Box::new().with("config/config.json", BAD).with("config/config.json.prev", &good("former"));
    page.spawn(env!("CARGO_BIN_EXE_rill-rescue").into());
    assert!(page.wait().success());
    assert_eq!(page.content("config/config.json"), good("former"));
    assert_eq!(page.content("config/config.json.refused"), BAD);
    assert!(page.check());
    let record: Value = serde_json::from_str(&page.content("config/rescue.json")).expect("a record");
    assert!(record["reason"].as_str().is_some_and(|text| text.contains("log.level")) && record["told"] == false);

    // Refused again before the daemon has run: a person is needed.
    let page = page.with("config/config.json", BAD).start();
    assert_eq!((page.cause(), page.content("config/config.json")), ("config".to_owned(), BAD.to_owned()));
}

#[test]
fn with_both_generations_bad_nothing_is_touched_and_a_reset_helps() {
    let bad = r#"{"version": 3, "log": {"level": "worse"}}"#;
    let mut page = Box::new().with_login().with("config/config.json", BAD).with("config/config.json.prev", bad);
    page = page.with("config/db.json", "{}").start();
    assert_eq!(page.content("config/config.json"), BAD);
    let token = page.log_in();
    let answer = page.post("restore", &[("Authorization", &token)], &json!({}));
    assert_eq!(answer.status, 409);
    assert!(answer.body.contains("refused"), "{}", answer.body);
    assert_eq!(page.post("reset", &[("Authorization", &token)], &json!({})).status, 200);
    assert!(page.wait().success());
    assert!(page.check());
    let aside = |name: &str| page.content(&format!("config/before-reset.1/{name}"));
    assert_eq!(
        (aside("config.json"), aside("config.json.prev"), aside("db.json")),
        (BAD.into(), bad.into(), "{}".into())
    );
    assert!(aside("auth.json").contains("argon2id") && page.content("config/auth.json").is_empty());
}

#[test]
fn a_person_restores_the_previous_settings() {
    let told = json!({"version": 1, "at": 1, "refused": "x", "reason": "y", "told": false}).to_string();
    let mut page = Box::new().with_login().with("config/rescue.json", &told);
    page = page.with("config/config.json", BAD).with("config/config.json.prev", &good("former")).start();
    let token = page.log_in();
    assert_eq!(page.post("restore", &[("Authorization", &token)], &json!({})).status, 200);
    assert!(page.wait().success());
    assert_eq!(page.content("config/config.json"), good("former"));
    assert_eq!(page.content("config/config.json.prev"), BAD, "it can be taken back");
    assert!(page.check());
}

#[test]
fn a_taken_port_is_named_and_the_page_comes_elsewhere() {
    let mut page = Box::new().with("config/config.json", &good("x")).variable("RILL_RESCUE_MINUTE_SECONDS", "1000");
    let other = TcpListener::bind(page.address()).expect("a port");
    page = page.start();
    let log = page.log();
    let (_, rest) = log.split_once("address=\"127.0.0.1:").expect("where it listens");
    page.port = rest.split('"').next().expect("a port").parse().expect("a port");
    assert_ne!(page.port, other.local_addr().expect("an address").port());
    assert_eq!(page.cause(), "port taken");
}

#[test]
fn it_leaves_when_the_port_is_free_again() {
    // A minute of four seconds: a look every two.
    let mut page = Box::new().with("config/config.json", &good("x")).variable("RILL_RESCUE_MINUTE_SECONDS", "4");
    let other = TcpListener::bind(page.address()).expect("a port");
    page.spawn(env!("CARGO_BIN_EXE_rill-rescue").into());
    page.wait_for_page();
    drop(other);
    assert!(page.wait().success());
    assert!(page.log().contains("rill is tried again"));
}

#[test]
fn a_state_folder_that_can_t_be_written_is_named() {
    // Root may write everywhere, but not into a file.
    let page = Box::new().with("config/config.json", &good("x")).with("state", "no folder");
    let state = page.path("state/db").display().to_string();
    let page = page.variable("CORE_DB_DIR", &state).start();
    assert_eq!(page.cause(), "state folder not writable");
}

#[test]
fn a_program_that_can_t_be_run_is_named() {
    for script in ["kill -ABRT $$", "exit 1"] {
        let mut page = Box::new().with("config/config.json", BAD).program("rill", script);
        let program = page.path("bin/rill-rescue");
        fs::copy(env!("CARGO_BIN_EXE_rill-rescue"), &program).expect("copied");
        page.spawn(program);
        page.wait_for_page();
        assert_eq!(page.cause(), "binary", "{script}");
    }
}

#[test]
fn crash_and_hang_are_told_apart() {
    for (result, status, cause) in
        [("core-dump", "ABRT", "crash"), ("watchdog", "ABRT", "hang"), ("exit-code", "1", "crash")]
    {
        let page = Box::new().with("config/config.json", &good("x"));
        let page = page.variable("MONITOR_SERVICE_RESULT", result).variable("MONITOR_EXIT_STATUS", status).start();
        assert_eq!(page.cause(), cause, "{result}");
    }
}

#[test]
fn the_daemon_is_tried_after_growing_times() {
    let mut page = Box::new().with("config/config.json", &good("x")).variable("RILL_RESCUE_MINUTE_SECONDS", "1");
    for tries in 1..=2 {
        page = page.start();
        let seconds = page.get("/api/rescue", &[]).json()["retry_seconds"].as_u64().expect("a number");
        assert!(seconds <= tries, "{seconds} at try {tries}");
        assert!(page.wait().success());
        assert!(page.content("run/tries").starts_with(&format!("{tries} ")), "{}", page.content("run/tries"));
    }
}

#[test]
fn slow_and_silent_clients_hold_up_nobody() {
    let page = Box::new().with("config/config.json", BAD).start();
    // As many as one peer may have, each in the middle of a request; one address more is heard as ever.
    let silent: Vec<_> = (0..6)
        .map(|_| {
            client::begin(page.address(), "POST /api/rescue/login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        })
        .collect();
    let other = SocketAddr::from(([127, 0, 0, 2], 0));
    let answer = client::send_from(other, page.address(), "GET", "/api/rescue", &[], "");
    assert_eq!((answer.status, silent.len()), (200, 6));
}

#[test]
fn what_is_too_long_is_refused() {
    let page = Box::new().with_login().with("config/config.json", BAD).start();
    let long = json!({"username": "x".repeat(5000), "password": ""});
    assert_eq!(page.post("login", &[], &long).status, 413);
    let endless = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(client::raw(page.address(), endless.as_bytes()), None, "closed without an answer");
    assert_eq!(page.cause(), "config");
}
