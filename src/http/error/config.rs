//! A refused `PUT /api/v3/config` as an answer (`contract/http-api.md` §7.4).

use http::StatusCode;

use super::{Error, chain};
use crate::config::PutError;
use crate::config::merge;

/// Everything but invalid values, which are a map of their own.
pub(crate) fn put(error: &PutError) -> Error {
    match error {
        PutError::Partial(merge::Error::Version(version)) => {
            Error::new(StatusCode::BAD_REQUEST, "Invalid config version", [format!("version {version}")])
        }
        PutError::Partial(
            merge::Error::Syntax { .. }
            | merge::Error::Type { .. }
            | merge::Error::Shape { .. }
            | merge::Error::RtmpAddress(_),
        ) => Error::new(StatusCode::BAD_REQUEST, "Invalid JSON", [chain(error)]),
        PutError::Invalid(faults) => Error::new(StatusCode::CONFLICT, "Invalid config", [faults.to_string()]),
        PutError::Changed => Error::new(StatusCode::CONFLICT, "Conflict", [chain(error)]),
        PutError::Write { .. } => {
            Error::new(StatusCode::INTERNAL_SERVER_ERROR, "Failed to store config", [chain(error)])
        }
    }
}
