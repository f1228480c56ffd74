//! Shell-like patterns as Core's API and cleanup rules use them.
//!
//! `*` any run, `?` one character, `[abc]`, `[a-z]`, `[!x]`, `{a,b}`; with a separator, `*`, `?` and classes stay
//! within a segment and `**` crosses. Owner to come: matching is bounded in time for any pattern.

/// A parsed pattern.
#[derive(Clone, Debug)]
pub struct Glob {}

impl Glob {
    /// Parses `pattern`. `separator` is `Some('/')` for file names, `None` for ids and references.
    /// `None` when the pattern is broken (such a pattern matches nothing).
    pub fn new(pattern: &str, separator: Option<char>) -> Option<Self> {
        let _ = (pattern, separator);
        todo!()
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let _ = text;
        todo!()
    }
}
