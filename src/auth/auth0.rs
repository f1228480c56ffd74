//! Tokens of Auth0 tenants, verified against the tenant's published keys (`contract/http-api.md` §5.3).
//!
//! A tenant applies if the unverified `iss` of the token names its domain. Pure; the keys come from `jwks_client`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::jwt::{TOKEN_LEN, judge_wall};
use super::signed::{self, Signed};
use crate::base::clock::Now;
use crate::config::Auth0Tenant;

/// Why a token of a tenant is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the keys of the tenant are not known yet")]
    NoKeys,
    #[error("the token's header is unusable")]
    Header(#[source] signed::Error),
    #[error("the token names a key that the tenant does not have")]
    UnknownKey,
    #[error("the token's algorithm is not that of the key")]
    Algorithm,
    #[error("the token is not signed by the tenant")]
    Signature(#[source] signed::Error),
    #[error("the token has no usable expiry")]
    Expiry,
    #[error("the token has expired or is not valid yet")]
    Time(#[source] super::jwt::Error),
    #[error("the user is not allowed")]
    User,
}

/// The published keys of a tenant (RFC 7517 §5). Members that are not needed are not looked at.
#[derive(Clone, Debug, Deserialize)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// One of them; `n` and `e` are empty if it is not an RSA key.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Key {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

impl KeySet {
    pub(super) fn find(&self, kid: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.kid.as_deref() == Some(kid))
    }
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: String,
    exp: Option<f64>,
    nbf: Option<f64>,
    /// Must be well-formed but is not compared.
    #[serde(default, rename = "aud")]
    _audience: Option<Audience>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(#[expect(dead_code, reason = "only its shape counts")] String),
    Many(#[expect(dead_code, reason = "only its shape counts")] Vec<String>),
}

/// How `GET /api` names the tenant.
pub fn describe(tenant: &Auth0Tenant) -> String {
    format!("auth0 domain={} audience={} clientid={}", tenant.domain, tenant.audience, tenant.client_id)
}

/// The tenant that `token` claims to come from.
pub fn tenant_of<'a>(tenants: &'a [Auth0Tenant], token: &str) -> Option<&'a Auth0Tenant> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    if token.len() > TOKEN_LEN {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let issuer = serde_json::from_slice::<Issuer>(&payload).ok()?.iss;
    tenants.iter().find(|tenant| issuer == format!("https://{}/", tenant.domain))
}

/// The `sub` of a valid token of `tenant`.
///
/// # Errors
/// Anything but an RSA signature by the key that the token names, in its time, of a user of the tenant.
pub fn verify(now: Now, tenant: &Auth0Tenant, keys: Option<&KeySet>, token: &str) -> Result<String, Error> {
    let keys = keys.ok_or(Error::NoKeys)?;
    let signed = Signed::parse(token).map_err(Error::Header)?;
    let key = signed.header.kid.as_deref().and_then(|kid| keys.find(kid)).ok_or(Error::UnknownKey)?;
    let algorithms = [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
    // The key says which, not the token.
    let algorithm = algorithms.into_iter().find(|algorithm| key.alg.as_deref() == signed::name(*algorithm));
    let algorithm = algorithm.filter(|_| key.kty == "RSA").ok_or(Error::Algorithm)?;
    if signed::name(algorithm) != Some(signed.header.alg.as_str()) {
        return Err(Error::Algorithm);
    }
    let key = DecodingKey::from_rsa_components(&key.n, &key.e);
    let key = key.map_err(|error| Error::Signature(error.into()))?;
    let claims: Claims = signed.claims(algorithm, &key).map_err(Error::Signature)?;
    let exp = claims.exp.filter(|exp| exp.is_finite()).ok_or(Error::Expiry)?;
    judge_wall(now, exp, claims.nbf).map_err(Error::Time)?;
    if !tenant.users.contains(&claims.sub) {
        return Err(Error::User);
    }
    Ok(claims.sub)
}

#[cfg(test)]
mod tests;
