//! The JSON lines of a patched FFmpeg (`ffmpeg-parsing.md` §6): text in, tables, counters and playout states out.
//!
//! `ffmpeg.inputs:` and `ffmpeg.outputs:` list streams, `ffmpeg.progress:` counts, `avstream.progress:` describes a
//! playout input. Unknown members are ignored; anything that does not fit is refused as a whole.

use serde::Deserialize;

use super::prelude::Stream;
use super::progress::{AvStream, AvStreamIo, FrameRate};
use super::stats::Update;

/// What one `ffmpeg.progress:` line says.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) total: Update,
    pub(super) inputs: Vec<StreamCounters>,
    pub(super) outputs: Vec<StreamCounters>,
}

/// Counters of one stream, in the order of its table.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct StreamCounters {
    pub(super) frame: u64,
    pub(super) keyframe: u64,
    pub(super) packet: u64,
    pub(super) size_bytes: u64,
    pub(super) extradata_size_bytes: u64,
    pub(super) framerate: FrameRate,
    pub(super) q: f64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StreamLine {
    url: String,
    format: String,
    index: u64,
    stream: u64,
    language: String,
    r#type: String,
    codec: String,
    coder: String,
    bitrate_kbps: f64,
    duration_sec: f64,
    fps: f64,
    pix_fmt: String,
    width: u64,
    height: u64,
    sampling_hz: u64,
    layout: String,
    channels: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ProgressLine {
    inputs: Vec<EntryLine>,
    outputs: Vec<EntryLine>,
    frame: u64,
    packet: u64,
    q: f64,
    size_kb: u64,
    size_bytes: u64,
    time: Time,
    speed: f64,
    dup: u64,
    drop: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EntryLine {
    frame: u64,
    keyframe: u64,
    framerate: FrameRateLine,
    packet: u64,
    size_kb: u64,
    size_bytes: u64,
    extradata_size_bytes: u64,
    q: f64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FrameRateLine {
    min: f64,
    max: f64,
    avg: f64,
}

/// `"0h0m2.04s"`, or a plain number of nanoseconds, as the reference takes it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Text(String),
    Nanoseconds(f64),
}

impl Default for Time {
    fn default() -> Self {
        Self::Nanoseconds(0.0)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AvStreamLine {
    id: String,
    queue: u64,
    aqueue: u64,
    dup: u64,
    drop: u64,
    enc: u64,
    looping: bool,
    looping_runtime: u64,
    duplicating: bool,
    gop: String,
    input: AvStreamSide,
    output: AvStreamSide,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AvStreamSide {
    state: String,
    packet: u64,
    time: u64,
    size_kb: u64,
}

/// Reads a table; `None` when it is broken or empty.
pub(super) fn table(json: &str) -> Option<Vec<Stream>> {
    let lines: Vec<StreamLine> = serde_json::from_str(json).ok()?;
    let streams: Vec<Stream> = lines.into_iter().map(stream).collect();
    (!streams.is_empty()).then_some(streams)
}

/// Reads the counters; `None` when the line is broken.
pub(super) fn progress(json: &str) -> Option<Counters> {
    let line: ProgressLine = serde_json::from_str(json).ok()?;
    let time = match line.time {
        Time::Text(text) => duration(&text)?,
        Time::Nanoseconds(nanoseconds) => nanoseconds.trunc() / 1e9,
    };
    let total = Update {
        frame: Some(line.frame),
        packet: Some(line.packet),
        q: Some(line.q),
        size_bytes: Some(size(line.size_bytes, line.size_kb)),
        time: Some(time),
        speed: Some(line.speed),
        drop: Some(line.drop),
        dup: Some(line.dup),
    };
    let entries = |lines: Vec<EntryLine>| lines.into_iter().map(counters).collect();
    Some(Counters { total, inputs: entries(line.inputs), outputs: entries(line.outputs) })
}

/// Reads a playout state and the address of the input it belongs to; `None` when the line is broken.
pub(super) fn avstream(json: &str) -> Option<(String, AvStream)> {
    let line: AvStreamLine = serde_json::from_str(json).ok()?;
    let side = |side: AvStreamSide| AvStreamIo {
        state: side.state,
        packet: side.packet,
        time: side.time,
        size_bytes: side.size_kb.saturating_mul(1024),
    };
    let state = AvStream {
        input: side(line.input),
        output: side(line.output),
        aqueue: line.aqueue,
        queue: line.queue,
        dup: line.dup,
        drop: line.drop,
        enc: line.enc,
        looping: line.looping,
        looping_runtime: line.looping_runtime,
        duplicating: line.duplicating,
        gop: line.gop,
    };
    Some((line.id, state))
}

fn stream(line: StreamLine) -> Stream {
    Stream {
        address: line.url,
        format: line.format,
        index: line.index,
        stream: line.stream,
        language: line.language,
        kind: line.r#type,
        codec: line.codec,
        coder: line.coder,
        bitrate_kbps: line.bitrate_kbps,
        duration_sec: line.duration_sec,
        fps: line.fps,
        pix_fmt: line.pix_fmt,
        width: line.width,
        height: line.height,
        sampling_hz: line.sampling_hz,
        layout: line.layout,
        channels: line.channels,
    }
}

fn counters(line: EntryLine) -> StreamCounters {
    StreamCounters {
        frame: line.frame,
        keyframe: line.keyframe,
        packet: line.packet,
        size_bytes: size(line.size_bytes, line.size_kb),
        extradata_size_bytes: line.extradata_size_bytes,
        framerate: FrameRate { min: line.framerate.min, max: line.framerate.max, avg: line.framerate.avg },
        q: line.q,
    }
}

fn size(bytes: u64, kilobytes: u64) -> u64 {
    if bytes == 0 { kilobytes.saturating_mul(1024) } else { bytes }
}

/// Seconds of `1h2m3.5s`, `250ms`, `-1s`, `0`: numbers with units, largest first or not.
fn duration(text: &str) -> Option<f64> {
    let (sign, mut rest) =
        text.strip_prefix('-').map_or((1.0, text.strip_prefix('+').unwrap_or(text)), |rest| (-1.0, rest));
    if rest == "0" {
        return Some(0.0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number * unit;
        rest = &rest[end..];
    }
    Some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("0h0m2.04s", Some(2.04)),
            ("1h2m3.5s", Some(3723.5)),
            ("250ms", Some(0.25)),
            ("-1s", Some(-1.0)),
            ("0", Some(0.0)),
            ("", None),
            ("2", None),
            ("2x", None),
            ("s", None),
            ("1..2s", None),
            ("1µs", Some(1e-6)),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn broken_lines_are_refused_as_a_whole() {
        for json in ["", "{", "[]", "null", "[{}", "{\"index\":-1}", "[{\"index\":1.5}]", "[{\"url\":1}]"] {
            assert!(table(json).is_none(), "{json}");
        }
        for json in ["", "{\"time\":\"x\"}", "{\"frame\":-1}", "{\"inputs\":{}}", "[1]", &"[".repeat(60_000)] {
            assert!(progress(json).is_none(), "{json}");
            assert!(
                avstream(json).is_none() || json.contains("time") || json.contains("frame") || json.contains("inputs")
            );
        }
    }
}
