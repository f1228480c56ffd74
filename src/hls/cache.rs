//! Prepared playlists by path and version, the least recently used go first. Pure.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;

use super::playlist::Prepared;

/// Playlists kept.
pub const PREPARED: usize = 64;
/// Bytes kept together; a playlist that is larger alone is prepared for each request.
pub const PREPARED_BYTES: usize = 2 * 1024 * 1024;

/// Names one content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// Of a file system that counts its changes.
    Number(u64),
    /// The content itself.
    Content(Bytes),
}

#[derive(Default)]
pub(super) struct Cache {
    entries: BTreeMap<Box<str>, Entry>,
    bytes: usize,
    /// Requests so far.
    uses: u64,
}

struct Entry {
    version: Version,
    prepared: Rc<Prepared>,
    bytes: usize,
    used: u64,
}

impl Cache {
    pub(super) fn find(&mut self, path: &str, version: &Version) -> Option<Rc<Prepared>> {
        self.uses += 1;
        let entry = self.entries.get_mut(path).filter(|entry| entry.version == *version)?;
        entry.used = self.uses;
        Some(entry.prepared.clone())
    }

    pub(super) fn store(&mut self, path: &str, version: &Version, prepared: Rc<Prepared>) {
        self.remove(path);
        let content = if let Version::Content(content) = version { content.len() } else { 0 };
        let bytes = prepared.bytes() + content + path.len();
        if bytes > PREPARED_BYTES {
            return;
        }
        while self.entries.len() >= PREPARED || self.bytes + bytes > PREPARED_BYTES {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(path, _)| path.clone());
            let Some(oldest) = oldest else { break };
            self.remove(&oldest);
        }
        self.bytes += bytes;
        let entry = Entry { version: version.clone(), prepared, bytes, used: self.uses };
        self.entries.insert(path.into(), entry);
    }

    fn remove(&mut self, path: &str) {
        if let Some(entry) = self.entries.remove(path) {
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(text: &str) -> Rc<Prepared> {
        Rc::new(Prepared::new(text, "/x.m3u8").expect("short lines"))
    }

    #[test]
    fn versions_replace_each_other() {
        let mut cache = Cache::default();
        let content = |text: &'static str| Version::Content(Bytes::from_static(text.as_bytes()));
        cache.store("/a", &Version::Number(1), prepared("1.ts\n"));
        assert!(cache.find("/a", &Version::Number(1)).is_some());
        assert!(cache.find("/a", &Version::Number(2)).is_none());
        cache.store("/a", &content("2.ts"), prepared("2.ts\n"));
        assert!(cache.find("/a", &Version::Number(1)).is_none());
        assert!(cache.find("/a", &content("2.ts")).is_some());
        assert!(cache.find("/a", &content("3.ts")).is_none());
        cache.remove("/a");
        assert_eq!((cache.entries.len(), cache.bytes), (0, 0));
    }

    #[test]
    fn bounds() {
        let mut cache = Cache::default();
        for number in 0..PREPARED as u64 * 2 {
            cache.store(&format!("/{number}"), &Version::Number(number), prepared("1.ts\n"));
            assert!(cache.find("/0", &Version::Number(0)).is_some(), "in use after {number}");
        }
        assert_eq!(cache.entries.len(), PREPARED);
        let large = "segment.ts\n".repeat(PREPARED_BYTES / 400);
        for number in 0..20 {
            cache.store(&format!("/{number}"), &Version::Number(number), prepared(&large));
            assert!(cache.bytes <= PREPARED_BYTES);
        }
        assert!(cache.entries.len() > 1);
        cache.store("/0", &Version::Number(9), prepared(&large.repeat(20)));
        assert!(cache.find("/0", &Version::Number(9)).is_none());
    }
}
