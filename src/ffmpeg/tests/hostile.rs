//! The rules between the sources, and input nobody meant well with: nothing panics, everything stays bounded.

use super::*;
use crate::ffmpeg::prelude::STREAMS;
use crate::ffmpeg::{IoProgress, Probe};

const TABLE: &str = "Input #0, x, from 'a':\n  Stream #0:0: Video: h264, yuv420p, 64x48\nOutput #0, y, to 'b':\n  Stream #0:0: Video: h264, yuv420p, 64x48\n";

fn block(frame: u64, size: &str, time: &str) -> String {
    format!("frame={frame}\ntotal_size={size}\nout_time_us={time}\nspeed=1.0x\nprogress=continue\n")
}

#[test]
fn once_fd_3_speaks_stderr_is_swallowed_and_counted_once() {
    let mut replay = Replay::new(&["i"], &["o"]);
    replay.stderr(TABLE.as_bytes());
    for second in 0..10u64 {
        replay.stderr(
            format!("frame= {} size= {}kB time=00:00:0{second}.00 speed=1x\r", second * 25, second * 100).as_bytes(),
        );
        replay.fd(&block(second * 25, &(second * 102_400).to_string(), &(second * 1_000_000).to_string()));
        replay.wait(1.0);
    }
    assert_eq!(replay.counted, 1, "only the line before fd 3 spoke");
    let progress = replay.parser.progress(replay.now);
    assert_eq!((progress.frame, progress.size_bytes, progress.time), (225, 921_600, 9.0));
    assert_eq!((progress.fps, progress.bitrate), (22.5, 92_160.0 * 8.0));
    assert_eq!(replay.log.len(), 4);
}

#[test]
fn json_beats_fd_3() {
    let mut replay = Replay::new(&["i"], &["o"]);
    replay.fd(&block(3, "N/A", "1000000"));
    replay.stderr(b"ffmpeg.outputs:[{\"url\":\"b\",\"type\":\"video\"}]\n");
    replay.stderr(b"[info] ffmpeg.progress:{\"outputs\":[{\"frame\":50,\"packet\":60}],\"frame\":50,\"packet\":60,\"time\":\"2s\"}\n");
    replay.fd(&block(99, "7", "99000000"));
    replay.stderr(b"frame=98 time=00:01:00.00\n");
    let progress = replay.parser.progress(replay.now);
    assert_eq!((progress.frame, progress.packet, progress.time), (50, 60, 2.0));
    assert_eq!((progress.outputs[0].frame, progress.outputs[0].packet), (50, 60));
    assert!(progress.inputs.is_empty() && replay.log.is_empty());
}

#[test]
fn lines_that_wait_behind_fd_3_still_reach_prelude_and_tables() {
    let mut replay = Replay::new(&["i"], &["o"]);
    replay.fd(&block(1, "N/A", "40000"));
    replay.stderr(TABLE.as_bytes());
    assert_eq!(replay.prelude.len(), 4);
    assert_eq!(replay.parser.progress(replay.now).outputs.len(), 1);
    replay.fd(&block(2, "N/A", "80000"));
    replay.stderr(b"Output #1, y, to 'c':\n  Stream #1:0: Video: h264\n");
    assert_eq!(replay.prelude.len(), 4);
    assert_eq!(replay.log.len(), 6);
    assert_eq!(replay.parser.progress(replay.now).outputs.len(), 1);
}

#[test]
fn nothing_is_reported_before_the_first_progress_and_after_a_reset() {
    let mut replay = Replay::new(&["i"], &["o"]);
    replay.stderr(TABLE.as_bytes());
    assert_eq!(replay.parser.progress(replay.now), Default::default());
    assert_eq!(replay.parser.last_activity(), None);
    replay.stderr(b"frame=1 time=00:00:01.00\nframe=");
    assert_ne!(replay.parser.progress(replay.now), Default::default());
    replay.parser.reset();
    assert_eq!(replay.parser.progress(replay.now), Default::default());
    assert_eq!(replay.parser.last_activity(), None);
    assert_eq!(replay.parser.stderr_line(replay.now, "x"), LineClass::Prelude);
}

#[test]
fn any_sign_of_work_is_activity_and_repetition_is_none() {
    let mut replay = Replay::new(&[], &[]);
    for (line, works) in [
        ("frame=0 q=-1.0 size=0kB time=00:00:00.00 speed=0x", false),
        ("frame=1 time=00:00:00.00", true),
        ("frame=1 time=00:00:00.00 speed=3x dup=4 drop=5", false),
        ("size=N/A time=00:00:01.00", true),
        ("size=N/A time=N/A", false),
        ("size=3KiB time=N/A", true),
        ("size=3KiB time=N/A", false),
        ("[hls @ 0x1] Opening 'x' for writing", false),
    ] {
        replay.wait(1.0);
        replay.line(line);
        assert_eq!(replay.parser.last_activity() == Some(replay.now), works, "{line}");
    }
    replay.stderr(b"ffmpeg.outputs:[]\n");
    replay.parser.reset();
    replay.stderr(b"ffmpeg.outputs:[{\"index\":0},{\"index\":1}]\n");
    for (packets, works) in [(0, false), (1, true), (1, false)] {
        replay.wait(1.0);
        replay.line(&format!("ffmpeg.progress:{{\"outputs\":[{{}},{{\"packet\":{packets}}}]}}"));
        assert_eq!(replay.parser.last_activity() == Some(replay.now), works, "{packets}");
    }
}

#[test]
fn bytes_of_our_servers_stand_in_where_ffmpeg_says_no_size() {
    let mut replay = Replay::new(&[], &[]);
    for second in 1..=10 {
        replay.fd(&block(second * 25, "N/A", "1"));
        replay.parser.output_bytes(replay.now, second * 1000);
        replay.wait(1.0);
    }
    let progress = replay.parser.progress(replay.now);
    assert_eq!((progress.size_bytes, progress.bitrate), (10_000, 8000.0));
    replay.fd(&block(300, "5", "1"));
    replay.parser.output_bytes(replay.now, 99_000);
    assert_eq!(replay.parser.progress(replay.now).size_bytes, 5);
}

#[test]
fn an_index_beyond_the_config_has_no_id() {
    let mut replay = Replay::new(&["i"], &[]);
    replay.stderr(TABLE.as_bytes());
    replay.stderr(
        b"Input #7, x, from 'c':\nStream #7:0: Audio: aac\nInput #18446744073709551615, x, from 'c':\nframe=1\n",
    );
    let progress = replay.parser.progress(replay.now);
    let ids: Vec<&str> =
        progress.inputs.iter().chain(&progress.outputs).map(|io: &IoProgress| io.id.as_str()).collect();
    assert_eq!(ids, ["i", "", ""]);
}

#[test]
fn our_own_period_is_not_logged_and_the_users_is() {
    let mut replay = Replay::new(&[], &[]);
    replay
        .stderr(b"[info] ffmpeg stats and -progress period set to 0.5.\nffmpeg stats and -progress period set to 2.\n");
    assert_eq!(replay.log, ["ffmpeg stats and -progress period set to 2."]);
}

/// xorshift64*: the same bytes in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below as u64;
        usize::try_from(high).expect("below a usize")
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let mut paths = files("contract/ffmpeg-stderr", ".txt");
    paths.extend(files("golden", ".txt"));
    paths.extend(files("golden", ".progress"));
    paths.iter().map(|path| fs::read(path).expect("a readable capture")).filter(|text| !text.is_empty()).collect()
}

#[test]
fn mutated_captures_never_panic_and_stay_bounded() {
    let corpus = corpus();
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    let mut replay = Replay::new(&["i"], &["o"]);
    let start = replay.now;
    for round in 0..1500 {
        let mut text = corpus[noise.next(corpus.len())].clone();
        for _ in 0..noise.next(12) {
            let at = noise.next(text.len());
            match noise.next(5) {
                0 => text[at] = u8::try_from(noise.next(256)).expect("a byte"),
                1 => text.truncate(at.max(1)),
                2 => drop(text.drain(at..(at + noise.next(40)).min(text.len() - 1).max(at))),
                3 => text.insert(at, b"=:,[](){}'#-+.\"0 9\n\r\xff"[noise.next(21)]),
                _ => text.extend_from_within(at..(at + noise.next(200)).min(text.len())),
            }
        }
        let mut probe = Probe::default();
        LineSplitter::default().feed(&text, |line| probe.line(line));
        assert!(probe.finish().0.len() <= STREAMS);
        let cut = noise.next(text.len());
        replay.stderr(&text[..cut]);
        replay.parser.progress_bytes(replay.now, &text[cut..]);
        replay.wait([0.0, 0.3, 5.0, 1e6][noise.next(4)]);
        let progress = replay.parser.progress(if round % 7 == 0 { start } else { replay.now });
        assert!(progress.inputs.len() <= STREAMS && progress.outputs.len() <= STREAMS);
        let numbers = [progress.fps, progress.bitrate, progress.time, progress.speed];
        assert!(numbers.iter().all(|number| number.is_finite() && *number >= 0.0), "{numbers:?}");
        assert!(progress.q.is_finite());
        if noise.next(10) == 0 {
            replay.parser.reset();
        }
        replay.log.clear();
        replay.prelude.clear();
    }
}

#[test]
fn noise_never_panics() {
    let mut noise = Noise(42);
    let mut replay = Replay::new(&[], &[]);
    let words: [&[u8]; 12] = [
        b"frame=",
        b"size=",
        b" time=",
        b"Input #",
        b", from '",
        b"Stream #0:",
        b": Video: ",
        b"[info] ",
        b"\n",
        b"ffmpeg.progress:{",
        b"progress=\n",
        b"Duration: ",
    ];
    for _ in 0..300 {
        let mut text = Vec::new();
        for _ in 0..noise.next(200) {
            match noise.next(3) {
                0 => text.extend_from_slice(words[noise.next(words.len())]),
                _ => text.push(u8::try_from(noise.next(256)).expect("a byte")),
            }
        }
        replay.stderr(&text);
        replay.parser.progress_bytes(replay.now, &text);
        let _ = replay.parser.progress(replay.now);
    }
}
