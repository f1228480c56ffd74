//! What FFmpeg takes and says, as pure values: command lines, stream tables, progress, address access.

pub mod progress;

pub use progress::{AvStream, AvStreamIo, FrameRate, IoProgress, Progress};
