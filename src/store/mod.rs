//! Crash-safe documents on flash: process definitions, orders and metadata in `db.json` (version 4).

pub mod schema;

pub use schema::{Db, Record};
