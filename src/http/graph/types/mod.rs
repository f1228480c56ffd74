//! The values of the schema's types as they are shown: one file per root field, names as `contract/http-api.md` §8
//! spells them. The status of a playout input is that of `http/api/playout`.
//!
//! Made from the views of their owners by the local half of the request; `schema.graphql` says what clients may select.

pub(super) mod about;
pub(super) mod metrics;
pub(super) mod probe;
pub(super) mod process;
mod progress;
mod report;

use std::time::{Duration, UNIX_EPOCH};

use crate::base::stamp::Stamp;

/// A `Time` from Unix seconds. Before 1970 there is no time that could be meant: 0001-01-01.
fn time(seconds: i64) -> Stamp {
    u64::try_from(seconds).map_or(Stamp::ZERO, |seconds| Stamp::at(UNIX_EPOCH + Duration::from_secs(seconds)))
}
