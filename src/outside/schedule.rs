//! When to talk next: pure, with the caller's entropy as jitter, so that boxes switched on together do not ask together.

use std::time::Duration;

/// The first update check waits for this, and up to as long again.
pub(super) const FIRST: Duration = Duration::from_secs(10);
/// From one update check to the next, give or take a twenty-fourth.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
/// Longest delay after failures.
pub(super) const RETRY: Duration = Duration::from_secs(3600);
/// Failures of the service that nobody needs to hear of.
pub(super) const QUIET_FAILURES: u32 = 3;
const SERVICE_RETRY: Duration = Duration::from_secs(15 * 60);
const SERVICE_STEP: Duration = Duration::from_secs(10);
const SERVICE_DEFAULT: Duration = Duration::from_secs(300);
/// The service may ask for reports this often at most, and must at least.
const SERVICE_BOUNDS: (Duration, Duration) = (Duration::from_secs(10), DAY);

pub(super) fn first(jitter: u8) -> Duration {
    FIRST + FIRST.mul_f64(share(jitter))
}

pub(super) fn tomorrow(jitter: u8) -> Duration {
    DAY - DAY / 24 + (DAY / 12).mul_f64(share(jitter))
}

/// After an answer that asks for the next report in `seconds`; 0 leaves it to us.
pub(super) fn next_report(seconds: u64) -> Duration {
    let (least, most) = SERVICE_BOUNDS;
    if seconds == 0 { SERVICE_DEFAULT } else { Duration::from_secs(seconds).clamp(least, most) }
}

/// After the `failures`th failure in a row: 10, 20, 30 s, then 15 minutes.
pub(super) fn report_again(failures: u32) -> Duration {
    if failures > QUIET_FAILURES { SERVICE_RETRY } else { SERVICE_STEP * failures.max(1) }
}

fn share(jitter: u8) -> f64 {
    f64::from(jitter) / 255.0
}
