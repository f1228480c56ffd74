//! Owner of what is known of the hardware: probes at the start, when asked, and when the kernel tells of a device.
//!
//! requests, kernel messages, timer → one loop → blocking probe → `Hardware` in a `watch`. Nothing is polled: without a
//! message nothing runs. Messages that come together share a probe, a lost one means a probe like any other. A new node
//! has no rights and no stable path before udev has seen it: it is looked at again by `SETTLE`, and shown after `HOLD` of
//! these looks at the latest. Without a netlink socket hardware is known as of the last probe that was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::snapshot::{Error, Snapshot};
use super::{Hardware, Power, read_driver, uevent};
use crate::base::blocking::{Blocking, Lane};
use crate::base::task;
use crate::sys::device::uevent::{MESSAGE_BYTES, Socket};
use crate::sys::memory;

/// Requests waiting for the task; beyond it callers wait in line.
const REQUEST_QUEUE: usize = 16;
/// From the first message to the probe: a camera sends a dozen.
const TOGETHER: Duration = Duration::from_millis(100);
/// Pauses before a new node without rights or stable path is looked at again.
/// **Units:** milliseconds.
const SETTLE: [u64; 7] = [150, 300, 600, 1200, 2400, 5000, 10_000];
/// That many looks at it are kept back.
const HOLD: usize = 3;
const COMPONENT: &str = "Hardware";

/// Cheap handle to the task.
#[derive(Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    known: watch::Receiver<Option<Rc<Hardware>>>,
}

enum Request {
    /// Listen to the kernel and look for the first time.
    Begin,
    Probe {
        answer: oneshot::Sender<Rc<Hardware>>,
    },
}

/// Starts the owner. It does nothing before `Handle::begin` or a question.
pub fn spawn(blocking: Blocking) -> Handle {
    let (requests, rx) = mpsc::channel(REQUEST_QUEUE);
    let (tx, known) = watch::channel(None);
    let driver = Driver {
        blocking,
        known: tx,
        socket: None,
        due: None,
        looks: 0,
        fresh: BTreeSet::new(),
        plugged: BTreeMap::new(),
    };
    task::spawn(driver.run(rx));
    Handle { requests, known }
}

/// What the live system shows. Blocks.
pub fn read() -> Snapshot {
    read_driver::read(Path::new("/"))
}

/// How well the board below `root` is fed at this moment; `/` is the live one. Blocks.
pub fn power(root: &Path) -> Power {
    Power::of(&read_driver::power(root))
}

/// What the board showed whose recording is in `file`. Blocks.
///
/// # Errors
/// There is no such recording.
pub fn replay(file: &Path) -> Result<Snapshot, Error> {
    read_driver::replay(file)
}

impl Handle {
    /// Probes for the first time, and follows what comes and goes from now on.
    pub fn begin(&self) {
        // A full queue means that somebody has asked already; the next message finds it done.
        let _ = self.requests.try_send(Request::Begin);
    }

    /// The latest probe without waiting; `None` before the first one.
    pub fn latest(&self) -> Option<Rc<Hardware>> {
        self.known.borrow().clone()
    }

    /// The latest probe; waits for the first one.
    pub async fn hardware(&self) -> Rc<Hardware> {
        match self.latest() {
            Some(hardware) => hardware,
            None => self.probe().await,
        }
    }

    /// Looks again. Calls that come together share one look.
    pub async fn probe(&self) -> Rc<Hardware> {
        let (answer, result) = oneshot::channel();
        if self.requests.send(Request::Probe { answer }).await.is_ok()
            && let Ok(hardware) = result.await
        {
            return hardware;
        }
        // The daemon ends.
        std::future::pending().await
    }

    /// Completes when there was another probe.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            // The daemon ends.
            std::future::pending::<()>().await;
        }
    }
}

struct Driver {
    blocking: Blocking,
    known: watch::Sender<Option<Rc<Hardware>>>,
    /// `None`: not begun, or the kernel tells nothing.
    socket: Option<Socket>,
    /// The next probe.
    due: Option<Instant>,
    /// Since the last message.
    looks: usize,
    /// Nodes that came since it was quiet.
    fresh: BTreeSet<String>,
    /// The kernel's number of the message with which a node came last.
    plugged: BTreeMap<String, u64>,
}

impl Driver {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut buffer = vec![0; MESSAGE_BYTES];
        loop {
            let due = self.due.unwrap_or_else(Instant::now);
            tokio::select! {
                request = requests.recv() => {
                    let Some(request) = request else { return };
                    self.answer(request, &mut requests).await;
                }
                received = hear(self.socket.as_ref(), &mut buffer) => match received {
                    Ok(count) => self.heard(&buffer[..count]),
                    Err(error) => self.missed(&error),
                },
                () = sleep_until(due), if self.due.is_some() => self.look().await,
            }
        }
    }

    /// Whoever asks by now shares one probe.
    async fn answer(&mut self, request: Request, requests: &mut mpsc::Receiver<Request>) {
        let mut waiting = vec![request];
        while let Ok(request) = requests.try_recv() {
            waiting.push(request);
        }
        if waiting.iter().any(|request| matches!(request, Request::Begin)) {
            self.listen();
        }
        let hardware = self.probe().await;
        self.show(hardware.clone());
        for request in waiting {
            if let Request::Probe { answer } = request {
                // Who asked may have gone.
                drop(answer.send(hardware.clone()));
            }
        }
    }

    fn listen(&mut self) {
        match Socket::open() {
            Ok(socket) => self.socket = Some(socket),
            Err(error) => {
                log::warn!(target: COMPONENT, "The kernel's messages about devices can't be heard ({error}): what is plugged in later is found by POST /api/v3/hardware/probe");
            }
        }
    }

    fn heard(&mut self, message: &[u8]) {
        let Some(event) = uevent::parse(message) else { return };
        if event.is_added && !event.node.is_empty() {
            let node = event.node.rsplit('/').next().unwrap_or_default().to_owned();
            if self.plugged.len() >= uevent::PLUGGED
                && let Some(oldest) =
                    self.plugged.iter().min_by_key(|(_, number)| **number).map(|(node, _)| node.clone())
            {
                self.plugged.remove(&oldest);
            }
            self.plugged.insert(node.clone(), event.number);
            self.fresh.insert(node);
        }
        self.look_soon();
    }

    /// Messages were lost, or there will be none any more.
    fn missed(&mut self, error: &std::io::Error) {
        if error.raw_os_error() != Some(libc::ENOBUFS) {
            log::warn!(target: COMPONENT, "The kernel's messages about devices have ended: {error}");
            self.socket = None;
        }
        self.look_soon();
    }

    fn look_soon(&mut self) {
        self.looks = 0;
        // A message does not put a probe off.
        let soon = Instant::now() + TOGETHER;
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    /// A probe whose time has come.
    async fn look(&mut self) {
        let hardware = self.probe().await;
        let pause = SETTLE.get(self.looks).filter(|_| !self.is_settled(&hardware));
        if pause.is_none() || self.looks >= HOLD {
            self.show(hardware);
        }
        self.due = pause.map(|pause| Instant::now() + Duration::from_millis(*pause));
        self.looks += 1;
        if pause.is_none() {
            self.fresh.clear();
        }
    }

    /// Whether udev seems to have seen every new node.
    fn is_settled(&self, hardware: &Hardware) -> bool {
        let is_bare = |node: &String| {
            let path = format!("/dev/{node}");
            hardware.closed.contains(node)
                || hardware.cameras.iter().any(|camera| camera.device == path && camera.address == path)
        };
        !self.fresh.iter().any(is_bare)
    }

    async fn probe(&self) -> Rc<Hardware> {
        let mut hardware = self.blocking.run(Lane::General, || Hardware::new(&read())).await;
        let number = |node: &str| self.plugged.get(node).copied().unwrap_or(0);
        for camera in &mut hardware.cameras {
            camera.plugged = number(camera.device.trim_start_matches("/dev/"));
        }
        for sound in &mut hardware.sound {
            sound.plugged = number(&sound.node);
        }
        Rc::new(hardware)
    }

    fn show(&self, hardware: Rc<Hardware>) {
        self.known.send_replace(Some(hardware));
        memory::trim();
    }
}

/// The next message; never without a socket.
async fn hear(socket: Option<&Socket>, buffer: &mut [u8]) -> std::io::Result<usize> {
    match socket {
        Some(socket) => socket.receive(buffer).await,
        None => std::future::pending().await,
    }
}
