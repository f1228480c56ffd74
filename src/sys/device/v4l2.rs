//! What a V4L2 node answers when it is asked what it is and can (`linux/videodev2.h`), as plain values.
//!
//! descriptor → `query` → `Video`. Structures and numbers come from the crate `v4l`, which makes them from the kernel's
//! header for the platform that is built for; its safe wrappers know one kind of queue only and panic on foreign texts.
//! Enumerations end at the first refusal or at their bound. Nothing is set, nothing streams.

use std::ffi::c_void;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd};

use v4l::v4l_sys::{
    V4L2_CTRL_FLAG_DISABLED, V4L2_CTRL_FLAG_NEXT_COMPOUND, V4L2_CTRL_FLAG_NEXT_CTRL, v4l2_capability, v4l2_fmtdesc,
    v4l2_fract, v4l2_frmivalenum, v4l2_frmsizeenum, v4l2_input, v4l2_query_ext_ctrl, v4l2_querymenu,
};
use v4l::v4l2::{ioctl, vidioc};

/// Formats of one queue.
pub const FORMATS: u32 = 128;
/// Frame sizes of one format.
pub const SIZES: u32 = 64;
/// Frame intervals of one size.
pub const INTERVALS: u32 = 64;
pub const CONTROLS: usize = 256;
/// Items of one menu; vivid has one of 111 (`DV Timings`).
pub const MENU_ITEMS: u32 = 128;
pub const INPUTS: u32 = 32;

/// `enum v4l2_buf_type`: the queues that carry pictures.
pub const CAPTURE: u32 = 1;
pub const OUTPUT: u32 = 2;
pub const CAPTURE_PLANES: u32 = 9;
pub const OUTPUT_PLANES: u32 = 10;

/// `enum v4l2_frmsizetypes` and `v4l2_frmivaltypes` count alike.
const DISCRETE: u32 = 1;
/// `enum v4l2_ctrl_type`.
const MENU: u32 = 3;
const CONTROL_CLASS: u32 = 6;
const INTEGER_MENU: u32 = 9;

/// A node: VIDIOC_QUERYCAP and all that can be listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Video {
    pub driver: String,
    pub card: String,
    pub bus: String,
    /// Of the physical device.
    pub capabilities: u32,
    /// Of this node; 0 from drivers that do not tell the two apart.
    pub device_caps: u32,
    pub formats: Vec<Format>,
    pub inputs: Vec<Input>,
    pub controls: Vec<Control>,
}

/// A pixel format or codec of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// `enum v4l2_buf_type`.
    pub queue: u32,
    pub fourcc: String,
    pub description: String,
    /// V4L2_FMT_FLAG_…: bit 0 compressed, bit 1 emulated.
    pub flags: u32,
    pub sizes: Vec<Size>,
}

/// Pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Size {
    Discrete {
        width: u32,
        height: u32,
        intervals: Vec<Interval>,
    },
    /// Width and height from `min` to `max` in steps.
    Range {
        min: (u32, u32),
        max: (u32, u32),
        step: (u32, u32),
    },
}

/// Seconds between frames, as numerator and denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    Discrete((u32, u32)),
    /// The shortest, the longest.
    Range {
        min: (u32, u32),
        max: (u32, u32),
    },
}

/// One of several sources of a grabber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub name: String,
    /// V4L2_INPUT_TYPE_…: 1 tuner, 2 camera or line in, 3 touch.
    pub kind: u32,
    /// Bits of analogue standards (V4L2_STD_…); 0: none.
    pub standards: u64,
}

/// Something that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    pub id: u32,
    pub name: String,
    /// `enum v4l2_ctrl_type`.
    pub kind: u32,
    pub min: i64,
    pub max: i64,
    pub step: u64,
    pub default: i64,
    pub flags: u32,
    /// Index and text, for menus.
    pub menu: Vec<(u32, String)>,
}

/// Asks the node behind `device` everything.
///
/// # Errors
/// VIDIOC_QUERYCAP failed: it is no V4L2 node, or it has gone.
pub fn query(device: BorrowedFd<'_>) -> io::Result<Video> {
    // SAFETY: plain C structures of numbers, here and below, for which zeros are a value.
    let mut caps: v4l2_capability = unsafe { zeroed() };
    ask(device, vidioc::VIDIOC_QUERYCAP, &mut caps)?;
    let queues = [CAPTURE, OUTPUT, CAPTURE_PLANES, OUTPUT_PLANES];
    Ok(Video {
        driver: text(&caps.driver),
        card: text(&caps.card),
        bus: text(&caps.bus_info),
        capabilities: caps.capabilities,
        device_caps: caps.device_caps,
        formats: queues.into_iter().flat_map(|queue| formats(device, queue)).collect(),
        inputs: inputs(device),
        controls: controls(device),
    })
}

fn formats(device: BorrowedFd<'_>, queue: u32) -> Vec<Format> {
    let mut found = Vec::new();
    for index in 0..FORMATS {
        // SAFETY: as in `query`.
        let mut format: v4l2_fmtdesc = unsafe { zeroed() };
        (format.index, format.type_) = (index, queue);
        if ask(device, vidioc::VIDIOC_ENUM_FMT, &mut format).is_err() {
            break;
        }
        found.push(Format {
            queue,
            fourcc: fourcc(format.pixelformat),
            description: text(&format.description),
            flags: format.flags,
            sizes: sizes(device, format.pixelformat),
        });
    }
    found
}

fn sizes(device: BorrowedFd<'_>, pixel_format: u32) -> Vec<Size> {
    let mut found = Vec::new();
    for index in 0..SIZES {
        // SAFETY: as in `query`.
        let mut size: v4l2_frmsizeenum = unsafe { zeroed() };
        (size.index, size.pixel_format) = (index, pixel_format);
        if ask(device, vidioc::VIDIOC_ENUM_FRAMESIZES, &mut size).is_err() {
            break;
        }
        if size.type_ != DISCRETE {
            // SAFETY: the type says which member the kernel wrote; both are numbers.
            let range = unsafe { size.__bindgen_anon_1.stepwise };
            found.push(Size::Range {
                min: (range.min_width, range.min_height),
                max: (range.max_width, range.max_height),
                step: (range.step_width, range.step_height),
            });
            // There is no second one (VIDIOC_ENUM_FRAMESIZES).
            break;
        }
        // SAFETY: as above.
        let one = unsafe { size.__bindgen_anon_1.discrete };
        let intervals = intervals(device, pixel_format, one.width, one.height);
        found.push(Size::Discrete { width: one.width, height: one.height, intervals });
    }
    found
}

fn intervals(device: BorrowedFd<'_>, pixel_format: u32, width: u32, height: u32) -> Vec<Interval> {
    let fraction = |fraction: v4l2_fract| (fraction.numerator, fraction.denominator);
    let mut found = Vec::new();
    for index in 0..INTERVALS {
        // SAFETY: as in `query`.
        let mut interval: v4l2_frmivalenum = unsafe { zeroed() };
        (interval.index, interval.pixel_format) = (index, pixel_format);
        (interval.width, interval.height) = (width, height);
        if ask(device, vidioc::VIDIOC_ENUM_FRAMEINTERVALS, &mut interval).is_err() {
            break;
        }
        if interval.type_ != DISCRETE {
            // SAFETY: the type says which member the kernel wrote; both are numbers.
            let range = unsafe { interval.__bindgen_anon_1.stepwise };
            found.push(Interval::Range { min: fraction(range.min), max: fraction(range.max) });
            break;
        }
        // SAFETY: as above.
        found.push(Interval::Discrete(fraction(unsafe { interval.__bindgen_anon_1.discrete })));
    }
    found
}

fn inputs(device: BorrowedFd<'_>) -> Vec<Input> {
    let mut found = Vec::new();
    for index in 0..INPUTS {
        // SAFETY: as in `query`.
        let mut input: v4l2_input = unsafe { zeroed() };
        input.index = index;
        if ask(device, vidioc::VIDIOC_ENUMINPUT, &mut input).is_err() {
            break;
        }
        found.push(Input { name: text(&input.name), kind: input.type_, standards: input.std });
    }
    found
}

fn controls(device: BorrowedFd<'_>) -> Vec<Control> {
    let mut found: Vec<Control> = Vec::new();
    let mut last = 0;
    while found.len() < CONTROLS {
        // SAFETY: as in `query`.
        let mut control: v4l2_query_ext_ctrl = unsafe { zeroed() };
        control.id = last | V4L2_CTRL_FLAG_NEXT_CTRL | V4L2_CTRL_FLAG_NEXT_COMPOUND;
        // A driver that does not count up would hold us here for ever.
        if ask(device, vidioc::VIDIOC_QUERY_EXT_CTRL, &mut control).is_err() || control.id <= last {
            break;
        }
        last = control.id;
        if control.type_ == CONTROL_CLASS || control.flags & V4L2_CTRL_FLAG_DISABLED != 0 {
            continue;
        }
        let name: Vec<u8> = control.name.iter().map(|letter| letter.to_ne_bytes()[0]).collect();
        found.push(Control {
            id: control.id,
            name: text(&name),
            kind: control.type_,
            min: control.minimum,
            max: control.maximum,
            step: control.step,
            default: control.default_value,
            flags: control.flags,
            menu: menu(device, &control),
        });
    }
    found
}

fn menu(device: BorrowedFd<'_>, control: &v4l2_query_ext_ctrl) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    if ![MENU, INTEGER_MENU].contains(&control.type_) {
        return found;
    }
    let first = u32::try_from(control.minimum).unwrap_or(0);
    let last = u32::try_from(control.maximum).unwrap_or(0);
    for index in (first..=last).take(MENU_ITEMS as usize) {
        // SAFETY: as in `query`.
        let mut item: v4l2_querymenu = unsafe { zeroed() };
        (item.id, item.index) = (control.id, index);
        // Menus have holes.
        if ask(device, vidioc::VIDIOC_QUERYMENU, &mut item).is_err() {
            continue;
        }
        // SAFETY: the type of the control says which member the kernel wrote; both are plain bytes.
        let name = unsafe {
            match control.type_ {
                INTEGER_MENU => { item.__bindgen_anon_1.value }.to_string(),
                _ => text(&{ item.__bindgen_anon_1.name }),
            }
        };
        found.push((index, name));
    }
    found
}

/// One ioctl; again when a signal came between.
fn ask<T>(device: BorrowedFd<'_>, request: vidioc::_IOC_TYPE, value: &mut T) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open for the borrow; `request` carries the size of `T`, which the kernel fills.
        let result = unsafe { ioctl(device.as_raw_fd(), request, (&raw mut *value).cast::<c_void>()) };
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// A text that ends at its first zero; drivers write what they like.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned()
}

/// `v4l2_fourcc`: four letters, the lowest byte first. Bit 31 marks big-endian formats, which are written as `-BE`
/// behind the letters, as v4l2-ctl does.
fn fourcc(format: u32) -> String {
    const BIG_ENDIAN: u32 = 1 << 31;
    let letters = text(&(format & !BIG_ENDIAN).to_le_bytes());
    if format & BIG_ENDIAN == 0 { letters } else { format!("{letters}-BE") }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_no_video_node_is_an_error() {
        let null = File::open("/dev/null").expect("every system has it");
        assert!(query(null.as_fd()).is_err());
    }

    #[test]
    fn texts_and_codes() {
        assert_eq!(text(b"uvc\xffvideo\0garbage"), "uvc\u{fffd}video");
        assert_eq!(fourcc(u32::from_le_bytes(*b"H264")), "H264");
        assert_eq!(fourcc(u32::from_le_bytes(*b"Y16 ") | 1 << 31), "Y16-BE");
        assert_eq!(fourcc(u32::from_le_bytes(*b"Y10 ")), "Y10");
    }

    /// `linux/videodev2.h`: numbers carry the sizes of their structures, which differ between platforms in none of these.
    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(vidioc::VIDIOC_QUERYCAP, 0x8068_5600);
        assert_eq!(vidioc::VIDIOC_ENUM_FMT, 0xc040_5602);
        assert_eq!(vidioc::VIDIOC_ENUM_FRAMESIZES, 0xc02c_564a);
        assert_eq!(vidioc::VIDIOC_ENUM_FRAMEINTERVALS, 0xc034_564b);
        assert_eq!(vidioc::VIDIOC_QUERY_EXT_CTRL, 0xc0e8_5667);
        assert_eq!(vidioc::VIDIOC_QUERYMENU, 0xc02c_5625);
    }
}
