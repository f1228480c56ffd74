//! A stock FFmpeg, really run: what it says at every log level is live progress, and it ends when asked to.
//!
//! `RILL_TEST_FFMPEG` names the binary, else it is the first `ffmpeg` in PATH; `scripts/test-ffmpeg-matrix` runs this
//! against several generations.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rill::ffmpeg::{LineClass, LineSplitter, Parser, Probe, Progress, args};
use rill::sys::child::{Bounds, Child, Outputs};
use tokio::io::AsyncReadExt;

use crate::fake;

pub(crate) fn ffmpeg() -> PathBuf {
    let named = std::env::var_os("RILL_TEST_FFMPEG").map(PathBuf::from);
    let found = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|folder| folder.join("ffmpeg")).find(|file| file.is_file())
    };
    named.or_else(found).expect("these tests need FFmpeg: apt-get install ffmpeg")
}

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

const VIDEO: &str = "-re -f lavfi -i testsrc2=size=160x90:rate=25";
const AUDIO: &str = "-re -f lavfi -i sine=frequency=440:sample_rate=44100";
const X264: &str = "-c:v libx264 -preset ultrafast -g 25";

/// A run and everything that was read of it.
struct Run {
    child: Child,
    outputs: Outputs,
    splitter: LineSplitter,
    parser: Parser,
    log: Vec<String>,
    _dir: tempfile::TempDir,
}

impl Run {
    /// Starts FFmpeg as the supervisor does; `DIR` in the arguments is a folder of its own.
    fn start(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let command = words(&text.replace("DIR", dir.path().to_str().expect("utf-8")));
        let argv = args::spawn(&command, Some((4, 4)));
        let (child, outputs) =
            Child::spawn(&ffmpeg(), &argv, OsStr::new("stock"), Bounds::default()).expect("FFmpeg starts");
        let ids = |side: &str| (0..3).map(|n| format!("{side}{n}")).collect();
        let (splitter, parser) = (LineSplitter::default(), Parser::new(ids("in"), ids("out")));
        Self { child, outputs, splitter, parser, log: Vec::new(), _dir: dir }
    }

    /// Reads until the progress is as wanted; fails with the log when that takes too long or the run ends.
    async fn until(&mut self, wanted: impl Fn(&Progress) -> bool) -> Progress {
        let patience = tokio::time::sleep(fake::PATIENCE);
        tokio::pin!(patience);
        let (mut stderr, mut extra) = (vec![0; 4096], vec![0; 4096]);
        loop {
            let progress = self.parser.progress(Instant::now());
            if wanted(&progress) {
                return progress;
            }
            let open = tokio::select! {
                biased;
                read = self.outputs.stderr.read(&mut stderr) => self.stderr(&stderr[..read.expect("a pipe can be read")]),
                read = self.outputs.extra.read(&mut extra) => {
                    let read = read.expect("a pipe can be read");
                    self.parser.progress_bytes(Instant::now(), &extra[..read]);
                    read > 0
                }
                () = &mut patience => false,
            };
            assert!(open, "still {progress:?}\n{}", self.log.join("\n"));
        }
    }

    fn stderr(&mut self, bytes: &[u8]) -> bool {
        self.splitter.feed(bytes, |line| {
            if matches!(self.parser.stderr_line(Instant::now(), line), LineClass::Prelude | LineClass::Log) {
                self.log.push(line.to_owned());
            }
        });
        !bytes.is_empty()
    }

    /// SIGINT; FFmpeg answers it with 255.
    async fn stop(mut self) {
        self.child.group().interrupt();
        let (mut stderr, mut extra) = (Vec::new(), Vec::new());
        let (one, two) =
            tokio::join!(self.outputs.stderr.read_to_end(&mut stderr), self.outputs.extra.read_to_end(&mut extra));
        one.and(two).expect("pipes can be read");
        self.child.exited().await;
        let status = self.child.reap().expect("it is our child").expect("it has ended");
        assert_eq!(status.code(), Some(255), "{}", String::from_utf8_lossy(&stderr));
    }
}

#[track_caller]
fn no_statistics_in(log: &[String]) {
    assert!(!log.iter().any(|line| line.contains("time=") || line.contains("period set")), "{log:#?}");
}

#[test]
fn progress_is_live_at_every_log_level() {
    fake::run(async {
        for (level, listed) in [
            ("", true),
            ("-loglevel level+info", true),
            ("-loglevel repeat+level+verbose", true),
            ("-loglevel error", false),
        ] {
            let mut run = Run::start(&format!("{level} -y {VIDEO} {AUDIO} {X264} -c:a aac -f mpegts DIR/out.ts"));
            let first = run.until(|p| p.frame > 0 && p.time > 0.0 && p.speed > 0.0).await;
            let moving =
                |p: &Progress| p.frame > first.frame && p.time > first.time && p.fps > 1.0 && p.bitrate > 1000.0;
            let later = run.until(moving).await;
            assert_eq!(later.inputs.len() == 2 && later.outputs.len() == 2, listed, "{level}: {later:?}");
            assert_eq!(run.log.is_empty(), !listed, "{level}");
            assert!(run.parser.last_activity().is_some());
            no_statistics_in(&run.log);
            run.stop().await;
        }
    });
}

#[test]
fn audio_only_and_filter_graphs_make_progress() {
    fake::run(async {
        let mut run = Run::start(&format!("-y {AUDIO} -c:a aac -f hls -hls_time 1 DIR/out.m3u8"));
        let first = run.until(|p| p.time > 0.0).await;
        let activity = run.parser.last_activity();
        let later = run.until(|p| p.time > first.time).await;
        assert!(run.parser.last_activity() > activity);
        assert_eq!((later.inputs.len(), later.outputs.len()), (1, 1));
        no_statistics_in(&run.log);
        run.stop().await;

        let second = VIDEO.replace("160x90", "80x44");
        let mut run = Run::start(&format!("{VIDEO} {second} -filter_complex [0:v][1:v]overlay {X264} -f null -"));
        let later = run.until(|p| p.frame > 10).await;
        assert_eq!((later.inputs.len(), later.outputs.len()), (2, 1));
        run.stop().await;
    });
}

#[test]
fn the_users_own_progress_leaves_stderr_to_us() {
    fake::run(async {
        let mut run = Run::start(&format!("-y -progress DIR/own {VIDEO} {X264} -f null -"));
        let first = run.until(|p| p.frame > 0).await;
        run.until(|p| p.frame > first.frame).await;
        no_statistics_in(&run.log);
        run.stop().await;
    });
}

#[test]
fn a_probe_lists_the_streams() {
    fake::run(async {
        let folder = tempfile::tempdir().expect("a directory can be made");
        let file = folder.path().join("source.mkv");
        let file = file.to_str().expect("utf-8");
        let make = format!(
            "-f lavfi -i testsrc2=size=160x90:rate=25:duration=1 -f lavfi -i sine=duration=1 {X264} -c:a aac {file}"
        );
        assert_eq!(collect(&ffmpeg(), &words(&make)).await.0, Some(0));
        let (code, stderr) = collect(&ffmpeg(), &words(&format!("-loglevel level+info -i {file}"))).await;
        assert_ne!(code, Some(0), "a probe has no output");
        let mut probe = Probe::default();
        let mut splitter = LineSplitter::default();
        splitter.feed(&stderr, |line| probe.line(line));
        let (streams, log) = probe.finish();
        let got: Vec<_> = streams.iter().map(|s| (s.kind.as_str(), s.codec.as_str(), s.address.as_str())).collect();
        assert_eq!(got, [("video", "h264", file), ("audio", "aac", file)], "{log:#?}");
        assert_eq!((streams[0].width, streams[0].height, streams[0].fps), (160, 90, 25.0));
        assert_eq!((streams[1].layout.as_str(), streams[0].duration_sec.round()), ("mono", 1.0));
    });
}

async fn collect(program: &Path, argv: &[String]) -> (Option<i32>, Vec<u8>) {
    let (mut child, mut outputs) =
        Child::spawn(program, argv, OsStr::new("stock"), Bounds::default()).expect("FFmpeg starts");
    let mut stderr = Vec::new();
    outputs.stderr.read_to_end(&mut stderr).await.expect("a pipe can be read");
    child.exited().await;
    (child.reap().expect("it is our child").expect("it has ended").code(), stderr)
}
