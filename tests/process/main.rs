//! Children and their supervision against fake FFmpegs: exit, stall, ignore SIGINT, flood stderr, fork.

mod child;
mod fake;
