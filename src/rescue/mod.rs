//! The rescue page: a process of its own that comes when the daemon can't start, crashes or hangs, and tries it again.
//!
//! systemd starts it when `rill.service` has failed (`OnFailure=`), and starts the daemon when it ends with 0. Between the
//! two: facts → `cause` → page for the network at hand → what a logged-in person does, or the next try (`retry`). It
//! shares no process, no port and little code with the daemon, so that it works when that does not.

mod cause;
pub mod driver;
mod login;
mod page;
mod probe_driver;
pub mod record;
mod repair_driver;
mod retry;
mod secrets;
mod server;

const COMPONENT: &str = "Rescue";
