//! Does what a verb says: files below one root folder, programs of it as children with fixed arguments and a time.
//!
//! There is no shell, and no word of a request reaches a child that `verbs` has not checked. What ends the daemon (reboot,
//! power off, factory reset) is done in two steps, so that whoever asks through the daemon is answered before.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl};

use super::network::{self, Interface, Network};
use super::verbs::{Hostname, Switch, Verb};
use crate::base::file_driver::{self, Previous};

/// A child that takes longer is ended.
const CHILD_TIME: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// Bytes that are read of what a child says.
const OUTPUT_BYTES: u64 = 4096;
/// Interfaces that are told.
const INTERFACES: usize = 16;

const PROGRAMS: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
const UNITS: [&str; 3] = ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
const NETWORKS: &str = "etc/systemd/network";
const LOCK: &str = "run/rill-admin/lock";
const NETWORKD: &str = "systemd-networkd.service";
const SERVICE: &str = "rill.service";
/// The services whose main process may ask; their children, which run as the same user, may not.
const ASKERS: [&str; 2] = [SERVICE, "rill-rescue.service"];
/// SSH servers of distributions; the first that is there is switched on, all are switched off.
const SSH: [&str; 5] = ["ssh.service", "sshd.service", "dropbear.service", "ssh.socket", "sshd.socket"];
/// What a factory reset takes away, where `rill.service` has its state. Media stays.
const STATE: &str = "var/lib/rill";
const FORGOTTEN: [&str; 3] = ["config", "auth", "auth.json"];
const ASIDE: &str = "before-reset";

/// Why a verb was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0} is not installed")]
    Missing(&'static str),
    #[error("{command} can't be run")]
    Run { command: String, source: io::Error },
    #[error("{command} took longer than {} seconds", limit.as_secs())]
    TimedOut { command: String, limit: Duration },
    #[error("{command} failed: {said}")]
    Failed { command: String, said: String },
    #[error("there is no network interface {name}; there are: {known}")]
    NoInterface { name: String, known: String },
    #[error("{NETWORKD} does not run the network of this box; change it where it is set up")]
    OtherNetwork,
    #[error("no SSH server is installed")]
    NoSsh,
    #[error("another change is under way; try again")]
    Busy,
    #[error(transparent)]
    File(#[from] file_driver::Error),
    #[error("{act} {path}")]
    State { act: &'static str, path: PathBuf, source: io::Error },
}

/// A system below a root folder; programs and files of requests are looked for there.
pub struct System {
    root: PathBuf,
    child_time: Duration,
}

/// What is left to do when the answer has been given.
pub(super) enum Outcome {
    Done(String),
    Later(Later),
}

pub(super) struct Later {
    step: Step,
    _turn: Flock<File>,
}

enum Step {
    Reboot,
    PowerOff,
    FactoryReset,
}

impl System {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), child_time: CHILD_TIME }
    }

    /// Main processes of the services that may ask.
    ///
    /// # Errors
    /// systemd does not say.
    pub(super) fn askers(&self) -> Result<Vec<i32>, Error> {
        let said = self.run("systemctl", &["show", "--property=MainPID", "--value", ASKERS[0], ASKERS[1]])?;
        Ok(said.split_whitespace().filter_map(|word| word.parse().ok()).filter(|pid| *pid > 0).collect())
    }

    /// Does `verb`, or finds that it can be done later.
    pub(super) fn perform(&self, verb: &Verb) -> Result<Outcome, Error> {
        let step = match verb {
            Verb::Status => return Ok(Outcome::Done(self.status())),
            Verb::Hostname(name) => return self.alone(|| self.rename(name)),
            Verb::Network(network) => return self.alone(|| self.connect(network)),
            Verb::Ssh(switch) => return self.alone(|| self.ssh(*switch)),
            Verb::Reboot => Step::Reboot,
            Verb::PowerOff => Step::PowerOff,
            Verb::FactoryReset => Step::FactoryReset,
        };
        self.program("systemctl")?;
        Ok(Outcome::Later(Later { step, _turn: self.turn()? }))
    }

    pub(super) fn finish(&self, later: &Later) -> Result<(), Error> {
        match later.step {
            Step::Reboot => self.run("systemctl", &["--no-block", "reboot"]).map(drop),
            Step::PowerOff => self.run("systemctl", &["--no-block", "poweroff"]).map(drop),
            Step::FactoryReset => self.reset(),
        }
    }

    fn alone(&self, work: impl FnOnce() -> Result<(), Error>) -> Result<Outcome, Error> {
        let _turn = self.turn()?;
        work().map(|()| Outcome::Done(String::new()))
    }

    /// One change at a time.
    fn turn(&self) -> Result<Flock<File>, Error> {
        let path = self.root.join(LOCK);
        let fault = |source| Error::State { act: "locking", path: path.clone(), source };
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(fault)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(fault)?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| Error::Busy)
    }

    /// Words of `name=value`.
    fn status(&self) -> String {
        let mut words = Vec::new();
        let name = fs::read_to_string(self.root.join("proc/sys/kernel/hostname")).unwrap_or_default();
        words.extend(Hostname::new(name.trim()).ok().map(|name| format!("hostname={}", name.as_str())));
        words.push(format!("network={}", if self.is_active(&[NETWORKD]) { "networkd" } else { "other" }));
        let servers = self.ssh_servers();
        let ssh = match &servers[..] {
            [] => "none",
            some if self.is_active(some) => Switch::On.name(),
            _ => Switch::Off.name(),
        };
        words.push(format!("ssh={ssh}"));
        for interface in self.interfaces() {
            let file = fs::read_to_string(self.network_file(&interface)).unwrap_or_default();
            let how = match () {
                () if file.contains("\nDHCP=yes\n") => "dhcp",
                () if file.contains("\nDHCP=no\n") => "static",
                () => "system",
            };
            words.push(format!("interface={}:{how}", interface.name()));
        }
        words.join(" ")
    }

    fn rename(&self, name: &Hostname) -> Result<(), Error> {
        self.run("hostnamectl", &["set-hostname", name.as_str()]).map(drop)
    }

    /// The new file stays only if systemd-networkd takes it.
    fn connect(&self, network: &Network) -> Result<(), Error> {
        let name = network.interface.name();
        if !self.root.join("sys/class/net").join(name).exists() {
            let known: Vec<_> = self.interfaces().iter().map(|found| found.name().to_owned()).collect();
            return Err(Error::NoInterface { name: name.to_owned(), known: known.join(", ") });
        }
        if !self.is_active(&[NETWORKD]) {
            return Err(Error::OtherNetwork);
        }
        let folder = self.root.join(NETWORKS);
        fs::create_dir_all(&folder).map_err(|source| Error::State { act: "making", path: folder, source })?;
        let path = self.network_file(&network.interface);
        let former = file_driver::read(&path)?;
        file_driver::replace_public(&path, network.file().as_bytes(), Previous::Keep)?;
        let reload = || self.run("networkctl", &["reload"]);
        let Err(error) = reload() else { return Ok(()) };
        match former {
            Some(former) => file_driver::replace_public(&path, &former, Previous::Leave)?,
            None => {
                fs::remove_file(&path).map_err(|source| Error::State { act: "removing", path, source })?;
            }
        }
        // It could not be told before either.
        let _ = reload();
        Err(error)
    }

    fn ssh(&self, switch: Switch) -> Result<(), Error> {
        let servers = self.ssh_servers();
        match (switch, &servers[..]) {
            (_, []) => Err(Error::NoSsh),
            (Switch::On, [first, ..]) => self.run("systemctl", &["enable", "--now", first]).map(drop),
            (Switch::Off, all) => self.run("systemctl", &[&["disable", "--now"], all].concat()).map(drop),
        }
    }

    /// The daemon runs again whatever happens in between.
    fn reset(&self) -> Result<(), Error> {
        let stopped = self.run("systemctl", &["stop", SERVICE]);
        let done = stopped.and_then(|_| FORGOTTEN.into_iter().try_for_each(|name| self.set_aside(name)));
        // A daemon that failed too often may be started again.
        let _ = self.run("systemctl", &["reset-failed", SERVICE]);
        let started = self.run("systemctl", &["--no-block", "start", SERVICE]);
        done.and(started.map(drop))
    }

    /// The folder belongs to the daemon's user: links in it are moved and removed, never followed.
    fn set_aside(&self, name: &str) -> Result<(), Error> {
        let path = self.root.join(STATE).join(name);
        let aside = self.root.join(STATE).join(format!("{name}.{ASIDE}"));
        if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(());
        }
        remove(&aside).map_err(|source| Error::State { act: "removing", path: aside.clone(), source })?;
        fs::rename(&path, &aside).map_err(|source| Error::State { act: "setting aside", path, source })
    }

    fn network_file(&self, interface: &Interface) -> PathBuf {
        self.root.join(NETWORKS).join(network::file_name(interface.name()))
    }

    /// Interfaces that can be set up, by name.
    fn interfaces(&self) -> Vec<Interface> {
        let entries = fs::read_dir(self.root.join("sys/class/net")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| Interface::new(entry.file_name().to_str()?).ok());
        let mut found: Vec<Interface> = names.take(INTERFACES).collect();
        found.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        found
    }

    fn ssh_servers(&self) -> Vec<&'static str> {
        let is_there = |unit: &&str| UNITS.iter().any(|folder| self.root.join(folder).join(unit).exists());
        SSH.into_iter().filter(is_there).collect()
    }

    /// Whether one of the units runs.
    fn is_active(&self, units: &[&str]) -> bool {
        self.run("systemctl", &[&["is-active", "--quiet"], units].concat()).is_ok()
    }

    fn program(&self, name: &'static str) -> Result<PathBuf, Error> {
        let places = PROGRAMS.iter().map(|folder| self.root.join(folder).join(name));
        places.into_iter().find(|place| place.is_file()).ok_or(Error::Missing(name))
    }

    /// Runs a program to its end; what it says.
    fn run(&self, program: &'static str, arguments: &[&str]) -> Result<String, Error> {
        let command = [&[program], arguments].concat().join(" ");
        let fault = |source| Error::Run { command: command.clone(), source };
        let mut child = Command::new(self.program(program)?)
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            // No scripts of former init systems, which know nothing of this unit's limits.
            .env("SYSTEMCTL_SKIP_SYSV", "1")
            // This unit may not look at process 1, by which it is judged.
            .env("SYSTEMD_IGNORE_CHROOT", "1")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(fault)?;
        let end = Instant::now() + self.child_time;
        let status = loop {
            match child.try_wait().map_err(fault)? {
                Some(status) => break status,
                None if Instant::now() < end => thread::sleep(POLL),
                None => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(Error::TimedOut { command, limit: self.child_time });
                }
            }
        };
        let said = said(&mut child);
        if status.success() { Ok(said) } else { Err(Error::Failed { command, said }) }
    }
}

/// What an ended child has left in its pipes; a grandchild that holds them is not waited for.
fn said(child: &mut Child) -> String {
    let mut text = Vec::new();
    if let Some(pipe) = &mut child.stdout {
        let _ = fcntl(pipe.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        let _ = pipe.take(OUTPUT_BYTES).read_to_end(&mut text);
    }
    if let Some(pipe) = &mut child.stderr {
        let _ = fcntl(pipe.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        let _ = pipe.take(OUTPUT_BYTES).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(entry) if entry.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        fs::create_dir_all(root.path().join("hang")).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/admin/program");
        symlink(program, root.path().join("usr/bin/hostnamectl")).unwrap();
        fs::write(root.path().join("hang/hostnamectl-set-hostname"), "").unwrap();
        let system = System { child_time: Duration::from_secs(1), ..System::new(root.path()) };
        let verb = Verb::parse(b"hostname box").unwrap();
        let error = system.perform(&verb).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "hostnamectl set-hostname box took longer than 1 seconds");
        let pid = fs::read_to_string(root.path().join("pid")).unwrap();
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "{pid}");
        // The next one may try.
        fs::remove_file(root.path().join("hang/hostnamectl-set-hostname")).unwrap();
        assert!(matches!(system.perform(&verb), Ok(Outcome::Done(text)) if text.is_empty()));
    }

    #[test]
    fn what_a_child_says_is_bounded_and_grandchildren_are_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        fs::create_dir_all(root.path().join("say")).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/admin/program");
        symlink(program, root.path().join("usr/bin/systemctl")).unwrap();
        fs::write(root.path().join("say/systemctl-show"), "17\n\n-4 x 0 23 ".repeat(2000)).unwrap();
        let system = System::new(root.path());
        let pids = system.askers().unwrap();
        assert!(pids.len() < 1000 && pids.starts_with(&[17, 23, 17]), "{}", pids.len());
        fs::create_dir_all(root.path().join("leave")).unwrap();
        fs::write(root.path().join("leave/systemctl-show"), "").unwrap();
        assert!(system.askers().unwrap().starts_with(&[17, 23]));
        let pid = fs::read_to_string(root.path().join("pid")).unwrap();
        let grandchild = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
        nix::sys::signal::kill(grandchild, nix::sys::signal::Signal::SIGKILL).expect("it holds the pipes still");
    }
}
