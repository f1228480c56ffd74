//! Refusals of the file systems as answers (`contract/http-api.md` §7.3, §9).
//!
//! What a client asked too much for is 400 as in the reference, also a file system that is full by its own limit
//! (H23); a disk that fails is 5xx, and so is an S3 server, for which we are a gateway.

use std::io;

use http::StatusCode;

use super::{Error, chain};
use crate::base::https_client;
use crate::{memfs, storage};

/// `path` as it was asked for.
pub(crate) fn missing(path: &str) -> Error {
    Error::new(StatusCode::NOT_FOUND, "File not found", [path.to_owned()])
}

pub(crate) fn unknown_mount(name: &str) -> Error {
    Error::new(StatusCode::NOT_FOUND, "File not found", [format!("unknown filesystem: {name}")])
}

/// A file of `path` that was not read, written or removed.
pub(crate) fn refused(error: &storage::Error, path: &str) -> Error {
    use storage::Error as E;
    let text = chain(error);
    match error {
        E::NotFound => missing(path),
        E::NoName | E::IsDirectory(_) | E::BadName { .. } | E::TooBig | E::Full => bad_request(text),
        E::Memfs(memfs::Error::NoName | memfs::Error::NameTooLong | memfs::Error::TooBig | memfs::Error::Full) => {
            bad_request(text)
        }
        E::S3(error) => from_s3(error, text),
        E::Io { source, .. } => {
            let is_full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            let (status, message) = if is_full {
                (StatusCode::INSUFFICIENT_STORAGE, "Insufficient Storage")
            } else {
                (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
            };
            Error::new(status, message, [text])
        }
    }
}

fn from_s3(error: &storage::S3Error, text: String) -> Error {
    use storage::S3Error as E;
    let status = match error {
        E::LongName | E::TooBig => return bad_request(text),
        E::Busy => StatusCode::SERVICE_UNAVAILABLE,
        E::Send(https_client::Error::Time { .. }) => StatusCode::GATEWAY_TIMEOUT,
        E::Send(_) | E::Refused { .. } | E::Answer(_) | E::Endpoint(_) | E::Changed | E::Short | E::Ended => {
            StatusCode::BAD_GATEWAY
        }
    };
    Error::new(status, status.canonical_reason().unwrap_or_default(), [text])
}

/// An upload that did not arrive whole.
pub(crate) fn incomplete(error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::TimedOut {
        return Error::new(StatusCode::REQUEST_TIMEOUT, "Request Timeout", [error.to_string()]);
    }
    bad_request(format!("the upload is incomplete: {error}"))
}

fn bad_request(detail: String) -> Error {
    Error::new(StatusCode::BAD_REQUEST, "Bad request", [detail])
}
