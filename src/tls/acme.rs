//! Which name needs a certificate when: the order machine. Pure; `acme_driver` does what it says.
//!
//! missing → obtain → wait until two thirds of its life are over → obtain … A failure waits longer each time: shortly
//! while the authority can't be reached, long once it has refused, since authorities count refusals.

use std::time::{Duration, Instant};

use super::validity::Validity;
use crate::base::backoff::Backoff;
use crate::base::clock::Now;

/// Nothing is slept through longer than this: the wall clock may be set meanwhile.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Longest pause while the authority can't be reached.
pub(super) const UNREACHABLE_CEILING: Duration = Duration::from_secs(300);
/// First and longest pause after a refusal.
pub(super) const REFUSED_PAUSE: Duration = Duration::from_secs(300);
/// See `REFUSED_PAUSE`.
pub(super) const REFUSED_CEILING: Duration = Duration::from_secs(12 * 3600);

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No answer, or none that makes sense.
    Unreachable,
    /// The authority says no.
    Refused,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Obtain(String),
    Wait(Duration),
}

/// All names and their certificates.
pub(super) struct Plan(Vec<Name>);

#[derive(Default)]
struct Name {
    host: String,
    validity: Option<Validity>,
    /// Of the renewal, 0 to 255.
    jitter: u8,
    backoff: Backoff,
    refusals: u32,
    retry_at: Option<Instant>,
}

impl Plan {
    /// The names with what is known of their stored certificates. `jitter` spreads renewals.
    pub(super) fn new(names: impl IntoIterator<Item = (String, Option<Validity>)>, jitter: u8) -> Self {
        let name = |(host, validity)| Name { host, validity, jitter, ..Name::default() };
        Self(names.into_iter().map(name).collect())
    }

    /// The next step: names without a certificate first.
    pub(super) fn next(&self, now: Now) -> Step {
        let due = |name: &&Name| name.wait(now).is_zero();
        let missing = self.0.iter().filter(due).find(|name| name.validity.is_none());
        if let Some(name) = missing.or_else(|| self.0.iter().find(due)) {
            return Step::Obtain(name.host.clone());
        }
        Step::Wait(self.0.iter().map(|name| name.wait(now)).min().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT))
    }

    /// `host` has a certificate of this validity now.
    pub(super) fn obtained(&mut self, host: &str, validity: Option<Validity>) {
        if let Some(name) = self.find(host) {
            *name = Name { host: name.host.clone(), validity, jitter: name.jitter, ..Name::default() };
        }
    }

    /// An attempt for `host` failed; how long it waits now.
    pub(super) fn failed(&mut self, now: Now, host: &str, failure: Failure, jitter: u8) -> Duration {
        let Some(name) = self.find(host) else { return LONGEST_WAIT };
        let pause = match failure {
            Failure::Unreachable => name.backoff.next(UNREACHABLE_CEILING, jitter),
            Failure::Refused => {
                let full = REFUSED_PAUSE.saturating_mul(1 << name.refusals.min(16)).min(REFUSED_CEILING);
                name.refusals += 1;
                full + full.mul_f64(f64::from(jitter) / 255.0 / 4.0)
            }
        };
        name.retry_at = Some(now.mono + pause);
        pause
    }

    /// Whether `host` has a certificate that is still valid.
    pub(super) fn is_valid(&self, now: Now, host: &str) -> bool {
        let validity = self.0.iter().find(|name| name.host == host).and_then(|name| name.validity);
        validity.is_some_and(|validity| now.unix() < validity.not_after)
    }

    fn find(&mut self, host: &str) -> Option<&mut Name> {
        self.0.iter_mut().find(|name| name.host == host)
    }
}

impl Name {
    /// Zero: it is due.
    fn wait(&self, now: Now) -> Duration {
        let retry = self.retry_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now.mono));
        let renewal = self.validity.map_or(Duration::ZERO, |validity| {
            let at = renewal(validity, self.jitter);
            Duration::from_secs(u64::try_from(at.saturating_sub(now.unix())).unwrap_or(0))
        });
        retry.max(renewal)
    }
}

/// When a certificate is renewed: after two thirds of its life, up to a twentieth of it earlier.
fn renewal(validity: Validity, jitter: u8) -> i64 {
    let lifetime = validity.lifetime();
    let age = lifetime.mul_f64(2.0 / 3.0 - f64::from(jitter) / 255.0 / 20.0);
    validity.not_before + i64::try_from(age.as_secs()).unwrap_or(i64::MAX / 2)
}
