//! The progress of a run. `size_kb` is in bytes here, as Core answers it (H35).

use async_graphql::SimpleObject;

use super::scalar::Uint64;
use crate::ffmpeg;

/// Bits of a `bitrate_kbit`.
const KILO: f64 = 1024.0;

#[derive(Clone, Debug, Default, SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub(super) struct Progress {
    input: Vec<ProgressIO>,
    output: Vec<ProgressIO>,
    frame: Uint64,
    packet: Uint64,
    fps: f64,
    q: f64,
    size_kb: Uint64,
    time: f64,
    bitrate_kbit: f64,
    speed: f64,
    drop: Uint64,
    dup: Uint64,
}

#[derive(Clone, Debug, SimpleObject)]
#[graphql(name = "ProgressIO", rename_fields = "snake_case")]
struct ProgressIO {
    id: String,
    address: String,
    index: Uint64,
    stream: Uint64,
    format: String,
    #[graphql(name = "type")]
    kind: String,
    codec: String,
    coder: String,
    frame: Uint64,
    fps: f64,
    packet: Uint64,
    pps: f64,
    size_kb: Uint64,
    bitrate_kbit: f64,
    pixfmt: String,
    q: f64,
    width: Uint64,
    height: Uint64,
    sampling: Uint64,
    layout: String,
    channels: Uint64,
    /// Null but for playout inputs (H36).
    avstream: Option<AVStream>,
}

#[derive(Clone, Debug, SimpleObject)]
#[graphql(name = "AVStream", rename_fields = "snake_case")]
struct AVStream {
    input: AVStreamIO,
    output: AVStreamIO,
    aqueue: Uint64,
    queue: Uint64,
    dup: Uint64,
    drop: Uint64,
    enc: Uint64,
    looping: bool,
    duplicating: bool,
    gop: String,
}

#[derive(Clone, Debug, SimpleObject)]
#[graphql(name = "AVStreamIO", rename_fields = "snake_case")]
struct AVStreamIO {
    state: String,
    packet: Uint64,
    time: Uint64,
    size_kb: Uint64,
}

impl From<&ffmpeg::Progress> for Progress {
    fn from(progress: &ffmpeg::Progress) -> Self {
        Self {
            input: progress.inputs.iter().map(ProgressIO::from).collect(),
            output: progress.outputs.iter().map(ProgressIO::from).collect(),
            frame: Uint64(progress.frame),
            packet: Uint64(progress.packet),
            fps: progress.fps,
            q: progress.q,
            size_kb: Uint64(progress.size_bytes),
            time: progress.time,
            bitrate_kbit: progress.bitrate / KILO,
            speed: progress.speed,
            drop: Uint64(progress.drop),
            dup: Uint64(progress.dup),
        }
    }
}

impl From<&ffmpeg::IoProgress> for ProgressIO {
    fn from(io: &ffmpeg::IoProgress) -> Self {
        Self {
            id: io.id.clone(),
            address: io.address.clone(),
            index: Uint64(io.index),
            stream: Uint64(io.stream),
            format: io.format.clone(),
            kind: io.kind.clone(),
            codec: io.codec.clone(),
            coder: io.coder.clone(),
            frame: Uint64(io.frame),
            fps: io.fps,
            packet: Uint64(io.packet),
            pps: io.pps,
            size_kb: Uint64(io.size_bytes),
            bitrate_kbit: io.bitrate / KILO,
            pixfmt: io.pix_fmt.clone(),
            q: io.q,
            width: Uint64(io.width),
            height: Uint64(io.height),
            sampling: Uint64(io.sampling_hz),
            layout: io.layout.clone(),
            channels: Uint64(io.channels),
            avstream: io.avstream.as_ref().map(AVStream::from),
        }
    }
}

impl From<&ffmpeg::AvStream> for AVStream {
    fn from(state: &ffmpeg::AvStream) -> Self {
        let side = |io: &ffmpeg::AvStreamIo| AVStreamIO {
            state: io.state.clone(),
            packet: Uint64(io.packet),
            time: Uint64(io.time),
            size_kb: Uint64(io.size_bytes),
        };
        Self {
            input: side(&state.input),
            output: side(&state.output),
            aqueue: Uint64(state.aqueue),
            queue: Uint64(state.queue),
            dup: Uint64(state.dup),
            drop: Uint64(state.drop),
            enc: Uint64(state.enc),
            looping: state.looping,
            duplicating: state.duplicating,
            gop: state.gop.clone(),
        }
    }
}
