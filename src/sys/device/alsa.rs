//! What an ALSA capture device can record (`sound/asound.h`, SNDRV_PCM_IOCTL_HW_REFINE): channels, rates, sample formats.
//!
//! The kernel narrows a space of parameters to what the hardware can do; nothing is set, nothing records.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Rates that are asked for one by one.
pub const RATES: [u32; 11] = [8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000];

/// Places of `masks` and `intervals`: SNDRV_PCM_HW_PARAM_FORMAT, …_CHANNELS and …_RATE less the first of their kind.
const FORMAT: usize = 1;
const CHANNELS: usize = 10 - 8;
const RATE: usize = 11 - 8;
/// SNDRV_PCM_FORMAT_… that FFmpeg's alsa reads, with their names there.
const FORMATS: [(u32, &str); 6] = [(1, "u8"), (2, "s16le"), (10, "s32le"), (14, "f32le"), (32, "s24le"), (3, "s16be")];

/// What a capture device can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pcm {
    pub min_channels: u32,
    pub max_channels: u32,
    /// Hz.
    pub min_rate: u32,
    pub max_rate: u32,
    /// Those of `RATES` that work.
    pub rates: Vec<u32>,
    /// In FFmpeg's words.
    pub formats: Vec<String>,
}

/// `struct snd_interval`; the bits are openmin, openmax, integer, empty.
#[repr(C)]
#[derive(Clone, Copy)]
struct Interval {
    min: u32,
    max: u32,
    bits: u32,
}

/// `struct snd_mask`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Mask {
    bits: [u32; 8],
}

/// `struct snd_pcm_hw_params`: 608 bytes with a long of 64 bits, 604 with one of 32.
#[repr(C)]
#[derive(Clone, Copy)]
struct Params {
    flags: u32,
    masks: [Mask; 3],
    reserved_masks: [Mask; 5],
    intervals: [Interval; 12],
    reserved_intervals: [Interval; 9],
    requested: u32,
    changed: u32,
    info: u32,
    significant_bits: u32,
    rate_numerator: u32,
    rate_denominator: u32,
    fifo_size: libc::c_ulong,
    reserved: [u8; 64],
}

impl Params {
    /// Anything.
    fn any() -> Self {
        let (mask, interval) = (Mask { bits: [u32::MAX; 8] }, Interval { min: 0, max: u32::MAX, bits: 0 });
        Self {
            flags: 0,
            masks: [mask; 3],
            reserved_masks: [Mask { bits: [0; 8] }; 5],
            intervals: [interval; 12],
            reserved_intervals: [Interval { min: 0, max: 0, bits: 0 }; 9],
            requested: u32::MAX,
            changed: 0,
            info: u32::MAX,
            significant_bits: 0,
            rate_numerator: 0,
            rate_denominator: 0,
            fifo_size: 0,
            reserved: [0; 64],
        }
    }

    fn refine(mut self, device: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: the descriptor is open for the borrow, the number carries the size of the structure that the kernel
        // reads and writes.
        let result = unsafe { libc::ioctl(device.as_raw_fd(), HW_REFINE as _, &raw mut self) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(self) }
    }
}

/// `_IOWR('A', 0x10, struct snd_pcm_hw_params)` (`asm-generic/ioctl.h`).
#[expect(clippy::cast_possible_truncation, reason = "a structure of some hundred bytes")]
const HW_REFINE: u32 = 3 << 30 | (size_of::<Params>() as u32) << 16 | (b'A' as u32) << 8 | 0x10;

/// Asks the capture device behind `device`.
///
/// # Errors
/// It is none, or it has gone.
pub fn query(device: BorrowedFd<'_>) -> io::Result<Pcm> {
    let all = Params::any().refine(device)?;
    let (channels, rate) = (all.intervals[CHANNELS], all.intervals[RATE]);
    let rates = RATES.into_iter().filter(|rate| {
        let mut params = Params::any();
        params.intervals[RATE] = Interval { min: *rate, max: *rate, bits: 0 };
        params.refine(device).is_ok()
    });
    let has = |format: u32| all.masks[FORMAT].bits[(format / 32) as usize] & 1 << (format % 32) != 0;
    Ok(Pcm {
        min_channels: channels.min,
        max_channels: channels.max,
        min_rate: rate.min,
        max_rate: rate.max,
        rates: rates.collect(),
        formats: FORMATS.iter().filter(|(format, _)| has(*format)).map(|(_, name)| (*name).to_owned()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_no_sound_device_is_an_error() {
        let null = File::open("/dev/null").expect("every system has it");
        assert!(query(null.as_fd()).is_err());
    }

    /// What a C compiler says of the kernel's header: 0xc2604110 for amd64 and arm64, 0xc25c4110 for 32-bit ARM.
    #[test]
    fn the_structure_is_the_kernels() {
        let (size, number) = if cfg!(target_pointer_width = "64") { (608, 0xc260_4110) } else { (604, 0xc25c_4110) };
        assert_eq!(size_of::<Params>(), size);
        assert_eq!(HW_REFINE, number);
    }
}
