//! Shell-like patterns as Core's API and cleanup rules use them (`contract/http-api.md` §6.3 and §7.3).
//!
//! pattern → program → one pass over the text. `*` any run, `?` one character, `[abc]`, `[a-z]`, `[!x]`, `{a,b}`
//! (nested, parts may be empty), `\` takes the next character as it is. With a separator, `*`, `?` and classes stay
//! within a segment and `**` crosses. The program is a non-deterministic automaton whose states are walked side by
//! side, so a match costs at most `text × pattern` steps for any pattern: there is no backtracking.

use std::iter::Peekable;
use std::str::Chars;

/// Longer patterns are broken.
pub const PATTERN_BYTES: usize = 1024;
/// Deeper `{` are broken; bounds the parser's recursion.
const NESTED_LISTS: usize = 8;

/// A parsed pattern.
#[derive(Clone, Debug)]
pub struct Glob {
    program: Vec<Step>,
    prefix: String,
    separator: Option<char>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Char(char),
    /// `?`
    One,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// `*` with or without the right to cross the separator: stays for such a character, or goes on.
    Run {
        crosses: bool,
    },
    /// Goes on at each of these steps.
    Fork(Vec<usize>),
    Jump(usize),
    End,
}

impl Glob {
    /// Parses `pattern`. `separator` is `Some('/')` for file names, `None` for ids and references.
    /// `None` when the pattern is broken (such a pattern matches nothing).
    pub fn new(pattern: &str, separator: Option<char>) -> Option<Self> {
        if pattern.len() > PATTERN_BYTES {
            return None;
        }
        let mut parser = Parser { rest: pattern.chars().peekable(), program: Vec::new() };
        parser.sequence(0)?;
        parser.program.push(Step::End);
        let program = parser.program;
        let prefix = program.iter().map_while(|step| if let Step::Char(c) = step { Some(*c) } else { None }).collect();
        Some(Self { program, prefix, separator })
    }

    /// What every matching text begins with; the whole text if the pattern has no wildcard.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How many separators a matching text holds at most; `None` if there is no limit (`**`, or no separator).
    pub fn depth(&self) -> Option<usize> {
        let separator = self.separator?;
        let crossing = self.program.contains(&Step::Run { crosses: true });
        (!crossing).then(|| self.program.iter().filter(|step| **step == Step::Char(separator)).count())
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(self.prefix.as_str()) else { return false };
        let mut now = States::new(self.program.len());
        let mut next = States::new(self.program.len());
        self.enter(&mut now, self.prefix.chars().count());
        for c in rest.chars() {
            next.clear();
            for &at in &now.list {
                match &self.program[at] {
                    Step::Char(own) if *own == c => self.enter(&mut next, at + 1),
                    Step::One if self.within(c) => self.enter(&mut next, at + 1),
                    Step::Class { negated, ranges }
                        if self.within(c) && ranges.iter().any(|&(lo, hi)| lo <= c && c <= hi) != *negated =>
                    {
                        self.enter(&mut next, at + 1);
                    }
                    Step::Run { crosses } if *crosses || self.within(c) => self.enter(&mut next, at),
                    _ => {}
                }
            }
            std::mem::swap(&mut now, &mut next);
            if now.list.is_empty() {
                return false;
            }
        }
        now.has[self.program.len() - 1]
    }

    fn within(&self, c: char) -> bool {
        self.separator != Some(c)
    }

    /// Adds `at` and everything reachable from it without a character.
    fn enter(&self, states: &mut States, at: usize) {
        states.open.push(at);
        while let Some(at) = states.open.pop() {
            if std::mem::replace(&mut states.has[at], true) {
                continue;
            }
            match &self.program[at] {
                Step::Fork(ways) => states.open.extend(ways),
                Step::Jump(to) => states.open.push(*to),
                Step::Run { .. } => {
                    states.list.push(at);
                    states.open.push(at + 1);
                }
                _ => states.list.push(at),
            }
        }
    }
}

/// A set of program steps, in the order they were entered.
struct States {
    has: Vec<bool>,
    list: Vec<usize>,
    /// Scratch of `enter`: steps still to add.
    open: Vec<usize>,
}

impl States {
    fn new(len: usize) -> Self {
        Self { has: vec![false; len], list: Vec::new(), open: Vec::new() }
    }

    fn clear(&mut self) {
        self.has.fill(false);
        self.list.clear();
    }
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    program: Vec<Step>,
}

impl Parser<'_> {
    /// Parses up to the end of the pattern, or within a list (`depth` > 0) up to its `,` or `}`, which stays.
    fn sequence(&mut self, depth: usize) -> Option<()> {
        while let Some(&c) = self.rest.peek() {
            if depth > 0 && (c == ',' || c == '}') {
                return Some(());
            }
            self.rest.next();
            match c {
                '*' => {
                    let crosses = self.rest.next_if_eq(&'*').is_some();
                    self.program.push(Step::Run { crosses });
                }
                '?' => self.program.push(Step::One),
                '[' => self.class()?,
                '{' => self.list(depth + 1)?,
                '\\' => {
                    let literal = self.rest.next()?;
                    self.program.push(Step::Char(literal));
                }
                c => self.program.push(Step::Char(c)),
            }
        }
        (depth == 0).then_some(())
    }

    fn class(&mut self) -> Option<()> {
        let negated = self.rest.next_if_eq(&'!').is_some();
        let mut ranges = Vec::new();
        loop {
            let low = match self.rest.next()? {
                ']' => break,
                '\\' => self.rest.next()?,
                c => c,
            };
            let mut ahead = self.rest.clone();
            let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']');
            if !is_range {
                ranges.push((low, low));
                continue;
            }
            self.rest.next();
            let high = match self.rest.next()? {
                '\\' => self.rest.next()?,
                c => c,
            };
            if high < low {
                return None;
            }
            ranges.push((low, high));
        }
        if ranges.is_empty() {
            return None;
        }
        self.program.push(Step::Class { negated, ranges });
        Some(())
    }

    fn list(&mut self, depth: usize) -> Option<()> {
        if depth > NESTED_LISTS {
            return None;
        }
        let fork = self.program.len();
        self.program.push(Step::Fork(Vec::new()));
        let mut starts = Vec::new();
        let mut jumps = Vec::new();
        loop {
            starts.push(self.program.len());
            self.sequence(depth)?;
            jumps.push(self.program.len());
            self.program.push(Step::Jump(0));
            if self.rest.next()? == '}' {
                break;
            }
        }
        let end = self.program.len();
        for jump in jumps {
            self.program[jump] = Step::Jump(end);
        }
        self.program[fork] = Step::Fork(starts);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, separator: Option<char>, yes: &[&str], no: &[&str]) {
        let glob = Glob::new(pattern, separator).expect("a sound pattern");
        for text in yes {
            assert!(glob.matches(text), "{pattern} must match {text}");
        }
        for text in no {
            assert!(!glob.matches(text), "{pattern} must not match {text}");
        }
    }

    #[test]
    fn file_names() {
        let slash = Some('/');
        check("/b/*.ts", slash, &["/b/c.ts", "/b/.ts"], &["/b/e/f.ts", "/b/c.tsx", "b/c.ts", "/x/c.ts"]);
        check("/b/**.ts", slash, &["/b/c.ts", "/b/e/f.ts", "/b/e/g/f.ts"], &["/c.ts"]);
        check("/b/**", slash, &["/b/", "/b/c", "/b/c/d"], &["/b", "/bc"]);
        check("*.txt", slash, &["a.txt"], &["/a.txt"]);
        check("/{a,empty}*", slash, &["/a", "/a.txt", "/empty"], &["/b", "/a/x"]);
        check("/sp *", slash, &["/sp ace.txt"], &["/space"]);
        check("/a?c", slash, &["/abc", "/aüc"], &["/a/c", "/ac"]);
        check("/a[!x]c", slash, &["/abc"], &["/axc", "/a/c"]);
        check("/live_[0-9][0-9].ts", slash, &["/live_01.ts"], &["/live_1.ts", "/live_0a.ts"]);
        check("/x", slash, &["/x"], &["/x/", "/xy", "/"]);
    }

    #[test]
    fn ids_cross_everything() {
        check("*", None, &["", "a", "a/b:c"], &[]);
        check("restreamer-ui:ingest:*", None, &["restreamer-ui:ingest:a/b"], &["restreamer-ui:egress:a"]);
        check("a?b", None, &["a/b"], &["ab"]);
        check("**", None, &["", "a/b"], &[]);
    }

    #[test]
    fn lists_classes_and_escapes() {
        check("{a,b{c,d},}x", None, &["ax", "bcx", "bdx", "x"], &["bx", "cx"]);
        check("[a-c!]", None, &["a", "b", "c", "!"], &["d", ""]);
        check("[a-]", None, &["a", "-"], &["b"]);
        check("[\\]]", None, &["]"], &["\\"]);
        check("\\*\\{", None, &["*{"], &["a{"]);
        check("a}b,c]", None, &["a}b,c]"], &[]);
        check("{*a,b*}c", None, &["xac", "bxc", "bc"], &["c"]);
    }

    #[test]
    fn broken_patterns() {
        for pattern in ["[", "[]", "[!]", "[a", "[b-a]", "{", "{a", "{a,", "a\\", "[\\", "{[}"] {
            assert!(Glob::new(pattern, Some('/')).is_none(), "{pattern}");
        }
        assert!(Glob::new(&"a".repeat(PATTERN_BYTES + 1), None).is_none());
        assert!(Glob::new(&"{".repeat(NESTED_LISTS + 1), None).is_none());
    }

    #[test]
    fn prefixes_and_depths() {
        for (pattern, prefix, depth) in [
            ("/a/b_*.ts", "/a/b_", Some(2)),
            ("/a", "/a", Some(1)),
            ("/a/**", "/a/", None),
            ("**", "", None),
            ("/a{b/c,d}", "/a", Some(2)),
        ] {
            let glob = Glob::new(pattern, Some('/')).expect("sound");
            assert_eq!((glob.prefix(), glob.depth()), (prefix, depth), "{pattern}");
        }
        assert_eq!(Glob::new("a", None).expect("sound").depth(), None);
    }

    /// Counts: a backtracking matcher would need 2^60 steps here.
    #[test]
    fn evil_patterns_end() {
        let text = "a".repeat(1000);
        assert!(!Glob::new(&format!("{}b", "*a".repeat(300)), None).expect("sound").matches(&text));
        assert!(Glob::new(&"*".repeat(PATTERN_BYTES), None).expect("sound").matches(&text));
        let nested = "{a,{a,{a,{a,a}}}}*".repeat(30);
        assert!(!Glob::new(&format!("{nested}b"), None).expect("sound").matches(&text));
    }
}
