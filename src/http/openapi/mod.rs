//! The description of the HTTP interface: one set of tables, from which OpenAPI 3.1 and Swagger 2 are made on request.
//!
//! `openapi/*.txt` (operations and the types they exchange) → `read` → `Tables` → `write` → JSON. Nothing is kept: who
//! never asks pays for the text alone, which is a tenth of the documents. Knows no handler; that the tables say what
//! routes and handlers do is held by `tests.rs` (routes, guards) and `tests/api/description.rs` (answers).

mod json;
pub(crate) mod read;
mod schema;
mod write;

use self::read::{Error, Tables};

/// Which document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// For generators of clients.
    OpenApi,
    /// Where Core's clients look for it.
    Swagger,
}

/// One file per subject.
const TABLES: [&str; 12] = [
    include_str!("tables/about.txt"),
    include_str!("tables/process.txt"),
    include_str!("tables/box.txt"),
    include_str!("tables/hardware.txt"),
    include_str!("tables/files.txt"),
    include_str!("tables/config.txt"),
    include_str!("tables/measures.txt"),
    include_str!("tables/rtmp.txt"),
    include_str!("tables/srt.txt"),
    include_str!("tables/graph.txt"),
    include_str!("tables/profiling.txt"),
    include_str!("tables/control.txt"),
];

/// A page that shows the description; it loads nothing but its script, its style and the document beside it.
pub(crate) const VIEWER: &str = include_str!("../ui/viewer.html");
pub(crate) const VIEWER_SCRIPT: &str = include_str!("../ui/viewer.js");
pub(crate) const VIEWER_STYLE: &str = include_str!("../ui/viewer.css");

/// The description as compact JSON.
///
/// # Errors
/// Tables that can't be read, which a test rules out.
pub(crate) fn document(dialect: Dialect) -> Result<Vec<u8>, Error> {
    Ok(write::document(dialect, &tables()?))
}

/// The OpenAPI 3.1 document, for tests that hold answers against it.
///
/// # Errors
/// As `document`.
pub fn openapi() -> Result<Vec<u8>, Error> {
    document(Dialect::OpenApi)
}

/// The tables, read.
pub(crate) fn tables() -> Result<Tables<'static>, Error> {
    let mut tables = Tables::default();
    for text in TABLES {
        tables.add(text)?;
    }
    Ok(tables)
}

#[cfg(test)]
mod tests;
