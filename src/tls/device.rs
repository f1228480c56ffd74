//! The certificate that the box signs itself: for which names, from when to when, and when it is made anew. Pure but for
//! the randomness of its key, which the cryptography draws.

use std::net::IpAddr;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use time::OffsetDateTime;

use super::validity::Validity;

/// Names and addresses in one certificate; further ones are left out.
pub(super) const NAMES: usize = 32;
/// Clients refuse longer ones (825 days).
const LIFETIME: i64 = 824 * DAY;
/// Made anew this long before its end.
const RENEWAL: i64 = 30 * DAY;
const DAY: i64 = 24 * 3600;
/// 2025-01-01. A clock before it has not been set since the board lost its power.
const CLOCK_IS_SET: i64 = 1_735_689_600;
/// Validity while the clock is not set: nobody knows what the clients' clocks say. 2020-01-01 to 2049-12-31.
const ANY_TIME: Validity = Validity { not_before: 1_577_836_800, not_after: 2_524_521_600 };

/// For what a certificate is made: the box's names, then its addresses.
///
/// Addresses of IPv6 are left out but for loopback: those that the kernel rotates for privacy would replace the
/// certificate, which people have come to trust, every day.
pub(super) fn names(system: Option<&str>, configured: &[String], addresses: &[IpAddr]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: String| {
        let is_new = !names.contains(&name) && names.len() < NAMES;
        if is_new && ServerName::try_from(name.as_str()).is_ok() {
            names.push(name);
        }
    };
    configured.iter().for_each(|name| add(name.to_ascii_lowercase()));
    if let Some(system) = system.map(str::to_ascii_lowercase) {
        let short = system.split('.').next().unwrap_or_default();
        add(format!("{short}.local"));
        add(short.to_owned());
        add(system);
    }
    ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter().for_each(&mut add);
    let mut addresses: Vec<&IpAddr> = addresses.iter().filter(|ip| ip.is_ipv4() && !ip.is_loopback()).collect();
    addresses.sort_unstable();
    addresses.into_iter().for_each(|address| add(address.to_string()));
    names
}

/// Whether `certificate` still serves for `names`. `now`: seconds of the wall clock.
pub(super) fn is_good(certificate: &CertificateDer<'_>, names: &[String], now: i64) -> bool {
    let (Some(validity), Ok(parsed)) = (Validity::of(certificate), ParsedCertificate::try_from(certificate)) else {
        return false;
    };
    let is_named = |name: &String| {
        ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
    };
    let is_set = now >= CLOCK_IS_SET;
    let in_time = !is_set || validity != ANY_TIME && (validity.not_before..validity.not_after - RENEWAL).contains(&now);
    in_time && names.iter().all(is_named)
}

/// When a certificate made `now` is valid.
pub(super) fn validity(now: i64) -> Validity {
    if now < CLOCK_IS_SET {
        return ANY_TIME;
    }
    // A client's clock may be behind.
    Validity { not_before: now - DAY, not_after: now - DAY + LIFETIME }
}

/// A new certificate over `key`, ECDSA P-256.
///
/// # Errors
/// The cryptography refuses the key.
pub(super) fn sign(
    key: &KeyPair,
    names: &[String],
    validity: Validity,
) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut params = CertificateParams::new(names.to_vec())?;
    let moment = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    (params.not_before, params.not_after) = (moment(validity.not_before), moment(validity.not_after));
    params.distinguished_name = DistinguishedName::new();
    let common = names.first().map_or("rill", String::as_str);
    params.distinguished_name.push(DnType::CommonName, common.chars().take(64).collect::<String>());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params.self_signed(key)?.der().clone())
}
