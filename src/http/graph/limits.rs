//! What a query may cost before anything of it is executed. Pure.
//!
//! text → nesting of brackets (the parser recurses) → parsed document → fields with fragments spread, levels. Fragments
//! are weighed once each, so that a chain of fragments that spread each other twice is refused instead of walked.

use std::collections::HashMap;

use async_graphql::Name;
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};

/// Bytes of the text of a query.
pub(super) const QUERY_BYTES: usize = 32 * 1024;
/// Brackets of any kind inside each other in the text.
pub(super) const NESTING: usize = 64;
/// Fields, with fragments spread. The introspection of stock clients has some 300.
pub(super) const FIELDS: usize = 1000;
/// Selections inside each other, fragments included. The introspection of stock clients has 15.
pub(super) const LEVELS: usize = 32;
/// As many fields count those that start an FFmpeg or ask one.
pub(super) const EFFORT: usize = 50;

/// The fields that do.
const LABORIOUS: [&str; 2] = ["probe", "playoutStatus"];

/// Why a query is not even tried.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the query is longer than {QUERY_BYTES} bytes")]
    Length,
    #[error("the query has more than {NESTING} brackets inside each other")]
    Nesting,
    #[error("the query selects more than {FIELDS} fields, where `probe` and `playoutStatus` count {EFFORT}")]
    Fields,
    #[error("the query has more than {LEVELS} selections inside each other, or a fragment that spreads itself")]
    Levels,
}

/// Checks the text before it is parsed.
pub(super) fn check_text(text: &str) -> Result<(), Refused> {
    if text.len() > QUERY_BYTES {
        return Err(Refused::Length);
    }
    if nesting(text) > NESTING { Err(Refused::Nesting) } else { Ok(()) }
}

/// Checks all operations of a document.
pub(super) fn check(document: &ExecutableDocument) -> Result<(), Refused> {
    let mut scale = Scale { document, known: HashMap::new() };
    let mut fields = 0_usize;
    for (_, operation) in document.operations.iter() {
        let weight = scale.weigh(&operation.node.selection_set.node, 1)?;
        fields = fields.saturating_add(weight.fields);
        if weight.levels > LEVELS {
            return Err(Refused::Levels);
        }
    }
    if fields > FIELDS { Err(Refused::Fields) } else { Ok(()) }
}

/// The deepest nesting of brackets outside of strings and comments.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '{' | '[' | '(' => {
                depth += 1;
                deepest = deepest.max(depth);
                1
            }
            '}' | ']' | ')' => {
                depth = depth.saturating_sub(1);
                1
            }
            '#' => rest.find(['\n', '\r']).unwrap_or(rest.len()),
            '"' => string(rest),
            other => other.len_utf8(),
        };
        rest = &rest[taken..];
    }
    deepest
}

/// Bytes of the string or block string that `text` begins with.
fn string(text: &str) -> usize {
    if let Some(block) = text.strip_prefix(r#"""""#) {
        let mut from = 0;
        while let Some(at) = block[from..].find(r#"""""#).map(|at| from + at) {
            if !block[..at].ends_with('\\') {
                return at + 6;
            }
            from = at + 3;
        }
        return text.len();
    }
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' | b'\n' | b'\r' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// What a selection costs, with its fragments spread.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    fields: usize,
    levels: usize,
}

struct Scale<'a> {
    document: &'a ExecutableDocument,
    /// Fragments that were weighed.
    known: HashMap<&'a Name, Weight>,
}

impl<'a> Scale<'a> {
    /// `level`: how deep the recursion is; beyond `LEVELS` a fragment may spread itself.
    fn weigh(&mut self, set: &'a SelectionSet, level: usize) -> Result<Weight, Refused> {
        if level > LEVELS {
            return Err(Refused::Levels);
        }
        let mut sum = Weight::default();
        for selection in &set.items {
            let (own, inner) = match &selection.node {
                Selection::Field(field) => {
                    let effort = if LABORIOUS.contains(&field.node.name.node.as_str()) { EFFORT } else { 1 };
                    let inner = &field.node.selection_set.node;
                    let inner = if inner.items.is_empty() { Weight::default() } else { self.weigh(inner, level + 1)? };
                    (effort, inner)
                }
                Selection::InlineFragment(fragment) => (0, self.weigh(&fragment.node.selection_set.node, level + 1)?),
                Selection::FragmentSpread(spread) => (0, self.weigh_fragment(&spread.node.fragment_name.node, level)?),
            };
            sum.fields = sum.fields.saturating_add(own).saturating_add(inner.fields);
            sum.levels = sum.levels.max(inner.levels);
        }
        sum.levels += 1;
        Ok(sum)
    }

    fn weigh_fragment(&mut self, name: &'a Name, level: usize) -> Result<Weight, Refused> {
        if let Some(weight) = self.known.get(name) {
            return Ok(*weight);
        }
        // Validation reports fragments that do not exist.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Weight::default()) };
        let weight = self.weigh(&fragment.node.selection_set.node, level + 1)?;
        self.known.insert(name, weight);
        Ok(weight)
    }
}
