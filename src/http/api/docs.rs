//! The documentation routes (`contract/http-api.md` §11.4) and `/api/openapi.json`: open to all, nothing from elsewhere.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use crate::http::openapi::{self, Dialect};
use crate::http::response::{self, full, json_text};
use crate::http::{Answer, Context, Error, Request, Response};

/// What is asked of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    OpenApi,
    Swagger,
    Viewer,
    Script,
    Style,
    /// The folder itself.
    Index,
    Unknown,
}

impl Page {
    /// By what stands behind `/api/swagger/`.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "doc.json" => Self::Swagger,
            "index.html" => Self::Viewer,
            "viewer.js" => Self::Script,
            "viewer.css" => Self::Style,
            "" => Self::Index,
            _ => Self::Unknown,
        }
    }
}

/// The page loads and asks this daemon only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

pub(crate) async fn get(_: &Context, _: Request, page: Page) -> Answer {
    match page {
        Page::OpenApi => document(Dialect::OpenApi),
        Page::Swagger => document(Dialect::Swagger),
        Page::Viewer => {
            let mut response = text("text/html; charset=utf-8", openapi::VIEWER);
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            Ok(response)
        }
        Page::Script => Ok(text("text/javascript; charset=utf-8", openapi::VIEWER_SCRIPT)),
        Page::Style => Ok(text("text/css; charset=utf-8", openapi::VIEWER_STYLE)),
        Page::Index => {
            let mut response = response::empty(StatusCode::MOVED_PERMANENTLY);
            let viewer = HeaderValue::from_static("/api/swagger/index.html");
            response.headers_mut().insert(header::LOCATION, viewer);
            Ok(response)
        }
        Page::Unknown => {
            let mut response = text("text/plain; charset=utf-8", "404 page not found\n");
            *response.status_mut() = StatusCode::NOT_FOUND;
            Ok(response)
        }
    }
}

fn document(dialect: Dialect) -> Answer {
    let mut response = json_text(openapi::document(dialect).map_err(|e| Error::internal(&e))?)?;
    if dialect == Dialect::Swagger {
        // Core names the charset here and nowhere else.
        let kind = HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    Ok(response)
}

fn text(kind: &'static str, text: &'static str) -> Response {
    let mut response = Response::new(full(Bytes::from_static(text.as_bytes())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
