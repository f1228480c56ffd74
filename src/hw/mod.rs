//! What this board is and has: cameras, codecs, sound, graphics, power, heat, memory and the medium it lives on.
//!
//! live system → `read_driver` ─┐
//! recorded document ───────────┴→ `Snapshot` → `Hardware::new` → values for `skills`, `http/api/hardware` and `text`
//!
//! What a live board gives and what its recording gives is therefore the same. Missing hardware is a value with a reason,
//! never an error. `driver` probes at the start, when asked, and when the kernel says that something came or went; what is
//! known of boards is data in `board/`. Nothing is tried: whether an encoder works is found out elsewhere.

mod board;
mod coders;
mod driver;
mod identity;
mod read_driver;
pub mod snapshot;
mod sound;
mod system;
pub mod text;
mod uevent;
mod video;

pub use board::Board;
pub use coders::{Coder, Direction, Feed, Legacy, Render};
pub use driver::{Handle, power, read, replay, spawn};
pub use identity::{Device, Media, News, difference};
pub use snapshot::Snapshot;
pub use sound::Sound;
pub use system::{Kernel, Medium, Power, Zone};
pub use video::{Camera, Codec, Idle, Role};

/// What a board is and has. What is not known has a reason in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Hardware {
    /// `snapshot::RECORDED`, or where the snapshot comes from.
    pub source: String,
    pub board: Board,
    pub kernel: Kernel,
    /// Bytes of RAM that the kernel manages.
    pub memory: Option<u64>,
    pub cameras: Vec<Camera>,
    /// Memory-to-memory nodes that turn pictures into a codec or back.
    pub codecs: Vec<Codec>,
    /// Video nodes that are neither camera nor codec, and why.
    pub others: Vec<Idle>,
    /// FFmpeg's coders that need hardware, and what feeds them.
    pub coders: Vec<Coder>,
    pub legacy: Legacy,
    pub render: Vec<Render>,
    pub sound: Vec<Sound>,
    pub zones: Vec<Zone>,
    pub power: Power,
    pub root: Result<Medium, String>,
    /// Screens for `fbdev`: node, name, size, bits per pixel.
    pub frame_buffers: Vec<[String; 4]>,
    /// Nodes that may not be opened (yet): `video0`, `pcmC0D0c`.
    pub closed: Vec<String>,
}

impl Hardware {
    /// Judges what a board shows.
    pub fn new(snapshot: &Snapshot) -> Self {
        let board = Board::of(snapshot);
        let nodes = video::sort_out(snapshot);
        let (legacy, render) = (Legacy::of(snapshot), coders::render(snapshot));
        let coders = coders::all(snapshot, &board, &nodes.codecs, &legacy, &render);
        let video = snapshot.video.iter().map(|(node, answers)| (node, answers.as_ref().err()));
        let sound = snapshot.sound.iter().map(|(node, answers)| (node, answers.as_ref().err()));
        let closed = video.chain(sound).filter(|(_, error)| error.is_some_and(|error| error == snapshot::NO_RIGHTS));
        Self {
            source: snapshot.source.clone(),
            kernel: Kernel::of(snapshot),
            memory: system::memory(snapshot),
            cameras: nodes.cameras,
            codecs: nodes.codecs,
            others: nodes.others,
            coders,
            legacy,
            render,
            sound: sound::all(snapshot),
            zones: system::zones(snapshot),
            power: Power::of(snapshot),
            root: system::root(snapshot),
            frame_buffers: system::frame_buffers(snapshot),
            board,
            closed: closed.map(|(node, _)| node.clone()).collect(),
        }
    }

    /// What feeds FFmpeg's coder `name`; `None` for one that needs no hardware we know of.
    pub fn coder(&self, direction: Direction, name: &str) -> Option<&Coder> {
        self.coders.iter().find(|coder| coder.direction == direction && coder.name == name)
    }
}

#[cfg(test)]
mod tests;
