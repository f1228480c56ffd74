//! What FFmpeg says when an encoder fails, in words that name the fix.
//!
//! The last lines of stderr → the first known cause among them, else the last line that says something of its own.

use std::collections::VecDeque;

use crate::ffmpeg::LineSplitter;

/// Lines kept; the oldest go.
const LINES: usize = 16;
/// Bytes of a line that are kept.
const LINE_BYTES: usize = 300;

/// What is searched for, and what it means. Sources: FFmpeg's libavcodec/v4l2_m2m_enc.c, libavutil/hwcontext_vaapi.c,
/// raspberrypi/linux issues 3171, 3467, 3974, 4906.
const CAUSES: [(&str, &str); 12] = [
    (
        "VIDIOC_REQBUFS failed: Cannot allocate memory",
        "the board has too little memory for it: give contiguous memory (CMA), on a Raspberry Pi dtoverlay=cma,cma-256 in \
         config.txt, elsewhere cma=256M for the kernel",
    ),
    ("STREAMON failed", "its driver refuses this size at 30 frames a second: beyond the level that it allows"),
    (
        "Permission denied",
        "its device may not be opened: the user of the service must be in the groups video and render",
    ),
    (
        "Could not find a valid device",
        "no device takes it: there is none for this codec, or /dev/video* may not be opened (group video)",
    ),
    ("No VA display found", "the GPU has no VAAPI driver here: install the one for its vendor"),
    ("Failed to initialise VAAPI connection", "the GPU has no VAAPI driver here: install the one for its vendor"),
    ("No usable encoding", "the GPU does not encode this codec, or only with -low_power 1"),
    ("MFX session", "Intel's Quick Sync driver is not there"),
    ("libcuda", "NVIDIA's driver is not there"),
    ("libnvidia-encode", "NVIDIA's driver is not there"),
    ("libOMX_Core.so", "the firmware's libraries for OMX are not there"),
    ("Unknown encoder", "this FFmpeg does not have it"),
];

/// Lines that only say that something failed.
const EMPTY: [&str; 9] = [
    "Conversion failed",
    "Error initializing output stream",
    "Error while opening encoder",
    "Could not open encoder before EOF",
    "Task finished with error code",
    "Terminating thread with return code",
    "Nothing was written into output file",
    "Error sending frames to consumers",
    "can't configure encoder",
];

/// The end of what a child says on stderr.
#[derive(Default)]
pub(super) struct Causes {
    splitter: LineSplitter,
    lines: VecDeque<Box<str>>,
}

impl Causes {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let lines = &mut self.lines;
        self.splitter.feed(bytes, |line| keep(lines, line));
    }

    /// Why it failed; `None`: it has not said anything.
    pub(super) fn find(mut self) -> Option<String> {
        let lines = &mut self.lines;
        self.splitter.finish(|line| keep(lines, line));
        let known = |line: &str| CAUSES.iter().find(|(part, _)| line.contains(part)).map(|(_, cause)| *cause);
        if let Some((line, cause)) = self.lines.iter().find_map(|line| Some((line, known(line)?))) {
            return Some(format!("{cause} ({line})"));
        }
        let says = |line: &str| !EMPTY.iter().any(|empty| line.contains(empty));
        let last = self.lines.iter().rev().find(|line| says(line));
        last.or(self.lines.back()).map(ToString::to_string)
    }
}

fn keep(lines: &mut VecDeque<Box<str>>, line: &str) {
    let line = plain(line.trim());
    let end = (0..=LINE_BYTES.min(line.len())).rev().find(|&end| line.is_char_boundary(end)).unwrap_or(0);
    if lines.len() == LINES {
        lines.pop_front();
    }
    lines.push_back(line[..end].into());
}

/// Without `[name @ 0x…] `.
fn plain(line: &str) -> &str {
    match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((name, rest)) if name.contains(" @ 0x") => rest,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stderr: &str, expected: Option<&str>) {
        let mut causes = Causes::default();
        causes.feed(stderr.as_bytes());
        let found = causes.find();
        match expected {
            Some(part) => assert!(found.as_deref().is_some_and(|text| text.contains(part)), "{found:?}"),
            None => assert_eq!(found, None),
        }
    }

    #[test]
    fn known_causes_are_named_before_ffmpegs_own_words() {
        // As FFmpeg 5.1.9 says it.
        let opening = "Error initializing output stream 0:0 -- Error while opening encoder for output stream #0:0 - maybe \
                       incorrect parameters such as bit_rate, rate, width or height\n";
        check(
            &format!(
                "[h264_v4l2m2m @ 0x5574fd60b8c0] Could not find a valid device\n\
                 [h264_v4l2m2m @ 0x5574fd60b8c0] can't configure encoder\n{opening}"
            ),
            Some("no device takes it"),
        );
        check(&format!("[h264_nvenc @ 0x55] Cannot load libcuda.so.1\n{opening}"), Some("NVIDIA's driver"));
        check(
            "[AVHWDeviceContext @ 0x563c49b94b80] No VA display found for device /dev/dri/renderD128.\n\
             Device creation failed: -22.\nError parsing global options: Invalid argument\n",
            Some("VAAPI driver"),
        );
        check(
            &format!("[h264_v4l2m2m @ 0x1] VIDIOC_REQBUFS failed: Cannot allocate memory\n{opening}"),
            Some("dtoverlay=cma,cma-256"),
        );
        check(opening, Some("Error initializing output stream"));
    }

    #[test]
    fn what_is_not_known_is_the_last_line_that_says_something() {
        check("[x @ 0x1] one\n[x @ 0x1] the encoder is cross\nConversion failed!", Some("the encoder is cross"));
        check("", None);
        let flood = "line\n".repeat(1000) + &"é".repeat(1000);
        let mut causes = Causes::default();
        causes.feed(flood.as_bytes());
        assert_eq!(causes.lines.len(), LINES);
        assert_eq!(causes.find().map(|text| text.len()), Some(LINE_BYTES));
    }
}
