//! The parts of a signed token (RFC 7515 §3.1) and its signature, which `jsonwebtoken` verifies.
//!
//! That crate's own decoder knows every member that a header can have, embedded keys above all, at 100 kB of code; here
//! a header is its algorithm and the name of its key, and the caller says which algorithm is right.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// Why something is no token with a good signature.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it has not three parts")]
    Parts,
    #[error("its {0} is not base64url")]
    Base64(&'static str),
    #[error("its {0} is not the JSON that belongs there")]
    Json(&'static str, #[source] serde_json::Error),
    #[error("it demands extensions that nobody here knows")]
    Critical,
    #[error("its algorithm is another")]
    Algorithm,
    #[error("its signature is wrong")]
    Signature,
    #[error("its signature can't be checked")]
    Check(#[from] jsonwebtoken::errors::Error),
}

#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    #[serde(default)]
    pub(super) kid: Option<String>,
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

/// A token whose header is read and whose signature is not yet verified.
pub(super) struct Signed<'a> {
    pub(super) header: Header,
    message: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl<'a> Signed<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, Error> {
        let (message, signature) = token.rsplit_once('.').ok_or(Error::Parts)?;
        let (header, claims) = message.split_once('.').ok_or(Error::Parts)?;
        let header: Header = json(header, "header")?;
        if header.crit.is_some() {
            return Err(Error::Critical);
        }
        Ok(Self { header, message, claims, signature })
    }

    /// The claims, if `key` signed them with `algorithm`, which the header has to name.
    pub(super) fn claims<T: DeserializeOwned>(&self, algorithm: Algorithm, key: &DecodingKey) -> Result<T, Error> {
        if self.header.alg != name(algorithm).ok_or(Error::Algorithm)? {
            return Err(Error::Algorithm);
        }
        if !jsonwebtoken::crypto::verify(self.signature, self.message.as_bytes(), key, algorithm)? {
            return Err(Error::Signature);
        }
        json(self.claims, "payload")
    }
}

/// The algorithms that tokens are accepted with.
pub(super) fn name(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::HS256 => Some("HS256"),
        Algorithm::RS256 => Some("RS256"),
        Algorithm::RS384 => Some("RS384"),
        Algorithm::RS512 => Some("RS512"),
        _ => None,
    }
}

fn json<T: DeserializeOwned>(part: &str, what: &'static str) -> Result<T, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::Base64(what))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Json(what, error))
}
