//! How secrets are compared.

pub mod password;
