//! What is inside the streams that pass: where they may be joined, and the parameter sets that late viewers lack.
//!
//! `ts::Stream` for MPEG-TS (uploads to memory, SRT channels) · `flv` for the bodies of RTMP messages · `Repairs`
//! says whether to repair, counts, and remembers what the segments of one output have shown · `Pictures` only looks, at
//! what an encoder makes.
//!
//! Some encoders give SPS and PPS once, at the start (FFmpeg's `h264_v4l2m2m` on a Pi): whoever comes later can't decode
//! anything. The repair remembers parameter sets as they pass and puts them where a key frame lacks them. What lacks
//! nothing passes as it came: the same bytes, not copied. Pure: no IO, no clock; whatever is no stream that these readers
//! know passes too.
//!
//! Not repaired: fragmented MP4 (its sets stand in the initialisation segment), files that a playlist addresses by byte
//! ranges (they appear only when they are complete, and would have moved), RTMP bodies with start codes.

mod bits;
pub mod flv;
mod nal;
mod pictures;
mod records;
mod repairs;
mod sets;
pub mod ts;

pub use nal::Codec;
pub use pictures::{Picture, Pictures};
pub use repairs::{Medium, OUTPUTS, Repair, Repairs};
