//! The progress of a run. `size_kb` is in bytes here, as Core answers it (H35).

use serde::Serialize;

use crate::ffmpeg;
use crate::http::api::process::state::{AvStreamOut, kbit};

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
    /// Null but for playout inputs (H36). What it has beyond the schema nobody can select.
    avstream: Option<AvStreamOut<'a>>,
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
            bitrate_kbit: kbit(progress.bitrate),
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
            bitrate_kbit: kbit(io.bitrate),
            pixfmt: &io.pix_fmt,
            q: io.q,
            width: io.width,
            height: io.height,
            sampling: io.sampling_hz,
            layout: &io.layout,
            channels: io.channels,
            avstream: io.avstream.as_ref().map(AvStreamOut::from),
        }
    }
}
