//! Uploads and file routes from outside: bounds, aborts, keep-alive, a real FFmpeg that puts HLS, a reload, a disk that
//! is full.

use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::degraded::Tmpfs;
use crate::harness::http::{self, Request, Response};
use crate::harness::{Daemon, Setup};

const PATIENCE: Duration = Duration::from_secs(40);
const OPEN: &str = "CORE_STORAGE_MEMORY_AUTH_ENABLE";
const BOUND: &str = "CORE_STORAGE_MEMORY_MAX_SIZE_MBYTES";

fn put(address: SocketAddr, path: &str, body: Vec<u8>) -> Response {
    http::send(address, &Request::new("PUT", path).body(body), http::TIMEOUT).expect("an answer")
}

/// Bytes that differ from file to file.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((i / 7 + i * 31 + seed * 101) % 256).expect("a byte")).collect()
}

fn listed(daemon: &Daemon, name: &str) -> Vec<(String, u64)> {
    let list = daemon.json(&format!("/api/v3/fs/{name}?sort=name"));
    let text = |file: &Value| file["name"].as_str().expect("a name").to_owned();
    list.as_array().expect("a list").iter().map(|f| (text(f), f["size_bytes"].as_u64().expect("a size"))).collect()
}

/// Fifty clients upload 100 kB each at once into 1 MiB; every fifth goes away in the middle.
fn fifty_at_once(purge: bool) {
    let setup = Setup::default()
        .env(OPEN, "false")
        .env(BOUND, "1")
        .env("CORE_STORAGE_MEMORY_PURGE", if purge { "true" } else { "false" });
    let daemon = setup.start();
    let address = daemon.address();
    assert_eq!(put(address, "/memfs/kept.ts", pattern(5000, 99)).status, 201);
    let uploads: Vec<_> = (0..50)
        .map(|i| {
            std::thread::spawn(move || {
                let body = pattern(100_000, i);
                if i % 5 == 0 {
                    let mut stream = http::connect(address, http::TIMEOUT).expect("connected");
                    write!(stream, "PUT /memfs/up{i} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100000\r\n\r\n")
                        .and_then(|()| stream.write_all(&body[..60_000]))
                        .expect("half of it is sent");
                    return 0;
                }
                put(address, &format!("/memfs/up{i}"), body).status
            })
        })
        .collect();
    let statuses: Vec<u16> = uploads.into_iter().map(|upload| upload.join().expect("no panic")).collect();
    for (i, status) in statuses.iter().enumerate() {
        let expected: &[u16] = if i % 5 == 0 { &[0] } else { &[201, 400] };
        assert!(expected.contains(status), "upload {i}: {status}");
    }
    let files = listed(&daemon, "mem");
    assert!(files.iter().map(|(_, size)| size).sum::<u64>() <= 1 << 20, "{files:?}");
    let stored = files.iter().filter(|(name, _)| name.starts_with("/up")).count();
    assert!(stored >= 5, "most of the room is used: {files:?}");
    for (name, size) in &files {
        let body = daemon.get(&format!("/memfs{name}")).body;
        let expected = match name.strip_prefix("/up") {
            Some(i) => {
                let i: usize = i.parse().expect("a number");
                assert_eq!(statuses[i], 201, "{name} was refused or aborted");
                pattern(100_000, i)
            }
            None => pattern(5000, 99),
        };
        assert_eq!(body.len() as u64, *size);
        assert!(body == expected, "{name} is not what was sent");
    }
    if !purge {
        assert!(files.contains(&("/kept.ts".to_owned(), 5000)), "{files:?}");
        let accepted = statuses.iter().filter(|&&status| status == 201).count();
        assert_eq!(accepted, stored, "an accepted upload is there");
    }
    // The room of those that went away is free again.
    let end = Instant::now() + PATIENCE;
    let rest = (1 << 20) - files.iter().map(|(_, size)| size).sum::<u64>();
    let rest = usize::try_from(rest).expect("small");
    while put(address, "/memfs/rest", pattern(rest, 1)).status >= 400 {
        assert!(Instant::now() < end, "{rest} bytes never became free");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn fifty_uploads_beyond_the_bound_are_refused() {
    fifty_at_once(false);
}

#[test]
fn fifty_uploads_beyond_the_bound_evict() {
    fifty_at_once(true);
}

#[test]
fn an_aborted_upload_leaves_the_old_file() {
    let daemon = Setup::default().env(OPEN, "false").start();
    for target in ["/memfs/a.ts", "/api/v3/fs/disk/a.ts"] {
        let old = pattern(70_000, 1);
        assert_eq!(put(daemon.address(), target, old.clone()).status, 201);
        let head = format!("PUT {target} HTTP/1.1\r\nHost: {}\r\n", daemon.address());
        for rest in ["Content-Length: 500000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n20000\r\n"] {
            let mut stream = http::connect(daemon.address(), http::TIMEOUT).expect("connected");
            stream.write_all(format!("{head}{rest}").as_bytes()).expect("sent");
            stream.write_all(&pattern(100_000, 2)).expect("sent");
            drop(stream);
            assert!(daemon.get(target).body == old, "{target} changed");
        }
        assert_eq!(put(daemon.address(), target, pattern(10, 3)).status, 204);
        assert!(daemon.get(target).body == pattern(10, 3));
    }
    assert_eq!(listed(&daemon, "disk"), [("/a.ts".to_owned(), 10)]);
}

#[test]
fn one_connection_carries_many_uploads() {
    let daemon = Setup::default().env(OPEN, "false").start();
    let mut stream = http::connect(daemon.address(), http::TIMEOUT).expect("connected");
    let mut answers = BufReader::new(stream.try_clone().expect("a second handle"));
    for i in 0..20 {
        let body = pattern(30_000, i);
        let host = daemon.address();
        write!(stream, "PUT /memfs/s{i}.ts HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n")
            .expect("sent");
        for piece in body.chunks(7000) {
            write!(stream, "{:x}\r\n", piece.len()).expect("sent");
            stream.write_all(piece).expect("sent");
            stream.write_all(b"\r\n").expect("sent");
        }
        stream.write_all(b"0\r\n\r\n").expect("sent");
        let answer = http::read_response(&mut answers, "PUT").expect("an answer");
        assert_eq!(answer.status, 201, "upload {i}: {}", answer.text());
    }
    for i in 0..20 {
        assert!(daemon.get(&format!("/memfs/s{i}.ts")).body == pattern(30_000, i), "file {i}");
    }
}

/// `-http_persistent 1` sends every segment and playlist over kept connections, and deletes old segments over them.
#[test]
fn a_real_ffmpeg_puts_hls_over_kept_connections() {
    let daemon = Setup::default().env(OPEN, "false").start();
    let url = format!("http://{}/memfs/live/s.m3u8", daemon.address());
    let ffmpeg = std::env::var("CORE_FFMPEG_BINARY").unwrap_or_else(|_| "ffmpeg".to_owned());
    let done = Command::new(ffmpeg)
        // Live, for it waits for no answer: what it is ahead of us when it ends never leaves its own socket.
        .args(["-nostdin", "-loglevel", "warning", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10"])
        .args(["-t", "8", "-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-f", "hls", "-hls_time", "1"])
        .args(["-hls_list_size", "4", "-hls_flags", "delete_segments", "-method", "PUT", "-http_persistent", "1"])
        .arg(&url)
        .stdin(Stdio::null())
        .output()
        .expect("FFmpeg runs");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(!said.contains("HTTP error") && !said.contains("Failed"), "{said}");
    let end = Instant::now() + PATIENCE;
    while !daemon.get("/memfs/live/s.m3u8").text().contains("#EXT-X-ENDLIST") {
        assert!(Instant::now() < end, "the last playlist is missing: {}", daemon.get("/memfs/live/s.m3u8").text());
        std::thread::sleep(Duration::from_millis(50));
    }
    let playlist = daemon.get("/memfs/live/s.m3u8");
    assert_eq!(playlist.header("Content-Type").as_deref(), Some("application/vnd.apple.mpegurl"));
    let playlist = playlist.text();
    let segments: Vec<&str> = playlist.lines().filter(|line| line.ends_with(".ts")).collect();
    assert_eq!(segments.len(), 4, "{playlist}");
    for segment in segments {
        let body = daemon.get(&format!("/memfs/live/{segment}")).body;
        assert_eq!(body.len() % 188, 0, "{segment} is whole transport stream packets");
        assert_eq!(body.first(), Some(&0x47), "{segment}");
    }
    assert!(listed(&daemon, "mem").len() < 8, "old segments are deleted: {:?}", listed(&daemon, "mem"));
}

#[test]
fn files_in_memory_survive_a_reload() {
    let daemon = Setup::default().env(OPEN, "false").start();
    assert_eq!(put(daemon.address(), "/memfs/kept.ts", pattern(100_000, 1)).status, 201);
    daemon.call("PUT", "/api/v3/config", &json!({"version": 3, "name": "other"}), 200);
    assert_eq!(daemon.json("/api/v3/config/reload"), "OK");
    daemon.wait_for("/api", PATIENCE, |about| about["name"] == "other");
    assert!(daemon.get("/memfs/kept.ts").body == pattern(100_000, 1));
}

/// The limit of the disk mount is our own: 400 as for memory (H23).
#[test]
fn the_disk_has_a_size_limit() {
    let daemon = Setup::default().env("CORE_STORAGE_DISK_MAX_SIZE_MBYTES", "1").start();
    assert_eq!(put(daemon.address(), "/api/v3/fs/disk/a", pattern(700_000, 1)).status, 201);
    let refused = put(daemon.address(), "/api/v3/fs/disk/b", pattern(700_000, 2));
    assert_eq!((refused.status, refused.json().expect("JSON")["message"].clone()), (400, json!("Bad request")));
    assert_eq!(listed(&daemon, "disk"), [("/a".to_owned(), 700_000)]);
}

/// A disk that fails is the box's fault: 5xx, the old file stays, and nothing is left behind.
#[test]
fn a_full_or_read_only_disk_refuses_uploads() {
    let mut daemon = Daemon::prepare(&Setup::default()).unwrap_or_else(|error| panic!("{error}"));
    let data = daemon.data_dir();
    let Some(mount) = Tmpfs::mount(&data, "1m") else { return };
    daemon.resume().unwrap_or_else(|error| panic!("{error}"));
    let target = "/api/v3/fs/disk/a";
    assert_eq!(put(daemon.address(), target, pattern(600_000, 1)).status, 201);
    assert_eq!(put(daemon.address(), target, pattern(600_000, 2)).status, 507, "both versions do not fit");
    assert!(daemon.get(target).body == pattern(600_000, 1));
    let end = Instant::now() + PATIENCE;
    while std::fs::read_dir(&data).expect("the disk").count() > 1 {
        assert!(Instant::now() < end, "the refused upload left something behind");
        std::thread::sleep(Duration::from_millis(50));
    }
    mount.remount("ro");
    assert_eq!(put(daemon.address(), target, pattern(10, 3)).status, 500);
    assert_eq!(daemon.send(&Request::new("DELETE", target)).status, 500);
    assert!(daemon.get(target).body == pattern(600_000, 1));
    mount.remount("rw");
    assert_eq!(put(daemon.address(), target, pattern(10, 3)).status, 204);
    daemon.stop();
}

#[test]
fn players_seek_by_ranges() {
    let daemon = Setup::default().env(OPEN, "false").start();
    let film = pattern(300_000, 5);
    for (upload, route) in [("/memfs/f.mp4", "/memfs/f.mp4"), ("/api/v3/fs/disk/f.mp4", "/f.mp4")] {
        assert_eq!(put(daemon.address(), upload, film.clone()).status, 201);
        for (range, from, to) in
            [("bytes=0-", 0, 300_000), ("bytes=65530-65545", 65_530, 65_546), ("bytes=-5", 299_995, 300_000)]
        {
            let part = daemon.send(&Request::get(route).header("Range", range).header("Accept-Encoding", "gzip"));
            assert_eq!(part.status, 206, "{route} {range}");
            assert_eq!(part.header("Content-Range"), Some(format!("bytes {from}-{}/300000", to - 1)));
            assert!(part.body == film[from..to], "{route} {range}");
        }
        assert_eq!(daemon.send(&Request::get(route).header("Range", "bytes=300000-")).status, 416);
    }
}

#[test]
fn an_upload_counts_even_if_its_sender_hangs_up_with_the_last_byte() {
    let daemon = Setup::default().env(OPEN, "false").start();
    let address = daemon.address();
    let streams: Vec<_> = (0..20)
        .map(|i| {
            let mut stream = http::connect(address, http::TIMEOUT).expect("connected");
            let head = format!("PUT /memfs/s{i}.ts HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\r\n");
            stream.write_all(&[head.as_bytes(), b"3\r\nabc\r\n"].concat()).expect("sent");
            stream
        })
        .collect();
    // All of them are being read when this is answered.
    assert_eq!(daemon.get("/ping").status, 200);
    for mut stream in streams {
        // As FFmpeg does between two segments: the end is sent, nothing is awaited.
        stream.write_all(b"3\r\ndef\r\n0\r\n\r\n").expect("sent");
    }
    let list = daemon.wait_for("/api/v3/fs/mem", PATIENCE, |files| files.as_array().is_some_and(|f| f.len() == 20));
    assert!(list.as_array().is_some_and(|files| files.iter().all(|file| file["size_bytes"] == 6)), "{list}");
}

#[test]
fn uploads_count_even_if_their_sender_has_gone_before_the_first_answer() {
    let daemon = Setup::default().env(OPEN, "false").start();
    let address = daemon.address();
    let upload = |i: usize| {
        let head = format!("PUT /memfs/s{i}.ts HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100\r\n\r\n");
        [head.into_bytes(), pattern(100, 1)].concat()
    };
    for round in 0..20 {
        let mut stream = http::connect(address, http::TIMEOUT).expect("connected");
        let uploads: Vec<u8> = (round * 20..round * 20 + 20).flat_map(upload).collect();
        stream.write_all(&uploads).expect("sent");
    }
    let list = daemon.wait_for("/api/v3/fs/mem", PATIENCE, |files| files.as_array().is_some_and(|f| f.len() == 400));
    assert!(list.as_array().is_some_and(|files| files.iter().all(|file| file["size_bytes"] == 100)), "{list}");
}
