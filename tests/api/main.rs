//! The daemon from outside: recorded exchanges of the reference, and our own tests of what golden files do not say.
//!
//! Each test starts the real binary with a work directory and ports of its own and talks to it over loopback.

mod auth;
mod beginner;
mod conditional;
mod continuity;
mod degraded;
mod description;
mod events;
mod files;
mod golden;
mod graph;
mod harness;
mod health;
mod hostile;
mod import;
mod kept;
mod metrics;
mod outside;
mod process;
mod profiling;
mod rtmp;
mod rtmp_hostile;
mod s3;
mod sandbox;
mod server;
mod service;
mod session;
mod srt;
mod state;
mod system;
mod tls;
mod vectors;
