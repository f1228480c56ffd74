//! Certificates: which one answers for which name, where they come from, and when they are exchanged.
//!
//! section → `driver` (files watched, device certificate, ACME) → `certs` → one `ServerConfig`, exchanged whole;
//! connections keep the one they began with. While TLS is on there is always a certificate: what cannot be had is
//! replaced by one that the box signs itself, with an alarm, never by plain HTTP.

mod acme;
mod acme_client;
mod acme_driver;
mod certs;
mod device;
mod driver;
mod gate;
mod pem_driver;
#[cfg(test)]
mod tests;
mod validity;

use std::path::PathBuf;

pub use driver::{Deps, Handle, spawn};
pub(crate) use gate::Gate;

/// ALPN of HTTP/2 (RFC 9113 §3.2).
pub const HTTP_2: &[u8] = b"h2";
/// ALPN of HTTP/1.1.
pub const HTTP_1: &[u8] = b"http/1.1";

/// What is configured while TLS is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub source: Source,
    /// Configured host names, for the certificate that the box signs itself.
    pub names: Vec<String>,
    /// Keys and certificates of this box.
    pub dir: PathBuf,
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The box signs its own.
    Device,
    Files {
        cert: PathBuf,
        key: PathBuf,
    },
    /// A certificate authority, for each configured name.
    Acme {
        email: String,
        directory: String,
    },
}
