//! Request → `Principal`, or the refusal: IP lists, tokens, basic auth, the guard of the open API
//! (`contract/http-api.md` §3, `contract/decisions.md`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use ipnet::IpNet;

use super::route::{Found, Guard, Route};
use super::{Error, Request};
use crate::auth::jwks_client::Keys;
use crate::auth::jwt::{Issuer, Use};
use crate::auth::login::Failures;
use crate::auth::stored::Stored;
use crate::auth::{Principal, auth0, ip, origin, password};
use crate::base::clock::Now;
use crate::base::tree;
use crate::config::{self, Credentials};

/// `Authorization` headers that are tried.
pub const AUTHORIZATIONS: usize = 20;

/// What outlives reloads: one value per run of the daemon.
#[derive(Clone)]
pub struct Run {
    id: [u8; 8],
    start: Instant,
    /// The signing key while none is configured.
    key: [u8; 32],
    failures: Rc<RefCell<Failures>>,
}

impl Run {
    /// Begins a run; `entropy` must be secret.
    pub fn new(now: Now, entropy: [u8; 40]) -> Self {
        let (mut id, mut key) = ([0; 8], [0; 32]);
        id.copy_from_slice(&entropy[..8]);
        key.copy_from_slice(&entropy[8..]);
        Self { id, start: now.mono, key, failures: Rc::default() }
    }
}

/// The rules of one configuration.
pub struct Auth {
    config: config::ApiAuth,
    access: config::IpList,
    access_secure: config::IpList,
    trusted_proxies: Vec<IpNet>,
    /// Host names under which an open API takes writes.
    own_names: Vec<String>,
    memory: Option<Credentials>,
    /// Of the S3 mounts by name.
    s3: BTreeMap<String, Credentials>,
    pub(crate) issuer: Issuer,
    pub(crate) keys: Keys,
    pub(crate) failures: Rc<RefCell<Failures>>,
    /// The only login while the configured one is lost; checked beside the loop.
    pub(crate) stored: Option<Rc<Stored>>,
}

impl Auth {
    /// `own_names`: the configured host names and that of the system. `keys`: those of the configured tenants.
    pub fn new(config: &config::Config, own_names: Vec<String>, run: &Run, keys: Keys) -> Self {
        let auth = &config.api.auth;
        let key = match auth.jwt_secret.as_str() {
            "" => run.key.to_vec(),
            secret => format!("{}{}{secret}", auth.username, auth.password).into_bytes(),
        };
        let s3 = config.storage.s3.iter();
        Self {
            config: auth.clone(),
            access: config.api.access_http.clone(),
            access_secure: config.api.access_https.clone(),
            trusted_proxies: config.rill.trusted_proxies.clone(),
            own_names,
            memory: config.storage.memory.auth.clone(),
            s3: tree::map(s3.filter_map(|mount| Some((mount.name.clone(), mount.auth.clone()?)))),
            issuer: Issuer::new(key, run.id, run.start),
            keys,
            failures: run.failures.clone(),
            stored: None,
        }
    }

    /// With the login of a configuration that was lost.
    #[must_use]
    pub fn with_stored(self, stored: Option<Rc<Stored>>) -> Self {
        Self { stored, ..self }
    }

    /// The client behind `peer`; `None` if a trusted proxy names none.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        if self.trusted_proxies.is_empty() {
            return Some(peer);
        }
        let text = |name: &'static str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
        ip::client(peer, &self.trusted_proxies, text("x-forwarded-for"), text("x-real-ip"))
    }

    /// Judges a request that goes to `found`.
    ///
    /// # Errors
    /// 403 by the IP list or the guard of the open API, 401 without valid token or credentials.
    pub(crate) fn check(&self, now: Now, found: &Found, req: &Request) -> Result<Principal, Error> {
        let principal = match found.guard {
            Guard::Open => Principal::Anonymous,
            Guard::Address => {
                self.check_address(req)?;
                Principal::Anonymous
            }
            Guard::Token => {
                self.check_address(req)?;
                self.check_token(now, req, Use::Access)?
            }
            Guard::About => {
                self.check_address(req)?;
                self.check_token(now, req, Use::Access).unwrap_or(Principal::Anonymous)
            }
            Guard::Refresh => self.check_token(now, req, Use::Refresh)?,
            Guard::Mount => self.check_mount(&found.route, &req.headers)?,
        };
        let is_write = found.route.is_api_write()
            || found.route == Route::SkillsReload
            || !matches!(req.method, Method::GET | Method::HEAD | Method::OPTIONS)
                && !matches!(found.route, Route::MetricsQuery | Route::GraphQuery);
        let needs_guard = matches!(found.guard, Guard::Token | Guard::Mount);
        if is_write && needs_guard && !matches!(principal, Principal::User { .. }) {
            self.check_origin(req)?;
        }
        Ok(principal)
    }

    /// Whether tokens are asked for at all.
    pub(crate) fn is_enabled(&self) -> bool {
        self.config.enable
    }

    /// How long the token of an admitted request is still good for; `None` if it needed none.
    pub(crate) fn token_left(&self, now: Now, req: &Request) -> Option<Duration> {
        if !self.config.enable || self.config.disable_localhost && ip::is_localhost(req.client) {
            return None;
        }
        let left = |token: &str| self.issuer.left(now, token, Use::Access).ok();
        Some(bearers(&req.headers).find_map(left).unwrap_or_default())
    }

    /// Whether `username` and `password` are those of the configuration.
    pub(crate) fn knows(&self, username: &str, given: &str) -> bool {
        let name = password::matches(username, &self.config.username);
        let word = password::matches(given, &self.config.password);
        self.config.enable && name & word
    }

    /// The names of the validators, as `GET /api` lists them.
    pub(crate) fn validators(&self) -> Vec<String> {
        if !self.config.enable {
            return Vec::new();
        }
        std::iter::once("localjwt".to_owned()).chain(self.tenants().iter().map(auth0::describe)).collect()
    }

    /// The Auth0 tenants in force.
    pub(crate) fn tenants(&self) -> &[config::Auth0Tenant] {
        if self.config.auth0_enable { &self.config.auth0_tenants } else { &[] }
    }

    fn check_address(&self, req: &Request) -> Result<(), Error> {
        let list = if req.is_secure { &self.access_secure } else { &self.access };
        let unrestricted = list.allow.is_empty() && list.block.is_empty() && req.client.is_some();
        match unrestricted || ip::admits(&list.allow, &list.block, req.client) {
            true => Ok(()),
            false => Err(Error::status(StatusCode::FORBIDDEN)),
        }
    }

    fn check_token(&self, now: Now, req: &Request, usage: Use) -> Result<Principal, Error> {
        if !self.config.enable {
            return Ok(Principal::Anonymous);
        }
        if self.config.disable_localhost && ip::is_localhost(req.client) {
            return Ok(Principal::Localhost);
        }
        let subject = bearers(&req.headers).find_map(|token| self.issuer.verify(now, token, usage).ok());
        match subject {
            Some(serde_json::Value::String(name)) => Ok(Principal::User { name }),
            Some(serde_json::Value::Null) if usage == Use::Access => Ok(Principal::User { name: String::new() }),
            Some(other) if usage == Use::Refresh => {
                Err(Error::new(StatusCode::FORBIDDEN, "Forbidden", [format!("Invalid subject: {other}")]))
            }
            Some(other) => Ok(Principal::User { name: other.to_string() }),
            None => {
                let text = "Missing or invalid JWT token".to_owned();
                Err(Error::new(StatusCode::UNAUTHORIZED, "Unauthorized", [text]))
            }
        }
    }

    fn check_mount(&self, route: &Route, headers: &HeaderMap) -> Result<Principal, Error> {
        let expected = match route {
            Route::Files { mount, .. } if mount != "mem" => self.s3.get(mount.as_ref()),
            _ => self.memory.as_ref(),
        };
        let Some(expected) = expected else { return Ok(Principal::Anonymous) };
        let given = match headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) {
            Some(value) => basic(value)?,
            None => None,
        };
        let (username, word) = given.unwrap_or_default();
        if password::matches(&username, &expected.username) & password::matches(&word, &expected.password) {
            return Ok(Principal::User { name: username });
        }
        let mut error = Error::status(StatusCode::UNAUTHORIZED);
        error.headers.push((header::WWW_AUTHENTICATE, HeaderValue::from_static("basic realm=Restricted")));
        Err(error)
    }

    /// A web page must not write to a box whose API asks for no token.
    fn check_origin(&self, req: &Request) -> Result<(), Error> {
        let text = |name: HeaderName| req.headers.get(name).map(|value| value.to_str().unwrap_or(""));
        let (from, host) = (text(header::ORIGIN), text(header::HOST));
        // Navigations and images carry no origin, but browsers say when another site caused them.
        let fetched_by_other = text(HeaderName::from_static("sec-fetch-site")) == Some("cross-site");
        if !fetched_by_other && origin::may_write(from, host, &self.own_names) {
            return Ok(());
        }
        let text = format!(
            "the request comes from another site (Origin {:?}, Host {:?}); switch on api.auth.enable to allow that",
            from.unwrap_or(""),
            host.unwrap_or("")
        );
        Err(Error::new(StatusCode::FORBIDDEN, "Forbidden", [text]))
    }
}

/// The tokens of all `Authorization` headers: scheme in any case, exactly one blank.
pub(crate) fn bearers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::AUTHORIZATION).iter().take(AUTHORIZATIONS).filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    })
}

/// User name and password of a basic authorisation; `None` for other schemes.
fn basic(value: &str) -> Result<Option<(String, String)>, Error> {
    let Some((scheme, encoded)) = value.split_once(' ') else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let decoded = STANDARD.decode(encoded).map_err(|_| Error::status(StatusCode::BAD_REQUEST))?;
    let text = String::from_utf8(decoded).unwrap_or_default();
    Ok(text.split_once(':').map(|(name, word)| (name.to_owned(), word.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens_need_exactly_one_blank() {
        let mut headers = HeaderMap::new();
        for value in ["Bearer one", "bearer two", "three", "Basic x", "BEARER  four"] {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        assert_eq!(bearers(&headers).collect::<Vec<_>>(), ["one", "two", " four"]);
        for _ in 0..100 {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        }
        assert_eq!(bearers(&headers).count(), AUTHORIZATIONS - 2);
    }

    #[test]
    fn basic_credentials() {
        let pair = |name: &str, word: &str| Some((name.to_owned(), word.to_owned()));
        assert_eq!(basic("Basic YTpiOmM=").expect("base64"), pair("a", "b:c"));
        assert_eq!(basic("basic YTo=").expect("base64"), pair("a", ""));
        assert_eq!(basic("Basic YQ==").expect("base64"), None);
        assert_eq!(basic("Bearer YTpi").expect("another scheme"), None);
        assert_eq!(basic("Basic !!!").expect_err("no base64").status, StatusCode::BAD_REQUEST);
    }
}
