//! Decoder configuration records: the parameter sets of a stream whose NAL units carry their lengths.
//!
//! Sources: ISO/IEC 14496-15 §5.3.3.1 (`avcC`), §8.3.3.1 (`hvcC`).

use super::bits::Bits;
use super::nal::{Codec, Kind, Unit, profile_tier_level};
use super::sets::Sets;

/// Bytes of a length where no record says otherwise.
pub(super) const LENGTH_SIZE: usize = 4;

/// Offsets of the length size in the records.
const AVC_LENGTH: usize = 4;
const HEVC_LENGTH: usize = 21;

/// Reads a record: its sets into `sets`. Returns the bytes of a length; `None` if it is no complete record.
pub(super) fn read(codec: Codec, record: &[u8], sets: &mut Sets) -> Option<usize> {
    let (length_at, mut rest) = match codec {
        Codec::H264 => (AVC_LENGTH, record.get(AVC_LENGTH + 1..)?),
        Codec::Hevc => (HEVC_LENGTH, record.get(HEVC_LENGTH + 2..)?),
    };
    let arrays = match codec {
        Codec::H264 => 2,
        Codec::Hevc => record[HEVC_LENGTH + 1],
    };
    for array in 0..arrays {
        let count = match codec {
            Codec::H264 => {
                let (count, after) = rest.split_first()?;
                rest = after;
                u16::from(if array == 0 { count & 0x1f } else { *count })
            }
            Codec::Hevc => {
                let ([_, high, low], after) = rest.split_first_chunk()?;
                rest = after;
                u16::from_be_bytes([*high, *low])
            }
        };
        for _ in 0..count {
            let (length, after) = rest.split_first_chunk()?;
            let (nal, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
            rest = after;
            if let Unit::Set(name) = Unit::read(codec, nal) {
                sets.observe(codec, name, nal);
            }
        }
    }
    Some(usize::from(record[length_at] & 3) + 1)
}

/// Makes the record of `sets`; `None` if they are not complete, or can't be read.
pub(super) fn write(codec: Codec, sets: &Sets, length_size: usize) -> Option<Vec<u8>> {
    let length = u8::try_from(length_size.checked_sub(1)?).ok().filter(|length| *length < 4)?;
    match codec {
        Codec::H264 => avc(sets, length),
        Codec::Hevc => hevc(sets, length),
    }
}

fn avc(sets: &Sets, length: u8) -> Option<Vec<u8>> {
    let sps = sets.first(Kind::Sps)?;
    let profile: &[u8; 3] = sps.get(1..)?.first_chunk()?;
    let mut out = vec![1];
    out.extend_from_slice(profile);
    out.push(0xfc | length);
    sets.write(Kind::Sps, 31, &mut out, |count, out| out.push(0xe0 | count))?;
    sets.write(Kind::Pps, 255, &mut out, |count, out| out.push(count))?;
    if profile[0] >= 100 {
        let mut bits = Bits::new(&sps[4..]);
        bits.golomb()?;
        let (chroma, [luma_depth, chroma_depth]) = formats(&mut bits, |_| Some(()))?;
        out.extend_from_slice(&[0xfc | chroma, 0xf8 | luma_depth, 0xf8 | chroma_depth, 0]);
    }
    Some(out)
}

fn hevc(sets: &Sets, length: u8) -> Option<Vec<u8>> {
    let sps = sets.first(Kind::Sps)?.get(2..)?;
    let mut bits = Bits::new(sps);
    bits.read(4)?;
    let layers = bits.read(3)?;
    let is_nested = bits.read(1)?;
    let mut out = vec![1];
    // Profile, compatibility, constraints, level.
    for _ in 0..12 {
        out.push(bits.byte()?);
    }
    let mut bits = Bits::new(sps);
    bits.read(4)?;
    profile_tier_level(&mut bits)?;
    bits.golomb()?;
    let window = |bits: &mut Bits<'_>| {
        bits.golomb()?;
        bits.golomb()?;
        if bits.flag()? {
            for _ in 0..4 {
                bits.golomb()?;
            }
        }
        Some(())
    };
    let (chroma, [luma_depth, chroma_depth]) = formats(&mut bits, window)?;
    let temporal = u8::try_from((layers + 1) << 3 | is_nested << 2).ok()?;
    let fixed = [0xf0, 0, 0xfc, 0xfc | chroma, 0xf8 | luma_depth, 0xf8 | chroma_depth, 0, 0, temporal | length, 3];
    out.extend_from_slice(&fixed);
    for (kind, unit) in [(Kind::Vps, 32), (Kind::Sps, 33), (Kind::Pps, 34)] {
        // Complete: the stream may bring more of them all the same.
        sets.write(kind, 255, &mut out, |count, out| out.extend_from_slice(&[unit, 0, count]))?;
    }
    Some(out)
}

/// Chroma format and the depths of luma and chroma beyond 8 bits, from `chroma_format_idc` on; `between` skips what
/// stands between them.
fn formats(bits: &mut Bits<'_>, between: impl Fn(&mut Bits<'_>) -> Option<()>) -> Option<(u8, [u8; 2])> {
    let small = |value: u32, limit: u8| u8::try_from(value).ok().filter(|value| *value < limit);
    let chroma = small(bits.golomb()?, 4)?;
    if chroma == 3 {
        bits.flag()?;
    }
    between(bits)?;
    Some((chroma, [small(bits.golomb()?, 8)?, small(bits.golomb()?, 8)?]))
}
