//! The probe answer (`contract/http-api.md` §6.9): always 200, also for unknown processes (H19).

use serde::Serialize;

use crate::ffmpeg::Stream;
use crate::http::json;
use crate::http::{Answer, Context, Error, response};
use crate::supervisor::{self, ProbeView};

#[derive(Serialize)]
struct Probe<'a> {
    streams: Vec<StreamOut<'a>>,
    log: &'a [String],
}

#[derive(Serialize)]
struct StreamOut<'a> {
    url: &'a str,
    format: &'a str,
    index: u64,
    stream: u64,
    language: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    codec: &'a str,
    coder: &'a str,
    #[serde(serialize_with = "json::dec3")]
    bitrate_kbps: f64,
    #[serde(serialize_with = "json::dec3")]
    duration_sec: f64,
    #[serde(serialize_with = "json::dec3")]
    fps: f64,
    pix_fmt: &'a str,
    width: u64,
    height: u64,
    sampling_hz: u64,
    layout: &'a str,
    channels: u64,
}

pub(super) async fn answer(ctx: &Context, id: &str) -> Answer {
    let view = look(ctx, id).await.ok_or_else(|| Error::status(http::StatusCode::SERVICE_UNAVAILABLE))?;
    response::json(&Probe { streams: view.streams.iter().map(StreamOut::from).collect(), log: &view.log })
}

/// What a probe finds; why there is none is its log. `None`: the daemon is shutting down.
pub(crate) async fn look(ctx: &Context, id: &str) -> Option<ProbeView> {
    let why = match ctx.supervisor.probe(id).await {
        Ok(view) => return Some(view),
        Err(supervisor::Error::Stopped) => return None,
        Err(supervisor::Error::UnknownProcess(id)) => format!("Unknown process ID ({id})"),
        Err(error) => error.to_string(),
    };
    Some(ProbeView { streams: Vec::new(), log: vec![why] })
}

impl<'a> From<&'a Stream> for StreamOut<'a> {
    fn from(stream: &'a Stream) -> Self {
        Self {
            url: &stream.address,
            format: &stream.format,
            index: stream.index,
            stream: stream.stream,
            language: &stream.language,
            kind: &stream.kind,
            codec: &stream.codec,
            coder: &stream.coder,
            bitrate_kbps: stream.bitrate_kbps,
            duration_sec: stream.duration_sec,
            fps: stream.fps,
            pix_fmt: &stream.pix_fmt,
            width: stream.width,
            height: stream.height,
            sampling_hz: stream.sampling_hz,
            layout: &stream.layout,
            channels: stream.channels,
        }
    }
}
