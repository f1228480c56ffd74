//! What every answer passes on its way out: error → body, `pretty`, gzip, CORS, and the access log around all of it.

pub(crate) mod access_log;
pub(crate) mod cors;
pub(crate) mod gzip;
pub(crate) mod pretty;

use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use serde::Serialize;

use super::response::{self, Answer, Response};
use super::route::Gzip;
use super::{Error, Query};

/// What the layers know of the request.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    /// As sent.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) origin: Option<&'a HeaderValue>,
    /// `Access-Control-Request-Headers`.
    pub(crate) requested: Option<&'a HeaderValue>,
    pub(crate) accepts_gzip: bool,
    pub(crate) gzip: Gzip,
}

/// Turns what a handler returned into what is sent.
pub(crate) fn finish(
    asked: &Asked<'_>,
    answer: Answer,
    compressions: &gzip::Compressions,
    cors: &cors::Cors,
) -> Response {
    let mut response = answer.unwrap_or_else(|error| render(asked.method, error));
    if response.extensions().get::<response::Json>().is_some() && Query::parse(asked.query).has("pretty") {
        response = pretty::indent(response);
    }
    let compressible = gzip::concerns(asked.gzip, &response);
    if compressible {
        response = gzip::apply(asked, response, compressions);
    }
    let headers = response.headers_mut();
    let preflight =
        asked.method == Method::OPTIONS && cors.preflight(asked.path, asked.origin, asked.requested, headers);
    if asked.method != Method::OPTIONS {
        cors.apply(asked.path, asked.origin, headers);
    }
    let vary = vary(compressible, preflight);
    // Files in memory bring it along.
    if !headers.iter().any(|(name, value)| *name == header::VARY && *value == vary) {
        headers.insert(header::VARY, vary);
    }
    response
}

/// What the answer with a file of this type will vary with.
pub(crate) fn file_vary(content_type: &HeaderValue) -> HeaderValue {
    vary(gzip::is_worthy(content_type), false)
}

/// The request headers that an answer depends on.
fn vary(compressible: bool, preflight: bool) -> HeaderValue {
    const PLAIN: HeaderValue = HeaderValue::from_static("Origin");
    const COMPRESSIBLE: HeaderValue = HeaderValue::from_static("Accept-Encoding, Origin");
    const PREFLIGHT: HeaderValue =
        HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    const BOTH: HeaderValue = HeaderValue::from_static(
        "Accept-Encoding, Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    );
    match (compressible, preflight) {
        (false, false) => PLAIN,
        (true, false) => COMPRESSIBLE,
        (false, true) => PREFLIGHT,
        (true, true) => BOTH,
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
