//! What systemd is told; a socket of the test stands for its own. The real one is in the guests of `scripts/test-guest`.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{Daemon, Setup};

const PATIENCE: Duration = Duration::from_secs(20);
/// Much longer than the daemon's pause between two signs.
const SILENCE: Duration = Duration::from_secs(1);

struct Systemd {
    socket: UnixDatagram,
    _dir: tempfile::TempDir,
}

impl Systemd {
    /// Gives the daemon up after 600 ms, so that it gives a sign each 200 ms.
    fn new() -> (Self, Setup) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let setup = Setup::default().env("NOTIFY_SOCKET", &path.display().to_string()).env("WATCHDOG_USEC", "600000");
        (Self { socket, _dir: dir }, setup)
    }

    /// The next message; `None` if there is none in that time.
    fn hear(&self, limit: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(limit)).expect("a time");
        let mut text = [0; 512];
        match self.socket.recv(&mut text) {
            Ok(length) => Some(String::from_utf8_lossy(&text[..length]).trim().to_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    fn wait_for(&self, wanted: &str) {
        while self.hear(PATIENCE).unwrap_or_else(|| panic!("systemd is not told {wanted}")) != wanted {}
    }
}

#[test]
fn systemd_is_told_of_start_life_and_stop() {
    let (systemd, setup) = Systemd::new();
    let mut daemon = setup.start();
    // What outlives it is kept before it is ready.
    assert_eq!(systemd.hear(PATIENCE).as_deref(), Some("FDSTORE=1\nFDNAME=playlists"));
    let address = format!("tcp {}", daemon.address()).replace(':', ".");
    assert_eq!(systemd.hear(PATIENCE).as_deref(), Some(&*format!("FDSTORE=1\nFDNAME={address}")));
    assert_eq!(systemd.hear(PATIENCE).as_deref(), Some("READY=1"));
    (0..3).for_each(|_| systemd.wait_for("WATCHDOG=1"));

    // One that hangs gives no sign.
    daemon.signal(Signal::SIGSTOP);
    while systemd.hear(SILENCE).is_some() {}
    assert_eq!(systemd.hear(SILENCE), None);
    daemon.signal(Signal::SIGCONT);
    systemd.wait_for("WATCHDOG=1");

    daemon.signal(Signal::SIGTERM);
    systemd.wait_for("STOPPING=1");
    assert!(daemon.wait().success());
}

#[test]
fn children_can_tell_systemd_nothing() {
    let (_systemd, setup) = Systemd::new();
    let daemon = setup.env("LISTEN_FDS", "0").env("LISTEN_PID", "1").start();
    let environment = std::fs::read(format!("/proc/{}/environ", start_child(&daemon))).expect("it runs");
    let text = String::from_utf8_lossy(&environment);
    let names: Vec<&str> =
        text.split_terminator('\0').filter_map(|variable| Some(variable.split_once('=')?.0)).collect();
    assert_eq!(names, ["RILL_PROCESS"]);
}

/// Has a picture made; the process id of the child that makes it. Another may be asked what it can do.
#[track_caller]
pub(crate) fn start_child(daemon: &Daemon) -> String {
    let process = json!({
        "id": "child",
        "input": [{"id": "in", "address": "testsrc=size=64x36:rate=5", "options": ["-f", "lavfi", "-re"]}],
        "output": [{"id": "out", "address": "-", "options": ["-f", "null"]}]
    });
    daemon.call("POST", "/api/v3/process", &process, 200);
    daemon.wait_for("/api/v3/process/child/state", PATIENCE, |state| state["exec"] == "running");
    let path = format!("/proc/{0}/task/{0}/children", daemon.pid());
    let children = std::fs::read_to_string(path).expect("it runs");
    let is_ours =
        |pid: &&str| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.contains("64x36"));
    children.split_whitespace().find(is_ours).expect("a child").to_owned()
}
