//! What goes back: `{errors, data}` with the status and the codes of `contract/http-api.md` §8.

use async_graphql::{PathSegment, Pos, Response as Executed, ServerError, Value};
use http::StatusCode;
use serde::Serialize;

use super::request::Unreadable;
use crate::http::{Answer, response};

const PARSE_FAILED: &str = "GRAPHQL_PARSE_FAILED";
const VALIDATION_FAILED: &str = "GRAPHQL_VALIDATION_FAILED";

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault<'a>>,
    data: &'a Value,
}

#[derive(Default, Serialize)]
struct Fault<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    locations: &'a [Pos],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    path: &'a [PathSegment],
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<Extensions>,
}

#[derive(Serialize)]
struct Extensions {
    code: &'static str,
}

/// 400: the body is no query. Its type is JSON whatever was sent (H33).
pub(super) fn unreadable(why: &Unreadable) -> Answer {
    let message = why.to_string();
    refuse(StatusCode::BAD_REQUEST, vec![Fault { message: &message, ..Fault::default() }])
}

/// 422: the text is no GraphQL.
pub(super) fn unparsed(message: &str, locations: &[Pos]) -> Answer {
    let extensions = Some(Extensions { code: PARSE_FAILED });
    refuse(StatusCode::UNPROCESSABLE_ENTITY, vec![Fault { message, locations, extensions, ..Fault::default() }])
}

/// 422: GraphQL, but not of this schema or beyond its limits.
pub(super) fn invalid(message: &str) -> Answer {
    refuse(StatusCode::UNPROCESSABLE_ENTITY, vec![violation(message, &[])])
}

/// 200 with data and the errors of single fields; 422 if it did not come to that.
pub(super) fn executed(executed: &Executed) -> Answer {
    let Executed { data, errors, .. } = executed;
    // What fails while a field is resolved says where; everything before that has no path.
    let before = |error: &ServerError| error.path.is_empty();
    if *data == Value::Null && !errors.is_empty() && errors.iter().all(before) {
        let errors = errors.iter().map(|error| violation(&error.message, &error.locations)).collect();
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, errors);
    }
    let errors = errors.iter().map(|error| Fault { message: &error.message, path: &error.path, ..Fault::default() });
    response::json(&Body { errors: errors.collect(), data })
}

fn violation<'a>(message: &'a str, locations: &'a [Pos]) -> Fault<'a> {
    Fault { message, locations, extensions: Some(Extensions { code: VALIDATION_FAILED }), ..Fault::default() }
}

fn refuse(status: StatusCode, errors: Vec<Fault<'_>>) -> Answer {
    let mut response = response::json(&Body { errors, data: &Value::Null })?;
    *response.status_mut() = status;
    Ok(response)
}
