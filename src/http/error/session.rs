//! Refusals of viewers as answers (`contract/http-api.md` §10).

use http::StatusCode;

use super::Error;
use crate::session::Exceeded;

/// The message is misspelt for ever (H55).
pub(crate) fn exceeded(error: Exceeded) -> Error {
    let status = StatusCode::from_u16(509).expect("three digits");
    match error {
        Exceeded::Sessions | Exceeded::Bitrate => Error::new(status, "Bandwith limit exceeded", [error.to_string()]),
    }
}
