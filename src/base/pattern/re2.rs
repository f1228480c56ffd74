//! Regular expressions as Core's settings and queries are written (RE2 syntax), on the `regex-lite` crate.
//!
//! expression → the few spellings that mean something else here are rewritten → `Regex`. Both engines search in linear
//! time; the compiled size is bounded. Deliberately not covered, since it takes large tables: `\p` classes, and `(?i)`
//! beyond ASCII; nor `\C` and octal escapes.

use regex_lite::{Regex, RegexBuilder};

/// Memory of one compiled expression; a larger one is refused.
pub const COMPILED_SIZE: usize = 1 << 20;

/// Compiles an unanchored RE2 expression.
///
/// # Errors
/// What the engine says about the expression.
pub fn compile(expression: &str) -> Result<Regex, regex_lite::Error> {
    RegexBuilder::new(&translate(expression)).size_limit(COMPILED_SIZE).build()
}

/// Rewrites what differs: `\s` has no vertical tab, `\Q…\E` quotes, a brace that starts no repetition is literal, and
/// classes have no set operations and do not nest.
fn translate(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len() + 16);
    let mut rest = expression;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\\' => escape(rest, Place::Outside, &mut out),
            '[' => class(rest, &mut out),
            '{' if !is_repetition(rest) => push(&mut out, "\\{", 1),
            _ => push(&mut out, &rest[..c.len_utf8()], c.len_utf8()),
        };
        rest = &rest[taken..];
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    Class,
}

/// One escape sequence; returns the bytes taken.
fn escape(rest: &str, place: Place, out: &mut String) -> usize {
    let Some(c) = rest[1..].chars().next() else { return push(out, "\\", 1) };
    match (c, place) {
        // Without the vertical tab.
        ('s', Place::Outside) => push(out, "[\\t\\n\\f\\r ]", 2),
        ('S', Place::Outside) => push(out, "[^\\t\\n\\f\\r ]", 2),
        ('s', Place::Class) => push(out, "\\t\\n\\f\\r ", 2),
        ('Q', _) => quoted(rest, out),
        ('<' | '>', _) => push(out, &rest[1..2], 2),
        _ => push(out, &rest[..1 + c.len_utf8()], 1 + c.len_utf8()),
    }
}

/// `\Q…\E`, or to the end of the expression.
fn quoted(rest: &str, out: &mut String) -> usize {
    let body = &rest[2..];
    let (text, taken) = body.find("\\E").map_or((body, rest.len()), |end| (&body[..end], end + 4));
    push(out, &regex_lite::escape(text), taken)
}

/// A bracketed class; returns the bytes taken.
fn class(rest: &str, out: &mut String) -> usize {
    let mut at = push(out, "[", 1);
    if rest[at..].starts_with('^') {
        at += push(out, "^", 1);
    }
    if rest[at..].starts_with(']') {
        at += push(out, "\\]", 1);
    }
    while let Some(c) = rest[at..].chars().next() {
        at += match c {
            ']' => return at + push(out, "]", 1),
            '\\' => escape(&rest[at..], Place::Class, out),
            '[' => match rest[at..].find(":]").filter(|_| rest[at..].starts_with("[:")) {
                Some(end) => push(out, &rest[at..at + end + 2], end + 2),
                None => push(out, "\\[", 1),
            },
            '&' | '~' => push(out, &format!("\\{c}"), 1),
            '-' if rest[at + 1..].starts_with('-') => push(out, "-\\-", 2),
            _ => push(out, &rest[at..at + c.len_utf8()], c.len_utf8()),
        };
    }
    at
}

/// Whether `rest` begins with `{n}`, `{n,}` or `{n,m}`.
fn is_repetition(rest: &str) -> bool {
    let Some(end) = rest.find('}') else { return false };
    let (low, high) = rest[1..end].split_once(',').unwrap_or((&rest[1..end], ""));
    !low.is_empty() && low.bytes().chain(high.bytes()).all(|b| b.is_ascii_digit())
}

fn push(out: &mut String, text: &str, taken: usize) -> usize {
    out.push_str(text);
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, text: &str, expected: bool) {
        assert_eq!(compile(expression).unwrap().is_match(text), expected, "{expression} on {text}");
    }

    #[test]
    fn reads_as_re2_does() {
        check(r"^rtmp://", "rtmp://h/a", true);
        check(r"secret", "rtmp://h/a/secret/b", true);
        check(r"^file:.*\.ts$", "file:/data/a.ts", true);
        check(r"a{2}", "aa", true);
        check(r"a{x}", "a{x}", true);
        check(r"{,5}", "{,5}", true);
        check(r"\d", "٣", false);
        check(r"[\d]", "3", true);
        check(r"[^\W]", "_", true);
        check(r"\Qa.b\E.", "a.bc", true);
        check(r"\Qa.b", "axb", false);
        check(r"[[]", "[", true);
        check(r"[]a]", "]", true);
        check(r"[a&&b]", "&", true);
        check(r"[+--]", "-", true);
        check(r"[[:digit:]x]+$", "12x", true);
        check(r"\<b\>", "<b>", true);
        check(r"(?i)RTMP", "rtmp", true);
        check(r"\bé", "aé", true);
    }

    #[test]
    fn refuses_broken_and_huge_ones() {
        assert!(compile("(").is_err());
        assert!(compile("[a").is_err());
        assert!(compile("\\").is_err());
        assert!(compile("((a{100}){100}){100}").is_err());
    }
}
