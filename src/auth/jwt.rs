//! Core's own tokens (`contract/http-api.md` §3.3): issued and verified with HS256 only.
//!
//! Clients see wall-clock `iat` and `exp`. A token of this run carries its monotonic age as well and is judged by
//! that, so no jump of the wall clock ends it early or keeps it alive; others are judged by the wall clock.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde::{Deserialize, Serialize};

use super::signed::{self, Signed};
use crate::base::clock::Now;
use crate::base::id;

/// Lifetime of access tokens.
pub const ACCESS_LIFETIME: Duration = Duration::from_secs(600);
/// Lifetime of refresh tokens.
pub const REFRESH_LIFETIME: Duration = Duration::from_secs(86_400);
/// Tokens that say they last longer are taken for lasting this long: safe to add to any time.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);
/// Longest token that is looked at.
pub const TOKEN_LEN: usize = 8 * 1024;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const ISSUER: &str = "datarhei-core";

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Access,
    Refresh,
}

/// Why a token is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the token is not signed by this instance with HS256")]
    Signature(#[from] signed::Error),
    #[error("the token is longer than {TOKEN_LEN} bytes")]
    TooLong,
    #[error("the token has no usable expiry")]
    Expiry,
    #[error("the token has expired or is not valid yet")]
    Time,
    #[error("the token serves another purpose")]
    Purpose,
}

/// Signs and verifies the tokens of one instance.
pub struct Issuer {
    key: Vec<u8>,
    run: [u8; 8],
    start: Instant,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    usefor: &'a str,
    iat: i64,
    exp: i64,
    exi: u64,
    jti: String,
    rill: Run,
}

/// Which run issued the token, and when by its monotonic clock.
#[derive(Serialize, Deserialize)]
struct Run {
    run: String,
    /// Seconds since the run began.
    at: u64,
}

#[derive(Deserialize)]
struct Received {
    #[serde(default)]
    sub: serde_json::Value,
    #[serde(default)]
    usefor: serde_json::Value,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    exi: Option<u64>,
    #[serde(default)]
    rill: Option<Run>,
}

impl Issuer {
    /// `key`: user name, password and secret in a row, or random bytes. `run` names this run of the daemon.
    pub fn new(key: Vec<u8>, run: [u8; 8], start: Instant) -> Self {
        Self { key, run, start }
    }

    /// A token for `subject`.
    pub fn issue(&self, now: Now, subject: &str, usage: Use, entropy: [u8; 16]) -> String {
        let lifetime = usage.lifetime().as_secs();
        let iat = now.unix();
        let claims = Claims {
            iss: ISSUER,
            sub: subject,
            usefor: usage.name(),
            iat,
            exp: iat.saturating_add_unsigned(lifetime),
            exi: lifetime,
            jti: id::uuid(entropy),
            rill: Run { run: self.run_name(), at: self.age(now).as_secs() },
        };
        let claims = serde_json::to_vec(&claims).expect("the claims are strings and numbers");
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
        let key = EncodingKey::from_secret(&self.key);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
        format!("{message}.{}", signature.expect("HMAC takes any key"))
    }

    /// The `sub` of a valid token.
    ///
    /// # Errors
    /// Anything but a token of this instance for this `usage` that is in its time.
    pub fn verify(&self, now: Now, token: &str, usage: Use) -> Result<serde_json::Value, Error> {
        let claims = self.decode(token, usage)?;
        self.time_left(now, &claims)?;
        Ok(claims.sub)
    }

    /// How long a token stays valid.
    ///
    /// # Errors
    /// As `verify`.
    pub fn left(&self, now: Now, token: &str, usage: Use) -> Result<Duration, Error> {
        self.time_left(now, &self.decode(token, usage)?)
    }

    fn decode(&self, token: &str, usage: Use) -> Result<Received, Error> {
        if token.len() > TOKEN_LEN {
            return Err(Error::TooLong);
        }
        let key = DecodingKey::from_secret(&self.key);
        let claims: Received = Signed::parse(token)?.claims(Algorithm::HS256, &key)?;
        if claims.usefor == usage.name() { Ok(claims) } else { Err(Error::Purpose) }
    }

    fn time_left(&self, now: Now, claims: &Received) -> Result<Duration, Error> {
        let exp = claims.exp.filter(|exp| exp.is_finite()).ok_or(Error::Expiry)?;
        if let (Some(run), Some(lifetime)) = (&claims.rill, claims.exi)
            && run.run == self.run_name()
        {
            let age = self.age(now).as_secs().saturating_sub(run.at);
            let left = lifetime.checked_sub(age).filter(|left| *left > 0).ok_or(Error::Time)?;
            return Ok(Duration::from_secs(left));
        }
        judge_wall(now, exp, claims.nbf)?;
        let left = exp - wall_seconds(now);
        Ok(Duration::try_from_secs_f64(left).unwrap_or(LONGEST).min(LONGEST))
    }

    fn age(&self, now: Now) -> Duration {
        now.mono.saturating_duration_since(self.start)
    }

    fn run_name(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.run)
    }
}

impl Use {
    fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }

    fn lifetime(self) -> Duration {
        match self {
            Self::Access => ACCESS_LIFETIME,
            Self::Refresh => REFRESH_LIFETIME,
        }
    }
}

/// Expiry and start of validity by the wall clock.
pub(super) fn judge_wall(now: Now, exp: f64, nbf: Option<f64>) -> Result<(), Error> {
    let wall = wall_seconds(now);
    if wall < exp && nbf.is_none_or(|nbf| wall >= nbf) { Ok(()) } else { Err(Error::Time) }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of this era are exact in a double")]
fn wall_seconds(now: Now) -> f64 {
    now.unix() as f64
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    const KEY: &[u8] = b"foobarsekret";
    const HALF_CENTURY: Duration = Duration::from_secs(50 * 365 * 86_400);

    fn at(start: Instant, mono: u64, wall: SystemTime) -> Now {
        Now { mono: start + Duration::from_secs(mono), wall }
    }

    fn signed(header: &str, claims: &str, algorithm: Algorithm) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_secret(KEY), algorithm);
        format!("{message}.{}", signature.expect("HMAC takes any key"))
    }

    #[test]
    fn tokens_have_the_shape_that_clients_know() {
        let start = Instant::now();
        let issuer = Issuer::new(KEY.to_vec(), [1; 8], start);
        let wall = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let token = issuer.issue(at(start, 5, wall), "foo", Use::Access, [7; 16]);
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(parts[0], "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9");
        assert_eq!(parts[2].len(), 43);
        let claims = URL_SAFE_NO_PAD.decode(parts[1]).expect("base64");
        let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
        assert_eq!(claims["iss"], "datarhei-core");
        assert_eq!(claims["sub"], "foo");
        assert_eq!((claims["iat"].as_i64(), claims["exp"].as_i64()), (Some(1_700_000_000), Some(1_700_000_600)));
        assert_eq!(claims["exi"], 600);
        assert_eq!(claims["jti"].as_str().map(str::len), Some(36));
    }

    #[test]
    fn a_jump_of_the_clock_neither_ends_nor_prolongs_a_token() {
        let start = Instant::now();
        let issuer = Issuer::new(KEY.to_vec(), [1; 8], start);
        let wall = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (before, after) in [(wall, wall + HALF_CENTURY), (wall, wall - HALF_CENTURY), (UNIX_EPOCH, wall)] {
            let token = issuer.issue(at(start, 100, before), "foo", Use::Access, [7; 16]);
            let valid = |mono, wall| issuer.verify(at(start, mono, wall), &token, Use::Access).is_ok();
            assert!(valid(101, after) && valid(699, after) && valid(699, before));
            assert!(!valid(700, after) && !valid(700, before));
        }
    }

    #[test]
    fn tokens_of_another_run_go_by_the_wall_clock() {
        let start = Instant::now();
        let wall = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let token = Issuer::new(KEY.to_vec(), [1; 8], start).issue(at(start, 9, wall), "foo", Use::Refresh, [7; 16]);
        let next = Issuer::new(KEY.to_vec(), [2; 8], start);
        let valid = |after| next.verify(at(start, 0, wall + Duration::from_secs(after)), &token, Use::Refresh).is_ok();
        assert!(valid(86_399) && !valid(86_400));
    }

    #[test]
    fn only_our_algorithm_purpose_and_time_pass() {
        let start = Instant::now();
        let issuer = Issuer::new(KEY.to_vec(), [1; 8], start);
        let now = at(start, 0, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let check = |claims: &str| issuer.verify(now, &signed(HEADER, claims, Algorithm::HS256), Use::Access).is_ok();
        assert!(check(r#"{"usefor":"access","exp":4102444800}"#));
        assert!(check(r#"{"usefor":"access","exp":1700000000.5,"nbf":1699999999.5}"#));
        for refused in [
            r#"{"usefor":"access"}"#,
            r#"{"usefor":"access","exp":null}"#,
            r#"{"usefor":"access","exp":"4102444800"}"#,
            r#"{"usefor":"access","exp":1700000000}"#,
            r#"{"usefor":"access","exp":4102444800,"nbf":4102444800}"#,
            r#"{"usefor":"refresh","exp":4102444800}"#,
            r#"{"usefor":1,"exp":4102444800}"#,
            r#"{"exp":4102444800}"#,
            "[]",
        ] {
            assert!(!check(refused), "{refused}");
        }
        let claims = r#"{"usefor":"access","exp":4102444800}"#;
        let long = signed(r#"{"alg":"HS512","typ":"JWT"}"#, claims, Algorithm::HS512);
        assert!(issuer.verify(now, &long, Use::Access).is_err(), "H08");
        let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims));
        assert!(issuer.verify(now, &unsigned, Use::Access).is_err());
        for garbage in ["", "..", "garbage", "a.b.c.d"] {
            assert!(issuer.verify(now, garbage, Use::Access).is_err());
        }
    }
}
