//! All or nothing, the bound and its policies, readers of dead versions, and the accounts under random use.

use std::time::{Duration, SystemTime};

use super::*;
use crate::base::clock::Now;

fn now() -> Now {
    Now { mono: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) }
}

fn fs(bytes: u64, policy: Policy) -> Memfs {
    Memfs::new(Bound { bytes, policy })
}

fn put_at(fs: &Memfs, at: Now, name: &str, data: &[u8]) -> Result<Committed, Error> {
    let mut writer = fs.create(name)?;
    for piece in data.chunks(1000) {
        writer.append(piece)?;
    }
    writer.commit(at)
}

fn put(fs: &Memfs, name: &str, data: &[u8]) -> Result<Committed, Error> {
    put_at(fs, now(), name, data)
}

fn read(mut reader: Reader) -> Result<Vec<u8>, Closed> {
    let mut all = Vec::new();
    while let Some(piece) = reader.next(Instant::now()) {
        all.extend_from_slice(&piece?);
    }
    Ok(all)
}

fn content(fs: &Memfs, name: &str) -> Option<Vec<u8>> {
    fs.open(Instant::now(), name).map(|reader| read(reader).expect("not closed"))
}

fn names(fs: &Memfs) -> Vec<String> {
    fs.list("/").iter().map(|entry| entry.path.to_string()).collect()
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((i * 31 + i / 251 + seed) % 256).expect("a byte")).collect()
}

#[test]
fn bytes_come_back_exactly() {
    let fs = fs(10 << 20, Policy::Refuse);
    for len in [0, 1, 999, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 777] {
        let data = pattern(len, len);
        let mut writer = fs.create("/a").expect("a name");
        for piece in data.chunks(1 + len / 3) {
            writer.append(piece).expect("room");
        }
        writer.commit(now()).expect("room");
        assert_eq!(content(&fs, "/a"), Some(data.clone()));
        for (from, to) in [(0, len), (len / 2, len), (len / 3, len / 2), (CHUNK - 1, CHUNK + 1), (len, len + 5)] {
            let reader = fs.open(Instant::now(), "/a").expect("there");
            let (begin, end) = (from.min(len), to.min(len));
            let expected = data.get(begin..end.max(begin)).expect("within");
            assert_eq!(read(reader.range(from as u64..to as u64)).expect("open"), expected, "{len}: {from}..{to}");
        }
    }
    assert_eq!(fs.usage().stored, 3 * CHUNK as u64 + 777);
}

#[test]
fn names_are_cleaned_everywhere() {
    let fs = fs(100, Policy::Refuse);
    assert!(put(&fs, "/dir//x", b"1").expect("room").created);
    assert!(!put(&fs, "dir/./y/../x", b"2").expect("room").created);
    assert_eq!(content(&fs, "//dir/x").as_deref(), Some(&b"2"[..]));
    assert!(fs.remove("/dir//x"));
    assert!(!fs.remove("/dir/x"));
    for name in ["", "/", "//", "/a/.."] {
        assert_eq!(put(&fs, name, b"x"), Err(Error::NoName));
    }
    assert_eq!(put(&fs, &"x".repeat(NAME_BYTES), b""), Err(Error::NameTooLong));
}

#[test]
fn an_aborted_upload_leaves_the_file() {
    let fs = fs(100, Policy::Refuse);
    put(&fs, "/a", b"old").expect("room");
    let mut writer = fs.create("/a").expect("a name");
    writer.append(&[1; 90]).expect("room");
    assert_eq!(content(&fs, "/a").as_deref(), Some(&b"old"[..]));
    drop(writer);
    assert_eq!(content(&fs, "/a").as_deref(), Some(&b"old"[..]));
    let usage = fs.usage();
    assert_eq!((usage.stored, usage.in_flight, usage.credit, usage.held), (3, 0, 0, 0));
}

#[test]
fn refusing_credits_what_is_replaced() {
    let fs = fs(1000, Policy::Refuse);
    assert_eq!(put(&fs, "/big", &[0; 1100]), Err(Error::TooBig));
    put(&fs, "/a", &[1; 700]).expect("room");
    put(&fs, "/a", &[2; 800]).expect("the old version is credited");
    assert_eq!(put(&fs, "/b", &[3; 700]), Err(Error::Full));
    assert_eq!(names(&fs), ["/a"]);
    assert_eq!(content(&fs, "/a"), Some(vec![2; 800]));
    assert_eq!(fs.usage().in_flight, 0);
}

#[test]
fn evicting_takes_the_oldest() {
    let fs = fs(1000, Policy::Evict);
    for name in ["/a", "/b", "/c"] {
        put(&fs, name, &[0; 300]).expect("room");
    }
    put(&fs, "/a", &[1; 300]).expect("a new version is young");
    put(&fs, "/d", &[0; 300]).expect("evicts b");
    assert_eq!(names(&fs), ["/a", "/c", "/d"]);
    put(&fs, "/e", &[0; 500]).expect("evicts c and a");
    assert_eq!(names(&fs), ["/d", "/e"]);
    assert_eq!(put(&fs, "/f", &[0; 1001]), Err(Error::TooBig));
}

#[test]
fn fifty_uploads_at_once_stay_within_the_bound() {
    for policy in [Policy::Refuse, Policy::Evict] {
        let fs = fs(100_000, policy);
        put(&fs, "/kept", &pattern(5000, 7)).expect("room");
        let mut writers: Vec<Option<Writer>> = (0..50).map(|i| fs.create(&format!("/up{i}")).ok()).collect();
        let data: Vec<Vec<u8>> = (0..50).map(|i| pattern(10_000, i)).collect();
        for round in 0..10 {
            for (i, slot) in writers.iter_mut().enumerate() {
                // A refused upload ends; one in ten is aborted in the middle.
                let piece = &data[i][round * 1000..][..1000];
                let goes_on = i % 10 != 3 || round < 2;
                *slot = slot.take().filter(|_| goes_on).and_then(|mut w| w.append(piece).is_ok().then_some(w));
                assert!(fs.usage().charged() <= 100_000);
            }
        }
        for writer in writers.into_iter().flatten() {
            writer.commit(now()).expect("it fitted");
        }
        let usage = fs.usage();
        assert_eq!((usage.in_flight, usage.credit, usage.held), (0, 0, 0));
        assert_eq!(usage.stored, fs.list("/").iter().map(|e| e.meta.size).sum::<u64>());
        for entry in fs.list("/up") {
            let i: usize = entry.path[3..].parse().expect("a number");
            assert_eq!(content(&fs, &entry.path).as_ref(), Some(&data[i]));
        }
        assert!(fs.list("/up").len() >= 9, "some must have come through");
        if policy == Policy::Refuse {
            assert_eq!(content(&fs, "/kept"), Some(pattern(5000, 7)));
        }
    }
}

#[test]
fn a_reader_keeps_its_version_until_the_memory_is_needed() {
    let fs = fs(1000, Policy::Refuse);
    let start = Instant::now();
    put(&fs, "/a", &[1; 400]).expect("room");
    let mut slow = fs.open(start, "/a").expect("there");
    let quick = fs.open(start, "/a").expect("there");
    put(&fs, "/a", &[2; 400]).expect("room");
    assert_eq!(fs.usage().held, 400);
    assert_eq!(read(quick).expect("not closed"), [1; 400]);
    assert_eq!(content(&fs, "/a"), Some(vec![2; 400]));
    assert_eq!(fs.usage().held, 400, "still read by the slow one");
    put(&fs, "/b", &[3; 500]).expect("closing the slow reader makes room");
    assert_eq!(fs.usage().held, 0);
    assert_eq!(slow.next(start), Some(Err(Closed)));
    drop(slow);
    assert_eq!(fs.usage().readers, 0);
}

#[test]
fn the_slowest_reader_goes_first() {
    let fs = fs(1000, Policy::Refuse);
    let start = Instant::now();
    let mut readers = Vec::new();
    for name in ["/a", "/b"] {
        put(&fs, name, &[1; 300]).expect("room");
        readers.push(fs.open(start, name).expect("there").range(0..300));
        fs.remove(name);
    }
    let mut live = {
        put(&fs, "/live", &[1; 100]).expect("room");
        fs.open(start, "/live").expect("there")
    };
    assert!(readers[0].next(start + Duration::from_secs(5)).is_some_and(|piece| piece.is_ok()));
    put(&fs, "/c", &[2; 400]).expect("one reader goes");
    assert_eq!(readers[1].next(start), Some(Err(Closed)));
    assert_eq!(fs.usage().held, 300, "the one that moved stays");
    assert!(live.next(start).is_some_and(|piece| piece.is_ok()), "readers of live files stay");
}

#[test]
fn evicted_files_under_reading_free_their_memory() {
    let fs = fs(1000, Policy::Evict);
    put(&fs, "/a", &[1; 600]).expect("room");
    let mut reader = fs.open(Instant::now(), "/a").expect("there");
    put(&fs, "/b", &[2; 600]).expect("the oldest and its reader go");
    assert_eq!(names(&fs), ["/b"]);
    assert_eq!(reader.next(Instant::now()), Some(Err(Closed)));
    assert_eq!(fs.usage().charged(), 600);
}

#[test]
fn resize_keeps_files() {
    let fs = fs(1000, Policy::Refuse);
    put(&fs, "/a", &[1; 300]).expect("room");
    put(&fs, "/b", &[1; 300]).expect("room");
    fs.resize(Bound { bytes: 400, policy: Policy::Refuse });
    assert_eq!(names(&fs), ["/a", "/b"]);
    assert_eq!(put(&fs, "/c", &[1; 50]), Err(Error::Full));
    fs.resize(Bound { bytes: 400, policy: Policy::Evict });
    assert_eq!(names(&fs), ["/b"]);
}

#[test]
fn number_of_files_is_bounded() {
    for (policy, expected) in [(Policy::Refuse, Err(Error::Full)), (Policy::Evict, Ok(Committed { created: true }))] {
        let fs = fs(1 << 20, policy);
        for i in 0..FILES {
            put(&fs, &format!("/{i}"), b"").expect("room");
        }
        assert_eq!(put(&fs, "/more", b""), expected);
        assert!(!put(&fs, "/5", b"x").expect("a replacement needs no place").created);
        assert_eq!(fs.usage().files, FILES);
        assert_eq!(fs.meta("/0").is_some(), policy == Policy::Refuse);
    }
}

#[test]
fn clock_jumps_do_not_change_the_order() {
    let fs = fs(1000, Policy::Evict);
    let start = now();
    let years = Duration::from_secs(50 * 365 * 86_400);
    let later = |seconds: u64, wall: SystemTime| Now { mono: start.mono + Duration::from_secs(seconds), wall };
    put_at(&fs, start, "/first", &[0; 400]).expect("room");
    put_at(&fs, later(1, start.wall + years), "/second", &[0; 400]).expect("room");
    put_at(&fs, later(2, start.wall - years), "/third", &[0; 400]).expect("room");
    assert_eq!(names(&fs), ["/second", "/third"]);
}

#[test]
fn versions_within_a_second_are_ambiguous() {
    let fs = fs(1000, Policy::Evict);
    let start = now();
    let later = |ms: u64| Now { mono: start.mono, wall: start.wall + Duration::from_millis(ms) };
    let ambiguous = |at: Now| {
        put_at(&fs, at, "/a", b"x").expect("room");
        fs.meta("/a").expect("there").ambiguous
    };
    assert!(!ambiguous(later(0)));
    assert!(ambiguous(later(900)));
    assert!(!ambiguous(later(1000)));
    fs.remove("/a");
    assert!(ambiguous(later(1100)));
}

#[test]
fn changes_are_told() {
    let fs = fs(1000, Policy::Evict);
    let mut changes = fs.changes();
    put(&fs, "/a", &[0; 600]).expect("room");
    put(&fs, "/b", &[0; 600]).expect("room");
    fs.remove("/b");
    let told: Vec<(String, bool)> = std::iter::from_fn(|| changes.try_recv().ok())
        .map(|change| (change.path.to_string(), change.kind == ChangeKind::Removed))
        .collect();
    let expected = [("/a", false), ("/a", true), ("/b", false), ("/b", true)];
    assert_eq!(told, expected.map(|(path, removed)| (path.to_owned(), removed)));
}

#[test]
fn the_implied_bound_follows_the_memory() {
    assert_eq!(implied_bound(400 << 20), Bound { bytes: 100 << 20, policy: Policy::Evict });
    assert_eq!(implied_bound(8 << 30).bytes, 512 << 20);
}

/// Random uploads, aborts, reads, removals and resizes: the accounts always equal what can be counted.
#[test]
fn accounts_hold_under_random_use() {
    for seed in 1..=40u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let policy = if seed % 2 == 0 { Policy::Refuse } else { Policy::Evict };
        let fs = fs(5000, policy);
        let mut writers: Vec<Writer> = Vec::new();
        let mut readers: Vec<Reader> = Vec::new();
        let mut resized = false;
        for _ in 0..400 {
            let name = format!("/{}", random(6));
            match random(8) {
                0 => writers.push(fs.create(&name).expect("a name")),
                1..=3 if !writers.is_empty() => {
                    let i = usize::try_from(random(writers.len() as u64)).expect("small");
                    let data = vec![0; usize::try_from(random(900)).expect("small")];
                    let before = writers[i].written();
                    match writers[i].append(&data) {
                        Ok(()) => assert!(fs.usage().charged() <= fs.usage().bound),
                        Err(_) => assert_eq!(writers[i].written(), before),
                    }
                }
                4 if !writers.is_empty() => {
                    let i = usize::try_from(random(writers.len() as u64)).expect("small");
                    let writer = writers.swap_remove(i);
                    if random(4) > 0 {
                        writer.commit(now()).expect("few files");
                    }
                }
                5 => readers.extend(fs.open(Instant::now(), &name)),
                6 if !readers.is_empty() => {
                    let i = usize::try_from(random(readers.len() as u64)).expect("small");
                    readers.swap_remove(i);
                }
                7 if random(20) == 0 => {
                    resized = true;
                    fs.resize(Bound { bytes: 4000 + random(2000), policy });
                }
                _ => {
                    fs.remove(&name);
                }
            }
            let usage = fs.usage();
            let stored: u64 = fs.list("/").iter().map(|entry| entry.meta.size).sum();
            assert_eq!(usage.stored, stored, "seed {seed}");
            assert_eq!(usage.in_flight, writers.iter().map(Writer::written).sum::<u64>(), "seed {seed}");
            assert!(usage.credit <= usage.stored && usage.credit <= usage.in_flight, "seed {seed}");
            assert!(resized || usage.stored <= usage.bound, "seed {seed}");
            assert!(resized || usage.stored + usage.in_flight + usage.held <= 2 * usage.bound, "seed {seed}");
        }
        drop(writers);
        drop(readers);
        let usage = fs.usage();
        assert_eq!((usage.in_flight, usage.credit, usage.held, usage.readers), (0, 0, 0, 0), "seed {seed}");
    }
}

#[test]
fn a_meter_counts_what_uploads_bring_while_they_arrive() {
    let fs = fs(1000, Policy::Refuse);
    let earlier = fs.create("/live0.ts").expect("a name");
    let meter = fs.meter(&["/live".to_owned()]);
    let mut upload = fs.create("live1.ts").expect("a name");
    upload.append(&pattern(600, 1)).expect("room");
    assert_eq!(meter.bytes(), 600);
    assert_eq!(upload.append(&pattern(600, 2)), Err(Error::TooBig));
    upload.commit(now()).expect("room");
    put(&fs, "/live1.ts", &pattern(700, 3)).expect("replaces the former");
    put(&fs, "/other", &pattern(100, 4)).expect("room");
    drop(earlier);
    assert_eq!(meter.bytes(), 1300);
}
