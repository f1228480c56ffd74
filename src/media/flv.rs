//! Bodies of RTMP's video messages, as in FLV: the sequence headers that late viewers lack.
//!
//! What a late viewer needs. It gets the channel's last sequence header and begins with a key frame; decoders take the
//! sets from that header, and without one they do not even know that NAL units carry lengths. So sets that are only
//! inside of frames (the header is absent, empty, or older than the sets that came since) are lost to it, however often
//! they were repeated. The repair therefore makes a header of the sets that have passed and lets it go before the key
//! frame that changed them; the relay keeps it as any other header. The frames themselves need nothing put in: they
//! stay as they are, and viewers who were there get a header that says what they know.
//!
//! Sources: Adobe Flash Video File Format 10.1 annex E; Enhanced RTMP v2. Several tracks in one message are not looked
//! into, nor are frames with start codes instead of lengths.

use bytes::Bytes;

use super::nal::{Codec, Unit};
use super::records;
use super::repairs::Repair;
use super::sets::Sets;

/// What a video message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Video {
    kind: Kind,
    /// Decoding may begin here.
    is_key: bool,
    /// The codec, if we can read its frames.
    codec: Option<Codec>,
    /// Where record or frame begin.
    at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The decoder's configuration.
    Header,
    Frame,
    /// Ends of sequences, metadata, commands.
    Other,
}

impl Video {
    /// Reads the head of a message; `None` if it is too short.
    fn read(body: &[u8]) -> Option<Self> {
        let first = *body.first()?;
        if first & 0x80 != 0 { Self::enhanced(body) } else { Self::classic(first, body) }
    }

    fn classic(first: u8, body: &[u8]) -> Option<Self> {
        let codec = match first & 0x0f {
            7 => Codec::H264,
            // Not in the specification, but in use.
            12 => Codec::Hevc,
            _ => {
                let kind = if first >> 4 == COMMAND { Kind::Other } else { Kind::Frame };
                return Some(Self { kind, is_key: first >> 4 == KEY, codec: None, at: 1 });
            }
        };
        let kind = match *body.get(1)? {
            0 => Kind::Header,
            1 if first >> 4 != COMMAND => Kind::Frame,
            _ => Kind::Other,
        };
        let is_key = kind == Kind::Frame && first >> 4 == KEY;
        // Packet type and composition time.
        Some(Self { kind, is_key, codec: Some(codec), at: 5 })
    }

    fn enhanced(body: &[u8]) -> Option<Self> {
        let frame = body[0] >> 4 & 7;
        let mut packet = body[0] & 0x0f;
        let mut at = 1;
        // Modifiers: a size (less one), data, and the type of what follows.
        while packet == MODIFIED {
            let short = usize::from(*body.get(at)?) + 1;
            at += 1;
            let size = if short < 256 {
                short
            } else {
                at += 2;
                usize::from(u16::from_be_bytes(*body.get(at - 2..)?.first_chunk()?)) + 1
            };
            at += size;
            packet = body.get(at)? & 0x0f;
            at += 1;
        }
        let four: &[u8; 4] = body.get(at..)?.first_chunk()?;
        let codec = match (packet, four) {
            (MULTITRACK, _) => None,
            (_, b"avc1") => Some(Codec::H264),
            (_, b"hvc1") => Some(Codec::Hevc),
            _ => None,
        };
        // A message of several tracks is what the type in its next byte says.
        let inner = if packet == MULTITRACK { four[0] & 0x0f } else { packet };
        let kind = match inner {
            0 | 5 => Kind::Header,
            1 | 3 if frame != COMMAND => Kind::Frame,
            _ => Kind::Other,
        };
        // A composition time stands before those frames that may be reordered.
        let at = at + if inner == 1 && codec.is_some() { 7 } else { 4 };
        Some(Self { kind, is_key: kind == Kind::Frame && frame == KEY, codec, at })
    }
}

/// Frame types.
const KEY: u8 = 1;
const COMMAND: u8 = 5;
/// Packet types of enhanced RTMP.
const MULTITRACK: u8 = 6;
const MODIFIED: u8 = 7;

/// The sequence headers of one channel.
pub struct Headers {
    repair: Repair,
    length_size: usize,
    /// Frames have brought sets that no header knows.
    is_stale: bool,
}

impl Headers {
    pub fn new(repair: Repair) -> Self {
        Self { repair, length_size: records::LENGTH_SIZE, is_stale: false }
    }

    /// Takes a video message. The body of a header that is to go before it, with the same time, if one is missing.
    pub fn push(&mut self, body: &[u8]) -> Option<Bytes> {
        let video = Video::read(body)?;
        let (codec, payload) = (video.codec?, body.get(video.at..)?);
        match video.kind {
            Kind::Header => self.header(codec, payload),
            Kind::Frame => return self.frame(codec, video.is_key, body, payload),
            Kind::Other => {}
        }
        None
    }

    fn header(&mut self, codec: Codec, record: &[u8]) {
        let mut sets = Sets::default();
        if let Some(length_size) = records::read(codec, record, &mut sets) {
            self.length_size = length_size;
        }
        let mut known = self.repair.sets.borrow_mut();
        // One that says nothing does not take back what frames have shown.
        self.is_stale = sets.is_empty() && !known.is_empty();
        if !sets.is_empty() {
            *known = sets;
        }
    }

    fn frame(&mut self, codec: Codec, is_key: bool, body: &[u8], payload: &[u8]) -> Option<Bytes> {
        let mut sets = self.repair.sets.borrow_mut();
        for nal in (Units { rest: payload, length_size: self.length_size }) {
            match Unit::read(codec, nal) {
                Unit::Set(name) => self.is_stale |= sets.observe(codec, name, nal),
                Unit::Slice(slice) => {
                    let is_wanted = self.is_stale && is_key && slice.is_first;
                    sets.needed(codec, slice).filter(|_| is_wanted)?;
                    let record = records::write(codec, &sets, self.length_size)?;
                    self.is_stale = false;
                    self.repair.count();
                    return Some(head(codec, body[0]).into_iter().chain(record).collect());
                }
                _ => {}
            }
        }
        None
    }
}

/// What stands before a record, in the style of the frame whose first byte is `like`.
fn head(codec: Codec, like: u8) -> Vec<u8> {
    match (like & 0x80 != 0, codec) {
        (true, Codec::H264) => b"\x90avc1".to_vec(),
        (true, Codec::Hevc) => b"\x90hvc1".to_vec(),
        (false, _) => vec![KEY << 4 | like & 0x0f, 0, 0, 0, 0],
    }
}

/// NAL units with lengths; ends at the first that is not complete.
struct Units<'a> {
    rest: &'a [u8],
    length_size: usize,
}

impl<'a> Iterator for Units<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_at_checked(self.length_size)?;
        let length = length.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
        let (nal, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(nal)
    }
}

#[cfg(test)]
mod tests;
