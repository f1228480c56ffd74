//! Answers that handlers return.

use std::pin::Pin;

use bytes::Bytes;
use http::{StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde::Serialize;

use super::request::condition::Tag;
use super::{Error, Request};

/// A body that may stream; an error while streaming closes the connection. Not `Send`: it may hold handles.
pub type Body = Pin<Box<dyn http_body::Body<Data = Bytes, Error = std::io::Error>>>;
/// What goes back to hyper.
pub type Response = http::Response<Body>;
/// What every handler returns.
pub type Answer = Result<Response, Error>;

/// A body that is complete.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Box::pin(Full::new(bytes.into()).map_err(|never| match never {}))
}

/// Marks bodies that `pretty` indents.
#[derive(Clone, Copy)]
pub(crate) struct Json;

/// 200 with compact JSON and a trailing newline. The layer above indents it when the query has `pretty`.
pub fn json(value: &impl Serialize) -> Answer {
    json_text(super::json::to_vec(value).map_err(|e| Error::internal(&e))?)
}

/// As `json`, from compact JSON.
pub(crate) fn json_text(mut bytes: Vec<u8>) -> Answer {
    bytes.push(b'\n');
    let mut response = Response::new(full(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response.extensions_mut().insert(Json);
    Ok(response)
}

/// As `json_text` with an entity tag, or what the conditions of the request make of it.
pub(crate) fn json_tagged(bytes: Vec<u8>, req: &Request) -> Answer {
    let tag = Tag::of(&bytes);
    req.conditions().answer(&req.method, &tag, json_text(bytes)?)
}

/// 200 with the JSON string `"OK"`.
pub fn ok() -> Answer {
    json(&"OK")
}

/// An empty body.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}
