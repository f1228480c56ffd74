//! The types of the schema: one file per root field, names as `contract/http-api.md` §8 spells them.
//!
//! All are owned values, made from the views of their owners by the local half of the request.

pub(super) mod about;
pub(super) mod metrics;
pub(super) mod playout;
pub(super) mod probe;
pub(super) mod process;
mod progress;
mod report;
mod scalar;

use async_graphql::Enum;

pub(super) use report::IProcessReportHistoryEntry;

/// Part of the schema, used by no field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum Command {
    Start,
    Stop,
    Restart,
    Reload,
}
