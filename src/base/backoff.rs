//! Growing delays between retries: 1, 2, 4 … seconds up to a ceiling, with jitter from the caller's entropy.

use std::time::Duration;

/// Retry delays for one failing thing.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay before the next try after one more failure: `min(2^n s, ceiling)`, less up to a quarter by `jitter`.
    pub fn next(&mut self, ceiling: Duration, jitter: u8) -> Duration {
        let exponent = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let full = Duration::from_secs(1 << exponent).min(ceiling);
        full - full.mul_f64(f64::from(jitter) / 255.0 / 4.0)
    }

    /// Forgets the failures: the thing worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_ceiling_and_starts_over() {
        let mut backoff = Backoff::default();
        let ceiling = Duration::from_secs(30);
        let delays: Vec<u64> = (0..7).map(|_| backoff.next(ceiling, 0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.next(ceiling, 255), Duration::from_millis(750));
    }
}
