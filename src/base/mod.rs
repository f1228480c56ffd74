//! Leaves that everything else may use: clocks, ids, globs, back-off, bounded blocking work, control requests,
//! the one client for other hosts and the one for the root helper.

pub mod alarm;
pub mod backoff;
pub mod clock;
pub mod control;
pub mod error;
pub mod file_driver;
pub mod id;
pub mod json;
mod net;
pub mod path;
mod pattern;
pub mod stamp;
pub mod task;
pub mod tree;

pub use net::{admin_client, https_client};
pub use pattern::{glob, re2};
pub use task::blocking;
