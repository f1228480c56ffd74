//! Callers against the listener without sockets: the crate's own connection as their side, time by hand, seeded losses.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use srt_protocol::connection::{Connection as Accepted, ConnectionSettings, DuplexConnection};
use srt_protocol::options::{KeySize, LiveBandwidthMode, PacketCount, PacketSize, Passphrase};
use srt_protocol::packet::{Packet, SeqNumber, SocketId, SrtControlPacket};
use srt_protocol::protocol::handshake::Handshake;
use srt_protocol::settings::{CipherSettings, KeyMaterialRefreshSettings, KeySettings};

use super::super::filter::word;
use super::super::handshake::tests::{conclusion_with, extension, induction, named, offered};
use super::*;
use crate::session::Registry;

const RAM: u64 = 512 * 1024 * 1024;
const STEP: Duration = Duration::from_millis(5);
const PASSPHRASE: &str = "correct horse battery";

/// A server, its callers and the way between them.
struct World {
    listener: Listener,
    now: Now,
    out: Outbox,
    callers: BTreeMap<SocketAddr, Caller>,
    /// Of a thousand datagrams, how many are lost in each direction.
    loss: u32,
    seed: u32,
    /// What came for addresses without a caller.
    others: Vec<(SocketAddr, Vec<u8>)>,
}

struct Caller {
    core: DuplexConnection,
    received: Vec<Bytes>,
    is_silent: bool,
}

fn section(passphrase: &str, token: &str) -> config::Srt {
    config::Srt {
        enable: true,
        address: config::Address { host: String::new(), port: 0 },
        passphrase: passphrase.to_owned(),
        token: token.to_owned(),
        log_enable: true,
        log_topics: vec!["connection".to_owned()],
    }
}

fn at(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

impl World {
    fn new() -> Self {
        Self::with("", "")
    }

    fn with(passphrase: &str, token: &str) -> Self {
        let now = Now { mono: Instant::now(), wall: SystemTime::now() };
        let sessions = config::Sessions {
            enable: true,
            ip_ignorelist: Vec::new(),
            timeout: Duration::from_secs(30),
            persist: false,
            persist_interval: Duration::from_secs(300),
            max_bitrate_mbit: 0,
            max_sessions: 0,
        };
        let sessions = Registry::new(now, &sessions).collector(session::Kind::Srt);
        let deps = Deps { relay: Relay::new(RAM), sessions, repairs: Repairs::default(), entropy: [7; 32], ram: RAM };
        let listener = Listener::new(now.mono, &section(passphrase, token), deps);
        let callers = BTreeMap::new();
        Self { listener, now, out: Outbox::default(), callers, loss: 0, seed: 1, others: Vec::new() }
    }

    /// One datagram to the server; the last that it answers at once.
    fn say(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut out = Outbox::default();
        self.listener.handle_datagram(self.now, from, datagram, &mut out);
        out.trains().last().map(|train| train.bytes.to_vec())
    }

    fn cookie(&mut self, from: SocketAddr) -> u32 {
        let welcome = self.say(from, &induction(77)).expect("a cookie");
        word(&welcome, 11).expect("a whole handshake")
    }

    /// What the server answers to this stream id: a socket, or a code.
    fn call(&mut self, from: SocketAddr, stream_id: &str, more: &[u8]) -> Result<u32, u32> {
        let cookie = self.cookie(from);
        let extensions = [&offered(0x0001_0501, 0xBF, 0x01F4_01F4), &named(stream_id), more].concat();
        let answer = self.say(from, &conclusion_with(cookie, &extensions)).ok_or(0u32)?;
        match (word(&answer, 9), word(&answer, 10)) {
            (Some(u32::MAX), Some(id)) => Ok(id),
            (code, _) => Err(code.unwrap_or(0)),
        }
    }

    #[track_caller]
    fn join(&mut self, port: u16, stream_id: &str) -> u32 {
        self.join_with(port, stream_id, None)
    }

    #[track_caller]
    fn join_with(&mut self, port: u16, stream_id: &str, cipher: Option<CipherSettings>) -> u32 {
        let mut key = Vec::new();
        if let Some(cipher) = &cipher {
            key = extension(3, &wrapped(cipher));
        }
        let id = self.call(at(port), stream_id, &key).expect("let in");
        let settings = ConnectionSettings {
            remote: at(1),
            remote_sockid: SocketId(id),
            local_sockid: SocketId(77),
            // The conclusion says that the caller's socket is a millisecond old.
            socket_start_time: self.now.mono - Duration::from_millis(1),
            rtt: Duration::ZERO,
            init_seq_num: SeqNumber(1234),
            max_packet_size: PacketSize(1456),
            max_flow_size: PacketCount(8192),
            send_tsbpd_latency: Duration::from_millis(500),
            recv_tsbpd_latency: Duration::from_millis(500),
            too_late_packet_drop: true,
            peer_idle_timeout: Duration::from_secs(3600),
            recv_buffer_size: PacketCount(8192),
            send_buffer_size: PacketCount(8192),
            cipher,
            stream_id: None,
            bandwidth: LiveBandwidthMode::Unlimited,
            statistics_interval: Duration::from_secs(3600),
        };
        let core = DuplexConnection::new(Accepted { settings, handshake: Handshake::Connector });
        self.callers.insert(at(port), Caller { core, received: Vec::new(), is_silent: false });
        id
    }

    fn send(&mut self, port: u16, payload: &[u8]) {
        let payload = Bytes::copy_from_slice(payload);
        let caller = self.callers.get_mut(&at(port)).expect("it has joined");
        caller.core.handle_data_input(self.now.mono, Some((self.now.mono, payload)));
    }

    /// Lets time pass: everyone is served every five milliseconds.
    fn run(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while self.now.mono < end {
            self.now = Now { mono: self.now.mono + STEP, wall: self.now.wall + STEP };
            self.serve_server();
            loop {
                let has_more = self.listener.poll_output(self.now, &mut self.out);
                self.serve_callers();
                if !has_more {
                    break;
                }
            }
        }
    }

    fn serve_server(&mut self) {
        let addresses: Vec<SocketAddr> = self.callers.keys().copied().collect();
        for address in addresses {
            let caller = self.callers.get_mut(&address).expect("listed");
            caller.core.check_timers(self.now.mono);
            let mut datagrams = Vec::new();
            while let Some((packet, _)) = caller.core.next_packet(self.now.mono) {
                let mut bytes = Vec::new();
                packet.serialize(&mut bytes);
                datagrams.push(bytes);
            }
            if caller.is_silent {
                continue;
            }
            for datagram in datagrams {
                if !self.is_lost() {
                    self.listener.handle_datagram(self.now, address, &datagram, &mut self.out);
                }
            }
        }
    }

    fn serve_callers(&mut self) {
        let out = std::mem::take(&mut self.out);
        for train in out.trains() {
            for datagram in train.bytes.chunks(train.segment) {
                if self.is_lost() {
                    continue;
                }
                let Some(caller) = self.callers.get_mut(&train.to) else {
                    self.others.push((train.to, datagram.to_vec()));
                    continue;
                };
                let mut bytes = Bytes::copy_from_slice(datagram);
                let packet = Packet::parse(&mut bytes, false).expect("the server sends packets");
                caller.core.handle_packet_input(self.now.mono, Ok((packet, at(1))));
            }
        }
        for caller in self.callers.values_mut() {
            while let Some((_, payload)) = caller.core.next_data(self.now.mono) {
                caller.received.push(payload);
            }
        }
    }

    fn is_lost(&mut self) -> bool {
        self.seed = self.seed.wrapping_mul(1_103_515_245).wrapping_add(12345);
        (self.seed >> 16) % 1000 < self.loss
    }

    /// A packet every five milliseconds for this time, numbered from `first`.
    fn stream(&mut self, port: u16, first: u32, count: u32) {
        for number in first..first + count {
            self.send(port, &marked(number).repeat(100));
            self.run(STEP);
        }
    }

    /// Numbers of what a subscriber got.
    fn numbers(&self, port: u16) -> Vec<u32> {
        self.callers[&at(port)].received.iter().filter_map(|payload| number_in(payload)).collect()
    }

    fn ends(&self) -> Vec<String> {
        let entries = self.listener.journal.entries().get("connection:close");
        entries.into_iter().flatten().flat_map(|entry| entry.lines.clone()).collect()
    }
}

fn cipher(key_size: KeySize) -> CipherSettings {
    let passphrase = Passphrase::try_from(PASSPHRASE.to_owned()).expect("long enough");
    CipherSettings::new_random(&KeySettings { key_size, passphrase }, &KeyMaterialRefreshSettings::default())
}

fn wrapped(cipher: &CipherSettings) -> Vec<u8> {
    let mut bytes = Vec::new();
    let message = cipher.wrap_keying_material().expect("it has keys");
    SrtControlPacket::KeyRefreshRequest(message).serialize(&mut bytes);
    bytes
}

/// A number in bytes none of which begins a packet of a transport stream.
fn marked(number: u32) -> [u8; 4] {
    [12, 8, 4, 0].map(|shift| 0xA0 | u8::try_from(number >> shift & 0xF).expect("four bits"))
}

fn number_in(payload: &[u8]) -> Option<u32> {
    let nibbles = payload.get(..4)?.iter();
    Some(nibbles.fold(0, |number, byte| number << 4 | u32::from(byte & 0xF)))
}

#[track_caller]
fn check_numbers(found: &[u32], first: u32, count: u32) {
    let wrong = found.iter().zip(first..).find(|(found, expected)| *found != expected);
    assert_eq!((wrong, found.len()), (None, count as usize), "from {first} on");
}

#[test]
fn what_is_published_is_received() {
    let mut world = World::new();
    world.join(10, "cam,mode:publish");
    world.join(20, "#!::r=cam,m=request");
    world.stream(10, 0, 400);
    world.join(21, "cam");
    world.stream(10, 400, 400);
    world.run(Duration::from_secs(1));
    check_numbers(&world.numbers(20), 0, 800);
    let late = world.numbers(21);
    check_numbers(&late, late[0], 800 - late[0]);
    assert_eq!(world.ends(), [""; 0]);
}

#[test]
fn losses_are_made_good_both_ways() {
    let mut world = World::new();
    world.loss = 20;
    world.join(10, "cam,mode:publish");
    world.join(20, "cam");
    world.stream(10, 0, 3000);
    world.run(Duration::from_secs(2));
    check_numbers(&world.numbers(20), 0, 3000);
    let view = world.listener.view(world.now.mono);
    let lost: u64 = view.connections.iter().map(|(_, stats, _)| stats.totals.receive_loss.packets).sum();
    let again: u64 = view.connections.iter().map(|(_, stats, _)| stats.totals.sent_again.packets).sum();
    assert!(lost > 20 && again > 20, "lost {lost}, sent again {again}");
}

#[test]
fn the_first_packet_of_all_may_be_lost() {
    let mut world = World::new();
    world.join(10, "cam,mode:publish");
    world.join(20, "cam");
    world.loss = 1000;
    world.stream(10, 0, 1);
    world.loss = 0;
    world.stream(10, 1, 200);
    world.run(Duration::from_secs(1));
    check_numbers(&world.numbers(20), 0, 201);
}

#[test]
fn encrypted_with_every_key_length() {
    for size in [KeySize::AES128, KeySize::AES192, KeySize::AES256] {
        let mut world = World::with(PASSPHRASE, "");
        world.join_with(10, "cam,mode:publish", Some(cipher(size)));
        world.join_with(20, "cam", Some(cipher(KeySize::AES256)));
        world.stream(10, 0, 200);
        world.run(Duration::from_secs(1));
        check_numbers(&world.numbers(20), 0, 200);
        assert_eq!(world.call(at(30), "cam", &[]), Err(1011));
    }
}

#[test]
fn refusals_have_their_codes() {
    let mut world = World::with("", "tok");
    assert_eq!(world.call(at(1), "cam,mode:publish", &[]), Err(2401));
    assert_eq!(world.call(at(2), "cam,mode:publish,token:no", &[]), Err(2403));
    assert_eq!(world.call(at(3), "cam,token:tok", &[]), Err(2404));
    assert_eq!(world.call(at(4), ",mode:publish,token:tok", &[]), Err(2400));
    assert_eq!(world.call(at(5), "cam,mode:x,token:tok", &[]), Err(2405));
    assert_eq!(world.call(at(6), "cam", &extension(6, b"elif")), Err(1013));
    assert!(world.call(at(7), "cam,mode:publish,token:tok", &[]).is_ok());
    assert_eq!(world.call(at(8), "cam,mode:publish,token:tok", &[]), Err(2409));
    assert_eq!(world.listener.counters().refused, 7);
    let shown = format!("{:?}", world.listener.view(world.now.mono));
    assert!(!shown.contains("tok\""), "{shown}");
}

#[test]
fn a_refusal_is_remembered_for_a_while() {
    let mut world = World::new();
    for _ in 0..20 {
        assert_eq!(world.call(at(1), "cam", &[]), Err(2404));
    }
    assert_eq!(world.listener.counters().refused, 1);
    world.join(10, "cam,mode:publish");
    assert_eq!(world.call(at(1), "cam", &[]), Err(2404));
    world.run(DECISION_TIME);
    assert!(world.call(at(1), "cam", &[]).is_ok());
    for port in 1000..1000 + u16::try_from(2 * DECISIONS).expect("small") {
        assert_eq!(world.call(at(port), "nobody", &[]), Err(2404));
    }
    assert!(world.listener.decisions.len() <= DECISIONS);
}

#[test]
fn callers_without_a_cookie_leave_nothing() {
    let mut world = World::new();
    for number in 0..60_000u32 {
        let from = (std::net::Ipv4Addr::from(0x0A00_0000 + number), 5000).into();
        assert!(world.say(from, &induction(number + 1)).is_some());
        assert_eq!(world.say(from, &conclusion_with(number, &offered(0x0001_0501, 0xBF, 0))), None);
    }
    let listener = &world.listener;
    assert_eq!((listener.connections.len(), listener.decisions.len(), listener.queue.len()), (0, 0, 0));
    assert_eq!(listener.next_timeout(), None);
    assert_eq!(listener.counters().strays, 60_000);
}

#[test]
fn a_repeated_conclusion_gets_the_same_answer() {
    let mut world = World::new();
    let first = world.call(at(1), "cam,mode:publish", &[]);
    assert_eq!(world.call(at(1), "cam,mode:publish", &[]), first);
    assert_eq!(world.listener.connections.len(), 1);
    // Once the caller has shown that it has the answer, repetitions are late ones.
    let id = first.expect("let in");
    let keep_alive: Vec<u8> = [0x8001_0000, 0, 9, id, 0].iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    world.say(at(1), &keep_alive);
    assert_eq!(world.call(at(1), "cam,mode:publish", &[]), Err(0));
}

#[test]
fn silent_peers_end_after_two_seconds() {
    let mut world = World::new();
    world.join(10, "cam,mode:publish");
    world.join(20, "cam");
    world.run(Duration::from_secs(10));
    assert_eq!(world.ends(), [""; 0], "keep-alives are signs of life");
    world.callers.get_mut(&at(10)).expect("joined").is_silent = true;
    let silent_at = world.now.mono;
    while world.ends().is_empty() && world.now.mono - silent_at < Duration::from_secs(10) {
        world.run(STEP);
    }
    let silence = world.now.mono - silent_at;
    // The last sign may be as old as a second between two keep-alives.
    assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&silence), "{silence:?}");
    world.run(Duration::from_secs(1));
    assert_eq!(world.ends().len(), 2, "its subscriber is told: {:?}", world.ends());
    assert_eq!(world.listener.next_timeout(), None);
}

#[test]
fn a_publisher_that_leaves_is_heard_to_the_end() {
    let mut world = World::new();
    let id = world.join(10, "cam,mode:publish");
    world.join(20, "cam");
    world.stream(10, 0, 300);
    let shutdown: Vec<u8> = [0x8005_0000, 0, 9, id, 0].iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    world.say(at(10), &shutdown);
    world.callers.remove(&at(10));
    world.run(Duration::from_secs(3));
    check_numbers(&world.numbers(20), 0, 300);
    assert_eq!(world.ends().len(), 2, "{:?}", world.ends());
    assert_eq!(world.call(at(11), "cam,mode:publish", &[]).map(|_| ()), Ok(()));
}

#[test]
fn two_sockets_behind_one_port_are_two_connections() {
    let mut world = World::new();
    let first = world.call(at(1), "a,mode:publish", &[]).expect("let in");
    let cookie = world.cookie(at(1));
    let mut second = conclusion_with(cookie, &[offered(0x0001_0501, 0xBF, 0), named("b,mode:publish")].concat());
    second[40..44].copy_from_slice(&78u32.to_be_bytes());
    let answer = world.say(at(1), &second).expect("an answer");
    let other = word(&answer, 10).expect("a socket");
    assert_ne!(first, other);
    assert_eq!(world.listener.connections.len(), 2);
}

#[test]
fn a_publisher_that_comes_back_from_its_port_replaces_itself() {
    let mut world = World::new();
    world.join(10, "cam,mode:publish");
    world.join(20, "cam");
    let cookie = world.cookie(at(10));
    let mut again = conclusion_with(cookie, &[offered(0x0001_0501, 0xBF, 0), named("cam,mode:publish")].concat());
    again[40..44].copy_from_slice(&78u32.to_be_bytes());
    let answer = world.say(at(10), &again).expect("an answer");
    assert_eq!(word(&answer, 9), Some(u32::MAX));
    assert_eq!(world.ends(), ["192.0.2.1:10: a new connection from the same address publishes"]);
}

#[test]
fn a_subscriber_that_acknowledges_nothing_delays_nobody_and_ends() {
    let mut world = World::new();
    world.join(10, "cam,mode:publish");
    world.join(20, "cam");
    let id = world.call(at(30), "cam", &[]).expect("let in");
    for second in 0..10u32 {
        let alive: Vec<u8> = [0x8001_0000, 0, 9, id, 0].iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
        world.say(at(30), &alive);
        world.stream(10, second * 200, 200);
    }
    world.run(Duration::from_secs(1));
    check_numbers(&world.numbers(20), 0, 2000);
    assert_eq!(world.ends(), ["192.0.2.1:30: the peer acknowledges nothing"]);
}

#[test]
fn keys_are_rationed() {
    let mut world = World::with(PASSPHRASE, "");
    let key = extension(3, &wrapped(&cipher(KeySize::AES128)));
    let answered = (0..100u16).filter(|port| world.call(at(100 + port), "nobody", &key) == Err(2404)).count();
    assert_eq!(answered, 2);
    world.run(KEY_PAUSE);
    assert_eq!(world.call(at(300), "nobody", &key), Err(2404));
}

#[test]
fn small_boxes_hold_back_less() {
    const MIB: u64 = 1024 * 1024;
    assert_eq!(Room::of(24 * 1024 * MIB), Room { packets: 8192, publishers: 256 });
    assert_eq!(Room::of(512 * MIB), Room { packets: 2796, publishers: 16 });
    assert_eq!(Room::of(32 * MIB), Room { packets: 1024, publishers: 8 });
    let mut world = World::new();
    for port in 1..=world.listener.room.publishers {
        world.join(u16::try_from(port).expect("small"), &format!("{port},mode:publish"));
    }
    assert_eq!(world.call(at(99), "99,mode:publish", &[]), Err(2402));
    assert!(world.call(at(100), "1", &[]).is_ok());
}

#[test]
fn connections_are_bounded() {
    let mut world = World::new();
    world.join(10, "cam,mode:publish");
    for number in 1..CONNECTIONS {
        let port = 1000 + u16::try_from(number).expect("small");
        assert!(world.call(at(port), "cam", &[]).is_ok(), "{number}");
    }
    assert_eq!(world.call(at(9999), "cam", &[]), Err(2402));
}

#[test]
fn hostile_packets_cost_at_most_their_own_connection() {
    let mut world = World::new();
    world.join(10, "cam,mode:publish");
    world.join(20, "cam");
    let (evil, viewer) = (
        world.call(at(66), "evil,mode:publish", &[]).expect("let in"),
        world.call(at(67), "cam", &[]).expect("let in"),
    );
    let bodies: [&[u32]; 12] = [
        &[0x8004_0000, 0, 0, 0],
        &[0x8008_0000, 0, 0, 0],
        &[0xFFFF_0000, 0, 0, 0],
        &[0xFFFF_0009, 0, 0, 0, 1],
        &[0x8003_0000, 0, 0, 0, 0x8000_0005],
        &[0x8003_0000, 0, 0, 0, 0x8000_0005, 5],
        &[0x8003_0000, 0, 0, 0, 0x8000_0000, 1 << 26],
        &[0x8007_0000, 1, 0, 0, 9, 3],
        &[0x8003_0000, 0, 0, 0, 1, 3, 5, 7, 9, 11],
        &[0x8002_0000, 5, 0, 0, 0x7FFF_FFFF, 1, 1, 1],
        &[0x8006_0000, 0xFFFF_FFFF, 0, 0, 0],
        &[0x7FFF_FFFF, 0x0400_0000, 0xFFFF_FFFF, 0, 1, 2, 3],
    ];
    let mut first = 0;
    for body in bodies {
        for id in [evil, viewer] {
            let mut body = body.to_vec();
            body[3] = id;
            let datagram: Vec<u8> = body.iter().flat_map(|word| word.to_be_bytes()).collect();
            for from in [66, 67] {
                world.say(at(from), &datagram);
            }
        }
        world.stream(10, first, 50);
        first += 50;
    }
    world.run(Duration::from_secs(1));
    check_numbers(&world.numbers(20), 0, first);
}

#[test]
fn sessions_are_counted_and_end_with_the_connection() {
    let mut world = World::new();
    world.join(10, "cam,mode:publish");
    world.join(20, "cam");
    world.stream(10, 0, 400);
    world.run(Duration::from_secs(3));
    let active = world.listener.sessions.list(world.now.mono);
    let shown: Vec<_> = active.iter().map(|it| (&*it.id, &*it.reference, &*it.location, &*it.peer)).collect();
    let expected = [("cam", "cam", "publish:cam", "192.0.2.1:10"), ("192.0.2.1:20", "cam", "play:cam", "192.0.2.1:20")];
    assert_eq!(shown, expected);
    assert!(active[0].rx_bytes >= 400 * 444 && active[1].tx_bytes >= 400 * 444, "{active:?}");
    world.listener.close(world.now, &mut Outbox::default());
    assert_eq!(world.listener.sessions.list(world.now.mono), []);
    assert_eq!(world.call(at(30), "cam,mode:publish", &[]), Err(2503));
}

#[test]
fn other_credentials_end_all_connections() {
    let mut world = World::new();
    world.join(10, "cam,mode:publish");
    let mut out = Outbox::default();
    world.listener.set_rules(world.now, &section("", "new"), &mut out);
    assert_eq!(word(out.trains()[0].bytes, 0).map(|first| first >> 16), Some(0x8005));
    assert_eq!(world.call(at(11), "cam,mode:publish", &[]), Err(2401));
}
