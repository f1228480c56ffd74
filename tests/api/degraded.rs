//! What the daemon does when its surroundings are broken: damaged state files, a full or read-only disk, names that do
//! not resolve, a missing mime file, an unreachable JWKS. It starts, does what it can and says what is wrong.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::http::{self, Request};
use crate::harness::{Daemon, Setup};

const PATIENCE: Duration = Duration::from_secs(20);

fn stopped_process(id: &str) -> Value {
    json!({
        "id": id,
        "autostart": false,
        "input": [{"id": "in", "address": "testsrc", "options": ["-f", "lavfi"]}],
        "output": [{"id": "out", "address": "-", "options": ["-f", "null"]}]
    })
}

fn ids(daemon: &Daemon) -> Vec<String> {
    let list = daemon.json("/api/v3/process?filter=config");
    let mut ids: Vec<_> =
        list.as_array().into_iter().flatten().filter_map(|p| p["id"].as_str()).map(str::to_owned).collect();
    ids.sort();
    ids
}

/// Waits until a standing alarm of `component` is shown in the API, and checks that the log has it too.
#[track_caller]
fn wait_for_alarm(daemon: &Daemon, component: &str) -> Value {
    let is_ours = |alarm: &&Value| alarm["component"] == component;
    let about = daemon.wait_for("/api", PATIENCE, |about| {
        about["rill"]["alarms"].as_array().is_some_and(|alarms| alarms.iter().any(|alarm| is_ours(&alarm)))
    });
    let alarms = about["rill"]["alarms"].as_array().expect("waited for it");
    let alarm = alarms.iter().find(is_ours).expect("waited for it").clone();
    let log = daemon.json("/api/v3/log").to_string();
    assert!(log.contains(component), "no line of {component} in {log}");
    alarm
}

/// A daemon that stored `one`, then `two`, and was stopped: the previous generation of db.json may lack `two`.
fn with_two_processes() -> Daemon {
    let mut daemon = Setup::default().start();
    daemon.call("POST", "/api/v3/process", &stopped_process("one"), 200);
    daemon.call("POST", "/api/v3/process", &stopped_process("two"), 200);
    assert_eq!(ids(&daemon), ["one", "two"]);
    assert!(daemon.stop().success());
    daemon
}

#[track_caller]
fn a_damaged_database_costs_at_most_the_last_change(damage: impl Fn(&Path)) {
    let mut daemon = with_two_processes();
    damage(&daemon.db_dir().join("db.json"));
    daemon.resume().unwrap_or_else(|error| panic!("it must start: {error}"));
    let found = ids(&daemon);
    assert!(found.contains(&"one".to_owned()), "the previous generation holds the first process, found {found:?}");
    wait_for_alarm(&daemon, "ProcessStore");
    // And it goes on storing.
    daemon.call("POST", "/api/v3/process", &stopped_process("three"), 200);
    assert!(daemon.stop().success());
    daemon.resume().unwrap_or_else(|error| panic!("{error}"));
    assert!(ids(&daemon).contains(&"three".to_owned()));
}

#[test]
fn a_db_json_with_other_bytes_is_replaced_by_its_previous_generation() {
    a_damaged_database_costs_at_most_the_last_change(|path| fs::write(path, "\u{0}\u{0}not json").expect("db.json"));
}

#[test]
fn an_empty_db_json_is_replaced_by_its_previous_generation() {
    a_damaged_database_costs_at_most_the_last_change(|path| fs::write(path, "").expect("db.json"));
}

#[test]
fn a_truncated_db_json_is_replaced_by_its_previous_generation() {
    a_damaged_database_costs_at_most_the_last_change(|path| {
        let text = fs::read(path).expect("db.json");
        fs::write(path, &text[..text.len() / 2]).expect("db.json");
    });
}

#[track_caller]
fn a_damaged_config_is_replaced(damage: impl Fn(&Path)) {
    let mut daemon = Setup::default().start();
    for name in ["first", "second"] {
        daemon.call("PUT", "/api/v3/config", &json!({"version": 3, "name": name}), 200);
    }
    assert!(daemon.stop().success());
    damage(&daemon.work_dir().join("config.json"));
    daemon.resume().unwrap_or_else(|error| panic!("it must start: {error}"));
    let name = daemon.json("/api/v3/config")["config"]["name"].clone();
    assert!(name == "first" || name == "second", "the previous generation has a name of ours, found {name}");
    wait_for_alarm(&daemon, "Config");
}

#[test]
fn a_config_json_with_other_bytes_is_replaced_by_its_previous_generation() {
    a_damaged_config_is_replaced(|path| fs::write(path, "{\"version\": 3, \"name\": ").expect("config.json"));
}

#[test]
fn an_empty_config_json_is_replaced_by_its_previous_generation() {
    a_damaged_config_is_replaced(|path| fs::write(path, "").expect("config.json"));
}

#[test]
fn a_truncated_config_json_is_replaced_by_its_previous_generation() {
    a_damaged_config_is_replaced(|path| {
        let text = fs::read(path).expect("config.json");
        fs::write(path, &text[..text.len() / 2]).expect("config.json");
    });
}

/// A small file system of its own; unmounted when dropped.
pub(crate) struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    /// `None` where mounting is not allowed, which is said on the terminal.
    pub(crate) fn mount(path: &'a Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
        if done.is_ok_and(|done| done.status.success()) {
            return Some(Self(path));
        }
        eprintln!("NOT RUN: mounting a small tmpfs needs root; run the tests as root to cover a full disk");
        None
    }

    pub(crate) fn remount(&self, option: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "remount,{option}");
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// A call that cannot be stored is refused with 5xx, and neither memory nor disk has it afterwards.
#[track_caller]
fn a_change_that_cannot_be_stored_does_not_happen(
    disk: impl Fn(&Tmpfs<'_>, &Path),
    repair: impl Fn(&Tmpfs<'_>, &Path),
) {
    let mut daemon = Daemon::prepare(&Setup::default()).unwrap_or_else(|error| panic!("{error}"));
    let db = daemon.db_dir();
    let Some(mount) = Tmpfs::mount(&db, "256k") else { return };
    daemon.resume().unwrap_or_else(|error| panic!("{error}"));
    daemon.call("POST", "/api/v3/process", &stopped_process("kept"), 200);
    daemon.call("PUT", "/api/v3/metadata/key", &json!("old"), 200);

    disk(&mount, &db);
    let changes: [(&str, &str, Value); 5] = [
        ("POST", "/api/v3/process", stopped_process("lost")),
        ("PUT", "/api/v3/process/kept", json!({"reference": "lost"})),
        ("PUT", "/api/v3/metadata/key", json!("lost")),
        ("PUT", "/api/v3/process/kept/metadata/key", json!("lost")),
        ("DELETE", "/api/v3/process/kept", Value::Null),
    ];
    for (method, path, body) in &changes {
        let response = daemon.send(&Request::new(method, path).json(body));
        assert!(response.status >= 500, "{method} {path}: {} {}", response.status, response.text());
    }
    let seen = |daemon: &Daemon| {
        let process = daemon.json("/api/v3/process/kept?filter=config,metadata");
        (ids(daemon), process["reference"].clone(), process["metadata"].clone(), daemon.json("/api/v3/metadata"))
    };
    let before = seen(&daemon);
    assert_eq!(before, (vec!["kept".to_owned()], json!(""), Value::Null, json!({"key": "old"})));

    repair(&mount, &db);
    daemon.call("PUT", "/api/v3/metadata/again", &json!(1), 200);
    daemon.kill();
    daemon.resume().unwrap_or_else(|error| panic!("{error}"));
    let after = seen(&daemon);
    assert_eq!((&after.0, &after.1, &after.2), (&before.0, &before.1, &before.2));
    assert_eq!(after.3, json!({"key": "old", "again": 1}));
    daemon.stop();
}

#[test]
fn on_a_full_disk_memory_and_disk_stay_the_same() {
    let full = |_: &Tmpfs<'_>, db: &Path| {
        // Until not even one byte fits.
        let mut size = 64 * 1024;
        let mut index = 0;
        while size > 0 {
            index += 1;
            let path = db.join(format!("filler-{index}"));
            if fs::write(&path, vec![0; size]).is_err() {
                let _ = fs::remove_file(&path);
                size /= 2;
            }
        }
    };
    let free = |_: &Tmpfs<'_>, db: &Path| {
        for entry in fs::read_dir(db).expect("the database folder").flatten() {
            if entry.file_name().display().to_string().starts_with("filler-") {
                fs::remove_file(entry.path()).expect("a filler");
            }
        }
    };
    a_change_that_cannot_be_stored_does_not_happen(full, free);
}

#[test]
fn on_a_read_only_disk_memory_and_disk_stay_the_same() {
    a_change_that_cannot_be_stored_does_not_happen(|mount, _| mount.remount("ro"), |mount, _| mount.remount("rw"));
}

#[test]
fn a_missing_mime_file_costs_nothing_but_a_warning() {
    let setup = Setup::default().env("CORE_STORAGE_MIMETYPES_FILE", "${WORK_DIR}/nothing/mime.types");
    let daemon = setup.start();
    fs::write(daemon.data_dir().join("a.ts"), "x").expect("a file");
    assert_eq!(daemon.get("/a.ts").header("Content-Type").as_deref(), Some("video/MP2T"));
    let log = daemon.json("/api/v3/log").to_string();
    assert!(log.contains("mime"), "no word about the mime file in {log}");
}

#[test]
fn names_that_do_not_resolve_do_not_stop_the_start() {
    let setup = Setup::default()
        .env("CORE_HOST_NAME", "no.such.name.invalid")
        .env("CORE_HOST_AUTO", "true")
        .env("CORE_TLS_ENABLE", "true")
        .env("CORE_TLS_ADDRESS", "127.0.0.1:${TLS_PORT}")
        .env("CORE_TLS_AUTO", "true")
        .env("RILL_ACME_DIRECTORY", "http://127.0.0.1:1/directory");
    let daemon = setup.start();
    assert_eq!(daemon.get("/ping").text(), "pong");
    assert_eq!(daemon.json("/api/v3/config")["config"]["host"]["name"], json!(["no.such.name.invalid"]));
}

/// The text of the standing alarm `key`, `None` without one.
fn alarm(about: &Value, key: &str) -> Option<String> {
    let alarms = about["rill"]["alarms"].as_array()?;
    alarms.iter().find(|alarm| alarm["key"] == key)?["text"].as_str().map(str::to_owned)
}

#[test]
fn an_address_whose_name_does_not_resolve_is_served_on_loopback() {
    let daemon = Setup::default().env("CORE_ADDRESS", "no.such.name.invalid:${HTTP_PORT}").start();
    let text = alarm(&daemon.json("/api"), "address").expect("it says so");
    assert!(text.contains("no.such.name.invalid") && text.contains(&daemon.address().to_string()), "{text}");
    assert!(daemon.json("/api/v3/log").to_string().contains("no.such.name.invalid"));
    daemon.call("POST", "/api/v3/process", &stopped_process("works"), 200);
}

#[test]
fn a_reload_to_a_name_that_does_not_resolve_keeps_the_former_address() {
    let address = |host: &str| json!({"version": 3, "address": format!("{host}:${{HTTP_PORT}}")});
    let mut setup = Setup { config_file: Some(address("127.0.0.1")), ..Setup::default() };
    setup.env.push(("CORE_ADDRESS".to_owned(), None));
    let daemon = setup.start();
    let port = daemon.address().port();
    let move_to = |host: &str| {
        let config = json!({"version": 3, "address": format!("{host}:{port}")});
        daemon.call("PUT", "/api/v3/config", &config, 200);
        daemon.call("GET", "/api/v3/config/reload", &Value::Null, 200);
    };
    // A listener that is just being exchanged may turn a client away.
    let wait_for = |what: &str, condition: &dyn Fn(&Value) -> bool| {
        let end = std::time::Instant::now() + PATIENCE;
        let seen = || http::send(daemon.address(), &Request::get("/api"), PATIENCE).ok()?.json().ok();
        while !seen().is_some_and(|about| condition(&about)) {
            assert!(std::time::Instant::now() < end, "{what}: {}", daemon.log_tail());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    move_to("no.such.name.invalid");
    wait_for("an alarm", &|about| alarm(about, "address").is_some());
    assert!(alarm(&daemon.json("/api"), "reload").is_none(), "everything else is in force");
    // To all addresses on the same port, in the way of which the former one stands.
    move_to("");
    wait_for("no alarm", &|about| alarm(about, "address").is_none());
    let loaded = daemon.json("/api/v3/config")["loaded_at"].clone();
    move_to("localhost");
    daemon.wait_for("/api/v3/config", PATIENCE, |config| config["loaded_at"] != loaded);
    wait_for("no alarm at all", &|about| about["rill"]["alarms"].as_array().is_some_and(Vec::is_empty));
}

#[test]
fn an_unreachable_jwks_costs_its_users_the_login_and_nothing_else() {
    let setup = Setup::default()
        .env("CORE_API_AUTH_ENABLE", "true")
        .env("CORE_API_AUTH_USERNAME", "admin")
        .env("CORE_API_AUTH_PASSWORD", "secret")
        .env("CORE_API_AUTH_AUTH0_ENABLE", "true")
        .env("CORE_API_AUTH_AUTH0_TENANTS", "auth0://client@tenant.invalid?aud=https://api.invalid&user=auth0|x");
    let daemon = setup.start();
    let login = daemon.call("POST", "/api/login", &json!({"username": "admin", "password": "secret"}), 200);
    let token = login["access_token"].as_str().expect("an access token").to_owned();
    let about = daemon.send(&Request::get("/api").header("Authorization", &format!("Bearer {token}")));
    assert_eq!(about.status, 200);
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let request = Request::get("/api/v3/log").header("Authorization", &format!("Bearer {token}"));
        if daemon.send(&request).text().contains("tenant.invalid") {
            break;
        }
        assert!(std::time::Instant::now() < end, "the log never names the tenant");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_tenant_that_is_no_longer_configured_is_no_alarm() {
    let auth = |tenants: Value| {
        json!({"enable": true, "disable_localhost": true, "username": "admin", "password": "secret",
            "auth0": {"enable": tenants != json!([]), "tenants": tenants}})
    };
    let tenant = json!([{"domain": "tenant.invalid", "audience": "a", "clientid": "c", "users": ["u"]}]);
    let config = |tenants: Value| json!({"version": 3, "api": {"auth": auth(tenants)}});
    let daemon = Setup { config_file: Some(config(tenant)), ..Setup::default() }.start();
    daemon.wait_for("/api", PATIENCE, |about| alarm(about, "jwks tenant.invalid").is_some());
    fs::write(daemon.work_dir().join("config.json"), config(json!([])).to_string()).expect("written");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("/api", PATIENCE, |about| about["rill"]["alarms"].as_array().is_some_and(Vec::is_empty));
}

/// A reader that waits for ever is what a dead disk looks like.
#[test]
fn a_stop_does_not_wait_for_a_disk_that_hangs() {
    let mut daemon = Setup { config_file: Some(json!({"version": 3})), ..Setup::default() }.start();
    let config = daemon.work_dir().join("config.json");
    fs::remove_file(&config).expect("the file is ours");
    nix::unistd::mkfifo(&config, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).expect("a pipe");
    daemon.signal(Signal::SIGHUP);
    let end = std::time::Instant::now() + PATIENCE;
    // It opens as soon as there is a reader.
    let open = || fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&config);
    let _held = loop {
        match open() {
            Ok(held) => break held,
            Err(error) => assert!(std::time::Instant::now() < end, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(daemon.get("/ping").text(), "pong");
    daemon.signal(Signal::SIGTERM);
    let status = daemon.wait();
    assert!(status.success(), "{status}");
}

/// The start must fail, and the last thing it says must name the reason.
#[track_caller]
fn the_start_fails(setup: &Setup, occupy_port: bool, reason: &str) {
    let mut daemon = Daemon::prepare(setup).unwrap_or_else(|error| panic!("{error}"));
    let _occupied = occupy_port.then(|| std::net::TcpListener::bind(daemon.address()).expect("a free port"));
    let status = daemon.run_to_end().unwrap_or_else(|error| panic!("{error}"));
    assert!(!status.success(), "{status}");
    let log = daemon.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(reason), "the last line is {last:?}");
}

#[test]
fn a_failed_start_ends_with_its_reason() {
    the_start_fails(&Setup::default(), true, "in use");
    the_start_fails(&Setup::default().env("CORE_FFMPEG_ACCESS_INPUT_ALLOW", "("), false, "(");
    the_start_fails(&Setup::default().env("CORE_LOG_MAX_LINES", "many"), false, "");
}
