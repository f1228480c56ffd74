//! What the FFmpeg on this box can do: version, codecs, formats, filters, protocols, devices.
//!
//! binary → `driver` → `parse`, and `hw` → `devices` → `Skills`, kept until the binary changes or someone asks for a fresh
//! look; devices as they come and go. A missing binary is a value (empty `Skills`) and an alarm, never an error. Names what
//! FFmpeg says; whether a hardware encoder works on this board is tried by `trial`.

mod devices;
mod driver;
mod parse;
pub mod trial;
mod trial_driver;

pub use crate::ffmpeg::version::Version;
pub use driver::{Handle, spawn};

/// Everything that the lists of one FFmpeg say (`contract/http-api.md` §7.2). Thousands of texts that stay: none has room
/// to grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skills {
    pub build: Build,
    pub filters: Box<[Named]>,
    pub hwaccels: Box<[Named]>,
    pub audio_codecs: Box<[Codec]>,
    pub video_codecs: Box<[Codec]>,
    pub subtitle_codecs: Box<[Codec]>,
    pub input_devices: Box<[DeviceFormat]>,
    pub output_devices: Box<[DeviceFormat]>,
    pub demuxers: Box<[Named]>,
    pub muxers: Box<[Named]>,
    pub input_protocols: Box<[Named]>,
    pub output_protocols: Box<[Named]>,
}

impl Skills {
    /// Whether FFmpeg lists this encoder of pictures.
    pub fn has_encoder(&self, name: &str) -> bool {
        self.video_codecs.iter().any(|codec| codec.encoders.iter().any(|encoder| &**encoder == name))
    }

    /// Whether FFmpeg reads from this device.
    pub fn has_input_device(&self, id: &str) -> bool {
        self.input_devices.iter().any(|device| &*device.id == id)
    }
}

/// What `-version` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// `None`: no FFmpeg, or one that does not say.
    pub version: Option<Version>,
    pub compiler: String,
    pub configuration: String,
    pub libraries: Vec<Library>,
}

/// One of FFmpeg's libraries; versions as printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    pub name: String,
    pub compiled: String,
    pub linked: String,
}

/// Something with an id and a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub id: Box<str>,
    pub name: Box<str>,
}

/// A codec; the lists name its implementations and are empty when there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    pub id: Box<str>,
    pub name: Box<str>,
    pub encoders: Box<[Box<str>]>,
    pub decoders: Box<[Box<str>]>,
}

/// A format that stands for hardware, with what is plugged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFormat {
    pub id: Box<str>,
    pub name: Box<str>,
    pub devices: Vec<Device>,
}

/// One piece of hardware; `id` is the address that FFmpeg takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: String,
    pub name: String,
    pub extra: String,
    /// `audio` or `video`.
    pub media: &'static str,
}
