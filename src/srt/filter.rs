//! What may reach srt-protocol: one look at each datagram before any of it is parsed.
//!
//! datagram → header, lengths, lists, ranges → `Head`, or the reason why it is thrown away. The parser and the connection
//! of the crate panic, or count through 2^32 numbers, on packets that do not pass here. Handshakes pass by their outline
//! only; `handshake` reads them itself and the crate never sees one. Keeps no state, allocates nothing.

use super::handshake;

/// Header of every packet.
pub(super) const HEADER: usize = 16;
/// Lost packets that one report may name, and packets that one drop request may span: the receive buffer's size.
pub(super) const SPAN: u32 = 8192;
/// Payload of a data packet (MSS 1500 less the headers of IPv4, UDP and SRT).
pub(super) const PAYLOAD: usize = 1456;
/// Round-trip times beyond this in an acknowledgement are not believed; the crate calculates with 32-bit microseconds.
const RTT_MICROS: u32 = 60_000_000;

const HIGH_BIT: u32 = 1 << 31;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Handshake,
    Data,
    KeepAlive,
    Ack,
    /// Number of packets that are reported lost.
    Nak(u32),
    Shutdown,
    Ack2,
    DropRequest,
    KeyRequest,
    KeyResponse,
}

/// Header of a packet that may be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// Socket id of ours; 0 in handshakes.
    pub(super) destination: u32,
    /// **Units:** microseconds since the peer's socket was made; wraps.
    pub(super) timestamp: u32,
    /// First word: sequence number of a data packet.
    pub(super) first: u32,
    /// Second word: message flags of a data packet.
    pub(super) second: u32,
}

/// Why a datagram is thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("too short for its kind")]
    Short,
    #[error("longer than a packet may be")]
    Long,
    #[error("of an unknown or unsupported kind")]
    Kind,
    #[error("its list of lost packets is broken or too long")]
    LossList,
    #[error("its range of dropped packets is broken or too long")]
    DropRange,
    #[error("its round-trip time is impossible")]
    RoundTrip,
    #[error("its key message is broken")]
    KeyMessage,
}

/// Reads the header and checks what the crate does not.
///
/// # Errors
/// The datagram must not be parsed.
pub(super) fn check(datagram: &[u8]) -> Result<Head, Fault> {
    let (Some(first), Some(second)) = (word(datagram, 0), word(datagram, 1)) else { return Err(Fault::Short) };
    let (Some(timestamp), Some(destination)) = (word(datagram, 2), word(datagram, 3)) else { return Err(Fault::Short) };
    let body = &datagram[HEADER..];
    if body.len() > PAYLOAD {
        return Err(Fault::Long);
    }
    let kind = if first & HIGH_BIT == 0 { Kind::Data } else { control(first, second, body)? };
    Ok(Head { kind, destination, timestamp, first, second })
}

/// Big-endian 32-bit word number `index`.
pub(super) fn word(bytes: &[u8], index: usize) -> Option<u32> {
    let bytes = bytes.get(index * 4..index * 4 + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// **Source:** draft-sharabayko-srt §3.2.
fn control(first: u32, second: u32, body: &[u8]) -> Result<Kind, Fault> {
    match (first >> 16) & 0x7FFF {
        0 if body.len() < handshake::BODY => Err(Fault::Short),
        0 => Ok(Kind::Handshake),
        1 => Ok(Kind::KeepAlive),
        2 => acknowledgement(body),
        3 => loss_list(body).map(Kind::Nak),
        5 => Ok(Kind::Shutdown),
        // Number 0 is none.
        6 if second == 0 => Err(Fault::Short),
        6 => Ok(Kind::Ack2),
        7 => drop_range(body),
        0x7FFF => match first & 0xFFFF {
            3 => handshake::is_key_message(body).then_some(Kind::KeyRequest).ok_or(Fault::KeyMessage),
            4 => handshake::is_key_message(body).then_some(Kind::KeyResponse).ok_or(Fault::KeyMessage),
            _ => Err(Fault::Kind),
        },
        _ => Err(Fault::Kind),
    }
}

fn acknowledgement(body: &[u8]) -> Result<Kind, Fault> {
    if word(body, 0).is_none() {
        return Err(Fault::Short);
    }
    let is_possible = |index| word(body, index).is_none_or(|time| time <= RTT_MICROS);
    if is_possible(1) && is_possible(2) { Ok(Kind::Ack) } else { Err(Fault::RoundTrip) }
}

/// Number of packets in the list. Single numbers, and pairs of which the first has its high bit set.
fn loss_list(body: &[u8]) -> Result<u32, Fault> {
    if body.is_empty() || !body.len().is_multiple_of(4) {
        return Err(Fault::LossList);
    }
    let (mut index, mut sum) = (0, 0);
    while let Some(start) = word(body, index) {
        index += 1;
        let mut count = 1;
        if start & HIGH_BIT != 0 {
            let start = start & !HIGH_BIT;
            // A range across the end of the numbers comes again as two halves of a later report.
            let end = word(body, index).filter(|end| *end > start && *end & HIGH_BIT == 0);
            count += end.ok_or(Fault::LossList)? - start;
            index += 1;
        }
        sum += count.min(SPAN + 1);
        if sum > SPAN {
            return Err(Fault::LossList);
        }
    }
    Ok(sum)
}

/// The numbers of a list that has passed.
pub(super) fn losses(body: &[u8]) -> impl Iterator<Item = u32> {
    let (mut index, mut range) = (0, 0..0);
    std::iter::from_fn(move || {
        if let Some(number) = range.next() {
            return Some(number);
        }
        let start = word(body, index)?;
        index += 1;
        if start & HIGH_BIT == 0 {
            return Some(start);
        }
        let start = start & !HIGH_BIT;
        range = start + 1..word(body, index)? + 1;
        index += 1;
        Some(start)
    })
}

fn drop_range(body: &[u8]) -> Result<Kind, Fault> {
    let (Some(first), Some(last)) = (word(body, 0), word(body, 1)) else { return Err(Fault::Short) };
    let is_sane = first & HIGH_BIT == 0 && last & HIGH_BIT == 0 && last.checked_sub(first).is_some_and(|it| it < SPAN);
    is_sane.then_some(Kind::DropRequest).ok_or(Fault::DropRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[track_caller]
    fn check_kind(words: &[u32], expected: Result<Kind, Fault>) {
        assert_eq!(check(&packet(words)).map(|head| head.kind), expected, "{words:x?}");
    }

    #[test]
    fn short_and_long_datagrams() {
        for length in 0..HEADER {
            assert_eq!(check(&vec![0x80; length]), Err(Fault::Short), "{length}");
        }
        assert!(check(&vec![0; HEADER + PAYLOAD]).is_ok());
        assert_eq!(check(&vec![0; HEADER + PAYLOAD + 1]), Err(Fault::Long));
    }

    #[test]
    fn the_header_is_read() {
        let head = check(&packet(&[7, 0xE000_0001, 42, 99])).expect("a data packet");
        assert_eq!(head, Head { kind: Kind::Data, destination: 99, timestamp: 42, first: 7, second: 0xE000_0001 });
    }

    #[test]
    fn kinds() {
        check_kind(&[0x8001_0000, 0, 0, 1, 0], Ok(Kind::KeepAlive));
        check_kind(&[0x8001_0000, 0, 0, 1], Ok(Kind::KeepAlive));
        check_kind(&[0x8005_0000, 0, 0, 1, 0], Ok(Kind::Shutdown));
        check_kind(&[0x8006_0000, 3, 0, 1, 0], Ok(Kind::Ack2));
        check_kind(&[0x8006_0000, 0, 0, 1, 0], Err(Fault::Short));
        // Congestion warning, peer error, unknown, and extensions that only belong into handshakes.
        for kind in [0x8004_0000, 0x8008_0000, 0x8009_0000, 0xFFFF_0000, 0xFFFF_0001, 0xFFFF_0005, 0xFFFF_0008] {
            check_kind(&[kind, 0, 0, 1, 0, 0, 0], Err(Fault::Kind));
        }
        check_kind(&[0x8000_0000, 0, 0, 0, 5], Err(Fault::Short));
        check_kind(&[0xFFFF_0003, 0, 0, 1, 0x1220_2901], Err(Fault::KeyMessage));
    }

    #[test]
    fn acknowledgements() {
        check_kind(&[0x8002_0000, 1, 0, 1], Err(Fault::Short));
        check_kind(&[0x8002_0000, 0, 0, 1, 77], Ok(Kind::Ack));
        check_kind(&[0x8002_0000, 1, 0, 1, 77, 80_000, 4_000, 8192, 1, 2, 3], Ok(Kind::Ack));
        check_kind(&[0x8002_0000, 1, 0, 1, 77, u32::MAX, 4_000, 8192], Err(Fault::RoundTrip));
        check_kind(&[0x8002_0000, 1, 0, 1, 77, 1, i32::MAX as u32, 8192], Err(Fault::RoundTrip));
    }

    #[test]
    fn loss_lists() {
        let check_list = |list: &[u32], expected: Result<u32, Fault>| {
            check_kind(&[&[0x8003_0000, 0, 0, 1], list].concat(), expected.map(Kind::Nak));
        };
        let listed: Vec<u32> = losses(&packet(&[5, HIGH_BIT | 20, 22, 9])).collect();
        assert_eq!(listed, [5, 20, 21, 22, 9]);
        check_list(&[5], Ok(1));
        check_list(&[5, 9, HIGH_BIT | 20, 29], Ok(12));
        check_list(&[], Err(Fault::LossList));
        check_list(&[HIGH_BIT | 5], Err(Fault::LossList));
        check_list(&[HIGH_BIT | 5, 5], Err(Fault::LossList));
        check_list(&[HIGH_BIT | 5, 4], Err(Fault::LossList));
        check_list(&[HIGH_BIT | 5, HIGH_BIT | 9], Err(Fault::LossList));
        check_list(&[HIGH_BIT, (1 << 26)], Err(Fault::LossList));
        check_list(&[HIGH_BIT, SPAN - 1], Ok(SPAN));
        check_list(&[HIGH_BIT, SPAN - 1, 9000], Err(Fault::LossList));
        let mut odd = packet(&[0x8003_0000, 0, 0, 1, 5]);
        odd.push(0);
        assert_eq!(check(&odd), Err(Fault::LossList));
    }

    #[test]
    fn drop_requests() {
        let check_range = |range: &[u32], expected| check_kind(&[&[0x8007_0000, 1, 0, 1], range].concat(), expected);
        check_range(&[5, 5], Ok(Kind::DropRequest));
        check_range(&[5, 5 + SPAN - 1], Ok(Kind::DropRequest));
        check_range(&[5, 5 + SPAN], Err(Fault::DropRange));
        check_range(&[5, 4], Err(Fault::DropRange));
        check_range(&[HIGH_BIT | 5, HIGH_BIT | 6], Err(Fault::DropRange));
        check_range(&[5], Err(Fault::Short));
    }
}
