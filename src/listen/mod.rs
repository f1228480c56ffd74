//! Listening sockets of the TCP servers: opened, moved and closed without losing who waits in them.
//!
//! `bind` → `Prepared` → `Listening`, which accepts for a `Host` until it is closed. Knows no protocol and no
//! connections, but that memory is given back when many have left (`Ebb`).

mod ebb_driver;
mod shelf_driver;
mod tcp_server;
mod turn;

pub use shelf_driver::Shelf;
pub use tcp_server::{Error, Prepared, bind};
pub use turn::Turn;

pub(crate) use ebb_driver::Ebb;
pub(crate) use shelf_driver::Kind;
pub(crate) use tcp_server::{ADDRESS, Host, Listening, RETRY_CEILING, Resolver};
