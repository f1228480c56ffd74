//! Restreamer's `v1.json`: what one camera shows where. The database of 0.x, also of before 0.6.7, which does not say
//! which streams the source has, and of the last ones with several outputs.

use crate::import::json::{Fault, Place};
use crate::process::Order;

/// The document with Restreamer's own defaults.
#[derive(Clone, Debug)]
pub(super) struct V1 {
    /// Empty: none.
    pub(super) source: String,
    pub(super) video_stream: Option<VideoStream>,
    pub(super) audio_stream: Option<AudioStream>,
    pub(super) rtsp_tcp: bool,
    pub(super) video: Video,
    pub(super) audio: Audio,
    pub(super) player: Player,
    pub(super) order: Order,
    pub(super) outputs: Vec<Output>,
}

#[derive(Clone, Debug)]
pub(super) struct VideoStream {
    pub(super) index: u64,
    pub(super) codec: String,
    pub(super) width: u64,
    pub(super) height: u64,
    pub(super) format: String,
}

#[derive(Clone, Debug)]
pub(super) struct AudioStream {
    pub(super) index: u64,
    pub(super) codec: String,
    pub(super) layout: String,
    pub(super) channels: u64,
    pub(super) sampling: String,
}

/// How the picture is encoded; `codec` copy leaves it as it is.
#[derive(Clone, Debug)]
pub(super) struct Video {
    pub(super) codec: String,
    pub(super) preset: String,
    /// kbit/s.
    pub(super) bitrate: String,
    pub(super) fps: String,
    pub(super) profile: String,
    pub(super) tune: String,
}

/// How the sound is encoded; `inherit` stands for the source's value.
#[derive(Clone, Debug)]
pub(super) struct Audio {
    pub(super) codec: String,
    pub(super) preset: String,
    /// kbit/s.
    pub(super) bitrate: String,
    pub(super) channels: String,
    /// Hz.
    pub(super) sampling: String,
}

#[derive(Clone, Debug)]
pub(super) struct Player {
    pub(super) autoplay: bool,
    pub(super) mute: bool,
    pub(super) statistics: bool,
    pub(super) color: String,
    pub(super) logo_image: String,
    pub(super) logo_link: String,
    pub(super) logo_position: String,
}

/// Where else the stream goes.
#[derive(Clone, Debug)]
pub(super) struct Output {
    /// Empty: nowhere.
    pub(super) address: String,
    /// `rtmp` or `hls`.
    pub(super) kind: String,
    pub(super) hls: Hls,
    pub(super) order: Order,
}

#[derive(Clone, Debug)]
pub(super) struct Hls {
    pub(super) method: String,
    pub(super) time: String,
    pub(super) list_size: String,
    /// Seconds.
    pub(super) timeout: String,
}

/// Restreamer corrected longer ones itself: they did not fit FFmpeg's microseconds.
const HLS_TIMEOUT_CEILING: u64 = 2147;

impl V1 {
    pub(super) fn read(document: &Place<'_>) -> Result<Self, Fault> {
        let addresses = document.at("addresses")?;
        let options = document.at("options")?;
        let streams = addresses.at("srcStreams")?;
        let actions = document.at("userActions")?;
        Ok(Self {
            source: addresses.at("srcAddress")?.text("")?,
            video_stream: stream(&streams, "video", VideoStream::read)?,
            audio_stream: stream(&streams, "audio", AudioStream::read)?,
            rtsp_tcp: options.at("rtspTcp")?.flag(true)?,
            video: Video::read(&options.at("video")?)?,
            audio: Audio::read(&options.at("audio")?)?,
            player: Player::read(&options.at("player")?)?,
            order: order(&actions, "repeatToLocalNginx")?,
            outputs: outputs(&addresses, &options, &actions)?,
        })
    }
}

/// One output in most versions, a list in the last ones.
fn outputs(addresses: &Place<'_>, options: &Place<'_>, actions: &Place<'_>) -> Result<Vec<Output>, Fault> {
    let mut outputs = Vec::new();
    let address = addresses.at("optionalOutputAddress")?.text("")?;
    if !address.is_empty() {
        let order = order(actions, "repeatToOptionalOutput")?;
        outputs.push(Output::read(&options.at("output")?, address, order)?);
    }
    for (index, place) in options.at("outputs")?.items()?.iter().enumerate() {
        let address = place.at("outputAddress")?.text("")?;
        if !address.is_empty() {
            let order = order(actions, &format!("repeatToOptionalOutput_{index}"))?;
            outputs.push(Output::read(place, address, order)?);
        }
    }
    Ok(outputs)
}

fn order(actions: &Place<'_>, key: &str) -> Result<Order, Fault> {
    Ok(if actions.at(key)?.text("")? == "start" { Order::Start } else { Order::Stop })
}

fn stream<T>(
    streams: &Place<'_>,
    key: &str,
    read: impl FnOnce(&Place<'_>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let place = streams.at(key)?;
    if place.is_absent() { Ok(None) } else { read(&place).map(Some) }
}

impl VideoStream {
    fn read(place: &Place<'_>) -> Result<Self, Fault> {
        Ok(Self {
            index: place.at("index")?.number(0)?,
            codec: place.at("codec")?.text("h264")?,
            width: place.at("width")?.number(0)?,
            height: place.at("height")?.number(0)?,
            format: place.at("format")?.text("")?,
        })
    }
}

impl AudioStream {
    fn read(place: &Place<'_>) -> Result<Self, Fault> {
        Ok(Self {
            index: place.at("index")?.number(0)?,
            codec: place.at("codec")?.text("")?,
            layout: place.at("layout")?.text("")?,
            channels: place.at("channels")?.number(0)?,
            sampling: place.at("sampling")?.text("")?,
        })
    }
}

impl Video {
    fn read(place: &Place<'_>) -> Result<Self, Fault> {
        Ok(Self {
            codec: place.at("codec")?.text("copy")?,
            preset: place.at("preset")?.text("ultrafast")?,
            bitrate: place.at("bitrate")?.text("4096")?,
            fps: place.at("fps")?.text("25")?,
            profile: place.at("profile")?.text("auto")?,
            tune: place.at("tune")?.text("none")?,
        })
    }
}

impl Audio {
    fn read(place: &Place<'_>) -> Result<Self, Fault> {
        Ok(Self {
            codec: place.at("codec")?.text("auto")?,
            preset: place.at("preset")?.text("silence")?,
            bitrate: place.at("bitrate")?.text("64")?,
            channels: place.at("channels")?.text("mono")?,
            sampling: place.at("sampling")?.text("44100")?,
        })
    }
}

impl Player {
    fn read(place: &Place<'_>) -> Result<Self, Fault> {
        let logo = place.at("logo")?;
        Ok(Self {
            autoplay: place.at("autoplay")?.flag(false)?,
            mute: place.at("mute")?.flag(false)?,
            statistics: place.at("statistics")?.flag(false)?,
            color: place.at("color")?.text("#3daa48")?,
            logo_image: logo.at("image")?.text("")?,
            logo_link: logo.at("link")?.text("")?,
            logo_position: logo.at("position")?.text("bottom-right")?,
        })
    }
}

impl Output {
    /// Over RTMP and stopped, as a fresh Restreamer has it.
    pub(super) fn to(address: String) -> Self {
        let [method, time, list_size, timeout] = ["POST", "2", "10", "10"].map(str::to_owned);
        Self { address, kind: "rtmp".to_owned(), hls: Hls { method, time, list_size, timeout }, order: Order::Stop }
    }

    fn read(place: &Place<'_>, address: String, order: Order) -> Result<Self, Fault> {
        let hls = place.at("hls")?;
        let timeout = hls.at("timeout")?.text("10")?;
        let fits = timeout.parse().is_ok_and(|seconds: u64| seconds <= HLS_TIMEOUT_CEILING);
        Ok(Self {
            address,
            kind: place.at("type")?.text("rtmp")?,
            hls: Hls {
                method: hls.at("method")?.text("POST")?,
                time: hls.at("time")?.text("2")?,
                list_size: hls.at("listSize")?.text("10")?,
                timeout: if fits { timeout } else { "10".to_owned() },
            },
            order,
        })
    }
}
