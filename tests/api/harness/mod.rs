//! The daemon under test: a work directory of its own, free ports, ready when `/ping` answers, stopped with SIGINT.
//!
//! `Setup` (environment, files, config file) → `Daemon` (variables, requests, log). Nothing is inherited from the
//! caller's environment but `PATH` and `CORE_FFMPEG_BINARY`, as the golden format says.

pub(crate) mod described;
pub(crate) mod http;
pub(crate) mod ports;
pub(crate) mod rtmp;
pub(crate) mod s3;
pub(crate) mod setup;
pub(crate) mod srt;
pub(crate) mod steps;
pub(crate) mod stub;
pub(crate) mod tls;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use http::{Request, Response};
pub(crate) use setup::{Setup, Variables};

const START_LIMIT: Duration = Duration::from_secs(20);
/// As long as the golden runner waits after SIGINT.
const STOP_LIMIT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);

/// A running daemon; stopped and its directory removed when dropped.
pub(crate) struct Daemon {
    child: Option<Child>,
    work: TempDir,
    environment: BTreeMap<String, String>,
    open_files: Option<u32>,
    pub(crate) variables: Variables,
    _stubs: Vec<setup::Fixture>,
}

impl Daemon {
    /// Prepares the directory, starts the daemon and waits until it answers.
    ///
    /// **Errors:** a fixture that cannot be made, or a daemon that ends or stays silent, with the end of its log.
    pub(crate) fn start(setup: &Setup) -> Result<Self, String> {
        let mut daemon = Self::prepare(setup)?;
        daemon.resume()?;
        Ok(daemon)
    }

    /// As [`Daemon::start`], but the daemon is not started yet.
    pub(crate) fn prepare(setup: &Setup) -> Result<Self, String> {
        let work = tempfile::Builder::new().prefix("golden-").tempdir().map_err(|e| format!("work directory: {e}"))?;
        let variables = setup::variables(work.path());
        setup::fill_work_dir(setup, work.path(), &variables).map_err(|e| format!("work directory: {e}"))?;
        let stubs = setup.fixtures.iter().map(|f| setup::start_fixture(f, &variables));
        let stubs = stubs.collect::<Result<Vec<_>, _>>()?;
        let environment = setup::environment(setup, &variables);
        Ok(Self { child: None, work, environment, open_files: setup.open_files, variables, _stubs: stubs })
    }

    /// Starts the daemon (again) in the same directory with the same ports.
    pub(crate) fn resume(&mut self) -> Result<(), String> {
        self.spawn()?;
        let end = Instant::now() + START_LIMIT;
        while Instant::now() < end {
            let child = self.child.as_mut().expect("spawned above");
            if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
                self.child = None;
                return Err(format!("the daemon ended with {status}:\n{}", self.log_tail()));
            }
            if http::send(self.address(), &Request::get("/ping"), Duration::from_secs(2)).is_ok_and(|r| r.status == 200)
            {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        Err(format!("the daemon did not answer /ping within {START_LIMIT:?}:\n{}", self.log_tail()))
    }

    /// Starts the daemon and waits for its end, for starts that are expected to fail.
    pub(crate) fn run_to_end(&mut self) -> Result<ExitStatus, String> {
        self.spawn()?;
        let mut child = self.child.take().expect("spawned above");
        wait(&mut child, START_LIMIT).ok_or_else(|| {
            let _ = child.kill();
            let _ = child.wait();
            format!("the daemon did not end within {START_LIMIT:?}:\n{}", self.log_tail())
        })
    }

    /// Runs the program with `arguments` in the daemon's directory and environment, with `variables` on top, and waits:
    /// exit code, stdout, stderr.
    #[track_caller]
    pub(crate) fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rill"));
        command.args(arguments).current_dir(self.work.path()).env_clear().envs(&self.environment);
        let output = command.envs(variables.iter().copied()).output().expect("the program can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    fn spawn(&mut self) -> Result<(), String> {
        let log = File::options().create(true).append(true).open(self.log_path()).map_err(|e| e.to_string())?;
        let errors = log.try_clone().map_err(|e| e.to_string())?;
        let mut command = match self.open_files {
            None => Command::new(env!("CARGO_BIN_EXE_rill")),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {limit}; exec \"$0\""), env!("CARGO_BIN_EXE_rill")]);
                shell
            }
        };
        let child = command
            .current_dir(self.work.path())
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("starting the daemon: {error}"))?;
        self.child = Some(child);
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let port = self.variables["HTTP_PORT"].parse().expect("HTTP_PORT is a number");
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// Where HTTPS listens.
    pub(crate) fn secure_address(&self) -> SocketAddr {
        let port = self.variables["TLS_PORT"].parse().expect("TLS_PORT is a number");
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// Where RTMP listens.
    pub(crate) fn rtmp_address(&self) -> SocketAddr {
        let port = self.variables["RTMP_PORT"].parse().expect("RTMP_PORT is a number");
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map(Child::id).expect("the daemon runs")
    }

    pub(crate) fn work_dir(&self) -> &Path {
        self.work.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.work.path().join("data")
    }

    pub(crate) fn db_dir(&self) -> PathBuf {
        self.work.path().join("db")
    }

    /// One request; a daemon that does not answer fails the test with its log.
    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Response {
        http::send(self.address(), request, http::TIMEOUT).unwrap_or_else(|error| {
            panic!("{} {}: {error}\n{}", request.method, request.path, self.log_tail());
        })
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.send(&Request::get(path))
    }

    /// GET that must answer 200 with JSON.
    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!(response.status, 200, "GET {path}: {}", response.text());
        response.json().unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Sends a JSON body; the answer's status must be `status`.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let response = self.send(&Request::new(method, path).json(body));
        assert_eq!(response.status, status, "{method} {path}: {}", response.text());
        response.json().unwrap_or(Value::Null)
    }

    /// Asks again until the JSON at `path` satisfies `wanted`.
    #[track_caller]
    pub(crate) fn wait_for(&self, path: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + limit;
        loop {
            let response = self.get(path);
            let value = response.json().unwrap_or(Value::Null);
            if wanted(&value) {
                return value;
            }
            assert!(
                Instant::now() < end,
                "GET {path} never became what was wanted within {limit:?}; last: {} {value}\n{}",
                response.status,
                self.log_tail()
            );
            std::thread::sleep(POLL);
        }
    }

    /// Sends a signal and does not wait.
    pub(crate) fn signal(&self, number: Signal) {
        signal(self.child.as_ref().expect("the daemon runs"), number);
    }

    /// Waits for the end of a daemon that was told to stop.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("the daemon runs");
        let status = wait(child, STOP_LIMIT);
        let status = status.unwrap_or_else(|| panic!("the daemon did not stop within {STOP_LIMIT:?}"));
        self.child = None;
        status
    }

    /// Stops with SIGINT and waits. A daemon that ignores it is killed and fails the test.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the daemon runs");
        signal(&child, Signal::SIGINT);
        wait(&mut child, STOP_LIMIT).unwrap_or_else(|| {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the daemon did not stop within {STOP_LIMIT:?} of SIGINT:\n{}", self.log_tail());
        })
    }

    /// Ends the daemon with SIGKILL, as a power cut would.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("the daemon runs");
        let _ = child.kill();
        let _ = child.wait();
    }

    pub(crate) fn log(&self) -> String {
        fs::read(self.log_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let start = log.len().saturating_sub(1500);
        let start = (start..log.len()).find(|&at| log.is_char_boundary(at)).unwrap_or(log.len());
        format!("--- end of the daemon's log\n{}", &log[start..])
    }

    fn log_path(&self) -> PathBuf {
        self.work.path().join("daemon.log")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(&child, Signal::SIGINT);
            if wait(&mut child, STOP_LIMIT).is_none() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("process ids are positive and small");
    // It may have ended by itself.
    let _ = kill(Pid::from_raw(pid), signal);
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(POLL),
            _ => return None,
        }
    }
}
