//! Probes: FFmpeg on the inputs of a process, without outputs, beside whatever the process does (§22).
//!
//! At most `PROBES` at a time, others wait in line. Each has a task of its own and ends with its caller, after
//! `PROBE_TIME`, or at shutdown: SIGINT, then `KILL_GRACE` later SIGKILL.

use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::ProbeView;
use super::child_driver::{Launcher, piece, reap};
use super::resolve::Resolved;
use crate::base::task;
use crate::ffmpeg::{LineSplitter, Probe, args};
use crate::process::HardLimits;
use crate::process::machine::KILL_GRACE;
use crate::sys::child::Child;

/// Probes at a time.
pub const PROBES: usize = 2;
/// A probe never makes progress, so it ends here (§22).
const PROBE_TIME: Duration = Duration::from_secs(20);
/// What an ended child may still have in its pipe.
const DRAIN: Duration = Duration::from_millis(500);

/// Bounds all probes and ends them at shutdown.
#[derive(Clone)]
pub(super) struct Probes(Rc<Shared>);

struct Shared {
    permits: Semaphore,
    closing: watch::Sender<bool>,
}

impl Default for Probes {
    fn default() -> Self {
        Self(Rc::new(Shared { permits: Semaphore::new(PROBES), closing: watch::Sender::new(false) }))
    }
}

impl Probes {
    /// Probes the inputs of `resolved`; nothing once the daemon is closing.
    pub(super) async fn run(&self, resolved: &Resolved, launcher: Launcher) -> Option<ProbeView> {
        let inputs = resolved.inputs.iter().map(|input| (&input.options[..], &input.address[..]));
        let command = args::command(&resolved.options, inputs, []);
        let addresses: Vec<String> = resolved.inputs.iter().map(|input| input.address.clone()).collect();
        let (reply, answer) = oneshot::channel();
        let probes = self.clone();
        task::spawn(async move {
            let Ok(_permit) = probes.0.permits.acquire().await else { return };
            if !*probes.0.closing.borrow() {
                probe(&command, &addresses, &launcher, reply, probes.0.closing.subscribe()).await;
            }
        });
        answer.await.ok()
    }

    /// Begins the end of all probes; later ones are empty.
    pub(super) fn close(&self) {
        self.0.closing.send_replace(true);
    }

    /// Waits until no probe runs.
    pub(super) async fn ended(&self) {
        let all = u32::try_from(PROBES).expect("the bound is small");
        drop(self.0.permits.acquire_many(all).await);
    }
}

async fn probe(
    command: &[String],
    addresses: &[String],
    launcher: &Launcher,
    mut reply: oneshot::Sender<ProbeView>,
    mut closing: watch::Receiver<bool>,
) {
    let leaf = launcher.groups.leaf("probe", &HardLimits::default());
    let bounds = launcher.bounds(leaf.as_ref(), addresses);
    let started = bounds.and_then(|bounds| Child::spawn(&launcher.program, command, &launcher.marker, bounds));
    let (mut child, mut outputs) = match started {
        Ok(started) => started,
        Err(error) => {
            let line = format!("fork/exec {}: {error}", launcher.program.display());
            let _ = reply.send(ProbeView { streams: Vec::new(), log: vec![line] });
            return;
        }
    };
    let (mut lines, mut probe) = (LineSplitter::default(), Probe::default());
    let mut open = true;
    let mut interrupted = false;
    let mut deadline = Instant::now() + PROBE_TIME;
    loop {
        tokio::select! {
            () = child.exited() => break,
            more = read(&mut outputs.stderr, &mut lines, &mut probe), if open => open = more,
            () = sleep_until(deadline), if interrupted => { child.group().kill(); deadline += KILL_GRACE; }
            () = unwanted(&mut reply, &mut closing, deadline), if !interrupted => {
                interrupted = true;
                deadline = Instant::now() + KILL_GRACE;
                child.group().interrupt();
            }
        }
    }
    let exit = reap(&mut child);
    let rest = async { while open && read(&mut outputs.stderr, &mut lines, &mut probe).await {} };
    let _ = tokio::time::timeout(DRAIN, rest).await;
    lines.finish(|line| probe.line(line));
    log::debug!(target: "Process", "a probe ended: {exit}");
    let (streams, log) = probe.finish();
    let _ = reply.send(ProbeView { streams, log });
}

/// Whether there may be more.
async fn read(pipe: &mut (impl AsyncRead + Unpin), lines: &mut LineSplitter, probe: &mut Probe) -> bool {
    let Some(bytes) = piece(pipe).await else { return false };
    lines.feed(&bytes, |line| probe.line(line));
    true
}

/// The caller has gone, the daemon is closing, or time is up.
async fn unwanted(reply: &mut oneshot::Sender<ProbeView>, closing: &mut watch::Receiver<bool>, deadline: Instant) {
    tokio::select! {
        () = reply.closed() => {}
        _ = closing.wait_for(|closing| *closing) => {}
        () = sleep_until(deadline) => {}
    }
}
