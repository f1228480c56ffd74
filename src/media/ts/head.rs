//! The head of one video frame: from its PES header to its first slice, however many packets that takes.
//!
//! `push` payloads → `Verdict` as soon as it is known; `finish` when the frame ends before that. Nothing behind the first
//! slice is looked at.

use std::ops::Range;

use super::super::nal::{Codec, Name, SLICE_HEAD, Slice, Unit, is_slice, start_code, start_codes};

/// PES header up to `PES_header_data_length`.
const PES: usize = 9;

pub(super) struct Head {
    codec: Codec,
    /// All of the frame so far, with its PES header.
    bytes: Vec<u8>,
    /// Where the video begins; `None` before that is known.
    video: Option<usize>,
    /// Where the next search for a start code begins.
    searched: usize,
    /// First byte of the NAL unit whose end is not known yet.
    open: Option<usize>,
    /// Where parameter sets belong: the start code behind the delimiter, else the first one.
    place: Option<usize>,
    sets: Vec<(Name, Range<usize>)>,
    has_recovery_point: bool,
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its first slice begins a picture. `has_recovery_point`: decoding may begin here, though it is no IDR.
    Picture { slice: Slice, has_recovery_point: bool },
    /// No picture begins in it.
    Nothing,
}

impl Head {
    pub(super) fn new(codec: Codec) -> Self {
        Self {
            codec,
            bytes: Vec::new(),
            video: None,
            searched: 0,
            open: None,
            place: None,
            sets: Vec::new(),
            has_recovery_point: false,
        }
    }

    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// Bytes that have been pushed.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Offset in all bytes pushed at which sets may be inserted.
    pub(super) fn place(&self) -> Option<usize> {
        self.place
    }

    /// The parameter sets of the frame.
    pub(super) fn sets(&self) -> impl Iterator<Item = (Name, &[u8])> {
        self.sets.iter().map(|(name, range)| (*name, &self.bytes[range.clone()]))
    }

    /// Time of presentation in units of 1/90000 s, 33 bits.
    pub(super) fn pts(&self) -> Option<u64> {
        let stamp: &[u8; 5] = self.bytes.get(PES..)?.first_chunk()?;
        let has_pts = self.bytes[7] & 0x80 != 0 && self.bytes[8] >= 5;
        let [a, b, c, d, e] = stamp.map(u64::from);
        has_pts.then_some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
    }

    /// Takes the next payload.
    pub(super) fn push(&mut self, payload: &[u8]) -> Option<Verdict> {
        self.bytes.extend_from_slice(payload);
        if self.video.is_none() {
            let header: &[u8; PES] = self.bytes.first_chunk()?;
            // A start code, a video stream, scrambling off.
            let is_video = header[..3] == [0, 0, 1] && (header[3] & 0xf0 == 0xe0 || header[3] == 0xfd);
            if !is_video || header[6] & 0xf0 != 0x80 {
                return Some(Verdict::Nothing);
            }
            let video = PES + usize::from(header[8]);
            self.video = Some(video);
            self.searched = video;
        }
        let finder = start_codes();
        while let Some(code) = start_code(&finder, &self.bytes, self.searched) {
            if let Some(verdict) = self.close(code) {
                return Some(verdict);
            }
            self.searched = code + 3;
            self.open = Some(self.searched);
        }
        self.searched = self.searched.max(self.bytes.len().saturating_sub(2));
        let nal = &self.bytes[self.open?..];
        (is_slice(self.codec, nal)? && nal.len() >= SLICE_HEAD).then(|| self.slice(Unit::read(self.codec, nal)))
    }

    /// The frame ends here.
    pub(super) fn finish(&mut self) -> Verdict {
        self.close(self.bytes.len()).unwrap_or(Verdict::Nothing)
    }

    /// The open NAL unit, if there is one, ends before the start code at `code`.
    fn close(&mut self, code: usize) -> Option<Verdict> {
        let is_longer = self.video.is_some_and(|video| code > video) && self.bytes[code - 1] == 0;
        let begin = if is_longer { code - 1 } else { code };
        let Some(open) = self.open else {
            self.place.get_or_insert(begin);
            return None;
        };
        let nal = &self.bytes[open..code.max(open)];
        let end = open + nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        match Unit::read(self.codec, &self.bytes[open..end]) {
            // Only the first unit is one, so that nothing else stands before it.
            Unit::Delimiter if self.sets.is_empty() => self.place = Some(begin),
            Unit::Set(name) => self.sets.push((name, open..end)),
            Unit::Recovery => self.has_recovery_point = true,
            unit => {
                if is_slice(self.codec, &self.bytes[open..end]) == Some(true) {
                    return Some(self.slice(unit));
                }
            }
        }
        None
    }

    fn slice(&self, unit: Unit) -> Verdict {
        match unit {
            Unit::Slice(slice) if slice.is_first => {
                Verdict::Picture { slice, has_recovery_point: self.has_recovery_point }
            }
            _ => Verdict::Nothing,
        }
    }
}
