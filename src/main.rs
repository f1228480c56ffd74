//! argv → config → app → exit code.

fn main() {}
