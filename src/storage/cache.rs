//! Small files of the disk mount, kept in memory for a while (`contract/http-api.md` §9.5).
//!
//! `find` → hit · miss → `admit` reserves room before the file is read → `store`. The least recently used go first,
//! but only those that no answer is still sending: bytes that slow readers hold count against the size as well.
//! Pure; the key is the cleaned path with its trailing slash.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::base::path;
use crate::config::DiskCache;

/// Entries at once; the least recently used goes for one more.
pub(super) const ENTRIES: usize = 4096;

/// Cheap handle to the cache.
#[derive(Clone)]
pub struct Cache(Rc<RefCell<Inner>>);

struct Inner {
    section: DiskCache,
    entries: HashMap<String, Stored>,
    /// Dropped while somebody was still sending them.
    lingering: Vec<Bytes>,
    /// Bytes of `entries`.
    stored: u64,
    /// Bytes admitted and not stored yet.
    reserved: u64,
    uses: u64,
    drops: u64,
    hits: u64,
    misses: u64,
}

struct Stored {
    file: Cached,
    since: Instant,
    used: u64,
}

/// A file from the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    pub content: Bytes,
    pub modified: SystemTime,
}

/// What the cache holds, and what `find` answered since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheUsage {
    pub files: usize,
    /// Bytes.
    pub stored: u64,
    pub hits: u64,
    pub misses: u64,
}

/// Room for a file that is being read; given back when dropped.
pub struct Admitted {
    cache: Cache,
    size: u64,
    drops: u64,
}

impl Cache {
    pub fn new(section: DiskCache) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            section,
            entries: HashMap::new(),
            lingering: Vec::new(),
            stored: 0,
            reserved: 0,
            uses: 0,
            drops: 0,
            hits: 0,
            misses: 0,
        })))
    }

    /// Applies other settings; what was cached is dropped if they differ.
    pub fn reconfigure(&self, section: DiskCache) {
        if self.0.borrow().section != section {
            self.clear();
            self.0.borrow_mut().section = section;
        }
    }

    pub fn clear(&self) {
        let mut inner = self.0.borrow_mut();
        inner.drops += 1;
        let keys: Vec<String> = inner.entries.keys().cloned().collect();
        keys.iter().for_each(|key| inner.drop_entry(key));
    }

    pub fn is_enabled(&self) -> bool {
        self.0.borrow().section.enable
    }

    pub fn ttl(&self) -> Duration {
        self.0.borrow().section.ttl
    }

    /// Whether files with the extension of `name` are cached; blocking wins over allowing.
    pub fn takes(&self, name: &str) -> bool {
        let section = &self.0.borrow().section;
        let extension = path::extension(name);
        let has = |list: &[String]| list.iter().any(|entry| entry == extension);
        !has(&section.block) && (section.allow.is_empty() || has(&section.allow))
    }

    /// The file `name` and how long it stays.
    pub fn find(&self, now: Instant, name: &str) -> Option<(Cached, Duration)> {
        let found = self.look_up(now, name);
        let mut inner = self.0.borrow_mut();
        *if found.is_some() { &mut inner.hits } else { &mut inner.misses } += 1;
        found
    }

    fn look_up(&self, now: Instant, name: &str) -> Option<(Cached, Duration)> {
        let mut inner = self.0.borrow_mut();
        let key = key(name);
        let age = now.saturating_duration_since(inner.entries.get(&key)?.since);
        let Some(remaining) = inner.section.ttl.checked_sub(age) else {
            inner.drop_entry(&key);
            return None;
        };
        inner.uses += 1;
        let used = inner.uses;
        let stored = inner.entries.get_mut(&key)?;
        stored.used = used;
        Some((stored.file.clone(), remaining))
    }

    pub fn usage(&self) -> CacheUsage {
        let inner = self.0.borrow();
        let Inner { stored, hits, misses, .. } = *inner;
        CacheUsage { files: inner.entries.len(), stored, hits, misses }
    }

    /// Reserves room for a file of `size` bytes; `None` if it is too big, or too much is being sent.
    pub fn admit(&self, size: u64) -> Option<Admitted> {
        let mut inner = self.0.borrow_mut();
        let (most, per_file) = (inner.section.max_size, inner.section.max_file_size);
        if size > most || (per_file > 0 && size > per_file) {
            return None;
        }
        inner.lingering.retain(|content| !is_idle(content));
        let lingering: u64 = inner.lingering.iter().map(|content| content.len() as u64).sum();
        while inner.stored + lingering + inner.reserved + size > most || inner.entries.len() >= ENTRIES {
            let idle = inner.entries.iter().filter(|(_, stored)| is_idle(&stored.file.content));
            let oldest = idle.min_by_key(|(_, stored)| stored.used).map(|(key, _)| key.clone())?;
            inner.drop_entry(&oldest);
        }
        inner.reserved += size;
        Some(Admitted { cache: self.clone(), size, drops: inner.drops })
    }

    /// Keeps what was read. Not if a file changed since `admit`: it may have been this one.
    pub fn store(&self, now: Instant, name: &str, admitted: Admitted, file: Cached) {
        let mut inner = self.0.borrow_mut();
        if file.content.len() as u64 > admitted.size || admitted.drops != inner.drops {
            inner.lingering.push(file.content);
        } else {
            let key = key(name);
            inner.drop_entry(&key);
            inner.uses += 1;
            inner.stored += file.content.len() as u64;
            let used = inner.uses;
            inner.entries.insert(key, Stored { file, since: now, used });
        }
        drop(inner);
        drop(admitted);
    }

    /// The file `name` changed: it goes, and if it is an index file, what its directory answers.
    pub fn invalidate(&self, name: &str) {
        let mut inner = self.0.borrow_mut();
        inner.drops += 1;
        let name = path::clean(name);
        inner.drop_entry(&name);
        if let Some(directory) = name.strip_suffix("/index.html") {
            inner.drop_entry(directory);
            inner.drop_entry(&format!("{directory}/"));
        }
    }
}

impl Inner {
    fn drop_entry(&mut self, key: &str) {
        let Some(stored) = self.entries.remove(key) else { return };
        self.stored -= stored.file.content.len() as u64;
        if !is_idle(&stored.file.content) {
            self.lingering.push(stored.file.content);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.cache.0.borrow_mut().reserved -= self.size;
    }
}

/// Whether nobody else holds the bytes. Empty ones are shared by everybody and cost nothing.
fn is_idle(content: &Bytes) -> bool {
    content.is_empty() || content.is_unique()
}

fn key(name: &str) -> String {
    let mut key = path::clean(name);
    if name.ends_with('/') && key != "/" {
        key.push('/');
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(max_size: u64, max_file_size: u64) -> Cache {
        Cache::new(DiskCache {
            enable: true,
            max_size,
            ttl: Duration::from_secs(300),
            max_file_size,
            allow: vec![],
            block: vec![".m3u8".to_owned(), ".mpd".to_owned()],
        })
    }

    fn fill(cache: &Cache, now: Instant, name: &str, size: usize) -> bool {
        let Some(admitted) = cache.admit(size as u64) else { return false };
        let content = Bytes::from(vec![b'x'; size]);
        cache.store(now, name, admitted, Cached { content, modified: SystemTime::UNIX_EPOCH });
        true
    }

    #[test]
    fn hits_until_the_time_is_over() {
        let cache = cache(1000, 0);
        let start = Instant::now();
        assert!(fill(&cache, start, "/a.txt", 10));
        let (_, remaining) = cache.find(start + Duration::from_millis(1500), "//a.txt").expect("a hit");
        assert_eq!(remaining, Duration::from_millis(298_500));
        assert!(cache.find(start + Duration::from_secs(301), "/a.txt").is_none());
        assert!(cache.find(start, "/a.txt").is_none(), "expired entries are gone");
        assert_eq!(cache.usage(), CacheUsage { files: 0, stored: 0, hits: 1, misses: 2 });
    }

    #[test]
    fn least_recently_used_goes() {
        let cache = cache(100, 60);
        let now = Instant::now();
        assert!(!fill(&cache, now, "/big", 61));
        for name in ["/a", "/b", "/c"] {
            assert!(fill(&cache, now, name, 30));
        }
        assert!(cache.find(now, "/a").is_some());
        assert!(fill(&cache, now, "/d", 30));
        let there: Vec<bool> = ["/a", "/b", "/c", "/d"].map(|name| cache.find(now, name).is_some()).into();
        assert_eq!(there, [true, false, true, true]);
    }

    #[test]
    fn what_is_being_sent_counts() {
        let cache = cache(100, 0);
        let now = Instant::now();
        assert!(fill(&cache, now, "/a", 80));
        let (sending, _) = cache.find(now, "/a").expect("a hit");
        assert!(!fill(&cache, now, "/b", 30), "the sent file cannot be evicted");
        cache.invalidate("/a");
        assert!(!fill(&cache, now, "/b", 30), "nor does dropping it free its memory");
        drop(sending);
        assert!(fill(&cache, now, "/b", 30));
    }

    #[test]
    fn writes_invalidate() {
        let cache = cache(1000, 0);
        let now = Instant::now();
        for name in ["/dir", "/dir/", "/dir/index.html", "/", "/dir/x"] {
            assert!(fill(&cache, now, name, 1));
        }
        cache.invalidate("/dir//index.html");
        let there = ["/dir", "/dir/", "/dir/index.html", "/", "/dir/x"].map(|name| cache.find(now, name).is_some());
        assert_eq!(there, [false, false, false, true, true]);
        cache.invalidate("/index.html");
        assert!(cache.find(now, "/").is_none());
    }

    #[test]
    fn a_write_during_the_read_is_not_lost() {
        let cache = cache(1000, 0);
        let now = Instant::now();
        drop(cache.admit(900));
        let admitted = cache.admit(900).expect("a dropped promise gives its room back");
        cache.invalidate("/a");
        cache.store(now, "/a", admitted, Cached { content: "old".into(), modified: SystemTime::UNIX_EPOCH });
        assert!(cache.find(now, "/a").is_none());
    }

    #[test]
    fn extensions() {
        let cache = cache(1000, 0);
        for (name, expected) in [("/a.txt", true), ("/a.m3u8", false), ("/dir", true), ("/x.mpd/a", true)] {
            assert_eq!(cache.takes(name), expected, "{name}");
        }
        cache.0.borrow_mut().section.allow = vec![".txt".to_owned(), ".m3u8".to_owned()];
        for (name, expected) in [("/a.txt", true), ("/a.m3u8", false), ("/dir", false)] {
            assert_eq!(cache.takes(name), expected, "{name}");
        }
    }
}
