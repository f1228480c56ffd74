//! Old documents (`tests/golden/restreamer-*`, `core*`) → today's, option by option; then anything at all → no panic.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::restreamer::{self, Surroundings};
use super::*;
use crate::base::stamp::Stamp;
use crate::config::Environment;
use crate::config::document::{Document, Generated};
use crate::ffmpeg::version::Version;
use crate::process::{Io, Order, ProcessConfig};
use crate::store::schema;

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("../../tests/golden/", $name))
    };
}

const RTSP_RTMP: &str = golden!("restreamer-0.6.8_rtsp-rtmp.json");
const ENCODE_HLS: &str = golden!("restreamer-0.6.8_encode-hls.json");
const NO_STREAMS: &str = golden!("restreamer-0.6.6_no-streams.json");
const OUTPUTS: &str = golden!("restreamer-0.6.9_outputs.json");
const CAMERA: &str = golden!("restreamer-0.6.8_camera.json");
const DB: [&str; 5] = [
    golden!("core_db-1.json"),
    golden!("core_db-2.json"),
    golden!("core_db-3.json"),
    golden!("core-16.16_db-4.json"),
    golden!("core-16.18_db-4.json"),
];
const CONFIG: [&str; 3] = [golden!("core_config-1.json"), golden!("core_config-2.json"), golden!("core_config-3.json")];

const CHANNEL: &str = "2f1c";
const INGEST: &str = "restreamer-ui:ingest:2f1c";

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn around(variables: &[(&str, &str)]) -> Surroundings {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Surroundings::read(&Environment::new(variables, ""))
}

fn convert(document: &str, variables: &[(&str, &str)]) -> Found {
    restreamer::convert(&parse(document), &around(variables), CHANNEL, 1_700_000_000).unwrap()
}

fn words(io: &Io) -> String {
    io.options.join(" ")
}

#[track_caller]
fn check_ingest(document: &str, variables: &[(&str, &str)], inputs: &[(&str, &str)], tracks: &str) -> Found {
    let found = convert(document, variables);
    let config = &found.db.process[INGEST].config;
    let got: Vec<(String, String)> = config.input.iter().map(|io| (io.address.clone(), words(io))).collect();
    let expected: Vec<(String, String)> = inputs.iter().map(|(a, o)| ((*a).to_owned(), (*o).to_owned())).collect();
    assert_eq!(got, expected);
    let output = words(&config.output[0]);
    let rest = "-f hls -start_number 0 -hls_time 2 -hls_list_size 6 -hls_flags append_list+delete_segments \
                -hls_segment_filename {memfs}/2f1c_%04d.ts -y -method PUT";
    assert_eq!(output, format!("-dn -sn {tracks} {rest}"));
    found
}

const RTSP: (&str, &str) =
    ("rtsp://camera.example:8554/live", "-fflags +genpts -thread_queue_size 512 -stimeout 5000000 -rtsp_transport tcp");
const COPY: &str = "-map 0:0 -codec:v copy -vsync 0 -copyts -start_at_zero";

#[test]
fn a_camera_on_the_network_and_its_service() {
    let found = check_ingest(RTSP_RTMP, &[], &[RTSP], &format!("{COPY} -map 0:1 -codec:a copy"));
    let ids: Vec<&str> = found.db.process.keys().map(String::as_str).collect();
    assert_eq!(ids, ["restreamer-ui:egress:rtmp:2f1c", INGEST, "restreamer-ui:ingest:2f1c_snapshot"]);
    let ingest = &found.db.process[INGEST];
    assert_eq!((ingest.order, ingest.created_at), (Order::Start, 1_700_000_000));
    let expected = ProcessConfig {
        reconnect: true,
        reconnect_delay_seconds: 15,
        stale_timeout_seconds: 30,
        autostart: true,
        reference: CHANNEL.to_owned(),
        options: vec!["-err_detect".to_owned(), "ignore_err".to_owned()],
        ..ingest.config.clone()
    };
    assert_eq!(ingest.config, expected);

    let egress = &found.db.process["restreamer-ui:egress:rtmp:2f1c"];
    assert_eq!(egress.order, Order::Start);
    assert_eq!(egress.config.input[0].address, "#restreamer-ui:ingest:2f1c:output=output_0");
    assert_eq!(egress.config.output[0].address, "rtmp://live.example/app/key");
    assert_eq!(words(&egress.config.output[0]), "-codec copy -f flv -rtmp_flashver FMLE/3.0");
    let snapshot = &found.db.process["restreamer-ui:ingest:2f1c_snapshot"];
    assert_eq!((snapshot.order, snapshot.config.reconnect_delay_seconds), (Order::Start, 60));
    assert_eq!(snapshot.config.output[0].address, "{memfs}/2f1c.jpg");

    let ui = &found.db.process_metadata[INGEST]["restreamer-ui"];
    assert_eq!((&ui["imported"], &ui["version"]), (&json!(true), &json!(1)));
    assert_eq!(ui["player"]["logo"]["image"], "logo.png");
    assert_eq!(ui["sources"][0]["settings"]["rtsp"], json!({"stimeout": 5_000_000, "udp": false}));
    assert_eq!(ui["sources"][0]["streams"][1]["sampling_hz"], 44100);
    assert_eq!(ui["profiles"][0]["audio"]["encoder"]["coder"], "copy");
    assert_eq!(ui["profiles"][0]["audio"]["stream"], 1);
    let ui = &found.db.process_metadata["restreamer-ui:egress:rtmp:2f1c"]["restreamer-ui"];
    assert_eq!(ui["settings"], json!({"address": "live.example/app/key", "protocol": "rtmp://"}));
    assert_eq!(found.routes[0], ("/hls/live.stream.m3u8".to_owned(), "/memfs/2f1c.m3u8".to_owned()));
    assert_eq!(found.report.lines(), []);
}

#[test]
fn encoded_picture_and_sound_pushed_as_hls() {
    let input =
        ("https://camera.example/live.m3u8", "-fflags +genpts -thread_queue_size 512 -analyzeduration 20000000 -re");
    let tracks = "-map 0:0 -codec:v libx264 -preset:v ultrafast -b:v 2048k -maxrate:v 2048k -bufsize:v 2048k -r 12.50 -g 25 \
                  -pix_fmt yuv420p -vsync 1 -profile:v baseline -tune:v zerolatency \
                  -map 0:1 -codec:a libmp3lame -b:a 64k -shortest -af aresample=osr=22050";
    let found = check_ingest(ENCODE_HLS, &[("RS_SNAPSHOT_INTERVAL", "0")], &[input], tracks);
    assert_eq!(found.db.process.len(), 2, "no snapshots");
    let egress = &found.db.process["restreamer-ui:egress:hls:2f1c"];
    let options = words(&egress.config.output[0]);
    for part in
        ["-hls_time 4 -hls_list_size 8", "-hls_flags delete_segments+append_list", "-method PUT", "-timeout 10 "]
    {
        assert!(options.contains(part), "{part} in {options}");
    }
    let ui = &found.db.process_metadata["restreamer-ui:egress:hls:2f1c"]["restreamer-ui"];
    assert_eq!(ui["settings"]["options"]["hls_flags"], json!(["delete_segments", "append_list"]));
}

#[test]
fn databases_that_do_not_know_the_streams_keep_the_sound() {
    let video = "-map 0:v:0 -codec:v copy -vsync 0 -copyts -start_at_zero";
    let found = check_ingest(NO_STREAMS, &[], &[RTSP], &format!("{video} -map 0:a:0? -codec:a aac -b:a 64k -shortest"));
    assert_eq!(found.db.process[INGEST].order, Order::Stop);
    assert_eq!(found.report.lines().len(), 1);
}

#[test]
fn a_source_without_sound_and_several_outputs() {
    let silence = ("anullsrc=r=44100:cl=stereo", "-f lavfi");
    let audio = "-map 1:0 -codec:a aac -b:a 32k -shortest -af aresample=osr=44100:ocl=stereo";
    let found = check_ingest(OUTPUTS, &[], &[RTSP, silence], &format!("{COPY} {audio}"));
    let orders: Vec<(&str, Order)> =
        found.db.process.iter().filter(|(id, _)| id.contains("egress")).map(|(id, r)| (id.as_str(), r.order)).collect();
    let expected =
        [("restreamer-ui:egress:rtmp:2f1c", Order::Stop), ("restreamer-ui:egress:rtmp:2f1c-2", Order::Start)];
    assert_eq!(orders, expected);
    let skipped = &found.report.lines()[0];
    assert_eq!(
        (skipped.verdict, skipped.why.as_str()),
        (report::Verdict::Skipped, "its address is neither http nor rtmp")
    );
}

#[test]
fn cameras_of_the_box() {
    let camera =
        ("/dev/video2", "-thread_queue_size 512 -f v4l2 -framerate 30 -video_size 1280x720 -input_format nv12");
    let microphone = ("hw:2,0", "-thread_queue_size 512 -f alsa -ac 2 -ar 11000");
    let tracks = "-map 0:0 -codec:v libx264 -preset:v ultrafast -b:v 5000k -maxrate:v 5000k -bufsize:v 5000k -r 30 -g 60 \
                  -pix_fmt yuv420p -vsync 1 -profile:v baseline -tune:v zerolatency \
                  -map 1:0 -codec:a aac -b:a 28k -shortest -af aresample=osr=11000:ocl=stereo";
    let variables = [
        ("RS_MODE", "USBCAM"),
        ("RS_USBCAM_VIDEODEVICE", "/dev/video2"),
        ("RS_USBCAM_FPS", "30"),
        ("RS_USBCAM_AUDIO", "true"),
        ("RS_USBCAM_AUDIODEVICE", "2,0"),
        ("RS_USBCAM_AUDIOBITRATE", "28000"),
        ("RS_USBCAM_AUDIOCHANNELS", "2"),
        ("RS_USBCAM_AUDIOSAMPLING", "11000"),
    ];
    check_ingest(CAMERA, &variables, &[camera, microphone], tracks);

    let camera =
        ("/dev/video0", "-thread_queue_size 512 -f v4l2 -framerate 25 -video_size 1920x1080 -input_format h264");
    let silence = ("anullsrc=r=44100:cl=stereo", "-f lavfi");
    let audio = "-map 1:0 -codec:a aac -b:a 32k -shortest -af aresample=osr=44100:ocl=stereo";
    let found = check_ingest(CAMERA, &[("RS_MODE", "RASPICAM")], &[camera, silence], &format!("{COPY} {audio}"));
    assert_eq!(found.report.lines().len(), 1, "the device is a guess");
}

#[test]
fn a_fresh_box_takes_its_streams_from_the_environment() {
    let empty = json!({"addresses": {"srcAddress": ""}, "options": {}, "userActions": {}}).to_string();
    assert_eq!(convert(&empty, &[]).db, Db::default());
    let variables =
        [("RS_INPUTSTREAM", "rtmp://a/b"), ("RS_OUTPUTSTREAM", "rtmp://c/d"), ("RS_SNAPSHOT_INTERVAL", "x")];
    let found = convert(&empty, &variables);
    assert_eq!(found.db.process[INGEST].order, Order::Start);
    assert_eq!(found.db.process["restreamer-ui:egress:rtmp:2f1c"].order, Order::Stop);
    assert_eq!(found.db.process["restreamer-ui:ingest:2f1c_snapshot"].config.reconnect_delay_seconds, 60);
    assert_eq!(found.report.lines().len(), 2, "{}", found.report);
}

#[test]
fn faults_name_the_member() {
    let mut document = parse(RTSP_RTMP);
    document["options"]["video"]["fps"] = json!({});
    let fault = restreamer::convert(&document, &around(&[]), CHANNEL, 0).unwrap_err();
    assert_eq!(fault.to_string(), "options.video.fps: expected text, found an object");
    assert_eq!(
        core::convert(json!({"version": 5, "process": {}})).unwrap_err().to_string(),
        "its version is 5; versions 1 to 4 can be imported"
    );
    assert!(core::convert(json!({"version": 4, "process": 1})).is_err());
}

#[test]
fn databases_of_every_version() {
    for (index, text) in DB.iter().enumerate() {
        let found = core::convert(parse(text)).unwrap();
        let front = &found.db.process["front"];
        assert_eq!(front.order, Order::Start, "{index}");
        assert_eq!(front.config.input[0].address, "rtsp://camera.example/s");
        assert_eq!(front.config.output[0].cleanup[0].max_files, 10);
        assert_eq!((front.config.reconnect_delay_seconds, front.config.limits.memory_bytes), (15, 104_857_600));
        assert_eq!(front.config.reference, "front");
        let written = schema::serialise(&found.db, &BTreeMap::new());
        assert_eq!(schema::parse(&written).unwrap().db, found.db, "readable as version 4");
    }
    let one = core::convert(parse(DB[0])).unwrap();
    assert_eq!((one.db.process["front"].created_at, one.db.process["rear"].order), (1_640_000_000, Order::Stop));
    let four = core::convert(parse(DB[3])).unwrap();
    assert_eq!(four.db.process["back door/2"].order, Order::Stop);
    assert_eq!(four.db.system_metadata.unwrap()["bundle"]["version"], "2.4");
    assert_eq!(four.report.lines(), []);

    let later = core::convert(parse(DB[4])).unwrap();
    assert_eq!(later.db.process_metadata["shed"]["note"], "roof");
    let text = later.report.to_string();
    for line in [
        "skipped  process front of domain garden: there are no domains here, and another process has this id",
        "note     process shed of domain garden: there are no domains here, it keeps its id",
        "skipped  scheduler of process front: there is no such setting here, it was \"0 * * * *\"",
        "skipped  process broken: its entry is no definition of a process",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(!text.contains("log_patterns"), "empty members say nothing:\n{text}");
}

fn own_document() -> Document {
    Document::defaults(Generated {
        created_at: Stamp::ZERO,
        id: "own".to_owned(),
        name: "own".to_owned(),
        jwt_secret: "own".to_owned(),
        memfs_password: "own".to_owned(),
    })
}

#[test]
fn configurations_of_every_version() {
    let own = own_document();
    for (index, text) in CONFIG.iter().enumerate() {
        let (next, report) = settings::convert(parse(text), &own).unwrap();
        assert_eq!((next.version, next.rtmp.app.as_str()), (3, "/live"), "{index}");
        assert_eq!(next.storage.disk.cache.types.allow, [".html", ".js"]);
        assert_eq!((next.db.dir.as_str(), next.update_check, next.host.auto), ("./config", false, false));
        assert_eq!((next.api.auth.password.as_str(), next.id.len()), ("correct horse", 36));
        assert_eq!(next.router.routes["/old"], "/memfs/new.m3u8");
        let text = report.to_string();
        for secret in ["correct horse", "L(8$xyz", "memfs secret", "rtmp secret"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(text.contains("changed  setting address: \":8080\" becomes \":8088\"\n"), "{text}");
        assert!(text.contains("skipped  setting db.dir: stays ./config"), "{text}");
        assert_eq!(text.contains("setting cluster.enable"), index == 2, "{text}");
    }
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

#[track_caller]
fn check_options(address: &str, from: &str, to: &str, old: &str, new: &str) -> String {
    let split = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let io = Io { id: "x".to_owned(), address: address.to_owned(), options: split(old), cleanup: Vec::new() };
    let mut config = ProcessConfig { id: "p".to_owned(), ffversion: from.to_owned(), ..ProcessConfig::default() };
    let is_input = address.starts_with("rtsp") || address.starts_with("http");
    if is_input { &mut config.input } else { &mut config.output }.push(io);
    let mut report = Report::default();
    ffmpeg::adapt(&mut config, version(to), &mut report).unwrap();
    let got = config.input.iter().chain(&config.output).map(words).collect::<String>();
    assert_eq!(got, new, "{from} → {to}");
    report.to_string()
}

#[test]
fn options_of_an_older_ffmpeg() {
    let rtsp = "rtsp://x";
    check_options(rtsp, "", "5.1.9", "-stimeout 5000000 -timeout 3", "-timeout 5000000 -timeout 3");
    check_options(rtsp, "^4.4.1", "5.1.9", "-timeout 3 -stimeout 5", "-listen_timeout 3 -timeout 5");
    check_options(rtsp, "^5.0.0", "7.1.0", "-timeout 3", "-timeout 3");
    check_options(rtsp, "^4.4.1", "4.4.9", "-stimeout 5", "-stimeout 5");
    check_options("http://x", "^4.4.1", "5.1.9", "-timeout 3 -user-agent me", "-timeout 3 -user_agent me");
    check_options("-", "^4.4.1", "5.0.3", "-vsync 1", "-vsync 1");
    check_options("-", "^4.4.1", "5.1.9", "-vsync 1 -c:v copy -vsync vfr", "-fps_mode cfr -c:v copy -fps_mode vfr");
    check_options("-", "^5.1.9", "9.0.2", "-vsync 0", "-fps_mode passthrough");
    let report = check_options("-", "^5.1.9", "9.0.2", "-vsync drop -deinterlace", "-vsync drop -deinterlace");
    assert_eq!(report.matches("needs a look").count(), 2, "{report}");
    check_options("-", "", "7.1.5", "-af aresample=ocl=mono -f null", "-af aresample=ochl=mono -f null");
    check_options("-", "", "7.1.5", "-vol 128 -f null", "-af volume=0.5 -f null");
    check_options("-", "", "7.1.5", "-af a -vol 512 -f null", "-af volume=2,a -f null");
    check_options("-", "", "7.1.5", "-psnr -qphist -adrift_threshold 0.1 -f null", "-flags:v +psnr -f null");
    check_options("-", "", "6.1.0", "-absf x -vbsf y -hls_ts_options z", "-bsf:a x -bsf:v y -hls_segment_options z");
    check_options(
        "-",
        "",
        "9.0.2",
        "-filter_complex_script /x -metadata -vsync",
        "-/filter_complex /x -metadata -vsync",
    );
    assert_eq!(check_options("-", "^5.1.2", "5.1.9", "-c copy", "-c copy"), "");
}

#[test]
fn a_vsync_of_all_outputs() {
    let out = |id: &str, options: &[&str]| Io {
        id: id.to_owned(),
        options: options.iter().map(|word| (*word).to_owned()).collect(),
        ..Io::default()
    };
    let mut config = ProcessConfig {
        options: vec!["-vsync".to_owned(), "0".to_owned(), "-y".to_owned()],
        output: vec![out("a", &["-f", "null"]), out("b", &["-vsync", "2"])],
        ..ProcessConfig::default()
    };
    ffmpeg::adapt(&mut config, version("5.1.9"), &mut Report::default()).unwrap();
    assert_eq!(config.options, ["-y"]);
    assert_eq!(words(&config.output[0]), "-fps_mode passthrough -f null");
    assert_eq!(words(&config.output[1]), "-fps_mode vfr");
    assert_eq!(config.ffversion, "^5.1.9");
    for ffversion in [">=4", "^3.4.0"] {
        config.ffversion = ffversion.to_owned();
        let before = config.clone();
        assert!(ffmpeg::adapt(&mut config, version("5.1.9"), &mut Report::default()).is_err());
        assert_eq!(config, before);
    }
}

#[test]
fn adapting_twice_changes_nothing_more() {
    for text in DB {
        let mut found = core::convert(parse(text)).unwrap();
        for record in found.db.process.values_mut() {
            ffmpeg::adapt(&mut record.config, version("7.1.5"), &mut Report::default()).unwrap();
            let once = record.config.clone();
            let mut report = Report::default();
            ffmpeg::adapt(&mut record.config, version("7.1.5"), &mut report).unwrap();
            assert_eq!((&record.config, report.lines()), (&once, &[][..]));
        }
    }
}

#[test]
fn what_is_stored_stays_unless_it_has_the_same_id() {
    let found = core::convert(parse(DB[3])).unwrap();
    let mut report = Report::default();
    let first = plan::database(&Db::default(), &found.db, BTreeMap::new(), &mut report);
    assert_eq!(report.lines().iter().filter(|line| line.verdict == report::Verdict::Added).count(), 3);
    let mut report = Report::default();
    assert_eq!(plan::database(&first, &found.db, BTreeMap::new(), &mut report), first);
    assert!(report.lines().iter().all(|line| line.verdict == report::Verdict::Skipped), "{report}");

    let mut stored = first.clone();
    let own = stored.process["front"].clone();
    stored.process.insert("own".to_owned(), own);
    stored.process.get_mut("front").unwrap().order = Order::Stop;
    stored.process.get_mut("front").unwrap().created_at = 7;
    let db = plan::database(&stored, &found.db, BTreeMap::new(), &mut Report::default());
    assert_eq!((db.process["front"].order, db.process["front"].created_at), (Order::Start, 7));
    assert_eq!(db.process["own"], stored.process["own"]);
}

/// A small generator, so that a failing seed can be named.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Puts something else at a random place of `value`.
fn spoil(value: &mut Value, random: &mut Random) {
    let strange = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e308),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}\u{1b}%s{memfs}é"),
        json!("-vsync"),
        json!("x".repeat(5000)),
        json!([]),
        json!([[[]]]),
        json!({}),
        json!({"config": null}),
    ];
    let below: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(members) => members.values_mut().collect(),
        _ => Vec::new(),
    };
    if below.is_empty() || random.below(6) == 0 {
        *value = strange[random.below(strange.len())].clone();
        return;
    }
    let at = random.below(below.len());
    spoil(below.into_iter().nth(at).unwrap(), random);
}

/// Everything that an import does with a document, whatever it is.
fn digest(value: &Value) {
    let variables = [("RS_MODE", "USBCAM"), ("RS_USBCAM_FPS", "-1"), ("RS_USBCAM_AUDIO", "true")];
    let mut databases = Vec::new();
    for around in [around(&[]), around(&variables)] {
        databases.extend(restreamer::convert(value, &around, CHANNEL, 0).ok());
    }
    if core::is(value) {
        databases.extend(core::convert(value.clone()).ok());
    }
    if let Ok((_, report)) = settings::convert(value.clone(), &own_document()) {
        report.to_string();
    }
    for mut found in databases {
        for target in ["5.1.9", "9.0.2"] {
            for record in found.db.process.values_mut() {
                let _ = ffmpeg::adapt(&mut record.config, version(target), &mut found.report);
            }
        }
        let mut report = Report::default();
        let db = plan::database(&found.db, &found.db, BTreeMap::new(), &mut report);
        let written = schema::serialise(&db, &BTreeMap::new());
        assert_eq!(schema::parse(&written).unwrap().db.process.len(), db.process.len());
        assert!(!found.report.to_string().contains('\u{1b}'));
    }
}

#[test]
fn anything_is_an_error_or_a_report_but_never_a_panic() {
    let documents = [RTSP_RTMP, ENCODE_HLS, NO_STREAMS, OUTPUTS, CAMERA].into_iter().chain(DB).chain(CONFIG);
    for (number, text) in documents.enumerate() {
        let mut random = Random(u64::try_from(number).unwrap());
        for _ in 0..100 {
            let mut value = parse(text);
            for _ in 0..=random.below(4) {
                spoil(&mut value, &mut random);
            }
            digest(&value);
        }
    }
    for value in [json!(null), json!([]), json!({}), json!("x"), json!({"version": 4, "process": {}})] {
        digest(&value);
    }
}
