//! What waits to be sent to one peer: pieces of shared messages and the heads between them, in order.
//!
//! push → slices for one vectored write → advance. A player's times begin at 0 with the first message that it gets.
//! The bound is kept by whoever fills it: nothing is taken from the relay while `is_full`. Pure.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::message::{CHUNK_BYTES, Head, media_heads};
use crate::relay::{Item, Role};

/// Bytes from which on nothing more is taken from the relay.
const FULL_BYTES: usize = 128 * 1024;
/// Pieces from which on nothing more is taken from the relay.
const FULL_PIECES: usize = 128;
/// Bytes of answers that a peer may leave unread before nothing more is read from it.
const CONGESTED_BYTES: usize = 256 * 1024;
/// Slices of one write.
pub(super) const SLICES: usize = 16;

/// How far a time may lie before the first one to be shown as 0; what lies further has begun anew.
const EARLY: u32 = 10_000;

#[derive(Default)]
pub(super) struct Outbox {
    pieces: VecDeque<Piece>,
    bytes: usize,
    times: Option<Times>,
}

enum Piece {
    Head { bytes: Head, sent: usize },
    Body(Bytes),
}

impl Piece {
    fn rest(&self) -> &[u8] {
        match self {
            Self::Head { bytes, sent } => &bytes[*sent..],
            Self::Body(bytes) => bytes,
        }
    }
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// No place for more of a stream.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= FULL_BYTES || self.pieces.len() >= FULL_PIECES
    }

    /// No place for more answers.
    pub(super) fn is_congested(&self) -> bool {
        self.bytes >= CONGESTED_BYTES
    }

    /// Adds whole chunks.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.pieces.push_back(Piece::Body(bytes));
        }
    }

    /// Adds a message of a stream.
    pub(super) fn push_item(&mut self, item: Item) {
        let stamp = match item.role {
            // Headers precede what they are needed for, whenever they came.
            Role::Header(_) => self.times.as_ref().map_or(0, |times| times.top),
            _ => self.times.get_or_insert(Times { base: item.stamp, top: 0 }).shift(item.stamp),
        };
        let (first, next) = media_heads(item.track, stamp, item.bytes.len());
        let mut rest = item.bytes;
        self.push_head(first);
        if rest.len() <= CHUNK_BYTES {
            return self.push(rest);
        }
        self.push(rest.split_to(CHUNK_BYTES));
        while !rest.is_empty() {
            self.push_head(next.clone());
            self.push(rest.split_to(rest.len().min(CHUNK_BYTES)));
        }
    }

    /// Times begin at 0 again.
    pub(super) fn reset_times(&mut self) {
        self.times = None;
    }

    /// What to write next.
    pub(super) fn slices(&self) -> heapless::Vec<IoSlice<'_>, SLICES> {
        self.pieces.iter().take(SLICES).map(|piece| IoSlice::new(piece.rest())).collect()
    }

    /// So many bytes have been written.
    pub(super) fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(piece) = self.pieces.front_mut() {
            let rest = piece.rest().len();
            if written < rest {
                match piece {
                    Piece::Head { sent, .. } => *sent += written,
                    Piece::Body(bytes) => bytes.advance(written),
                }
                return;
            }
            written -= rest;
            self.pieces.pop_front();
        }
    }

    fn push_head(&mut self, bytes: Head) {
        self.bytes += bytes.len();
        self.pieces.push_back(Piece::Head { bytes, sent: 0 });
    }
}

/// A player's clock: the publisher's, moved.
struct Times {
    /// The publisher's time that is 0 for this player.
    base: u32,
    /// The latest time that the player was shown.
    top: u32,
}

impl Times {
    fn shift(&mut self, stamp: u32) -> u32 {
        let mut shifted = stamp.wrapping_sub(self.base);
        let before = shifted.wrapping_neg();
        // Not the wrap of a stream that is as old as that.
        if before < 1 << 31 && self.top < 1 << 30 {
            shifted = 0;
            if before > EARLY {
                // The publisher has begun to count anew: go on from where this player is.
                self.base = stamp.wrapping_sub(self.top);
                shifted = self.top;
            }
        }
        if shifted.wrapping_sub(self.top) < 1 << 31 {
            self.top = shifted;
        }
        shifted
    }
}

#[cfg(test)]
mod tests;
