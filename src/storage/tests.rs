//! The disk mount on a real directory, its confinement and limit, and cleanup rules through the running task.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::base::clock::Now;
use crate::config::{DiskCache, DiskStorage, MemoryStorage, Storage};

fn section(dir: &Path, limit: u64) -> Storage {
    let cache = DiskCache {
        enable: true,
        max_size: 1 << 20,
        ttl: Duration::from_secs(300),
        max_file_size: 0,
        allow: vec![],
        block: vec![],
    };
    Storage {
        mimetypes_file: None,
        disk: DiskStorage { dir: dir.to_owned(), max_size: limit, cache },
        memory: MemoryStorage { auth: None, max_size: Some(1 << 20), purge: false },
        s3: vec![],
        cors_origins: vec![],
    }
}

/// Runs `work` with the mounts over a directory that holds a few files and links; time stands still unless awaited.
fn with<F: Future<Output = ()>>(limit: u64, work: impl FnOnce(Handle, PathBuf) -> F) {
    let outer = tempfile::tempdir().expect("a directory");
    let dir = outer.path().join("data");
    fs::create_dir_all(dir.join("sub")).expect("created");
    fs::write(dir.join("a.txt"), "hello").expect("written");
    fs::write(outer.path().join("outside.txt"), "secret").expect("written");
    symlink(dir.join("a.txt"), dir.join("link.txt")).expect("linked");
    symlink("a.txt", dir.join("rel.txt")).expect("linked");
    symlink("../outside.txt", dir.join("out.txt")).expect("linked");
    symlink(outer.path().join("outside.txt"), dir.join("abs-out.txt")).expect("linked");
    symlink("..", dir.join("up")).expect("linked");
    symlink("sub", dir.join("inner")).expect("linked");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        work(spawn(&section(&dir, limit), Deps::sample()), outer.path().to_owned()).await;
    });
}

async fn put(disk: &Disk, name: &str, data: &[u8]) -> Result<bool, Error> {
    let mut writer = disk.create(name).await?;
    for piece in data.chunks(50_000) {
        writer.append(piece).await?;
    }
    writer.commit().await
}

async fn content(disk: &Disk, name: &str) -> Option<Vec<u8>> {
    let Ok(Opened::File(mut reader)) = disk.open(name).await else { return None };
    let mut all = Vec::new();
    while let Some(piece) = reader.next().await {
        all.extend_from_slice(&piece.expect("readable"));
    }
    Some(all)
}

async fn names(handle: &Handle) -> Vec<String> {
    let mut names: Vec<String> = handle
        .list(Mount::Disk(handle.disk()), None)
        .await
        .expect("listed")
        .into_iter()
        .map(|file| file.path)
        .collect();
    names.sort();
    names
}

#[test]
fn uploads_stream_and_replace_at_once() {
    with(0, |handle, _outer| async move {
        let disk = handle.disk();
        let data: Vec<u8> = (0..400_000u32).map(|i| i.to_le_bytes()[i as usize % 3]).collect();
        assert!(put(disk, "/x/y/z.ts", &data).await.expect("created"));
        assert_eq!(content(disk, "/x//y/./z.ts").await.as_deref(), Some(&data[..]));
        let Ok(Opened::File(old)) = disk.open("/x/y/z.ts").await else { panic!("there") };
        assert!(!put(disk, "/x/y/z.ts", b"new").await.expect("replaced"));
        assert_eq!(content(disk, "/x/y/z.ts").await.as_deref(), Some(&b"new"[..]));
        let mut old = old.range(399_990..500_000);
        assert_eq!(old.read_all().await.expect("the old version stays readable"), data[399_990..]);
        assert_eq!(names(&handle).await, ["/a.txt", "/x/y/z.ts"]);
    });
}

#[test]
fn an_aborted_upload_leaves_no_trace() {
    with(0, |handle, outer| async move {
        let mut writer = handle.disk().create("/a.txt").await.expect("begun");
        writer.append(&[0; 300_000]).await.expect("written");
        assert_eq!(names(&handle).await, ["/a.txt"], "uploads in flight are not listed");
        drop(writer);
        let files = || fs::read_dir(outer.join("data")).expect("there").count();
        while files() > 8 {
            tokio::task::yield_now().await;
        }
        assert_eq!(content(handle.disk(), "/a.txt").await.as_deref(), Some(&b"hello"[..]));
    });
}

#[test]
fn nothing_leaves_the_directory() {
    with(0, |handle, outer| async move {
        let disk = handle.disk();
        assert_eq!(content(disk, "/../data/a.txt").await, None);
        assert_eq!(content(disk, "/rel.txt").await.as_deref(), Some(&b"hello"[..]));
        for name in ["/out.txt", "/abs-out.txt", "/up/outside.txt", "/up/data/../outside.txt"] {
            assert!(matches!(disk.open(name).await, Err(Error::NotFound)), "{name}");
        }
        assert!(matches!(disk.open("/link.txt").await, Ok(Opened::Link(target)) if target == "/a.txt"));
        assert!(put(disk, "/up/evil.txt", b"x").await.is_err());
        assert!(put(disk, "/up/evil/deep.txt", b"x").await.is_err());
        assert!(!outer.join("evil").exists());
        assert!(matches!(disk.remove("/up/outside.txt").await, Err(Error::NotFound)));
        // A link is replaced and removed itself, never what it points at.
        put(disk, "/out.txt", b"mine").await.expect("replaces the link");
        disk.remove("/abs-out.txt").await.expect("removes the link");
        assert_eq!(fs::read_to_string(outer.join("outside.txt")).expect("there"), "secret");
        put(disk, "/inner/b.txt", b"b").await.expect("links inside are followed");
        assert_eq!(fs::read_to_string(outer.join("data/sub/b.txt")).expect("there"), "b");
        let outside = Glob::new("/up/*", Some('/')).expect("sound");
        assert_eq!(handle.list(Mount::Disk(disk), Some(&outside)).await.expect("listed"), []);
    });
}

#[test]
fn names_that_cannot_be() {
    with(0, |handle, _outer| async move {
        let disk = handle.disk();
        assert!(matches!(disk.open("/sub").await, Ok(Opened::Directory)));
        assert!(matches!(disk.remove("/sub").await, Err(Error::NotFound)), "directories stay");
        assert!(matches!(put(disk, "/sub", b"x").await, Err(Error::IsDirectory(_))));
        assert!(matches!(put(disk, "/", b"x").await, Err(Error::NoName)));
        let long = "x".repeat(300);
        for name in ["/a.txt/below", "/nul\0", long.as_str(), "/.rill-upload-x"] {
            assert!(matches!(put(disk, name, b"x").await, Err(Error::BadName { .. })), "{name:?}");
            assert!(matches!(disk.open(name).await, Err(Error::NotFound)), "{name:?}");
            assert!(matches!(disk.remove(name).await, Err(Error::NotFound | Error::BadName { .. })), "{name:?}");
        }
    });
}

#[test]
fn the_size_limit_counts_what_is_there() {
    with(10_000, |handle, outer| async move {
        let disk = handle.disk();
        assert!(matches!(put(disk, "/big", &[0; 10_001]).await, Err(Error::TooBig)));
        put(disk, "/b", &[0; 9_000]).await.expect("fits beside hello");
        assert!(matches!(put(disk, "/c", &[0; 1_000]).await, Err(Error::Full)));
        put(disk, "/b", &[0; 9_500]).await.expect("the replaced file is credited");
        disk.remove("/b").await.expect("there");
        put(disk, "/c", &[0; 9_000]).await.expect("room again");
        let mut in_flight = disk.create("/d").await.expect("begun");
        in_flight.append(&[0; 900]).await.expect("room");
        assert!(matches!(put(disk, "/e", &[0; 500]).await, Err(Error::Full)), "uploads in flight count");
        drop(in_flight);
        put(disk, "/e", &[0; 500]).await.expect("room again");
        fs::write(outer.join("data/others"), [0; 20_000]).expect("written");
        disk.measure().await;
        assert!(disk.is_full());
        assert!(matches!(put(disk, "/f", b"x").await, Err(Error::Full)));
    });
}

#[test]
fn leftovers_of_other_runs_go() {
    with(0, |handle, outer| async move {
        let leftover = outer.join("data/sub/.rill-upload-0000-1");
        fs::write(&leftover, "x").expect("written");
        handle.disk().measure().await;
        assert!(!leftover.exists());
    });
}

fn rule(pattern: &str, max_files: u64, purge_on_delete: bool) -> CleanupRule {
    CleanupRule { pattern: pattern.to_owned(), max_files, max_file_age_seconds: 0, purge_on_delete }
}

fn mem_put(handle: &Handle, name: &str) {
    handle.mem().create(name).expect("a name").commit(Now::read()).expect("room");
}

fn mem_names(handle: &Handle) -> Vec<String> {
    handle.mem().list("/").iter().map(|file| file.path.to_string()).collect()
}

#[test]
fn rules_clean_both_file_systems() {
    with(0, |handle, _outer| async move {
        for number in 0..5 {
            mem_put(&handle, &format!("/s_{number}.ts"));
            put(handle.disk(), &format!("/live/s_{number}.ts"), b"x").await.expect("room");
        }
        mem_put(&handle, "/s_.m3u8");
        handle.set_rules("p", vec![rule("memfs:/s_*.ts", 2, false), rule("disk:/live/*.ts", 3, false)]);
        while mem_names(&handle).len() > 3 || names(&handle).await.len() > 4 {
            tokio::task::yield_now().await;
        }
        assert_eq!(mem_names(&handle), ["/s_.m3u8", "/s_3.ts", "/s_4.ts"]);
        assert_eq!(names(&handle).await, ["/a.txt", "/live/s_2.ts", "/live/s_3.ts", "/live/s_4.ts"]);
    });
}

#[test]
fn purging_happens_only_when_asked() {
    with(0, |handle, outer| async move {
        let fill = async || {
            mem_put(&handle, "/p_1.ts");
            put(handle.disk(), "/p/1.ts", b"x").await.expect("room");
        };
        let rules = || vec![rule("mem:/p_*", 0, true), rule("disk:/p/**", 0, true), rule("mem:/**", 0, false)];
        fill().await;
        mem_put(&handle, "/other");
        handle.set_rules("p", rules());
        handle.set_rules("p", rules());
        handle.drop_rules("p", Purge::No);
        handle.drop_rules("p", Purge::Yes);
        assert_eq!(mem_names(&handle), ["/other", "/p_1.ts"]);
        handle.set_rules("p", rules());
        handle.drop_rules("p", Purge::Yes);
        assert_eq!(mem_names(&handle), ["/other"]);
        while names(&handle).await.len() > 1 {
            tokio::task::yield_now().await;
        }
        assert!(outer.join("data/p").exists(), "directories stay");
    });
}

/// The playlist that FFmpeg had sent before it ended stayed for ever.
#[test]
fn an_upload_that_arrives_after_the_purge_goes_too() {
    with(0, |handle, _outer| async move {
        handle.set_rules("p", vec![rule("mem:/p*", 0, true)]);
        handle.drop_rules("p", Purge::Yes);
        mem_put(&handle, "/p.m3u8");
        mem_put(&handle, "/other");
        while mem_names(&handle).len() > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(mem_names(&handle), ["/other"]);

        // The files of a process that came back are its own.
        handle.set_rules("p", vec![rule("mem:/p*", 1, true)]);
        handle.drop_rules("p", Purge::Yes);
        handle.set_rules("p", vec![rule("mem:/p*", 1, true)]);
        mem_put(&handle, "/p.m3u8");
        mem_put(&handle, "/p2.m3u8");
        while mem_names(&handle).len() > 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(mem_names(&handle), ["/other", "/p2.m3u8"]);
    });
}

#[test]
fn a_reload_keeps_memory_and_moves_the_disk() {
    with(0, |handle, outer| async move {
        mem_put(&handle, "/kept");
        let other = outer.join("other");
        fs::create_dir(&other).expect("created");
        fs::write(other.join("b.txt"), "b").expect("written");
        let mut changed = section(&other, 0);
        changed.memory.max_size = None;
        handle.reconfigure(&changed);
        assert_eq!(mem_names(&handle), ["/kept"]);
        assert_eq!(handle.mem().usage().bound, (1 << 30) / 4);
        assert_eq!(names(&handle).await, ["/b.txt"]);
    });
}

/// On 32-bit systems each of these calls has a form that fails here.
#[test]
fn files_beyond_4_gib_and_times_after_2038() {
    use std::os::unix::fs::FileExt as _;

    let dir = tempfile::tempdir().expect("a directory");
    let (size, modified) = (5 << 30, SystemTime::UNIX_EPOCH + Duration::from_secs(3_000_000_000));
    let large = fs::File::create(dir.path().join("large")).expect("created");
    large.write_all_at(b"end", size - 3).expect("written");
    large.set_modified(modified).expect("set");
    let root = root_driver::Root::new(dir.path(), "run".to_owned());
    let stat = root_driver::Stat { size, modified };
    let Ok(root_driver::Found::File(file, found)) = root.open("/large") else { panic!("not opened") };
    assert_eq!(found, stat);
    let mut end = [0; 3];
    file.read_exact_at(&mut end, size - 3).expect("read");
    assert_eq!(&end, b"end");
    assert_eq!(root.scan("/", None), [root_driver::Scanned { path: "/large".to_owned(), stat }]);
    assert_eq!(root.measure(), (1, size));

    let (temporary, file) = root.create("/large", 1).expect("an upload");
    assert_eq!(temporary.replaces, Some(size));
    file.write_all_at(b"more", size).expect("written");
    temporary.commit().expect("replaced");
    assert_eq!(root.remove("/large").expect("removed"), size + 4);
}
