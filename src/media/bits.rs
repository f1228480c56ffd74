//! Reads bits of a NAL unit's payload; emulation prevention bytes are left out on the way.

/// Source: H.264 §7.2, HEVC §7.2.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Next byte, and how many of its bits are taken.
    at: usize,
    taken: u8,
    /// Zero bytes in a row before `at`.
    zeros: u8,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, taken: 0, zeros: 0 }
    }

    fn bit(&mut self) -> Option<u32> {
        if self.taken == 0 && self.zeros >= 2 && self.bytes.get(self.at) == Some(&3) {
            self.at += 1;
            self.zeros = 0;
        }
        let byte = *self.bytes.get(self.at)?;
        let bit = byte >> (7 - self.taken) & 1;
        self.taken += 1;
        if self.taken == 8 {
            self.taken = 0;
            self.at += 1;
            self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        }
        Some(bit.into())
    }

    /// The next `count` bits, at most 32, as a number.
    pub(super) fn read(&mut self, count: u8) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | self.bit()?;
        }
        Some(value)
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        self.bit().map(|bit| bit == 1)
    }

    pub(super) fn skip(&mut self, count: u32) -> Option<()> {
        for _ in 0..count {
            self.bit()?;
        }
        Some(())
    }

    /// An Exp-Golomb number, `ue(v)`, below 2^31.
    pub(super) fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 30 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.read(zeros)?)
    }

    /// The next eight bits.
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.read(8).and_then(|value| u8::try_from(value).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_across_emulation_prevention() {
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0xff]);
        assert_eq!((bits.golomb(), bits.golomb(), bits.golomb()), (Some(0), Some(1), Some(2)));
        assert_eq!(bits.golomb(), Some(3));
        let mut bits = Bits::new(&[0, 0, 3, 1, 0, 0, 3, 3]);
        assert_eq!(bits.read(24), Some(1));
        assert_eq!(bits.read(24), Some(3));
        assert_eq!(bits.read(1), None);
        assert_eq!(Bits::new(&[0; 9]).golomb(), None);
        assert_eq!(Bits::new(&[]).flag(), None);
    }
}
