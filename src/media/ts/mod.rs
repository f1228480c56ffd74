//! MPEG-TS: which tables a stream has, where it may be joined, and the repair of key frames.
//!
//! bytes → `Stream::push` → `Run`s, in order: `packet` reads headers, `psi` keeps PAT and PMT, `head` reads the beginning
//! of each video frame until it is known what kind it is, `splice` makes the packets of a repaired one.
//!
//! One video stream is followed: the first H.264 or HEVC of the first program that has video. Frames are taken to begin
//! where a PES packet does; a key frame that begins inside of one is not found.

mod head;
mod packet;
mod psi;
mod splice;
mod stream;
#[cfg(test)]
mod tests;
mod window;

pub use packet::PACKET;
pub use stream::{HELD_BYTES, RUN_BYTES, Run, Stream, Use};
