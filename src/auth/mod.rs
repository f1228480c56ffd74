//! Who may do what: passwords, tokens, addresses, origins. Pure values; time and entropy are arguments.
//!
//! Only `jwks_client` and `stored_driver` do IO: one fetches the keys of Auth0 tenants in the background, the other keeps
//! the login beside the configuration.

pub mod auth0;
pub mod ip;
pub mod jwks_client;
pub mod jwt;
pub mod login;
pub mod origin;
pub mod password;
mod signed;
pub mod stored;
pub mod stored_driver;

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Authentication is off.
    Anonymous,
    /// The localhost exemption (`api.auth.disable_localhost`) made a token needless.
    Localhost,
    /// The holder of a valid token.
    User { name: String },
}
