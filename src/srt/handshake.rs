//! The handshake of a listener, bytes in and bytes out. Pure, keeps nothing.
//!
//! induction → `welcome` with a cookie · conclusion → `Conclusion` → `acceptance` or `refusal`. A caller costs no memory
//! before it has come back with its cookie. Versions 4 and 5 are read, only 5 can be accepted; of the extensions those
//! that a live stream needs. Does not decide who may come in (`access`).
//!
//! **Source:** draft-sharabayko-srt §3.2.1, §4.3.1; the layout of rejections from libsrt's `handshake.h`.

use super::access::Refusal;
use super::filter::{HEADER, word};
use super::stream_id;

/// Bytes of a handshake without extensions, behind the header.
pub(super) const BODY: usize = 48;
/// **Units:** bytes, with the headers of IPv4 and UDP.
pub(super) const MSS: u32 = 1500;
/// Packets that may be under way.
pub(super) const FLOW_WINDOW: u32 = 8192;
/// What we are: 1.4.1, the first version with everything that live streams use.
const VERSION: u32 = 0x0001_0401;
/// Older callers are refused.
const OLDEST: u32 = 0x0001_0401;

/// Both timestamp-based deliveries, encryption, dropping of late packets, regular loss reports, retransmission flag.
const FLAGS: u32 = 0x3F;
/// Byte streams of file transfers.
const STREAM_FLAG: u32 = 0x40;
/// Says "SRT" in the answer to an induction.
const MAGIC: u32 = 0x4A17;
const INDUCTION: u32 = 1;
const CONCLUSION: u32 = u32::MAX;
/// Flags of the extensions in the answer to a conclusion.
const HAS_HANDSHAKE: u32 = 1;
const HAS_KEY: u32 = 2;

/// Header of a key message with its sixteen bytes of salt.
const KEY_HEADER: usize = 32;
/// What wrapping adds to the keys.
const KEY_CHECK: usize = 8;

/// What a caller sends.
#[derive(Debug, PartialEq)]
pub(super) enum Shake {
    Induction,
    Conclusion(Box<Conclusion>),
    /// A conclusion that can't be accepted, whoever sent it.
    Faulty(Refusal),
}

/// What a caller asks for, with its cookie.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Conclusion {
    /// **Units:** microseconds since the caller's socket was made.
    pub(super) timestamp: u32,
    pub(super) sequence: u32,
    pub(super) mss: u32,
    pub(super) flow_window: u32,
    /// The caller's socket.
    pub(super) socket: u32,
    pub(super) cookie: u32,
    /// **Units:** milliseconds that the caller holds packets as a receiver.
    pub(super) receiver_delay: u16,
    /// **Units:** milliseconds that the caller wants its receiver to hold packets.
    pub(super) sender_delay: u16,
    /// As sent; checked by `is_key_message`.
    pub(super) key_message: Option<Vec<u8>>,
    pub(super) stream_id: String,
    /// Advertised key length and, in the answer, the extensions.
    encryption: u32,
}

/// The caller's socket and cookie; `datagram` has passed the filter as a handshake.
pub(super) fn caller(datagram: &[u8]) -> (u32, u32) {
    (word(datagram, 10).unwrap_or(0), word(datagram, 11).unwrap_or(0))
}

/// Reads a handshake that has passed the filter; `None`: nothing that a listener answers.
pub(super) fn read(datagram: &[u8]) -> Option<Shake> {
    let (version, kind) = (word(datagram, 4)?, word(datagram, 9)?);
    match (kind, version) {
        (INDUCTION, 4 | 5) => Some(Shake::Induction),
        (CONCLUSION, 5) => Some(match conclusion(datagram) {
            Ok(conclusion) => Shake::Conclusion(Box::new(conclusion)),
            Err(refusal) => Shake::Faulty(refusal),
        }),
        (CONCLUSION, _) => Some(Shake::Faulty(Refusal::Version)),
        _ => None,
    }
}

/// The answer to an induction.
pub(super) fn welcome(datagram: &[u8], socket: u32, cookie: u32) -> Vec<u8> {
    let mut answer = answer(datagram, socket);
    put(&mut answer, 4, 5);
    put(&mut answer, 5, MAGIC);
    put(&mut answer, 7, word(datagram, 7).unwrap_or(MSS).min(MSS));
    put(&mut answer, 11, cookie);
    answer
}

/// The answer to a conclusion that is turned away.
pub(super) fn refusal(datagram: &[u8], socket: u32, refusal: Refusal) -> Vec<u8> {
    let mut answer = answer(datagram, socket);
    put(&mut answer, 5, 0);
    put(&mut answer, 9, refusal.code());
    answer
}

/// The answer to a conclusion that is accepted. A key message is sent back as it came, which says that it was understood.
pub(super) fn acceptance(datagram: &[u8], conclusion: &Conclusion, socket: u32, delays: (u16, u16)) -> Vec<u8> {
    let (receiver_delay, sender_delay) = delays;
    let mut answer = answer(datagram, socket);
    let key = conclusion.key_message.as_deref();
    let extensions = HAS_HANDSHAKE | if key.is_some() { HAS_KEY } else { 0 };
    put(&mut answer, 5, conclusion.encryption | extensions);
    put(&mut answer, 7, conclusion.mss);
    put(&mut answer, 8, conclusion.flow_window);
    let words = [2 << 16 | 3, VERSION, FLAGS, u32::from(receiver_delay) << 16 | u32::from(sender_delay)];
    answer.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    if let Some(key) = key {
        let words = u32::try_from(key.len() / 4).expect("it has come in one datagram");
        answer.extend((4 << 16 | words).to_be_bytes());
        answer.extend(key);
    }
    answer
}

/// Whether a key message has the fields and lengths that it announces.
pub(super) fn is_key_message(message: &[u8]) -> bool {
    let (Some(first), Some(lengths)) = (word(message, 0), word(message, 3)) else { return false };
    // Version 1, key material, signature HAI.
    if first >> 8 != 0x12_2029 {
        return false;
    }
    let keys = (first & 3).count_ones() as usize;
    let (salt, key) = ((lengths >> 8 & 0xFF) as usize * 4, (lengths & 0xFF) as usize * 4);
    keys > 0 && salt == 16 && matches!(key, 16 | 24 | 32) && message.len() == KEY_HEADER + keys * key + KEY_CHECK
}

/// **Units:** bytes; `message` has passed `is_key_message`.
pub(super) fn key_length(message: &[u8]) -> u16 {
    word(message, 3).map_or(0, |lengths| u16::try_from(lengths & 0xFF).unwrap_or(0) * 4)
}

fn conclusion(datagram: &[u8]) -> Result<Conclusion, Refusal> {
    let body = |index| word(datagram, index).ok_or(Refusal::Rogue);
    let mut found = Conclusion {
        timestamp: body(2)?,
        sequence: body(6)? & 0x7FFF_FFFF,
        mss: body(7)?.min(MSS),
        flow_window: body(8)?.clamp(32, FLOW_WINDOW),
        socket: body(10)?,
        cookie: body(11)?,
        receiver_delay: 0,
        sender_delay: 0,
        key_message: None,
        stream_id: String::new(),
        encryption: body(5)? & 0xFFFF_0000,
    };
    // Less than a header and one packet of a transport stream.
    if found.mss < 44 + 188 || found.socket == 0 {
        return Err(Refusal::Rogue);
    }
    let mut rest = &datagram[HEADER + BODY..];
    let mut has_handshake = false;
    while let Some(head) = word(rest, 0) {
        let end = 4 + (head & 0xFFFF) as usize * 4;
        let content = rest.get(4..end).ok_or(Refusal::Rogue)?;
        match head >> 16 {
            1 => {
                offer(content, &mut found)?;
                has_handshake = true;
            }
            3 if is_key_message(content) => found.key_message = Some(content.to_vec()),
            5 => found.stream_id = text(content)?,
            6 => return Err(Refusal::Congestion),
            7 => return Err(Refusal::Filter),
            8 => return Err(Refusal::Group),
            _ => return Err(Refusal::Rogue),
        }
        rest = &rest[end..];
    }
    if has_handshake { Ok(found) } else { Err(Refusal::Rogue) }
}

/// The extension that makes a UDT handshake one of SRT.
fn offer(content: &[u8], found: &mut Conclusion) -> Result<(), Refusal> {
    let (Some(version), Some(flags), Some(delays)) = (word(content, 0), word(content, 1), word(content, 2)) else {
        return Err(Refusal::Rogue);
    };
    if version < OLDEST {
        return Err(Refusal::Version);
    }
    if flags & STREAM_FLAG != 0 {
        return Err(Refusal::MessageApi);
    }
    // Without encryption in its build a caller still may come in the clear.
    let needed = FLAGS & !4;
    if flags & needed != needed {
        return Err(Refusal::Rogue);
    }
    [found.receiver_delay, found.sender_delay] = [upper(delays), upper(delays << 16)];
    Ok(())
}

fn upper(word: u32) -> u16 {
    u16::try_from(word >> 16).unwrap_or(0)
}

/// Text in little-endian words, filled up with zeros.
fn text(content: &[u8]) -> Result<String, Refusal> {
    let mut bytes: Vec<u8> = content.chunks_exact(4).flat_map(|word| [word[3], word[2], word[1], word[0]]).collect();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    let text = String::from_utf8(bytes).map_err(|_| Refusal::BadRequest)?;
    if text.len() > stream_id::LENGTH { Err(Refusal::BadRequest) } else { Ok(text) }
}

/// A handshake like the one that came, from our socket to the caller's.
fn answer(datagram: &[u8], socket: u32) -> Vec<u8> {
    let mut answer = datagram[..HEADER + BODY].to_vec();
    put(&mut answer, 1, 0);
    put(&mut answer, 3, word(datagram, 10).unwrap_or(0));
    put(&mut answer, 10, socket);
    answer
}

fn put(packet: &mut [u8], index: usize, word: u32) {
    packet[index * 4..index * 4 + 4].copy_from_slice(&word.to_be_bytes());
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A conclusion as libsrt 1.5.1 sends it, with these extensions.
    pub(in crate::srt) fn conclusion_with(cookie: u32, extensions: &[u8]) -> Vec<u8> {
        let words = [0x8000_0000, 0, 1000, 0, 5, 5, 1234, 1500, 8192, CONCLUSION, 77, cookie, 0x0100_007F, 0, 0, 0];
        let mut packet: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        packet.extend(extensions);
        packet
    }

    pub(in crate::srt) fn induction(socket: u32) -> Vec<u8> {
        let mut packet = conclusion_with(0, &[]);
        put(&mut packet, 4, 4);
        put(&mut packet, 5, 2);
        put(&mut packet, 9, INDUCTION);
        put(&mut packet, 10, socket);
        packet
    }

    pub(in crate::srt) fn extension(kind: u32, content: &[u8]) -> Vec<u8> {
        let words = u32::try_from(content.len() / 4).expect("small");
        [&(kind << 16 | words).to_be_bytes()[..], content].concat()
    }

    pub(in crate::srt) fn offered(version: u32, flags: u32, delays: u32) -> Vec<u8> {
        extension(1, &[version.to_be_bytes(), flags.to_be_bytes(), delays.to_be_bytes()].concat())
    }

    pub(in crate::srt) fn named(text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        extension(5, &bytes.chunks(4).flat_map(|word| [word[3], word[2], word[1], word[0]]).collect::<Vec<_>>())
    }

    pub(in crate::srt) fn key_message(keys: u32, length: usize) -> Vec<u8> {
        let words = [0x1220_2900 | keys, 0, 0x0200_0200, 0x0000_0400 | u32::try_from(length / 4).expect("small")];
        let mut message: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        message.resize(KEY_HEADER + keys.count_ones() as usize * length + KEY_CHECK, 7);
        message
    }

    fn good() -> Vec<u8> {
        offered(0x0001_0501, 0xBF, 120 << 16 | 300)
    }

    #[track_caller]
    fn check(extensions: &[&[u8]], expected: Result<&str, Refusal>) {
        let found = match read(&conclusion_with(9, &extensions.concat())) {
            Some(Shake::Conclusion(conclusion)) => Ok(conclusion.stream_id),
            Some(Shake::Faulty(refusal)) => Err(refusal),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected.map(str::to_owned));
    }

    #[test]
    fn an_induction_gets_a_cookie() {
        let induction = induction(55);
        assert_eq!(read(&induction), Some(Shake::Induction));
        let welcome = welcome(&induction, 3, 0xC00C_1E00);
        assert_eq!(welcome.len(), HEADER + BODY);
        let field = |index| word(&welcome, index);
        assert_eq!((field(3), field(4), field(5)), (Some(55), Some(5), Some(MAGIC)));
        assert_eq!((field(9), field(10), field(11)), (Some(INDUCTION), Some(3), Some(0xC00C_1E00)));
    }

    #[test]
    fn a_conclusion_is_read() {
        let packet = conclusion_with(9, &[good(), named("cam,mode:publish")].concat());
        let Some(Shake::Conclusion(found)) = read(&packet) else { panic!("a conclusion") };
        assert_eq!((found.sequence, found.socket, found.cookie, found.timestamp), (1234, 77, 9, 1000));
        assert_eq!((found.receiver_delay, found.sender_delay), (120, 300));
        assert_eq!(found.stream_id, "cam,mode:publish");
        assert_eq!(found.key_message, None);
        assert_eq!(caller(&packet), (77, 9));
    }

    #[test]
    fn extensions() {
        check(&[&good()], Ok(""));
        check(&[&good(), &named("käse")], Ok("käse"));
        check(&[&good(), &named("abcd")], Ok("abcd"));
        check(&[&good(), &named(&"x".repeat(512))], Ok(&"x".repeat(512)));
        check(&[&good(), &named(&"x".repeat(513))], Err(Refusal::BadRequest));
        check(&[&good(), &extension(5, &[0xFF; 4])], Err(Refusal::BadRequest));
        // No words at all, with and without something behind: what ended the crate's listener.
        check(&[&good(), &extension(5, &[])], Ok(""));
        check(&[&good(), &extension(5, &[]), &[1, 2, 3, 4]], Err(Refusal::Rogue));
        check(&[&good(), &extension(6, b"elif")], Err(Refusal::Congestion));
        check(&[&good(), &extension(7, b"cef,")], Err(Refusal::Filter));
        check(&[&good(), &extension(8, &[0; 8])], Err(Refusal::Group));
        check(&[&good(), &extension(9, &[0; 4])], Err(Refusal::Rogue));
        check(&[&good(), &[0, 5, 0, 9, 1]], Err(Refusal::Rogue));
        check(&[], Err(Refusal::Rogue));
        check(&[&named("cam")], Err(Refusal::Rogue));
        check(&[&extension(1, &[0; 8])], Err(Refusal::Rogue));
        check(&[&good(), &[1, 2, 3]], Ok(""));
    }

    #[test]
    fn callers_that_can_not_do_it() {
        check(&[&offered(0x0001_0400, 0xBF, 0)], Err(Refusal::Version));
        check(&[&offered(0x0001_0501, 0xFF, 0)], Err(Refusal::MessageApi));
        check(&[&offered(0x0001_0501, 0x01, 0)], Err(Refusal::Rogue));
        check(&[&offered(0x0001_0501, 0xBB, 0)], Ok(""));
        let mut old = conclusion_with(9, &good());
        put(&mut old, 4, 4);
        assert_eq!(read(&old), Some(Shake::Faulty(Refusal::Version)));
        for (index, value) in [(7, 100), (10, 0)] {
            let mut packet = conclusion_with(9, &good());
            put(&mut packet, index, value);
            assert_eq!(read(&packet), Some(Shake::Faulty(Refusal::Rogue)), "word {index}");
        }
        // Rendezvous, answers, and what a server would say.
        for kind in [0, u32::MAX - 1, 1002, 7] {
            let mut packet = conclusion_with(9, &good());
            put(&mut packet, 9, kind);
            assert_eq!(read(&packet), None, "{kind}");
        }
    }

    #[test]
    fn key_messages() {
        for (keys, length) in [(1, 16), (2, 24), (3, 32)] {
            let message = key_message(keys, length);
            assert!(is_key_message(&message), "{keys} {length}");
            assert_eq!(usize::from(key_length(&message)), length);
            assert!(!is_key_message(&message[..message.len() - 4]));
            assert!(!is_key_message(&[&message[..], &[0; 4]].concat()));
        }
        assert!(!is_key_message(&key_message(0, 16)));
        assert!(!is_key_message(&key_message(1, 20)));
        assert!(!is_key_message(&[]));
        let message = key_message(1, 16);
        check(&[&good(), &extension(3, &message)], Ok(""));
        check(&[&good(), &extension(3, &message[..20])], Err(Refusal::Rogue));
        check(&[&good(), &extension(4, &message)], Err(Refusal::Rogue));
    }

    #[test]
    fn answers() {
        let message = key_message(1, 16);
        let packet = conclusion_with(9, &[good(), extension(3, &message)].concat());
        let Some(Shake::Conclusion(found)) = read(&packet) else { panic!("a conclusion") };
        let accepted = acceptance(&packet, &found, 33, (120, 300));
        let field = |index| word(&accepted, index);
        assert_eq!((field(3), field(9), field(10), field(11)), (Some(77), Some(CONCLUSION), Some(33), Some(9)));
        assert_eq!(field(5), Some(3));
        assert_eq!((field(16), field(19)), (Some(2 << 16 | 3), Some(120 << 16 | 300)));
        assert_eq!(&accepted[accepted.len() - message.len()..], message);
        let refused = refusal(&packet, 33, Refusal::NotFound);
        assert_eq!((word(&refused, 9), word(&refused, 3), refused.len()), (Some(2404), Some(77), HEADER + BODY));
    }

    #[test]
    fn any_cut_and_any_changed_byte_is_survived() {
        let packet = conclusion_with(9, &[good(), named("cam"), extension(3, &key_message(3, 32))].concat());
        for end in HEADER + BODY..packet.len() {
            let _ = read(&packet[..end]);
        }
        for at in 0..packet.len() {
            for value in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut changed = packet.clone();
                changed[at] = value;
                let _ = read(&changed);
            }
        }
    }
}
