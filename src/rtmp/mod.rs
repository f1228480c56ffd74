//! RTMP and RTMPS: encoders publish, players play (`contract/rtmp-srt.md` §A).
//!
//! accept → TLS where it is asked for → handshake → `chunk` → `amf0` → `connection` → `Ask` → `address` judges, `relay`
//! has a place or not → media into the relay, or out of it through `outbox`.
//!
//! Invariants: what comes from the network meets our own readers only, bounded before and after a publisher is known;
//! a connection's step runs under `catch_unwind`; bodies of media pass unchanged and are shared by all players. Tokens
//! end in `address`: they are neither stored nor logged.

mod address;
mod amf0;
mod chunk;
mod commands;
mod connection;
mod message;
mod outbox;
mod peer_driver;
mod server;
mod tag;
mod wire_driver;

pub use server::{Change, Deps, Error, Handle, PENDING, Section, Stats, connections, spawn};
