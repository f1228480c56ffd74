//! The bytes of a stream that have not gone out yet, found by their place in the stream.

use std::collections::VecDeque;

use bytes::Bytes;

use super::packet::PACKET;

#[derive(Default)]
pub(super) struct Window {
    pieces: VecDeque<Bytes>,
    /// Place in the stream of the first byte.
    begin: u64,
    len: usize,
}

impl Window {
    /// The place behind the last byte.
    pub(super) fn end(&self) -> u64 {
        self.begin + self.len as u64
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    /// Takes the first bytes, up to the place `until` at most: a slice of what came in. `None`: there are no more.
    pub(super) fn take(&mut self, until: u64) -> Option<Bytes> {
        let wanted = usize::try_from(until.saturating_sub(self.begin)).unwrap_or(usize::MAX);
        let piece = self.pieces.front_mut().filter(|_| wanted > 0)?;
        let taken = piece.split_to(wanted.min(piece.len()));
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        self.begin += taken.len() as u64;
        self.len -= taken.len();
        Some(taken)
    }

    /// The packet at `place`; pieces consist of whole packets.
    pub(super) fn packet(&self, place: u64) -> Option<&[u8; PACKET]> {
        let mut at = usize::try_from(place.checked_sub(self.begin)?).ok()?;
        for piece in &self.pieces {
            match at.checked_sub(piece.len()) {
                Some(further) => at = further,
                None => return piece[at..].first_chunk(),
            }
        }
        None
    }
}
