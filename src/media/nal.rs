//! NAL units of H.264 and HEVC: what kind one is, which parameter sets it names, where one begins in a byte stream.
//!
//! Sources: H.264 §7.3, annex B; HEVC §7.3, annex B. Extensions (SVC, MVC, layers of HEVC) are `Other`: their base layer
//! decodes alone.

use memchr::memmem;

use super::bits::Bits;

/// Video codecs whose pictures need parameter sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    H264,
    Hevc,
}

impl Codec {
    /// The codec that FFmpeg calls so.
    pub fn named(name: &str) -> Option<Self> {
        [Self::H264, Self::Hevc].into_iter().find(|codec| codec.name() == name)
    }

    /// What FFmpeg calls it, as codec and as format of a raw stream.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Hevc => "hevc",
        }
    }
}

/// A kind of parameter set, in the order in which they depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Vps,
    Sps,
    Pps,
}

/// Which set one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) kind: Kind,
    pub(super) id: u32,
    /// The set that it refers to: the SPS of a PPS, the VPS of an SPS.
    pub(super) parent: Option<u32>,
}

/// The head of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// It is the first of its picture.
    pub(super) is_first: bool,
    /// Decoding may begin with its picture: IDR (H.264), IRAP (HEVC).
    pub(super) is_random_access: bool,
    /// Its picture consists of intra slices, as far as this one tells.
    pub(super) is_intra: bool,
    /// The PPS that it uses.
    pub(super) pps: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Set(Name),
    Delimiter,
    /// The point from which decoding becomes right, as supplemental information.
    Recovery,
    Slice(Slice),
    Other,
}

/// Bytes of a slice that `Unit::read` needs at most: NAL header, three numbers of at most 17 bits, emulation prevention.
pub(super) const SLICE_HEAD: usize = 12;
/// Largest id of a PPS in H.264; of others, and in HEVC, it is smaller.
const IDS: u32 = 256;

/// Where the next start code (`00 00 01`) begins, from `from` on.
pub(super) fn start_code(finder: &memmem::Finder<'_>, bytes: &[u8], from: usize) -> Option<usize> {
    finder.find(bytes.get(from..)?).map(|at| from + at)
}

/// Finds start codes.
pub(super) fn start_codes() -> memmem::Finder<'static> {
    memmem::Finder::new(&[0, 0, 1])
}

/// Whether the NAL unit that begins with these bytes is part of a picture; `None`: too short to know.
pub(super) fn is_slice(codec: Codec, nal: &[u8]) -> Option<bool> {
    let first = *nal.first()?;
    Some(match codec {
        Codec::H264 => matches!(first & 0x1f, 1..=5),
        Codec::Hevc => first >> 1 & 0x3f < 32,
    })
}

impl Unit {
    /// Reads a NAL unit without its start code or length. What can't be read is `Other`.
    pub(super) fn read(codec: Codec, nal: &[u8]) -> Self {
        let unit = match codec {
            Codec::H264 => h264(nal),
            Codec::Hevc => hevc(nal),
        };
        unit.unwrap_or(Self::Other)
    }
}

fn h264(nal: &[u8]) -> Option<Unit> {
    let (header, body) = nal.split_first()?;
    let mut bits = Bits::new(body);
    Some(match header & 0x1f {
        kind @ (1 | 2 | 5) => {
            let is_first = bits.golomb()? == 0;
            let is_intra = matches!(bits.golomb()?, 2 | 4 | 7 | 9);
            let pps = bits.golomb()?;
            Unit::Slice(Slice { is_first, is_random_access: kind == 5, is_intra, pps })
        }
        6 if has_recovery_point(&mut bits) => Unit::Recovery,
        7 => {
            bits.skip(24)?;
            set(Kind::Sps, bits.golomb()?, None)?
        }
        8 => set(Kind::Pps, bits.golomb()?, Some(bits.golomb()?))?,
        9 => Unit::Delimiter,
        _ => Unit::Other,
    })
}

fn hevc(nal: &[u8]) -> Option<Unit> {
    let (header, body) = nal.split_at_checked(2)?;
    let layer = (header[0] & 1) << 5 | header[1] >> 3;
    if layer != 0 {
        return None;
    }
    let mut bits = Bits::new(body);
    Some(match header[0] >> 1 & 0x3f {
        kind @ (0..=9 | 16..=21) => {
            let is_random_access = kind >= 16;
            let is_first = bits.flag()?;
            if is_random_access {
                bits.skip(1)?;
            }
            Unit::Slice(Slice { is_first, is_random_access, is_intra: is_random_access, pps: bits.golomb()? })
        }
        32 => set(Kind::Vps, bits.read(4)?, None)?,
        33 => {
            let vps = bits.read(4)?;
            profile_tier_level(&mut bits)?;
            set(Kind::Sps, bits.golomb()?, Some(vps))?
        }
        34 => set(Kind::Pps, bits.golomb()?, Some(bits.golomb()?))?,
        35 => Unit::Delimiter,
        _ => Unit::Other,
    })
}

fn set(kind: Kind, id: u32, parent: Option<u32>) -> Option<Unit> {
    (id < IDS).then_some(Unit::Set(Name { kind, id, parent }))
}

/// From `sps_max_sub_layers_minus1` to the end of `profile_tier_level`. Source: HEVC §7.3.2.2, §7.3.3.
pub(super) fn profile_tier_level(bits: &mut Bits<'_>) -> Option<()> {
    let sub_layers = bits.read(3)?;
    bits.skip(1 + 88 + 8)?;
    if sub_layers == 0 {
        return Some(());
    }
    let mut more = 0;
    for _ in 0..sub_layers {
        more += 88 * bits.read(1)? + 8 * bits.read(1)?;
    }
    bits.skip(2 * 8u32.saturating_sub(sub_layers) + more)
}

/// Whether one of the messages is a recovery point (payload type 6). Source: H.264 §7.3.2.3.1.
fn has_recovery_point(bits: &mut Bits<'_>) -> bool {
    let number = |bits: &mut Bits<'_>| {
        let mut sum = 0u32;
        loop {
            let byte = bits.byte()?;
            sum = sum.checked_add(byte.into())?;
            if byte != 0xff {
                return Some(sum);
            }
        }
    };
    loop {
        match number(bits) {
            Some(6) => return true,
            Some(_) => {}
            None => return false,
        }
        let Some(()) = number(bits).and_then(|size| bits.skip(size.checked_mul(8)?)) else { return false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(codec: Codec, nal: &[u8], expected: Unit) {
        assert_eq!(Unit::read(codec, nal), expected);
    }

    fn slice(is_first: bool, is_random_access: bool, is_intra: bool, pps: u32) -> Unit {
        Unit::Slice(Slice { is_first, is_random_access, is_intra, pps })
    }

    #[test]
    fn units_of_h264() {
        let codec = Codec::H264;
        let sps = |id| Unit::Set(Name { kind: Kind::Sps, id, parent: None });
        check(codec, &[0x67, 0x64, 0, 0x1f, 0xac, 0xd9], sps(0));
        // An emulation prevention byte stands before the id.
        check(codec, &[0x67, 0x42, 0, 0, 3, 0b0110_0000], sps(2));
        check(codec, &[0x27, 0x42, 0xc0, 0x1f, 0b0110_0000], sps(2));
        check(codec, &[0x68, 0xeb], Unit::Set(Name { kind: Kind::Pps, id: 0, parent: Some(0) }));
        check(codec, &[0x68, 0b0100_1100], Unit::Set(Name { kind: Kind::Pps, id: 1, parent: Some(2) }));
        check(codec, &[0x68], Unit::Other);
        check(codec, &[0x09, 0xf0], Unit::Delimiter);
        check(codec, &[0x65, 0x88, 0x84], slice(true, true, true, 0));
        check(codec, &[0x41, 0x9a, 0x24], slice(true, false, false, 0));
        check(codec, &[0x41, 0b0101_0100], slice(false, false, false, 1));
        check(codec, &[6, 5, 3, 1, 2, 3, 6, 1, 0xc4, 0x80], Unit::Recovery);
        check(codec, &[6, 5, 3, 1, 2, 3, 0x80], Unit::Other);
        check(codec, &[6, 0xff, 0xff], Unit::Other);
        check(codec, &[], Unit::Other);
    }

    #[test]
    fn units_of_hevc() {
        let codec = Codec::Hevc;
        // As x265 writes them.
        let vps = [0x40, 1, 0x0c, 1, 0xff, 0xff, 1, 0x60, 0, 0, 3];
        check(codec, &vps, Unit::Set(Name { kind: Kind::Vps, id: 0, parent: None }));
        let sps = [0x42, 1, 1, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x3c, 0xa0];
        check(codec, &sps, Unit::Set(Name { kind: Kind::Sps, id: 0, parent: Some(0) }));
        check(codec, &sps[..17], Unit::Other);
        check(codec, &[0x44, 1, 0xc1], Unit::Set(Name { kind: Kind::Pps, id: 0, parent: Some(0) }));
        check(codec, &[0x46, 1, 0x50], Unit::Delimiter);
        check(codec, &[0x28, 1, 0xaf], slice(true, true, true, 0));
        check(codec, &[0x2a, 1, 0x2f], slice(false, true, true, 0));
        check(codec, &[0x02, 1, 0xd0], slice(true, false, false, 0));
        check(codec, &[0x43, 1, 1, 1], Unit::Other);
        assert_eq!(is_slice(codec, &[0x28]), Some(true));
        assert_eq!(is_slice(codec, &[0x46]), Some(false));
    }
}
