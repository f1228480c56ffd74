//! What failed logins cost: a delay for each, a budget per address, a bound on how many wait at once.
//!
//! A right password is never delayed, and an address that tried nothing yet is always heard, whatever others do.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How long a failed login waits for its answer.
pub const FAILURE_DELAY: Duration = Duration::from_secs(5);
/// Failed logins that wait at once; further ones are answered at once.
pub const PENDING_FAILURES: usize = 8;
/// Failures that an address may have in a row before it is refused unheard.
pub const FAILURES_PER_ADDRESS: u32 = 10;
/// Time after which an address gets one failure back.
pub const FAILURE_REFILL: Duration = Duration::from_secs(10);
/// Addresses remembered; the one that failed longest ago goes first.
pub const REMEMBERED_ADDRESSES: usize = 256;

/// The failures of the recent past.
#[derive(Debug, Default)]
pub struct Failures {
    /// Oldest first.
    addresses: VecDeque<Failed>,
    pending: usize,
}

#[derive(Debug)]
struct Failed {
    /// An IPv4 address or the /64 of an IPv6 address.
    address: IpAddr,
    count: u32,
    last: Instant,
}

impl Failures {
    /// Whether a login from `address` is looked at.
    pub fn admits(&self, now: Instant, address: IpAddr) -> bool {
        let key = network(address);
        let failed = self.addresses.iter().find(|failed| failed.address == key);
        failed.is_none_or(|failed| failed.count_at(now) < FAILURES_PER_ADDRESS)
    }

    /// Notes a failure. True: its answer waits for `FAILURE_DELAY` and then calls `waited`.
    #[must_use]
    pub fn note(&mut self, now: Instant, address: IpAddr) -> bool {
        let address = network(address);
        let mut count = 1;
        if let Some(at) = self.addresses.iter().position(|failed| failed.address == address)
            && let Some(failed) = self.addresses.remove(at)
        {
            count += failed.count_at(now);
        }
        if self.addresses.len() == REMEMBERED_ADDRESSES {
            self.addresses.pop_front();
        }
        self.addresses.push_back(Failed { address, count, last: now });
        let waits = self.pending < PENDING_FAILURES;
        self.pending += usize::from(waits);
        waits
    }

    /// Ends the wait of one failed login.
    pub fn waited(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }
}

impl Failed {
    fn count_at(&self, now: Instant) -> u32 {
        let refilled = now.saturating_duration_since(self.last).as_secs() / FAILURE_REFILL.as_secs();
        self.count.saturating_sub(u32::try_from(refilled).unwrap_or(u32::MAX))
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTACKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 2));

    #[test]
    fn a_budget_per_address_that_refills() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        for _ in 0..FAILURES_PER_ADDRESS {
            assert!(failures.admits(start, ATTACKER));
            let _ = failures.note(start, ATTACKER);
        }
        assert!(!failures.admits(start, ATTACKER));
        assert!(failures.admits(start, OTHER));
        let later = start + FAILURE_REFILL;
        assert!(failures.admits(later, ATTACKER));
        let _ = failures.note(later, ATTACKER);
        assert!(!failures.admits(later, ATTACKER));
    }

    #[test]
    fn few_wait_at_once() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let waiting = (0..20u8).filter(|n| failures.note(now, IpAddr::from([10, 0, 0, *n]))).count();
        assert_eq!(waiting, PENDING_FAILURES);
        failures.waited();
        assert!(failures.note(now, OTHER) && !failures.note(now, OTHER));
    }

    #[test]
    fn the_memory_is_bounded_and_a_v6_network_is_one() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for n in 0..=u16::MAX {
            let _ = failures.note(now, IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]));
        }
        assert_eq!(failures.addresses.len(), 1);
        for n in 0..1000u16 {
            let _ = failures.note(now, IpAddr::from([0x2001, 0xdb8, 0, n, 0, 0, 0, 0]));
        }
        assert_eq!(failures.addresses.len(), REMEMBERED_ADDRESSES);
    }
}
