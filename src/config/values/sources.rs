//! The two lists that the environment writes as URLs: Auth0 tenants and S3 mounts (`contract/config.md` §2.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use crate::config::document::{MountAuth, S3, Tenant};

/// What is wrong with an entry of either list.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::config) enum Invalid {
    #[error("invalid url encoding of tenant {0}: scheme, domain or query are missing")]
    TenantUrl(usize),
    #[error("invalid base64 encoding of tenant {index}: {reason}")]
    TenantBase64 { index: usize, reason: String },
    #[error("invalid JSON in tenant {index}: {reason}")]
    TenantJson { index: usize, reason: String },
    #[error("the domain for tenant {0} is missing")]
    TenantDomain(usize),
    #[error("the audience for tenant {0} is missing")]
    TenantAudience(usize),
    #[error("invalid S3 storage URL ({index}): {reason}")]
    S3Url { index: usize, reason: &'static str },
    #[error("the name for s3 storage {0} is missing")]
    S3Name(usize),
    #[error("the name for s3 storage must match the pattern ^[A-Za-z0-9_-]+$")]
    S3Pattern,
    #[error("the mountpoint for s3 storage {0} is missing")]
    S3Mount(usize),
    #[error("auth is enabled, but no username and password are set for s3 storage {0}")]
    S3Auth(usize),
}

/// `auth0://[clientid@]domain?aud=…&user=…` or base64 of its JSON, separated by commas.
pub(super) fn tenants(text: &str) -> Result<Vec<Tenant>, Invalid> {
    entries(text, ',').map(|(index, entry)| tenant(index, entry)).collect()
}

fn tenant(index: usize, entry: &str) -> Result<Tenant, Invalid> {
    if let Some(rest) = entry.strip_prefix("auth0://") {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let place = place.split('/').next().unwrap_or_default();
        let (clientid, domain) = place.rsplit_once('@').unwrap_or(("", place));
        if domain.is_empty() {
            return Err(Invalid::TenantUrl(index));
        }
        let audience = pairs(query).find(|(key, _)| key == "aud").map(|(_, value)| value).unwrap_or_default();
        let users = pairs(query).filter(|(key, _)| key == "user").map(|(_, value)| value).collect();
        return Ok(Tenant { domain: domain.to_owned(), audience, clientid: decode(clientid), users });
    }
    let bytes = STANDARD.decode(entry).map_err(|error| Invalid::TenantBase64 { index, reason: error.to_string() })?;
    serde_json::from_slice(&bytes).map_err(|error| Invalid::TenantJson { index, reason: error.to_string() })
}

/// Domain and audience are there.
pub(super) fn check_tenants(list: &[Tenant]) -> Result<(), Invalid> {
    list.iter().enumerate().try_for_each(|(index, tenant)| {
        if tenant.domain.is_empty() {
            return Err(Invalid::TenantDomain(index));
        }
        if tenant.audience.is_empty() { Err(Invalid::TenantAudience(index)) } else { Ok(()) }
    })
}

/// `http(s)://key:secret@region.endpoint/bucket?name=…&mount=…[&username=…&password=…]`, separated by pipes.
pub(super) fn s3(text: &str) -> Result<Vec<S3>, Invalid> {
    entries(text, '|').map(|(index, entry)| s3_mount(index, entry)).collect()
}

fn s3_mount(index: usize, entry: &str) -> Result<S3, Invalid> {
    let fault = |reason| Invalid::S3Url { index, reason };
    let (scheme, rest) = entry.split_once("://").ok_or_else(|| fault("no scheme"))?;
    let use_ssl = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(fault("the scheme is neither http nor https")),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (place, bucket) = rest.split_once('/').unwrap_or((rest, ""));
    let (keys, host) = place.rsplit_once('@').unwrap_or(("", place));
    let (key, secret) = keys.split_once(':').unwrap_or((keys, ""));
    let (region, endpoint) = host.split_once('.').ok_or_else(|| fault("the host is not region.endpoint"))?;
    let value = |wanted| pairs(query).find(|(key, _)| key == wanted).map(|(_, value)| value).unwrap_or_default();
    let (username, password) = (value("username"), value("password"));
    Ok(S3 {
        name: value("name"),
        mountpoint: value("mount"),
        auth: MountAuth { enable: !username.is_empty() || !password.is_empty(), username, password },
        endpoint: endpoint.to_owned(),
        access_key_id: decode(key),
        secret_access_key: decode(secret),
        bucket: decode(bucket.trim_matches('/')),
        region: region.to_owned(),
        use_ssl,
    })
}

/// Name, mount point and, where it is on, both halves of the credentials are there.
pub(super) fn check_s3(list: &[S3]) -> Result<(), Invalid> {
    list.iter().enumerate().try_for_each(|(index, mount)| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if mount.name.is_empty() {
            return Err(Invalid::S3Name(index));
        }
        if !mount.name.bytes().all(legal) {
            return Err(Invalid::S3Pattern);
        }
        if mount.mountpoint.is_empty() {
            return Err(Invalid::S3Mount(index));
        }
        let auth = &mount.auth;
        if auth.enable && (auth.username.is_empty() || auth.password.is_empty()) {
            return Err(Invalid::S3Auth(index));
        }
        Ok(())
    })
}

fn entries(text: &str, separator: char) -> impl Iterator<Item = (usize, &str)> {
    text.split(separator).map(str::trim).filter(|entry| !entry.is_empty()).enumerate()
}

fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
    })
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
