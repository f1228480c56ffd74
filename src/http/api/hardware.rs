//! `/api/v3/hardware`: what this board is and has, or what a look at it finds now.

use http::StatusCode;
use serde_json::{Value, json};

use super::skills::encoders;
use crate::cgroup;
use crate::http::response::json as answer;
use crate::http::{Answer, Context, Error, Request};
use crate::hw::snapshot::{control_value, format_value, input_value, pcm_value, values};
use crate::hw::{Board, Camera, Codec, Coder, Direction, Feed, Hardware, Medium, Power, Role, Sound};
use crate::sys::sandbox::absence;

pub(crate) async fn get(ctx: &Context, _req: Request) -> Answer {
    answer(&shown(ctx, &*ctx.hardware.hardware().await))
}

/// With `trials=true` encoders are tried again, too, whatever runs.
pub(crate) async fn probe(ctx: &Context, req: Request) -> Answer {
    let tries = match req.query.value("trials") {
        None => req.query.has("trials"),
        Some("true") => true,
        Some("false") => false,
        Some(other) => {
            let detail = format!("trials: '{other}' is neither true nor false");
            return Err(Error::new(StatusCode::BAD_REQUEST, "Invalid query", [detail]));
        }
    };
    let hardware = ctx.hardware.probe().await;
    if tries {
        ctx.trials.try_again().await;
    }
    answer(&shown(ctx, &hardware))
}

/// Everything, with what trials and the kernel say.
fn shown(ctx: &Context, hardware: &Hardware) -> Value {
    let skills = ctx.skills.latest().unwrap_or_default();
    let mut value = value(hardware);
    value["encoders"] = encoders(ctx, &skills).into();
    value["groups"] = groups(&ctx.groups);
    value["sandbox"] = sandbox(ctx.config.active().rill.ffmpeg_sandbox);
    value
}

fn value(hardware: &Hardware) -> Value {
    let Hardware { kernel, legacy, .. } = hardware;
    json!({
        "source": hardware.source,
        "board": board(&hardware.board),
        "kernel": {
            "release": kernel.release,
            "machine": kernel.machine,
            "user_bits": kernel.user_bits,
            "mixed": kernel.is_mixed(),
        },
        "memory_bytes": hardware.memory,
        "medium": hardware.root.as_ref().map_or_else(|reason| json!({ "reason": reason }), medium),
        "thermal": values(&hardware.zones, |zone| json!({ "name": zone.name, "celsius": zone.celsius })),
        "power": power(&hardware.power),
        "cameras": values(&hardware.cameras, camera),
        "sound": values(&hardware.sound, sound),
        "codecs": values(&hardware.codecs, codec),
        "coders": values(&hardware.coders, coder),
        "legacy": {
            "mmal": legacy.mmal.is_none(),
            "omx": legacy.omx.is_none(),
            "gpu_memory_mbytes": legacy.gpu_memory,
        },
        "render": values(&hardware.render, |node| json!({
            "device": node.device,
            "driver": node.driver,
            "vaapi": node.has_video,
        })),
        "others": values(&hardware.others, |node| json!({
            "device": node.device,
            "name": node.name,
            "driver": node.driver,
            "kind": node.kind,
            "reason": node.reason,
        })),
    })
}

/// How children are held.
fn groups(groups: &cgroup::Handle) -> Value {
    let missing: Vec<&str> = groups.missing().collect();
    match groups.controllers() {
        Ok(controllers) => {
            json!({ "mode": "control groups", "controllers": controllers, "missing": missing, "reason": null })
        }
        Err(absence) => {
            json!({ "mode": "process groups", "controllers": [], "missing": missing, "reason": absence.to_string() })
        }
    }
}

/// Whether files that are not theirs are closed to children.
fn sandbox(is_wanted: bool) -> Value {
    let reason = match is_wanted {
        true => absence().map(|absence| absence.to_string()),
        false => Some("rill.ffmpeg_sandbox is off".to_owned()),
    };
    json!({ "mode": if reason.is_none() { "landlock" } else { "none" }, "reason": reason })
}

fn board(board: &Board) -> Value {
    let known = board.known.as_ref().map(|known| {
        json!({
            "name": known.name,
            "soc": known.soc,
            "encoder_macroblocks_per_second": known.encoder_macroblocks,
            "encoder_pix_fmt": known.encoder_pix_fmt,
            "encoder_headers_once": known.has_headers_once,
            "note": known.note,
        })
    });
    json!({ "name": board.name(), "compatible": board.compatible, "known": known })
}

fn medium(medium: &Medium) -> Value {
    let wear = medium.wear.as_ref();
    json!({
        "device": medium.device,
        "kind": medium.kind,
        "model": medium.model,
        "size_bytes": medium.bytes,
        "life_used_percent": wear.ok().and_then(|wear| wear.used_percent.into_iter().flatten().max()),
        "spare_blocks": wear.ok().and_then(|wear| wear.spare),
        "reason": wear.err(),
    })
}

fn power(power: &Power) -> Value {
    json!({
        "under_voltage": power.under_voltage.as_ref().ok(),
        "throttled": power.throttled.as_ref().ok(),
        "reason": power.under_voltage.as_ref().err(),
    })
}

fn camera(camera: &Camera) -> Value {
    json!({
        "id": camera.id,
        "device": camera.device,
        "address": camera.address,
        "name": camera.name,
        "driver": camera.driver,
        "bus": camera.bus,
        "formats": values(&camera.formats, format_value),
        "inputs": values(&camera.inputs, input_value),
        "controls": values(&camera.controls, control_value),
    })
}

fn sound(sound: &Sound) -> Value {
    json!({
        "id": sound.id,
        "device": sound.device,
        "address": sound.address,
        "name": sound.name,
        "abilities": sound.abilities.as_ref().ok().map(pcm_value),
        "reason": sound.abilities.as_ref().err(),
    })
}

fn codec(codec: &Codec) -> Value {
    json!({
        "device": codec.device,
        "name": codec.name,
        "driver": codec.driver,
        "role": if codec.role == Role::Encoder { "encoder" } else { "decoder" },
        "stateful": codec.stateful,
        "stateless": codec.stateless,
        "pictures": codec.pictures,
        "multi_planar": codec.is_multi_planar,
    })
}

fn coder(coder: &Coder) -> Value {
    let (device, reason) = match &coder.feed {
        Feed::Device(device) => (Some(device), None),
        Feed::None(reason) => (None, Some(reason)),
    };
    let direction = if coder.direction == Direction::Encode { "encode" } else { "decode" };
    json!({ "name": coder.name, "direction": direction, "device": device, "reason": reason })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_board_with_everything() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/boards/rpi-4_64bit.json");
        let hardware = value(&Hardware::new(&crate::hw::replay(&file).expect("a recording")));
        assert_eq!(hardware["board"]["name"], "Raspberry Pi 4 Model B Rev 1.4");
        assert_eq!(hardware["board"]["known"]["encoder_macroblocks_per_second"], 245_760);
        let camera = &hardware["cameras"][0];
        assert_eq!(camera["id"], "usb-0000:01:00.0-1.3");
        let size = json!({ "size": [1920, 1080], "intervals": ["1/30", "1/15"] });
        assert_eq!(camera["formats"][0]["sizes"][0], size);
        assert_eq!(camera["controls"][1]["menu"]["1"], "50 Hz");
        assert_eq!(hardware["sound"][0]["abilities"]["channels"], json!([1, 2]));
        let coders = hardware["coders"].as_array().expect("a list");
        let coder = |name: &str| coders.iter().find(|coder| coder["name"] == name && coder["direction"] == "encode");
        assert_eq!(coder("h264_v4l2m2m").expect("judged")["device"], "/dev/video11");
        let omx = coder("h264_omx").expect("judged");
        assert!(omx["device"].is_null() && omx["reason"].as_str().expect("one").contains("64-bit"));
        assert_eq!(hardware["medium"]["kind"], "usb");
        assert_eq!(hardware["power"], json!({ "under_voltage": false, "throttled": 0, "reason": null }));
    }
}
