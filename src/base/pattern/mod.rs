//! Patterns that people write: file and id globs, and regular expressions in RE2 syntax. Both match in bounded time.

pub mod glob;
pub mod re2;
