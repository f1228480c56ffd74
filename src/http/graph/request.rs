//! The body of a query: `query`, `variables`, `operationName`.

use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{Value, Variables};
use http::header;
use serde::Deserialize;

use crate::http::request::JSON_BODY;
use crate::http::{Error, Request};

/// What is to be executed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    #[serde(deserialize_with = "absent_if_null")]
    pub(super) query: String,
    #[serde(deserialize_with = "absent_if_null")]
    pub(super) variables: Variables,
    #[serde(rename = "operationName")]
    pub(super) operation_name: Option<String>,
}

/// Why a body is no query.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("transport not supported")]
    ContentType,
    #[error("json request body could not be decoded: an object is expected")]
    NoObject,
    #[error("json request body could not be decoded: {0}")]
    Json(#[from] serde_json::Error),
}

/// A variable that the operation needs was not given.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("variable \"${0}\" must be defined")]
pub(super) struct MissingVariable(String);

/// Reads the body; at most `JSON_BODY` bytes.
///
/// # Errors
/// 413, 408 as for every JSON body; inside, what answers 400 in GraphQL's shape.
pub(super) async fn read(req: &mut Request) -> Result<Result<Asked, Unreadable>, Error> {
    let content_type = req.header(header::CONTENT_TYPE).unwrap_or("").split(';').next().unwrap_or("");
    if !content_type.trim().eq_ignore_ascii_case("application/json") {
        return Ok(Err(Unreadable::ContentType));
    }
    let body = req.body.read(JSON_BODY).await?;
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|first| *first != b'{') {
        return Ok(Err(Unreadable::NoObject));
    }
    Ok(serde_json::from_slice(&body).map_err(Unreadable::from))
}

/// Refuses a document one of whose operations needs a variable that is neither given nor has a default. async-graphql
/// would find out only while it executes.
pub(super) fn check_variables(document: &ExecutableDocument, given: &Variables) -> Result<(), MissingVariable> {
    let mut operations = document.operations.iter().map(|(_, operation)| &operation.node);
    let Some(operation) = operations.next() else { return Ok(()) };
    if operations.next().is_some() {
        // Which of several is meant is decided later; the executor has the last word there.
        return Ok(());
    }
    let missing = operation.variable_definitions.iter().map(|definition| &definition.node).find(|definition| {
        let absent = matches!(given.get(&definition.name.node), None | Some(Value::Null));
        absent && !definition.var_type.node.nullable && definition.default_value.is_none()
    });
    missing.map_or(Ok(()), |definition| Err(MissingVariable(definition.name.node.to_string())))
}

fn absent_if_null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
