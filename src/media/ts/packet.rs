//! One packet of 188 bytes. Source: ISO/IEC 13818-1 §2.4.3.2 to §2.4.3.5.

/// Bytes.
pub const PACKET: usize = 188;

/// First byte of each packet.
pub(super) const SYNC: u8 = 0x47;
const HEADER: usize = 4;

/// A packet whose length and first byte have been checked.
#[derive(Clone, Copy)]
pub(super) struct Packet<'a>(&'a [u8; PACKET]);

impl<'a> Packet<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let bytes: &[u8; PACKET] = bytes.first_chunk()?;
        (bytes[0] == SYNC).then_some(Self(bytes))
    }

    pub(super) fn bytes(self) -> &'a [u8; PACKET] {
        self.0
    }

    pub(super) fn pid(self) -> u16 {
        u16::from_be_bytes([self.0[1], self.0[2]]) & 0x1fff
    }

    /// A PES packet or a section begins in it.
    pub(super) fn begins(self) -> bool {
        self.0[1] & 0x40 != 0
    }

    /// What it carries can be read: no transmission error, not scrambled.
    pub(super) fn is_clear(self) -> bool {
        self.0[1] & 0x80 == 0 && self.0[3] & 0xc0 == 0
    }

    /// Continuity counter, 0 to 15; grows with each packet of a PID that has a payload.
    pub(super) fn counter(self) -> u8 {
        self.0[3] & 0x0f
    }

    fn adaptation(self) -> usize {
        if self.0[3] & 0x20 == 0 { 0 } else { 1 + usize::from(self.0[HEADER]) }
    }

    /// The sender says that decoding may begin here.
    pub(super) fn is_random_access(self) -> bool {
        self.adaptation() > 1 && self.0[HEADER + 1] & 0x40 != 0
    }

    /// Where the payload begins; `PACKET` if there is none.
    pub(super) fn payload_at(self) -> usize {
        let at = HEADER + self.adaptation();
        if self.0[3] & 0x10 == 0 || at > PACKET { PACKET } else { at }
    }

    pub(super) fn payload(self) -> &'a [u8] {
        &self.0[self.payload_at()..]
    }
}
