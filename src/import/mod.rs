//! Old documents and options become today's: Restreamer's `v1.json`, Core's `db.json` and `config.json`, FFmpeg 4's
//! options.
//!
//! files → `driver` → `Value` → `restreamer`, `core`, `settings` → `Found` → `ffmpeg` adapts the options → `plan` lays it
//! over what is stored, each step with a `Report` of what it did and did not do → `driver` stores it, or only shows the
//! report. All but the driver is pure and takes any JSON: what can't be understood is an error that names the field, or
//! a line in the report; nothing is guessed silently, nothing that is stored is lost.

mod core;
pub mod driver;
mod ffmpeg;
mod json;
mod plan;
mod report;
mod restreamer;
mod settings;
#[cfg(test)]
mod tests;

pub use report::Report;

use crate::store::Db;

/// What an old document holds, in today's form.
#[derive(Debug, Default)]
struct Found {
    db: Db,
    /// Paths that led to the streams, and where they lead now.
    routes: Vec<(String, String)>,
    report: Report,
}
