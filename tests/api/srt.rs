//! The SRT server from outside: refusals, sessions, reloads, placeholders, and everything that ended or froze
//! srt-protocol's own listener, with a stream beside it that misses nothing.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::srt::{Caller, extension, key_message, offer, stream_id, word, words};
use crate::harness::{Daemon, Setup, steps};

const PATIENCE: Duration = Duration::from_secs(40);
const ACTIVE: &str = "/api/v3/session/active?collectors=srt";

fn setup() -> Setup {
    Setup::default().env("CORE_SRT_ENABLE", "true").env("CORE_SRT_ADDRESS", "127.0.0.1:${SRT_PORT}")
}

fn server(daemon: &Daemon) -> SocketAddr {
    let port = daemon.variables["SRT_PORT"].parse().expect("a number");
    (Ipv4Addr::LOCALHOST, port).into()
}

fn code(daemon: &Daemon, extensions: &[Vec<u8>]) -> u32 {
    Caller::new(server(daemon)).call(&extensions.concat()).err().unwrap_or(u32::MAX)
}

/// Publisher and subscriber of a channel, both by hand: what goes in must come out.
struct Stream {
    publisher: Caller,
    subscriber: Caller,
    sent: u32,
    /// Numbers of what came, by the numbers of the packets.
    came: BTreeMap<u32, u32>,
}

impl Stream {
    #[track_caller]
    fn new(daemon: &Daemon) -> Self {
        let publisher = Caller::admitted(server(daemon), "beside,mode:publish");
        let subscriber = Caller::admitted(server(daemon), "beside");
        Self { publisher, subscriber, sent: 0, came: BTreeMap::new() }
    }

    fn step(&mut self) {
        // No byte of it begins a packet of a transport stream.
        let payload = [12, 8, 4, 0].map(|shift| 0xA0 | u8::try_from(self.sent >> shift & 0xF).expect("four bits"));
        self.publisher.publish(&payload.repeat(47));
        self.sent += 1;
        self.collect();
        std::thread::sleep(Duration::from_millis(2));
    }

    fn collect(&mut self) {
        for report in self.publisher.received().iter().filter(|datagram| word(datagram, 0) >> 16 == 0x8003) {
            self.publisher.publish_again(report);
        }
        for datagram in self.subscriber.received().iter().filter(|datagram| word(datagram, 0) >> 31 == 0) {
            let number = datagram[16..20].iter().fold(0, |number, byte| number << 4 | u32::from(byte & 0xF));
            self.came.insert(word(datagram, 0), number);
        }
        let mut expected = self.subscriber.next;
        for number in self.came.keys() {
            if *number > expected {
                self.subscriber.ask_again(expected, number - 1);
                break;
            }
            expected = number + 1;
        }
        self.subscriber.acknowledge(expected);
    }

    #[track_caller]
    fn check(&mut self, after: &str) {
        let end = Instant::now() + PATIENCE;
        while self.came.len() < self.sent as usize && Instant::now() < end {
            self.publisher.publish_last_again();
            self.collect();
            self.subscriber.keep_alive();
            self.publisher.keep_alive();
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(self.came.values().copied().eq(0..self.sent), "{after}: {} of {} came", self.came.len(), self.sent);
    }
}

#[test]
fn every_cause_has_its_code() {
    let daemon = setup().env("CORE_SRT_TOKEN", "s3cr3t-t0ken").start();
    let named = |text: &str| vec![offer(), stream_id(text)];
    assert_eq!(code(&daemon, &named("cam,mode:publish")), 2401);
    assert_eq!(code(&daemon, &named("cam,mode:publish,token:wr0ng-t0ken")), 2403);
    assert_eq!(code(&daemon, &named("cam,token:s3cr3t-t0ken")), 2404);
    assert_eq!(code(&daemon, &named(",mode:publish,token:s3cr3t-t0ken")), 2400);
    assert_eq!(code(&daemon, &named("cam,mode:sing,token:s3cr3t-t0ken")), 2405);
    let _first = Caller::admitted(server(&daemon), "cam,mode:publish,token:s3cr3t-t0ken");
    assert_eq!(code(&daemon, &named("#!::m=publish,r=cam,token=s3cr3t-t0ken")), 2409);
    let key = || extension(3, &key_message(16));
    assert_eq!(code(&daemon, &[offer(), stream_id("cam,token:s3cr3t-t0ken"), key()]), 1011);
    assert_eq!(code(&daemon, &[offer(), extension(6, b"elif")]), 1013);
    assert_eq!(code(&daemon, &[offer(), extension(7, b"cef,")]), 1014);
    assert_eq!(code(&daemon, &[offer(), extension(8, &[0; 8])]), 1015);
    assert_eq!(code(&daemon, &[extension(1, &words(&[0x0001_0300, 0xBF, 0]))]), 1008);
    let shown = daemon.log() + &daemon.json("/api/v3/srt").to_string() + &daemon.json("/api/v3/log").to_string();
    assert!(!shown.contains("t0ken"), "a token is shown: {shown}");
    assert!(shown.contains("CONFLICT") && shown.contains("NOTFOUND"), "{shown}");
}

#[test]
fn a_passphrase_is_asked_for() {
    let daemon = setup().env("CORE_SRT_PASSPHRASE", "correct horse battery").start();
    assert_eq!(code(&daemon, &[offer(), stream_id("cam,mode:publish")]), 1011);
    for length in [16, 24, 32] {
        let key = extension(3, &key_message(length));
        assert_eq!(code(&daemon, &[offer(), stream_id("cam,mode:publish"), key]), 1010, "{length}");
    }
}

#[test]
fn sessions_end_with_the_connection() {
    let daemon = setup().env("CORE_SESSIONS_IP_IGNORELIST", "").start();
    let mut stream = Stream::new(&daemon);
    (0..20).for_each(|_| stream.step());
    let both = |active: &Value| active["srt"].as_array().is_some_and(|list| list.len() == 2);
    let active = daemon.wait_for(ACTIVE, PATIENCE, both);
    let locations: Vec<&Value> = active["srt"].as_array().expect("two").iter().map(|it| &it["local"]).collect();
    assert_eq!(locations, ["publish:beside", "play:beside"]);
    assert_eq!((&active["srt"][0]["id"], &active["srt"][1]["reference"]), (&json!("beside"), &json!("beside")));
    stream.subscriber.control(0x8005_0000, 0, &[0]);
    stream.publisher.control(0x8005_0000, 0, &[0]);
    // Their time-out is longer than this.
    daemon.wait_for(ACTIVE, Duration::from_secs(10), |active| active["srt"] == json!([]));
}

/// Puts changes in force and waits until that has been done.
fn reload(daemon: &Daemon, changes: &Value) {
    // The API has every line; in the output repeated ones are counted.
    let count = || {
        let log = daemon.json("/api/v3/log").to_string();
        log.matches("The configuration has been reloaded").count() + log.matches("can't be put in force").count()
    };
    let before = count();
    daemon.call("PUT", "/api/v3/config", changes, 200);
    assert_eq!(daemon.get("/api/v3/config/reload").status, 200);
    daemon.wait_for("/api", PATIENCE, |_| count() > before);
}

#[test]
fn a_reload_keeps_what_has_not_changed() {
    let mut daemon = Setup::default().start();
    let port: u16 = daemon.variables["SRT_PORT"].parse().expect("a number");
    let section = |port: u16, token: &str| {
        let address = format!("127.0.0.1:{port}");
        json!({"version": 3, "srt": {"enable": true, "address": address, "token": token}})
    };
    assert_eq!(daemon.get("/api/v3/srt").status, 404);
    reload(&daemon, &section(port, ""));
    let publisher = Caller::admitted(server(&daemon), "cam,mode:publish");
    reload(&daemon, &json!({"version": 3, "name": "renamed"}));
    assert_eq!(daemon.json("/api/v3/srt")["publisher"]["cam"], publisher.id);
    // Other credentials: everyone has to show them.
    reload(&daemon, &section(port, "tok"));
    assert_eq!(daemon.json("/api/v3/srt")["publisher"], json!({}));
    assert_eq!(code(&daemon, &[offer(), stream_id("cam,mode:publish")]), 2401);
    // A port that is taken: the running server stays.
    let publisher = Caller::admitted(server(&daemon), "cam,mode:publish,token:tok");
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    reload(&daemon, &section(taken.local_addr().expect("bound").port(), "tok"));
    assert_eq!(daemon.json("/api/v3/srt")["publisher"]["cam"], publisher.id);
    let alarms = daemon.json("/api")["rill"]["alarms"].to_string();
    assert!(alarms.contains("can't listen"), "{alarms}");
    // Another port.
    let other = crate::harness::ports::free_port(1);
    reload(&daemon, &section(other, "tok"));
    assert_eq!(daemon.json("/api/v3/srt")["publisher"], json!({}));
    daemon.variables.insert("SRT_PORT".to_owned(), other.to_string());
    Caller::admitted(server(&daemon), "cam,mode:publish,token:tok");
    // All addresses in place of one: the old socket makes way.
    let everywhere = json!({"version": 3, "srt": {"enable": true, "address": format!(":{other}"), "token": "tok"}});
    reload(&daemon, &everywhere);
    Caller::admitted(server(&daemon), "all,mode:publish,token:tok");
    assert!(daemon.log().contains("client=\"127.0.0.1:"), "an IPv4 caller is shown as one: {}", daemon.log_tail());
    assert!(!daemon.log().contains("ffff"), "{}", daemon.log_tail());
    reload(&daemon, &json!({"version": 3, "srt": {"enable": false}}));
    assert_eq!(daemon.get("/api/v3/srt").status, 404);
}

#[test]
fn a_taken_port_ends_the_start_with_its_reason() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let mut daemon = Daemon::prepare(&setup().env("CORE_SRT_ADDRESS", &address)).expect("prepared");
    let status = daemon.run_to_end().expect("it ends");
    assert!(!status.success());
    assert!(daemon.log().lines().last().is_some_and(|line| line.contains(&address)), "{}", daemon.log_tail());
}

#[test]
fn a_name_that_is_not_known_is_an_alarm() {
    let daemon = setup().env("CORE_SRT_ADDRESS", "box.invalid:${SRT_PORT}").start();
    let alarms = daemon.json("/api")["rill"]["alarms"].to_string();
    assert!(alarms.contains("box.invalid"), "{alarms}");
    Caller::admitted(server(&daemon), "cam,mode:publish");
}

#[test]
fn a_process_requests_what_another_publishes() {
    let daemon = setup()
        .env("CORE_SRT_TOKEN", "tok")
        .env("CORE_SRT_PASSPHRASE", "correct-horse-battery")
        .env("CORE_STORAGE_MEMORY_AUTH_ENABLE", "false")
        .start();
    let source = json!({
        "id": "source", "reconnect": true, "reconnect_delay_seconds": 1,
        "input": [{"id": "in", "address": "testsrc2=size=160x90:rate=10", "options": ["-f", "lavfi", "-re"]}],
        "output": [{"id": "out", "address": "{srt,name=cam,mode=publish}",
            "options": ["-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-f", "mpegts"]}],
    });
    let view = json!({
        "id": "view", "reconnect": true, "reconnect_delay_seconds": 1,
        "input": [{"id": "in", "address": "#source:output=out", "options": []}],
        "output": [{"id": "out", "address": "{memfs}/view.m3u8",
            "options": ["-c", "copy", "-f", "hls", "-hls_time", "1", "-method", "PUT"]}],
    });
    daemon.call("POST", "/api/v3/process", &source, 200);
    daemon.wait_for("/api/v3/srt", PATIENCE, |list| list["publisher"]["cam"].is_u64());
    daemon.call("POST", "/api/v3/process", &view, 200);
    daemon.wait_for("/api/v3/srt", PATIENCE, |list| list["subscriber"]["cam"].is_array());
    let has_segment = |files: &Value| files.as_array().is_some_and(|files| files.len() >= 2);
    daemon.wait_for("/api/v3/fs/mem?glob=/view*", PATIENCE, has_segment);
    let command = |command: &str| {
        daemon.call("PUT", "/api/v3/process/source/command", &json!({"command": command}), 200);
    };
    command("stop");
    daemon.wait_for("/api/v3/srt", PATIENCE, |list| list["publisher"] == json!({}) && list["subscriber"] == json!({}));
    command("start");
    daemon.wait_for("/api/v3/srt", PATIENCE, |list| list["subscriber"]["cam"].is_array());
}

/// What killed or froze the crate's listener before any authentication.
fn hostile_handshakes(daemon: &Daemon) {
    let cases: [&[Vec<u8>]; 8] = [
        &[offer(), extension(6, b"elif")],
        &[offer(), extension(8, &[0; 8])],
        &[offer(), extension(9, &[0; 4])],
        &[offer(), stream_id("beside"), extension(3, &key_message(16))],
        &[offer(), extension(5, &[]), vec![1, 2, 3, 4]],
        &[offer(), extension(5, &[0xFF; 600])],
        &[extension(1, &[0; 4])],
        &[offer(), vec![0, 5, 0xFF, 0xFF]],
    ];
    for extensions in cases {
        let caller = Caller::new(server(daemon));
        let conclusion = caller.conclusion(&extensions.concat());
        caller.send(&conclusion);
        // Cut at every fourth byte, and without its cookie.
        for end in (16..conclusion.len()).step_by(4) {
            caller.send(&conclusion[..end]);
        }
        let mut wrong = conclusion.clone();
        wrong[44] ^= 1;
        caller.send(&wrong);
    }
}

/// What killed or froze a connection of the crate, and with it its thread.
fn hostile_packets(caller: &Caller) {
    let high = 1 << 31;
    caller.control(0x8004_0000, 0, &[0]);
    caller.control(0x8008_0000, 0, &[0]);
    caller.control(0xFFFF_0000, 0, &[0]);
    caller.control(0xFFFF_0003, 0, &[1, 2, 3]);
    caller.control(0xFFFF_0009, 0, &[0]);
    caller.control(0x8003_0000, 0, &[high | 5]);
    caller.control(0x8003_0000, 0, &[high | 5, 5]);
    caller.control(0x8003_0000, 0, &[high | 5, 4]);
    caller.control(0x8003_0000, 0, &[high, 1 << 26]);
    caller.control(0x8003_0000, 0, &[high | 1, 8000]);
    caller.control(0x8007_0000, 1, &[9, 3]);
    caller.control(0x8007_0000, 1, &[0, 0x7FFF_FFFF]);
    caller.control(0x8002_0000, 1, &[0x7FFF_FFFF, u32::MAX, u32::MAX, 0, 0, 0, 0]);
    caller.control(0x8006_0000, u32::MAX, &[0]);
    caller.control(0x8000_0000, 0, &[5; 12]);
    caller.control(0x7FFF_FFFF, 0x0400_0000, &[0; 20]);
    caller.control(0x0000_0000, 0x1800_0000, &[0; 20]);
    caller.send(&[0x80; 7]);
    caller.send(&vec![0xFF; 9000]);
}

#[test]
fn hostile_datagrams_cost_at_most_their_own_connection() {
    let daemon = setup().start();
    let mut stream = Stream::new(&daemon);
    for round in 0..20 {
        hostile_handshakes(&daemon);
        (0..5).for_each(|_| stream.step());
        for name in [&*format!("evil{round},mode:publish"), "beside"] {
            let caller = Caller::admitted(server(&daemon), name);
            let before = steps::processor_time(&daemon);
            hostile_packets(&caller);
            (0..5).for_each(|_| stream.step());
            // The time of threads that have ended is gone.
            let spent = steps::processor_time(&daemon).saturating_sub(before);
            // Not even all steps together.
            assert!(spent < steps::CEILING, "{spent:?} for a handful of packets");
            caller.control(0x8005_0000, 0, &[0]);
        }
    }
    stream.check("hostile datagrams");
    assert_eq!(daemon.get("/ping").status, 200);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log_tail());
}

/// Kilobytes that the daemon holds, without the pages of its program.
fn resident(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line of memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn datagrams_from_sixty_thousand_addresses_leave_nothing() {
    let daemon = setup().start();
    let target = server(&daemon);
    let mut stream = Stream::new(&daemon);
    steps::stay_short(&daemon, || (0..50).for_each(|_| stream.step()));
    stream.check("the beginning");
    let before = resident(&daemon);
    let induction = words(&[0x8000_0000, 0, 0, 0, 4, 2, 1, 1500, 8192, 1, 5, 0, 0, 0, 0, 0]);
    steps::stay_short(&daemon, || {
        for number in 0..60_000u32 {
            let address = Ipv4Addr::from(0x7F10_0000 + number);
            let socket = UdpSocket::bind((address, 0)).expect("an address of the loopback network");
            let datagram: &[u8] = if number % 3 == 0 { &induction } else { &[0x80, 1, 2, 3, 4, 5, 6, 7] };
            socket.send_to(datagram, target).expect("sent");
            if number % 500 == 0 {
                stream.step();
            }
        }
    });
    stream.check("sixty thousand addresses");
    let after = resident(&daemon);
    assert!(after <= before + 1024, "{before} kB before, {after} kB after");
    assert_eq!(daemon.json("/api/v3/srt")["connections"].as_object().map(serde_json::Map::len), Some(2));
}

#[test]
fn a_subscriber_that_reads_nothing_stops_nobody() {
    let daemon = setup().start();
    let mut stream = Stream::new(&daemon);
    let deaf = Caller::admitted(server(&daemon), "beside");
    for number in 0..600 {
        stream.step();
        if number % 50 == 0 {
            deaf.keep_alive();
        }
    }
    stream.check("a subscriber that acknowledges nothing");
}
