//! Paths within a file system of ours: absolute, `/`-separated text.

use std::borrow::Cow;

/// The shortest equal path: one leading slash, no `.`, no `..`, no double and no trailing slash. Cannot leave the
/// root.
pub fn clean(path: &str) -> String {
    cleaned(path).into_owned()
}

/// As `clean`; a path that is clean stays where it is.
pub fn cleaned(path: &str) -> Cow<'_, str> {
    if is_clean(path) {
        return Cow::Borrowed(path);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Cow::Owned(format!("/{}", parts.join("/")))
}

/// Whether `path` is certainly clean; names with a leading dot are left to a closer look.
fn is_clean(path: &str) -> bool {
    let path = path.as_bytes();
    let apart = |pair: &[u8]| pair[0] != b'/' || !matches!(pair[1], b'/' | b'.');
    path.len() > 1 && path.starts_with(b"/") && !path.ends_with(b"/") && path.windows(2).all(apart)
}

/// Whether each `%` is followed by two hexadecimal digits.
pub fn is_escaped(text: &str) -> bool {
    let is_hex = |rest: &str| rest.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    !text.contains('%') || text.split('%').skip(1).all(is_hex)
}

/// What follows the last dot of the last segment, with the dot; empty if there is none.
pub fn extension(path: &str) -> &str {
    match path.bytes().rposition(|byte| matches!(byte, b'.' | b'/')) {
        Some(at) if path[at..].starts_with('.') => &path[at..],
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaned() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            ("//a.txt", "/a.txt"),
            ("/b/../b//c.ts", "/b/c.ts"),
            ("/../../x", "/x"),
            ("a/./b/", "/a/b"),
            ("/..", "/"),
            ("/...", "/..."),
            ("/a/.b/c.", "/a/.b/c."),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }

    #[test]
    fn extensions() {
        for (path, expected) in
            [("/a.ts", ".ts"), ("/a.b/c", ""), ("/a.tar.gz", ".gz"), ("/a.", "."), ("/.a", ".a"), ("a", ""), ("", "")]
        {
            assert_eq!(extension(path), expected, "{path}");
        }
    }
}
