//! Identifiers made from the caller's entropy (`sys::entropy`): short ids, UUID v4, random text over an alphabet. And
//! one that names a content.

/// Base57 of the short UUIDs that Core generates for processes and viewers.
pub const SHORT_ALPHABET: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// Characters of a short id.
pub const SHORT_LEN: usize = 22;

/// A UUID v4 in base57: always 22 characters.
pub fn short_id(entropy: [u8; 16]) -> String {
    let mut number = u128::from_be_bytes(version_4(entropy));
    let mut text = [SHORT_ALPHABET[0]; SHORT_LEN];
    for place in text.iter_mut().rev() {
        let digit = usize::try_from(number % 57).expect("a remainder of 57 fits");
        *place = SHORT_ALPHABET[digit];
        number /= 57;
    }
    text.iter().map(|&b| char::from(b)).collect()
}

/// A UUID v4 in its usual form of 36 lower-case characters (RFC 9562 §5.4).
pub fn uuid(entropy: [u8; 16]) -> String {
    let hex: String = version_4(entropy).iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// One character of `alphabet` (at most 256 long) per byte of `entropy`; the tiny modulo bias is accepted.
pub fn text(alphabet: &[u8], entropy: &[u8]) -> String {
    entropy.iter().map(|&b| char::from(alphabet[usize::from(b) % alphabet.len()])).collect()
}

/// Names `content`: 32 lower-case hexadecimal digits, half of its SHA-256. The same on every box and in every version.
pub fn of_content(content: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, content);
    digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn version_4(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        for entropy in [[0; 16], [0xff; 16]] {
            let id = short_id(entropy);
            assert_eq!(id.len(), SHORT_LEN);
            assert!(id.bytes().all(|b| SHORT_ALPHABET.contains(&b)));
        }
        assert_eq!(text(b"ab", &[0, 1, 2]), "aba");
    }
}
