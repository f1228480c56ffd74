//! A probe: the lines FFmpeg prints about its inputs in, streams and log out (`process-engine.md` §22).
//!
//! Streams come from an `ffmpeg.inputs:` line when there is one, else from the text. The log is bounded by
//! `LOG_LINES` and `LOG_TEXT`; beyond them the first lines stay and one line says how many are missing.

use super::jsonstats;
use super::prelude::{Side, Stream, Tables, strip_level};

/// Lines of log kept.
const LOG_LINES: usize = 1000;
/// Bytes of log kept.
const LOG_TEXT: usize = 256 * 1024;

/// Collects one probe.
#[derive(Debug, Default)]
pub struct Probe {
    tables: Tables,
    json: bool,
    log: Vec<String>,
    text: usize,
    truncated: u64,
}

impl Probe {
    /// Takes the next line of stderr.
    pub fn line(&mut self, line: &str) {
        let plain = strip_level(line);
        if plain.starts_with("avstream.progress:") {
            return;
        }
        if let Some(json) = plain.strip_prefix("ffmpeg.inputs:") {
            if let Some(streams) = jsonstats::table(json) {
                self.tables.replace(Side::Input, streams);
                self.json = true;
            }
        } else if !self.json {
            self.tables.line(line);
        }
        if self.truncated == 0 && self.log.len() < LOG_LINES && self.text + line.len() <= LOG_TEXT {
            self.text += line.len();
            self.log.push(line.to_owned());
        } else {
            self.truncated += 1;
        }
    }

    /// The streams of all inputs in printed order, and the log.
    pub fn finish(mut self) -> (Vec<Stream>, Vec<String>) {
        if self.truncated > 0 {
            self.log.push(format!("... truncated {} lines ...", self.truncated));
        }
        (self.tables.inputs, self.log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(lines: &[&str]) -> (Vec<Stream>, Vec<String>) {
        let mut probe = Probe::default();
        for line in lines {
            probe.line(line);
        }
        probe.finish()
    }

    #[test]
    fn a_json_table_wins_over_the_text() {
        let (streams, log) = probe(&[
            "Input #0, x, from 'text':",
            "  Stream #0:0: Video: h264",
            "avstream.progress:{}",
            "ffmpeg.inputs:[{\"url\":\"json\",\"type\":\"audio\",\"channels\":2}]",
            "Input #1, x, from 'text':",
            "  Stream #1:0: Video: h264",
        ]);
        assert_eq!(streams.len(), 1);
        assert_eq!((streams[0].address.as_str(), streams[0].channels), ("json", 2));
        assert_eq!(log.len(), 5);
    }

    #[test]
    fn a_broken_json_table_leaves_the_text() {
        let (streams, _) = probe(&["Input #0, x, from 'a':", "ffmpeg.inputs:[", "  Stream #0:0: Video: h264"]);
        assert_eq!(streams.len(), 1);
    }

    #[test]
    fn the_log_is_bounded_and_says_so() {
        let (_, log) = probe(&["x"; LOG_LINES + 7]);
        assert_eq!(log.len(), LOG_LINES + 1);
        assert_eq!(log[LOG_LINES], "... truncated 7 lines ...");
        let long = "y".repeat(60_000);
        let (_, log) = probe(&[&long, &long, &long, &long, &long, "z"]);
        assert_eq!(log.len(), 5);
        assert_eq!(log[4], "... truncated 2 lines ...");
    }
}
