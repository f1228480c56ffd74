//! Where picture and sound come from: FFmpeg's inputs, each with what the stock UI wants to know about it.

use serde_json::{Value, json};

use super::document::{AudioStream, V1, VideoStream};
use super::environment::{Camera, Microphone};
use crate::process::Io;

/// One input of the process.
pub(super) struct Source {
    pub(super) address: String,
    pub(super) options: Vec<String>,
    kind: &'static str,
    settings: Value,
    streams: Vec<Value>,
}

impl Source {
    /// As FFmpeg gets it.
    pub(super) fn input(&self, index: usize) -> Io {
        Io {
            id: format!("input_{index}"),
            address: self.address.clone(),
            options: self.options.clone(),
            cleanup: Vec::new(),
        }
    }

    /// As the UI keeps it.
    pub(super) fn ui(&self) -> Value {
        json!({
            "inputs": [{"address": self.address, "options": self.options}],
            "settings": self.settings,
            "streams": self.streams,
            "type": self.kind,
        })
    }
}

/// The address of the database.
pub(super) fn network(v1: &V1) -> Source {
    let address = &v1.source;
    let mut options = words(&["-fflags", "+genpts", "-thread_queue_size", "512"]);
    let starts = |schemes: &[&str]| schemes.iter().any(|scheme| address.starts_with(scheme));
    if starts(&["rtsp://", "rtsps://"]) {
        options.extend(words(&["-stimeout", "5000000"]));
        if v1.rtsp_tcp {
            options.extend(words(&["-rtsp_transport", "tcp"]));
        }
    } else if starts(&["http://", "https://"]) {
        options.extend(words(&["-analyzeduration", "20000000", "-re"]));
    } else if starts(&["rtmp://", "rtmps://"]) {
        options.extend(words(&["-analyzeduration", "3000000"]));
    }
    let video = v1.video_stream.as_ref().map(|stream| video(address, stream));
    let audio = v1.audio_stream.as_ref().map(|stream| audio(address, stream));
    Source {
        address: address.clone(),
        options,
        kind: "network",
        settings: json!({
            "address": address,
            "general": {"fflags": ["genpts"], "thread_queue_size": 512},
            "http": {"forceFramerate": false, "framerate": 25, "readNative": true},
            "mode": "pull",
            "rtsp": {"stimeout": 5_000_000, "udp": !v1.rtsp_tcp},
        }),
        streams: video.into_iter().chain(audio).collect(),
    }
}

/// A camera of the box.
pub(super) fn camera(camera: &Camera) -> Source {
    let size = format!("{}x{}", camera.width, camera.height);
    let fps = camera.fps.to_string();
    let stream = VideoStream {
        index: 0,
        codec: "rawvideo".to_owned(),
        width: camera.width,
        height: camera.height,
        format: camera.format.clone(),
    };
    let mut options = words(&["-thread_queue_size", "512", "-f", "v4l2"]);
    options.extend(words(&["-framerate", &fps, "-video_size", &size, "-input_format", &camera.format]));
    Source {
        address: camera.device.clone(),
        options,
        kind: "video4linux2",
        settings: json!({
            "device": camera.device,
            "format": camera.format,
            "framerate": camera.fps,
            "size": size,
        }),
        streams: vec![video(&camera.device, &stream)],
    }
}

/// A microphone of the box.
pub(super) fn microphone(microphone: &Microphone) -> Source {
    let address = format!("hw:{}", microphone.device);
    let (channels, sampling) = (microphone.channels.to_string(), microphone.sampling.to_string());
    let stream = AudioStream {
        index: 0,
        codec: "pcm_u8".to_owned(),
        layout: microphone.layout.clone(),
        channels: microphone.channels,
        sampling: sampling.clone(),
    };
    let mut described = audio(&address, &stream);
    described["format"] = json!("alsa");
    Source {
        options: words(&["-thread_queue_size", "512", "-f", "alsa", "-ac", &channels, "-ar", &sampling]),
        kind: "alsa",
        settings: json!({
            "address": address,
            "channels": microphone.channels,
            "delay": 0,
            "device": microphone.device,
            "sampling": microphone.sampling,
        }),
        streams: vec![described],
        address,
    }
}

/// No sound at all, for services that refuse a stream without any.
pub(super) fn silence() -> Source {
    let address = "anullsrc=r=44100:cl=stereo".to_owned();
    let stream = AudioStream {
        index: 0,
        codec: "pcm_u8".to_owned(),
        layout: "stereo".to_owned(),
        channels: 2,
        sampling: "44100".to_owned(),
    };
    let mut described = audio(&address, &stream);
    described["format"] = json!("lavfi");
    Source {
        options: words(&["-f", "lavfi"]),
        kind: "virtualaudio",
        settings: json!({
            "amplitude": 1,
            "beepfactor": 4,
            "color": "white",
            "frequency": 440,
            "layout": "stereo",
            "sampling": 44_100,
            "source": "silence",
        }),
        streams: vec![described],
        address,
    }
}

fn video(url: &str, stream: &VideoStream) -> Value {
    let mut described = described(url, "video", stream.index, &stream.codec);
    described["width"] = json!(stream.width);
    described["height"] = json!(stream.height);
    described["pix_fmt"] = json!(stream.format);
    described
}

fn audio(url: &str, stream: &AudioStream) -> Value {
    let mut described = described(url, "audio", stream.index, &stream.codec);
    described["layout"] = json!(stream.layout);
    described["channels"] = json!(stream.channels);
    described["sampling_hz"] = json!(stream.sampling.parse::<u64>().unwrap_or(0));
    described
}

/// The UI expects every member.
fn described(url: &str, kind: &str, stream: u64, codec: &str) -> Value {
    json!({
        "bitrate_kbps": 0,
        "channels": 0,
        "codec": codec,
        "coder": "",
        "duration_sec": 0,
        "format": "",
        "fps": 0,
        "height": 0,
        "index": 0,
        "language": "",
        "layout": "",
        "pix_fmt": "",
        "sampling_hz": 0,
        "stream": stream,
        "type": kind,
        "url": url,
        "width": 0,
    })
}

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
