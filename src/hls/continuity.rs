//! Live playlists that go on after their FFmpeg was started anew: numbers continue, and the first new segment is marked as
//! a discontinuity, so that players go on, too (RFC 8216 §4.3.3.2, §4.3.3.3, §4.3.2.3, §6.2.2).
//!
//! playlist of a run → `Continuity::resume` → the same playlist with shifted numbers, or untouched if its numbers go on by
//! themselves. What is remembered of a stream is a `Slot` of fixed size, which the owner keeps where a later daemon finds
//! it. Pure.

use std::collections::BTreeMap;

/// Streams that are remembered; beyond it the one longest without news is forgotten.
pub const STREAMS: usize = 256;
/// Bytes of a slot: next number, discontinuities, length of the name, name. Longer names are not remembered.
pub const SLOT: usize = 256;
const NUMBERS: usize = 17;

/// What all streams were up to.
#[derive(Default)]
pub struct Continuity {
    streams: BTreeMap<String, Past>,
    /// Counts news.
    turn: u64,
}

struct Past {
    slot: usize,
    /// Number of the segment after the last one.
    next: u64,
    /// Discontinuities so far.
    breaks: u64,
    run: Option<Run>,
    turn: u64,
}

/// The current run: who it is, and what its numbers lack.
#[derive(Clone, Copy)]
struct Run {
    id: u64,
    first: u64,
    offset: u64,
}

/// The lines of a media playlist that matter here.
struct Media<'a> {
    text: &'a str,
    first: u64,
    count: u64,
}

impl Continuity {
    /// From slots that a former daemon left; those that make no sense are left out.
    pub fn load(bytes: &[u8]) -> Self {
        let slots = bytes.chunks_exact(SLOT).take(STREAMS).enumerate();
        let streams = slots.filter_map(|(slot, bytes)| {
            let (name, next, breaks) = read(bytes)?;
            Some((name, Past { slot, next, breaks, run: None, turn: 0 }))
        });
        Self { streams: streams.collect(), turn: 0 }
    }

    /// What viewers are to see of `text`, written to `name` in the run `id` of its FFmpeg; `None`: just that. The slot is to
    /// be stored at its number.
    pub fn resume(&mut self, name: &str, id: u64, text: &str) -> (Option<String>, Option<(usize, [u8; SLOT])>) {
        let Some(media) = Media::read(text).filter(|_| name.len() <= SLOT - NUMBERS) else { return (None, None) };
        self.turn += 1;
        let known = self.streams.get(name).map(|past| past.slot);
        let slot = known.unwrap_or_else(|| self.free_slot());
        let new = || Past { slot, next: 0, breaks: 0, run: None, turn: 0 };
        let past = self.streams.entry(name.to_owned()).or_insert_with(new);
        past.turn = self.turn;
        let run = match past.run.filter(|run| run.id == id) {
            Some(run) => run,
            None => past.begin(id, media.first),
        };
        past.next = past.next.max(media.first + media.count + run.offset);
        let text = (run.offset > 0).then(|| media.shifted(run, past.breaks));
        (text, Some((slot, write(name, past.next, past.breaks))))
    }

    /// A number that no stream has; makes room.
    fn free_slot(&mut self) -> usize {
        if self.streams.len() >= STREAMS
            && let Some(oldest) = self.streams.iter().min_by_key(|(_, past)| past.turn).map(|(name, _)| name.clone())
        {
            self.streams.remove(&oldest);
        }
        let taken = |slot: &usize| self.streams.values().any(|past| past.slot == *slot);
        (0..STREAMS).find(|slot| !taken(slot)).unwrap_or(0)
    }
}

impl Past {
    fn begin(&mut self, id: u64, first: u64) -> Run {
        let offset = self.next.saturating_sub(first);
        self.breaks += u64::from(offset > 0);
        let run = Run { id, first, offset };
        self.run = Some(run);
        run
    }
}

const SEQUENCE: &str = "#EXT-X-MEDIA-SEQUENCE:";
const BREAKS: &str = "#EXT-X-DISCONTINUITY-SEQUENCE:";

impl<'a> Media<'a> {
    /// `None` for what is no live media playlist.
    fn read(text: &'a str) -> Option<Self> {
        if !text.starts_with("#EXTM3U") || text.contains("#EXT-X-PLAYLIST-TYPE:") {
            return None;
        }
        let first = text.lines().find_map(|line| line.strip_prefix(SEQUENCE))?.trim().parse().ok()?;
        let count = text.lines().filter(|line| line.starts_with("#EXTINF:")).count() as u64;
        // Numbers that would not fit are nobody's.
        (first < u64::MAX / 4).then_some(Self { text, first, count })
    }

    fn shifted(&self, run: Run, breaks: u64) -> String {
        let begins = self.first == run.first && self.count > 0;
        let own = self.text.lines().find_map(|line| line.strip_prefix(BREAKS)?.trim().parse::<u64>().ok()).unwrap_or(0);
        // The mark before the first segment counts from there on.
        let before = (breaks + own).saturating_sub(u64::from(begins));
        let mut out = String::with_capacity(self.text.len() + 96);
        let mut is_marked = !begins;
        for line in self.text.split_inclusive('\n') {
            if line.starts_with(BREAKS) {
                continue;
            }
            if line.starts_with(SEQUENCE) {
                out.push_str(&format!("{SEQUENCE}{}\n{BREAKS}{before}\n", self.first + run.offset));
                continue;
            }
            if !is_marked && is_of_segment(line) {
                out.push_str("#EXT-X-DISCONTINUITY\n");
                is_marked = true;
            }
            out.push_str(line);
        }
        out
    }
}

/// Tags that belong to the segment after them (RFC 8216 §4.3.2).
fn is_of_segment(line: &str) -> bool {
    ["#EXTINF:", "#EXT-X-BYTERANGE:", "#EXT-X-KEY:", "#EXT-X-MAP:", "#EXT-X-PROGRAM-DATE-TIME:", "#EXT-X-GAP"]
        .iter()
        .any(|tag| line.starts_with(tag))
}

fn write(name: &str, next: u64, breaks: u64) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..8].copy_from_slice(&next.to_be_bytes());
    slot[8..16].copy_from_slice(&breaks.to_be_bytes());
    slot[16] = u8::try_from(name.len()).unwrap_or(0);
    slot[NUMBERS..NUMBERS + name.len()].copy_from_slice(name.as_bytes());
    slot
}

fn read(slot: &[u8]) -> Option<(String, u64, u64)> {
    let number = |at: usize| slot.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    let name = slot.get(NUMBERS..NUMBERS + usize::from(*slot.get(16)?))?;
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    let (next, breaks) = (number(0)?, number(8)?);
    (next < u64::MAX / 4 && breaks < u64::MAX / 4).then(|| (name.to_owned(), next, breaks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn playlist(first: u64, count: u64) -> String {
        let segments: String = (first..first + count).map(|n| format!("#EXTINF:2.0,\nlive{n}.ts\n")).collect();
        format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n{segments}")
    }

    #[track_caller]
    fn check(continuity: &mut Continuity, id: u64, (first, count): (u64, u64), expected: Option<(u64, u64, bool)>) {
        let text = playlist(first, count);
        let (shown, slot) = continuity.resume("/live.m3u8", id, &text);
        assert!(slot.is_some());
        let Some((sequence, breaks, marked)) = expected else { return assert_eq!(shown, None) };
        let shown = shown.expect("its numbers are shifted");
        let head = format!("#EXT-X-MEDIA-SEQUENCE:{sequence}\n#EXT-X-DISCONTINUITY-SEQUENCE:{breaks}\n");
        assert!(shown.contains(&head), "{shown}");
        assert_eq!(shown.contains("#EXT-X-DISCONTINUITY\n#EXTINF:2.0,\n"), marked, "{shown}");
        assert_eq!(shown.matches(".ts").count() as u64, count);
    }

    #[test]
    fn numbers_go_on_in_the_next_run() {
        let continuity = &mut Continuity::default();
        check(continuity, 1, (0, 3), None);
        check(continuity, 1, (4, 3), None);
        check(continuity, 2, (0, 1), Some((7, 0, true)));
        check(continuity, 2, (0, 3), Some((7, 0, true)));
        check(continuity, 2, (1, 3), Some((8, 1, false)));
        // It fell before it wrote the next one.
        check(continuity, 3, (0, 1), Some((11, 1, true)));
        check(continuity, 4, (0, 1), Some((12, 2, true)));
        check(continuity, 4, (1, 1), Some((13, 3, false)));
    }

    #[test]
    fn numbers_that_go_on_by_themselves_are_left_alone() {
        let continuity = &mut Continuity::default();
        check(continuity, 1, (1000, 3), None);
        check(continuity, 2, (1003, 3), None);
        check(continuity, 3, (5000, 1), None);
        check(continuity, 4, (0, 1), Some((5001, 0, true)));
    }

    #[test]
    fn a_later_daemon_goes_on() {
        let mut bytes = vec![0; SLOT * STREAMS];
        let mut first = Continuity::default();
        for name in ["/a.m3u8", "/b.m3u8"] {
            let (_, slot) = first.resume(name, 1, &playlist(40, 3));
            let (number, slot) = slot.expect("it is remembered");
            bytes[number * SLOT..][..SLOT].copy_from_slice(&slot);
        }
        let mut second = Continuity::load(&bytes);
        let (shown, _) = second.resume("/b.m3u8", 1, &playlist(0, 1));
        assert!(shown.expect("it goes on").contains("#EXT-X-MEDIA-SEQUENCE:43\n"));
        assert_eq!(second.resume("/c.m3u8", 1, &playlist(0, 1)).0, None);
        for bytes in [&[][..], &[0xff; SLOT * 2], &[0; 100]] {
            assert!(Continuity::load(bytes).streams.is_empty());
        }
    }

    #[test]
    fn only_live_media_playlists_are_touched() {
        let mut continuity = Continuity::default();
        let event = playlist(0, 3).replace("#EXT-X-VERSION", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-VERSION");
        for text in
            [&*event, "", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlive.m3u8\n", "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:x\n"]
        {
            let (shown, slot) = continuity.resume("/live.m3u8", 1, text);
            assert!(shown.is_none() && slot.is_none(), "{text}");
        }
        let long = "x".repeat(SLOT);
        assert!(continuity.resume(&long, 1, &playlist(0, 1)).1.is_none());
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut continuity = Continuity::default();
        for number in 0..=STREAMS {
            let (_, slot) = continuity.resume(&format!("/{number}.m3u8"), 1, &playlist(9, 1));
            assert!(slot.expect("it is remembered").0 < STREAMS);
        }
        assert_eq!(continuity.streams.len(), STREAMS);
        assert!(!continuity.streams.contains_key("/0.m3u8"));
    }
}
