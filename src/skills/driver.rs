//! Runs FFmpeg's lists and adds what `hw` knows of devices: the one place of this folder with IO.
//!
//! `Handle` → request queue → task → at most `CHILDREN` short children at once → `Skills` in a `watch`. Nothing runs
//! before someone asks, so that the start of the daemon does not wait for seven children. The answer is kept as long as
//! the binary's file stays the same; `reload` looks again. Bounds: `CHILD_LIMIT` per child, `CHILD_OUTPUT` of its text.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream;
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Build, Skills, Version, devices, parse};
use crate::base::alarm::Alarms;
use crate::base::blocking::{Blocking, Lane};
use crate::base::clock::Now;
use crate::base::task;
use crate::hw;
use crate::sys::child::find_program;
use crate::sys::memory;

/// Requests waiting for the task; beyond it callers wait in line.
const REQUEST_QUEUE: usize = 16;
/// Children at once.
const CHILDREN: usize = 2;
/// A list that takes longer is cut, its child killed: a small board may read FFmpeg from its card while all else starts.
const CHILD_LIMIT: Duration = Duration::from_secs(60);
/// Pause before FFmpeg is asked again because it has not said its version.
const RETRY: Duration = Duration::from_secs(60);
/// Bytes read of one list; FFmpeg's longest is about 100 KiB.
const CHILD_OUTPUT: u64 = 1 << 20;
const COMPONENT: &str = "FFmpeg";

/// Cheap handle to the task.
#[derive(Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    known: watch::Receiver<Known>,
}

/// What has been found so far. The version comes first, since starting a process waits for it.
#[derive(Clone, Default)]
struct Known {
    build: Option<Rc<Build>>,
    skills: Option<Rc<Skills>>,
}

impl Known {
    fn version(&self) -> Option<Version> {
        self.build.as_ref().and_then(|build| build.version)
    }
}

enum Request {
    Skills {
        fresh: bool,
        answer: oneshot::Sender<Rc<Skills>>,
    },
    /// Answered when the binary has been looked at.
    Version {
        answer: oneshot::Sender<()>,
    },
    Configure {
        binary: PathBuf,
    },
}

/// Starts the owner of the skills of `binary`, a path or a name looked up in PATH.
pub fn spawn(binary: PathBuf, blocking: Blocking, alarms: Alarms, hardware: hw::Handle) -> Handle {
    spawn_with(binary, blocking, alarms, hardware, Patience { child: CHILD_LIMIT, retry: RETRY })
}

fn spawn_with(binary: PathBuf, blocking: Blocking, alarms: Alarms, hardware: hw::Handle, patience: Patience) -> Handle {
    let (requests, rx) = mpsc::channel(REQUEST_QUEUE);
    let (tx, known) = watch::channel(Known::default());
    task::spawn(Driver { binary, blocking, alarms, hardware, patience, known: tx, seen: None }.run(rx));
    Handle { requests, known }
}

impl Handle {
    /// What FFmpeg can do; waits for the lists when they are not there yet or the binary has changed.
    pub async fn skills(&self) -> Rc<Skills> {
        self.ask(false).await
    }

    /// Looks again, then as `skills`. Calls that come while one runs share the next one.
    pub async fn reload(&self) -> Rc<Skills> {
        self.ask(true).await
    }

    /// FFmpeg's version; `None` when there is no FFmpeg or it does not say. Waits for one short child at most.
    pub async fn version(&self) -> Option<Version> {
        let mut known = self.known.clone();
        if let Some(version) = known.borrow().version() {
            return Some(version);
        }
        let (answer, looked) = oneshot::channel();
        self.requests.send(Request::Version { answer }).await.ok()?;
        tokio::select! {
            // The lists may still be on their way.
            known = known.wait_for(|known| known.version().is_some()) => known.ok()?.version(),
            _ = looked => self.known_version(),
        }
    }

    /// Asks another binary from now on; looks at it at once.
    pub async fn configure(&self, binary: PathBuf) {
        // A closed queue means that the daemon ends.
        let _ = self.requests.send(Request::Configure { binary }).await;
    }

    /// The version if it is known already.
    pub fn known_version(&self) -> Option<Version> {
        self.known.borrow().version()
    }

    /// Completes when FFmpeg's version is known and not `last`.
    pub async fn next_version(&mut self, last: Option<Version>) -> Version {
        let is_new = |known: &Known| known.version().is_some_and(|version| Some(version) != last);
        match self.known.wait_for(is_new).await.as_deref().ok().and_then(Known::version) {
            Some(version) => version,
            // A closed channel means that the daemon ends.
            None => std::future::pending().await,
        }
    }

    /// The latest skills without waiting; `None` before the first lists.
    pub fn latest(&self) -> Option<Rc<Skills>> {
        self.known.borrow().skills.clone()
    }

    /// Completes when the next lists have been read.
    pub async fn changed(&mut self) {
        let before = self.latest();
        let same = |now: &Option<Rc<Skills>>| match (now, &before) {
            (Some(now), Some(before)) => Rc::ptr_eq(now, before),
            (now, before) => now.is_none() && before.is_none(),
        };
        // A closed channel means that the daemon ends; there is nothing to wake for then.
        if self.known.wait_for(|known| !same(&known.skills)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn ask(&self, fresh: bool) -> Rc<Skills> {
        let (answer, result) = oneshot::channel();
        match self.requests.send(Request::Skills { fresh, answer }).await {
            Ok(()) => result.await.unwrap_or_default(),
            Err(_) => Rc::default(),
        }
    }
}

/// How the binary's file is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) path: PathBuf,
    pub(super) modified: Option<SystemTime>,
    pub(super) size: u64,
}

/// See `CHILD_LIMIT` and `RETRY`.
#[derive(Clone, Copy)]
struct Patience {
    child: Duration,
    retry: Duration,
}

struct Driver {
    binary: PathBuf,
    patience: Patience,
    blocking: Blocking,
    alarms: Alarms,
    hardware: hw::Handle,
    known: watch::Sender<Known>,
    /// The file that `known` belongs to; `None` inside: there was none. `None` outside also after a look that was cut
    /// short: the next one sees a new file.
    seen: Option<Option<Stamp>>,
}

impl Driver {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = self.next(&mut requests).await {
            // Whoever waits by now shares one look.
            let mut waiting = vec![request];
            while let Ok(request) = requests.try_recv() {
                waiting.push(request);
            }
            for request in &mut waiting {
                if let Request::Configure { binary } = request {
                    self.binary = std::mem::take(binary);
                }
            }
            let fresh = waiting.iter().any(|r| matches!(r, Request::Skills { fresh: true, .. }));
            let lists = waiting.iter().any(|r| matches!(r, Request::Skills { .. }));
            self.look(fresh, lists).await;
            let skills = self.known.borrow().skills.clone().unwrap_or_default();
            for request in waiting {
                // Who asked may have gone.
                match request {
                    Request::Skills { answer, .. } => drop(answer.send(skills.clone())),
                    Request::Version { answer } => drop(answer.send(())),
                    Request::Configure { .. } => {}
                }
            }
        }
    }

    /// The next request. Meanwhile devices come and go, and an FFmpeg that was there but did not say its version is asked
    /// again: processes that are started without it lack options that depend on it.
    async fn next(&mut self, requests: &mut mpsc::Receiver<Request>) -> Option<Request> {
        loop {
            let is_mute = self.known.borrow().build.as_ref().is_some_and(|build| build.version.is_none());
            tokio::select! {
                request = requests.recv() => return request,
                () = self.hardware.changed() => self.plug_in(),
                () = tokio::time::sleep(self.patience.retry), if is_mute => self.look(true, false).await,
            }
        }
    }

    /// Lists what has come or gone, once there are lists.
    fn plug_in(&self) {
        let known = self.known.borrow().skills.clone();
        if let (Some(skills), Some(hardware)) = (known, self.hardware.latest()) {
            let mut skills = Skills::clone(&skills);
            if devices::plug_in(&mut skills, &hardware) {
                self.known.send_modify(|known| known.skills = Some(Rc::new(skills)));
            }
        }
    }

    /// Brings `known` up to date: the version, and the lists if they are wanted.
    async fn look(&mut self, fresh: bool, lists: bool) {
        let binary = self.binary.clone();
        let stamp = self.blocking.run(Lane::General, move || stamp(&binary)).await;
        let changed = self.seen.as_ref() != Some(&stamp);
        if changed || fresh {
            let (build, is_whole) = self.read_build(stamp.as_ref()).await;
            self.known.send_modify(|known| {
                known.build = Some(build);
                if changed {
                    known.skills = None;
                }
            });
            self.seen = is_whole.then(|| stamp.clone());
        }
        if lists && (changed || fresh || self.known.borrow().skills.is_none()) {
            let (skills, is_whole) = self.read_lists(stamp.as_ref()).await;
            self.known.send_modify(|known| known.skills = Some(Rc::new(skills)));
            if !is_whole {
                self.seen = None;
            }
            memory::settle();
        }
    }

    /// Asks for the version, and says whether the answer is whole; what is missing becomes an alarm.
    async fn read_build(&self, stamp: Option<&Stamp>) -> (Rc<Build>, bool) {
        let Some(stamp) = stamp else {
            let name = self.binary.display();
            let text =
                format!("{name} is not there or cannot be run: no process can start. Install it or set ffmpeg.binary");
            self.alarms.raise(Now::read(), COMPONENT, "binary", text);
            return (Rc::default(), true);
        };
        let ([text], is_whole) = self.outputs(stamp, ["-version"]).await;
        let build = parse::build(&text);
        if let Some(version) = build.version {
            log::info!(target: COMPONENT, version = version.to_string().as_str(), binary = stamp.path.display().to_string().as_str(); "FFmpeg found");
            self.alarms.clear(COMPONENT, "binary");
        } else {
            let text = format!("{} does not say which FFmpeg it is; processes may not start", stamp.path.display());
            self.alarms.raise(Now::read(), COMPONENT, "binary", text);
        }
        (Rc::new(build), is_whole)
    }

    /// Reads all lists, and says whether they are whole.
    async fn read_lists(&self, stamp: Option<&Stamp>) -> (Skills, bool) {
        let Some(stamp) = stamp else { return (Skills::default(), true) };
        let lists = ["-filters", "-hwaccels", "-codecs", "-formats", "-devices", "-protocols"];
        let (texts, is_whole) = self.outputs(stamp, lists).await;
        let [filters, hwaccels, codecs, formats, devices, protocols] = texts;
        let (codecs, formats) = (parse::codecs(&codecs), parse::formats(&formats));
        let (devices, protocols) = (parse::formats(&devices), parse::protocols(&protocols));
        let build = self.known.borrow().build.clone().unwrap_or_default();
        let mut skills = Skills {
            build: Build::clone(&build),
            filters: parse::filters(&filters).into(),
            hwaccels: parse::hwaccels(&hwaccels).into(),
            audio_codecs: codecs.audio.into(),
            video_codecs: codecs.video.into(),
            subtitle_codecs: codecs.subtitle.into(),
            input_devices: parse::devices(devices.demuxers).into(),
            output_devices: parse::devices(devices.muxers).into(),
            demuxers: formats.demuxers.into(),
            muxers: formats.muxers.into(),
            input_protocols: protocols.input.into(),
            output_protocols: protocols.output.into(),
        };
        devices::plug_in(&mut skills, &*self.hardware.probe().await);
        (skills, is_whole)
    }

    /// What FFmpeg prints for each list, and whether no child was cut short.
    async fn outputs<const N: usize>(&self, stamp: &Stamp, lists: [&str; N]) -> ([String; N], bool) {
        let limit = self.patience.child;
        let children = lists.map(|list| output(&stamp.path, list, limit));
        let outputs: Vec<(String, bool)> = stream::iter(children).buffered(CHILDREN).collect().await;
        let is_whole = outputs.iter().all(|(_, is_whole)| *is_whole);
        let texts: Vec<String> = outputs.into_iter().map(|(text, _)| text).collect();
        (texts.try_into().expect("one text per list"), is_whole)
    }
}

/// The file behind `binary` if it can be run.
pub(super) fn stamp(binary: &Path) -> Option<Stamp> {
    use std::os::unix::fs::PermissionsExt;
    let path = find_program(binary);
    let file = std::fs::metadata(&path).ok()?;
    let runs = file.is_file() && file.permissions().mode() & 0o111 != 0;
    runs.then(|| Stamp { path, modified: file.modified().ok(), size: file.len() })
}

/// What `binary list` prints, in an empty environment, and whether that is all: a child that fails or hangs has printed
/// what it has printed.
async fn output(binary: &Path, list: &str, limit: Duration) -> (String, bool) {
    let mut text = Vec::new();
    let ended = tokio::time::timeout(limit, read(binary, list, &mut text)).await;
    match &ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::warn!(target: COMPONENT, "{} {list}: {error}", binary.display()),
        Err(_) => log::warn!(target: COMPONENT, "{} {list}: no end after {limit:?}", binary.display()),
    }
    (String::from_utf8_lossy(&text).into_owned(), matches!(ended, Ok(Ok(()))))
}

async fn read(binary: &Path, list: &str, text: &mut Vec<u8>) -> std::io::Result<()> {
    let mut child = tokio::process::Command::new(binary)
        .args(["-hide_banner", list])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().expect("piped above");
    stdout.take(CHILD_OUTPUT).read_to_end(text).await?;
    child.wait().await.map(drop)
}

#[cfg(test)]
mod tests;
