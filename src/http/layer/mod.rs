//! What every answer passes on its way out: error → body, `pretty`, gzip, CORS, and the access log around all of it.

pub(crate) mod access_log;
pub(crate) mod cors;
pub(crate) mod gzip;
pub(crate) mod pretty;

use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::Serialize;

use super::response::{self, Answer, Response};
use super::route::Gzip;
use super::{Error, Query};

/// What the layers know of the request.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) query: &'a Query,
    pub(crate) accepts_gzip: bool,
    pub(crate) gzip: Gzip,
}

/// Turns what a handler returned into what is sent, CORS aside.
pub(crate) fn finish(asked: &Asked<'_>, answer: Answer, compressions: &gzip::Compressions) -> Response {
    let mut response = answer.unwrap_or_else(|error| render(asked.method, error));
    if response.extensions().get::<response::Json>().is_some() && asked.query.has("pretty") {
        response = pretty::indent(response);
    }
    gzip::apply(asked, response, compressions)
}

/// Adds `value` to a header that holds a list, unless it is there.
pub(crate) fn add(headers: &mut http::HeaderMap, name: HeaderName, value: &'static str) {
    let there = headers.get_all(&name).iter().any(|held| held.as_bytes().eq_ignore_ascii_case(value.as_bytes()));
    if !there {
        headers.append(name, HeaderValue::from_static(value));
    }
}

/// An error as Core writes it (§2.3). An answer to `HEAD` is its status only.
fn render(method: &Method, error: Error) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        code: u16,
        message: &'a str,
        details: Vec<&'a str>,
    }
    let body = Body {
        code: error.status.as_u16(),
        message: &error.message,
        details: error.details.iter().flat_map(|text| text.split('\n')).collect(),
    };
    let mut response = if method == Method::HEAD {
        response::empty(error.status)
    } else {
        response::json(&body).unwrap_or_else(|_| response::empty(StatusCode::INTERNAL_SERVER_ERROR))
    };
    *response.status_mut() = error.status;
    for (name, value) in error.headers {
        if name != header::CONTENT_TYPE || method == Method::HEAD {
            response.headers_mut().append(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests;
