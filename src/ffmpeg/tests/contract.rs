//! The recorded captures: state, report and probe as the reference had them, or better where decisions.md says so.

use serde_json::{Map, Value, json};

use super::*;
use crate::ffmpeg::{IoProgress, Probe, Stream};

/// Lines of log a report keeps by default.
const LOG_LINES: usize = 50;

/// Where we report more than the reference: capture, member of progress, our value.
const BETTER: [(&str, &str, f64); 19] = [
    // A stream copy has no quantiser, and says so.
    ("copy-re", "q", -1.0),
    ("subtitle", "q", -1.0),
    // KiB since FFmpeg 7.
    ("synthetic-ffmpeg7-kib", "size_kb", 256.0),
    ("synthetic-frame-in-log", "speed", 1500.0),
    // Audio only.
    ("audio-only", "time", 4.5),
    ("audio-only", "speed", 0.992),
    ("audio-only-mpegts", "time", 3.49),
    ("audio-only-mpegts", "speed", 0.99),
    ("audio-only-mpegts", "size_kb", 50.0),
    ("rawaudio-51", "time", 3.51),
    ("rawaudio-51", "speed", 0.995),
    // More mapping lines than output streams.
    ("filter-complex-2in1out", "frame", 88.0),
    ("filter-complex-2in1out", "q", 21.0),
    ("filter-complex-2in1out", "time", 3.36),
    ("filter-complex-2in1out", "speed", 0.954),
    // Streams the reference never listed.
    ("audio-only", "streams", 2.0),
    ("audio-only-mpegts", "streams", 2.0),
    ("rawaudio-51", "streams", 2.0),
    ("filter-complex-2in1out", "streams", 3.0),
];

fn better(name: &str, member: &str) -> Option<f64> {
    BETTER.iter().find(|(capture, known, _)| (*capture, *known) == (name, member)).map(|(_, _, value)| *value)
}

fn recorded(path: &Path) -> (String, Value, Vec<u8>) {
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let record = serde_json::from_slice(&fs::read(path).expect("a readable record")).expect("a JSON record");
    let text = fs::read(path.with_extension("txt")).expect("a capture beside its record");
    (name, record, text)
}

fn captures() -> Vec<(String, Value, Vec<u8>)> {
    let lone = ["live-sample.json", "paced-averaging.json"];
    let paths = files("contract/ffmpeg-stderr", ".json");
    paths.iter().filter(|path| !lone.iter().any(|lone| path.ends_with(lone))).map(|path| recorded(path)).collect()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text")).collect()
}

/// Rounded as answers are.
fn decimals(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// One entry with the members of an answer; what the answer omits is absent.
fn entry(io: &IoProgress) -> Value {
    let mut entry = json!({
        "id": io.id, "address": io.address, "index": io.index, "stream": io.stream, "format": io.format,
        "type": io.kind, "codec": io.codec, "coder": io.coder, "frame": io.frame, "keyframe": io.keyframe,
        "framerate": {"min": io.framerate.min, "max": io.framerate.max, "avg": io.framerate.avg},
        "fps": decimals(io.fps), "packet": io.packet, "pps": decimals(io.pps), "size_kb": io.size_bytes / 1024,
        "bitrate_kbit": decimals(io.bitrate / 1024.0), "extradata_size_bytes": io.extradata_size_bytes, "q": io.q,
        "avstream": io.avstream.as_ref().map(|av| json!({
            "input": {"state": av.input.state, "packet": av.input.packet, "time": av.input.time, "size_kb": av.input.size_bytes},
            "output": {"state": av.output.state, "packet": av.output.packet, "time": av.output.time, "size_kb": av.output.size_bytes},
            "aqueue": av.aqueue, "queue": av.queue, "dup": av.dup, "drop": av.drop, "enc": av.enc,
            "looping": av.looping, "looping_runtime": av.looping_runtime, "duplicating": av.duplicating, "gop": av.gop,
        })),
    });
    let members = entry.as_object_mut().expect("an object");
    for (member, text) in [("pix_fmt", &io.pix_fmt), ("layout", &io.layout)] {
        if !text.is_empty() {
            members.insert(member.into(), json!(text));
        }
    }
    let numbers =
        [("width", io.width), ("height", io.height), ("sampling_hz", io.sampling_hz), ("channels", io.channels)];
    for (member, number) in numbers {
        if number > 0 {
            members.insert(member.into(), json!(number));
        }
    }
    entry
}

#[test]
fn states_are_at_least_as_good_as_recorded() {
    let mut seen = 0;
    for (name, record, text) in captures() {
        let Some(expected) = record.pointer("/state/progress").and_then(Value::as_object) else { continue };
        let mut replay =
            Replay::new(&strings(&record["process"]["input_ids"]), &strings(&record["process"]["output_ids"]));
        replay.stderr(&text);
        if record["replay"]["then"] != "stays alive" {
            replay.end();
            replay.parser.reset();
        }
        check_progress(&name, expected, &replay);
        seen += 1;
    }
    assert!(seen >= 33, "{seen} captures");
}

fn check_progress(name: &str, expected: &Map<String, Value>, replay: &Replay) {
    let progress = replay.parser.progress(replay.now);
    let got = json!({
        "frame": progress.frame, "packet": progress.packet, "fps": decimals(progress.fps), "q": progress.q,
        "size_kb": progress.size_bytes / 1024, "time": decimals(progress.time),
        "bitrate_kbit": decimals(progress.bitrate / 1024.0), "speed": progress.speed,
        "drop": progress.drop, "dup": progress.dup,
    });
    for (member, got) in got.as_object().expect("an object") {
        let expected = better(name, member).or(expected[member].as_f64());
        assert_eq!(got.as_f64(), expected, "{name}: {member}");
    }
    if let Some(streams) = better(name, "streams") {
        assert_eq!((progress.inputs.len() + progress.outputs.len()) as f64, streams, "{name}");
        assert!(progress.inputs.iter().all(|io| io.id.starts_with("in") && !io.codec.is_empty()), "{name}");
        assert!(progress.outputs.iter().all(|io| io.id == "out0" && !io.codec.is_empty()), "{name}");
        return;
    }
    for (side, got) in [("inputs", &progress.inputs), ("outputs", &progress.outputs)] {
        let got = Value::Array(got.iter().map(entry).collect());
        let expected = &expected[side];
        assert_eq!(normal(&got), normal(expected), "{name}: {side}");
    }
}

/// Numbers as doubles, so that 0 equals 0.0.
fn normal(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(list) => list.iter().map(normal).collect(),
        Value::Object(map) => Value::Object(map.iter().map(|(key, value)| (key.clone(), normal(value))).collect()),
        other => other.clone(),
    }
}

#[test]
fn reports_hold_what_was_recorded_less_the_progress_of_audio() {
    for (name, record, text) in captures() {
        let Some(report) = record.get("report") else { continue };
        let mut replay = Replay::new(&[], &[]);
        replay.stderr(&text);
        if record["replay"]["then"] != "stays alive" {
            replay.end();
        }
        let unlogged =
            |line: &&str| better(&name, "time").is_none() || !(line.starts_with("size=") || line.starts_with("frame="));
        let recorded: Vec<&str> = strings(&report["log"]).into_iter().filter(unlogged).collect();
        let log = &replay.log[replay.log.len().saturating_sub(LOG_LINES)..];
        // The reference kept audio's statistics in its ring, so that older lines fell out.
        assert!(log.ends_with(&recorded.iter().map(|&line| line.to_owned()).collect::<Vec<_>>()), "{name}: log");
        if better(&name, "time").is_none() {
            assert_eq!(log, recorded, "{name}: log");
            assert_eq!(prelude(&replay.prelude), strings(&report["prelude"]), "{name}: prelude");
        } else {
            assert!(!replay.prelude.is_empty() && replay.counted >= 8, "{name}: {}", replay.counted);
        }
        if let Some(last) = record.pointer("/state/last_logline").and_then(Value::as_str).filter(unlogged_last) {
            assert_eq!(replay.log.last().map_or("", String::as_str), last, "{name}");
        }
    }
}

fn unlogged_last(line: &&str) -> bool {
    !line.starts_with("size=")
}

/// First 100 and last 50 lines, as `process::report` keeps them.
fn prelude(lines: &[String]) -> Vec<String> {
    if lines.len() <= 150 {
        return lines.to_vec();
    }
    let mark = format!("... truncated {} lines ...", lines.len() - 150);
    [&lines[..100], &[mark], &lines[lines.len() - 50..]].concat()
}

fn probe_entry(stream: &Stream) -> Value {
    json!({
        "url": stream.address, "format": stream.format, "index": stream.index, "stream": stream.stream,
        "language": stream.language, "type": stream.kind, "codec": stream.codec, "coder": stream.coder,
        "bitrate_kbps": stream.bitrate_kbps, "duration_sec": stream.duration_sec, "fps": stream.fps,
        "pix_fmt": stream.pix_fmt, "width": stream.width, "height": stream.height,
        "sampling_hz": stream.sampling_hz, "layout": stream.layout, "channels": stream.channels,
    })
}

#[test]
fn probes_equal_the_recorded_ones() {
    let mut seen = 0;
    for (name, record, text) in captures() {
        let Some(expected) = record.get("probe") else { continue };
        let mut probe = Probe::default();
        let mut splitter = LineSplitter::default();
        splitter.feed(&text, |line| probe.line(line));
        splitter.finish(|line| probe.line(line));
        let (streams, log) = probe.finish();
        let streams = Value::Array(streams.iter().map(probe_entry).collect());
        assert_eq!(normal(&streams), normal(&expected["streams"]), "{name}");
        assert_eq!(log, strings(&expected["log"]), "{name}");
        seen += 1;
    }
    assert!(seen >= 3, "{seen} probes");
}

/// Lines of the recorded run came this often, counted from the first one.
const PACE: f64 = 0.5;

#[test]
fn rates_equal_the_recorded_samples_and_decay_afterwards() {
    let path = folder("contract/ffmpeg-stderr/paced-averaging.json");
    let record: Value = serde_json::from_slice(&fs::read(path).expect("a readable record")).expect("a JSON record");
    let two_outputs = fs::read_to_string(folder("contract/ffmpeg-stderr/two-outputs.txt")).expect("a capture");
    let mut replay = Replay::new(&["in0", "in1"], &["out0", "out1"]);
    replay.stderr(two_outputs.split("frame=").next().expect("a prelude").as_bytes());
    let mut samples = record["samples"].as_array().expect("samples").iter().peekable();
    let start = replay.now;
    for line in strings(&record["lines"]).into_iter().filter(|line| line.starts_with("frame=")) {
        replay.line(line);
        let frame = replay.parser.progress(replay.now).frame;
        let arrived = (replay.now - start).as_secs_f64();
        // A sample belongs between the line it shows and the next one; its own time is only roughly right.
        while let Some(sample) = samples.next_if(|sample| sample["frame"] == frame && sample["t"] != 14.0) {
            let at = sample["t"].as_f64().expect("seconds").clamp(arrived, arrived + PACE - 0.001);
            let progress = replay.parser.progress(start + Duration::from_secs_f64(at));
            let got = (decimals(progress.fps), decimals(progress.bitrate / 1024.0));
            let expected = ["fps", "bitrate_kbit"].map(|rate| sample[rate].as_f64().expect("a rate"));
            assert_eq!(got, expected.into(), "at {}", sample["t"]);
        }
        replay.wait(PACE);
    }
    // The last sample was taken in silence: the reference froze, ours decays.
    assert_eq!(samples.next().map(|sample| &sample["fps"]), Some(&json!(22.909)));
    let fps = |at: f64| replay.parser.progress(start + Duration::from_secs_f64(at)).fps;
    assert_eq!([fps(14.0), fps(24.0), fps(72.0)], [276.0 / 14.0, 276.0 / 24.0, 0.0]);
}
