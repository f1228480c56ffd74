//! Uploaded segments that no playlist has named yet (`contract/sessions.md` §6). Pure.

use std::collections::BTreeMap;

use super::playlist::uris;

/// Segments remembered; one more forgets the oldest, whose bytes then count nowhere.
pub const UNCLAIMED: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Unclaimed {
    /// Place in the order of uploads, and bytes.
    segments: BTreeMap<Box<str>, (u64, u64)>,
    order: BTreeMap<u64, Box<str>>,
    uploads: u64,
}

impl Unclaimed {
    pub(super) fn add(&mut self, path: &str, bytes: u64) {
        self.take(path);
        if self.segments.len() >= UNCLAIMED
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.segments.remove(&oldest);
        }
        self.uploads += 1;
        self.segments.insert(path.into(), (self.uploads, bytes));
        self.order.insert(self.uploads, path.into());
    }

    /// Bytes of the segments that the playlist names; each counts once.
    pub(super) fn claim(&mut self, playlist: &str, text: &str) -> u64 {
        let named = uris(text).filter_map(|uri| uri.resolve(playlist));
        named.filter_map(|path| self.take(&path)).sum()
    }

    fn take(&mut self, path: &str) -> Option<u64> {
        let (number, bytes) = self.segments.remove(path)?;
        self.order.remove(&number);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_segment_is_claimed_once() {
        let mut unclaimed = Unclaimed::default();
        for (path, bytes) in
            [("/memfs/a/1.ts", 1), ("/memfs/a/1.ts", 10), ("/memfs/a/init.mp4", 100), ("/memfs/2.ts", 1000)]
        {
            unclaimed.add(path, bytes);
        }
        let text = "#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\"\n1.ts?x=1\nhttp://other/memfs/2.ts\n# 2.ts\n";
        assert_eq!(unclaimed.claim("/memfs/b/live.m3u8", text), 0);
        assert_eq!(unclaimed.claim("/memfs/a/live.m3u8", text), 110);
        assert_eq!(unclaimed.claim("/memfs/a/live.m3u8", text), 0);
        assert_eq!(unclaimed.claim("/memfs/a/live.m3u8", "../2.ts\n/memfs/2.ts\n"), 1000);
        assert_eq!((unclaimed.segments.len(), unclaimed.order.len()), (0, 0));
    }

    #[test]
    fn what_is_never_named_is_forgotten() {
        let mut unclaimed = Unclaimed::default();
        for number in 0..UNCLAIMED * 2 {
            unclaimed.add(&format!("/memfs/{number}.ts"), 1);
            unclaimed.add("/memfs/live.ts", 5);
        }
        assert_eq!((unclaimed.segments.len(), unclaimed.order.len()), (UNCLAIMED, UNCLAIMED));
        assert_eq!(unclaimed.claim("/memfs/x.m3u8", "0.ts\nlive.ts\n"), 5);
    }
}
