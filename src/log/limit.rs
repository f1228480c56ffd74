//! Repeated lines are counted, not written: a loop that fails all night must not fill journal and flash.
//!
//! A line may be written `BURST` times within `WINDOW`; what comes beyond is counted, and the count written when the
//! window is over. Numbers do not tell lines apart. Only the output is limited, the ring sees everything.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::entry::Entry;

/// Times a line is written within `WINDOW`.
pub(super) const BURST: u32 = 5;
/// How long repetitions are counted together.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// Different lines watched at once; the oldest is forgotten first.
pub(super) const WATCHED: usize = 64;

/// The lines of the last `WINDOW`.
#[derive(Default)]
pub(super) struct Limiter {
    watched: VecDeque<Watched>,
}

struct Watched {
    key: u64,
    since: Instant,
    written: u32,
    /// The last one that was not written, and how many were not.
    held: Option<(Entry, u64)>,
}

impl Limiter {
    /// The lines to write now: `entry` itself unless it repeats too often, before it the counts that are due.
    pub(super) fn admit(&mut self, now: Instant, entry: &Entry) -> Vec<Entry> {
        let mut due = Vec::new();
        while let Some(oldest) = self.watched.front() {
            if now.duration_since(oldest.since) < WINDOW && self.watched.len() < WATCHED {
                break;
            }
            due.extend(self.watched.pop_front().and_then(Watched::summary));
        }
        let key = key(entry);
        match self.watched.iter_mut().find(|watched| watched.key == key) {
            Some(watched) if watched.written >= BURST => {
                let count = watched.held.as_ref().map_or(0, |(_, count)| *count);
                watched.held = Some((entry.clone(), count + 1));
            }
            Some(watched) => {
                watched.written += 1;
                due.push(entry.clone());
            }
            None => {
                self.watched.push_back(Watched { key, since: now, written: 1, held: None });
                due.push(entry.clone());
            }
        }
        due
    }
}

impl Watched {
    /// The last line that was held back, with the number of all of them.
    fn summary(self) -> Option<Entry> {
        let (mut entry, count) = self.held?;
        entry.fields.insert("repeated".to_owned(), count.into());
        Some(entry)
    }
}

fn key(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    (entry.level, &entry.component, &entry.message).hash(&mut hasher);
    for (name, value) in &entry.fields {
        if let Value::String(text) = value {
            (name, text).hash(&mut hasher);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use super::*;

    fn entry(message: &str, number: u64) -> Entry {
        Entry {
            at: SystemTime::UNIX_EPOCH,
            level: ::log::Level::Warn,
            component: "RTMP".into(),
            message: message.into(),
            fields: BTreeMap::from([("latency_ms".to_owned(), number.into())]),
        }
    }

    #[test]
    fn repetitions_are_counted_and_told_later() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        let written: usize = (0..12).map(|number| limiter.admit(start, &entry("refused", number)).len()).sum();
        assert_eq!(written, 5);
        assert_eq!(limiter.admit(start, &entry("other", 0)).len(), 1);
        let later = limiter.admit(start + WINDOW, &entry("third", 0));
        let lines: Vec<_> = later.iter().map(|e| (e.message.as_str(), e.fields.get("repeated"))).collect();
        assert_eq!(lines, [("refused", Some(&Value::from(7))), ("third", None)]);
        assert_eq!(limiter.admit(start + WINDOW, &entry("refused", 0)).len(), 1);
    }

    #[test]
    fn different_lines_are_bounded() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        for number in 0..10 * WATCHED {
            assert_eq!(limiter.admit(start, &entry(&number.to_string(), 0)).len(), 1);
        }
        assert!(limiter.watched.len() <= WATCHED);
    }
}
