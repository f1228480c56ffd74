//! What leaves the daemon: one HTTP client for everything that speaks to another host, and one for the root helper.

pub mod admin_client;
mod body_client;
pub mod https_client;
mod pool_client;
