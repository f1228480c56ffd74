//! RTMP peers that mean no good, beside a stream that must not miss a message.
//!
//! The table is that of the input that ends or freezes a server which reads with `rml_rtmp`: every row goes to the running
//! daemon, before and after a publisher is let in.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::rtmp::{Peer, command, handshake, head, message, number, text};
use crate::harness::steps::{self, Over};
use crate::harness::{Daemon, Setup};

fn start() -> Daemon {
    Setup::default()
        .env("CORE_RTMP_ENABLE", "true")
        .env("CORE_RTMP_ADDRESS", "127.0.0.1:${RTMP_PORT}")
        .env("CORE_LOG_LEVEL", "error")
        .start()
}

/// Runs `attack` beside a stream of numbered messages, all of which have to arrive; no step of the loop is long.
#[track_caller]
fn beside_a_stream(daemon: &Daemon, attack: impl FnOnce()) {
    let address = daemon.rtmp_address();
    let mut publisher = Peer::publish(address, "live", "good");
    let mut player = Peer::play(address, "live", "good");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent: u32 = 0;
            while !is_over.load(Ordering::Relaxed) {
                let body = [&[0x17, 1, 0, 0, 0][..], &sent.to_be_bytes()].concat();
                publisher.raw(&message(4, 9, sent, &body)).expect("the publisher is left alone");
                sent += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            publisher.say(20, &command("deleteStream", 0.0, &[vec![5], number(1.0)].concat()));
            sent
        });
        let reader = scope.spawn(|| {
            let mut expected: u32 = 0;
            while let Ok(message) = player.read() {
                if message.kind == 9 {
                    assert_eq!(message.body[5..], expected.to_be_bytes(), "a message is missing");
                    expected += 1;
                }
            }
            expected
        });
        let over = Over(&is_over);
        steps::stay_short(daemon, attack);
        drop(over);
        let sent = sender.join().expect("the publisher is left alone");
        assert_eq!(reader.join().expect("the player is left alone"), sent);
    });
    assert_eq!(daemon.get("/ping").status, 200);
    let log = daemon.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// Bytes of memory that the daemon holds.
fn resident(daemon: &Daemon) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/statm", daemon.pid())).expect("the daemon runs");
    status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4096
}

/// What is sent after the handshake.
fn table() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |level: &[u8], count: usize| [command("connect", 1.0, &[]), level.repeat(count), vec![5]].concat();
    let whole = |kind: u8, body: &[u8]| message(3, kind, 0, body);
    let ids = |count: u16| -> Vec<u8> {
        (0..count).flat_map(|n| [&[1][..], &n.to_le_bytes(), &head(0, 8, 0, 1)[1..], &[0xAF]].concat()).collect()
    };
    let old =
        [vec![4, 0xFF, 0xFF, 0xFF, 0, 0, 200, 9, 1, 0, 0, 0, 1, 2, 3, 4], vec![0x27; 128], vec![0xC4], vec![0x27; 72]];
    vec![
        ("two chunk streams interleaved", [head(4, 9, 0, 200), vec![0; 128], message(5, 8, 0, &[0xAF, 1])].concat()),
        ("abort of a partial message", [head(4, 9, 0, 200), vec![0; 128], message(2, 2, 0, &[0, 0, 0, 4])].concat()),
        (
            "commands with less than three values",
            [whole(20, &text("publish")), whole(20, &[]), whole(20, &[5])].concat(),
        ),
        ("@setDataFrame without arguments", whole(18, &text("@setDataFrame"))),
        ("@setDataFrame with one argument", whole(18, &[text("@setDataFrame"), text("onMetaData")].concat())),
        ("objects nested 15 000 deep", whole(20, &nested(&[3, 0, 1, b'a'], 15_000))),
        ("objects nested 50 000 deep", whole(20, &nested(&[3, 0, 1, b'a'], 50_000))),
        ("arrays nested 200 000 deep", whole(20, &nested(&[0x0A, 0, 0, 0, 1], 200_000))),
        ("16 MiB of null values", whole(20, &vec![5; 0xFF_FFFF])),
        ("60 000 null values", whole(20, &vec![5; 60_000])),
        ("unknown events", [whole(4, &[0xFF, 0xFF, 0, 0, 0, 0]), whole(4, &[0]), whole(4, &[])].concat()),
        (
            "all AMF0 markers",
            (0..=255)
                .flat_map(|marker: u8| whole(20, &[command("play", 1.0, &[]), vec![marker; 3]].concat()))
                .collect(),
        ),
        ("text that is no UTF-8", whole(20, &[2, 0, 2, 0xFF, 0xFE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5])),
        ("AMF3 data", [whole(15, &[&[0][..], &text("onMetaData")].concat()), whole(17, &[0x11, 1, 2, 3])].concat()),
        ("type-3 chunks without the extended time", old.concat()),
        (
            "an extended delta that is small",
            [message(4, 9, 9, &[0x27]), vec![0x44, 0xFF, 0xFF, 0xFF, 0, 0, 1, 9, 0, 0, 0, 1, 0x27]].concat(),
        ),
        ("a chunk size of 0", message(2, 1, 0, &[0; 4])),
        ("a chunk size of 2 GiB", [message(2, 1, 0, &[0x7F, 0xFF, 0xFF, 0xFF]), head(4, 9, 0, 0xFF_FFFF)].concat()),
        ("16 MiB announced", [head(4, 9, 0, 0xFF_FFFF), head(5, 8, 0, 0xFF_FFFF), vec![0; 128]].concat()),
        ("65 535 chunk streams", ids(65_535)),
        (
            "thousands of createStream and connect",
            [whole(20, &command("createStream", 2.0, &[5])), whole(20, &command("connect", 3.0, &[5]))]
                .concat()
                .repeat(2000),
        ),
        ("empty messages of all types", (0..=255).flat_map(|kind: u8| whole(kind, &[])).collect()),
        (
            "aggregates that are cut",
            [whole(22, &[9, 0, 0, 9]), whole(22, &[9, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0])].concat(),
        ),
        ("shared objects and the unknown", [whole(19, &[1, 2, 3]), whole(16, &[1]), whole(99, &[7; 5000])].concat()),
    ]
}

/// Sends it as far as the daemon lets it, then leaves.
fn attack(mut peer: Peer, bytes: &[u8]) {
    let _ = peer.stream.set_read_timeout(Some(Duration::from_millis(20)));
    for piece in bytes.chunks(64 * 1024) {
        if peer.raw(piece).is_err() {
            return;
        }
        // Answers are read so that nothing waits for them.
        while peer.read().is_ok() {}
    }
}

#[test]
fn what_breaks_others_costs_at_most_its_sender() {
    let daemon = start();
    let address = daemon.rtmp_address();
    beside_a_stream(&daemon, || {
        for (index, (what, bytes)) in table().iter().enumerate() {
            let before = resident(&daemon);
            attack(Peer::connect(address).expect(what), bytes);
            attack(Peer::open(address, "live"), bytes);
            attack(Peer::publish(address, "live", &format!("bad{index}")), bytes);
            let grown = resident(&daemon).saturating_sub(before);
            assert!(grown < 12 << 20, "{what}: {grown} bytes");
        }
    });
}

#[test]
fn handshakes_cut_at_every_byte() {
    let daemon = start();
    let address = daemon.rtmp_address();
    let hello = handshake();
    beside_a_stream(&daemon, || {
        for end in 0..hello.len() {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.write_all(&hello[..end]).expect("sent");
        }
    });
}

#[test]
fn two_hundred_connections_of_garbage() {
    let daemon = start();
    let address = daemon.rtmp_address();
    let before = resident(&daemon);
    beside_a_stream(&daemon, || {
        let connections: Vec<TcpStream> = (0..200).map(|n| garbage(address, n)).collect();
        assert!(resident(&daemon).saturating_sub(before) < 16 << 20);
        drop(connections);
    });
}

/// Garbage at once, or after the handshake, on a connection that stays open.
fn garbage(address: SocketAddr, seed: u32) -> TcpStream {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    })
    .take(20_000)
    .collect();
    let mut stream = TcpStream::connect(address).expect("a connection");
    if seed.is_multiple_of(2) {
        let _ = stream.write_all(&handshake());
    }
    let _ = stream.write_all(&noise);
    stream
}

#[test]
fn who_waits_for_nothing_makes_way() {
    let daemon = start();
    let address = daemon.rtmp_address();
    beside_a_stream(&daemon, || {
        let idle: Vec<TcpStream> = (0..600).map(|_| TcpStream::connect(address).expect("a connection")).collect();
        let mut peer = Peer::publish(address, "live", "late");
        peer.say(20, &command("deleteStream", 0.0, &[5]));
        drop(idle);
    });
}

#[test]
fn answers_that_nobody_reads_are_not_kept_without_bound() {
    let daemon = start();
    let address = daemon.rtmp_address();
    let before = resident(&daemon);
    beside_a_stream(&daemon, || {
        let mut peer = Peer::open(address, "live");
        peer.stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a time-out");
        let question = message(3, 20, 0, &command("createStream", 2.0, &[5])).repeat(1000);
        let mut sent = 0;
        while sent < 64 << 20 && peer.raw(&question).is_ok() {
            sent += question.len();
        }
        assert!(sent < 64 << 20, "it goes on reading");
        assert!(resident(&daemon).saturating_sub(before) < 12 << 20);
    });
}
