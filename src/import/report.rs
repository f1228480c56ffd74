//! What an import does and does not do, line by line, for a person to read before and after.

use std::fmt;

/// Longest text of one part of a line; the rest is cut off.
const TEXT: usize = 300;

/// What becomes of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Added,
    Changed,
    Skipped,
    /// Nothing happens to it, but a person should know.
    Note,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) verdict: Verdict,
    pub(super) what: String,
    pub(super) why: String,
}

/// The lines in the order in which they came up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(Vec<Line>);

impl Report {
    pub(super) fn added(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.push(Verdict::Added, what.into(), why.into());
    }

    pub(super) fn changed(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.push(Verdict::Changed, what.into(), why.into());
    }

    pub(super) fn skipped(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.push(Verdict::Skipped, what.into(), why.into());
    }

    pub(super) fn note(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.push(Verdict::Note, what.into(), why.into());
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    #[cfg(test)]
    pub(super) fn lines(&self) -> &[Line] {
        &self.0
    }

    fn push(&mut self, verdict: Verdict, what: String, why: String) {
        self.0.push(Line { verdict, what, why });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { verdict, what, why } in &self.0 {
            let verdict = match verdict {
                Verdict::Added => "added",
                Verdict::Changed => "changed",
                Verdict::Skipped => "skipped",
                Verdict::Note => "note",
            };
            writeln!(f, "{verdict:<8} {}: {}", printable(what), printable(why))?;
        }
        Ok(())
    }
}

/// The documents are not ours: nothing of them may move a terminal's cursor.
fn printable(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let cut = if text.chars().nth(TEXT).is_some() { "…" } else { "" };
    text.chars().take(TEXT).map(clean).chain(cut.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_plain_text() {
        let mut report = Report::default();
        report.added("a\u{1b}[2J\n", "x".repeat(TEXT + 1));
        assert_eq!(report.to_string(), format!("added    a\u{fffd}[2J\u{fffd}: {}…\n", "x".repeat(TEXT)));
    }
}
