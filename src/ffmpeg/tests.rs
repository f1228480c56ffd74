//! Every capture, read: what the reference recorded (`tests/contract/ffmpeg-stderr`) and what stock FFmpegs said to
//! us (`tests/golden`, made by `scripts/record-ffmpeg`).

mod captures;
mod contract;
mod hostile;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{LineClass, LineSplitter, Parser};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// Files of a folder with this ending, by name; never none.
fn files(name: &str, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder(name))
        .expect("a folder of the repository")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no {ending} in {name}");
    files
}

/// A parser and the report it makes, as a process keeps it: prelude whole, log whole.
struct Replay {
    parser: Parser,
    splitter: LineSplitter,
    now: Instant,
    prelude: Vec<String>,
    log: Vec<String>,
    counted: usize,
}

impl Replay {
    fn new(inputs: &[&str], outputs: &[&str]) -> Self {
        let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect();
        Self {
            parser: Parser::new(ids(inputs), ids(outputs)),
            splitter: LineSplitter::default(),
            now: Instant::now(),
            prelude: Vec::new(),
            log: Vec::new(),
            counted: 0,
        }
    }

    fn stderr(&mut self, bytes: &[u8]) {
        let mut lines = Vec::new();
        self.splitter.feed(bytes, |line| lines.push(line.to_owned()));
        lines.iter().for_each(|line| self.line(line));
    }

    fn end(&mut self) {
        let mut lines = Vec::new();
        self.splitter.finish(|line| lines.push(line.to_owned()));
        lines.iter().for_each(|line| self.line(line));
    }

    fn line(&mut self, line: &str) {
        match self.parser.stderr_line(self.now, line) {
            LineClass::Prelude => {
                self.prelude.push(line.to_owned());
                self.log.push(line.to_owned());
            }
            LineClass::Log => self.log.push(line.to_owned()),
            LineClass::Progress => self.counted += 1,
            LineClass::Swallowed => {}
        }
    }

    fn fd(&mut self, text: &str) {
        self.parser.progress_bytes(self.now, text.as_bytes());
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }
}
