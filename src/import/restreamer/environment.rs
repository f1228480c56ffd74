//! What Restreamer 0.x took from its environment: a camera of the box instead of an address, snapshots, first streams.

use crate::config::Environment;
use crate::import::Report;

/// The variables `RS_…` that matter to an import.
#[derive(Clone, Debug, Default)]
pub(in crate::import) struct Surroundings {
    /// `RS_INPUTSTREAM`: the source of a database that has none.
    pub(super) source: String,
    /// `RS_OUTPUTSTREAM`: its output.
    pub(super) output: String,
    /// Seconds between snapshots; `None`: no snapshots.
    pub(super) snapshot: Option<u64>,
    pub(super) camera: Option<Camera>,
    pub(super) report: Report,
}

/// A camera of the box, `RS_MODE`.
#[derive(Clone, Debug, Default)]
pub(super) struct Camera {
    pub(super) device: String,
    pub(super) format: String,
    pub(super) fps: u64,
    pub(super) width: u64,
    pub(super) height: u64,
    /// The camera's picture is raw and has to be encoded; `None`: it comes encoded.
    pub(super) encoding: Option<Encoding>,
    pub(super) microphone: Option<Microphone>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Encoding {
    /// kbit/s.
    pub(super) bitrate: u64,
    pub(super) preset: String,
    pub(super) profile: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Microphone {
    /// ALSA's `card,device`.
    pub(super) device: String,
    /// kbit/s.
    pub(super) bitrate: u64,
    pub(super) channels: u64,
    pub(super) layout: String,
    /// Hz.
    pub(super) sampling: u64,
}

const SNAPSHOT: &str = "RS_SNAPSHOT_INTERVAL";
const SNAPSHOT_DEFAULT: u64 = 60;

impl Surroundings {
    pub(in crate::import) fn read(environment: &Environment) -> Self {
        let mut reader = Reader { environment, report: Report::default() };
        let snapshot = reader.snapshot();
        let camera = match environment.text("RS_MODE") {
            Some("USBCAM") => Some(reader.usb_camera()),
            Some("RASPICAM") => Some(reader.raspberry_camera()),
            None => None,
            Some(other) => {
                reader.report.note("RS_MODE", format!("{other:?} is unknown and does nothing"));
                None
            }
        };
        if environment.text("RS_TOKEN").is_some() {
            reader.report.note("RS_TOKEN", "is not taken over: set rtmp.token to have a token for RTMP");
        }
        Self {
            source: reader.text("RS_INPUTSTREAM", ""),
            output: reader.text("RS_OUTPUTSTREAM", ""),
            snapshot,
            camera,
            report: reader.report,
        }
    }
}

struct Reader<'a> {
    environment: &'a Environment,
    report: Report,
}

impl Reader<'_> {
    fn text(&self, name: &str, default: &str) -> String {
        self.environment.text(name).unwrap_or(default).trim().to_owned()
    }

    fn number(&mut self, name: &str, default: u64) -> u64 {
        let Some(text) = self.environment.text(name) else { return default };
        text.trim().parse().unwrap_or_else(|_| {
            self.report.note(name, format!("{text:?} is no number, {default} is taken"));
            default
        })
    }

    fn snapshot(&mut self) -> Option<u64> {
        let Some(text) = self.environment.text(SNAPSHOT) else { return Some(SNAPSHOT_DEFAULT) };
        let seconds = seconds(text).unwrap_or_else(|| {
            self.report.note(SNAPSHOT, format!("{text:?} is no time, {SNAPSHOT_DEFAULT} s are taken"));
            SNAPSHOT_DEFAULT
        });
        (seconds > 0).then_some(seconds)
    }

    fn usb_camera(&mut self) -> Camera {
        Camera {
            device: self.text("RS_USBCAM_VIDEODEVICE", "/dev/video"),
            format: "nv12".to_owned(),
            fps: self.number("RS_USBCAM_FPS", 25),
            width: self.number("RS_USBCAM_WIDTH", 1280),
            height: self.number("RS_USBCAM_HEIGHT", 720),
            encoding: Some(Encoding {
                bitrate: self.number("RS_USBCAM_BITRATE", 5_000_000) / 1000,
                preset: self.text("RS_USBCAM_H264PRESET", "ultrafast"),
                profile: self.text("RS_USBCAM_H264PROFILE", "baseline"),
            }),
            microphone: self.microphone("USBCAM"),
        }
    }

    /// The variables name no device; the camera's usual one is taken.
    fn raspberry_camera(&mut self) -> Camera {
        self.report.note("RS_MODE", "RASPICAM: the camera is taken to be /dev/video0, correct the input if it is not");
        Camera {
            device: "/dev/video0".to_owned(),
            format: self.text("RS_RASPICAM_FORMAT", "h264"),
            fps: self.number("RS_RASPICAM_FPS", 25),
            width: self.number("RS_RASPICAM_WIDTH", 1920),
            height: self.number("RS_RASPICAM_HEIGHT", 1080),
            encoding: None,
            microphone: self.microphone("RASPICAM"),
        }
    }

    fn microphone(&mut self, mode: &str) -> Option<Microphone> {
        let name = |rest: &str| format!("RS_{mode}_AUDIO{rest}");
        if self.text(&name(""), "false") != "true" {
            return None;
        }
        let device = self.text(&name("DEVICE"), "0");
        let named = device.split_once(',').is_some_and(|(card, device)| is_number(card) && is_number(device));
        if !named {
            self.report.note(name("DEVICE"), format!("{device:?} is not card,device: 1,0 is taken"));
        }
        Some(Microphone {
            device: if named { device } else { "1,0".to_owned() },
            bitrate: self.number(&name("BITRATE"), 64_000) / 1000,
            channels: self.number(&name("CHANNELS"), 1),
            layout: self.text(&name("LAYOUT"), "mono"),
            sampling: self.number(&name("SAMPLING"), 44_100),
        })
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Milliseconds without a unit, else numbers with `ms`, `s`, `m` or `h`, also several; whole seconds of it.
fn seconds(text: &str) -> Option<u64> {
    if let Ok(millis) = text.parse::<u64>() {
        return Some(millis / 1000);
    }
    let mut rest = text;
    let mut millis = 0u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, after) = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
            .into_iter()
            .find_map(|(unit, millis)| Some((millis, rest.strip_prefix(unit)?)))?;
        rest = after;
        millis = millis.checked_add(number.checked_mul(unit)?)?;
    }
    (!text.is_empty()).then_some(millis / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0ms", Some(0)),
            ("0m", Some(0)),
            ("60000", Some(60)),
            ("60000ms", Some(60)),
            ("60s", Some(60)),
            ("1m", Some(60)),
            ("1m30s", Some(90)),
            ("2h", Some(7200)),
            ("", None),
            ("m", None),
            ("5x", None),
            ("-5s", None),
            ("99999999999999999999s", None),
            ("9999999999999999h", None),
        ] {
            assert_eq!(seconds(text), expected, "{text:?}");
        }
    }
}
