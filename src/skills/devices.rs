//! What is plugged in, from the kernel's text files (`contract/process-engine.md` §23): ALSA capture devices, video
//! nodes, frame buffers. Reading them is the driver's work.

use super::Device;

/// Texts of one frame buffer below `/sys/class/graphics`.
#[derive(Clone, Debug, Default)]
pub(super) struct FrameBuffer {
    /// `fb0`
    pub(super) node: String,
    pub(super) name: String,
    /// `1920,1080`
    pub(super) virtual_size: String,
    pub(super) bits_per_pixel: String,
}

/// Capture devices from `/proc/asound/cards` and `/proc/asound/devices`.
pub(super) fn alsa(cards: &str, devices: &str) -> Vec<Device> {
    let cards: Vec<(&str, &str, &str)> = cards
        .lines()
        .zip(cards.lines().skip(1).chain([""]))
        .filter_map(|(line, below)| {
            let (number, rest) = line.trim_start().split_once(' ')?;
            let (_, name) = rest.split_once("]: ")?;
            Some((number, name.split_once(" - ").map_or(name, |(_, name)| name), below.trim()))
        })
        .collect();
    let capture = |line: &str| {
        let (address, kind) = line.split_once('[')?.1.split_once("]: ")?;
        let (card, device) = address.split_once('-')?;
        let (card, device) = (card.trim(), device.trim());
        let (_, name, extra) = cards.iter().find(|(number, _, _)| *number == card)?;
        (kind.trim() == "digital audio capture").then(|| Device {
            id: format!("hw:{card},{device}"),
            name: (*name).to_owned(),
            extra: (*extra).to_owned(),
            media: "audio",
        })
    };
    devices.lines().filter_map(capture).collect()
}

/// Video nodes from name and `/sys/class/video4linux/<node>/name`.
pub(super) fn video4linux(nodes: &[(String, String)]) -> Vec<Device> {
    let device = |(node, name): &(String, String)| Device {
        id: format!("/dev/{node}"),
        name: name.trim().to_owned(),
        extra: String::new(),
        media: "video",
    };
    nodes.iter().map(device).collect()
}

/// Frame buffers; `extra` is size and depth.
pub(super) fn frame_buffers(buffers: &[FrameBuffer]) -> Vec<Device> {
    let device = |buffer: &FrameBuffer| Device {
        id: format!("/dev/{}", buffer.node),
        name: buffer.name.trim().to_owned(),
        extra: format!("{} {}bpp", buffer.virtual_size.trim().replace(',', "x"), buffer.bits_per_pixel.trim()),
        media: "video",
    };
    buffers.iter().map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alsa_lists_what_can_be_recorded() {
        let cards = " 0 [PCH            ]: HDA-Intel - HDA Intel PCH\n                      HDA Intel PCH at 0xf7d1 irq 31\n \
                     1 [C925e          ]: USB-Audio - Logitech Webcam C925e\n                      Logitech at usb-1\n";
        let devices = "  2: [ 0- 0]: digital audio playback\n  3: [ 0- 0]: digital audio capture\n  4: [ 0]   : control\n \
                       24: [ 1- 0]: digital audio capture\n 25: [ 7- 0]: digital audio capture\n 33:        : timer\n";
        let device = |id: &str, name: &str, extra: &str| Device {
            id: id.to_owned(),
            name: name.to_owned(),
            extra: extra.to_owned(),
            media: "audio",
        };
        assert_eq!(
            alsa(cards, devices),
            [
                device("hw:0,0", "HDA Intel PCH", "HDA Intel PCH at 0xf7d1 irq 31"),
                device("hw:1,0", "Logitech Webcam C925e", "Logitech at usb-1"),
            ]
        );
        assert_eq!(alsa("--- no soundcards ---\n", ""), []);
    }

    #[test]
    fn video_nodes_and_frame_buffers() {
        let nodes = video4linux(&[("video0".to_owned(), "Webcam\n".to_owned())]);
        assert_eq!((nodes[0].id.as_str(), nodes[0].name.as_str()), ("/dev/video0", "Webcam"));
        let buffer = FrameBuffer {
            node: "fb0".to_owned(),
            name: "vc4drmfb\n".to_owned(),
            virtual_size: "1920,1080\n".to_owned(),
            bits_per_pixel: "32\n".to_owned(),
        };
        let found = &frame_buffers(&[buffer])[0];
        assert_eq!((found.id.as_str(), found.extra.as_str()), ("/dev/fb0", "1920x1080 32bpp"));
    }
}
