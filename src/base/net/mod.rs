//! What leaves the box: one HTTP client for everything that speaks to another host.

mod body_client;
pub mod https_client;
mod pool_client;
