//! What an audio or video message is, by its first bytes (FLV 10.1 annex E.4, Enhanced RTMP v1 and v2).
//!
//! Only what the relay has to know: is it a header, can decoding begin here, which codec. Bodies pass unchanged.

use crate::relay::Role;

/// Slots of headers in the relay: metadata, then video and audio by track.
pub(super) const METADATA_SLOT: u8 = 0;
const VIDEO_SLOT: u8 = 0x40;
const AUDIO_SLOT: u8 = 0x80;
const VIDEO_METADATA_SLOT: u8 = 0xC0;
const CHANNELS_SLOT: u8 = 0xE0;
/// Tracks with a slot of their own; further ones share them.
const TRACKS: u8 = 32;

/// A message, as the relay sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) role: Role,
    pub(super) codec: Codec,
}

/// A codec by its number in FLV, or by its FourCC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Audio(u8),
    Video(u8),
    FourCc([u8; 4]),
    /// Several at once.
    Many,
}

impl Codec {
    /// As Core logs it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Video(2) => "H263",
            Self::Video(4 | 5) => "VP6",
            Self::Video(7) => "H264",
            Self::Video(12) => "HEVC",
            Self::Audio(2 | 14) => "MP3",
            Self::Audio(7) => "G711A",
            Self::Audio(8) => "G711U",
            Self::Audio(10) => "AAC",
            Self::Audio(11) => "SPEEX",
            Self::FourCc(code) => match &code {
                b"avc1" => "H264",
                b"hvc1" => "HEVC",
                b"vvc1" => "VVC",
                b"vp08" => "VP8",
                b"vp09" => "VP9",
                b"av01" => "AV1",
                b"mp4a" => "AAC",
                b"Opus" => "OPUS",
                b"fLaC" => "FLAC",
                b"ac-3" => "AC3",
                b"ec-3" => "EAC3",
                b".mp3" => "MP3",
                _ => "UNKNOWN",
            },
            Self::Audio(_) | Self::Video(_) | Self::Many => "UNKNOWN",
        }
    }
}

/// What the video message `body` is; `None`: it is empty or cut.
pub(super) fn video(body: &[u8]) -> Option<Tag> {
    let first = *body.first()?;
    if first & 0x80 != 0 {
        let is_key = first >> 4 & 0x07 == 1;
        let packet = Packet::read(first & 0x0F, &body[1..])?;
        let role = match packet.kind {
            // The sequence start of AV1 in MPEG-2 TS has a number of its own.
            0 | 5 => Role::Header(VIDEO_SLOT + packet.track % TRACKS),
            4 => Role::Header(VIDEO_METADATA_SLOT + packet.track % TRACKS),
            1 | 3 if is_key => Role::Key,
            _ => Role::Delta,
        };
        return Some(Tag { role, codec: packet.codec });
    }
    let (frame, codec) = (first >> 4, first & 0x0F);
    let has_headers = matches!(codec, 7 | 12);
    let role = match (has_headers, body.get(1)) {
        (true, Some(0)) => Role::Header(VIDEO_SLOT),
        (true, Some(1)) | (false, _) if matches!(frame, 1 | 4) => Role::Key,
        _ => Role::Delta,
    };
    Some(Tag { role, codec: Codec::Video(codec) })
}

/// What the audio message `body` is; `None`: it is empty or cut.
pub(super) fn audio(body: &[u8]) -> Option<Tag> {
    let first = *body.first()?;
    let format = first >> 4;
    if format == 9 {
        let packet = Packet::read(first & 0x0F, &body[1..])?;
        let role = match packet.kind {
            0 => Role::Header(AUDIO_SLOT + packet.track % TRACKS),
            4 => Role::Header(CHANNELS_SLOT + packet.track % TRACKS),
            _ => Role::Key,
        };
        return Some(Tag { role, codec: packet.codec });
    }
    let role = if format == 10 && body.get(1) == Some(&0) { Role::Header(AUDIO_SLOT) } else { Role::Key };
    Some(Tag { role, codec: Codec::Audio(format) })
}

/// The head of an enhanced message.
struct Packet {
    kind: u8,
    codec: Codec,
    track: u8,
}

impl Packet {
    const MULTITRACK: u8 = 6;
    const MULTITRACK_AUDIO: u8 = 5;
    const MOD_EX: u8 = 7;

    /// `rest` is what follows the first byte.
    fn read(mut kind: u8, mut rest: &[u8]) -> Option<Self> {
        while kind == Self::MOD_EX {
            // Modifiers: size, data, then the kind of what follows.
            let (size, after) = rest.split_first()?;
            let (size, after) = match size {
                0xFF => (usize::from(u16::from_be_bytes(*after.first_chunk()?)) + 1, after.get(2..)?),
                size => (usize::from(*size) + 1, after),
            };
            let (next, after) = after.get(size..)?.split_first()?;
            (kind, rest) = (next & 0x0F, after);
        }
        Self::read_tracks(kind, rest)
    }

    fn read_tracks(kind: u8, rest: &[u8]) -> Option<Self> {
        let code = |bytes: &[u8]| bytes.first_chunk().map(|code| Codec::FourCc(*code));
        if !matches!(kind, Self::MULTITRACK | Self::MULTITRACK_AUDIO) || Self::is_code(rest) {
            return Some(Self { kind, codec: code(rest)?, track: 0 });
        }
        let (head, rest) = rest.split_first()?;
        let kind = head & 0x0F;
        match head >> 4 {
            // One track.
            0 => Some(Self { kind, codec: code(rest)?, track: *rest.get(4)? }),
            // Many tracks with one codec.
            1 => Some(Self { kind, codec: code(rest)?, track: 0 }),
            _ => Some(Self { kind, codec: Codec::Many, track: 0 }),
        }
    }

    /// Kind 5 means something else for video than for audio: a FourCC begins with a letter or a dot, the head of a
    /// multitrack message with a small number.
    fn is_code(rest: &[u8]) -> bool {
        rest.first().is_some_and(|byte| *byte >= 0x2E)
    }
}

#[cfg(test)]
mod tests;
