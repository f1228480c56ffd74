//! What a trial's child makes and says, and how it ends → `Outcome`.

use std::time::{Duration, Instant};

use super::causes::Causes;
use super::{FRAMES, GOP, Outcome, Shown, Size};
use crate::media::{Codec, Picture, Pictures};

/// Bytes of a trial's stream; more is no answer to what was asked for. FFmpeg's own are below a megabyte.
const OUTPUT_BYTES: usize = 16 * 1024 * 1024;
/// Bytes that a child may say on stderr at the log level `error`.
const STDERR_BYTES: usize = 256 * 1024;
/// Speed is measured from this frame on: the first ones wait for pipelines to fill.
const MEASURED_FROM: u32 = 11;
/// Pictures that are shown before a key frame, but come after it (leading pictures of an open GOP).
const REORDERED: u32 = 4;

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::skills) enum End {
    Exit(i32),
    Signal(i32),
    /// It was killed after this time.
    TimedOut(Duration),
    /// It was killed for its memory, in bytes.
    Memory(u64),
    /// It was killed for its CPU time.
    Cpu(Duration),
    /// It was killed for what it wrote.
    Chatter,
}

/// Follows one child.
pub(in crate::skills) struct Judge {
    codec: Codec,
    pictures: Pictures,
    tally: Tally,
    causes: Causes,
    output: usize,
    said: usize,
}

/// The pictures so far.
#[derive(Default)]
struct Tally {
    frames: u32,
    keys: u32,
    /// Key frames with their parameter sets.
    complete: u32,
    last_key: u32,
    interval: u32,
    starts_complete: bool,
    starts_with_key: bool,
    /// When the frame `MEASURED_FROM` came, and when the last one did.
    began: Option<Instant>,
    ended: Option<Instant>,
}

impl Tally {
    fn count(&mut self, now: Instant, picture: Picture) {
        if self.frames == 0 {
            self.starts_with_key = picture.is_key;
            self.starts_complete = picture.has_sets;
        }
        if picture.is_key {
            self.interval = self.interval.max(self.frames - self.last_key);
            self.last_key = self.frames;
            self.keys += 1;
            self.complete += u32::from(picture.has_sets);
        }
        self.frames = self.frames.saturating_add(1);
        if self.frames == MEASURED_FROM {
            self.began = Some(now);
        }
        self.ended = Some(now);
    }

    /// The most frames between two key frames, or after the last one.
    fn interval(&self) -> u32 {
        let rest = self.frames - self.last_key;
        if rest > GOP + REORDERED { self.interval.max(rest) } else { self.interval }
    }

    /// Rounded to a tenth.
    fn fps(&self) -> Option<f64> {
        let seconds = self.ended?.saturating_duration_since(self.began?).as_secs_f64();
        (seconds > 0.0).then(|| (f64::from(FRAMES - MEASURED_FROM) / seconds * 10.0).round() / 10.0)
    }
}

impl Judge {
    pub(in crate::skills) fn new(codec: Codec) -> Self {
        let (pictures, tally, causes) = (Pictures::new(codec), Tally::default(), Causes::default());
        Self { codec, pictures, tally, causes, output: 0, said: 0 }
    }

    /// The next bytes of the stream. False: that is too much.
    pub(in crate::skills) fn output(&mut self, now: Instant, bytes: &[u8]) -> bool {
        self.output = self.output.saturating_add(bytes.len());
        let tally = &mut self.tally;
        self.pictures.feed(bytes, |picture| tally.count(now, picture));
        self.output <= OUTPUT_BYTES
    }

    /// The next bytes of stderr. False: that is too much.
    pub(in crate::skills) fn said(&mut self, bytes: &[u8]) -> bool {
        self.said = self.said.saturating_add(bytes.len());
        self.causes.feed(bytes);
        self.said <= STDERR_BYTES
    }

    /// What came of it, with the child gone.
    pub(in crate::skills) fn verdict(mut self, now: Instant, size: Size, end: &End) -> Outcome {
        let tally = &mut self.tally;
        self.pictures.finish(|picture| tally.count(now, picture));
        let frames = self.tally.frames;
        let so_far = format!("it had made {frames} of {FRAMES} frames at {size}");
        match end {
            End::Exit(0) => {}
            End::Exit(code) => return Err(self.cause(&format!("FFmpeg ended with {code}"))),
            End::Signal(signal) => return Err(self.cause(&format!("FFmpeg was ended by signal {signal}"))),
            End::TimedOut(limit) => {
                return Err(format!("it did not end within {} s: {so_far}", limit.as_secs_f64()));
            }
            End::Memory(limit) => return Err(format!("it took more than {} MiB: {so_far}", limit >> 20)),
            End::Cpu(limit) => return Err(format!("it took more than {} s of CPU: {so_far}", limit.as_secs_f64())),
            End::Chatter => return Err(self.cause("it wrote more than any trial does")),
        }
        if frames != FRAMES {
            return Err(self.cause(&format!("it made {frames} of {FRAMES} frames at {size}")));
        }
        if !self.tally.starts_with_key {
            return Err("its stream does not begin with a key frame".to_owned());
        }
        if !self.tally.starts_complete {
            let sets = match self.codec {
                Codec::H264 => "SPS and PPS",
                Codec::Hevc => "VPS, SPS and PPS",
            };
            return Err(format!("its stream begins without parameter sets ({sets}): nobody can decode it"));
        }
        Ok(Shown {
            fps: self.tally.fps(),
            repeats_parameter_sets: self.tally.complete == self.tally.keys,
            keyframe_interval: self.tally.interval(),
        })
    }

    fn cause(&mut self, what: &str) -> String {
        match std::mem::take(&mut self.causes).find() {
            Some(cause) => cause,
            None => format!("{what} and did not say why"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SIZES;
    use super::*;

    const SETS: &[u8] = &[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0b1000_0000, 0, 0, 0, 1, 0x68, 0b1110_0000];
    const KEY: &[u8] = &[0, 0, 0, 1, 0x65, 0x88, 0x84, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    const FRAME: &[u8] = &[0, 0, 0, 1, 0x41, 0x9a, 0x24, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

    /// A stream of `frames` with a key frame every `gop`; sets before the key frames that `sets` says.
    fn stream(frames: u32, gop: u32, sets: impl Fn(u32) -> bool) -> Vec<Vec<u8>> {
        let frame = |number: u32| match number % gop {
            0 if sets(number) => [SETS, KEY].concat(),
            0 => KEY.to_vec(),
            _ => FRAME.to_vec(),
        };
        (0..frames).map(frame).collect()
    }

    /// Each frame comes 20 ms after the one before.
    fn judge(frames: &[Vec<u8>], stderr: &str, end: &End) -> Outcome {
        let mut judge = Judge::new(Codec::H264);
        let mut now = Instant::now();
        assert!(judge.said(stderr.as_bytes()));
        for frame in frames {
            assert!(judge.output(now, frame));
            now += Duration::from_millis(20);
        }
        judge.verdict(now, SIZES[0], end)
    }

    #[track_caller]
    fn fails(outcome: Outcome, part: &str) {
        let reason = outcome.expect_err("it must not be offered as working");
        assert!(reason.contains(part), "{reason}");
    }

    #[test]
    fn what_was_asked_for() {
        let outcome = judge(&stream(60, GOP, |_| true), "", &End::Exit(0));
        let shown = Shown { fps: Some(50.0), repeats_parameter_sets: true, keyframe_interval: 15 };
        assert_eq!(outcome, Ok(shown));
        assert!(shown.obeys_keyframe_interval());
    }

    #[test]
    fn corrections_are_noted() {
        let once = judge(&stream(60, GOP, |number| number == 0), "", &End::Exit(0)).expect("it can be repaired");
        assert!(!once.repeats_parameter_sets && once.obeys_keyframe_interval());
        let lazy = judge(&stream(60, 60, |_| true), "", &End::Exit(0)).expect("it can be used");
        assert_eq!((lazy.keyframe_interval, lazy.obeys_keyframe_interval()), (60, false));
        let slow = judge(&stream(60, 25, |_| true), "", &End::Exit(0)).expect("it can be used");
        assert_eq!((slow.keyframe_interval, slow.repeats_parameter_sets), (25, true));
        let eager = judge(&stream(60, 10, |_| true), "", &End::Exit(0)).expect("it can be used");
        assert!(eager.obeys_keyframe_interval());
    }

    #[test]
    fn what_nobody_can_use_fails() {
        let good = stream(60, GOP, |_| true);
        fails(judge(&stream(60, GOP, |_| false), "", &End::Exit(0)), "SPS and PPS");
        fails(judge(&stream(60, GOP, |_| true)[1..], "", &End::Exit(0)), "59 of 60");
        fails(judge(&[&good[1..], &[FRAME.to_vec()]].concat(), "", &End::Exit(0)), "key frame");
        fails(judge(&good[..40], "", &End::Exit(0)), "it made 40 of 60 frames at 640x480 and did not say why");
        fails(judge(&[], "", &End::Exit(0)), "it made 0 of 60");
        fails(judge(&good, "broken\n", &End::Exit(1)), "broken");
        fails(judge(&good, "", &End::Exit(187)), "187");
        fails(judge(&good, "", &End::Signal(11)), "signal 11");
        fails(judge(&good[..3], "", &End::TimedOut(Duration::from_secs(8))), "within 8 s: it had made 3 of 60");
        fails(judge(&good[..3], "", &End::Memory(384 << 20)), "more than 384 MiB");
        fails(judge(&good[..3], "", &End::Cpu(Duration::from_secs(16))), "16 s of CPU");
    }

    #[test]
    fn too_much_is_noticed() {
        let mut judge = Judge::new(Codec::Hevc);
        let mebibyte = vec![0xff; 1 << 20];
        assert!((0..16).all(|_| judge.output(Instant::now(), &mebibyte)));
        assert!(!judge.output(Instant::now(), &mebibyte));
        assert!(judge.said(&vec![b'\n'; STDERR_BYTES]) && !judge.said(b"x"));
        fails(judge.verdict(Instant::now(), SIZES[2], &End::Chatter), "");
    }
}
