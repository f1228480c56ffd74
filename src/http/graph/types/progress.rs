//! The progress of a run. `size_kb` is in bytes here, as Core answers it (H35).

use serde::Serialize;

use crate::ffmpeg;

/// Bits of a `bitrate_kbit`.
const KILO: f64 = 1024.0;

/// All zero for an invalid process.
#[derive(Default, Serialize)]
pub(super) struct Progress<'a> {
    input: Vec<ProgressIO<'a>>,
    output: Vec<ProgressIO<'a>>,
    frame: u64,
    packet: u64,
    fps: f64,
    q: f64,
    size_kb: u64,
    time: f64,
    bitrate_kbit: f64,
    speed: f64,
    drop: u64,
    dup: u64,
}

#[derive(Serialize)]
struct ProgressIO<'a> {
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
    fps: f64,
    packet: u64,
    pps: f64,
    size_kb: u64,
    bitrate_kbit: f64,
    pixfmt: &'a str,
    q: f64,
    width: u64,
    height: u64,
    sampling: u64,
    layout: &'a str,
    channels: u64,
    /// Null but for playout inputs (H36).
    avstream: Option<AVStream<'a>>,
}

#[derive(Serialize)]
struct AVStream<'a> {
    input: AVStreamIO<'a>,
    output: AVStreamIO<'a>,
    aqueue: u64,
    queue: u64,
    dup: u64,
    drop: u64,
    enc: u64,
    looping: bool,
    duplicating: bool,
    gop: &'a str,
}

#[derive(Serialize)]
struct AVStreamIO<'a> {
    state: &'a str,
    packet: u64,
    time: u64,
    size_kb: u64,
}

impl<'a> From<&'a ffmpeg::Progress> for Progress<'a> {
    fn from(progress: &'a ffmpeg::Progress) -> Self {
        Self {
            input: progress.inputs.iter().map(ProgressIO::from).collect(),
            output: progress.outputs.iter().map(ProgressIO::from).collect(),
            frame: progress.frame,
            packet: progress.packet,
            fps: progress.fps,
            q: progress.q,
            size_kb: progress.size_bytes,
            time: progress.time,
            bitrate_kbit: progress.bitrate / KILO,
            speed: progress.speed,
            drop: progress.drop,
            dup: progress.dup,
        }
    }
}

impl<'a> From<&'a ffmpeg::IoProgress> for ProgressIO<'a> {
    fn from(io: &'a ffmpeg::IoProgress) -> Self {
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
            fps: io.fps,
            packet: io.packet,
            pps: io.pps,
            size_kb: io.size_bytes,
            bitrate_kbit: io.bitrate / KILO,
            pixfmt: &io.pix_fmt,
            q: io.q,
            width: io.width,
            height: io.height,
            sampling: io.sampling_hz,
            layout: &io.layout,
            channels: io.channels,
            avstream: io.avstream.as_ref().map(AVStream::from),
        }
    }
}

impl<'a> From<&'a ffmpeg::AvStream> for AVStream<'a> {
    fn from(state: &'a ffmpeg::AvStream) -> Self {
        let side = |io: &'a ffmpeg::AvStreamIo| AVStreamIO {
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
            duplicating: state.duplicating,
            gop: &state.gop,
        }
    }
}
