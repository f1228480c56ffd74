//! FFmpeg's coders that need hardware, and what on this board feeds them. Pure.
//!
//! `<codec>_v4l2m2m` finds its node by itself: the first one whose queues take the codec. `_mmal` and `_omx` are
//! Broadcom's, for 32-bit programs only; `_vaapi` and `_qsv` want a GPU with a driver for video; `_nvenc` and `_rkmpp` the
//! nodes of their makers' drivers. That a device feeds a coder does not mean that it works: a trial tells.

use super::board::Board;
use super::snapshot::Snapshot;
use super::system;
use super::video::{Codec, Role};

/// Codecs of FFmpeg's `v4l2m2m` and the kernel's codes for them (`libavcodec/v4l2_fmt.c`).
const CODES: [(&str, &str); 9] = [
    ("h264", "H264"),
    ("hevc", "HEVC"),
    ("mpeg4", "MPG4"),
    ("h263", "H263"),
    ("mpeg1", "MPG1"),
    ("mpeg2", "MPG2"),
    ("vc1", "VC1G"),
    ("vp8", "VP80"),
    ("vp9", "VP90"),
];
/// What FFmpeg may list, as family and codecs.
const ENCODERS: [(&str, &[&str]); 6] = [
    ("v4l2m2m", &["h264", "hevc", "mpeg4", "h263", "vp8"]),
    ("omx", &["h264", "mpeg4"]),
    ("vaapi", &["h264", "hevc", "av1", "vp8", "vp9", "mpeg2", "mjpeg"]),
    ("qsv", &["h264", "hevc", "av1", "vp9", "mpeg2", "mjpeg"]),
    ("nvenc", &["h264", "hevc", "av1"]),
    ("rkmpp", &["h264", "hevc", "mjpeg"]),
];
const DECODERS: [(&str, &[&str]); 3] = [
    ("v4l2m2m", &["h264", "hevc", "mpeg4", "h263", "mpeg1", "mpeg2", "vc1", "vp8", "vp9"]),
    ("mmal", &["h264", "mpeg2", "mpeg4", "vc1"]),
    ("rkmpp", &["h264", "hevc", "mpeg2", "vp8", "vp9", "av1"]),
];
/// Kernel drivers of GPUs for which Mesa or Intel's driver speaks VA-API with video.
const VIDEO_GPUS: [&str; 5] = ["amdgpu", "i915", "nouveau", "radeon", "xe"];
/// Those for which there is QSV.
const INTEL_GPUS: [&str; 2] = ["i915", "xe"];
/// MB of the firmware's own memory below which it leaves its codecs out (start_cd.elf).
const GPU_MEMORY: u32 = 64;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Encode,
    Decode,
}

/// A coder of FFmpeg, and what feeds it here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coder {
    /// `h264_v4l2m2m`
    pub name: String,
    pub direction: Direction,
    pub feed: Feed,
}

/// What is behind a coder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feed {
    /// The node that FFmpeg will use, or has to be told of (`-vaapi_device`).
    Device(String),
    /// Why there is none.
    None(String),
}

/// Broadcom's interfaces of old, MMAL and OpenMAX.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Legacy {
    /// Why not.
    pub mmal: Option<String>,
    pub omx: Option<String>,
    /// MB of RAM that are the firmware's, where config.txt says so.
    pub gpu_memory: Option<u32>,
}

/// A node of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Render {
    /// `/dev/dri/renderD128`
    pub device: String,
    pub driver: Option<String>,
    /// There is VA-API with video for such a GPU.
    pub has_video: bool,
}

impl Legacy {
    /// Judges firmware, libraries and programs.
    pub fn of(snapshot: &Snapshot) -> Self {
        let gpu_memory = gpu_memory(snapshot);
        let reason = |library: &str| {
            if !snapshot.has("/dev/vchiq") {
                return Some("no /dev/vchiq: not a Raspberry Pi, or its driver is not loaded".to_owned());
            }
            if snapshot.user_bits != 32 {
                return Some("for 32-bit programs only, this system has 64-bit ones".to_owned());
            }
            let folders = ["/opt/vc/lib", "/usr/lib/arm-linux-gnueabihf"];
            let has = |folder: &&str| {
                snapshot.has(&format!("{folder}/{library}")) || snapshot.has(&format!("{folder}/{library}.0"))
            };
            if !folders.iter().any(has) {
                return Some(format!("the firmware's library {library} is not installed"));
            }
            let small = gpu_memory.filter(|memory| *memory < GPU_MEMORY)?;
            Some(format!(
                "gpu_mem={small} in config.txt leaves the codecs out: set {GPU_MEMORY} or more, 128 with a camera"
            ))
        };
        Self { mmal: reason("libmmal.so"), omx: reason("libopenmaxil.so"), gpu_memory }
    }
}

/// `gpu_mem` of config.txt, in the part for all boards.
fn gpu_memory(snapshot: &Snapshot) -> Option<u32> {
    let text = snapshot.text("/boot/firmware/config.txt").or_else(|| snapshot.text("/boot/config.txt"))?;
    let (mut is_ours, mut memory) = (true, None);
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("gpu_mem=") {
            Some(number) if is_ours => memory = number.trim().parse().ok().or(memory),
            _ if line.starts_with('[') => is_ours = line == "[all]",
            _ => {}
        }
    }
    memory
}

/// All render nodes.
pub(super) fn render(snapshot: &Snapshot) -> Vec<Render> {
    let node = |name: &str| {
        let driver = system::driver(snapshot, &format!("/sys/class/drm/{name}/device/driver"));
        let has_video = driver.as_deref().is_some_and(|driver| VIDEO_GPUS.contains(&driver));
        Render { device: format!("/dev/dri/{name}"), driver, has_video }
    };
    let names = snapshot.names("/dev/dri").into_iter();
    names.filter(|name| name.starts_with("renderD")).map(node).collect()
}

/// All coders of FFmpeg that need hardware.
pub(super) fn all(
    snapshot: &Snapshot,
    board: &Board,
    codecs: &[Codec],
    legacy: &Legacy,
    render: &[Render],
) -> Vec<Coder> {
    let feed = |direction, family: &str, codec: &str| match family {
        "v4l2m2m" => v4l2m2m(board, codecs, direction, codec),
        "omx" => library(legacy.omx.as_ref()),
        "mmal" => library(legacy.mmal.as_ref()),
        "vaapi" => graphics(render, &VIDEO_GPUS, "VA-API"),
        "qsv" => graphics(render, &INTEL_GPUS, "Quick Sync"),
        "nvenc" => maker(snapshot, "/dev/nvidiactl", "NVIDIA's own driver"),
        _ => maker(snapshot, "/dev/mpp_service", "Rockchip's own kernel"),
    };
    let mut found = Vec::new();
    for (direction, families) in [(Direction::Encode, &ENCODERS[..]), (Direction::Decode, &DECODERS[..])] {
        for (family, codecs) in families {
            found.extend(codecs.iter().map(|codec| Coder {
                name: format!("{codec}_{family}"),
                direction,
                feed: feed(direction, family, codec),
            }));
        }
    }
    found
}

fn v4l2m2m(board: &Board, codecs: &[Codec], direction: Direction, codec: &str) -> Feed {
    let Some((_, code)) = CODES.iter().find(|(name, _)| *name == codec) else {
        return Feed::None(format!("FFmpeg has no {codec} of this kind"));
    };
    let role = if direction == Direction::Encode { Role::Encoder } else { Role::Decoder };
    let of_role = || codecs.iter().filter(|codec| codec.role == role);
    let has = |list: &[String]| list.iter().any(|coding| coding == code);
    if let Some(found) = of_role().find(|codec| has(&codec.stateful)) {
        return Feed::Device(found.device.clone());
    }
    let verb = if direction == Direction::Encode { "encodes" } else { "decodes" };
    let mut reason = format!("no node {verb} {code}");
    if let Some(codec) = of_role().find(|codec| codec.stateless.iter().any(|coding| stateless_of(coding) == *code)) {
        reason += &format!("; {} is stateless, which stock FFmpeg can't use", codec.device);
    } else if let Some(note) = board.known.as_ref().and_then(|known| known.note.as_ref()).filter(|_| codec == "h264") {
        reason += &format!(". {note}");
    }
    Feed::None(reason)
}

/// The codec that a driver without state takes.
fn stateless_of(coding: &str) -> &str {
    match coding {
        "S264" => "H264",
        "S265" => "HEVC",
        "VP8F" => "VP80",
        "VP9F" => "VP90",
        "MG2S" => "MPG2",
        other => other,
    }
}

fn library(missing: Option<&String>) -> Feed {
    missing.map_or_else(|| Feed::Device("/dev/vchiq".to_owned()), |reason| Feed::None(reason.clone()))
}

fn graphics(render: &[Render], drivers: &[&str], interface: &str) -> Feed {
    let fits = |node: &&Render| node.driver.as_deref().is_some_and(|driver| drivers.contains(&driver));
    match (render.iter().find(fits), render.first()) {
        (Some(node), _) => Feed::Device(node.device.clone()),
        (None, Some(node)) => {
            let driver = node.driver.as_deref().unwrap_or("an unknown driver");
            Feed::None(format!("there is no {interface} for {driver}, the driver of {}", node.device))
        }
        (None, None) => Feed::None("no render node below /dev/dri".to_owned()),
    }
}

fn maker(snapshot: &Snapshot, node: &str, whose: &str) -> Feed {
    match snapshot.has(node) {
        true => Feed::Device(node.to_owned()),
        false => Feed::None(format!("no {node}, which comes with {whose}")),
    }
}
