//! Path → `Route`.

/// Decodes `%XX` once. `None` for broken escapes and for bytes that are no UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    if !well_escaped(text) {
        return None;
    }
    percent_encoding::percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Whether each `%` is followed by two hexadecimal digits.
pub(crate) fn well_escaped(text: &str) -> bool {
    let bytes = text.as_bytes();
    (0..bytes.len()).all(|at| {
        bytes[at] != b'%' || bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    })
}
