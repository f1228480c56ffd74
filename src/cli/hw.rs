//! `rill hw`: what this board is and has, a recording of it, or what a recorded board is.

use std::path::PathBuf;

use lexopt::prelude::{Long, Short};

use super::Command;
use crate::base::error::chain;
use crate::hw::{self, Hardware, text};

/// What is to be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show {
    /// This board.
    Live,
    /// What this board shows, for `Tree` or for a bug report.
    Recording,
    /// The board whose recording is in that file.
    Tree(PathBuf),
}

/// Understands what follows `hw`.
///
/// # Errors
/// An unknown word or option.
pub fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut show = Show::Live;
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Print(super::HELP)),
            Long("record") if show == Show::Live => show = Show::Recording,
            Long("tree") if show == Show::Live => show = Show::Tree(parser.value()?.into()),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Hardware(show))
}

/// What is printed.
///
/// # Errors
/// Why there is nothing.
pub fn run(show: &Show) -> Result<String, String> {
    match show {
        Show::Live => Ok(text::write(&Hardware::new(&hw::read()))),
        // A document has text keys and finite numbers.
        Show::Recording => Ok(format!("{:#}\n", hw::read().document())),
        Show::Tree(file) => {
            let snapshot = hw::replay(file).map_err(|error| format!("{}: {}", file.display(), chain(&error)))?;
            Ok(text::write(&Hardware::new(&snapshot)))
        }
    }
}
