//! Command lines of trials. A family of encoders that needs more than its name has a row in `FAMILIES`.

use std::path::PathBuf;

use super::{FRAMES, GOP, Size};
use crate::ffmpeg::args::PROGRESS_FD;
use crate::media::Codec;

/// One encoder at one size.
#[derive(Clone, Debug)]
pub(in crate::skills) struct Attempt {
    pub(in crate::skills) encoder: String,
    pub(in crate::skills) codec: Codec,
    pub(in crate::skills) device: PathBuf,
    pub(in crate::skills) size: Size,
}

/// What the encoders of a family need, by the end of their names.
struct Family {
    name: &'static str,
    /// Before the input; `{}` stands for the device.
    before: &'static [&'static str],
    /// Before the encoder.
    options: &'static [&'static str],
}

const YUV420P: &[&str] = &["-pix_fmt", "yuv420p"];

/// Hardware families.
const FAMILIES: [Family; 9] = [
    // Other formats end in "Could not find a valid device".
    Family { name: "v4l2m2m", before: &[], options: YUV420P },
    Family { name: "vaapi", before: &["-vaapi_device", "{}"], options: &["-vf", "format=nv12,hwupload"] },
    Family {
        name: "qsv",
        before: &["-init_hw_device", "vaapi=va:{}", "-init_hw_device", "qsv=qsv@va", "-filter_hw_device", "qsv"],
        options: &["-vf", "format=nv12,hwupload=extra_hw_frames=16"],
    },
    Family { name: "nvenc", before: &[], options: YUV420P },
    Family { name: "omx", before: &[], options: YUV420P },
    Family { name: "mmal", before: &[], options: YUV420P },
    Family { name: "rkmpp", before: &[], options: &["-pix_fmt", "nv12"] },
    Family { name: "amf", before: &[], options: YUV420P },
    Family { name: "vulkan", before: &["-init_hw_device", "vulkan"], options: &["-vf", "format=nv12,hwupload"] },
];

/// Bit per pixel and second at 30 frames a second: below what drivers refuse, above what hangs some (about 100 kbit/s).
const BITS_PER_PIXEL: u32 = 3;

/// Whether encoders whose names end so are hardware.
pub(super) fn is_hardware(family: &str) -> bool {
    FAMILIES.iter().any(|known| known.name == family)
}

impl Attempt {
    /// FFmpeg's arguments: a test picture, encoded, as raw stream on descriptor 3, each packet at once.
    pub(in crate::skills) fn command(&self) -> Vec<String> {
        let Size { width, height } = self.size;
        let family = self.encoder.split_once('_').map_or("", |(_, family)| family);
        let family = FAMILIES.iter().find(|known| known.name == family);
        let device = self.device.to_string_lossy();
        let mut command: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| command.extend(words.iter().map(|word| (*word).to_owned()));
        add(&["-hide_banner", "-nostdin", "-loglevel", "error"]);
        for word in family.map_or(&[][..], |family| family.before) {
            add(&[&word.replace("{}", &device)]);
        }
        add(&["-f", "lavfi", "-i", &format!("testsrc2=size={width}x{height}:rate=30")]);
        add(&["-frames:v", &FRAMES.to_string()]);
        add(family.map_or(YUV420P, |family| family.options));
        let bitrate = (width * height * BITS_PER_PIXEL).to_string();
        add(&["-c:v", &self.encoder, "-g", &GOP.to_string(), "-b:v", &bitrate]);
        add(&["-f", self.codec.name(), "-flush_packets", "1", &format!("pipe:{PROGRESS_FD}")]);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::super::SIZES;
    use super::*;

    #[track_caller]
    fn check(encoder: &str, codec: Codec, device: &str, expected: &str) {
        let attempt = Attempt { encoder: encoder.to_owned(), codec, device: device.into(), size: SIZES[0] };
        assert_eq!(attempt.command().join(" "), expected);
    }

    #[test]
    fn each_family_has_its_options() {
        check(
            "h264_v4l2m2m",
            Codec::H264,
            "/dev/video11",
            "-hide_banner -nostdin -loglevel error -f lavfi -i testsrc2=size=640x480:rate=30 -frames:v 60 -pix_fmt yuv420p \
             -c:v h264_v4l2m2m -g 15 -b:v 921600 -f h264 -flush_packets 1 pipe:3",
        );
        check(
            "hevc_vaapi",
            Codec::Hevc,
            "/dev/dri/renderD129",
            "-hide_banner -nostdin -loglevel error -vaapi_device /dev/dri/renderD129 -f lavfi \
             -i testsrc2=size=640x480:rate=30 -frames:v 60 -vf format=nv12,hwupload \
             -c:v hevc_vaapi -g 15 -b:v 921600 -f hevc -flush_packets 1 pipe:3",
        );
    }

    #[test]
    fn only_hardware_is_tried() {
        for encoder in ["h264_v4l2m2m", "h264_vaapi", "h264_qsv", "h264_nvenc", "h264_omx", "h264_mmal"] {
            assert_eq!(super::super::codec(encoder), Some(Codec::H264), "{encoder}");
        }
        assert_eq!(super::super::codec("hevc_v4l2m2m"), Some(Codec::Hevc));
        for encoder in ["libx264", "libx265", "mjpeg_vaapi", "h264_x", "h264", "libx264_vaapi", ""] {
            assert_eq!(super::super::codec(encoder), None, "{encoder}");
        }
    }
}
