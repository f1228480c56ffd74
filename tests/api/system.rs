//! `/api/v3/rill/system` with the real `rill-admin`, on a system in a folder of the test. tests/admin has all that the
//! helper itself refuses.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::http::Request;
use crate::harness::{Daemon, Setup};

const PATH: &str = "/api/v3/rill/system";

/// A root folder with the programs that the helper runs, and systemd's part: a socket that starts it.
struct Helper {
    root: TempDir,
}

impl Helper {
    fn start() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let helper = Self { root };
        fs::create_dir_all(helper.path("usr/bin")).expect("a folder");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/admin/program");
        for name in ["systemctl", "networkctl", "hostnamectl"] {
            symlink(&program, helper.path(&format!("usr/bin/{name}"))).expect("a link");
        }
        helper.write("proc/sys/kernel/hostname", "box\n");
        helper.write("sys/class/net/eth0/carrier", "1\n");
        helper.write("usr/lib/systemd/system/ssh.service", "");
        let listener = UnixListener::bind(helper.path("socket")).expect("a socket");
        let user = User::from_uid(geteuid()).expect("accounts").expect("an account").name;
        let root = helper.root.path().to_owned();
        // Ends with the tests.
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let mut command = Command::new(env!("CARGO_BIN_EXE_rill-admin"));
                command.args(["--user", &user, "--root"]).arg(&root).stdin(OwnedFd::from(connection));
                let mut child = command.stderr(Stdio::null()).spawn().expect("the helper starts");
                child.wait().expect("it ends");
            }
        });
        helper
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().expect("a folder")).expect("a folder");
        fs::write(self.path(name), text).expect("a file");
    }

    /// A daemon that asks it.
    fn daemon(&self, setup: Setup) -> Daemon {
        let daemon = setup.env("RILL_ADMIN_SOCKET", &self.path("socket").display().to_string()).start();
        self.write("say/systemctl-show", &daemon.pid().to_string());
        daemon
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let quiet = ["systemctl show ", "systemctl is-active "];
        let is_told = |line: &&str| !quiet.iter().any(|start| line.starts_with(start));
        let calls: Vec<String> = text.lines().filter(is_told).map(str::to_owned).collect();
        if !calls.is_empty() {
            fs::remove_file(self.path("calls")).expect("it was there");
        }
        calls
    }
}

fn act(daemon: &Daemon, verb: &str, body: &Value, status: u16) -> Value {
    daemon.call("POST", &format!("{PATH}/{verb}"), body, status)
}

#[test]
fn the_helper_does_what_the_api_is_asked_for() {
    let helper = Helper::start();
    let daemon = helper.daemon(Setup::default());
    let before = json!({"hostname": "box", "network": "networkd", "interfaces": {"eth0": "system"}, "ssh": true});
    assert_eq!(daemon.json(PATH), before);
    for (verb, body, call) in [
        ("hostname", json!({"name": "camera-1"}), "hostnamectl set-hostname camera-1"),
        ("network", json!({"interface": "eth0", "dhcp": true}), "networkctl reload"),
        ("network", json!({"interface": "eth0", "address": "192.168.1.20/24"}), "networkctl reload"),
        ("ssh", json!({"enable": false}), "systemctl disable --now ssh.service"),
        ("ssh", json!({"enable": true}), "systemctl enable --now ssh.service"),
        ("reboot", json!({}), "systemctl --no-block reboot"),
        ("poweroff", json!({}), "systemctl --no-block poweroff"),
    ] {
        assert_eq!(act(&daemon, verb, &body, 200), "OK", "{verb}");
        // What ends the daemon is done when it has answered.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let mut calls = helper.calls();
        while calls.is_empty() && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(10));
            calls = helper.calls();
        }
        assert_eq!(calls, [call], "{verb}");
    }
    assert_eq!(daemon.send(&Request::new("POST", &format!("{PATH}/reboot"))).status, 200, "no body is needed");
    assert_eq!(daemon.json(PATH)["interfaces"]["eth0"], "static");
    let file = fs::read_to_string(helper.path("etc/systemd/network/05-rill-eth0.network")).expect("it is there");
    assert!(file.ends_with("DHCP=no\nAddress=192.168.1.20/24\n"), "{file}");
}

#[test]
fn what_can_not_be_asked_is_400_and_what_can_not_be_done_409() {
    let helper = Helper::start();
    let daemon = helper.daemon(Setup::default());
    for (verb, body, text) in [
        ("hostname", json!({"name": "a b"}), "is no name for a box"),
        ("hostname", json!({"name": "a\nreboot"}), "is no name for a box"),
        ("ssh", json!({"enable": "yes"}), "expect true or false"),
        ("network", json!({"interface": "../eth0", "dhcp": true}), "is no name of a network interface"),
        ("network", json!({"interface": "eth0", "address": "10.0.0.2"}), "no address with the length"),
    ] {
        let refusal = act(&daemon, verb, &body, 400);
        assert!(refusal["details"][0].as_str().is_some_and(|detail| detail.contains(text)), "{body}: {refusal}");
    }
    assert_eq!(helper.calls(), [""; 0]);
    let refusal = act(&daemon, "network", &json!({"interface": "eth7", "dhcp": true}), 409);
    assert_eq!(refusal["details"][0], "there is no network interface eth7; there are: eth0");
    helper.write("fail/hostnamectl-set-hostname", "");
    let refusal = act(&daemon, "hostname", &json!({"name": "box-2"}), 409);
    assert_eq!(refusal["details"][0], "hostnamectl set-hostname box-2 failed: no luck; at all");
    for (method, path) in [("POST", "halt"), ("POST", "status"), ("GET", "reboot"), ("PUT", "reboot")] {
        assert_eq!(daemon.send(&Request::new(method, &format!("{PATH}/{path}"))).status, 404, "{method} {path}");
    }
}

#[test]
fn only_who_may_write() {
    let helper = Helper::start();
    let credentials = [("ENABLE", "true"), ("USERNAME", "admin"), ("PASSWORD", "secret")];
    let with_login = |setup: Setup, (name, value): &(&str, &str)| setup.env(&format!("CORE_API_AUTH_{name}"), value);
    let daemon = helper.daemon(credentials.iter().fold(Setup::default(), with_login));
    act(&daemon, "reboot", &json!({}), 401);
    assert_eq!(daemon.get(PATH).status, 401);
    let daemon = helper.daemon(Setup::default());
    let foreign = Request::new("POST", &format!("{PATH}/poweroff")).header("Origin", "http://elsewhere.example");
    assert_eq!(daemon.send(&foreign).status, 403);
    let daemon = helper.daemon(Setup::default().env("CORE_API_READ_ONLY", "true"));
    act(&daemon, "factory-reset", &json!({}), 404);
    assert_eq!(helper.calls(), [""; 0]);
}

#[test]
fn without_a_helper_the_answer_says_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket");
    let daemon = Setup::default().env("RILL_ADMIN_SOCKET", &socket.display().to_string()).start();
    let refusal = act(&daemon, "reboot", &json!({}), 501);
    assert!(refusal["details"][0].as_str().is_some_and(|text| text.contains("rill-admin.socket")), "{refusal}");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let deaf = std::thread::spawn(move || drop(listener.accept().expect("a connection")));
    act(&daemon, "ssh", &json!({"enable": true}), 503);
    deaf.join().expect("it has hung up");
    // Nobody listens behind it.
    let refusal = daemon.get(PATH);
    assert_eq!(refusal.status, 503, "{}", refusal.text());
}
