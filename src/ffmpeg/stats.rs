//! FFmpeg's own counters: a line of statistics on stderr or a block of `-progress` on fd 3 → `Update`.
//!
//! Lines: `frame=  114 fps= 25 q=21.0 size=     256kB time=00:00:04.48 bitrate= 468.1kbits/s speed=0.98x`, without
//! video they begin with `size=`; the last one has `Lsize=`. Blocks: one `key=value` per line, ended by `progress=`.
//! FFmpeg's own fps (since the start) and bitrate (since the start, N/A for HLS) are not read: rates are ours.

/// What one report says; `None` keeps what was known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Update {
    pub(super) frame: Option<u64>,
    pub(super) packet: Option<u64>,
    /// The first encoder's quantiser, −1 when it is unknown (stream copy).
    pub(super) q: Option<f64>,
    pub(super) size_bytes: Option<u64>,
    /// Seconds.
    pub(super) time: Option<f64>,
    pub(super) speed: Option<f64>,
    pub(super) drop: Option<u64>,
    pub(super) dup: Option<u64>,
}

impl Update {
    /// With several encoders the first quantiser that is known wins.
    fn set_q(&mut self, value: Option<f64>) {
        if !self.q.is_some_and(|known| known >= 0.0)
            && let Some(q) = value
        {
            self.q = Some(if q < 0.0 { self.q.unwrap_or(q) } else { q + 0.0 });
        }
    }
}

/// Whether this line (without level prefix) is FFmpeg's statistics.
pub(super) fn is_stats_line(line: &str) -> bool {
    line.starts_with("frame=") || ((line.starts_with("size=") || line.starts_with("Lsize=")) && line.contains("time="))
}

/// Reads a line of statistics; a value that cannot be read is left out.
pub(super) fn stats_line(line: &str) -> Update {
    let mut update = Update::default();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('=') {
        let key = before.rsplit(char::is_whitespace).next().unwrap_or_default();
        let value = after.trim_start();
        match key.strip_prefix('L').unwrap_or(key) {
            "frame" => update.frame = leading_number(value),
            "q" => update.set_q(number(value)),
            "size" => update.size_bytes = kilobytes(value),
            "time" => update.time = clock(value),
            "speed" => update.speed = factor(value),
            "drop" => update.drop = leading_number(value),
            "dup" => update.dup = leading_number(value),
            _ => {}
        }
        rest = value;
    }
    update
}

/// Collects the lines of one block of `-progress`.
#[derive(Debug, Default)]
pub(super) struct Block(Update);

impl Block {
    /// Takes one `key=value` line; returns the block when this line ends it.
    pub(super) fn line(&mut self, line: &str) -> Option<Update> {
        let (key, value) = line.split_once('=')?;
        let (key, value) = (key.trim(), value.trim());
        let update = &mut self.0;
        match key {
            "progress" => return Some(std::mem::take(update)),
            "frame" => update.frame = value.parse().ok(),
            "total_size" => update.size_bytes = value.parse().ok(),
            // Microseconds in both, whatever the name says.
            "out_time_us" | "out_time_ms" => update.time = microseconds(value).or(update.time),
            "speed" => update.speed = factor(value),
            "drop_frames" => update.drop = value.parse().ok(),
            "dup_frames" => update.dup = value.parse().ok(),
            _ if key.starts_with("stream_") && key.ends_with("_q") => update.set_q(number(value)),
            _ => {}
        }
        None
    }
}

fn microseconds(value: &str) -> Option<f64> {
    value.parse::<u64>().ok().map(|us| us as f64 / 1e6)
}

/// The word up to the next blank as a finite number.
fn number(value: &str) -> Option<f64> {
    value.split_whitespace().next()?.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// The digits a value begins with.
fn leading_number(value: &str) -> Option<u64> {
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    value[..digits].parse().ok()
}

/// `256kB` before FFmpeg 7, `256KiB` since; both count 1024 bytes.
fn kilobytes(value: &str) -> Option<u64> {
    let word = value.split_whitespace().next()?;
    let digits = word.strip_suffix("kB").or_else(|| word.strip_suffix("KiB"))?;
    digits.parse::<u64>().ok().map(|kilobytes| kilobytes.saturating_mul(1024))
}

/// `0.983x`, `1.5e+03x`; never negative.
fn factor(value: &str) -> Option<f64> {
    let word = value.split_whitespace().next()?.strip_suffix('x')?;
    word.parse::<f64>().ok().filter(|factor| factor.is_finite() && *factor >= 0.0)
}

/// `01:02:03.45` in seconds; nothing for `N/A` and the negative times some streams start with.
pub(super) fn clock(value: &str) -> Option<f64> {
    let word = value.split_whitespace().next()?;
    let mut parts = word.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !seconds.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let whole = hours.parse::<u32>().ok()?;
    let minutes = minutes.parse::<u8>().ok()?;
    let seconds = seconds.parse::<f64>().ok().filter(|s| s.is_finite())?;
    Some(f64::from(whole) * 3600.0 + f64::from(minutes) * 60.0 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Update) {
        assert!(is_stats_line(line));
        assert_eq!(stats_line(line), expected);
    }

    #[test]
    fn lines_of_all_versions() {
        check(
            "frame=  114 fps= 25 q=21.0 q=6.5 size=     256kB time=00:00:04.48 bitrate= 468.1kbits/s speed=0.983x    ",
            Update {
                frame: Some(114),
                q: Some(21.0),
                size_bytes: Some(256 * 1024),
                time: Some(4.48),
                speed: Some(0.983),
                ..Update::default()
            },
        );
        check(
            "frame=  200 fps=0.0 q=-1.0 q=7.5 Lsize=     768KiB time=01:00:08.01 bitrate= 785.5kbits/s dup=3 drop=1 speed=3.65e+03x elapsed=0:00:01.00",
            Update {
                frame: Some(200),
                q: Some(7.5),
                size_bytes: Some(768 * 1024),
                time: Some(3608.01),
                speed: Some(3650.0),
                drop: Some(1),
                dup: Some(3),
                packet: None,
            },
        );
        check(
            "size=N/A time=00:00:01.99 bitrate=N/A speed=0.987x    ",
            Update { time: Some(1.99), speed: Some(0.987), ..Update::default() },
        );
        check(
            "frame=    0 fps=0.0 q=-1.0 size=N/A time=N/A bitrate=N/A speed=N/A    ",
            Update { frame: Some(0), q: Some(-1.0), ..Update::default() },
        );
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        check("frame=abc", Update::default());
        check("frame=", Update::default());
        check(
            "frame= 99999999999999999999999 q=nan size=-0kB time=-00:00:00.05 speed=-1x drop=- dup=",
            Update::default(),
        );
        check("frame= 7 q=inf size= 12 time=1:2 speed=2", Update { frame: Some(7), ..Update::default() });
    }

    #[test]
    fn other_lines_are_no_statistics() {
        for line in [" frame=9", "size=N/A", "Size= time=", "video:630kB audio:68kB", "[hls @ 0x1] frame=3", ""] {
            assert!(!is_stats_line(line), "{line}");
        }
    }

    fn block(text: &str) -> Vec<Update> {
        let mut block = Block::default();
        text.lines().filter_map(|line| block.line(line)).collect()
    }

    #[test]
    fn blocks_of_progress() {
        let updates = block(
            "frame=25\nfps=24.5\nstream_0_0_q=-1.0\nstream_1_0_q=23.0\nbitrate= 785.5kbits/s\ntotal_size=786432\n\
             out_time_us=1500000\nout_time_ms=1500000\nout_time=00:00:01.500000\ndup_frames=3\ndrop_frames=1\n\
             speed=1.2e+03x\nprogress=continue\n\
             bitrate=N/A\ntotal_size=N/A\nout_time_us=N/A\nout_time_ms=N/A\nout_time=N/A\nspeed=N/A\nprogress=end\n",
        );
        let first = Update {
            frame: Some(25),
            q: Some(23.0),
            size_bytes: Some(786_432),
            time: Some(1.5),
            speed: Some(1200.0),
            drop: Some(1),
            dup: Some(3),
            packet: None,
        };
        assert_eq!(updates, [first, Update::default()]);
    }

    #[test]
    fn times_before_zero_and_unknown_keys_are_ignored() {
        let updates = block("out_time_us=-9223372036854775808\nnoise\n=\nkey=\nspeed=   0x\nprogress=continue");
        assert_eq!(updates, [Update { speed: Some(0.0), ..Update::default() }]);
    }
}
