//! Who may do what: passwords, tokens, addresses, origins. Pure values; time and entropy are arguments.
//!
//! Only `jwks_client` does IO: it fetches the keys of Auth0 tenants in the background.

pub mod auth0;
pub mod ip;
pub mod jwks_client;
pub mod jwt;
pub mod login;
pub mod origin;
pub mod password;
mod signed;

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
