//! Measures: every handle, `/proc` and the volumes, for queries, for Prometheus and for the history.
//!
//! ```text
//! handles, sys::usage ─ rows ─► Query::select ─► current values          ticker ─ rows ─► History ─► values of the past
//!                               text::exposition ─► /metrics
//! ```
//! Nothing is measured before somebody asks; only `metrics.enable` starts a ticker, at the configured interval. Beside that
//! the board's health is looked at every few seconds, seldom while nothing runs: readings ─ health ─► alarms, `rill_health`.
//! What may hang with a disk is measured beside everything else and answers are given with what is known.

mod cpu;
mod driver;
mod health;
mod health_driver;
mod rows;

pub use crate::metrics::{Answer, DESCRIPTIONS, Description, PATTERNS, Pattern, Query, Series};
pub use driver::{Deps, Handle, spawn};
pub use health_driver::Board;
