//! Measured values as pure data: what they are called, their history, the text for Prometheus.
//!
//! `monitor` makes rows → `History::push` and `Query::select` → `Answer`; rows → `text::exposition`. Knows no owner, no
//! clock and no file.

mod family;
mod query;
mod requests;
mod series;
mod text;

pub use family::{DESCRIPTIONS, Description, Family, Row, STATES};
pub use query::{Answer, PATTERNS, Pattern, Query, Series};
pub use requests::Requests;
pub use series::{HISTORY_BYTES, History};
pub use text::exposition;
