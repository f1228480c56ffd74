//! Error → status + body. The only place that knows status codes of failures.

pub(crate) mod config;
pub(crate) mod process;
pub(crate) mod session;
pub(crate) mod storage;

use http::StatusCode;

pub use crate::base::error::chain;

/// Core's error shape: `{"code","message","details"}` (`contract/http-api.md` §2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub status: StatusCode,
    pub message: String,
    /// A text of several lines becomes several entries on the wire.
    pub details: Vec<String>,
    /// Headers that belong to the refusal (`Allow`, `WWW-Authenticate`).
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
}

impl Error {
    /// A handler's refusal with its own message.
    pub fn new(status: StatusCode, message: &str, details: impl IntoIterator<Item = String>) -> Self {
        Self { status, message: message.to_owned(), details: details.into_iter().collect(), headers: Vec::new() }
    }

    /// A refusal by router or middleware: the standard phrase as message and only detail.
    pub fn status(status: StatusCode) -> Self {
        let phrase = status.canonical_reason().unwrap_or("Unknown").to_owned();
        Self::new(status, &phrase.clone(), [phrase])
    }

    /// 404 of an unknown route.
    pub fn not_found() -> Self {
        Self::status(StatusCode::NOT_FOUND)
    }

    /// 500 with the whole chain of causes as detail.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", [chain(error)])
    }
}
