//! `/api/v3/metrics` and `/metrics` (`contract/http-api.md` §7.6).

use std::collections::BTreeMap;

use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde::de::MapAccess;
use serde::ser::{SerializeMap, SerializeSeq, SerializeTuple, Serializer};

use crate::http::json::{List, Member, Members, Object, dec3};
use crate::http::request::JSON_BODY;
use crate::http::response::{full, json};
use crate::http::{Answer, Context, Error, Request, Response};
use crate::monitor::{self, PATTERNS, Pattern};

/// What Prometheus reads.
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

#[derive(Serialize)]
struct Description {
    name: &'static str,
    description: &'static str,
    labels: &'static [&'static str],
}

#[derive(Debug, Default)]
struct Query {
    timerange_sec: Option<i64>,
    interval_sec: Option<i64>,
    metrics: List<Option<Object<QueryMetric>>>,
}

#[derive(Debug, Default)]
struct QueryMetric {
    name: Option<String>,
    labels: Option<BTreeMap<String, Option<String>>>,
}

impl Members for Query {
    fn member<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.key.as_str() {
            "timerange_sec" => member.read("int64", &mut self.timerange_sec),
            "interval_sec" => member.read("int64", &mut self.interval_sec),
            "metrics" => member.read_list("[]object", &mut self.metrics),
            _ => member.skip(),
        }
    }
}

impl Members for QueryMetric {
    fn member<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.key.as_str() {
            "name" => member.read("string", &mut self.name),
            "labels" => member.read("object", &mut self.labels),
            _ => member.skip(),
        }
    }
}

impl From<QueryMetric> for Pattern {
    fn from(QueryMetric { name, labels }: QueryMetric) -> Self {
        let labels = labels.unwrap_or_default().into_iter().map(|(name, value)| (name, value.unwrap_or_default()));
        Self { name: name.unwrap_or_default(), labels: labels.collect() }
    }
}

#[derive(Serialize)]
struct Found {
    timerange_sec: u64,
    interval_sec: u64,
    metrics: Vec<Series>,
}

#[derive(Serialize)]
struct Series {
    name: &'static str,
    /// `null` without labels.
    labels: Option<Labels>,
    values: Values,
}

struct Labels(Vec<(&'static str, String)>);

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

struct Values(Vec<(i64, f64)>);

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut values = serializer.serialize_seq(Some(self.0.len()))?;
        for &(time, value) in &self.0 {
            values.serialize_element(&Pair(time, value))?;
        }
        values.end()
    }
}

/// Unix seconds and value.
struct Pair(i64, f64);

impl Serialize for Pair {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Dec3(f64);
        impl Serialize for Dec3 {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                dec3(&self.0, serializer)
            }
        }
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element(&self.0)?;
        pair.serialize_element(&Dec3(self.1))?;
        pair.end()
    }
}

pub(crate) async fn describe(_ctx: &Context, _req: Request) -> Answer {
    let described =
        |row: &monitor::Description| Description { name: row.name, description: row.text, labels: row.labels };
    json(&monitor::DESCRIPTIONS.iter().map(described).collect::<Vec<_>>())
}

pub(crate) async fn query(ctx: &Context, mut req: Request) -> Answer {
    let Object(query) = req.json::<Object<Query>>(JSON_BODY).await?;
    let patterns = query.metrics.or(Vec::new());
    if patterns.len() > PATTERNS {
        let detail = format!("{} metrics are asked for, at most {PATTERNS} are answered at once", patterns.len());
        return Err(Error::new(StatusCode::BAD_REQUEST, "Invalid query", [detail]));
    }
    let query = monitor::Query {
        timerange: query.timerange_sec.unwrap_or(0),
        interval: query.interval_sec.unwrap_or(0),
        patterns: patterns.into_iter().map(|pattern| pattern.unwrap_or_default().0.into()).collect(),
    };
    let monitor::Answer { timerange, interval, metrics } = ctx.monitor.query(&query).await;
    let metrics = metrics.into_iter().map(|monitor::Series { name, labels, values }| {
        let labels = (!labels.is_empty()).then_some(Labels(labels));
        Series { name, labels, values: Values(values) }
    });
    json(&Found { timerange_sec: timerange, interval_sec: interval, metrics: metrics.collect() })
}

/// `GET /metrics`.
pub(crate) async fn exposition(ctx: &Context, _req: Request) -> Answer {
    let text = ctx.monitor.exposition(&ctx.instance.id).await;
    let mut response = Response::new(full(text));
    response.headers_mut().insert(header::CONTENT_TYPE, EXPOSITION);
    Ok(response)
}
