//! Stock FFmpegs of three generations: the same run told by stderr, by fd 3 and by both gives the same state.

use super::*;
use crate::ffmpeg::{Probe, Progress};

struct Capture {
    name: String,
    stderr: Vec<u8>,
    progress: Vec<u8>,
}

/// Captures of one kind, of all versions; at least three.
fn captures(kind: &str) -> Vec<Capture> {
    let found: Vec<Capture> = files("golden", ".txt")
        .iter()
        .filter(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy();
            name.starts_with("ffmpeg-") && name.split_once('_').is_some_and(|(_, what)| what == kind)
        })
        .map(|path| Capture {
            name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
            stderr: fs::read(path).expect("a readable capture"),
            progress: fs::read(path.with_extension("progress")).expect("what fd 3 said"),
        })
        .collect();
    assert!(found.len() >= 3, "captures of {kind}");
    found
}

fn replay(stderr: &[u8], progress: &[u8]) -> (Progress, Replay) {
    let mut replay = Replay::new(&["in0", "in1"], &["out0", "out1"]);
    replay.stderr(stderr);
    replay.end();
    replay.parser.progress_bytes(replay.now, progress);
    (replay.parser.progress(replay.now), replay)
}

fn kinds(progress: &Progress) -> [Vec<String>; 2] {
    [&progress.inputs, &progress.outputs].map(|list| {
        list.iter().map(|io| format!("{}/{}:{} {} {}", io.id, io.index, io.stream, io.kind, io.codec)).collect()
    })
}

/// Reads the captures `what` of all versions at all levels, and what they must come to.
#[track_caller]
fn check(what: &str, inputs: &[&str], outputs: &[&str], good: impl Fn(&Progress) -> bool) {
    for level in ["", "_level-info", "_level-error"] {
        for capture in captures(&format!("{what}{level}")) {
            let name = &capture.name;
            let (by_fd, _) = replay(b"", &capture.progress);
            assert!(good(&by_fd), "{name} on fd 3: {by_fd:?}");
            let (both, report) = replay(&capture.stderr, &capture.progress);
            assert!(good(&both), "{name}: {both:?}");
            if level == "_level-error" {
                assert!(report.prelude.is_empty(), "{name}: {:?}", report.prelude);
                continue;
            }
            let (by_stderr, report) = replay(&capture.stderr, b"");
            assert!(good(&by_stderr), "{name} on stderr: {by_stderr:?}");
            assert_eq!(by_stderr.frame, by_fd.frame, "{name}");
            assert!((by_stderr.time - by_fd.time).abs() < 0.011, "{name}");
            assert!(by_stderr.size_bytes.abs_diff(by_fd.size_bytes) < 1024, "{name}");
            let normal = |list: &[String]| list.iter().map(|text| raw_video(text)).collect::<Vec<_>>();
            for progress in [&by_stderr, &both] {
                let [got_inputs, got_outputs] = kinds(progress);
                assert_eq!(normal(&got_inputs), inputs, "{name}");
                assert_eq!(got_outputs, outputs, "{name}");
            }
            assert!(report.counted >= 4, "{name}: {}", report.counted);
            assert!(report.log.iter().all(|line| !line.contains("time=") && !line.contains("period set")), "{name}");
            assert!(report.prelude.iter().any(|line| line.ends_with("Press [q] to stop, [?] for help")), "{name}");
        }
    }
}

/// What lavfi calls its pictures changed with FFmpeg 7.
fn raw_video(text: &str) -> String {
    text.replace("wrapped_avframe", "rawvideo")
}

#[test]
fn encode_to_hls() {
    let (inputs, outputs) =
        (["in0/0:0 video rawvideo", "in1/1:0 audio pcm_s16le"], ["out0/0:0 video h264", "out0/0:1 audio aac"]);
    check("hls", &inputs, &outputs, |p| {
        p.frame == 60 && p.time > 2.3 && p.speed > 0.5 && p.q != 0.0 && p.size_bytes == 0
    });
}

#[test]
fn audio_only() {
    check("audio-only", &["in0/0:0 audio pcm_s16le"], &["out0/0:0 audio aac"], |p| {
        p.frame == 0 && p.time > 2.3 && p.speed > 0.5
    });
}

#[test]
fn filter_complex() {
    let inputs = ["in0/0:0 video rawvideo", "in1/1:0 video rawvideo"];
    check("filter-complex", &inputs, &["out0/0:0 video h264"], |p| p.frame == 60 && p.time > 2.3);
}

#[test]
fn copy_to_mpegts() {
    let (inputs, outputs) =
        (["in0/0:0 video h264", "in0/0:1 audio aac"], ["out0/0:0 video h264", "out0/0:1 audio aac"]);
    check("copy-mpegts", &inputs, &outputs, |p| p.frame == 60 && p.q == -1.0 && p.size_bytes > 150_000);
}

#[test]
fn two_outputs() {
    for level in ["", "_level-info"] {
        for capture in captures(&format!("two-outputs{level}")) {
            let (both, _) = replay(&capture.stderr, &capture.progress);
            let [inputs, mut outputs] = kinds(&both);
            assert_eq!(inputs.len(), 2, "{}", capture.name);
            // In the order FFmpeg opened them, which differs.
            outputs.sort();
            let expected = ["out0/0:0 video h264", "out0/0:1 audio aac", "out1/1:0 video mpeg2video"];
            assert_eq!(outputs, expected, "{}", capture.name);
            assert!(both.size_bytes > 150_000 && both.frame == 60, "{}", capture.name);
        }
    }
    for capture in captures("two-outputs_level-error") {
        let (both, _) = replay(&capture.stderr, &capture.progress);
        assert!(both.size_bytes > 150_000 && both.frame == 60 && both.outputs.is_empty(), "{}", capture.name);
    }
}

#[test]
fn other_prefixes() {
    for capture in captures("hls_repeat-level-info") {
        let (progress, report) = replay(&capture.stderr, b"");
        assert!(progress.frame == 60 && progress.outputs.len() == 1 && report.counted >= 4, "{}", capture.name);
    }
    let stamped = fs::read(folder("golden/ffmpeg-9.0.2_hls_datetime-level-info.txt")).expect("a capture");
    let (progress, report) = replay(&stamped, b"");
    assert!(progress.frame == 60 && progress.outputs.len() == 1 && report.counted >= 4);
}

#[test]
fn probes() {
    for capture in captures("probe") {
        let mut probe = Probe::default();
        let mut splitter = LineSplitter::default();
        splitter.feed(&capture.stderr, |line| probe.line(line));
        splitter.finish(|line| probe.line(line));
        let (streams, log) = probe.finish();
        let got: Vec<_> = streams.iter().map(|s| (s.index, s.stream, s.kind.as_str(), s.codec.as_str())).collect();
        let expected = [(0, 0, "video", "h264"), (0, 1, "audio", "aac"), (1, 0, "audio", "pcm_u8")];
        assert_eq!(got, expected, "{}", capture.name);
        let (video, audio, silence) = (&streams[0], &streams[1], &streams[2]);
        assert_eq!((video.width, video.height, video.fps, video.pix_fmt.as_str()), (320, 180, 25.0, "yuv420p"));
        assert_eq!((audio.language.as_str(), audio.sampling_hz, audio.layout.as_str()), ("deu", 44100, "mono"));
        assert!((video.duration_sec - 2.4).abs() < 0.1 && video.bitrate_kbps > 100.0, "{}", capture.name);
        assert_eq!((silence.layout.as_str(), silence.duration_sec), ("5.1", 0.0));
        assert!(log.len() > 10);
    }
}
