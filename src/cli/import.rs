//! `rill import`: argv → `Request` → `import::driver`, with the version of the FFmpeg that is there.

use std::ffi::OsString;

use lexopt::prelude::{Long, Short, Value};

use super::Command;
use crate::base::alarm::Alarms;
use crate::base::blocking::{Blocking, THREADS};
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::config::{Config, driver};
use crate::ffmpeg::version::Version;
use crate::hw;
use crate::import::driver::{Request, run as import};
use crate::skills;

pub const HELP: &str = "\
Takes over processes and settings of datarhei Restreamer and Core. The daemon must not run meanwhile.

Usage:
  rill import [PATH...] [--dry-run] [--force] [--to VERSION]
  rill import ffmpeg    [--dry-run] [--to VERSION]

A PATH is a file or a folder with files of these kinds, told by their content:
  v1.json       database of Restreamer 0.x: becomes an ingest process, its snapshots, one process for each output, the
                stock UI's metadata, and routes for the old addresses
  db.json       database of Core, versions 1 to 4
  config.json   configuration of Core, versions 1 to 3; db.dir stays as it is here
Without a PATH it is v1.json in the state directory (db.dir).

`rill import ffmpeg` adapts the stored definitions to the FFmpeg that is installed, after an upgrade of FFmpeg: it renames
what was renamed (-stimeout, -vsync, ...), names what needs a look, and keeps a copy of the database beside it. What is
imported is adapted at once. (A file of that name is ./ffmpeg.)

Options:
  --dry-run     print what would be added, changed and skipped, and why; write nothing
  --force       import into a box that has processes or a configuration already: equal ids are replaced, others stay;
                the former files stay beside the new ones as .prev
  --to VERSION  adapt to this FFmpeg, for example 7.1, instead of the installed one

Where to is what the daemon would use: CORE_CONFIGFILE or ./config/config.json, CORE_DB_DIR. Restreamer's variables
count as they did there: RS_MODE with RS_USBCAM_... or RS_RASPICAM_..., RS_INPUTSTREAM, RS_OUTPUTSTREAM,
RS_SNAPSHOT_INTERVAL.

Ends with 0 when it was done or there was nothing to do, 1 when nothing was imported, 2 when it was not understood.
";

/// Understands what follows `import`.
pub(super) fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut request = Request::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Print(HELP)),
            Long("dry-run") => request.dry_run = true,
            Long("force") if !request.adapt_only => request.force = true,
            Long("to") => request.target = Some(version(parser.value()?)?),
            Value(word) if word == "ffmpeg" && request.paths.is_empty() && !request.force => request.adapt_only = true,
            Value(path) if !request.adapt_only => request.paths.push(path.into()),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Import(request))
}

fn version(text: OsString) -> Result<Version, lexopt::Error> {
    let text = text.to_string_lossy().into_owned();
    Version::parse(&text).ok_or_else(|| lexopt::Error::from(format!("{text:?} is no version like 7.1")))
}

/// Does it; what happened, or why nothing did.
pub fn run(request: &Request, now: Now) -> Result<String, String> {
    import(request, driver::environment(), now, installed).map_err(|error| chain(&error))
}

/// Asks the configured FFmpeg.
fn installed(config: &Config) -> Option<Version> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(THREADS).build().ok()?;
    let binary = config.ffmpeg.binary.clone();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        skills::spawn(binary, Blocking::default(), Alarms::default(), hw::spawn(Blocking::default())).version().await
    })
}
