//! What is plugged in, below the formats of FFmpeg that read or show it (`contract/process-engine.md` §23).

use super::{Device, DeviceFormat, Skills};
use crate::hw::{Camera, Hardware, Sound};

/// Lists the devices of `hardware`; says whether that changed anything.
pub(super) fn plug_in(skills: &mut Skills, hardware: &Hardware) -> bool {
    let mut is_new = false;
    let mut set = |format: &mut DeviceFormat, devices: Vec<Device>| {
        is_new |= format.devices != devices;
        format.devices = devices;
    };
    for format in &mut skills.input_devices {
        let devices = match &*format.id {
            "alsa" => hardware.sound.iter().map(sound).collect(),
            "video4linux2" | "v4l2" => hardware.cameras.iter().map(camera).collect(),
            "fbdev" => hardware.frame_buffers.iter().map(frame_buffer).collect(),
            _ => Vec::new(),
        };
        set(format, devices);
    }
    for format in skills.output_devices.iter_mut().filter(|format| &*format.id == "fbdev") {
        set(format, hardware.frame_buffers.iter().map(frame_buffer).collect());
    }
    is_new
}

fn sound(sound: &Sound) -> Device {
    Device { id: sound.device.clone(), name: sound.name.clone(), extra: sound.extra.clone(), media: "audio" }
}

/// By its most stable path, since clients store what they are given.
fn camera(camera: &Camera) -> Device {
    Device { id: camera.address.clone(), name: camera.name.clone(), extra: camera.bus.clone(), media: "video" }
}

/// `extra` is size and depth.
fn frame_buffer([node, name, size, depth]: &[String; 4]) -> Device {
    let extra = format!("{} {depth}bpp", size.replace(',', "x"));
    Device { id: format!("/dev/{node}"), name: name.clone(), extra, media: "video" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::Snapshot;
    use crate::hw::snapshot::Entry;

    #[test]
    fn each_format_has_its_devices() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/boards/rpi-4_64bit.json");
        let mut snapshot: Snapshot = crate::hw::replay(&file).expect("a recording");
        for (name, text) in [("name", "vc4drmfb\n"), ("virtual_size", "1920,1080\n"), ("bits_per_pixel", "32\n")] {
            snapshot.files.insert(format!("/sys/class/graphics/fb0/{name}"), Entry::Text(text.to_owned()));
        }
        let hardware = Hardware::new(&snapshot);
        let format = |id: &str| DeviceFormat { id: id.into(), name: "".into(), devices: Vec::new() };
        let mut skills = Skills {
            input_devices: ["alsa", "fbdev", "lavfi", "video4linux2"].map(format).into(),
            output_devices: ["alsa", "fbdev"].map(format).into(),
            ..Skills::default()
        };
        assert!(plug_in(&mut skills, &hardware));
        assert!(!plug_in(&mut skills, &hardware), "the same again");
        let device = |id: &str, name: &str, extra: &str, media| Device {
            id: id.to_owned(),
            name: name.to_owned(),
            extra: extra.to_owned(),
            media,
        };
        let usb = "Generic HD Webcam at usb-0000:01:00.0-1.3, high speed";
        assert_eq!(skills.input_devices[0].devices, [device("hw:1,0", "HD Webcam", usb, "audio")]);
        let screen = device("/dev/fb0", "vc4drmfb", "1920x1080 32bpp", "video");
        assert_eq!(skills.input_devices[1].devices, std::slice::from_ref(&screen));
        assert_eq!(skills.input_devices[2].devices, []);
        let path = "/dev/v4l/by-path/platform-fd500000.pcie-pci-0000:01:00.0-usb-0:1.3:1.0-video-index0";
        let cameras = &skills.input_devices[3].devices;
        assert_eq!(cameras[0], device(path, "HD Webcam: HD Webcam", "usb-0000:01:00.0-1.3", "video"));
        assert_eq!(cameras.len(), 2, "their metadata nodes are none");
        assert_eq!(
            (&skills.output_devices[0].devices[..], &skills.output_devices[1].devices[..]),
            (&[][..], &[screen][..])
        );
    }
}
