//! Verdicts on recorded and reconstructed boards (`tests/golden/boards/`, each says which it is), and identities.

use super::*;
use crate::sys::device::v4l2::{Format, Video};
use snapshot::Entry;

fn board(name: &str) -> Hardware {
    Hardware::new(&tree(name))
}

fn tree(name: &str) -> Snapshot {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/boards").join(name);
    replay(&file.with_extension("json")).unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

/// `+name device` or `-name part of the reason`, for encoders; with `<` before them decoders.
#[track_caller]
fn check_coders(hardware: &Hardware, expected: &[&str]) {
    for line in expected {
        let (direction, rest) = match line.strip_prefix('<') {
            Some(rest) => (Direction::Decode, rest),
            None => (Direction::Encode, *line),
        };
        let (name, wanted) = rest[1..].split_once(' ').expect("a name and more");
        let coder = hardware.coder(direction, name).unwrap_or_else(|| panic!("{name} is not judged"));
        let holds = match &coder.feed {
            Feed::Device(device) => rest.starts_with('+') && device == wanted,
            Feed::None(reason) => rest.starts_with('-') && reason.contains(wanted),
        };
        assert!(holds, "{}: {line}: {:?}", hardware.board.name(), coder.feed);
    }
}

#[test]
fn every_tree_says_where_it_comes_from_and_reads_back() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/boards");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a file").path();
        let snapshot = replay(&path).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
        assert!(!snapshot.source.is_empty(), "{}", path.display());
        let again = serde_json::to_vec(&snapshot.document()).expect("a document");
        assert_eq!(Snapshot::read(&again).expect("the same"), snapshot, "{}", path.display());
        assert!(text::write(&Hardware::new(&snapshot)).contains("encoders that need hardware"));
        count += 1;
    }
    assert!(count >= 10, "{count} boards");
}

#[test]
fn raspberry_pi_zero_2_and_3() {
    let zero = board("rpi-zero2_64bit");
    check_coders(
        &zero,
        &[
            "+h264_v4l2m2m /dev/video11",
            "-hevc_v4l2m2m no node encodes HEVC",
            "-h264_omx 64-bit",
            "<+h264_v4l2m2m /dev/video10",
        ],
    );
    let known = zero.board.known.as_ref().expect("in board/");
    assert_eq!((known.encoder_macroblocks, known.has_headers_once), (Some(245_760), true));
    assert_eq!(known.encoder_pix_fmt.as_deref(), Some("yuv420p"));
    assert_eq!((zero.power.under_voltage.clone(), zero.power.throttled.clone()), (Ok(true), Ok(0x50005)));
    assert_eq!(zero.root.as_ref().expect("a card").kind, "sd");
    // The sensor, its embedded data, and the four nodes of the image processor.
    assert_eq!(zero.cameras, []);
    let csi = zero.others.iter().find(|node| node.kind == "csi").expect("named");
    assert!(csi.device == "/dev/video0" && csi.reason.contains("needs libcamera") && csi.reason.contains("rpicam-vid"));
    assert_eq!(zero.others.iter().filter(|node| node.kind == "isp").count(), 4);

    let legacy = board("rpi-3_32bit-legacy");
    check_coders(&legacy, &["+h264_omx /dev/vchiq", "+h264_v4l2m2m /dev/video11", "<+h264_mmal /dev/vchiq"]);
    assert_eq!(legacy.cameras[0].id, "csi-bcm2835-v4l2-0");
    assert_eq!(legacy.legacy.gpu_memory, Some(128));
    let small = board("rpi-3_32bit-small-gpu-mem");
    check_coders(&small, &["-h264_omx gpu_mem=16", "<-h264_mmal gpu_mem=16", "+h264_v4l2m2m /dev/video11"]);
    check_coders(&board("rpi-3_64bit"), &["+h264_v4l2m2m /dev/video11", "-h264_omx 64-bit", "<-h264_mmal 64-bit"]);
}

#[test]
fn raspberry_pi_4_and_5() {
    let four = board("rpi-4_64bit");
    check_coders(
        &four,
        &[
            "+h264_v4l2m2m /dev/video11",
            "-h264_omx 64-bit",
            "-h264_vaapi v3d",
            "<-hevc_v4l2m2m /dev/video19 is stateless",
        ],
    );
    assert_eq!((four.root.as_ref().expect("a disk").kind, four.zones[0].celsius), ("usb", Some(52.095)));
    let sound = &four.sound[0];
    assert_eq!((sound.device.as_str(), sound.address.as_str()), ("hw:1,0", "hw:CARD=Webcam,DEV=0"));
    assert_eq!(sound.abilities.as_ref().expect("answers").rates, [8000, 16_000, 32_000, 44_100, 48_000]);
    let five = board("rpi-5_64bit");
    check_coders(
        &five,
        &[
            "-h264_v4l2m2m This board has no H.264 hardware",
            "-hevc_v4l2m2m no node",
            "<-h264_v4l2m2m no node decodes H264",
        ],
    );
    assert_eq!((five.cameras.len(), five.codecs.len()), (0, 1), "front end and back end of the camera are neither");
    assert_eq!(five.codecs[0].stateless, ["S265"]);
    assert!(five.others.iter().any(|node| node.kind == "csi" && node.driver == "rp1-cfe"));
    assert_eq!(five.root.expect("an NVMe").kind, "nvme");
}

#[test]
fn other_boards() {
    let none = [
        "-h264_v4l2m2m no node encodes H264",
        "-h264_rkmpp no /dev/mpp_service",
        "-h264_vaapi ",
        "<-h264_v4l2m2m stateless",
    ];
    for name in ["rk3588_rock-5b", "rk3566_radxa-zero3", "rk3568_rock3a", "imx8mm_evk", "allwinner-h3_orangepi-pc"] {
        let hardware = board(name);
        check_coders(&hardware, &none);
        assert!(hardware.board.known.is_some(), "{name} is in board/");
    }
    let rock = board("rk3588_rock-5b");
    let wear = rock.root.expect("an eMMC").wear.expect("it says");
    assert_eq!((wear.used_percent, wear.spare), ([Some(20), Some(10)], Some("normal")));
    let jpeg = rock.codecs.iter().find(|codec| codec.role == Role::Encoder).expect("for JPEG");
    assert_eq!(jpeg.stateful, ["JPEG"]);
    check_coders(&board("imx6q_sabrelite"), &["+h264_v4l2m2m /dev/video0", "<+h264_v4l2m2m /dev/video1"]);
    let pc = board("pc_vaapi");
    check_coders(&pc, &["+h264_vaapi /dev/dri/renderD128", "+h264_qsv /dev/dri/renderD128", "-h264_v4l2m2m no node"]);
    assert_eq!(pc.board.name(), "Intel(R) Client Systems NUC8i5BEH");
    let disk = pc.root.expect("below the device mapper");
    assert_eq!((disk.device.as_str(), disk.kind), ("sda", "sata"));
}

/// A recording of scripts/test-guest: Linux 6.12 with two vivid, one of them multi-planar, vim2m, vicodec and snd-aloop.
#[test]
fn an_emulated_board_with_virtual_devices() {
    let guest = board("qemu-virt-arm64");
    assert_eq!((guest.source.as_str(), guest.board.name()), (snapshot::RECORDED, "linux,dummy-virt"));
    let cameras: Vec<[&str; 4]> =
        guest.cameras.iter().map(|one| [&one.id, &one.device, &one.address, &one.driver].map(String::as_str)).collect();
    let link = "/dev/v4l/by-path/platform-vivid.0-video-index0";
    let expected = [
        ["platform-vivid.0", "/dev/video0", "/dev/video0", "vivid"],
        // udev gives both of them the same link; it leads to who came last.
        ["platform-vivid.0-2", "/dev/video4", link, "vivid"],
    ];
    assert_eq!(cameras, expected);
    let sizes: Vec<[usize; 3]> =
        guest.cameras.iter().map(|one| [one.formats.len(), one.controls.len(), one.inputs.len()]).collect();
    assert_eq!(sizes, [[83, 73, 4], [93, 73, 4]]);
    let others: Vec<[&str; 3]> = guest.others.iter().map(|one| [&one.device, one.kind, &one.driver]).collect();
    let expected = [
        ["/dev/video1", "output", "vivid"],
        ["/dev/video2", "metadata", "vivid"],
        ["/dev/video3", "metadata", "vivid"],
        ["/dev/video5", "converter", "vim2m"],
    ];
    assert_eq!(others, expected);
    let codecs: Vec<(Role, String, String, usize)> = guest
        .codecs
        .iter()
        .map(|one| (one.role, one.stateful.concat(), one.stateless.concat(), one.pictures.len()))
        .collect();
    let codec = |role, stateful: &str, stateless: &str| (role, stateful.to_owned(), stateless.to_owned(), 28);
    let expected =
        [codec(Role::Encoder, "FWHT", ""), codec(Role::Decoder, "FWHT", ""), codec(Role::Decoder, "", "SFWH")];
    assert_eq!(codecs, expected);
    let none = ["-h264_v4l2m2m no node encodes H264", "-h264_vaapi no render node", "<-h264_v4l2m2m no node decodes"];
    check_coders(&guest, &none);
    assert!(guest.coders.iter().all(|coder| matches!(coder.feed, Feed::None(_))));
    let sound: Vec<&str> = guest.sound.iter().map(|one| one.address.as_str()).collect();
    assert_eq!(sound, ["hw:CARD=Loopback,DEV=0", "hw:CARD=Loopback,DEV=1"]);
    let abilities = guest.sound[0].abilities.as_ref().expect("it answers");
    assert_eq!((abilities.min_channels, abilities.max_channels, abilities.max_rate), (1, 32, 768_000));
    assert_eq!(guest.root.expect("a disk").kind, "virtio");
}

#[test]
fn a_usb_camera_is_one_camera() {
    for (name, id) in [("pc_vaapi", "usb-046d:085b-D1F8B55F"), ("allwinner-h3_orangepi-pc", "usb-1c1d000.usb-1")] {
        let hardware = board(name);
        assert_eq!(hardware.cameras.iter().map(|camera| camera.id.as_str()).collect::<Vec<_>>(), [id], "{name}");
        assert_eq!(hardware.others.iter().filter(|node| node.kind == "metadata").count(), 1, "{name}: its twin");
    }
    let camera = &board("pc_vaapi").cameras[0];
    assert_eq!(camera.address, "/dev/v4l/by-id/usb-046d_Logitech_Webcam_C925e_D1F8B55F-video-index0");
    assert_eq!(camera.controls[2].menu[1], (3, "Aperture Priority Mode".to_owned()));
}

#[test]
fn two_cameras_of_one_serial_number_are_told_apart_by_their_ports() {
    let mut snapshot = tree("rpi-4_64bit");
    let place = |snapshot: &Snapshot| -> Vec<(String, String, String)> {
        let cameras = Hardware::new(snapshot).cameras.into_iter();
        cameras.map(|camera| (camera.id, camera.device, camera.address)).collect()
    };
    let path =
        |port: &str| format!("/dev/v4l/by-path/platform-fd500000.pcie-pci-0000:01:00.0-usb-0:{port}:1.0-video-index0");
    let camera = |port: &str, node: &str| (format!("usb-0000:01:00.0-{port}"), format!("/dev/{node}"), path(port));
    assert_eq!(place(&snapshot), [camera("1.3", "video0"), camera("1.4", "video2")]);
    // Numbered the other way round after a start; the bus is another one, too.
    let swapped = |text: &str| text.replace("video2", "videoX").replace("video0", "video2").replace("videoX", "video0");
    let moved = |text: &str| swapped(text).replace("usb1/1-1", "usb3/3-1").replace("/1-1.", "/3-1.");
    let files = std::mem::take(&mut snapshot.files).into_iter();
    snapshot.files = files
        .map(|(path, entry)| match entry {
            Entry::Link(target) => (moved(&path), Entry::Link(moved(&target))),
            entry => (moved(&path), entry),
        })
        .collect();
    let videos = std::mem::take(&mut snapshot.video).into_iter();
    snapshot.video = videos.map(|(node, video)| (swapped(&node), video)).collect();
    assert_eq!(place(&snapshot), [camera("1.4", "video0"), camera("1.3", "video2")]);
    // The other one has gone: this one is known by its number.
    for node in ["video0", "video1"] {
        snapshot.video.remove(node);
    }
    snapshot.files.retain(|path, _| !path.contains("by-id"));
    assert_eq!(place(&snapshot), [("usb-0bda:5830-200901010001".to_owned(), "/dev/video2".to_owned(), path("1.3"))]);
}

#[test]
fn several_nodes_of_one_device_and_nodes_without_a_place() {
    let node = |card: &str| {
        let format = Format { queue: 1, fourcc: "YUYV".to_owned(), ..Format::default() };
        let caps = 0x8520_0001;
        Video {
            card: card.to_owned(),
            capabilities: caps,
            device_caps: caps,
            formats: vec![format],
            ..Video::default()
        }
    };
    let mut snapshot = Snapshot::default();
    let devices = [
        ("video9", "platform/vivid.0", "vivid"),
        ("video10", "platform/vivid.0", "vivid"),
        ("video3", "virtual", "Dummy video device"),
        ("video4", "pci0000:00/0000:00:1c.0/0000:02:00.0", "Grabber"),
    ];
    for (index, (name, way, card)) in devices.into_iter().enumerate() {
        let link = Entry::Link(format!("../../devices/{way}/video4linux/{name}"));
        snapshot.files.insert(format!("/sys/class/video4linux/{name}"), link);
        snapshot.files.insert(format!("/sys/class/video4linux/{name}/index"), Entry::Text(index.to_string()));
        snapshot.video.insert(name.to_owned(), Ok(node(card)));
    }
    let ids: Vec<String> = Hardware::new(&snapshot).cameras.into_iter().map(|camera| camera.id).collect();
    let expected = ["virtual-Dummy_video_device", "pci-0000:02:00.0", "platform-vivid.0", "platform-vivid.0-2"];
    assert_eq!(ids, expected);
}

#[test]
fn what_comes_and_goes() {
    let (before, mut after) = (board("rpi-4_64bit"), board("rpi-4_64bit"));
    assert_eq!(difference(&before, &after), []);
    after.cameras.remove(0);
    after.sound[0].plugged = 7;
    let news = difference(&before, &after);
    let said: Vec<(&str, bool)> = news.iter().map(|news| (news.device.id.as_str(), news.is_present)).collect();
    let sound = before.sound[0].id.as_str();
    assert_eq!(said, [("usb-0000:01:00.0-1.3", false), (sound, false), (sound, true)]);
}

#[test]
fn a_node_that_may_not_be_opened_is_told() {
    let mut snapshot = tree("pc_vaapi");
    snapshot.video.insert("video0".to_owned(), Err(snapshot::NO_RIGHTS.to_owned()));
    let hardware = Hardware::new(&snapshot);
    assert_eq!((hardware.closed.clone(), hardware.cameras.len()), (vec!["video0".to_owned()], 0));
    let other = hardware.others.iter().find(|node| node.device == "/dev/video0").expect("named");
    assert_eq!(
        (other.name.as_str(), other.kind, other.reason.as_str()),
        ("Logitech Webcam C925e", "unknown", snapshot::NO_RIGHTS)
    );
}

#[test]
fn what_is_no_document() {
    for text in ["", "[]", "{}", "{\"source\":\"x\",\"machine\":\"y\",\"user_bits\":\"64\"}"] {
        assert!(Snapshot::read(text.as_bytes()).is_err(), "{text:?}");
    }
    let head = "{\"source\":\"x\",\"machine\":\"y\",\"user_bits\":64";
    for text in
        ["\"files\":[]", "\"files\":{\"/a\":1}", "\"video\":{\"video0\":{}}", "\"sound\":{\"pcm\":{\"error\":1}}"]
    {
        assert!(Snapshot::read(format!("{head},{text}}}").as_bytes()).is_err(), "{text:?}");
    }
    let empty = Snapshot::read(format!("{head}}}").as_bytes()).expect("a board that shows nothing");
    let hardware = Hardware::new(&empty);
    assert_eq!((hardware.board.name(), hardware.memory, hardware.root.is_err()), ("unknown", None, true));
}
