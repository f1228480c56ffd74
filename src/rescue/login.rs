//! Who may do what: peers that are near, attempts that are few, sessions that end.
//!
//! peer → `is_near` → `Attempts::admits` → argon2id → `Sessions::open` → token in a cookie or a header → `Sessions::find`.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::auth::login::Failures;
use crate::auth::password;

/// Failed logins of all addresses that are heard before others have to wait.
pub(super) const GLOBAL_FAILURES: u32 = 20;
/// After this time one more is heard.
pub(super) const GLOBAL_REFILL: Duration = Duration::from_secs(15);
/// Sessions at once; the one that was used longest ago makes way.
pub(super) const SESSIONS: usize = 4;
/// A session that is not used for so long has ended.
pub(super) const IDLE: Duration = Duration::from_secs(15 * 60);
pub(super) const TOKEN_BYTES: usize = 16;

/// Whether a peer is on this machine or in a network that is not routed: RFC 1918, RFC 4193, link-local (RFC 3927,
/// RFC 4291 §2.5.6) and loopback.
pub(super) fn is_near(peer: IpAddr) -> bool {
    match peer.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// The failed logins of the recent past: a budget for each address, and one for all, since one network has many.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    addresses: Failures,
    failures: u32,
    last: Option<Instant>,
}

impl Attempts {
    /// Whether a login is looked at.
    pub(super) fn admits(&self, now: Instant, address: IpAddr) -> bool {
        self.failures_at(now) < GLOBAL_FAILURES && self.addresses.admits(now, address)
    }

    /// Notes a failure.
    pub(super) fn note(&mut self, now: Instant, address: IpAddr) {
        self.failures = self.failures_at(now).saturating_add(1);
        self.last = Some(now);
        // Nobody's answer is delayed here: a thread would wait.
        if self.addresses.note(now, address) {
            self.addresses.waited();
        }
    }

    fn failures_at(&self, now: Instant) -> u32 {
        let Some(last) = self.last else { return 0 };
        let refilled = now.saturating_duration_since(last).as_secs() / GLOBAL_REFILL.as_secs();
        self.failures.saturating_sub(u32::try_from(refilled).unwrap_or(u32::MAX))
    }
}

/// Who is logged in.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Vec<Session>,
}

/// One login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// What a cookie or a header has to name.
    pub(super) token: String,
    /// What a form of the page has to name beside the cookie.
    pub(super) form: String,
    used: Instant,
}

impl Sessions {
    /// Opens a session; `entropy` must be secret.
    pub(super) fn open(&mut self, now: Instant, entropy: [u8; 2 * TOKEN_BYTES]) -> Session {
        let text = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.open.retain(|session| now.saturating_duration_since(session.used) < IDLE);
        if self.open.len() == SESSIONS
            && let Some(oldest) = (0..SESSIONS).min_by_key(|at| self.open[*at].used)
        {
            self.open.remove(oldest);
        }
        let (token, form) = entropy.split_at(TOKEN_BYTES);
        let session = Session { token: text(token), form: text(form), used: now };
        self.open.push(session.clone());
        session
    }

    /// The session of `token`, which counts as used.
    pub(super) fn find(&mut self, now: Instant, token: &str) -> Option<Session> {
        let session = self.open.iter_mut().find(|session| password::matches(token, &session.token))?;
        if now.saturating_duration_since(session.used) >= IDLE {
            return None;
        }
        session.used = now;
        Some(session.clone())
    }

    pub(super) fn close(&mut self, token: &str) {
        self.open.retain(|session| session.token != token);
    }

    /// When somebody did something last.
    pub(super) fn last_used(&self) -> Option<Instant> {
        self.open.iter().map(|session| session.used).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_and_far() {
        for near in [
            "127.0.0.1",
            "::1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.7.7",
            "fe80::1",
            "febf::1",
            "fc00::1",
            "fd12:3456::1",
            "::ffff:192.168.1.1",
        ] {
            assert!(is_near(near.parse().expect("an address")), "{near}");
        }
        for far in [
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "192.169.0.1",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "2001:db8::1",
            "fec0::1",
            "ff02::1",
            "::",
            "::ffff:8.8.8.8",
            "64:ff9b::a01:203",
        ] {
            assert!(!is_near(far.parse().expect("an address")), "{far}");
        }
    }

    #[test]
    fn attempts_are_few_for_each_and_for_all() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let mut heard = 0;
        while attempts.admits(now, address(0)) {
            attempts.note(now, address(0));
            heard += 1;
        }
        assert_eq!(heard, crate::auth::login::FAILURES_PER_ADDRESS);
        for n in 1.. {
            if !attempts.admits(now, address(n)) {
                break;
            }
            attempts.note(now, address(n));
            heard += 1;
        }
        assert_eq!(heard, GLOBAL_FAILURES);
        assert!(attempts.admits(now + GLOBAL_REFILL, address(99)));
        attempts.note(now + GLOBAL_REFILL, address(99));
        assert!(!attempts.admits(now + GLOBAL_REFILL, address(100)));
    }

    #[test]
    fn sessions_end_and_are_few() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        let first = sessions.open(start, [0; 2 * TOKEN_BYTES]);
        assert_ne!(first.token, sessions.open(start, [1; 2 * TOKEN_BYTES]).token);
        assert!(sessions.find(start, &first.token).is_some() && sessions.find(start, "").is_none());
        let later = start + IDLE - Duration::from_secs(1);
        assert!(sessions.find(later, &first.token).is_some(), "using it keeps it");
        assert!(sessions.find(later + IDLE, &first.token).is_none());
        for n in 2..10 {
            sessions.open(later + Duration::from_secs(n.into()), [n; 2 * TOKEN_BYTES]);
        }
        assert_eq!(sessions.open.len(), SESSIONS);
        assert!(sessions.find(later, &first.token).is_none(), "it made way");
        let last = sessions.open[0].token.clone();
        sessions.close(&last);
        assert!(sessions.find(later, &last).is_none());
    }
}
