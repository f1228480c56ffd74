//! Children and their supervision against fake FFmpegs (exit, stall, ignore SIGINT, flood stderr, fork) and a stock one.

mod adapt;
mod bench;
mod child;
mod fake;
mod stock;
mod supervisor;
mod trials;
