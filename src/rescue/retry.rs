//! When the daemon is tried again: after 1, 2, 5 and 15 minutes, then every 30; from the beginning once it stayed up.
//!
//! rescue begins → `begin` → `delay` → rescue leaves → `leave`, kept in /run between two lives of rescue: after a reboot it
//! is tried soon again, and no flash is written.

use std::time::Duration;

/// Minutes before each try; the last one repeats.
pub(super) const DELAYS: [u32; 5] = [1, 2, 5, 15, 30];
/// Minutes between leaving and coming back after which the daemon had stayed up: the longest series of failing starts
/// that the start limit of `rill.service` allows (10), and as much again.
pub(super) const STAYED_UP: u32 = 20;
/// A person who does something holds the next try off for so many minutes.
pub(super) const HOLD: u32 = 5;
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// The tries so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tries {
    count: usize,
    /// On the clock that counts from boot.
    left: Option<Duration>,
}

impl Tries {
    /// Reads what the last life of rescue wrote.
    pub(super) fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace().map(str::parse::<u64>);
        match (words.next(), words.next()) {
            (Some(Ok(count)), Some(Ok(left))) => {
                Self { count: usize::try_from(count).unwrap_or(0), left: Some(Duration::from_secs(left)) }
            }
            _ => Self::default(),
        }
    }

    pub(super) fn to_text(self) -> String {
        format!("{} {}\n", self.count, self.left.unwrap_or_default().as_secs())
    }

    /// Rescue has come. A daemon that had stayed up begins anew.
    pub(super) fn begin(&mut self, now: Duration, minute: Duration) {
        let away = self.left.map(|left| now.saturating_sub(left));
        if away.is_some_and(|away| away >= minute * STAYED_UP) {
            self.count = 0;
        }
    }

    /// From coming to the next try.
    pub(super) fn delay(self, minute: Duration) -> Duration {
        minute * DELAYS[self.count.min(DELAYS.len() - 1)]
    }

    /// Rescue leaves and the daemon is tried.
    pub(super) fn leave(&mut self, now: Duration) {
        self.count = self.count.saturating_add(1).min(DELAYS.len());
        self.left = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_two_five_fifteen_then_every_thirty() {
        let (mut tries, mut now, mut minutes) = (Tries::default(), Duration::from_secs(100), Vec::new());
        for _ in 0..7 {
            tries = Tries::parse(&tries.to_text());
            tries.begin(now, MINUTE);
            let delay = tries.delay(MINUTE);
            minutes.push(delay.as_secs() / 60);
            now += delay;
            tries.leave(now);
            // The slowest series of failing starts takes almost ten minutes.
            now += Duration::from_secs(599);
        }
        assert_eq!(minutes, [1, 2, 5, 15, 30, 30, 30]);
    }

    #[test]
    fn begins_anew_when_the_daemon_stayed_up() {
        let mut tries = Tries::default();
        for _ in 0..3 {
            tries.leave(Duration::from_secs(1000));
        }
        let stayed = |seconds: u64| {
            let mut tries = tries;
            tries.begin(Duration::from_secs(1000 + seconds), MINUTE);
            tries.delay(MINUTE).as_secs() / 60
        };
        assert_eq!((stayed(1199), stayed(1200), stayed(100_000)), (15, 1, 1));
        // A shorter minute for tests shortens all of it.
        let mut short = tries;
        short.begin(Duration::from_secs(1020), Duration::from_secs(1));
        assert_eq!(short.delay(Duration::from_secs(1)), Duration::from_secs(1));
    }

    #[test]
    fn garbage_begins_anew() {
        for text in ["", "x", "1", "-1 5", "99999999999999999999 1"] {
            assert_eq!(Tries::parse(text), Tries::default(), "{text}");
        }
        assert_eq!(Tries::parse("18446744073709551615 1").delay(MINUTE), MINUTE * 30);
    }
}
