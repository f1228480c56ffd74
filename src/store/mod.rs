//! Crash-safe documents on flash: process definitions, orders and metadata in `db.json` (version 4).

pub mod driver;
pub mod offline_driver;
pub mod schema;
#[cfg(test)]
mod tests;

pub use driver::{Error, Handle, open};
pub use offline_driver::Offline;
pub use schema::{Db, Record};
