//! Life cycles, limits and persistence; time is an argument.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::base::alarm::Alarms;
use crate::base::blocking::Blocking;

const KBYTE: u64 = 128;

fn section() -> config::Sessions {
    config::Sessions {
        enable: true,
        ip_ignorelist: vec!["127.0.0.1/32".parse().expect("a net"), "::1/128".parse().expect("a net")],
        timeout: Duration::from_secs(30),
        persist: false,
        persist_interval: Duration::from_secs(300),
        max_bitrate_mbit: 0,
        max_sessions: 0,
    }
}

/// A registry and its clock.
struct Scene {
    registry: Registry,
    begin: Instant,
}

impl Scene {
    fn new(section: &config::Sessions) -> Self {
        let begin = Instant::now();
        let now = Now { mono: begin, wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1000) };
        Self { registry: Registry::new(now, section), begin }
    }

    fn at(&self, second: u64) -> Instant {
        self.begin + Duration::from_secs(second)
    }

    fn now(&self, second: u64) -> Now {
        Now { mono: self.at(second), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + second) }
    }

    fn hls(&self) -> Collector {
        self.registry.collector(Kind::Hls)
    }

    fn register(&self, kind: Kind, second: u64, id: &str, reference: &str) -> Collector {
        let collector = self.registry.collector(kind);
        collector.register(self.now(second), id, New { reference, location: "/x.m3u8", ..New::default() });
        collector
    }

    /// Ids of active sessions, pending and active ones.
    fn shown(&self, second: u64) -> (String, usize) {
        self.registry.tick(self.at(second));
        let list = self.hls().list(self.at(second));
        let ids = list.iter().map(|session| session.id.as_str()).collect::<Vec<_>>().join(" ");
        (ids, self.registry.0.state.borrow().get(Kind::Hls).len())
    }
}

#[test]
fn a_pending_session_vanishes_without_a_trace() {
    let scene = Scene::new(&section());
    let hls = scene.register(Kind::Hls, 0, "a", "live");
    assert!(hls.is_known("a"));
    assert_eq!(scene.shown(4), (String::new(), 1));
    assert_eq!(scene.shown(5), (String::new(), 0));
    assert_eq!(hls.summary(), Summary::default());
    assert!(!hls.activate("a"));
}

#[test]
fn traffic_keeps_a_session_alive() {
    let scene = Scene::new(&section());
    let hls = scene.register(Kind::Hls, 0, "b", "live");
    scene.register(Kind::Hls, 0, "a", "live");
    // A playlist alone keeps it pending a little longer.
    hls.egress(scene.at(4), "b", 10);
    assert_eq!(scene.shown(8), (String::new(), 1));
    assert!(hls.activate("b") && hls.activate("b"));
    hls.egress(scene.at(8), "b", 0);
    assert_eq!(scene.shown(8), ("b".to_owned(), 1));
    hls.egress(scene.at(8), "b", 100);
    assert_eq!(scene.shown(37), ("b".to_owned(), 1));
    hls.ingress(scene.at(37), "b", 7);
    hls.egress(scene.at(37), "unknown", 7);
    assert_eq!(scene.shown(66), ("b".to_owned(), 1));
    let stats = hls.stats(scene.at(66));
    assert_eq!((stats.active, stats.ended), (1, Counts::default()));
    assert_eq!(scene.shown(67), (String::new(), 0));
    assert_eq!(hls.summary().total, Counts { sessions: 1, rx_bytes: 7, tx_bytes: 110 });
    assert_eq!(hls.stats(scene.at(67)).ended.sessions, 1);
}

#[test]
fn sessions_go_beyond_4_gib_and_2106() {
    let scene = Scene::new(&section());
    let hls = scene.registry.collector(Kind::Hls);
    let now = Now { mono: scene.begin, wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 32) };
    hls.register(now, "a", New::default());
    assert!(hls.activate("a"));
    for second in 0..3 {
        hls.egress(scene.at(second), "a", 3 << 30);
        hls.ingress(scene.at(second), "a", 2 << 30);
    }
    let list = hls.list(scene.at(3));
    assert_eq!((list[0].created_at, list[0].tx_bytes, list[0].rx_bytes), (1 << 32, 9 << 30, 6 << 30));
    assert!(list[0].tx_bitrate > 8e9, "{}", list[0].tx_bitrate);
    hls.end(scene.at(3), "a");
    assert_eq!(hls.summary().total, Counts { sessions: 1, rx_bytes: 6 << 30, tx_bytes: 9 << 30 });
}

#[test]
fn a_session_starts_at_zero_and_is_listed_as_registered() {
    let scene = Scene::new(&section());
    for run in [0, 100] {
        let hls = scene.registry.collector(Kind::Hls);
        let new =
            New { reference: "live", location: "/memfs/live.m3u8", peer: "", extra: "[x] y", expected_bitrate: 0.0 };
        hls.register(scene.now(run), "z", new);
        hls.register(scene.now(run), "z", New { reference: "other", ..New::default() });
        hls.register(scene.now(run + 1), "a", New::default());
        hls.activate("a");
        hls.activate("z");
        hls.egress(scene.at(run), "z", 10 * KBYTE);
        let list = hls.list(scene.at(run + 1));
        let z = Session {
            id: "z".to_owned(),
            reference: "live".to_owned(),
            location: "/memfs/live.m3u8".to_owned(),
            peer: UNKNOWN.to_owned(),
            extra: "[x] y".to_owned(),
            created_at: 1000 + i64::try_from(run).expect("small"),
            rx_bytes: 0,
            tx_bytes: 10 * KBYTE,
            rx_bitrate: 0.0,
            tx_bitrate: 10.0 * 1024.0,
        };
        assert_eq!(list[0], z);
        assert_eq!((list[1].id.as_str(), list[1].location.as_str()), ("a", UNKNOWN));
        hls.end(scene.at(run + 2), "z");
        hls.end(scene.at(run + 2), "z");
        hls.end(scene.at(run + 2), "a");
    }
    let summary = scene.hls().summary();
    assert_eq!(
        summary.peers[UNKNOWN].locations["/memfs/live.m3u8"],
        Counts { sessions: 2, rx_bytes: 0, tx_bytes: 20 * KBYTE }
    );
    assert_eq!(scene.hls().viewers("live"), (0, 2));
    assert_eq!(scene.hls().viewers(""), (0, 4));
    assert_eq!(scene.hls().viewers("live2"), (0, 0));
}

#[test]
fn uploads_have_their_own_time_outs() {
    let scene = Scene::new(&config::Sessions { timeout: Duration::from_secs(2), ..section() });
    let ingress = scene.register(Kind::HlsIngress, 0, "/x.m3u8", "x");
    ingress.activate("/x.m3u8");
    let hls = scene.register(Kind::Hls, 0, "a", "x");
    assert_eq!(scene.shown(2), (String::new(), 0));
    assert!(!hls.is_known("a"), "min of 5 s and the configured time-out");
    scene.registry.tick(scene.at(29));
    assert!(ingress.is_known("/x.m3u8"));
    scene.registry.tick(scene.at(30));
    assert!(!ingress.is_known("/x.m3u8"));
    assert_eq!(scene.registry.collector(Kind::HlsIngress).stats(scene.at(30)).max_sessions, 0);
}

#[test]
fn a_burst_of_pending_viewers_does_not_pass_the_limit() {
    let scene = Scene::new(&config::Sessions { max_sessions: 3, ..section() });
    let mut refused = 0;
    for viewer in 0..50 {
        match scene.hls().admit(scene.at(0), 0.0) {
            Ok(()) => drop(scene.register(Kind::Hls, 0, &viewer.to_string(), "live")),
            Err(error) => {
                assert_eq!(error, Exceeded::Sessions);
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 47);
    scene.registry.tick(scene.at(5));
    assert_eq!(scene.hls().admit(scene.at(5), 0.0), Ok(()));
}

#[test]
fn the_bitrate_of_all_servers_counts() {
    let scene = Scene::new(&config::Sessions { max_bitrate_mbit: 10, ..section() });
    let mbit = 1024 * 1024 / 8;
    let admit = |expected: f64, second| scene.hls().admit(scene.at(second), expected * MBIT);
    assert_eq!(admit(9.9, 0), Ok(()));
    assert_eq!(admit(10.0, 0), Err(Exceeded::Bitrate));
    for (kind, id) in [(Kind::Rtmp, "r"), (Kind::Srt, "s"), (Kind::Ffmpeg, "f"), (Kind::Http, "h")] {
        let collector = scene.register(kind, 0, id, "live");
        collector.activate(id);
        collector.egress(scene.at(0), id, 2 * mbit);
        collector.ingress(scene.at(0), id, 50 * mbit);
        collector.egress(scene.at(1), id, 1);
    }
    // 1.15 × 6, which then fades.
    assert_eq!(admit(3.0, 1), Ok(()));
    assert_eq!(admit(3.2, 1), Err(Exceeded::Bitrate));
    assert_eq!(admit(3.2, 2), Ok(()));
    // Pending viewers count with what is expected of them.
    let new = New { expected_bitrate: 3.0 * MBIT, ..New::default() };
    scene.hls().register(scene.now(2), "a", new);
    assert_eq!(admit(3.2, 2), Err(Exceeded::Bitrate));
    assert!(scene.registry.collector(Kind::Srt).top_ingress(scene.at(1), "s") < 1.0, "nothing came after the second");
}

#[test]
fn sessions_ids_and_texts_are_bounded() {
    let scene = Scene::new(&config::Sessions { max_sessions: 1 << 40, ..section() });
    let hls = scene.register(Kind::Hls, 0, &"i".repeat(ID_BYTES + 1), "live");
    assert_eq!(scene.shown(0).1, 0);
    let long = "ü".repeat(TEXT_BYTES);
    hls.register(
        scene.now(0),
        "0",
        New { reference: &long, peer: &long, location: &long, extra: &long, expected_bitrate: 0.0 },
    );
    hls.activate("0");
    assert_eq!(hls.list(scene.at(0))[0].extra, "ü".repeat(TEXT_BYTES / 2));
    for id in 1..SESSIONS + 10 {
        scene.register(Kind::Hls, 0, &id.to_string(), "live");
    }
    assert_eq!(scene.shown(0), ("0".to_owned(), SESSIONS));
    assert_eq!(hls.admit(scene.at(0), 0.0), Err(Exceeded::Sessions));
    scene.registry.configure(scene.at(0), &config::Sessions { max_bitrate_mbit: 1 << 40, ..section() });
    assert_eq!(hls.admit(scene.at(0), 0.0), Err(Exceeded::Bitrate));
    scene.registry.configure(scene.at(0), &section());
    assert_eq!(hls.admit(scene.at(0), 0.0), Ok(()), "without limits the rest is served and not counted");
}

#[test]
fn who_is_counted() {
    let scene = Scene::new(&section());
    let hls = scene.hls();
    let takes = |text: &str| hls.takes(text.parse().ok());
    assert!(takes("127.0.0.2") && takes("::ffff:192.168.1.1") && takes("2001:db8::1"));
    assert!(!takes("127.0.0.1") && !takes("::1") && !takes("::ffff:127.0.0.1") && !takes("no address"));
    scene.registry.configure(scene.at(0), &config::Sessions { ip_ignorelist: vec![], ..section() });
    assert!(takes("127.0.0.1"));
    hls.register(scene.now(0), "a", New::default());
    hls.activate("a");
    scene.registry.configure(scene.at(0), &config::Sessions { enable: false, ..section() });
    assert!(!takes("127.0.0.2") && !hls.is_known("a"));
    hls.register(scene.now(0), "b", New::default());
    assert!(!hls.is_known("b") && scene.registry.named("hls").is_none());
    assert_eq!(scene.registry.stats(scene.at(0)), []);
}

#[test]
fn other_settings_keep_sessions() {
    let scene = Scene::new(&section());
    let hls = scene.register(Kind::Hls, 0, "a", "live");
    hls.activate("a");
    scene
        .registry
        .configure(scene.at(1), &config::Sessions { max_sessions: 1, timeout: Duration::from_secs(9), ..section() });
    assert_eq!(hls.admit(scene.at(1), 0.0), Err(Exceeded::Sessions));
    hls.egress(scene.at(1), "a", 1);
    assert_eq!(scene.shown(9), ("a".to_owned(), 1));
    assert_eq!(scene.shown(10), (String::new(), 0));
}

/// Runs `work` where tasks of one thread can live.
fn on_runtime<F: Future<Output = ()>>(work: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, work);
}

async fn start(section: &config::Sessions, dir: &Path) -> (Registry, Driver) {
    let registry = Registry::new(Now::read(), section);
    let driver = spawn(registry.clone(), dir, Blocking::default(), Alarms::default()).await;
    (registry, driver)
}

fn view(registry: &Registry, bytes: u64) {
    let hls = registry.collector(Kind::Hls);
    hls.register(Now::read(), "a", New { reference: "live", location: "/l", peer: "p", ..New::default() });
    hls.activate("a");
    hls.egress(Instant::now(), "a", bytes);
}

#[test]
fn histories_survive_the_daemon() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("sessions/hls.json");
    let persistent = config::Sessions { persist: true, ..section() };
    on_runtime(async {
        for run in 1..=2 {
            let (registry, driver) = start(&persistent, dir.path()).await;
            view(&registry, 100);
            driver.shutdown().await;
            assert_eq!(registry.collector(Kind::Hls).summary().total.sessions, run);
        }
        let expected = "{\n    \"sessions\": {\n        \"/l:p:live\": {\n            \"location\": \"/l\",\n            \
            \"peer\": \"p\",\n            \"reference\": \"live\",\n            \"total_sessions\": 2,\n            \
            \"total_rxbytes\": 0,\n            \"total_txbytes\": 200\n        }\n    }\n}";
        assert_eq!(fs::read_to_string(&file).expect("written"), expected);
        assert!(!dir.path().join("sessions/http.json").exists(), "nothing to say, nothing written");
        // Unchanged content is not written again.
        fs::remove_file(&file).expect("removed");
        let (_, driver) = start(&persistent, dir.path()).await;
        driver.shutdown().await;
        assert!(!file.exists());
    });
}

#[test]
fn a_damaged_history_does_not_stop_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("sessions/hls.json");
    let persistent = config::Sessions { persist: true, ..section() };
    on_runtime(async {
        for _ in 0..2 {
            let (registry, driver) = start(&persistent, dir.path()).await;
            view(&registry, 100);
            driver.shutdown().await;
        }
        fs::write(&file, "{\"sessions\": [").expect("damaged");
        let (registry, driver) = start(&persistent, dir.path()).await;
        assert_eq!(registry.collector(Kind::Hls).summary().total.sessions, 1, "the former generation");
        assert!(file.with_file_name("hls.json.damaged.1").exists());
        driver.shutdown().await;
    });
}

#[test]
fn persistence_follows_the_settings() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("sessions/hls.json");
    let persistent = config::Sessions { persist: true, ..section() };
    on_runtime(async {
        let (registry, driver) = start(&section(), dir.path()).await;
        view(&registry, 1);
        registry.collector(Kind::Hls).end(Instant::now(), "a");
        assert!(!file.exists());
        driver.configure(&persistent).await;
        assert!(file.exists(), "written when switched on");
        driver.configure(&section()).await;
        driver.configure(&persistent).await;
        assert_eq!(registry.collector(Kind::Hls).summary().total.sessions, 1, "read back once at most");
        driver.shutdown().await;
    });
}

#[test]
fn a_changed_history_is_written_by_and_by() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("sessions/hls.json");
    on_runtime(async {
        let section = config::Sessions { persist: true, persist_interval: Duration::from_millis(50), ..section() };
        let (registry, driver) = start(&section, dir.path()).await;
        view(&registry, 1);
        tokio::task::yield_now().await;
        registry.collector(Kind::Hls).end(Instant::now(), "a");
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        driver.shutdown().await;
    });
}
