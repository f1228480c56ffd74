//! File routes over real mounts: statuses, headers and bodies of the contract and of its fixed quirks.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http::header::{self, HeaderMap, HeaderName};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::*;
use crate::config::{DiskCache, DiskStorage, MemoryStorage, Storage};
use crate::http::body::Body;
use crate::http::request::Query;
use crate::storage::Deps;

const MIME: &str = "text/plain .txt\ntext/html .html\napplication/vnd.apple.mpegurl .m3u8\nvideo/MP2T .ts\n";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Caching {
    On,
    Off,
}

struct Site {
    storage: storage::Handle,
    mime: mime::Table,
    dir: PathBuf,
}

#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Site {
    async fn ask(&self, method: Method, mount: &str, path: &str, headers: &[(HeaderName, &str)], body: Body) -> Reply {
        let peer = IpAddr::from([127, 0, 0, 1]);
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value")));
        let uri = format!("/{mount}{path}").parse().expect("a target");
        let (headers, query) = (headers.collect(), Query::default());
        let req =
            Request { method: method.clone(), uri, query, headers, peer, client: Some(peer), is_secure: false, body };
        match mounted(&self.storage, &self.mime, req, mount, path, None).await {
            Ok(response) => {
                let (mut parts, body) = response.into_parts();
                // As hyper does.
                if let (Some(size), Method::GET) = (body.size_hint().exact(), method) {
                    parts.headers.entry(header::CONTENT_LENGTH).or_insert(size.into());
                }
                let body = body.collect().await.expect("a whole body").to_bytes().to_vec();
                Reply { status: parts.status.as_u16(), headers: parts.headers, body }
            }
            Err(error) => Reply {
                status: error.status.as_u16(),
                headers: error.headers.into_iter().collect(),
                body: error.details.join("\n").into_bytes(),
            },
        }
    }

    async fn get(&self, mount: &str, path: &str) -> Reply {
        self.ask(Method::GET, mount, path, &[], Body::whole("")).await
    }

    async fn get_with(&self, mount: &str, path: &str, name: HeaderName, value: &str) -> Reply {
        self.ask(Method::GET, mount, path, &[(name, value)], Body::whole("")).await
    }

    async fn put(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.ask(Method::PUT, "mem", path, &[], Body::whole(body)).await
    }
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    #[track_caller]
    fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.text()), (status, body), "{:?}", self.headers);
    }
}

/// Runs `work` over a site whose disk holds what the contract's `disk` setup holds.
fn with<F: Future<Output = ()>>(cached: Caching, work: impl FnOnce(Site) -> F) {
    let outer = tempfile::tempdir().expect("a directory");
    let dir = outer.path().join("data");
    for name in ["dir", "pl", "empty"] {
        fs::create_dir_all(dir.join(name)).expect("created");
    }
    let playlist = format!("#EXTM3U\n#EXTINF:2,\n{}/pl/s_1.ts\ns_2.ts", dir.display());
    for (name, text) in [
        ("index.html", "<h1>root</h1>"),
        ("dir/index.html", "<h1>dir</h1>"),
        ("a.txt", "hello"),
        ("noext", "n"),
        ("x.mpd", "<MPD/>"),
        ("pl/s.m3u8", playlist.as_str()),
        ("s.m3u8", playlist.as_str()),
        ("with space.txt", "space"),
    ] {
        fs::write(dir.join(name), text).expect("written");
    }
    fs::write(dir.join("big.bin"), vec![b'b'; 200_000]).expect("written");
    symlink(dir.join("a.txt"), dir.join("link.txt")).expect("linked");
    symlink(dir.join("with space.txt"), dir.join("space-link.txt")).expect("linked");
    let cache = DiskCache {
        enable: cached == Caching::On,
        max_size: 1 << 20,
        ttl: Duration::from_secs(300),
        max_file_size: 100_000,
        allow: vec![],
        block: vec![".m3u8".to_owned(), ".mpd".to_owned()],
    };
    let section = Storage {
        mimetypes_file: None,
        disk: DiskStorage { dir: dir.clone(), max_size: 0, cache },
        memory: MemoryStorage { auth: None, max_size: Some(1 << 20), purge: false },
        s3: vec![],
        cors_origins: vec![],
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let storage = storage::spawn(&section, Deps::sample());
        work(Site { storage, mime: mime::Table::parse(MIME), dir }).await;
    });
}

#[test]
fn memory_writes_and_reads() {
    with(Caching::On, |site| async move {
        let new = site.put("/e%f//x.ts", "0123456789").await;
        new.is(201, "");
        assert_eq!(new.header("content-type"), Some("text/plain; charset=UTF-8"));
        assert_eq!(new.header("content-location"), Some("/mem/e%f//x.ts"));
        let again = site.ask(Method::POST, "mem", "/e%f/x.ts", &[], Body::whole("abcdefghij")).await;
        again.is(204, "");
        assert_eq!(again.header("content-type"), None);
        let read = site.get("mem", "/e%f/./x.ts").await;
        read.is(200, "abcdefghij");
        assert_eq!(read.header("content-type"), Some("video/MP2T"));
        assert_eq!(read.header("content-length"), Some("10"));
        assert!(read.header("last-modified").is_some_and(|date| date.ends_with(" GMT")));
        for absent in ["accept-ranges", "cache-control", "x-cache", "etag"] {
            assert_eq!(read.header(absent), None);
        }
        let head = site.ask(Method::HEAD, "mem", "/e%f/x.ts", &[], Body::whole("")).await;
        head.is(200, "");
        assert_eq!(head.header("content-length"), None);
        site.get("mem", "/none%x").await.is(404, "/none%x");
        site.get("mem", "/e%f").await.is(404, "/e%f");
        site.put("//", "x").await.is(400, "a file needs a name");
        site.ask(Method::PATCH, "mem", "/e%f/x.ts", &[], Body::whole("")).await.is(404, "Not Found");
        let deleted = site.ask(Method::DELETE, "mem", "/e%f//x.ts", &[], Body::whole("")).await;
        deleted.is(200, "Deleted: /e%f//x.ts");
        site.ask(Method::DELETE, "mem", "/e%f/x.ts", &[], Body::whole("")).await.is(404, "/e%f/x.ts");
    });
}

#[test]
fn memory_refuses_beyond_the_bound() {
    with(Caching::On, |site| async move {
        site.put("/big", vec![0; (1 << 20) + 1]).await.is(400, "File is too big");
        site.put("/a", vec![1; 700_000]).await.is(201, "");
        site.put("/a", vec![2; 800_000]).await.is(204, "");
        site.put("/b", vec![3; 700_000]).await.is(400, "not enough space on device");
        assert_eq!(site.get("mem", "/a").await.body, vec![2; 800_000]);
        site.get("mem", "/b").await.is(404, "/b");
    });
}

#[test]
fn ranges() {
    with(Caching::On, |site| async move {
        site.put("/x.ts", "0123456789").await;
        for mount in ["mem", "disk"] {
            let path = if mount == "mem" { "/x.ts" } else { "/x.mpd" };
            let whole = site.get(mount, path).await;
            let size = whole.body.len();
            let part = site.get_with(mount, path, header::RANGE, "bytes=2-4").await;
            part.is(206, &whole.text()[2..5]);
            assert_eq!(part.header("content-range"), Some(format!("bytes 2-4/{size}").as_str()));
            assert_eq!(part.header("content-length"), Some("3"));
            let beyond = site.get_with(mount, path, header::RANGE, "bytes=100-").await;
            assert_eq!(beyond.status, 416);
            assert_eq!(beyond.header("content-range"), Some(format!("bytes */{size}").as_str()));
            let date = whole.header("last-modified").expect("dated");
            let same = [(header::RANGE, "bytes=-1"), (header::IF_RANGE, date)];
            let other = [(header::RANGE, "bytes=-1"), (header::IF_RANGE, "Sun, 06 Nov 1994 08:49:37 GMT")];
            assert_eq!(site.ask(Method::GET, mount, path, &other, Body::whole("")).await.status, 200);
            if mount == "mem" {
                assert_eq!(site.ask(Method::GET, mount, path, &same, Body::whole("")).await.status, 206);
            }
        }
    });
}

#[test]
fn unchanged_files_are_not_sent_again() {
    with(Caching::On, |site| async move {
        site.put("/x.ts", "one").await;
        site.put("/x.m3u8", "#EXTM3U\n").await;
        let date = site.get("mem", "/x.ts").await.header("last-modified").expect("dated").to_owned();
        let since = header::IF_MODIFIED_SINCE;
        site.get_with("mem", "/x.ts", since.clone(), &date).await.is(304, "");
        site.get_with("mem", "/x.ts", since.clone(), "Fri, 01 Jan 2100 00:00:00 GMT").await.is(200, "one");
        site.get_with("mem", "/x.m3u8", since.clone(), &date).await.is(200, "#EXTM3U\n");
        let both = [(since.clone(), date.as_str()), (header::IF_NONE_MATCH, "\"tag\"")];
        site.ask(Method::GET, "mem", "/x.ts", &both, Body::whole("")).await.is(200, "one");
        // Another version within the same second must not hide behind the same date.
        site.put("/x.ts", "two").await;
        let date = site.get("mem", "/x.ts").await.header("last-modified").expect("dated").to_owned();
        if site.storage.mem().meta("/x.ts").expect("there").ambiguous {
            site.get_with("mem", "/x.ts", since, &date).await.is(200, "two");
        }
    });
}

#[test]
fn disk_serves_index_files() {
    with(Caching::On, |site| async move {
        for (path, text) in
            [("/", "<h1>root</h1>"), ("/dir", "<h1>dir</h1>"), ("/dir/", "<h1>dir</h1>"), ("//a.txt", "hello")]
        {
            site.get("disk", path).await.is(200, text);
        }
        site.get("disk", "/empty/").await.is(404, "/empty/index.html");
        site.get("disk", "/empty").await.is(404, "/empty/index.html");
        site.get("disk", "/50%x").await.is(404, "/50%x");
        assert_eq!(site.get("disk", "/noext").await.header("content-type"), Some("text/html"));
        let put = site.ask(Method::PUT, "disk", "/a.txt", &[], Body::whole("x")).await;
        put.is(404, "Not Found");
        assert_eq!(put.header("x-cache"), Some("SKIP ONLYGET"));
        site.get("disk", "/a.txt").await.is(200, "hello");
    });
}

#[test]
fn the_cache_says_what_it_does() {
    with(Caching::On, |site| async move {
        let first = site.get("disk", "/a.txt").await;
        assert_eq!(first.header("x-cache"), Some("MISS"));
        assert_eq!(first.header("cache-control"), Some("max-age=300"));
        let date = first.header("last-modified").expect("cached answers keep it (H41)").to_owned();
        fs::write(site.dir.join("a.txt"), "changed behind our back").expect("written");
        let second = site.get("disk", "/a.txt").await;
        second.is(200, "hello");
        assert!(second.header("x-cache").is_some_and(|text| text.starts_with("HIT 299.") || text == "HIT 300.000"));
        assert_eq!(second.header("last-modified"), Some(date.as_str()));
        let part = site.get_with("disk", "/a.txt", header::RANGE, "bytes=1-2").await;
        part.is(206, "el");
        for (path, label) in
            [("/x.mpd", "SKIP EXT"), ("/big.bin", "SKIP TOOBIG"), ("/none", "SKIP NOTOK"), ("/link.txt", "SKIP NOTOK")]
        {
            let reply = site.get("disk", path).await;
            assert_eq!(reply.header("x-cache"), Some(label), "{path}");
            assert_eq!(reply.header("cache-control"), None, "{path}");
        }
        let big = site.get("disk", "/big.bin").await;
        assert_eq!(big.body, vec![b'b'; 200_000]);
        let part = site.get_with("disk", "/noext", header::RANGE, "bytes=0-0").await;
        assert_eq!((part.status, part.header("x-cache")), (206, Some("SKIP NOTOK")));
        let head = site.ask(Method::HEAD, "disk", "/a.txt", &[], Body::whole("")).await;
        assert_eq!(head.header("x-cache"), Some("SKIP ONLYGET"));
    });
}

#[test]
fn writes_through_the_api_are_seen_at_once() {
    with(Caching::On, |site| async move {
        for path in ["/dir", "/dir/", "/dir/index.html", "/a.txt"] {
            site.get("disk", path).await;
        }
        let put = |path: &'static str| {
            let peer = IpAddr::from([127, 0, 0, 1]);
            let (headers, query) = (HeaderMap::new(), Query::default());
            let body = Body::whole("new");
            let req = Request {
                method: Method::PUT,
                uri: Uri::from_static(path),
                query,
                headers,
                peer,
                client: Some(peer),
                is_secure: false,
                body,
            };
            upload::write(&site.storage, req, "disk", path, None)
        };
        put("/dir/index.html").await.expect("written");
        for path in ["/dir", "/dir/", "/dir/index.html"] {
            site.get("disk", path).await.is(200, "new");
        }
        upload::remove(&site.storage, "disk", "/a.txt").await.expect("removed");
        site.get("disk", "/a.txt").await.is(404, "/a.txt");
    });
}

#[test]
fn links_lead_where_they_point() {
    with(Caching::On, |site| async move {
        for method in [Method::GET, Method::HEAD] {
            let link = site.ask(method, "disk", "/link.txt", &[], Body::whole("")).await;
            link.is(301, "");
            assert_eq!(link.header("location"), Some("/a.txt"));
        }
        assert_eq!(site.get("disk", "/space-link.txt").await.header("location"), Some("/with%20space.txt"));
    });
}

#[test]
fn playlists_on_disk_are_corrected() {
    with(Caching::On, |site| async move {
        let root = site.get("disk", "/s.m3u8").await;
        root.is(200, "#EXTM3U\n#EXTINF:2,\npl/s_1.ts\ns_2.ts\n");
        assert_eq!(root.header("cache-control"), Some("private"));
        assert_eq!(root.header("x-cache"), Some("SKIP EXT"));
        site.get("disk", "/pl/s.m3u8").await.is(200, "#EXTM3U\n#EXTINF:2,\ns_1.ts\ns_2.ts\n");
        let part = site.get_with("disk", "/s.m3u8", header::RANGE, "bytes=0-6").await;
        part.is(206, "#EXTM3U");
    });
}

#[test]
fn without_the_cache_nothing_is_said_about_it() {
    with(Caching::Off, |site| async move {
        let file = site.get("disk", "/a.txt").await;
        file.is(200, "hello");
        assert_eq!((file.header("x-cache"), file.header("cache-control")), (None, None));
    });
}
