//! Trial encodes: whether the hardware encoders that FFmpeg lists do what they are asked for on this board.
//!
//! `Board` (what the hardware side has found) → `Ledger` says what is untried → `command` → a child's output → `Judge` →
//! `Outcome` → `Ledger`, kept by the versions of FFmpeg, kernel and firmware → `Trial`, one per encoder. Pure; running is
//! `trial_driver`. Software encoders are never tried. FFmpeg's own lists stay as they are: a failed trial marks, it hides
//! nothing.

mod causes;
mod command;
mod judge;
mod ledger;
mod load;

use std::path::PathBuf;

use crate::media::Codec;

pub(super) use command::Attempt;
pub(super) use judge::{End, Judge};
pub(super) use ledger::{Ledger, Versions};
pub use load::{Overload, demand, overload};

pub use super::trial_driver::{Deps, Handle, spawn};

/// Frames of a trial at 30 a second.
pub const FRAMES: u32 = 60;
/// A key frame is asked for every so many frames.
pub const GOP: u32 = 15;
/// Sizes that are tried, smallest first.
pub const SIZES: [Size; 3] =
    [Size { width: 640, height: 480 }, Size { width: 1280, height: 720 }, Size { width: 1920, height: 1080 }];
/// Encoders of one board that are tried; further ones stay untried.
pub const CANDIDATES: usize = 16;

/// What the hardware side has found for trials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    /// At most `CANDIDATES`, others are not looked at.
    pub candidates: Vec<Candidate>,
    /// Version of the board's firmware, as far as it is known; another one means new trials.
    pub firmware: String,
}

/// An encoder by FFmpeg's name, and what the board has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub encoder: String,
    /// The node that it works through, or why there is none.
    pub device: Result<PathBuf, String>,
    /// What all its streams together may ask for, if the board's data say.
    pub macroblocks_per_second: Option<u64>,
}

/// Of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

/// What the trials of one encoder have shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    pub encoder: String,
    pub codec: Codec,
    pub device: Option<PathBuf>,
    pub macroblocks_per_second: Option<u64>,
    pub state: State,
    /// Why it fails or is untried; empty when it works.
    pub reason: String,
    /// What it does where it works, the worst of all sizes.
    pub shown: Option<Shown>,
    /// By size; `None`: not tried.
    pub sizes: [Option<Outcome>; SIZES.len()],
}

/// Untried encoders stay usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// At one size at least.
    Works,
    Fails,
    Untried,
}

/// What came of an encoder at one size: what it does, or why it fails.
pub type Outcome = Result<Shown, String>;

/// How an encoder works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    /// Over the frames 11 to 60, together with the source and all else that uses the board: it may be faster.
    pub fps: Option<f64>,
    /// Each key frame has its parameter sets. If not, late viewers depend on the repair (`media`).
    pub repeats_parameter_sets: bool,
    /// The most frames from one key frame to the next; `FRAMES`: there was no second one.
    pub keyframe_interval: u32,
}

impl Board {
    /// Whether there is anything to hold demands against.
    pub fn is_capped(&self) -> bool {
        self.candidates.iter().any(|candidate| candidate.macroblocks_per_second.is_some())
    }
}

impl Shown {
    /// Key frames came where they were asked for.
    pub fn obeys_keyframe_interval(&self) -> bool {
        self.keyframe_interval <= GOP
    }

    /// The worse of both in each respect, the slower of both.
    fn worse(self, other: Self) -> Self {
        Self {
            fps: match (self.fps, other.fps) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
            repeats_parameter_sets: self.repeats_parameter_sets && other.repeats_parameter_sets,
            keyframe_interval: self.keyframe_interval.max(other.keyframe_interval),
        }
    }
}

impl State {
    /// As the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Fails => "fails",
            Self::Untried => "untried",
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// What a hardware encoder makes; `None` for all others.
pub fn codec(encoder: &str) -> Option<Codec> {
    let (codec, family) = encoder.split_once('_')?;
    Codec::named(codec).filter(|_| command::is_hardware(family))
}
