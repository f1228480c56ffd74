//! The owner against programs that stand for FFmpeg, and its judge against a real one.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tempfile::TempDir;

use super::super::trial::{Candidate, GOP, SIZES, Shown, State};
use super::*;
use crate::base::alarm::Alarms;
use crate::hw;
use crate::media::Codec;

/// Long enough for anything that ends by itself.
const LONG: Duration = Duration::from_secs(120);
const CALM: Patience = Patience {
    round: LONG,
    trial: LONG,
    least: Duration::ZERO,
    settle: Duration::from_millis(20),
    cpu: LONG,
    memory: 64 << 20,
};
const GOOD: &str = "cat $0.good >&3";

/// A box with a program that does for each encoder what a script of the encoder's name says.
struct Fake {
    dir: TempDir,
    encoders: Vec<&'static str>,
}

impl Fake {
    fn new(scripts: &[(&'static str, &str)]) -> Self {
        let fake = Self {
            dir: tempfile::tempdir().expect("a directory"),
            encoders: scripts.iter().map(|(encoder, _)| *encoder).collect(),
        };
        for (encoder, script) in scripts {
            fake.script(encoder, script);
        }
        for (name, sets) in [("good", usize::MAX), ("once", 1), ("none", 0)] {
            fs::write(fake.path(&format!("ffmpeg.{name}")), stream(60, 15, sets)).expect("written");
        }
        fs::write(fake.path("ffmpeg.lazy"), stream(60, 40, usize::MAX)).expect("written");
        fs::write(fake.path("ffmpeg.short"), stream(37, 15, usize::MAX)).expect("written");
        fake.install("7.1", "lavfi");
        fake
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the encoder does from now on.
    fn script(&self, encoder: &str, script: &str) {
        let new = self.path("script");
        fs::write(&new, script).expect("written");
        fs::rename(new, self.path(&format!("ffmpeg.{encoder}"))).expect("renamed");
    }

    fn install(&self, version: &str, source: &str) {
        let script = format!(
            "#!/bin/sh\ncase $2 in\n\
             -version) echo 'ffmpeg version {version}'; exit;;\n\
             -codecs) echo ' ---'; echo ' DEV.LS h264  H.264 (encoders: {})'; exit;;\n\
             -devices) echo ' ---'; echo ' D  {source}  Source'; exit;;\n\
             -filters|-hwaccels|-formats|-protocols) exit;;\nesac\n\
             for word; do [ \"$last\" = -c:v ] && encoder=$word; [ \"$last\" = -i ] && source=$word; last=$word; done\n\
             echo \"$encoder $source\" >> $0.runs\n. $0.$encoder\n",
            self.encoders.join(" ")
        );
        let (text, new) = (self.path("text"), self.path("new"));
        fs::write(&text, script).expect("written");
        // Copied by a child: a file that this process has open for writing, also in a fork of another test, can't run.
        assert!(std::process::Command::new("cp").args([&text, &new]).status().expect("it runs").success());
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::rename(new, self.path("ffmpeg")).expect("renamed");
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.path("ffmpeg.runs")).map_or(0, |text| text.lines().count())
    }

    fn start(&self, patience: Patience) -> Handle {
        let blocking = Blocking::default();
        let skills =
            super::super::spawn(self.path("ffmpeg"), blocking.clone(), Alarms::default(), hw::spawn(blocking.clone()));
        let deps = Deps { skills, groups: cgroup::Handle::without(cgroup::Absence::NoTree), blocking };
        spawn_with(self.path("ffmpeg"), self.dir.path(), deps, patience)
    }

    fn board(&self) -> Board {
        let candidate = |encoder: &&str| Candidate {
            encoder: (*encoder).to_owned(),
            device: Ok("/dev/null".into()),
            macroblocks_per_second: None,
        };
        Board { candidates: self.encoders.iter().map(candidate).collect(), firmware: String::new() }
    }

    /// A fresh owner, after its first round.
    async fn first(&self, patience: Patience) -> Handle {
        let handle = self.start(patience);
        handle.offer(self.board());
        handle.ready().await;
        handle
    }
}

/// A stream with a key frame every `gop`; the first `sets` of them have their parameter sets.
fn stream(frames: usize, gop: usize, sets: usize) -> Vec<u8> {
    const SETS: &[u8] = &[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0b1000_0000, 0, 0, 0, 1, 0x68, 0b1110_0000];
    const KEY: &[u8] = &[0, 0, 0, 1, 0x65, 0x88, 0x84, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    const FRAME: &[u8] = &[0, 0, 0, 1, 0x41, 0x9a, 0x24, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    let frame = |number: usize| match number % gop {
        0 if number / gop < sets => [SETS, KEY].concat(),
        0 => KEY.to_vec(),
        _ => FRAME.to_vec(),
    };
    (0..frames).flat_map(frame).collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn states(handle: &Handle) -> Vec<(String, State)> {
    handle.latest().iter().map(|trial| (trial.encoder.clone(), trial.state)).collect()
}

#[track_caller]
fn check(handle: &Handle, encoder: &str, expected: Result<(bool, u32), &str>) {
    let trials = handle.latest();
    let trial = trials.iter().find(|trial| trial.encoder == encoder).expect("it is a candidate");
    let found = trial.shown.map(|shown| (shown.repeats_parameter_sets, shown.keyframe_interval));
    match expected {
        Ok(expected) => assert_eq!((trial.state, found), (State::Works, Some(expected)), "{trial:?}"),
        Err(part) => assert!(trial.state == State::Fails && trial.reason.contains(part), "{trial:?}"),
    }
}

#[test]
fn encoders_that_are_no_good_are_not_offered_as_working_or_with_what_corrects_them() {
    let fake = Fake::new(&[
        ("h264_v4l2m2m", GOOD),
        ("h264_vaapi", "echo '[h264_vaapi @ 0x1] No VA display found for device x.' >&2; exit 1"),
        ("h264_qsv", "cat $0.lazy >&3"),
        ("h264_nvenc", "cat $0.once >&3"),
        ("h264_omx", "cat $0.none >&3"),
        ("h264_mmal", "exit 0"),
        ("h264_rkmpp", "cat $0.short >&3"),
        ("h264_amf", "while :; do echo 0123456789012345678901234567890123456789012345678901234 >&2; done"),
        ("h264_vulkan", "exec tail /dev/zero"),
        ("hevc_vaapi", "exec cat /dev/zero >&3"),
        ("hevc_nvenc", "cat $0.good >&3; kill -SEGV $$"),
    ]);
    block_on(async {
        let handle = fake.first(CALM).await;
        check(&handle, "h264_v4l2m2m", Ok((true, GOP)));
        check(&handle, "h264_vaapi", Err("VAAPI driver"));
        check(&handle, "h264_qsv", Ok((true, 40)));
        check(&handle, "h264_nvenc", Ok((false, GOP)));
        check(&handle, "h264_omx", Err("SPS and PPS"));
        check(&handle, "h264_mmal", Err("0 of 60 frames"));
        check(&handle, "h264_rkmpp", Err("37 of 60 frames"));
        check(&handle, "h264_amf", Err("01234"));
        check(&handle, "h264_vulkan", Err("more than 64 MiB"));
        check(&handle, "hevc_vaapi", Err("more than any trial"));
        check(&handle, "hevc_nvenc", Err("signal 11"));
        // Three sizes each, but one where the child had to be killed.
        assert_eq!(fake.runs(), 8 * SIZES.len() + 3);
    });
}

#[test]
fn one_that_hangs_costs_one_trial() {
    let fake = Fake::new(&[("h264_vaapi", "cat $0.short >&3; sleep 1000"), ("hevc_vaapi", GOOD)]);
    block_on(async {
        let handle = fake.first(Patience { trial: Duration::from_millis(500), ..CALM }).await;
        check(&handle, "h264_vaapi", Err("did not end within 0.5 s"));
        let runs = fs::read_to_string(fake.path("ffmpeg.runs")).expect("it ran");
        assert_eq!(runs.matches("h264_vaapi").count(), 1);
        assert!(handle.latest()[0].sizes.iter().all(Option::is_some), "larger sizes share its verdict");
    });
}

#[test]
fn what_the_time_does_not_allow_is_tried_when_the_box_is_idle() {
    let fake = Fake::new(&[("h264_vaapi", "sleep 1000"), ("h264_qsv", "sleep 1000"), ("h264_nvenc", "sleep 1000")]);
    block_on(async {
        let handle = fake.first(Patience { round: Duration::from_millis(700), ..CALM }).await;
        assert!(states(&handle).iter().all(|(_, state)| *state == State::Untried), "they may be used");
        assert!(fake.runs() <= 1, "the first one took all the time");
        for encoder in ["h264_vaapi", "h264_qsv", "h264_nvenc"] {
            fake.script(encoder, GOOD);
        }
        let works = |handle: &Handle| states(handle).iter().all(|(_, state)| *state == State::Works);
        until(|| works(&handle) && handle.latest().iter().all(|trial| trial.sizes.iter().all(Option::is_some))).await;
    });
}

#[test]
fn a_process_that_starts_ends_a_round_that_nobody_asked_for() {
    let fake = Fake::new(&[("h264_vaapi", "echo $$ > $0.pid; sleep 1000")]);
    let pid = || fs::read_to_string(fake.path("ffmpeg.pid")).unwrap_or_default();
    block_on(async {
        let handle = fake.start(CALM);
        handle.offer(fake.board());
        until(|| pid().ends_with('\n')).await;
        handle.set_busy(true);
        handle.ready().await;
        assert_eq!(states(&handle), [("h264_vaapi".to_owned(), State::Untried)]);
        assert!(!Path::new("/proc").join(pid().trim()).exists(), "it is gone and reaped");
        fake.script("h264_vaapi", GOOD);
        // Asked for, it does not wait for the process to end.
        assert_eq!(handle.try_again().await[0].state, State::Works);
        fake.script("h264_vaapi", "exit 1");
        assert_eq!(handle.try_again().await[0].state, State::Fails);
    });
}

#[test]
fn outcomes_are_kept_until_an_update() {
    let fake = Fake::new(&[("h264_vaapi", GOOD), ("h264_qsv", "exit 1")]);
    let file = fake.path(FILE);
    block_on(async {
        let first = fake.first(CALM).await.latest();
        let (runs, text) = (fake.runs(), fs::read(&file).expect("outcomes are kept"));
        assert_eq!(runs, 2 * SIZES.len());
        let written = fs::metadata(&file).expect("it is there").ino();
        let second = fake.first(CALM).await;
        assert_eq!((fake.runs(), second.latest()), (runs, first));
        assert_eq!(fs::metadata(&file).expect("it is there").ino(), written);
        assert_eq!(fs::read(&file).expect("it is there"), text);

        fake.install("7.1.1-longer", "lavfi");
        fake.first(CALM).await;
        assert_eq!(fake.runs(), 2 * runs);
        let handle = fake.start(CALM);
        handle.offer(Board { firmware: "newer".to_owned(), ..fake.board() });
        handle.ready().await;
        assert_eq!(fake.runs(), 3 * runs);
        fs::write(&file, "torn").expect("written");
        assert_eq!(states(&fake.first(CALM).await)[0].1, State::Works);
        assert_eq!(fake.runs(), 4 * runs);
    });
}

#[test]
fn a_device_or_an_ffmpeg_that_comes_later_is_tried_later() {
    let (fake, other) =
        (Fake::new(&[("h264_vaapi", GOOD), ("h264_qsv", GOOD)]), Fake::new(&[("h264_vaapi", "exit 1")]));
    block_on(async {
        let handle = fake.start(CALM);
        let mut board = fake.board();
        board.candidates[1].device = Err("unplugged".to_owned());
        handle.offer(board);
        handle.ready().await;
        check(&handle, "h264_qsv", Err("unplugged"));
        assert_eq!(fake.runs(), SIZES.len());
        handle.offer(fake.board());
        until(|| handle.latest()[1].sizes.iter().all(Option::is_some)).await;
        check(&handle, "h264_qsv", Ok((true, GOP)));
        assert_eq!(fake.runs(), 2 * SIZES.len(), "what was tried is not tried again");
        // Skills and trials are told side by side; the lists still are those of the first.
        handle.configure(other.path("ffmpeg")).await;
        until(|| other.runs() > 0 && handle.latest()[0].state == State::Fails).await;
    });
}

#[test]
fn what_can_not_be_tried_says_why() {
    let fake = Fake::new(&[("h264_vaapi", GOOD)]);
    let reason = |handle: &Handle| {
        let trials = handle.latest();
        (trials[0].state, trials[0].reason.clone())
    };
    block_on(async {
        let kept = fake.first(CALM).await;
        assert_eq!(reason(&kept), (State::Works, String::new()));
        // The box went down in the last two rounds.
        let text = fs::read_to_string(fake.path(FILE)).expect("outcomes are kept");
        let mut document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        document["begun"] = 2.into();
        document["encoders"] = serde_json::json!({});
        fs::write(fake.path(FILE), document.to_string()).expect("written");
        let handle = fake.first(CALM).await;
        assert!(reason(&handle).1.contains("went down"), "{:?}", reason(&handle));
        assert_eq!(handle.try_again().await[0].state, State::Works);

        fake.install("7.2", "no_lavfi");
        let handle = fake.first(CALM).await;
        assert!(reason(&handle).0 == State::Untried && reason(&handle).1.contains("lavfi"), "{:?}", reason(&handle));
        fs::remove_file(fake.path("ffmpeg")).expect("it is there");
        let handle = fake.first(CALM).await;
        assert!(
            reason(&handle).0 == State::Untried && reason(&handle).1.contains("no FFmpeg"),
            "{:?}",
            reason(&handle)
        );
    });
}

#[test]
fn without_a_board_or_devices_nobody_waits_and_nothing_runs() {
    let fake = Fake::new(&[("h264_vaapi", GOOD)]);
    block_on(async {
        let handle = fake.start(Patience { round: Duration::from_millis(50), ..CALM });
        handle.ready().await;
        assert!(handle.latest().is_empty());
        assert!(handle.try_again().await.is_empty(), "there is nothing to try");
        let mut board = fake.board();
        board.candidates[0].device = Err("no /dev/dri/renderD*".to_owned());
        let handle = fake.start(CALM);
        handle.offer(board);
        handle.ready().await;
        check(&handle, "h264_vaapi", Err("no /dev/dri/renderD*"));
        assert!(fake.runs() == 0 && !fake.path(FILE).exists());
    });
}

/// What a real FFmpeg makes with these options more.
fn real(encoder: &str, codec: Codec, options: &[&str]) -> Outcome {
    let (_, busy) = watch::channel(false);
    let groups = cgroup::Handle::without(cgroup::Absence::NoTree);
    let patience = Patience { memory: 1 << 30, ..CALM };
    let bench = Bench { binary: "ffmpeg".into(), marker: "trial-test".into(), groups, busy, patience };
    let attempt = Attempt { encoder: encoder.to_owned(), codec, device: PathBuf::new(), size: SIZES[0] };
    let mut command = attempt.command();
    let place = command.iter().position(|word| word == "-flush_packets").expect("it is an output option");
    command.splice(place..place, options.iter().map(|word| (*word).to_owned()));
    block_on(async {
        let made = bench.run(&attempt, &command, Instant::now() + LONG, false).await;
        made.unwrap_or_else(|_| panic!("FFmpeg starts")).0
    })
}

#[test]
fn real_streams_are_judged_as_they_are() {
    let speedy = ["-preset", "ultrafast"];
    let expect = |outcome: Outcome, repeats: bool| {
        let Shown { fps, repeats_parameter_sets, keyframe_interval } = outcome.expect("it works");
        assert_eq!((repeats_parameter_sets, keyframe_interval), (repeats, GOP));
        assert!(fps.is_some_and(|fps| fps > 0.0));
    };
    expect(real("libx264", Codec::H264, &speedy), true);
    expect(real("libx264", Codec::H264, &["-bf", "2", "-threads", "1"]), true);
    expect(real("libx265", Codec::Hevc, &["-preset", "ultrafast", "-x265-params", "log-level=none"]), true);
    // Its parameter sets stand beside the stream only.
    let beside = real("libx264", Codec::H264, &["-preset", "ultrafast", "-flags", "+global_header"]);
    assert!(beside.as_ref().is_err_and(|reason| reason.contains("SPS and PPS")), "{beside:?}");
    let beside = real("libx265", Codec::Hevc, &["-preset", "ultrafast", "-flags", "+global_header"]);
    assert!(beside.as_ref().is_err_and(|reason| reason.contains("VPS, SPS and PPS")), "{beside:?}");
    let lazy = real("libx264", Codec::H264, &["-preset", "ultrafast", "-g", "250"]).expect("it works");
    assert_eq!((lazy.keyframe_interval, lazy.obeys_keyframe_interval()), (60, false));
    let unknown = real("h264_nothing", Codec::H264, &[]);
    assert!(unknown.as_ref().is_err_and(|reason| reason.contains("this FFmpeg does not have it")), "{unknown:?}");
}
