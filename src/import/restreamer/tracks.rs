//! What becomes of picture and sound: FFmpeg's output options, each with what the stock UI wants to know about it.

use serde_json::{Value, json};

use super::document::{Audio, V1, Video};
use super::environment::Camera;
use super::sources::{self, Source, words};
use crate::import::Report;

/// One track of the output.
pub(super) struct Track {
    /// FFmpeg's `-map`; `None`: the output has none of this kind.
    pub(super) map: Option<String>,
    pub(super) options: Vec<String>,
    coder: String,
    codec: String,
    settings: Value,
    /// Index of the input and of its stream; -1 for none.
    place: (i64, i64),
}

impl Track {
    /// As the UI keeps it.
    pub(super) fn ui(&self) -> Value {
        json!({
            "decoder": {"coder": "default", "codec": "", "mapping": [], "settings": {}},
            "encoder": {
                "coder": self.coder,
                "codec": self.codec,
                "mapping": self.options,
                "settings": self.settings,
            },
            "source": self.place.0,
            "stream": self.place.1,
        })
    }
}

/// The picture of the first input.
pub(super) fn video(v1: &V1, camera: Option<&Camera>, report: &mut Report) -> Track {
    let index = match camera {
        Some(_) => Some(0),
        None => v1.video_stream.as_ref().map(|stream| stream.index),
    };
    let map = Some(index.map_or("0:v:0".to_owned(), |index| format!("0:{index}")));
    let place = (0, index.and_then(|index| i64::try_from(index).ok()).unwrap_or(0));
    let raw = camera.and_then(|camera| camera.encoding.as_ref().map(|encoding| (camera, encoding)));
    let mut video = v1.video.clone();
    if video.codec == "copy" {
        let Some((camera, encoding)) = raw else {
            let options = words(&["-codec:v", "copy", "-vsync", "0", "-copyts", "-start_at_zero"]);
            return Track { map, options, coder: "copy".into(), codec: "h264".into(), settings: json!({}), place };
        };
        video = Video {
            codec: "h264".to_owned(),
            preset: encoding.preset.clone(),
            bitrate: encoding.bitrate.to_string(),
            fps: camera.fps.to_string(),
            profile: encoding.profile.clone(),
            tune: "zerolatency".to_owned(),
        };
    }
    let hevc = ["hevc", "h265"].contains(&video.codec.as_str());
    if !hevc && video.codec != "h264" {
        report.note("options.video.codec", format!("{:?} is unknown, the picture becomes h264", video.codec));
    }
    let (coder, codec) = if hevc { ("libx265", "hevc") } else { ("libx264", "h264") };
    let settings = json!({
        "bitrate": video.bitrate,
        "fps": video.fps,
        "preset": video.preset,
        "profile": video.profile,
        "tune": video.tune,
    });
    Track { map, options: encode(coder, &video), coder: coder.into(), codec: codec.into(), settings, place }
}

fn encode(coder: &str, video: &Video) -> Vec<String> {
    let fps = video.fps.parse().ok().filter(|fps: &f64| *fps > 0.0 && *fps <= FPS_CEILING).unwrap_or(25.0);
    let rate = if fps.fract() == 0.0 { format!("{fps:.0}") } else { format!("{fps:.2}") };
    let (gop, bitrate) = (format!("{:.0}", fps * 2.0), format!("{}k", video.bitrate));
    let mut options = words(&["-codec:v", coder, "-preset:v", &video.preset]);
    options.extend(words(&["-b:v", &bitrate, "-maxrate:v", &bitrate, "-bufsize:v", &bitrate]));
    options.extend(words(&["-r", &rate, "-g", &gop, "-pix_fmt", "yuv420p", "-vsync", "1"]));
    if coder == "libx264" && video.profile != "auto" && video.profile != "none" {
        options.extend(words(&["-profile:v", &video.profile]));
    }
    if video.tune != "none" {
        options.extend(words(&["-tune:v", &video.tune]));
    }
    options
}

/// Frames a second that a camera may have.
const FPS_CEILING: f64 = 1000.0;

/// Where the sound comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sound {
    None,
    /// The source's, as it is.
    Copy,
    /// The source's, encoded.
    Encode,
    /// The second input's: silence or a microphone.
    Second,
}

/// The sound, and the second input if it comes from there.
pub(super) fn audio(v1: &V1, camera: Option<&Camera>, report: &mut Report) -> (Track, Option<Source>) {
    let microphone = camera.and_then(|camera| camera.microphone.as_ref());
    let mut audio = v1.audio.clone();
    let wanted = !["none", "silence"].contains(&audio.codec.as_str());
    if let Some(microphone) = microphone.filter(|_| wanted) {
        let channels = if microphone.channels == 2 { "stereo" } else { "mono" };
        audio.codec = "aac".to_owned();
        audio.bitrate = microphone.bitrate.to_string();
        audio.channels = channels.to_owned();
        audio.sampling = microphone.sampling.to_string();
        return (track(&audio, Sound::Second, v1), Some(sources::microphone(microphone)));
    }
    let sound = choose(&mut audio, v1, camera.is_some(), report);
    let second = (sound == Sound::Second).then(sources::silence);
    (track(&audio, sound, v1), second)
}

/// Decides by the settings and by what the source is known to have; `audio` becomes what is encoded.
fn choose(audio: &mut Audio, v1: &V1, is_camera: bool, report: &mut Report) -> Sound {
    let stream = v1.audio_stream.as_ref().filter(|_| !is_camera);
    // Databases of before 0.6.7 do not say what the source has.
    let unknown = !is_camera && stream.is_none() && v1.video_stream.is_none();
    let silent = |audio: &mut Audio| {
        let [codec, bitrate, channels, sampling] = ["aac", "32", "stereo", "44100"].map(str::to_owned);
        *audio = Audio { codec, preset: "silence".to_owned(), bitrate, channels, sampling };
        Sound::Second
    };
    match (audio.codec.as_str(), audio.preset.as_str()) {
        ("none", _) => Sound::None,
        ("aac" | "mp3", "silence") => Sound::Second,
        ("silence", _) => silent(audio),
        (codec, _) if unknown => {
            let text = "the database does not say which streams the source has: its sound is encoded if there is any";
            report.note("addresses.srcStreams", text);
            if codec != "mp3" {
                audio.codec = "aac".to_owned();
            }
            (audio.channels, audio.sampling) = (INHERIT.to_owned(), INHERIT.to_owned());
            Sound::Encode
        }
        ("copy", _) if stream.is_some() => Sound::Copy,
        ("aac" | "mp3", _) if stream.is_some() => Sound::Encode,
        ("copy" | "aac" | "mp3", _) => {
            report.note("options.audio", "the source has no sound: it becomes silence");
            silent(audio)
        }
        (codec, _) => {
            if codec != "auto" {
                report.note("options.audio.codec", format!("{codec:?} is unknown and taken as auto"));
            }
            match stream {
                None => silent(audio),
                Some(stream) if stream.codec == "aac" => Sound::Copy,
                Some(_) => {
                    audio.codec = "aac".to_owned();
                    (audio.channels, audio.sampling) = (INHERIT.to_owned(), INHERIT.to_owned());
                    Sound::Encode
                }
            }
        }
    }
}

/// Stands for the source's own value.
const INHERIT: &str = "inherit";

fn track(audio: &Audio, sound: Sound, v1: &V1) -> Track {
    let stream = v1.audio_stream.as_ref();
    let index = stream.and_then(|stream| i64::try_from(stream.index).ok());
    let (map, place) = match (sound, index) {
        (Sound::None, _) => (None, (-1, -1)),
        (Sound::Second, _) => (Some("1:0".to_owned()), (1, 0)),
        (_, Some(index)) => (Some(format!("0:{index}")), (0, index)),
        (_, None) => (Some("0:a:0?".to_owned()), (0, 1)),
    };
    let plain = |coder: &str, options: &[&str]| Track {
        map: map.clone(),
        options: words(options),
        coder: coder.to_owned(),
        codec: coder.to_owned(),
        settings: json!({}),
        place,
    };
    match sound {
        Sound::None => return plain("none", &[]),
        Sound::Copy => return plain("copy", &["-codec:a", "copy"]),
        Sound::Encode | Sound::Second => {}
    }
    let coder = if audio.codec == "mp3" { "libmp3lame" } else { "aac" };
    let mut options = words(&["-codec:a", coder, "-b:a", &format!("{}k", audio.bitrate), "-shortest"]);
    let known = |name: &str, value: &str| (value != INHERIT).then(|| format!("{name}={value}"));
    let filter = [known("osr", &audio.sampling), known("ocl", &audio.channels)];
    let filter = filter.into_iter().flatten().collect::<Vec<_>>().join(":");
    if !filter.is_empty() {
        options.extend(words(&["-af", &format!("aresample={filter}")]));
    }
    if sound == Sound::Encode && coder == "aac" && stream.is_some_and(|stream| stream.codec == "aac") {
        options.extend(words(&["-bsf:a", "aac_adtstoasc"]));
    }
    let channels = if audio.channels == "stereo" { "2" } else { "1" };
    let settings = json!({
        "bitrate": audio.bitrate,
        "channels": channels,
        "layout": audio.channels,
        "sampling": audio.sampling,
    });
    let codec = if coder == "aac" { "aac" } else { "mp3" }.to_owned();
    Track { map, options, coder: coder.to_owned(), codec, settings, place }
}
