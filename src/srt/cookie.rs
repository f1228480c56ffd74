//! Cookies: how a caller proves that it is reached where it says it is, before it costs any memory.
//!
//! address + period + secret → 32 bits. A cookie holds for its own period and the next one. Pure; the secret and the
//! time are arguments.
//!
//! **Source:** draft-sharabayko-srt §4.3.1.1.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ring::hmac;

/// How long one cookie is given out.
const PERIOD: Duration = Duration::from_secs(30);

/// Gives out cookies and knows them again.
pub(super) struct Cookies {
    key: hmac::Key,
    start: Instant,
}

impl Cookies {
    pub(super) fn new(now: Instant, secret: [u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), start: now }
    }

    /// The cookie for a caller at `address`.
    pub(super) fn bake(&self, now: Instant, address: SocketAddr) -> u32 {
        self.of(address, self.period(now))
    }

    /// Whether `cookie` was baked for this address lately.
    pub(super) fn is_ours(&self, now: Instant, address: SocketAddr, cookie: u32) -> bool {
        let period = self.period(now);
        cookie == self.of(address, period) || (period > 0 && cookie == self.of(address, period - 1))
    }

    fn period(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / PERIOD.as_secs()
    }

    fn of(&self, address: SocketAddr, period: u64) -> u32 {
        let mut context = hmac::Context::with_key(&self.key);
        match address.ip() {
            IpAddr::V4(ip) => context.update(&ip.octets()),
            IpAddr::V6(ip) => context.update(&ip.octets()),
        }
        context.update(&address.port().to_be_bytes());
        context.update(&period.to_be_bytes());
        let tag = context.sign();
        u32::from_be_bytes(tag.as_ref()[..4].try_into().expect("a tag has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_for_one_address_and_a_short_time() {
        let now = Instant::now();
        let cookies = Cookies::new(now, [7; 32]);
        let here: SocketAddr = "192.0.2.1:5000".parse().expect("an address");
        let cookie = cookies.bake(now, here);
        assert!(cookies.is_ours(now, here, cookie));
        assert!(cookies.is_ours(now + PERIOD, here, cookie));
        assert!(!cookies.is_ours(now + 2 * PERIOD, here, cookie));
        for elsewhere in ["192.0.2.1:5001", "192.0.2.2:5000", "[::ffff:192.0.2.1]:5000"] {
            assert!(!cookies.is_ours(now, elsewhere.parse().expect("an address"), cookie), "{elsewhere}");
        }
        assert!(!cookies.is_ours(now, here, cookie ^ 1));
        assert!(!Cookies::new(now, [8; 32]).is_ours(now, here, cookie));
    }
}
