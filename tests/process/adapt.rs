//! Options of older FFmpegs, adapted by `rill import ffmpeg` and taken by the FFmpeg that is there
//! (`scripts/test-ffmpeg-matrix` tries several).

use std::fs;
use std::path::Path;
use std::process::Command;

use rill::base::clock::Now;
use rill::config::Environment;
use rill::ffmpeg::version::Version;
use rill::import::driver::{Request, run};
use serde_json::{Value, json};

use crate::stock::{ffmpeg, words};

const VIDEO: &str = "-f lavfi -t 0.2 -i testsrc2=size=64x64:rate=10";
const AUDIO: &str = "-f lavfi -t 0.2 -i sine";

/// Name, input with its options, options of the output, output. `DIR` is a folder of its own.
const RUNS: [(&str, &str, &str, &str); 14] = [
    ("numbered vsync", VIDEO, "-vsync 1 -f null", "-"),
    ("vsync of a copy", VIDEO, "-c:v copy -vsync 0 -f null", "-"),
    ("vsync by name", VIDEO, "-vsync vfr -f null", "-"),
    ("channel layout", AUDIO, "-af aresample=osr=44100:ocl=stereo -f null", "-"),
    ("long channel layout", AUDIO, "-filter_complex [0:a]aresample=44100:out_channel_layout=stereo -f null", "-"),
    ("volume", AUDIO, "-vol 128 -f null", "-"),
    ("volume and filter", AUDIO, "-vol 128 -af aresample=async=1 -f null", "-"),
    ("psnr", VIDEO, "-c:v mpeg4 -psnr -f null", "-"),
    ("without effect", VIDEO, "-qphist -adrift_threshold 0.1 -f null", "-"),
    ("bit stream filter of sound", AUDIO, "-c:a aac -absf aac_adtstoasc -f mp4", "DIR/a.mp4"),
    ("bit stream filter of picture", VIDEO, "-c:v libx264 -vbsf h264_mp4toannexb -f mpegts", "DIR/b.ts"),
    ("hls", VIDEO, "-c:v libx264 -f hls -use_localtime 0 -hls_allow_cache 0", "DIR/c.m3u8"),
    ("hls segments", VIDEO, "-c:v libx264 -f hls -hls_ts_options mpegts_flags=resend_headers", "DIR/d.m3u8"),
    ("filter script", VIDEO, "-filter_script:v DIR/filter -f null", "-"),
];

fn version(binary: &Path) -> Version {
    let output = Command::new(binary).arg("-version").output().expect("FFmpeg runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let word = text.split_whitespace().nth(2).expect("FFmpeg says its version");
    Version::parse(word.split('-').next().unwrap_or_default()).unwrap_or_else(|| panic!("no release: {word}"))
}

/// The definitions as Core would have stored them with FFmpeg 4.
fn database(dir: &str) -> Value {
    let process = |(name, input, output, address): &(&str, &str, &str, &str)| {
        let mut input = words(input);
        let source = input.pop().expect("an input has an address");
        input.pop();
        let output = words(&output.replace("DIR", dir));
        let config = json!({
            "id": name,
            "ffversion": "^4.4.1",
            "input": [{"id": "in", "address": source, "options": input}],
            "output": [{"id": "out", "address": address.replace("DIR", dir), "options": output}],
            "options": ["-y"],
        });
        ((*name).to_owned(), json!({"id": name, "config": config, "order": "stop"}))
    };
    json!({"version": 4, "process": RUNS.iter().map(process).collect::<serde_json::Map<_, _>>(), "metadata": {}})
}

fn command(config: &Value) -> Vec<String> {
    let list = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).expect("a list of words") };
    let (input, output) = (&config["input"][0], &config["output"][0]);
    let address = |io: &Value| io["address"].as_str().expect("an address").to_owned();
    let mut command = list(&config["options"]);
    command.extend(list(&input["options"]));
    command.extend(["-i".to_owned(), address(input)]);
    command.extend(list(&output["options"]));
    command.push(address(output));
    command
}

#[test]
fn options_of_ffmpeg_4_run_on_the_one_that_is_there() {
    let (binary, dir) = (ffmpeg(), tempfile::tempdir().expect("a directory can be made"));
    let path = dir.path().to_str().expect("temporary directories have UTF-8 names");
    fs::write(dir.path().join("filter"), "scale=32:32").expect("written");
    let file = dir.path().join("db.json");
    fs::write(&file, database(path).to_string()).expect("written");
    let variables = [
        ("CORE_DB_DIR", path.to_owned()),
        ("CORE_STORAGE_DISK_DIR", path.to_owned()),
        ("CORE_CONFIGFILE", format!("{path}/config.json")),
        ("CORE_FFMPEG_BINARY", binary.display().to_string()),
    ];
    let environment = Environment::new(variables.map(|(name, value)| (name.to_owned(), value)), "");
    let target = version(&binary);
    let request = Request { adapt_only: true, target: Some(target), ..Request::default() };
    let report = run(&request, environment, Now::read(), |_| None).unwrap_or_else(|error| panic!("{error}"));

    let db: Value = serde_json::from_slice(&fs::read(&file).expect("read")).expect("JSON");
    for (name, ..) in RUNS {
        let config = &db["process"][name]["config"];
        assert_eq!(config["ffversion"], target.constraint(), "{report}");
        let output = Command::new(&binary)
            .args(["-nostdin", "-hide_banner", "-loglevel", "warning"])
            .args(command(config))
            .output()
            .expect("FFmpeg runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {:?}\n{said}", command(config));
        assert!(!said.contains("-vsync is deprecated"), "{name}: {said}");
    }
}
