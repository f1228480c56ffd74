//! The state object on the wire (`contract/http-api.md` §6.7), written straight from the view.

use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use crate::cgroup::Stats;
use crate::ffmpeg::{AvStream, AvStreamIo, FrameRate, IoProgress, Progress};
use crate::http::json;
use crate::supervisor::{ProcessView, ProgressView, StateView};

/// Bytes of a `size_kb`, bits of a `bitrate_kbit`.
const KILO: u64 = 1024;

/// The state of a process as compact JSON; all zero values for an invalid one.
pub(super) fn write(out: &mut Vec<u8>, view: &ProcessView) -> Result<(), serde_json::Error> {
    json::append(out, &State::from(view))?;
    json::extend(out, "progress", |out| match &view.state {
        Some(state) => write_progress(out, &state.progress),
        None => json::append(out, &ProgressOut::from(&Progress::default())),
    })
}

/// Made once per view: between two reports of FFmpeg many readers may come.
fn write_progress(out: &mut Vec<u8>, view: &ProgressView) -> Result<(), serde_json::Error> {
    let bytes = match view.rendered.get() {
        Some(bytes) => bytes,
        None => {
            let bytes = json::to_vec(&ProgressOut::from(&view.progress))?;
            view.rendered.get_or_init(|| bytes.into_boxed_slice())
        }
    };
    out.extend_from_slice(bytes);
    Ok(())
}

/// The state but its progress.
#[derive(Serialize)]
struct State<'a> {
    order: &'static str,
    exec: &'static str,
    runtime_seconds: u64,
    reconnect_seconds: i64,
    last_logline: &'a str,
    memory_bytes: u64,
    #[serde(serialize_with = "json::dec3")]
    cpu_usage: f64,
    command: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rill: Option<Rill<'a>>,
}

/// Our additions.
#[derive(Serialize)]
enum Rill<'a> {
    /// Why an invalid process does not run.
    #[serde(rename = "invalid")]
    Invalid(&'a str),
    #[serde(rename = "group")]
    Group(Group),
}

/// What the control group of a running process says.
#[derive(Serialize)]
struct Group {
    memory_bytes: u64,
    memory_peak_bytes: u64,
    oom_kills: u64,
    #[serde(serialize_with = "json::dec3")]
    cpu_seconds: f64,
    #[serde(serialize_with = "json::dec3")]
    throttled_seconds: f64,
    threads: u64,
    refused_threads: u64,
    pressure: Pressure,
}

#[derive(Serialize)]
struct Pressure {
    #[serde(serialize_with = "json::dec3")]
    cpu: f64,
    #[serde(serialize_with = "json::dec3")]
    memory: f64,
    #[serde(serialize_with = "json::dec3")]
    io: f64,
}

impl From<Stats> for Group {
    fn from(stats: Stats) -> Self {
        let seconds = |micros| Duration::from_micros(micros).as_secs_f64();
        Self {
            memory_bytes: stats.memory,
            memory_peak_bytes: stats.memory_peak,
            oom_kills: stats.oom_kills,
            cpu_seconds: seconds(stats.cpu_us),
            throttled_seconds: seconds(stats.throttled_us),
            threads: stats.threads,
            refused_threads: stats.refused_threads,
            pressure: Pressure { cpu: stats.cpu_pressure, memory: stats.memory_pressure, io: stats.io_pressure },
        }
    }
}

impl<'a> From<&'a ProcessView> for State<'a> {
    fn from(view: &'a ProcessView) -> Self {
        match &view.state {
            Some(state) => Self::valid(state),
            None => Self {
                order: "",
                exec: "",
                runtime_seconds: 0,
                reconnect_seconds: 0,
                last_logline: "",
                memory_bytes: 0,
                cpu_usage: 0.0,
                command: None,
                rill: view.invalid.as_deref().map(Rill::Invalid),
            },
        }
    }
}

impl<'a> State<'a> {
    fn valid(state: &'a StateView) -> Self {
        Self {
            order: state.order.name(),
            exec: state.state.name(),
            runtime_seconds: state.runtime_seconds,
            reconnect_seconds: state.reconnect_seconds,
            last_logline: &state.last_logline,
            memory_bytes: state.memory_bytes,
            cpu_usage: state.cpu_percent,
            command: Some(&state.command),
            rill: state.group.map(|stats| Rill::Group(stats.into())),
        }
    }
}

#[derive(Serialize)]
struct ProgressOut<'a> {
    #[serde(serialize_with = "streams")]
    inputs: &'a [IoProgress],
    #[serde(serialize_with = "streams")]
    outputs: &'a [IoProgress],
    frame: u64,
    packet: u64,
    #[serde(serialize_with = "json::dec3")]
    fps: f64,
    #[serde(serialize_with = "json::dec3")]
    q: f64,
    size_kb: u64,
    #[serde(serialize_with = "json::dec3")]
    time: f64,
    #[serde(serialize_with = "json::dec3")]
    bitrate_kbit: f64,
    #[serde(serialize_with = "json::dec3")]
    speed: f64,
    drop: u64,
    dup: u64,
}

impl<'a> From<&'a Progress> for ProgressOut<'a> {
    fn from(progress: &'a Progress) -> Self {
        Self {
            inputs: &progress.inputs,
            outputs: &progress.outputs,
            frame: progress.frame,
            packet: progress.packet,
            fps: progress.fps,
            q: progress.q,
            size_kb: progress.size_bytes / KILO,
            time: progress.time,
            bitrate_kbit: kbit(progress.bitrate),
            speed: progress.speed,
            drop: progress.drop,
            dup: progress.dup,
        }
    }
}

#[derive(Serialize)]
struct Stream<'a> {
    id: &'a str,
    address: &'a str,
    index: u64,
    stream: u64,
    format: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    codec: &'a str,
    coder: &'a str,
    frame: u64,
    keyframe: u64,
    framerate: Rate,
    #[serde(serialize_with = "json::fix3")]
    fps: f64,
    packet: u64,
    #[serde(serialize_with = "json::fix3")]
    pps: f64,
    size_kb: u64,
    #[serde(serialize_with = "json::fix3")]
    bitrate_kbit: f64,
    extradata_size_bytes: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    pix_fmt: &'a str,
    #[serde(serialize_with = "json::fix3")]
    q: f64,
    #[serde(skip_serializing_if = "is_zero")]
    width: u64,
    #[serde(skip_serializing_if = "is_zero")]
    height: u64,
    #[serde(skip_serializing_if = "is_zero")]
    sampling_hz: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    layout: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    channels: u64,
    avstream: Option<AvStreamOut<'a>>,
}

#[derive(Serialize)]
struct Rate {
    #[serde(serialize_with = "json::fix3")]
    min: f64,
    #[serde(serialize_with = "json::fix3")]
    max: f64,
    #[serde(serialize_with = "json::fix3")]
    avg: f64,
}

#[derive(Serialize)]
pub(crate) struct AvStreamOut<'a> {
    input: AvStreamIoOut<'a>,
    output: AvStreamIoOut<'a>,
    aqueue: u64,
    queue: u64,
    dup: u64,
    drop: u64,
    enc: u64,
    looping: bool,
    looping_runtime: u64,
    duplicating: bool,
    gop: &'a str,
}

#[derive(Serialize)]
struct AvStreamIoOut<'a> {
    state: &'a str,
    packet: u64,
    time: u64,
    /// Bytes, as Core answers them.
    size_kb: u64,
}

fn streams<S: Serializer>(list: &&[IoProgress], serializer: S) -> Result<S::Ok, S::Error> {
    let mut seq = serializer.serialize_seq(Some(list.len()))?;
    for io in *list {
        seq.serialize_element(&Stream::from(io))?;
    }
    seq.end()
}

impl<'a> From<&'a IoProgress> for Stream<'a> {
    fn from(io: &'a IoProgress) -> Self {
        let FrameRate { min, max, avg } = io.framerate;
        Self {
            id: &io.id,
            address: &io.address,
            index: io.index,
            stream: io.stream,
            format: &io.format,
            kind: &io.kind,
            codec: &io.codec,
            coder: &io.coder,
            frame: io.frame,
            keyframe: io.keyframe,
            framerate: Rate { min, max, avg },
            fps: io.fps,
            packet: io.packet,
            pps: io.pps,
            size_kb: io.size_bytes / KILO,
            bitrate_kbit: kbit(io.bitrate),
            extradata_size_bytes: io.extradata_size_bytes,
            pix_fmt: &io.pix_fmt,
            q: io.q,
            width: io.width,
            height: io.height,
            sampling_hz: io.sampling_hz,
            layout: &io.layout,
            channels: io.channels,
            avstream: io.avstream.as_ref().map(AvStreamOut::from),
        }
    }
}

impl<'a> From<&'a AvStream> for AvStreamOut<'a> {
    fn from(state: &'a AvStream) -> Self {
        let side = |io: &'a AvStreamIo| AvStreamIoOut {
            state: &io.state,
            packet: io.packet,
            time: io.time,
            size_kb: io.size_bytes,
        };
        Self {
            input: side(&state.input),
            output: side(&state.output),
            aqueue: state.aqueue,
            queue: state.queue,
            dup: state.dup,
            drop: state.drop,
            enc: state.enc,
            looping: state.looping,
            looping_runtime: state.looping_runtime,
            duplicating: state.duplicating,
            gop: &state.gop,
        }
    }
}

pub(crate) fn kbit(bits: f64) -> f64 {
    bits / 1024.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature of skip_serializing_if")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
