//! What is asked for, and the answer: patterns choose series among rows or in the history.
//!
//! A pattern names a metric and demands of labels that they exist and match a regular expression, searched, not
//! anchored; several patterns are a union. Expressions are compiled for one pattern at a time and dropped again, so that
//! a long query holds no more of them than one metric has labels.

use regex_lite::Regex;

use super::family::{Column, Family, Row, labelled};
use crate::base::re2;

/// Patterns of one query; what is beyond finds nothing, and who parses a query should refuse it.
pub const PATTERNS: usize = 256;
/// Values of one answer; series for which there is no room are left out, which is logged.
pub(super) const ANSWER_VALUES: usize = 400_000;

/// `contract/http-api.md` §7.6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Seconds; 0 asks for current values.
    pub timerange: i64,
    /// Seconds from value to value.
    pub interval: i64,
    pub patterns: Vec<Pattern>,
}

/// Chooses series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    pub name: String,
    /// Label and RE2 expression.
    pub labels: Vec<(String, String)>,
}

/// Answers a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Seconds of history that are kept, and seconds from sample to sample; 0 while history is off.
    pub timerange: u64,
    pub interval: u64,
    pub metrics: Vec<Series>,
}

/// One series and its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub name: &'static str,
    pub labels: Vec<(&'static str, String)>,
    /// Unix seconds and value, oldest first.
    pub values: Vec<(i64, f64)>,
}

/// A pattern ready to be used.
struct Matcher {
    labels: Vec<(String, Regex)>,
}

impl Matcher {
    /// `None`: an expression is invalid, or a label does not exist; nothing can match.
    fn new(pattern: &Pattern, column: &Column, family: Family) -> Option<Self> {
        let exists =
            |name: &str| family.labels().contains(&name) || column.fixed.iter().any(|(label, _)| *label == name);
        let labels = pattern.labels.iter().map(|(name, expression)| {
            exists(name).then_some(())?;
            Some((name.clone(), re2::compile(expression).ok()?))
        });
        Some(Self { labels: labels.collect::<Option<_>>()? })
    }

    fn matches(&self, family: Family, labels: &[String], column: &Column) -> bool {
        self.labels.iter().all(|(name, expression)| {
            labelled(family, labels, column).any(|(label, value)| label == name && expression.is_match(value))
        })
    }
}

impl Query {
    /// Whether a value of `family` may be among what is asked for.
    pub fn concerns(&self, family: Family) -> bool {
        let columns = family.columns();
        self.patterns.iter().any(|pattern| columns.iter().any(|column| column.metric == pattern.name))
    }

    /// Which columns of which subjects are asked for: for each subject a bit per column. `subjects` gives family and labels.
    pub(super) fn choose<'a>(&self, subjects: impl Iterator<Item = (Family, &'a [String])> + Clone) -> Vec<u32> {
        let mut chosen = vec![0; subjects.clone().count()];
        for pattern in self.patterns.iter().take(PATTERNS) {
            // Labels exist in all columns of a metric or in none.
            let mut matcher: Option<(Family, Option<Matcher>)> = None;
            for (index, (family, labels)) in subjects.clone().enumerate() {
                for (bit, column) in family.columns().iter().enumerate().filter(|(_, c)| c.metric == pattern.name) {
                    if matcher.as_ref().is_none_or(|(of, _)| *of != family) {
                        matcher = Some((family, Matcher::new(pattern, column, family)));
                    }
                    let Some((_, Some(matcher))) = &matcher else { break };
                    if matcher.matches(family, labels, column) {
                        chosen[index] |= 1 << bit;
                    }
                }
            }
        }
        chosen
    }

    /// The chosen values of `rows`, taken at `time` (Unix seconds).
    pub fn select(&self, rows: &[Row], time: i64) -> Vec<Series> {
        let chosen = self.choose(rows.iter().map(|row| (row.family, &row.labels[..])));
        let mut found = Vec::new();
        for (row, bits) in rows.iter().zip(chosen) {
            for (bit, column) in row.family.columns().iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0) {
                if row.values[bit].is_finite() {
                    found.push(Series::new(row.family, &row.labels, column, vec![(time, row.values[bit])]));
                }
            }
        }
        found
    }
}

impl Series {
    pub(super) fn new(family: Family, labels: &[String], column: &Column, values: Vec<(i64, f64)>) -> Self {
        let labels = labelled(family, labels, column).map(|(name, value)| (name, value.to_owned())).collect();
        Self { name: column.metric, labels, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let process = |id: &str, state: &str| {
            let labels = [id, state, "start"].map(str::to_owned).to_vec();
            Row::new(Family::Process, labels, (0..15).map(f64::from).collect())
        };
        let net = |name: &str| Row::new(Family::Network, vec![name.to_owned()], vec![1.0, f64::NAN]);
        vec![process("a", "running"), process("ab", "failed"), net("lo"), net("eth0")]
    }

    fn pattern(name: &str, labels: &[(&str, &str)]) -> Pattern {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Pattern { name: name.to_owned(), labels }
    }

    /// The number of series and the first one's labels.
    #[track_caller]
    fn check(patterns: &[Pattern], count: usize, first: &[(&str, &str)]) {
        let query = Query { patterns: patterns.to_vec(), ..Query::default() };
        let found = query.select(&rows(), 7);
        assert_eq!(found.len(), count, "{patterns:?}");
        if let Some(series) = found.first() {
            let labels: Vec<(&str, &str)> = series.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(labels, first, "{patterns:?}");
            assert_eq!(series.values[0].0, 7);
        }
    }

    #[test]
    fn patterns() {
        let frame_of_a = [("processid", "a"), ("state", "running"), ("order", "start"), ("name", "frame")];
        check(&[], 0, &[]);
        check(&[pattern("nope", &[])], 0, &[]);
        check(&[pattern("restream_process", &[])], 30, &frame_of_a);
        check(&[pattern("restream_process", &[("processid", "a")])], 30, &frame_of_a);
        check(&[pattern("restream_process", &[("processid", "^a$")])], 15, &frame_of_a);
        check(&[pattern("restream_process", &[("processid", "^a$"), ("name", "^f")])], 2, &frame_of_a);
        check(&[pattern("restream_process", &[("processid", "[")])], 0, &[]);
        check(&[pattern("restream_process", &[("nope", "")])], 0, &[]);
        check(&[pattern("net_rx", &[])], 2, &[("interface", "lo")]);
        check(&[pattern("net_rx", &[("interface", "eth")])], 1, &[("interface", "eth0")]);
        check(&[pattern("net_tx", &[])], 0, &[]);
        let union = [pattern("net_rx", &[("interface", "lo")]), pattern("net_rx", &[])];
        check(&union, 2, &[("interface", "lo")]);
    }

    #[test]
    fn a_query_names_its_families() {
        let query = Query { patterns: vec![pattern("restream_io", &[])], ..Query::default() };
        assert!(query.concerns(Family::Input) && query.concerns(Family::Output));
        assert!(!query.concerns(Family::Process) && !query.concerns(Family::Cpu));
    }
}
