//! `metrics`: values of now or of the history, as `/api/v3/metrics` gives them.

use async_graphql::{InputObject, InputValueError, InputValueResult, Name, Scalar, ScalarType, SimpleObject, Value};

use super::scalar::Map;
use crate::monitor::{self, Pattern};

/// Bytes of a series without its values, and of a value, roughly.
const SERIES: usize = 512;
const VALUE: usize = 96;

#[derive(Debug, InputObject)]
#[graphql(rename_fields = "snake_case")]
pub(in crate::http::graph) struct MetricsInput {
    timerange_seconds: Option<i64>,
    interval_seconds: Option<i64>,
    metrics: Vec<MetricInput>,
}

#[derive(Debug, InputObject)]
#[graphql(rename_fields = "snake_case")]
struct MetricInput {
    name: String,
    labels: Option<Map>,
}

#[derive(Clone, Debug, SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub(in crate::http::graph) struct Metrics {
    timerange_seconds: Option<u64>,
    interval_seconds: Option<u64>,
    metrics: Vec<Metric>,
}

#[derive(Clone, Debug, SimpleObject)]
#[graphql(rename_fields = "snake_case")]
struct Metric {
    name: &'static str,
    /// Empty without labels, never null.
    labels: Option<Map>,
    values: Vec<MetricsResponseValue>,
}

/// Unix seconds and value.
#[derive(Clone, Copy, Debug)]
struct MetricsResponseValue(i64, f64);

#[Scalar]
impl ScalarType for MetricsResponseValue {
    fn parse(value: Value) -> InputValueResult<Self> {
        Err(InputValueError::expected_type(value))
    }

    fn to_value(&self) -> Value {
        Value::List(vec![Value::from(self.0), Value::from(thousandths(self.1))])
    }
}

/// As all numbers of the metrics: three decimals.
fn thousandths(value: f64) -> f64 {
    if value.is_finite() { (value * 1000.0).round() / 1000.0 } else { 0.0 }
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
        let members = match input.labels {
            Some(Map(Value::Object(members))) => members,
            _ => Default::default(),
        };
        // What is no text is looked for as it is written.
        let expression = |value: Value| match value {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let labels = members.into_iter().map(|(name, value)| (name.to_string(), expression(value)));
        Self { name: input.name, labels: labels.collect() }
    }
}

impl From<monitor::Answer> for Metrics {
    fn from(answer: monitor::Answer) -> Self {
        Self {
            timerange_seconds: Some(answer.timerange),
            interval_seconds: Some(answer.interval),
            metrics: answer.metrics.into_iter().map(Metric::from).collect(),
        }
    }
}

impl From<monitor::Series> for Metric {
    fn from(series: monitor::Series) -> Self {
        let labels = series.labels.into_iter().map(|(name, value)| (Name::new(name), Value::String(value)));
        Self {
            name: series.name,
            labels: Some(Map(Value::Object(labels.collect()))),
            values: series.values.into_iter().map(|(time, value)| MetricsResponseValue(time, value)).collect(),
        }
    }
}

/// What an answer takes, roughly.
pub(in crate::http::graph) fn bytes(answer: &monitor::Answer) -> usize {
    answer.metrics.iter().map(|series| SERIES + VALUE * series.values.len()).sum()
}
