//! The leaves that the parsers use.

pub mod clock;
pub mod id;
pub mod path;
pub mod tree;
