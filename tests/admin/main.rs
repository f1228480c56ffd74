//! The real `rill-admin`, one connection each, on the system in a folder of the test; its programs are `program` under
//! their names. Nothing of this machine is changed, also when root runs the tests.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::unistd::{User, geteuid};
use tempfile::TempDir;

const VERBS: [&str; 9] = [
    "status",
    "reboot",
    "poweroff",
    "hostname camera-1",
    "network eth0 dhcp",
    "network eth0 static 192.168.1.20/24 gateway 192.168.1.1 dns 192.168.1.1",
    "ssh on",
    "ssh off",
    "factory-reset",
];
/// An account of every system that is neither root nor the daemon's.
const NOBODY: (&str, u32) = ("nobody", 65534);

struct System {
    root: TempDir,
    user: String,
}

impl System {
    /// Whoever runs the tests is the daemon.
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let user = User::from_uid(geteuid()).expect("accounts").expect("an account").name;
        let system = Self { root, user };
        fs::set_permissions(system.root.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        fs::create_dir_all(system.path("usr/bin")).expect("a folder");
        for name in ["systemctl", "networkctl", "hostnamectl"] {
            let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/admin/program");
            symlink(program, system.path(&format!("usr/bin/{name}"))).expect("a link");
        }
        system.write("proc/sys/kernel/hostname", "box\n");
        system.write("sys/class/net/eth0/carrier", "1\n");
        system.write("sys/class/net/lo/carrier", "1\n");
        system.write("usr/lib/systemd/system/ssh.service", "");
        system.write("var/lib/rill/config/db.json", "{}");
        system.write("var/lib/rill/data/film.mp4", "media");
        system.write("say/systemctl-show", &format!("{}\n\n0\n", std::process::id()));
        system
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Calls of programs since the last time, but for the question who may ask.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        text.lines().filter(|line| !line.starts_with("systemctl show ")).map(str::to_owned).collect()
    }

    fn start(&self, connection: UnixStream, user: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_rill-admin"))
            .args(["--user", user, "--root"])
            .arg(self.root.path())
            .stdin(OwnedFd::from(connection))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the helper starts")
    }

    /// What the helper answers to these bytes, when it has ended.
    #[track_caller]
    fn send(&self, bytes: &[u8], end: Option<Shutdown>) -> String {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let child = self.start(theirs, &self.user);
        // It may refuse before it has read everything.
        let _ = ours.write_all(bytes);
        if let Some(end) = end {
            ours.shutdown(end).expect("connected");
        }
        let answer = line(&mut ours);
        assert!(child.wait_with_output().expect("it ends").status.success());
        answer
    }

    #[track_caller]
    fn ask(&self, request: &str) -> String {
        self.send(format!("{request}\n").as_bytes(), None)
    }

    #[track_caller]
    fn refused(&self, bytes: &[u8], end: Option<Shutdown>, text: &str) {
        let answer = self.send(bytes, end);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
        assert!(answer.starts_with("error ") && answer.contains(text), "{shown:?}: {answer}");
        assert_eq!(self.calls(), [""; 0], "{shown:?}");
    }

    /// What `request` is answered when a process of the user nobody sends it; that process tells its id in `say_pid`.
    fn as_nobody(&self, request: &str, user: &str, say_pid: &str) -> String {
        const CLIENT: &str = "import os, socket, sys
open(sys.argv[2], 'w').write(str(os.getpid()))
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
try:
    s.sendall(sys.argv[3].encode() + b'\\n')
except BrokenPipeError:
    pass  # refused at once
print(s.recv(2000).decode(), end='')";
        let path = self.path("socket");
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("ours");
        self.write(say_pid, "");
        fs::set_permissions(self.path(say_pid), fs::Permissions::from_mode(0o666)).expect("ours");
        let client = Command::new("python3")
            .args(["-c", CLIENT])
            .args([&path, &self.path(say_pid)])
            .arg(request)
            .uid(NOBODY.1)
            .gid(NOBODY.1)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let (connection, _) = listener.accept().expect("a client");
        let mut child = self.start(connection, user);
        let answer = client.wait_with_output().expect("it ends").stdout;
        child.wait().expect("it ends");
        String::from_utf8(answer).expect("text").trim_end().to_owned()
    }
}

/// Everything up to the end, which must be one line.
#[track_caller]
fn line(stream: &mut UnixStream) -> String {
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    // What it has not read is told as a reset, behind its answer.
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        text.extend_from_slice(&piece[..length]);
    }
    let text = String::from_utf8(text).expect("text");
    let answer = text.strip_suffix('\n').unwrap_or_else(|| panic!("no whole line: {text:?}"));
    assert!(!answer.contains(char::is_control) && answer.len() < 1024, "{answer:?}");
    answer.to_owned()
}

#[test]
fn what_the_verbs_do() {
    let system = System::new();
    assert_eq!(system.ask("status"), "ok hostname=box network=networkd ssh=on interface=eth0:system");
    system.calls();
    for (request, expected) in [
        ("reboot", &["systemctl --no-block reboot"][..]),
        ("poweroff", &["systemctl --no-block poweroff"]),
        ("hostname camera-1", &["hostnamectl set-hostname camera-1"]),
        ("ssh on", &["systemctl enable --now ssh.service"]),
        ("ssh off", &["systemctl disable --now ssh.service"]),
        ("network eth0 dhcp", &["systemctl is-active --quiet systemd-networkd.service", "networkctl reload"]),
    ] {
        assert_eq!(system.ask(request), "ok", "{request}");
        assert_eq!(system.calls(), expected, "{request}");
    }
    assert_eq!(system.ask("status"), "ok hostname=box network=networkd ssh=on interface=eth0:dhcp");
    system.write("fail/systemctl-is-active", "");
    fs::remove_file(system.path("usr/lib/systemd/system/ssh.service")).expect("there");
    assert_eq!(system.ask("status"), "ok hostname=box network=other ssh=none interface=eth0:dhcp");
}

#[test]
fn a_network_file_has_a_former_generation_and_goes_back_if_it_is_not_taken() {
    let system = System::new();
    let file = "etc/systemd/network/05-rill-eth0.network";
    assert_eq!(system.ask("network eth0 dhcp"), "ok");
    let first = system.read(file);
    assert!(first.ends_with("[Match]\nName=eth0\n\n[Network]\nDHCP=yes\n"), "{first}");
    assert_eq!(fs::metadata(system.path(file)).expect("a file").permissions().mode() & 0o777, 0o644);
    assert_eq!(system.ask("network eth0 static 192.168.1.20/24 gateway 192.168.1.1"), "ok");
    let second = system.read(file);
    assert!(second.ends_with("DHCP=no\nAddress=192.168.1.20/24\nGateway=192.168.1.1\n"), "{second}");
    assert_eq!(system.read(&format!("{file}.prev")), first);

    system.write("fail/networkctl-reload", "");
    let answer = system.ask("network eth0 static 10.0.0.2/8");
    assert_eq!(answer, "error networkctl reload failed: no luck; at all");
    assert_eq!(system.read(file), second);
    system.write("sys/class/net/wlan0/carrier", "1\n");
    assert!(system.ask("network wlan0 dhcp").starts_with("error networkctl reload failed"));
    assert!(!system.path("etc/systemd/network/05-rill-wlan0.network").exists());

    fs::remove_file(system.path("fail/networkctl-reload")).expect("there");
    system.calls();
    system.refused(b"network eth9 dhcp\n", None, "there is no network interface eth9; there are: eth0, wlan0");
    system.write("fail/systemctl-is-active", "");
    let answer = system.ask("network eth0 dhcp");
    assert!(answer.starts_with("error systemd-networkd.service does not run the network of this box"), "{answer}");
    assert_eq!(system.read(file), second);
}

#[test]
fn a_factory_reset_sets_everything_aside_but_media_and_starts_the_daemon() {
    let system = System::new();
    system.write("var/lib/rill/auth/users", "secret");
    let steps = [
        "systemctl stop rill.service",
        "systemctl reset-failed rill.service",
        "systemctl --no-block start rill.service",
    ];
    assert_eq!(system.ask("factory-reset"), "ok");
    assert_eq!(system.calls(), steps);
    assert!(!system.path("var/lib/rill/config").exists() && !system.path("var/lib/rill/auth").exists());
    assert_eq!(system.read("var/lib/rill/config.before-reset/db.json"), "{}");
    assert_eq!(system.read("var/lib/rill/auth.before-reset/users"), "secret");
    assert_eq!(system.read("var/lib/rill/data/film.mp4"), "media");

    // The next one replaces what the first has set aside; links are moved, not followed.
    system.write("elsewhere/keep", "kept");
    symlink(system.path("elsewhere"), system.path("var/lib/rill/config")).expect("a link");
    assert_eq!(system.ask("factory-reset"), "ok");
    assert_eq!(system.read("elsewhere/keep"), "kept");
    assert!(system.path("var/lib/rill/config.before-reset").is_symlink());
    assert_eq!(system.ask("factory-reset"), "ok", "there is nothing to set aside");
    system.write("var/lib/rill/config/db.json", "{\"new\": 1}");
    system.calls();
    system.write("fail/systemctl-stop", "");
    assert_eq!(system.ask("factory-reset"), "ok");
    assert_eq!(system.calls(), steps, "a daemon that can't be stopped keeps its state");
    assert_eq!(system.read("var/lib/rill/config/db.json"), "{\"new\": 1}");
    assert_eq!(system.read("elsewhere/keep"), "kept");
}

#[test]
fn what_fails_is_told_in_one_line() {
    let system = System::new();
    for (request, program) in [("hostname box", "hostnamectl-set-hostname"), ("ssh on", "systemctl-enable")] {
        system.write(&format!("fail/{program}"), "");
        let answer = system.ask(request);
        assert!(answer.starts_with("error ") && answer.ends_with("failed: no luck; at all"), "{answer}");
    }
    fs::remove_file(system.path("usr/bin/hostnamectl")).expect("there");
    assert_eq!(system.ask("hostname box"), "error hostnamectl is not installed");
    fs::remove_file(system.path("usr/lib/systemd/system/ssh.service")).expect("there");
    assert_eq!(system.ask("ssh off"), "error no SSH server is installed");
    fs::remove_file(system.path("usr/bin/systemctl")).expect("there");
    // Only who is not root is looked up by it.
    if geteuid().is_root() {
        for request in ["reboot", "poweroff", "factory-reset"] {
            assert_eq!(system.ask(request), "error systemctl is not installed");
        }
        assert_eq!(system.read("var/lib/rill/config/db.json"), "{}");
    }
}

#[test]
fn one_change_at_a_time() {
    let system = System::new();
    system.write("run/rill-admin/lock", "");
    let lock = fs::File::open(system.path("run/rill-admin/lock")).expect("a file");
    lock.lock().expect("nobody has it");
    for request in VERBS.into_iter().filter(|request| *request != "status") {
        assert_eq!(system.ask(request), "error another change is under way; try again", "{request}");
    }
    assert_eq!(system.calls(), [""; 0]);
    assert!(system.ask("status").starts_with("ok "));
    drop(lock);
    assert_eq!(system.ask("ssh on"), "ok");
}

#[test]
fn every_verb_is_refused_for_other_users() {
    let system = System::new();
    for request in VERBS {
        let answer = if geteuid().is_root() {
            system.as_nobody(request, "daemon", "say/systemctl-show")
        } else {
            let (mut ours, theirs) = UnixStream::pair().expect("a pair");
            let mut child = system.start(theirs, "nobody");
            let _ = ours.write_all(format!("{request}\n").as_bytes());
            let answer = line(&mut ours);
            child.wait().expect("it ends");
            answer
        };
        assert_eq!(answer, "error only the daemon and root may ask", "{request}");
        assert_eq!(system.calls(), [""; 0], "{request}");
    }
}

/// FFmpegs run as the daemon's user.
#[test]
fn the_daemon_may_ask_but_not_its_children() {
    if !geteuid().is_root() {
        eprintln!("NOT RUN: another user's process needs root");
        return;
    }
    let system = System::new();
    for request in VERBS {
        // What systemd tells is not that process.
        let answer = system.as_nobody(request, NOBODY.0, "pid");
        assert_eq!(answer, "error only the daemon and root may ask", "{request}");
        assert_eq!(system.calls(), [""; 0], "{request}");
    }
    let answer = system.as_nobody("ssh on", NOBODY.0, "say/systemctl-show");
    assert_eq!(answer, "ok");
    assert_eq!(system.calls(), ["systemctl enable --now ssh.service"]);
    system.write("fail/systemctl-show", "");
    let answer = system.as_nobody("ssh on", NOBODY.0, "say/systemctl-show");
    assert!(answer.starts_with("error systemctl show"), "{answer}");
    assert!(!answer.contains("ok"));
}

#[test]
fn requests_that_are_none() {
    let system = System::new();
    for request in ["halt", "exec id", "Reboot", "reboot now", "hostname $(id)", "network eth0", "ssh", "../reboot"] {
        system.refused(format!("{request}\n").as_bytes(), None, "");
    }
    for request in [&b"hostname a\0b\n"[..], b"\0\n", b"reboot\0\n", b"hostname \xff\n", b"reboot\r\n", b"ssh\ton\n"] {
        system.refused(request, None, "not one line of plain text");
    }
    for request in [&b"\n"[..], b" reboot\n", b"reboot \n", b"ssh  on\n"] {
        system.refused(request, None, "one blank");
    }
    system.refused(&[b'a'; 513], None, "longer than 512 bytes");
    system.refused(&[b'a'; 100_000], None, "longer than 512 bytes");
    system.refused(&[&[b'a'; 600][..], b"\n"].concat(), None, "longer than 512 bytes");
    system.refused(b"reboot\nreboot\n", None, "only one request");
    system.refused(b"ssh on\npoweroff", None, "only one request");
    for part in [&b""[..], b"reboot", b"factory-rese"] {
        system.refused(part, Some(Shutdown::Write), "not complete");
    }
}

#[test]
fn a_request_may_come_in_pieces_but_not_for_ever() {
    let system = System::new();
    let (mut ours, theirs) = UnixStream::pair().expect("a pair");
    let mut child = system.start(theirs, &system.user);
    for byte in b"ssh on\n" {
        ours.write_all(&[*byte]).expect("it listens");
        std::thread::yield_now();
    }
    assert_eq!(line(&mut ours), "ok");
    assert!(child.wait().expect("it ends").success());
    system.calls();
    system.refused(b"reboot", None, "did not come within");
}

#[test]
fn it_answers_sockets_only() {
    for (arguments, text) in
        [(&[][..], "standard input is no socket"), (&["--verbose"], "--verbose"), (&["reboot"], "reboot")]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rill-admin"));
        let done = command.args(arguments).stdin(Stdio::null()).output().expect("it runs");
        assert_eq!(done.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&done.stderr).contains(text), "{arguments:?}: {done:?}");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_rill-admin")).arg("--help").output().expect("it runs");
    let text = String::from_utf8(help.stdout).expect("text");
    assert!(VERBS.iter().all(|verb| text.contains(verb.split(' ').next().expect("a word"))), "{text}");
}
