//! Tokens of Auth0 tenants, verified against the tenant's published keys (`contract/http-api.md` §5.3).
//!
//! A tenant applies if the unverified `iss` of the token names its domain. Pure; the keys come from `jwks_client`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::jwt::{TOKEN_LEN, judge_wall};
use crate::base::clock::Now;
use crate::config::Auth0Tenant;

/// Why a token of a tenant is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the keys of the tenant are not known yet")]
    NoKeys,
    #[error("the token's header is unusable")]
    Header(#[source] jsonwebtoken::errors::Error),
    #[error("the token names a key that the tenant does not have")]
    UnknownKey,
    #[error("the token's algorithm is not that of the key")]
    Algorithm,
    #[error("the token is not signed by the tenant")]
    Signature(#[source] jsonwebtoken::errors::Error),
    #[error("the token has no usable expiry")]
    Expiry,
    #[error("the token has expired or is not valid yet")]
    Time(#[source] super::jwt::Error),
    #[error("the user is not allowed")]
    User,
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
pub fn verify(now: Now, tenant: &Auth0Tenant, keys: Option<&JwkSet>, token: &str) -> Result<String, Error> {
    let keys = keys.ok_or(Error::NoKeys)?;
    let header = jsonwebtoken::decode_header(token).map_err(Error::Header)?;
    let jwk = header.kid.as_deref().and_then(|kid| keys.find(kid)).ok_or(Error::UnknownKey)?;
    let algorithm = match (jwk.common.key_algorithm, header.alg) {
        (Some(KeyAlgorithm::RS256), Algorithm::RS256) => Algorithm::RS256,
        (Some(KeyAlgorithm::RS384), Algorithm::RS384) => Algorithm::RS384,
        (Some(KeyAlgorithm::RS512), Algorithm::RS512) => Algorithm::RS512,
        _ => return Err(Error::Algorithm),
    };
    if !matches!(jwk.algorithm, AlgorithmParameters::RSA(_)) {
        return Err(Error::Algorithm);
    }
    let key = DecodingKey::from_jwk(jwk).map_err(Error::Signature)?;
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(Error::Signature)?.claims;
    let exp = claims.exp.filter(|exp| exp.is_finite()).ok_or(Error::Expiry)?;
    judge_wall(now, exp, claims.nbf).map_err(Error::Time)?;
    if !tenant.users.contains(&claims.sub) {
        return Err(Error::User);
    }
    Ok(claims.sub)
}

#[cfg(test)]
mod tests;
