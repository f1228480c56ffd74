//! One child's task: reads its pipes in bounded pieces, waits for its end, tells the event loop in order.
//!
//! pipes → `Said::Stderr`, `Said::Extra` → loop; the end comes last, after what the child still said. A full loop makes
//! the task wait, and with it the child. A chatty child gets `BURST` bytes per `BURST_PAUSE`, not the thread; one that
//! makes progress and says little is heard every `HEARING`.

mod sandbox_driver;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::table::Key;
use crate::base::blocking::Blocking;
use crate::base::task;
use crate::cgroup::{self, Leaf};
use crate::events::Events;
use crate::ffmpeg::args;
use crate::memfs::Memfs;
use crate::process::HardLimits;
use crate::process::machine::Exit;
use crate::session::Collector;
use crate::sys;
use crate::sys::child::{Bounds, Child, Group, Outputs};
use crate::sys::proc::Stat;

pub use sandbox_driver::Walls;

/// Pieces from all children that wait for the loop.
pub(super) const SAID_QUEUE: usize = 64;
/// Bytes of one piece.
const PIECE: usize = 4 * 1024;
/// Bytes a child may say before its reader pauses.
const BURST: usize = 32 * 1024;
const BURST_PAUSE: Duration = Duration::from_millis(10);
/// How far apart children that make progress are heard, all at the same moments: many wake the daemon as seldom as one.
const HEARING: Duration = Duration::from_millis(250);
/// Who says more than this between two hearings is listened to for `CHATTY`: its pipe must not fill up.
const CHATTER: usize = 16 * 1024;
const CHATTY: Duration = Duration::from_secs(60);
/// How long an escaped descendant may keep the pipes of an ended child open.
const DRAIN: Duration = Duration::from_millis(500);
/// What a child may have left in both pipes when it ends, with room to spare.
const DRAIN_BYTES: usize = 256 * 1024;

/// News of one run of one process.
pub(super) struct Said {
    pub(super) key: Key,
    pub(super) run: u64,
    pub(super) what: What,
}

/// What a child said or did.
pub(super) enum What {
    Stderr(Vec<u8>),
    /// Bytes of `-progress`.
    Extra(Vec<u8>),
    /// The last news of a run.
    Exited(Exit),
}

/// How children are started.
#[derive(Clone)]
pub(super) struct Launcher {
    pub(super) program: PathBuf,
    /// Tells children of this daemon from those of others.
    pub(super) marker: OsString,
    /// FFmpeg's major and minor, once known.
    pub(super) version: Option<(u64, u64)>,
    /// CPUs that 100 percent stand for.
    pub(super) cpus: f64,
    pub(super) said: mpsc::Sender<Said>,
    /// When children are heard counts from here.
    pub(super) since: Instant,
    /// Looks up whom children speak to.
    pub(super) blocking: Blocking,
    /// Counts what children exchange with other hosts.
    pub(super) sessions: Collector,
    /// Where children upload to.
    pub(super) memfs: Memfs,
    /// Told what becomes of children.
    pub(super) events: Events,
    /// Holds children.
    pub(super) groups: cgroup::Handle,
    /// What children may touch.
    pub(super) walls: Rc<Walls>,
}

/// The loop's hold on a child that its task owns.
pub(super) struct Started {
    pub(super) group: Group,
    pub(super) stat: Option<Stat>,
    /// Goes with the run.
    pub(super) leaf: Option<Leaf>,
}

impl Launcher {
    /// Starts FFmpeg for the process `id` with `command`, which names inputs at `addresses`; its news come under `key` and `run`.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn start(
        &self,
        key: Key,
        run: u64,
        id: &str,
        hard: &HardLimits,
        addresses: &[String],
        command: &[String],
    ) -> io::Result<Started> {
        let leaf = self.groups.leaf(id, hard);
        let bounds = self.bounds(leaf.as_ref(), addresses)?;
        let (child, outputs) = Child::spawn(&self.program, &args::spawn(command, self.version), &self.marker, bounds)?;
        let started = Started { group: child.group(), stat: Stat::open(child.pid()).ok(), leaf };
        task::spawn(Reader { key, run, said: self.said.clone(), since: self.since }.pump(child, outputs));
        Ok(started)
    }

    /// What holds a child in `leaf` with inputs at `addresses`.
    ///
    /// # Errors
    /// The kernel does not take the rules.
    pub(super) fn bounds(&self, leaf: Option<&Leaf>, addresses: &[String]) -> io::Result<Bounds> {
        let sandbox =
            self.walls.around(&self.program, addresses.iter().map(String::as_str)).map_err(io::Error::other)?;
        Ok(Bounds { cage: leaf.map(Leaf::cage), sandbox })
    }

    /// Entropy for back-off.
    pub(super) fn jitter(&self) -> u8 {
        let [jitter] = sys::entropy();
        jitter
    }
}

struct Reader {
    key: Key,
    run: u64,
    said: mpsc::Sender<Said>,
    /// Beginning of all hearings.
    since: Instant,
}

/// How a child is heard next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Listen,
    Visits,
    Ended,
}

impl Reader {
    async fn pump(self, mut child: Child, outputs: Outputs) {
        let followed = self.follow(&child, outputs).await;
        if let Err(error) = &followed {
            log::error!(target: "Process", pid = child.pid(); "a child can't be heard any more; killing it: {error}");
            child.group().kill();
            child.exited().await;
        }
        let exit = reap(&mut child);
        if let Ok(mut outputs) = followed {
            let rest = async {
                self.drain(&mut outputs.stderr, What::Stderr).await;
                self.drain(&mut outputs.extra, What::Extra).await;
            };
            // Whoever still holds a pipe has left the group; what it says is not the child's any more.
            let _ = timeout(DRAIN, rest).await;
        }
        let _ = self.tell(What::Exited(exit)).await;
    }

    /// Tells what the child says until it ends.
    async fn follow(&self, child: &Child, mut outputs: Outputs) -> io::Result<Outputs> {
        let mut until = Instant::now();
        while self.listen(child, &mut outputs, until).await? == Next::Visits {
            // The pipes leave the reactor, so that they wake nobody.
            let [stderr, extra] = [outputs.stderr.into_nonblocking_fd()?, outputs.extra.into_nonblocking_fd()?];
            let (stderr, extra) = (File::from(stderr), File::from(extra));
            let next = self.visit(child, &stderr, &extra).await?;
            let [stderr, extra] = [Receiver::from_owned_fd(stderr.into())?, Receiver::from_owned_fd(extra.into())?];
            outputs = Outputs { stderr, extra };
            if next == Next::Ended {
                break;
            }
            until = Instant::now() + CHATTY;
        }
        Ok(outputs)
    }

    /// Tells at once what the child says, until it reports progress after `until`.
    async fn listen(&self, child: &Child, outputs: &mut Outputs, until: Instant) -> io::Result<Next> {
        let (mut stderr_open, mut extra_open) = (true, true);
        let mut spent = 0;
        loop {
            let what = tokio::select! {
                piece = piece(&mut outputs.stderr), if stderr_open => { stderr_open = piece.is_some(); piece.map(What::Stderr) }
                piece = piece(&mut outputs.extra), if extra_open => { extra_open = piece.is_some(); piece.map(What::Extra) }
                () = child.exited() => return Ok(Next::Ended),
            };
            let Some(what) = what else { continue };
            spent += what.len();
            let progresses = matches!(what, What::Extra(_));
            self.tell(what).await?;
            if progresses && Instant::now() >= until {
                return Ok(Next::Visits);
            }
            if spent >= BURST {
                spent = 0;
                sleep(BURST_PAUSE).await;
            }
        }
    }

    /// Tells every `HEARING` what the child has said meanwhile, until that is much.
    async fn visit(&self, child: &Child, stderr: &File, extra: &File) -> io::Result<Next> {
        loop {
            tokio::select! {
                () = sleep_until(self.next_hearing()) => {}
                () = child.exited() => return Ok(Next::Ended),
            }
            if self.hear(stderr, What::Stderr).await? + self.hear(extra, What::Extra).await? > CHATTER {
                return Ok(Next::Listen);
            }
        }
    }

    /// Tells what is in the pipe, not much more than `CHATTER`; returns how many bytes.
    async fn hear(&self, pipe: &File, wrap: fn(Vec<u8>) -> What) -> io::Result<usize> {
        let mut heard = 0;
        while heard <= CHATTER {
            let Some(bytes) = at_hand(pipe) else { break };
            heard += bytes.len();
            self.tell(wrap(bytes)).await?;
        }
        Ok(heard)
    }

    /// The same moments for all children.
    fn next_hearing(&self) -> Instant {
        let passed = self.since.elapsed().as_millis() / HEARING.as_millis();
        self.since + HEARING * u32::try_from(passed + 1).unwrap_or(u32::MAX)
    }

    async fn drain(&self, pipe: &mut (impl AsyncRead + Unpin), wrap: fn(Vec<u8>) -> What) {
        let mut left = DRAIN_BYTES;
        while let Some(bytes) = piece(pipe).await {
            left = left.saturating_sub(bytes.len());
            if self.tell(wrap(bytes)).await.is_err() || left == 0 {
                return;
            }
        }
    }

    async fn tell(&self, what: What) -> io::Result<()> {
        let gone = |_| io::Error::other("the supervisor has gone");
        self.said.send(Said { key: self.key, run: self.run, what }).await.map_err(gone)
    }
}

impl What {
    fn len(&self) -> usize {
        match self {
            Self::Stderr(bytes) | Self::Extra(bytes) => bytes.len(),
            Self::Exited(_) => 0,
        }
    }
}

/// The next bytes; `None` at the end of the pipe.
pub(super) async fn piece(pipe: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(PIECE);
    match pipe.read_buf(&mut bytes).await {
        Ok(length) if length > 0 => {
            bytes.shrink_to_fit();
            Some(bytes)
        }
        _ => None,
    }
}

/// What is in the pipe, at most a piece; `None` also at its end, which the child's own end tells soon.
fn at_hand(mut pipe: &File) -> Option<Vec<u8>> {
    let mut bytes = [0; PIECE];
    let length = pipe.read(&mut bytes).ok().filter(|&length| length > 0)?;
    Some(bytes[..length].to_vec())
}

/// Takes the status of a child that has ended.
pub(super) fn reap(child: &mut Child) -> Exit {
    match child.reap() {
        Ok(Some(status)) => exit(status),
        Ok(None) => {
            log::error!(target: "Process", pid = child.pid(); "a child was reported ended but runs; killing it");
            child.group().kill();
            Exit::Signal(9)
        }
        Err(error) => {
            log::error!(target: "Process", pid = child.pid(); "the status of a child is lost: {error}");
            Exit::Code(-1)
        }
    }
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    }
}
