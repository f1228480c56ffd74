//! Video nodes: cameras, memory-to-memory codecs, and all that is neither. Pure.
//!
//! Decided by what a node says it can do, not by its name; the driver's name only explains. A camera captures pictures
//! that FFmpeg can take as they come. An encoder or decoder is told by the pairs of formats of its two queues; it is
//! stateful only if the coded queue takes the codec itself (`H264`): `S264` and the like want a program that parses the
//! stream, which stock FFmpeg does not.

use super::identity::{self, Node};
use super::snapshot::Snapshot;
use crate::base::tree;
use crate::sys::device::v4l2::{CAPTURE, CAPTURE_PLANES, Control, Format, Input, OUTPUT, OUTPUT_PLANES, Video};

/// `linux/videodev2.h`.
const CAP_CAPTURE: u32 = 0x1 | 0x1000;
const CAP_OUTPUT: u32 = 0x2 | 0x2000;
const CAP_M2M: u32 = 0x4000 | 0x8000;
const CAP_VBI: u32 = 0x10 | 0x20 | 0x40 | 0x80;
const CAP_SDR: u32 = 0x0010_0000 | 0x0040_0000;
const CAP_META: u32 = 0x0080_0000 | 0x0800_0000;
const CAP_TOUCH: u32 = 0x1000_0000;
const CAP_MEDIA_CONTROLLER: u32 = 0x2000_0000;
const CAP_DEVICE_CAPS: u32 = 0x8000_0000;
const FORMAT_COMPRESSED: u32 = 1;

/// Codings that a driver takes without the stream around them (`pixfmt-compressed.rst`, "stateless").
const STATELESS: [&str; 8] = ["S264", "S265", "VP8F", "VP9F", "MG2S", "AV1F", "SFWH", "RSPL"];
/// Codings, in case a driver does not flag them.
const CODINGS: [&str; 13] =
    ["H264", "HEVC", "MPG4", "H263", "MPG1", "MPG2", "VC1G", "VC1L", "VP80", "VP90", "MJPG", "JPEG", "FWHT"];
/// Drivers of image signal processors: they turn raw pictures into others for libcamera.
const ISPS: [&str; 6] = ["bcm2835-isp", "pispbe", "rkisp1", "rkisp", "hantro-isp", "mali-c55"];
/// Drivers of receivers for camera sensors.
const CSI: [&str; 11] = [
    "unicam",
    "rp1-cfe",
    "sun6i-csi",
    "sun4i-csi",
    "imx7-csi",
    "imx-media-capture",
    "imx6-ipuv3-csi",
    "rkcif",
    "stm32-dcmi",
    "omap3isp",
    "bm2835 mmal",
];
/// How the codes of formats begin that a sensor gives and nobody can show as they are.
const RAW: [&str; 22] = [
    "BA81", "GBRG", "GRBG", "RGGB", "BG1", "GB1", "BA1", "GR1", "RG1", "BYR2", "pB", "pG", "pg", "pR", "aB", "aG",
    "bB", "bG", "PC1", "Y10", "Y12", "Y14",
];
/// What to do with a sensor that FFmpeg can't read.
const LIBCAMERA: &str = "CSI camera that needs libcamera, which FFmpeg does not speak: let `rpicam-vid -t 0 --inline \
                         -o udp://127.0.0.1:5000` (package rpicam-apps) run beside this, and read udp://127.0.0.1:5000";

/// Something that FFmpeg can capture from.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    /// Stays the same when nodes are numbered anew and, with a serial number, at another port.
    pub id: String,
    /// `/dev/video0`, today.
    pub device: String,
    /// The most stable path that leads to it.
    pub address: String,
    pub name: String,
    pub driver: String,
    pub bus: String,
    pub formats: Vec<Format>,
    pub inputs: Vec<Input>,
    pub controls: Vec<Control>,
    /// Tells one plugging from the next; 0: it was there at the start.
    pub plugged: u64,
}

/// What a memory-to-memory node makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Encoder,
    Decoder,
}

/// A memory-to-memory node with a codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    /// `/dev/video11`
    pub device: String,
    pub name: String,
    pub driver: String,
    pub role: Role,
    /// Codings it reads or writes as they are in a stream.
    pub stateful: Vec<String>,
    /// Codings that stock FFmpeg can't use it for.
    pub stateless: Vec<String>,
    /// Formats of its pictures.
    pub pictures: Vec<String>,
    pub is_multi_planar: bool,
}

/// A node that is neither camera nor codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    pub device: String,
    pub name: String,
    pub driver: String,
    /// `csi`, `metadata`, `isp`, `converter`, `output`, `other` or `unknown`.
    pub kind: &'static str,
    pub reason: String,
}

/// All video nodes by what they are for.
#[derive(Default)]
pub(super) struct Nodes {
    pub(super) cameras: Vec<Camera>,
    pub(super) codecs: Vec<Codec>,
    pub(super) others: Vec<Idle>,
}

/// What one node is.
enum Verdict {
    Camera { is_csi: bool },
    Codecs(Vec<Codec>),
    Idle(&'static str, String),
}

/// Judges all nodes.
pub(super) fn sort_out(snapshot: &Snapshot) -> Nodes {
    let mut nodes = Nodes::default();
    let mut cameras: Vec<(Node<'_>, &Video)> = Vec::new();
    let class = "/sys/class/video4linux";
    let mut names: Vec<&String> = snapshot.video.keys().collect();
    tree::sort(&mut names, |a, b| (a.len(), a).cmp(&(b.len(), b)));
    for node in names {
        let label = snapshot.text(&format!("{class}/{node}/name")).unwrap_or_default();
        let idle = |video: Option<&Video>, kind, reason| Idle {
            device: format!("/dev/{node}"),
            name: video.map_or(label, |video| &video.card).to_owned(),
            driver: video.map_or("", |video| &video.driver).to_owned(),
            kind,
            reason,
        };
        let video = match &snapshot.video[node] {
            Ok(video) => video,
            Err(error) => {
                nodes.others.push(idle(None, "unknown", error.clone()));
                continue;
            }
        };
        match judge(node, video) {
            Verdict::Camera { is_csi } => {
                let way = snapshot.target(&format!("{class}/{node}")).unwrap_or_default();
                cameras.push((Node { node, way, name: &video.card, is_csi }, video));
            }
            Verdict::Codecs(codecs) => nodes.codecs.extend(codecs),
            Verdict::Idle(kind, reason) => nodes.others.push(idle(Some(video), kind, reason)),
        }
    }
    let (found, videos): (Vec<Node<'_>>, Vec<&Video>) = cameras.into_iter().unzip();
    let identities = identity::all(snapshot, &found).into_iter();
    let cameras = found.iter().zip(videos).zip(identities).map(|((node, video), identity)| Camera {
        id: identity.id,
        device: format!("/dev/{}", node.node),
        address: identity.address,
        name: video.card.clone(),
        driver: video.driver.clone(),
        bus: video.bus.clone(),
        formats: video.formats.iter().filter(|format| captures(format)).cloned().collect(),
        inputs: video.inputs.clone(),
        controls: video.controls.clone(),
        plugged: 0,
    });
    nodes.cameras = cameras.collect();
    nodes
}

fn captures(format: &Format) -> bool {
    [CAPTURE, CAPTURE_PLANES].contains(&format.queue)
}

/// What this node can do; a driver that does not tell node and device apart speaks of both.
fn abilities(video: &Video) -> u32 {
    if video.capabilities & CAP_DEVICE_CAPS != 0 { video.device_caps } else { video.capabilities }
}

fn judge(node: &str, video: &Video) -> Verdict {
    let (can, driver) = (abilities(video), video.driver.as_str());
    let is_both = can & CAP_CAPTURE != 0 && can & CAP_OUTPUT != 0;
    if ISPS.contains(&driver) {
        return Verdict::Idle("isp", "image signal processor, for libcamera; no camera and no codec".to_owned());
    }
    if can & CAP_M2M != 0 || is_both {
        return memory_to_memory(node, video);
    }
    if can & CAP_CAPTURE != 0 {
        return capture(video, can);
    }
    let (kind, reason) = match can {
        can if can & CAP_META != 0 => ("metadata", "describes the pictures of another node"),
        can if can & CAP_OUTPUT != 0 => ("output", "shows pictures, gives none"),
        can if can & CAP_TOUCH != 0 => ("other", "touch sensor"),
        can if can & (CAP_VBI | CAP_SDR) != 0 => ("other", "teletext or radio"),
        _ => ("other", "captures no pictures"),
    };
    Verdict::Idle(kind, reason.to_owned())
}

fn capture(video: &Video, can: u32) -> Verdict {
    let is_csi = CSI.contains(&video.driver.as_str());
    let formats: Vec<&Format> = video.formats.iter().filter(|format| captures(format)).collect();
    // FFmpeg takes the patterns of USB cameras, which set themselves.
    let is_sensor = !video.bus.starts_with("usb") && !formats.is_empty() && formats.iter().all(|format| is_raw(format));
    if can & CAP_MEDIA_CONTROLLER != 0 || is_sensor {
        return Verdict::Idle("csi", LIBCAMERA.to_owned());
    }
    if formats.is_empty() {
        return match is_csi {
            true => Verdict::Idle("csi", LIBCAMERA.to_owned()),
            false => Verdict::Idle("other", "it names no picture format".to_owned()),
        };
    }
    Verdict::Camera { is_csi }
}

/// Raw data of a sensor: Bayer patterns (`pixfmt-bayer.rst`), the Pi 5's compressed ones, and grey of 10 to 14 bits.
fn is_raw(format: &Format) -> bool {
    RAW.iter().any(|start| format.fourcc.starts_with(start))
}

fn memory_to_memory(node: &str, video: &Video) -> Verdict {
    let read: Vec<&Format> =
        video.formats.iter().filter(|format| [OUTPUT, OUTPUT_PLANES].contains(&format.queue)).collect();
    let written: Vec<&Format> = video.formats.iter().filter(|format| captures(format)).collect();
    let codings = |formats: &[&Format]| -> Vec<String> {
        formats.iter().filter(|format| is_coding(format)).map(|format| format.fourcc.clone()).collect()
    };
    let pictures = |formats: &[&Format]| -> Vec<String> {
        formats.iter().filter(|format| !is_coding(format)).map(|format| format.fourcc.clone()).collect()
    };
    let codec = |role, codings: Vec<String>, pictures: Vec<String>| {
        let (stateless, stateful): (Vec<String>, Vec<String>) =
            codings.into_iter().partition(|coding| STATELESS.contains(&coding.as_str()));
        Codec {
            device: format!("/dev/{node}"),
            name: video.card.clone(),
            driver: video.driver.clone(),
            role,
            stateful,
            stateless,
            pictures,
            is_multi_planar: video.formats.iter().any(|format| format.queue >= CAPTURE_PLANES),
        }
    };
    let mut codecs = Vec::new();
    if !codings(&written).is_empty() && !pictures(&read).is_empty() {
        codecs.push(codec(Role::Encoder, codings(&written), pictures(&read)));
    }
    if !codings(&read).is_empty() && !pictures(&written).is_empty() {
        codecs.push(codec(Role::Decoder, codings(&read), pictures(&written)));
    }
    match codecs.is_empty() {
        false => Verdict::Codecs(codecs),
        true => Verdict::Idle("converter", "scales or converts pictures; no codec".to_owned()),
    }
}

fn is_coding(format: &Format) -> bool {
    let code = format.fourcc.as_str();
    format.flags & FORMAT_COMPRESSED != 0 || CODINGS.contains(&code) || STATELESS.contains(&code)
}
