//! What needs root: a closed list of verbs, done by a process of its own, `rill-admin`, that systemd starts for one
//! connection to its socket.
//!
//! ```text
//! one line ─ verbs: text → Verb ─ server: who asks? ─ system_driver: files, children ─ `ok …` or `error …`, one line
//! ```
//! The daemon itself never gains rights; it can only ask for these verbs, and `network` and `verbs` decide what their
//! arguments may be. Deliberately absent: a shell, paths or commands in requests, a second request, other askers than the
//! daemon and root.

pub mod network;
pub mod server;
mod system_driver;
pub mod verbs;

pub use system_driver::System;
pub use verbs::Verb;
