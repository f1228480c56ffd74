//! Puts bytes into a PES packet without touching what comes after: the packet in which they belong is followed by
//! sixteen more.
//!
//! Why sixteen: a continuity counter has four bits, so after sixteen more packets all that follow, also in later
//! segments, still carry the right ones and stay as they are, not copied. Nothing has to be remembered from one file to
//! the next, and an upload that is aborted or repeated leaves no gap. The price is 3008 bytes for each repaired key
//! frame, most of it stuffing. Adaptation field (clock reference, flags) and header of the first packet stay; the length
//! of the PES packet grows, or becomes 0 (unbounded), if there is one.

use super::super::sets::SETS_BYTES;
use super::packet::{PACKET, Packet, SYNC};

/// Packets that are added.
const ADDED: u8 = 16;
/// Payload of a packet without adaptation field.
const PAYLOAD: usize = PACKET - 4;

const _: () = assert!(SETS_BYTES <= ADDED as usize * PAYLOAD);

/// `packet` with `inserted` at `at` (in the packet), and the packets that this takes. `None` if `at` lies outside of the
/// payload, or `inserted` is too long.
pub(super) fn splice(packet: Packet<'_>, at: usize, inserted: &[u8]) -> Option<Vec<u8>> {
    let bytes = packet.bytes();
    let begin = packet.payload_at();
    if !(begin..PACKET).contains(&at) || inserted.len() > usize::from(ADDED) * PAYLOAD {
        return None;
    }
    let mut payload = bytes[begin..at].to_vec();
    // Each added packet needs a byte: zeros may stand before any start code.
    payload.resize(payload.len() + usize::from(ADDED).saturating_sub(inserted.len()), 0);
    payload.extend_from_slice(inserted);
    payload.extend_from_slice(&bytes[at..]);
    let (first, mut rest) = payload.split_at(PACKET - begin);
    let mut out = Vec::with_capacity(PACKET * (1 + usize::from(ADDED)));
    out.extend_from_slice(&bytes[..begin]);
    out.extend_from_slice(first);
    for left in (0..ADDED).rev() {
        // As much as fits, as long as one byte is left for each of the others.
        let (part, further) = rest.split_at(PAYLOAD.min(rest.len() - usize::from(left)));
        rest = further;
        // The first was `counter`, so the last, sixteen later, is `counter` again.
        write(&mut out, packet, packet.counter().wrapping_sub(left) & 0x0f, part);
    }
    Some(out)
}

/// One packet of the same PID: `part`, stuffed.
fn write(out: &mut Vec<u8>, like: Packet<'_>, counter: u8, part: &[u8]) {
    let [high, low] = like.pid().to_be_bytes();
    let priority = like.bytes()[1] & 0x20;
    let stuffing = PAYLOAD - part.len();
    let control = if stuffing == 0 { 0x10 } else { 0x30 };
    out.extend_from_slice(&[SYNC, priority | high, low, control | counter]);
    if let Some(length) = stuffing.checked_sub(1) {
        let end = out.len() + stuffing;
        out.push(u8::try_from(length).expect("shorter than a packet"));
        if length > 0 {
            out.push(0);
        }
        out.resize(end, 0xff);
    }
    out.extend_from_slice(part);
}

/// Makes the length of the PES packet that begins in the payload of `packet` fit `more` bytes. `Some(false)`: there is
/// nothing to change; `None`: it does not stand in this packet.
pub(super) fn lengthen(packet: &mut [u8; PACKET], payload: usize, more: usize) -> Option<bool> {
    let [high, low] = packet.get_mut(payload + 4..payload + 6)? else { return None };
    let length = u16::from_be_bytes([*high, *low]);
    if length == 0 {
        return Some(false);
    }
    // A video's may be 0: as long as it takes.
    let longer = u16::try_from(usize::from(length) + more).unwrap_or(0);
    [*high, *low] = longer.to_be_bytes();
    Some(true)
}

/// Bytes that `splice` adds to the PES packet.
pub(super) fn added(inserted: &[u8]) -> usize {
    inserted.len().max(ADDED.into())
}
