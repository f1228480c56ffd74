//! A player's bytes, read again by our own chunk reader.

use std::time::Instant;

use super::super::chunk::{Budget, ChunkReader};
use super::*;
use crate::relay::Track;

fn item(track: Track, role: Role, stamp: u32, bytes: Vec<u8>) -> Item {
    Item { track, role, stamp, at: Instant::now(), bytes: bytes.into() }
}

fn video(stamp: u32) -> Item {
    item(Track::Video, Role::Delta, stamp, vec![1])
}

/// Everything in the outbox, written in pieces of `step` bytes.
fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while !outbox.is_empty() {
        let mut left = step;
        for slice in &outbox.slices() {
            let piece = &slice[..left.min(slice.len())];
            out.extend(piece);
            left -= piece.len();
        }
        outbox.advance(step - left);
    }
    assert_eq!(outbox.bytes, 0);
    out
}

fn read(bytes: &[u8]) -> Vec<(u8, u32, usize)> {
    let mut reader = ChunkReader::new(Budget::default());
    reader.allow_media(true);
    // The size that every peer is told.
    let size = [2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 1, 0, 0];
    assert_eq!(reader.read(&mut &size[..]), Ok(None));
    let mut input = bytes;
    std::iter::from_fn(|| reader.read(&mut input).expect("sound chunks"))
        .map(|message| (message.kind, message.stamp, message.body.len()))
        .collect()
}

#[track_caller]
fn check_times(stamps: &[u32], expected: &[u32]) {
    let mut outbox = Outbox::default();
    stamps.iter().for_each(|stamp| outbox.push_item(video(*stamp)));
    let seen: Vec<u32> = read(&drain(&mut outbox, usize::MAX)).iter().map(|(_, stamp, _)| *stamp).collect();
    assert_eq!(seen, expected);
}

#[test]
fn messages_of_any_length_in_writes_of_any_length() {
    for step in [7, 64 * 1024, usize::MAX] {
        let mut outbox = Outbox::default();
        outbox.push_item(item(Track::Data, Role::Header(0), 9, vec![2; 10]));
        outbox.push_item(item(Track::Video, Role::Key, 1000, vec![1; CHUNK_BYTES * 2 + 1]));
        outbox.push_item(item(Track::Audio, Role::Key, 1020, vec![3; CHUNK_BYTES]));
        let seen = read(&drain(&mut outbox, step));
        assert_eq!(seen, [(18, 0, 10), (9, 0, CHUNK_BYTES * 2 + 1), (8, 20, CHUNK_BYTES)]);
        // After hours of playing, with the field that old ones leave out.
        outbox.push_item(item(Track::Video, Role::Key, 0x0100_0000 + 1000, vec![1; CHUNK_BYTES * 3]));
        outbox.push_item(item(Track::Audio, Role::Key, 0x0100_0020 + 1000, vec![1]));
        let seen = read(&drain(&mut outbox, step));
        assert_eq!(seen, [(9, 0x0100_0000, CHUNK_BYTES * 3), (8, 0x0100_0020, 1)]);
    }
}

#[test]
fn times_begin_at_zero_and_never_before() {
    check_times(&[5000, 5040, 5080], &[0, 40, 80]);
    check_times(&[5000, 4990, 5040], &[0, 0, 40]);
    check_times(&[0xFFFF_FFF0, 0x10, 0x40], &[0, 0x20, 0x50]);
    check_times(&[0, 0x7FFF_FFFF, 0xBFFF_FFFF, 0xFFFF_FFFF, 10], &[0, 0x7FFF_FFFF, 0xBFFF_FFFF, 0xFFFF_FFFF, 10]);
}

#[test]
fn a_publisher_that_counts_anew_does_not_stop_the_clock() {
    check_times(&[3_600_000, 3_601_000, 0, 40], &[0, 1000, 1000, 1040]);
}

#[test]
fn it_is_full_before_it_is_large() {
    let mut outbox = Outbox::default();
    while !outbox.is_full() {
        outbox.push_item(video(0));
    }
    assert!(outbox.pieces.len() <= FULL_PIECES + 2 && outbox.bytes < FULL_BYTES);
    let mut outbox = Outbox::default();
    while !outbox.is_full() {
        outbox.push_item(item(Track::Video, Role::Key, 0, vec![0; 1000]));
    }
    assert!(!outbox.is_congested());
    outbox.push(Bytes::from(vec![0; CONGESTED_BYTES]));
    assert!(outbox.is_congested());
}
