//! Control groups (v2): a leaf for each child, with limits that the kernel holds, and a grip on all that it forks.
//!
//! ```text
//! <delegated by systemd>/     without processes of its own ("no internal processes", cgroup-v2.rst)
//!   supervisor/               the daemon
//!   jobs/                     memory.max = RAM less `RESERVE`, pids.max
//!     <process id>/           one child and what it forked
//! ```
//! Without cgroup v2 or a delegated group there are no leaves, and `Absence` says why: children are then held by process
//! group, parent-death signal and samples of `/proc` alone.

mod limits;
mod slice_driver;
mod stats;

pub use slice_driver::{Absence, Handle, Leaf, open};
pub use stats::Stats;
