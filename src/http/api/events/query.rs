//! The query of `GET /api/v3/events` → `Filter`. Names and patterns of processes as in `GET /api/v3/process`.

use http::StatusCode;

use crate::base::glob::Glob;
use crate::base::tree;
use crate::events::{Filter, Kind, Subjects};
use crate::http::{Error, Query};

/// Reads `types`, `id`, `idpattern`, `reference`, `refpattern`, `topics`, `level`.
///
/// # Errors
/// 400 that names each value that is not understood.
pub(super) fn filter(query: &Query) -> Result<Filter, Error> {
    let mut faults = Vec::new();
    let mut filter = Filter::default();
    for name in words(query, "types") {
        match Kind::ALL.into_iter().find(|kind| kind.name() == name) {
            Some(kind) => drop(filter.kinds.insert(kind)),
            None => faults.push(format!("types: unknown type '{name}'; known are: {}", known())),
        }
    }
    if query.value("id").is_some() {
        filter.subjects.push(Subjects::Ids(tree::set(words(query, "id").map(str::to_owned))));
    }
    if let Some(reference) = query.value("reference") {
        filter.subjects.push(Subjects::Reference(reference.to_owned()));
    }
    let mut pattern = |name: &str, rule: fn(Glob) -> Subjects| {
        let Some(pattern) = query.value(name) else { return };
        match Glob::new(pattern, None) {
            Some(glob) => filter.subjects.push(rule(glob)),
            None => faults.push(format!("{name}: '{pattern}' is no pattern")),
        }
    };
    pattern("idpattern", Subjects::IdPattern);
    pattern("refpattern", Subjects::ReferencePattern);
    filter.topics = words(query, "topics").map(str::to_lowercase).collect();
    match query.value("level").map(|level| (level, level.parse())) {
        Some((_, Ok(level))) => filter.level = Some(level),
        Some((level, Err(_))) => {
            faults.push(format!("level: unknown level '{level}'; known are: error, warn, info, debug"));
        }
        None => {}
    }
    if faults.is_empty() { Ok(filter) } else { Err(Error::new(StatusCode::BAD_REQUEST, "Bad request", faults)) }
}

fn words<'q>(query: &'q Query, name: &str) -> impl Iterator<Item = &'q str> + use<'q> {
    query.value(name).unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn known() -> String {
    Kind::ALL.map(Kind::name).join(", ")
}
