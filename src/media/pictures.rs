//! The pictures of a byte stream (annex B): which are key frames, and which of those bring their parameter sets along.
//!
//! bytes, in pieces → start codes → heads of NAL units → `Picture`s. Keeps `HEAD` bytes of one unit at a time, whatever
//! the stream's size. Sets that came with an earlier picture do not count: a viewer who joins here has not seen them.

use super::nal::{self, Codec, SLICE_HEAD, Unit};
use super::sets::Sets;

/// Bytes of a NAL unit that are kept: more than the names in any parameter set need.
const HEAD: usize = 256;

/// One coded picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Decoding may begin with it.
    pub is_key: bool,
    /// All parameter sets that it needs stand before it, after the picture before.
    pub has_sets: bool,
}

/// Reads one stream.
pub struct Pictures {
    codec: Codec,
    head: Vec<u8>,
    /// Inside of a NAL unit that still matters.
    is_open: bool,
    zeros: u8,
    sets: Sets,
    has_recovery_point: bool,
}

impl Pictures {
    pub fn new(codec: Codec) -> Self {
        let head = Vec::with_capacity(HEAD);
        Self { codec, head, is_open: false, zeros: 0, sets: Sets::default(), has_recovery_point: false }
    }

    /// Takes the next bytes and hands over every picture that begins in them.
    pub fn feed(&mut self, bytes: &[u8], mut picture: impl FnMut(Picture)) {
        for &byte in bytes {
            if byte == 1 && self.zeros >= 2 {
                self.finish(&mut picture);
                self.is_open = true;
                self.zeros = 0;
                continue;
            }
            self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
            if !self.is_open {
                continue;
            }
            self.head.push(byte);
            let is_enough = match self.head.len() {
                HEAD => true,
                SLICE_HEAD => nal::is_slice(self.codec, &self.head) == Some(true),
                _ => false,
            };
            if is_enough {
                self.finish(&mut picture);
            }
        }
    }

    /// The NAL unit that was begun is over: at the end of the stream, or as far as it matters.
    pub fn finish(&mut self, mut picture: impl FnMut(Picture)) {
        if !std::mem::replace(&mut self.is_open, false) {
            return;
        }
        match Unit::read(self.codec, &self.head) {
            Unit::Set(name) => drop(self.sets.observe(self.codec, name, &self.head)),
            Unit::Recovery => self.has_recovery_point = true,
            Unit::Slice(slice) if slice.is_first => {
                let is_key = slice.is_random_access || self.has_recovery_point;
                picture(Picture { is_key, has_sets: self.sets.needed(self.codec, slice).is_some() });
                self.sets = Sets::default();
                self.has_recovery_point = false;
            }
            Unit::Slice(_) | Unit::Delimiter | Unit::Other => {}
        }
        self.head.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: &[u8] = &[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0b1000_0000];
    const PPS: &[u8] = &[0, 0, 0, 1, 0x68, 0b1110_0000];
    const IDR: &[u8] = &[0, 0, 1, 0x65, 0x88, 0x84, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    const SECOND_SLICE: &[u8] = &[0, 0, 1, 0x65, 0b0100_1000, 0x84];
    const FRAME: &[u8] = &[0, 0, 0, 1, 0x41, 0x9a, 0x24];
    const RECOVERY: &[u8] = &[0, 0, 1, 6, 6, 1, 0xc4, 0x80];

    /// One letter per picture: `K` a key frame with its sets, `k` one without, `p` any other.
    #[track_caller]
    fn check(units: &[&[u8]], expected: &str) {
        let bytes = units.concat();
        for piece in [1, 2, 5, bytes.len().max(1)] {
            let (mut pictures, mut found) = (Pictures::new(Codec::H264), String::new());
            let mut letter = |picture: Picture| {
                found.push(match (picture.is_key, picture.has_sets) {
                    (true, true) => 'K',
                    (true, false) => 'k',
                    (false, _) => 'p',
                });
            };
            bytes.chunks(piece).for_each(|bytes| pictures.feed(bytes, &mut letter));
            pictures.finish(&mut letter);
            assert_eq!(found, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn sets_count_for_the_next_picture_only() {
        check(&[SPS, PPS, IDR, FRAME, FRAME, SPS, PPS, IDR, FRAME], "KppKp");
        check(&[SPS, PPS, IDR, FRAME, IDR, FRAME, PPS, IDR], "Kpkpk");
        check(&[IDR, FRAME], "kp");
        check(&[SPS, PPS, IDR, SECOND_SLICE, FRAME], "Kp");
    }

    #[test]
    fn a_recovery_point_is_a_key_frame() {
        check(&[SPS, PPS, RECOVERY, FRAME, FRAME], "Kp");
    }

    #[test]
    fn what_is_no_stream_has_no_pictures() {
        check(&[b"Invalid data found when processing input"], "");
        check(&[], "");
        check(&[&[0; 999]], "");
        check(&[&[0, 0, 1], &[0x1f; 999]], "");
    }
}
