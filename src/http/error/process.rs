//! The supervisor's refusals as answers; the message depends on what was asked for (`contract/http-api.md` §6, §7.1).

use http::StatusCode;

use super::Error;
use crate::base::error::chain;
use crate::supervisor;

/// `POST /api/v3/process`.
pub(crate) fn add(error: &supervisor::Error) -> Error {
    refused(error, "Invalid process config")
}

/// `PUT /api/v3/process/{id}`.
pub(crate) fn update(error: &supervisor::Error) -> Error {
    match error {
        supervisor::Error::UnknownProcess(id) => not_found(id),
        error => refused(error, "Process can't be updated"),
    }
}

/// `DELETE /api/v3/process/{id}`.
pub(crate) fn delete(error: &supervisor::Error) -> Error {
    match error {
        supervisor::Error::UnknownProcess(_) => unknown_process(),
        error => Error { status: StatusCode::INTERNAL_SERVER_ERROR, ..refused(error, "Process can't be deleted") },
    }
}

/// `PUT /api/v3/process/{id}/command`; an unknown process is no 404 here (H18).
pub(crate) fn command(error: &supervisor::Error) -> Error {
    refused(error, "Command failed")
}

/// `PUT` of metadata.
pub(crate) fn metadata(error: &supervisor::Error) -> Error {
    match error {
        supervisor::Error::UnknownProcess(_) => unknown_process(),
        error => refused(error, "Invalid metadata"),
    }
}

/// `PUT /api/v3/rill/state`.
pub(crate) fn state(error: &supervisor::Error) -> Error {
    refused(error, "Invalid state")
}

/// Reading what does not exist.
pub(crate) fn unknown_process() -> Error {
    Error::new(StatusCode::NOT_FOUND, "Unknown process ID", ["unknown process".to_owned()])
}

/// A key that a process does not have; the message names the process all the same (H22).
pub(crate) fn unknown_process_key() -> Error {
    Error::new(StatusCode::NOT_FOUND, "Unknown process ID", ["unknown key".to_owned()])
}

/// A key that the global metadata does not have.
pub(crate) fn unknown_key() -> Error {
    Error::new(StatusCode::NOT_FOUND, "Metadata not found", ["unknown key".to_owned()])
}

/// A call to a playout input that is not there.
pub(crate) fn no_playout(detail: String) -> Error {
    Error::new(StatusCode::NOT_FOUND, "Unknown process or input", [detail])
}

/// An update of what does not exist.
pub(crate) fn not_found(id: &str) -> Error {
    Error::new(StatusCode::NOT_FOUND, "Process not found", [id.to_owned()])
}

/// A body that breaks the rules of the endpoint, one detail per violation.
pub(crate) fn violations(details: Vec<String>) -> Error {
    Error::new(StatusCode::BAD_REQUEST, "Invalid JSON", details)
}

/// 400 with the supervisor's text, unless the fault is ours.
fn refused(error: &supervisor::Error, message: &str) -> Error {
    use supervisor::Error as E;
    let (status, message) = match error {
        E::UnknownProcess(_)
        | E::Exists(_)
        | E::Invalid(_)
        | E::InvalidDefinition(_)
        | E::Limit(_)
        | E::Full { .. }
        | E::Items(_)
        | E::Changed(_)
        | E::EmptyKey => (StatusCode::BAD_REQUEST, message),
        E::Store(_) | E::Panicked => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        E::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    };
    Error::new(status, message, [chain(error)])
}
