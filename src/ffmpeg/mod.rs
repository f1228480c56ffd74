//! What FFmpeg takes and says, as pure values: command lines, stream tables, progress, address access.
//!
//! A run: `args::spawn` → child; its stderr → `LineSplitter` → `Parser::stderr_line`, its fd 3 →
//! `Parser::progress_bytes`; `Parser::progress` answers at any time. A probe: stderr → `LineSplitter` → `Probe`.
//! No IO, no clock, no timers, nothing compiled per line.

pub mod access;
pub mod args;
mod jsonstats;
pub mod lines;
pub mod parser;
mod prelude;
pub mod probe;
pub mod progress;
mod rate;
mod stats;
#[cfg(test)]
mod tests;
pub mod version;

pub use lines::LineSplitter;
pub use parser::{LineClass, Parser, StreamBytes};
pub use prelude::Stream;
pub use probe::Probe;
pub use progress::{AvStream, AvStreamIo, FrameRate, IoProgress, Progress};
