//! `/api/v3/skills` (`contract/http-api.md` §7.2), written straight from the skills.

use serde::Serialize;
use serde::ser::Serializer;

use serde_json::{Value, json};

use crate::http::response;
use crate::http::{Answer, Context, Request};
use crate::skills::trial::{Outcome, SIZES, Trial};
use crate::skills::{Codec, Device, DeviceFormat, Library, Named, Skills, Version};

pub(crate) async fn get(ctx: &Context, _req: Request) -> Answer {
    answer(ctx, &*ctx.skills.skills().await)
}

pub(crate) async fn reload(ctx: &Context, _req: Request) -> Answer {
    answer(ctx, &*ctx.skills.reload().await)
}

fn answer(ctx: &Context, skills: &Skills) -> Answer {
    let rill = json!({ "encoders": encoders(ctx, skills), "load": load(ctx) });
    response::json(&Out { rill, ..Out::from(skills) })
}

/// What is known of the hardware encoders that FFmpeg lists. FFmpeg's own lists name them whatever that is: clients of
/// the reference expect these lists as FFmpeg prints them.
pub(crate) fn encoders(ctx: &Context, skills: &Skills) -> Vec<Value> {
    let trials = ctx.trials.latest();
    trials.iter().filter(|trial| skills.has_encoder(&trial.encoder)).map(encoder).collect()
}

/// Macroblocks per second that running processes ask of the board's encoder; `null` while they are not too many.
pub(crate) fn load(ctx: &Context) -> Value {
    ctx.supervisor
        .overload()
        .map_or(Value::Null, |overload| json!({ "asked": overload.asked, "limit": overload.limit }))
}

fn encoder(trial: &Trial) -> Value {
    let sizes = SIZES.iter().zip(&trial.sizes).map(|(size, outcome)| {
        let state = match outcome {
            Some(Ok(_)) => "works",
            Some(Err(_)) => "fails",
            None => "untried",
        };
        json!({
            "width": size.width,
            "height": size.height,
            "state": state,
            "fps": outcome.as_ref().and_then(|outcome| outcome.as_ref().ok()?.fps),
            "reason": reason(outcome.as_ref()),
        })
    });
    json!({
        "name": trial.encoder,
        "codec": trial.codec.name(),
        "device": trial.device.as_ref().map(|path| path.to_string_lossy()),
        "state": trial.state.name(),
        "reason": trial.reason,
        "repeats_parameter_sets": trial.shown.map(|shown| shown.repeats_parameter_sets),
        "obeys_keyframe_interval": trial.shown.map(|shown| shown.obeys_keyframe_interval()),
        "keyframe_interval": trial.shown.map(|shown| shown.keyframe_interval),
        "macroblocks_per_second": trial.macroblocks_per_second,
        "sizes": sizes.collect::<Vec<_>>(),
    })
}

fn reason(outcome: Option<&Outcome>) -> &str {
    outcome.and_then(|outcome| outcome.as_ref().err()).map_or("", String::as_str)
}

#[derive(Serialize)]
struct Out<'a> {
    ffmpeg: Ffmpeg<'a>,
    filter: List<'a, Named>,
    hwaccels: List<'a, Named>,
    codecs: Codecs<'a>,
    devices: Sides<'a, DeviceFormat>,
    formats: Sides<'a, Named>,
    protocols: Protocols<'a>,
    rill: Value,
}

#[derive(Serialize)]
struct Ffmpeg<'a> {
    #[serde(serialize_with = "version")]
    version: Option<Version>,
    compiler: &'a str,
    configuration: &'a str,
    libraries: List<'a, Library>,
}

#[derive(Serialize)]
struct Codecs<'a> {
    audio: List<'a, Codec>,
    video: List<'a, Codec>,
    subtitle: List<'a, Codec>,
}

#[derive(Serialize)]
#[serde(bound = "List<'a, T>: Serialize")]
struct Sides<'a, T> {
    demuxers: List<'a, T>,
    muxers: List<'a, T>,
}

#[derive(Serialize)]
struct Protocols<'a> {
    input: List<'a, Named>,
    output: List<'a, Named>,
}

impl<'a> From<&'a Skills> for Out<'a> {
    fn from(skills: &'a Skills) -> Self {
        Self {
            ffmpeg: Ffmpeg {
                version: skills.build.version,
                compiler: &skills.build.compiler,
                configuration: &skills.build.configuration,
                libraries: List(&skills.build.libraries),
            },
            filter: List(&skills.filters),
            hwaccels: List(&skills.hwaccels),
            codecs: Codecs {
                audio: List(&skills.audio_codecs),
                video: List(&skills.video_codecs),
                subtitle: List(&skills.subtitle_codecs),
            },
            devices: Sides { demuxers: List(&skills.input_devices), muxers: List(&skills.output_devices) },
            formats: Sides { demuxers: List(&skills.demuxers), muxers: List(&skills.muxers) },
            protocols: Protocols { input: List(&skills.input_protocols), output: List(&skills.output_protocols) },
            rill: Value::Null,
        }
    }
}

/// `major.minor.patch`; empty when unknown.
#[expect(clippy::ref_option, reason = "the signature of serialize_with")]
fn version<S: Serializer>(version: &Option<Version>, serializer: S) -> Result<S::Ok, S::Error> {
    match version {
        Some(version) => serializer.collect_str(version),
        None => serializer.serialize_str(""),
    }
}

/// A list whose items have a wire form.
struct List<'a, T>(&'a [T]);

/// The wire form of an item.
trait Wire {
    type Form<'a>: Serialize
    where
        Self: 'a;

    fn form(&self) -> Self::Form<'_>;
}

impl<T: Wire> Serialize for List<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Wire::form))
    }
}

#[derive(Serialize)]
struct NamedOut<'a> {
    id: &'a str,
    name: &'a str,
}

impl Wire for Named {
    type Form<'a> = NamedOut<'a>;

    fn form(&self) -> NamedOut<'_> {
        NamedOut { id: &self.id, name: &self.name }
    }
}

#[derive(Serialize)]
struct LibraryOut<'a> {
    name: &'a str,
    compiled: &'a str,
    linked: &'a str,
}

impl Wire for Library {
    type Form<'a> = LibraryOut<'a>;

    fn form(&self) -> LibraryOut<'_> {
        LibraryOut { name: &self.name, compiled: &self.compiled, linked: &self.linked }
    }
}

/// Without implementations the lists are `null`.
#[derive(Serialize)]
struct CodecOut<'a> {
    id: &'a str,
    name: &'a str,
    encoders: Option<&'a [Box<str>]>,
    decoders: Option<&'a [Box<str>]>,
}

impl Wire for Codec {
    type Form<'a> = CodecOut<'a>;

    fn form(&self) -> CodecOut<'_> {
        let some = |list: &'_ [Box<str>]| !list.is_empty();
        CodecOut {
            id: &self.id,
            name: &self.name,
            encoders: Some(&self.encoders[..]).filter(|list| some(list)),
            decoders: Some(&self.decoders[..]).filter(|list| some(list)),
        }
    }
}

#[derive(Serialize)]
struct DeviceFormatOut<'a> {
    id: &'a str,
    name: &'a str,
    devices: List<'a, Device>,
}

impl Wire for DeviceFormat {
    type Form<'a> = DeviceFormatOut<'a>;

    fn form(&self) -> DeviceFormatOut<'_> {
        DeviceFormatOut { id: &self.id, name: &self.name, devices: List(&self.devices) }
    }
}

#[derive(Serialize)]
struct DeviceOut<'a> {
    id: &'a str,
    name: &'a str,
    extra: &'a str,
    media: &'a str,
}

impl Wire for Device {
    type Form<'a> = DeviceOut<'a>;

    fn form(&self) -> DeviceOut<'_> {
        DeviceOut { id: &self.id, name: &self.name, extra: &self.extra, media: self.media }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skills::trial::{Shown, State};

    #[test]
    fn an_encoder_with_its_corrections() {
        let shown = Shown { fps: Some(29.5), repeats_parameter_sets: false, keyframe_interval: 60 };
        let trial = Trial {
            encoder: "h264_v4l2m2m".to_owned(),
            codec: crate::media::Codec::H264,
            device: Some("/dev/video11".into()),
            macroblocks_per_second: Some(245_760),
            state: State::Works,
            reason: String::new(),
            shown: Some(shown),
            sizes: [Some(Ok(shown)), Some(Err("CMA".to_owned())), None],
        };
        let expected = json!({
            "name": "h264_v4l2m2m", "codec": "h264", "device": "/dev/video11", "state": "works", "reason": "",
            "repeats_parameter_sets": false, "obeys_keyframe_interval": false, "keyframe_interval": 60,
            "macroblocks_per_second": 245_760,
            "sizes": [
                {"width": 640, "height": 480, "state": "works", "fps": 29.5, "reason": ""},
                {"width": 1280, "height": 720, "state": "fails", "fps": null, "reason": "CMA"},
                {"width": 1920, "height": 1080, "state": "untried", "fps": null, "reason": ""},
            ],
        });
        assert_eq!(encoder(&trial), expected);
    }

    #[test]
    fn empty_lists_are_arrays_but_a_codec_without_encoders_has_null() {
        let codec = Codec { id: "c".into(), name: "C".into(), encoders: [].into(), decoders: ["d".into()].into() };
        let device = Device { id: "hw:0,0".into(), name: "N".into(), extra: "E".into(), media: "audio" };
        let alsa = DeviceFormat { id: "alsa".into(), name: "ALSA".into(), devices: vec![device] };
        let skills = Skills { audio_codecs: [codec].into(), input_devices: [alsa].into(), ..Skills::default() };
        let value = serde_json::to_value(Out::from(&skills)).unwrap();
        assert_eq!(value["ffmpeg"], json!({"version": "", "compiler": "", "configuration": "", "libraries": []}));
        assert_eq!(
            value["codecs"]["audio"],
            json!([{"id": "c", "name": "C", "encoders": Value::Null, "decoders": ["d"]}])
        );
        let devices = json!([{"id": "hw:0,0", "name": "N", "extra": "E", "media": "audio"}]);
        assert_eq!(value["devices"]["demuxers"], json!([{"id": "alsa", "name": "ALSA", "devices": devices}]));
        for empty in ["/filter", "/hwaccels", "/codecs/video", "/formats/muxers", "/protocols/input"] {
            assert_eq!(value.pointer(empty), Some(&json!([])), "{empty}");
        }
    }
}
