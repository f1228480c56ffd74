//! Looks at what the daemon needs: its program, its settings, its folders, its address, its journal.
//!
//! Each look is bounded in time and bytes and changes nothing; what can't be looked at is a value.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cause::{Check, Facts};
use super::record::Bound;
use super::server;
use crate::base::file_driver;
use crate::config::Environment;

/// Lines of the journal that are shown.
pub(super) const JOURNAL_LINES: usize = 200;
/// Bytes kept of what a program prints.
const OUTPUT_BYTES: u64 = 64 * 1024;
/// `rill config check` on the slowest board with a cold disk.
const CHECK_TIME: Duration = Duration::from_secs(10);
const JOURNAL_TIME: Duration = Duration::from_secs(5);
/// What a program printed is awaited for so long after its end.
const LAST_WORDS: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(10);

/// Where everything lies.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) environment: Environment,
    /// The configuration file.
    pub(super) config: PathBuf,
    /// The daemon's program.
    pub(super) binary: PathBuf,
}

impl Place {
    /// As the daemon would find it.
    pub(super) fn find(environment: Environment) -> Self {
        let files = environment.config_files();
        let config = files.iter().find(|file| file.is_file()).or(files.first()).cloned().unwrap_or_default();
        let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/bin/rill-rescue"));
        Self { environment, config, binary: own.with_file_name("rill") }
    }

    /// The folder of db.json, also by settings that nobody accepts.
    pub(super) fn db_dir(&self) -> PathBuf {
        if let Some(dir) = self.environment.text("CORE_DB_DIR") {
            return dir.into();
        }
        let value: Value =
            fs::read(&self.config).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        value["db"]["dir"].as_str().filter(|dir| !dir.is_empty()).unwrap_or("./config").into()
    }

    /// Where the daemon listened, or would.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let bytes = file_driver::read(&self.config.with_file_name(Bound::FILE)).ok().flatten().unwrap_or_default();
        Bound::parse(&bytes).places(self.environment.text("CORE_ADDRESS"))
    }

    /// All that the class is told by.
    pub(super) fn facts(&self) -> Facts {
        let text = |name: &str| self.environment.text(name).unwrap_or_default().to_owned();
        Facts {
            result: text("MONITOR_SERVICE_RESULT"),
            status: text("MONITOR_EXIT_STATUS"),
            binary: self.program(),
            state: self.folders(),
            port: self.port(),
            check: self.check(&self.config),
        }
    }

    /// Why the program can't be run.
    fn program(&self) -> Option<String> {
        match run(Command::new(&self.binary).arg("--version"), CHECK_TIME) {
            Ok(Output { code: Some(0), .. }) => None,
            Ok(output) => Some(format!("{} --version ends with {}", self.binary.display(), output.ending())),
            Err(error) => Some(format!("{} can't be run: {error}", self.binary.display())),
        }
    }

    /// Why the folders of settings and state can't be written.
    pub(super) fn folders(&self) -> Option<String> {
        let config = self.config.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        [config.to_owned(), self.db_dir()].iter().find_map(|dir| {
            // What is not there is made by the daemon: then the next folder above counts.
            let dir = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("."));
            let probe = dir.join(".rill-rescue.tmp");
            let written = OpenOptions::new().write(true).create(true).truncate(true).open(&probe);
            let _ = fs::remove_file(&probe);
            written.err().map(|error| format!("{} can't be written: {error}", dir.display()))
        })
    }

    /// Why the daemon's address can't be had.
    pub(super) fn port(&self) -> Option<String> {
        self.addresses().into_iter().find_map(|place| {
            let error = server::is_taken(place)?;
            (error.kind() == io::ErrorKind::AddrInUse).then(|| format!("{place} is taken: {error}"))
        })
    }

    /// What the daemon says to the settings in `file`.
    pub(super) fn check(&self, file: &Path) -> Check {
        if !file.exists() {
            return Check::Valid;
        }
        let mut command = Command::new(&self.binary);
        match run(command.args(["config", "check"]).env("CORE_CONFIGFILE", file), CHECK_TIME) {
            Ok(Output { code: Some(0), .. }) => Check::Valid,
            Ok(Output { code: Some(1), text }) => Check::Refused(text),
            Ok(_) | Err(_) => Check::Unknown,
        }
    }

    /// The last lines of the daemon's journal, as they are.
    pub(super) fn journal(&self) -> Vec<String> {
        let lines = JOURNAL_LINES.to_string();
        let arguments = ["-u", "rill.service", "--no-pager", "-q", "-o", "short-iso", "-n", &lines];
        match run(Command::new("journalctl").args(arguments), JOURNAL_TIME) {
            Ok(Output { code: Some(0), text }) => text.lines().map(ToOwned::to_owned).collect(),
            Ok(output) => vec![format!("journalctl ends with {}: {}", output.ending(), output.text)],
            Err(error) => vec![format!("journalctl can't be run: {error}")],
        }
    }
}

/// How a program ended and what it said.
struct Output {
    /// `None`: by a signal, or it took too long.
    code: Option<i32>,
    text: String,
}

impl Output {
    fn ending(&self) -> String {
        self.code.map_or_else(|| "a signal, or not in time".to_owned(), |code| format!("code {code}"))
    }
}

/// Runs a program for at most `limit`. Its last `OUTPUT_BYTES` are not read if it prints more.
fn run(command: &mut Command, limit: Duration) -> io::Result<Output> {
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let readers = [read_all(child.stdout.take()), read_all(child.stderr.take())];
    let end = Instant::now() + limit;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() < end => thread::sleep(POLL),
            None => {
                // It may end at this moment.
                let _ = child.kill();
                child.wait()?;
                break None;
            }
        }
    };
    // What it forked may hold the pipe for ever.
    let texts = readers.map(|reader| reader.recv_timeout(LAST_WORDS).unwrap_or_default());
    Ok(Output { code: status.and_then(|status| status.code()), text: texts.concat() })
}

fn read_all(stream: Option<impl io::Read + Send + 'static>) -> Receiver<String> {
    let (tell, told) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What came before a fault counts; the rest is read so that the program is not held up.
            let _ = stream.by_ref().take(OUTPUT_BYTES).read_to_end(&mut bytes);
            let _ = tell.send(String::from_utf8_lossy(&bytes).into_owned());
            let _ = io::copy(&mut stream, &mut io::sink());
        }
    });
    told
}
