//! The guard against web pages that speak to an open API from a visitor's browser (`contract/decisions.md`).
//!
//! While authentication is off, a write is refused when its `Origin` is foreign (a page of another site sends it) or
//! its `Host` is a name that is not ours (DNS rebinding). Tools send no `Origin` and address us directly.

use std::net::{IpAddr, Ipv6Addr};

/// Whether a write with these headers may pass. `own_names` are the configured host names and that of the system.
pub fn may_write(origin: Option<&str>, host: Option<&str>, own_names: &[String]) -> bool {
    let Some(host) = host else { return origin.is_none() };
    if !is_own_host(host_name(host), own_names) {
        return false;
    }
    match origin {
        None => true,
        Some(origin) => {
            let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            authority.is_some_and(|authority| same_authority(authority, host))
        }
    }
}

fn is_own_host(name: &str, own_names: &[String]) -> bool {
    let bare = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    bare == "localhost"
        || bare.ends_with(".local")
        || parse_ip(&bare).is_some()
        || own_names.iter().any(|own| own.eq_ignore_ascii_case(&bare))
}

/// An origin leaves out its scheme's port, so a missing port equals 80 and 443.
fn same_authority(origin: &str, host: &str) -> bool {
    let port = |text: &str| text[host_name(text).len()..].strip_prefix(':').unwrap_or("").to_owned();
    let is_default = |port: &str| matches!(port, "" | "80" | "443");
    let (a, b) = (port(origin), port(host));
    host_name(origin).eq_ignore_ascii_case(host_name(host)) && (a == b || is_default(&a) && is_default(&b))
}

/// The host of `host[:port]`, with brackets if it has them.
fn host_name(authority: &str) -> &str {
    match authority.find(']') {
        Some(end) if authority.starts_with('[') => &authority[..=end],
        _ => authority.split(':').next().unwrap_or(""),
    }
}

fn parse_ip(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(origin: Option<&str>, host: Option<&str>, expected: bool) {
        let own = ["box.example".to_owned()];
        assert_eq!(may_write(origin, host, &own), expected, "Origin {origin:?} Host {host:?}");
    }

    #[test]
    fn tools_that_name_no_origin_pass_under_our_names() {
        for host in [
            "127.0.0.1:8080",
            "192.168.1.7",
            "[::1]:8080",
            "localhost:80",
            "LOCALHOST",
            "box.local",
            "Box.Example:8080",
        ] {
            check(None, Some(host), true);
        }
        for host in
            ["evil.example", "evil.example:8080", "localhost.evil.example", "xlocal", "", "1.2.3.4.evil.example"]
        {
            check(None, Some(host), false);
        }
        check(None, None, true);
    }

    #[test]
    fn pages_pass_only_on_their_own_box() {
        check(Some("http://192.168.1.7:8080"), Some("192.168.1.7:8080"), true);
        check(Some("http://box.local"), Some("box.local:80"), true);
        check(Some("https://box.local"), Some("BOX.local"), true);
        check(Some("http://192.168.1.8:8080"), Some("192.168.1.7:8080"), false);
        check(Some("http://192.168.1.7:9000"), Some("192.168.1.7:8080"), false);
        check(Some("http://evil.example"), Some("192.168.1.7"), false);
        check(Some("http://evil.example"), Some("evil.example"), false);
        check(Some("null"), Some("192.168.1.7"), false);
        check(Some("http://evil.example"), None, false);
        check(Some(""), Some("localhost"), false);
    }
}
