//! Whether the running processes ask a capped encoder for more than the board's data say it can do.
//!
//! Command lines and stream tables → macroblocks per second → `Overload`. All capped encoders of a board count together:
//! they are one block of hardware (on a Raspberry Pi 245 760, level 4.0). Nothing is refused.

use super::{Board, codec};
use crate::ffmpeg::IoProgress;
use crate::media::Codec;

/// More is asked for than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overload {
    /// Macroblocks per second.
    pub asked: u64,
    pub limit: u64,
}

impl std::fmt::Display for Overload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = self.asked.saturating_mul(100) / self.limit.max(1);
        write!(
            f,
            "all processes together ask the board's video encoder for {percent} % of what it can do ({} of {} macroblocks \
             per second): make pictures smaller or slower, or stop one",
            self.asked, self.limit
        )
    }
}

/// Macroblocks per second that a process asks of capped encoders: its `command` names them, its `outputs` have size and
/// rate. Streams whose size or rate is not known yet do not count.
pub fn demand(board: &Board, command: &[String], outputs: &[IoProgress]) -> u64 {
    let capped = board.candidates.iter().filter(|candidate| candidate.macroblocks_per_second.is_some());
    let named = capped.filter(|candidate| command.contains(&candidate.encoder));
    let codecs: Vec<Codec> = named.filter_map(|candidate| codec(&candidate.encoder)).collect();
    let is_theirs = |output: &&IoProgress| Codec::named(&output.codec).is_some_and(|codec| codecs.contains(&codec));
    outputs.iter().filter(is_theirs).map(macroblocks).sum()
}

/// Whether these demands together are beyond what the board can do.
pub fn overload(board: &Board, demands: impl IntoIterator<Item = u64>) -> Option<Overload> {
    let limit = board.candidates.iter().filter_map(|candidate| candidate.macroblocks_per_second).max()?;
    let asked = demands.into_iter().fold(0, u64::saturating_add);
    (asked > limit).then_some(Overload { asked, limit })
}

fn macroblocks(output: &IoProgress) -> u64 {
    // More pixels or frames than any device has: rather none than nonsense.
    let bounded = |value: u64| if value > 0x1_0000 { 0 } else { value.div_ceil(16) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded first")]
    let rate = output.rate.clamp(0.0, 1000.0).ceil() as u64;
    bounded(output.width) * bounded(output.height) * rate
}

#[cfg(test)]
mod tests {
    use super::super::Candidate;
    use super::*;

    fn board() -> Board {
        let candidate = |encoder: &str, cap| Candidate {
            encoder: encoder.to_owned(),
            device: Ok("/dev/video11".into()),
            macroblocks_per_second: cap,
        };
        let candidates = vec![candidate("h264_v4l2m2m", Some(245_760)), candidate("h264_vaapi", None)];
        Board { candidates, firmware: String::new() }
    }

    fn output(codec: &str, width: u64, height: u64, rate: f64) -> IoProgress {
        IoProgress { codec: codec.to_owned(), width, height, rate, ..IoProgress::default() }
    }

    #[track_caller]
    fn check(command: &str, outputs: &[IoProgress], expected: u64) {
        let command: Vec<String> = command.split(' ').map(str::to_owned).collect();
        assert_eq!(demand(&board(), &command, outputs), expected);
    }

    #[test]
    fn streams_of_capped_encoders_count() {
        let command = "-i x -c:v h264_v4l2m2m -c:a aac y";
        check(command, &[output("h264", 1920, 1080, 30.0), output("aac", 0, 0, 0.0)], 244_800);
        check(command, &[output("h264", 640, 480, 29.97), output("h264", 1280, 720, 25.0)], 36_000 + 90_000);
        check(command, &[output("hevc", 1920, 1080, 30.0)], 0);
        check(command, &[output("h264", 1920, 1080, 0.0), output("h264", 0, 0, 30.0)], 0);
        check(command, &[output("h264", u64::MAX, 1080, f64::INFINITY)], 0);
        check("-i x -c:v h264_vaapi y", &[output("h264", 1920, 1080, 30.0)], 0);
        check("-i x -c copy y", &[output("h264", 1920, 1080, 30.0)], 0);
    }

    #[test]
    fn the_sum_is_held_against_the_cap() {
        assert_eq!(overload(&board(), [244_800]), None);
        assert_eq!(overload(&board(), [122_880, 122_880]), None);
        let beyond = Overload { asked: 280_800, limit: 245_760 };
        assert_eq!(overload(&board(), [244_800, 36_000]), Some(beyond));
        assert!(beyond.to_string().contains("114 %"));
        assert_eq!(overload(&Board::default(), [u64::MAX]), None, "nobody knows a cap");
    }
}
