//! Which addresses FFmpeg may read and write: block and allow expressions (`contract/process-engine.md` §7).
//!
//! Compiled once per configuration. Knows nothing of paths; the caller decides which text is matched.

use regex_lite::Regex;

use crate::base::re2;
use crate::config::FfmpegAccess;

/// A configured expression that does not compile.
#[derive(Debug, thiserror::Error)]
#[error("{list}: invalid expression '{expression}'")]
pub struct InvalidExpression {
    /// Name of the setting.
    pub list: &'static str,
    pub expression: String,
    #[source]
    pub source: regex_lite::Error,
}

/// Expressions for inputs and outputs.
#[derive(Clone, Debug, Default)]
pub struct Access {
    pub input: Rules,
    pub output: Rules,
}

/// The expressions of one direction.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    allow: Vec<Regex>,
    block: Vec<Regex>,
}

impl Access {
    /// Compiles all lists; blank expressions are ignored.
    ///
    /// # Errors
    /// Every expression that does not compile.
    pub fn new(config: &FfmpegAccess) -> Result<Self, Vec<InvalidExpression>> {
        let mut faults = Vec::new();
        let mut list = |name, expressions| compile(name, expressions, &mut faults);
        let access = Self {
            input: Rules {
                allow: list("ffmpeg.access.input.allow", &config.input_allow),
                block: list("ffmpeg.access.input.block", &config.input_block),
            },
            output: Rules {
                allow: list("ffmpeg.access.output.allow", &config.output_allow),
                block: list("ffmpeg.access.output.block", &config.output_block),
            },
        };
        if faults.is_empty() { Ok(access) } else { Err(faults) }
    }
}

impl Rules {
    /// A block match refuses; a non-empty allow list needs a match.
    pub fn permits(&self, address: &str) -> bool {
        !self.block.iter().any(|rule| rule.is_match(address))
            && (self.allow.is_empty() || self.allow.iter().any(|rule| rule.is_match(address)))
    }
}

fn compile(list: &'static str, expressions: &[String], faults: &mut Vec<InvalidExpression>) -> Vec<Regex> {
    let mut rules = Vec::with_capacity(expressions.len());
    for expression in expressions.iter().filter(|e| !e.trim().is_empty()) {
        match re2::compile(expression) {
            Ok(rule) => rules.push(rule),
            Err(source) => faults.push(InvalidExpression { list, expression: expression.clone(), source }),
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(allow: &[&str], block: &[&str]) -> FfmpegAccess {
        let owned = |list: &[&str]| list.iter().map(|&e| e.to_owned()).collect();
        FfmpegAccess { input_allow: owned(allow), input_block: owned(block), ..FfmpegAccess::default() }
    }

    #[test]
    fn block_wins_and_an_empty_allow_list_permits() {
        let check = |allow: &[&str], block: &[&str], address: &str, expected: bool| {
            let access = Access::new(&config(allow, block)).unwrap();
            assert_eq!(access.input.permits(address), expected, "{allow:?} {block:?} {address}");
        };
        check(&[], &[], "anything", true);
        check(&["", " "], &[" "], "anything", true);
        check(&["^rtmp://"], &["secret"], "rtmp://h/a", true);
        check(&["^rtmp://"], &["secret"], "rtmp://h/secret", false);
        check(&["^rtmp://"], &[], "http://h", false);
        check(&[], &["secret"], "http://h", true);
    }

    #[test]
    fn every_broken_expression_is_named() {
        let faults = Access::new(&config(&["(", "ok"], &["["])).unwrap_err();
        let named: Vec<_> = faults.iter().map(|f| (f.list, f.expression.as_str())).collect();
        assert_eq!(named, [("ffmpeg.access.input.allow", "("), ("ffmpeg.access.input.block", "[")]);
    }
}
