//! `probe`: the streams of a process's inputs.

use async_graphql::SimpleObject;

use super::scalar::Uint64;
use crate::ffmpeg::Stream;
use crate::supervisor::ProbeView;

#[derive(Clone, Debug, SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub(in crate::http::graph) struct Probe {
    streams: Vec<ProbeIO>,
    log: Vec<String>,
}

#[derive(Clone, Debug, SimpleObject)]
#[graphql(name = "ProbeIO", rename_fields = "snake_case")]
struct ProbeIO {
    url: String,
    index: Uint64,
    stream: Uint64,
    language: String,
    #[graphql(name = "type")]
    kind: String,
    codec: String,
    coder: String,
    bitrate_kbps: f64,
    duration_seconds: f64,
    fps: f64,
    pix_fmt: String,
    width: Uint64,
    height: Uint64,
    sampling: Uint64,
    layout: String,
    channels: Uint64,
}

impl Probe {
    /// No streams; `why` is its log.
    pub(in crate::http::graph) fn failed(why: String) -> Self {
        Self { streams: Vec::new(), log: vec![why] }
    }
}

impl From<ProbeView> for Probe {
    fn from(view: ProbeView) -> Self {
        Self { streams: view.streams.into_iter().map(ProbeIO::from).collect(), log: view.log }
    }
}

impl From<Stream> for ProbeIO {
    fn from(stream: Stream) -> Self {
        Self {
            url: stream.address,
            index: Uint64(stream.index),
            stream: Uint64(stream.stream),
            language: stream.language,
            kind: stream.kind,
            codec: stream.codec,
            coder: stream.coder,
            bitrate_kbps: stream.bitrate_kbps,
            duration_seconds: stream.duration_sec,
            fps: stream.fps,
            pix_fmt: stream.pix_fmt,
            width: Uint64(stream.width),
            height: Uint64(stream.height),
            sampling: Uint64(stream.sampling_hz),
            layout: stream.layout,
            channels: Uint64(stream.channels),
        }
    }
}
