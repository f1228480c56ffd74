//! What is inside the streams that pass: where they may be joined, and the parameter sets that late viewers lack.
//!
//! `ts::Stream` for MPEG-TS (uploads to memory, SRT channels) · `flv` for the bodies of RTMP messages · `Uploads`
//! remembers what the segments of one output have shown.
//!
//! Some encoders give SPS and PPS once, at the start (FFmpeg's `h264_v4l2m2m` on a Pi): whoever comes later can't decode
//! anything. The repair remembers parameter sets as they pass and puts them where a key frame lacks them. What lacks
//! nothing passes as it came: the same bytes, not copied. Pure: no IO, no clock; whatever is no stream that these readers
//! know passes too.

mod bits;
mod nal;
mod sets;
pub mod ts;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub use nal::Codec;
pub use sets::Sets;

/// Key frames that have been repaired; whoever holds a clone counts in the same cell.
#[derive(Clone, Debug, Default)]
pub struct Counter(Rc<Cell<u64>>);

impl Counter {
    pub fn count(&self) -> u64 {
        self.0.get()
    }

    fn add(&self) {
        self.0.set(self.0.get().saturating_add(1));
    }
}

/// What a stream needs to be repaired: the sets seen so far, and where to count.
#[derive(Clone, Debug, Default)]
pub struct Repair {
    sets: Rc<RefCell<Sets>>,
    repaired: Counter,
}

impl Repair {
    /// Begins without any sets.
    pub fn new(repaired: Counter) -> Self {
        Self { sets: Rc::default(), repaired }
    }
}
