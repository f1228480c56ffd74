//! `probe`: the streams of a process's inputs.

use serde::Serialize;

use crate::ffmpeg::Stream;
use crate::supervisor::ProbeView;

#[derive(Serialize)]
pub(in crate::http::graph) struct Probe<'a> {
    streams: Vec<ProbeIO<'a>>,
    log: &'a [String],
}

#[derive(Serialize)]
struct ProbeIO<'a> {
    url: &'a str,
    index: u64,
    stream: u64,
    language: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    codec: &'a str,
    coder: &'a str,
    bitrate_kbps: f64,
    duration_seconds: f64,
    fps: f64,
    pix_fmt: &'a str,
    width: u64,
    height: u64,
    sampling: u64,
    layout: &'a str,
    channels: u64,
}

impl<'a> From<&'a ProbeView> for Probe<'a> {
    fn from(view: &'a ProbeView) -> Self {
        Self { streams: view.streams.iter().map(ProbeIO::from).collect(), log: &view.log }
    }
}

impl<'a> From<&'a Stream> for ProbeIO<'a> {
    fn from(stream: &'a Stream) -> Self {
        Self {
            url: &stream.address,
            index: stream.index,
            stream: stream.stream,
            language: &stream.language,
            kind: &stream.kind,
            codec: &stream.codec,
            coder: &stream.coder,
            bitrate_kbps: stream.bitrate_kbps,
            duration_seconds: stream.duration_sec,
            fps: stream.fps,
            pix_fmt: &stream.pix_fmt,
            width: stream.width,
            height: stream.height,
            sampling: stream.sampling_hz,
            layout: &stream.layout,
            channels: stream.channels,
        }
    }
}
