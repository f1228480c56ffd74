//! `metrics`: values of now or of the history, as `/api/v3/metrics` gives them.

use std::collections::BTreeMap;

use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::tree;
use crate::http::json;
use crate::monitor::{self, Pattern};

/// Bytes of a series without its values, and of a value, roughly.
const SERIES: usize = 1024;
const VALUE: usize = 192;

#[derive(Debug, Deserialize)]
pub(in crate::http::graph) struct MetricsInput {
    #[serde(default)]
    timerange_seconds: Option<i64>,
    #[serde(default)]
    interval_seconds: Option<i64>,
    metrics: Vec<MetricInput>,
}

#[derive(Debug, Deserialize)]
struct MetricInput {
    name: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, Value>>,
}

#[derive(Serialize)]
pub(in crate::http::graph) struct Metrics<'a> {
    timerange_seconds: u64,
    interval_seconds: u64,
    metrics: Vec<Metric<'a>>,
}

#[derive(Serialize)]
struct Metric<'a> {
    name: &'static str,
    /// Empty without labels, never null.
    labels: BTreeMap<&'static str, &'a str>,
    values: Vec<Pair>,
}

/// Unix seconds and value.
#[derive(Serialize)]
struct Pair(i64, #[serde(serialize_with = "thousandths")] f64);

/// As all numbers of the metrics: three decimals.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature of serialize_with")]
fn thousandths<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(json::rounded(*value))
}

impl From<MetricsInput> for monitor::Query {
    fn from(input: MetricsInput) -> Self {
        Self {
            timerange: input.timerange_seconds.unwrap_or(0),
            interval: input.interval_seconds.unwrap_or(0),
            patterns: input.metrics.into_iter().map(Pattern::from).collect(),
        }
    }
}

impl From<MetricInput> for Pattern {
    fn from(input: MetricInput) -> Self {
        // What is no text is looked for as it is written.
        let expression = |value: Value| match value {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let labels = input.labels.into_iter().flatten().map(|(name, value)| (name, expression(value)));
        Self { name: input.name, labels: labels.collect() }
    }
}

impl<'a> From<&'a monitor::Answer> for Metrics<'a> {
    fn from(answer: &'a monitor::Answer) -> Self {
        Self {
            timerange_seconds: answer.timerange,
            interval_seconds: answer.interval,
            metrics: answer.metrics.iter().map(Metric::from).collect(),
        }
    }
}

impl<'a> From<&'a monitor::Series> for Metric<'a> {
    fn from(series: &'a monitor::Series) -> Self {
        Self {
            name: series.name,
            labels: tree::map(series.labels.iter().map(|(name, value)| (*name, value.as_str()))),
            values: series.values.iter().map(|&(time, value)| Pair(time, value)).collect(),
        }
    }
}

/// What an answer takes as a value, roughly.
pub(in crate::http::graph) fn bytes(answer: &monitor::Answer) -> usize {
    answer.metrics.iter().map(|series| SERIES + VALUE * series.values.len()).sum()
}
