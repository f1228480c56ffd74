//! When a connection has to go: a pure judgement of how it moves, made once a second for each.
//!
//! Headers must come in time, idle connections end, and who takes an answer too slowly is closed, so that neither
//! dribbling nor stalled peers hold memory or places for long.

use std::time::{Duration, Instant};

/// From accept, or the first byte of a later request, to the end of its headers.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Between two requests.
const IDLE_TIME: Duration = Duration::from_secs(120);
/// Idle connections leave hyper's buffers after this time.
const REST_AFTER: Duration = Duration::from_secs(3);
/// Bytes per second that a peer takes at least while an answer waits for it.
const MIN_SEND_RATE: u64 = 4 * 1024;
/// Time over which `MIN_SEND_RATE` is judged.
const SEND_WINDOW: Duration = Duration::from_secs(30);

/// Where in its life a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Accepted, nothing received.
    Fresh,
    /// Between requests.
    Idle,
    /// Part of a request's headers has come.
    Head,
    /// A request is being answered.
    Busy,
}

/// What the peer had taken when its current measurement began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) since: Instant,
    pub(super) delivered: u64,
}

/// One look at a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) phase: Phase,
    /// Beginning of the phase, up to one look late.
    pub(super) since: Instant,
    /// The answer waits for the peer.
    pub(super) blocked: bool,
    /// Bytes that the peer has acknowledged.
    pub(super) delivered: u64,
    pub(super) window: Option<Window>,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Goes on; the window for the next look.
    Keep(Option<Window>),
    Rest,
    Close(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    SlowHeaders,
    Idle,
    SlowReader,
}

/// Judges `seen` at `now`.
pub(super) fn judge(seen: Seen, now: Instant) -> Verdict {
    let age = now.saturating_duration_since(seen.since);
    match seen.phase {
        Phase::Fresh | Phase::Head if age >= HEADER_TIME => Verdict::Close(Reason::SlowHeaders),
        Phase::Idle if age >= IDLE_TIME => Verdict::Close(Reason::Idle),
        Phase::Idle if age >= REST_AFTER => Verdict::Rest,
        Phase::Fresh | Phase::Head | Phase::Idle => Verdict::Keep(None),
        Phase::Busy if !seen.blocked => Verdict::Keep(None),
        Phase::Busy => judge_reader(seen, now),
    }
}

fn judge_reader(seen: Seen, now: Instant) -> Verdict {
    let fresh = Window { since: now, delivered: seen.delivered };
    let Some(window) = seen.window else { return Verdict::Keep(Some(fresh)) };
    let span = now.saturating_duration_since(window.since);
    if span < SEND_WINDOW {
        return Verdict::Keep(Some(window));
    }
    let taken = seen.delivered.saturating_sub(window.delivered);
    if taken < MIN_SEND_RATE * span.as_secs() { Verdict::Close(Reason::SlowReader) } else { Verdict::Keep(Some(fresh)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(phase: Phase, since: Instant) -> Seen {
        Seen { phase, since, blocked: false, delivered: 0, window: None }
    }

    #[test]
    fn headers_and_idle_times() {
        let start = Instant::now();
        #[track_caller]
        fn check(phase: Phase, start: Instant, seconds: u64, expected: Verdict) {
            assert_eq!(judge(seen(phase, start), start + Duration::from_secs(seconds)), expected);
        }
        for phase in [Phase::Fresh, Phase::Head] {
            check(phase, start, 9, Verdict::Keep(None));
            check(phase, start, 10, Verdict::Close(Reason::SlowHeaders));
        }
        check(Phase::Idle, start, 2, Verdict::Keep(None));
        check(Phase::Idle, start, 3, Verdict::Rest);
        check(Phase::Idle, start, 120, Verdict::Close(Reason::Idle));
        check(Phase::Busy, start, 100_000, Verdict::Keep(None));
    }

    /// Looks once a second at a peer that takes `rate` bytes a second while the answer waits for it.
    fn closed_after(rate: u64) -> Option<u64> {
        let start = Instant::now();
        let mut reader = Seen { blocked: true, ..seen(Phase::Busy, start) };
        for second in 0..600 {
            reader.delivered = second * rate;
            match judge(reader, start + Duration::from_secs(second)) {
                Verdict::Keep(window) => reader.window = window,
                Verdict::Close(Reason::SlowReader) => return Some(second),
                other => panic!("{other:?}"),
            }
        }
        None
    }

    #[test]
    fn slow_readers_go_and_steady_ones_stay() {
        assert_eq!(closed_after(1), Some(30));
        assert_eq!(closed_after(MIN_SEND_RATE - 1), Some(30));
        assert_eq!(closed_after(MIN_SEND_RATE), None);
    }

    #[test]
    fn a_reader_that_catches_up_begins_anew() {
        let start = Instant::now();
        let window = Some(Window { since: start, delivered: 0 });
        let later = start + Duration::from_secs(40);
        let reader = Seen { phase: Phase::Busy, since: start, blocked: false, delivered: 0, window };
        assert_eq!(judge(reader, later), Verdict::Keep(None));
    }
}
