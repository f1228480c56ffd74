//! Addresses: IP lists, and what a proxy says about its client (`contract/http-api.md` §3.2).

use std::net::IpAddr;

use ipnet::IpNet;

/// Whether a list lets `client` in. `block` wins, an empty `allow` means everyone; an unknown address is refused.
pub fn admits(allow: &[IpNet], block: &[IpNet], client: Option<IpAddr>) -> bool {
    let Some(client) = client else { return false };
    !contains(block, client) && (allow.is_empty() || contains(allow, client))
}

/// Whether one of `nets` holds `address`. IPv4 in IPv6 clothes is IPv4.
pub fn contains(nets: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    nets.iter().any(|net| net.contains(&address))
}

/// The client behind `peer`: the peer itself, unless it is one of the `trusted` proxies and names another (H07).
/// The first entry of `X-Forwarded-For` counts, else `X-Real-IP`; brackets are stripped (H50). `None`: no address.
pub fn client(peer: IpAddr, trusted: &[IpNet], forwarded: Option<&str>, real: Option<&str>) -> Option<IpAddr> {
    let peer = peer.to_canonical();
    if !contains(trusted, peer) {
        return Some(peer);
    }
    let named = forwarded.map(|list| list.split(',').next().unwrap_or("")).or(real);
    match named {
        None => Some(peer),
        Some(text) => parse(text),
    }
}

/// Whether the address is one of the two that the localhost exemption names.
pub fn is_localhost(client: Option<IpAddr>) -> bool {
    client.is_some_and(|ip| ip == IpAddr::from([127, 0, 0, 1]) || ip == IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16]))
}

fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|text| text.parse().expect("a net")).collect()
    }

    #[test]
    fn lists() {
        let (allow, block) = (nets(&["127.0.0.0/8", "192.168.0.0/16"]), nets(&["10.0.0.0/8", "192.168.1.0/24"]));
        let check = |text: &str| admits(&allow, &block, Some(ip(text)));
        assert!(check("127.0.0.1") && check("192.168.7.7") && check("::ffff:192.168.7.7"));
        assert!(!check("10.1.2.3") && !check("192.168.1.9") && !check("172.16.0.1") && !check("::1"));
        assert!(!admits(&[], &[], None));
        assert!(admits(&[], &block, Some(ip("2001:db8::1"))));
    }

    #[test]
    fn forwarded_headers_count_only_from_trusted_proxies() {
        let trusted = nets(&["127.0.0.1/32"]);
        let (proxy, stranger) = (ip("127.0.0.1"), ip("203.0.113.9"));
        #[track_caller]
        fn check(got: Option<IpAddr>, expected: Option<&str>) {
            assert_eq!(got, expected.map(ip));
        }
        check(client(stranger, &trusted, Some("127.0.0.1"), None), Some("203.0.113.9"));
        check(client(stranger, &[], Some("unknown"), None), Some("203.0.113.9"));
        check(client(ip("::ffff:1.2.3.4"), &[], None, None), Some("1.2.3.4"));
        check(client(proxy, &trusted, None, None), Some("127.0.0.1"));
        check(client(proxy, &trusted, Some("127.0.0.1, 203.0.113.7"), None), Some("127.0.0.1"));
        check(client(proxy, &trusted, Some("203.0.113.7"), Some("127.0.0.1")), Some("203.0.113.7"));
        check(client(proxy, &trusted, None, Some("203.0.113.7")), Some("203.0.113.7"));
        check(client(proxy, &trusted, Some(" [2001:db8::7] , x"), None), Some("2001:db8::7"));
        check(client(proxy, &trusted, Some("[2001:db8::7]"), None), Some("2001:db8::7"));
        check(client(proxy, &trusted, Some("unknown"), None), None);
        check(client(proxy, &trusted, Some(""), Some("1.2.3.4")), None);
    }

    #[test]
    fn localhost_is_two_literal_addresses() {
        assert!(is_localhost(Some(ip("127.0.0.1"))) && is_localhost(Some(ip("::1"))));
        assert!(!is_localhost(Some(ip("127.0.0.2"))) && !is_localhost(None));
    }
}
