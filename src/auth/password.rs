//! Comparison of secrets in a time that tells nothing about them.

use std::hint::black_box;

/// Whether `given` is `secret`. Takes time by the length of `given` only.
pub fn matches(given: &str, secret: &str) -> bool {
    let (given, secret) = (given.as_bytes(), secret.as_bytes());
    let mut difference = u8::from(given.len() != secret.len());
    for (at, byte) in given.iter().enumerate() {
        let other = secret.get(at).copied().unwrap_or(0);
        difference |= black_box(byte ^ other);
    }
    black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_matches() {
        assert!(matches("sekret", "sekret"));
        assert!(matches("", ""));
        for wrong in ["", "sekre", "sekrets", "Sekret", "sekret\0"] {
            assert!(!matches(wrong, "sekret"), "{wrong:?}");
        }
        assert!(!matches("\0", ""));
    }
}
