//! RTMP with real encoders and players: FFmpeg and rtmpdump publish and play, late, twice, with and without tokens.

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::rtmp::{Message, Peer, text};
use crate::harness::{Daemon, Setup, tls};

const PATIENCE: Duration = Duration::from_secs(40);

fn setup() -> Setup {
    Setup::default()
        .env("CORE_RTMP_ENABLE", "true")
        .env("CORE_RTMP_ADDRESS", "127.0.0.1:${RTMP_PORT}")
        .env("CORE_RTMP_APP", "/live")
        .env("CORE_SESSIONS_IP_IGNORELIST", "10.0.0.0/8")
}

fn url(daemon: &Daemon, rest: &str) -> String {
    format!("rtmp://{}/live/{rest}", daemon.rtmp_address())
}

fn tool(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(name: &str, arguments: &[&str]) -> Output {
    tool(name, arguments).output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Picture (a key frame a second) and sound, in real time, without end.
fn publish(url: &str) -> Running {
    let picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=128x72:rate=10", "-f", "lavfi", "-i", "sine"];
    let codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "10", "-c:a", "aac"];
    let arguments = [&["-v", "error"][..], &picture, &codecs, &["-f", "flv", url]].concat();
    Running(tool("ffmpeg", &arguments).spawn().expect("FFmpeg"))
}

#[track_caller]
fn wait_for_stream(daemon: &Daemon, name: &str) {
    daemon.wait_for("/api/v3/rtmp", PATIENCE, |list| {
        let channels = list.as_array().into_iter().flatten();
        let is_filled = |channel: &Value| channel["rill"]["received_bytes"].as_u64() > Some(10_000);
        channels.into_iter().any(|channel| channel["name"] == name && is_filled(channel))
    });
}

/// Plays two seconds; what it said, which is nothing if all could be decoded.
fn watch(url: &str) -> (bool, String) {
    let output = run("ffmpeg", &["-v", "error", "-i", url, "-t", "2", "-f", "null", "-"]);
    (output.status.success(), said(&output))
}

#[test]
fn ffmpeg_publishes_and_late_players_decode_from_the_first_frame_on() {
    let daemon = setup().start();
    let _publisher = publish(&url(&daemon, "cam"));
    wait_for_stream(&daemon, "/live/cam");
    for _ in 0..2 {
        assert_eq!(watch(&url(&daemon, "cam")), (true, String::new()));
    }
    let probe =
        ["-v", "error", "-show_entries", "stream=codec_name,start_time", "-of", "csv=p=0", &url(&daemon, "cam")];
    let probe = run("ffprobe", &probe);
    let streams = String::from_utf8_lossy(&probe.stdout).into_owned();
    assert!(streams.contains("h264,") && streams.contains("aac,"), "{streams}");
    for line in streams.lines() {
        let start: f64 = line.split(',').nth(1).and_then(|start| start.parse().ok()).expect("a time");
        assert!(start < 1.0, "times begin at 0 for every player: {streams}");
    }
    if Command::new("rtmpdump").arg("--help").output().is_err() {
        eprintln!("NOT RUN: rtmpdump is not installed");
        return;
    }
    let file = daemon.work_dir().join("dump.flv");
    let file = file.to_str().expect("a name");
    let source = url(&daemon, "cam");
    let dump = Running(tool("rtmpdump", &["-q", "-r", &source, "-o", file]).spawn().expect("rtmpdump"));
    let end = Instant::now() + PATIENCE;
    while std::fs::metadata(file).map_or(0, |meta| meta.len()) < 120_000 {
        assert!(Instant::now() < end, "rtmpdump gets nothing");
        std::thread::sleep(Duration::from_millis(50));
    }
    // It would go on for ever; what it has written by then is whole tags and perhaps a part of one.
    drop(dump);
    let decoded = run("ffmpeg", &["-v", "error", "-i", file, "-map", "0:v", "-t", "2", "-f", "null", "-"]);
    assert_eq!((decoded.status.success(), said(&decoded).as_str()), (true, ""));
}

#[test]
fn a_taken_path_is_refused_and_its_owner_notices_nothing() {
    let daemon = setup().start();
    let _publisher = publish(&url(&daemon, "cam"));
    wait_for_stream(&daemon, "/live/cam");
    let mut player = Peer::play(daemon.rtmp_address(), "live", "cam");
    let refused = publish(&url(&daemon, "cam")).0.wait_with_output_now();
    assert!(!refused.status.success() && said(&refused).contains("already publishing"), "{}", said(&refused));
    let mut second = Peer::open(daemon.rtmp_address(), "live");
    second.ask("publish", "cam");
    second.expect("NetStream.Publish.BadName");
    second.wait_for_end();
    let mut last = 0;
    for _ in 0..50 {
        let message = player.read().expect("the first one goes on");
        if message.kind == 9 {
            assert!(message.time >= last && message.time < last + 500, "nothing is missing");
            last = message.time;
        }
    }
    assert!(daemon.log().contains("CONFLICT"));
}

trait WaitNow {
    fn wait_with_output_now(&mut self) -> Output;
}

impl WaitNow for Child {
    fn wait_with_output_now(&mut self) -> Output {
        let status = self.wait().expect("it ends");
        let mut stderr = Vec::new();
        std::io::Read::read_to_end(self.stderr.as_mut().expect("piped"), &mut stderr).expect("text");
        Output { status, stdout: Vec::new(), stderr }
    }
}

#[test]
fn who_may_not_is_told_why() {
    let daemon = setup().env("CORE_RTMP_TOKEN", "s3cr3t-tok").start();
    let address = daemon.rtmp_address();
    let _publisher = publish(&url(&daemon, "cam/s3cr3t-tok"));
    wait_for_stream(&daemon, "/live/cam");
    let refused = |app: &str, what: &str, name: &str, code: &str| {
        let mut peer = Peer::open(address, app);
        peer.ask(what, name);
        peer.expect(code);
        peer.wait_for_end();
    };
    refused("live", "publish", "x?token=wr0ng-tok", "NetStream.Publish.Unauthorized");
    refused("live", "publish", "x", "NetStream.Publish.Unauthorized");
    refused("live", "publish", "cam/s3cr3t-tok", "NetStream.Publish.BadName");
    refused("live", "play", "cam", "NetStream.Play.StreamNotFound");
    refused("live", "play", "cam?token=wr0ng-tok", "NetStream.Play.StreamNotFound");
    refused("live", "play", "nothing?token=s3cr3t-tok", "NetStream.Play.StreamNotFound");
    let mut peer = Peer::connect(address).expect("a connection");
    let object = [&[3][..], &text("app")[1..], &text("livex"), &[0, 0, 9]].concat();
    peer.say(20, &[text("connect"), vec![0; 9], object].concat());
    peer.expect("NetConnection.Connect.Rejected");
    peer.wait_for_end();
    let (is_ok, said_by_ffmpeg) = watch(&url(&daemon, "nothing?token=s3cr3t-tok"));
    assert!(!is_ok && said_by_ffmpeg.contains("there is no stream /live/nothing"), "{said_by_ffmpeg}");
    let dump = run("rtmpdump", &["-r", &url(&daemon, "nothing?token=s3cr3t-tok"), "-o", "/dev/null"]);
    assert!(said(&dump).contains("NetStream.Play.StreamNotFound"), "{}", said(&dump));
    assert_eq!(watch(&url(&daemon, "cam?token=s3cr3t-tok")), (true, String::new()));
    // Neither the token nor what somebody tried goes anywhere.
    let shown = [daemon.log(), daemon.json("/api/v3/rtmp").to_string(), sessions(&daemon).to_string()].concat();
    assert!(!shown.contains("s3cr3t-tok") && !shown.contains("wr0ng-tok"), "{shown}");
}

fn sessions(daemon: &Daemon) -> Value {
    daemon.json("/api/v3/session/active?collectors=rtmp")
}

#[test]
fn sessions_last_as_long_as_their_connections() {
    let daemon = setup().start();
    let publisher = publish(&url(&daemon, "cam.stream"));
    wait_for_stream(&daemon, "/live/cam.stream");
    let player = Peer::play(daemon.rtmp_address(), "live", "cam.stream");
    let is_counted = |list: &Value| {
        let sessions = list["rtmp"].as_array().cloned().unwrap_or_default();
        let bytes = |key: &str| sessions.iter().any(|session| session[key].as_u64() > Some(5000));
        sessions.len() == 2 && bytes("bytes_rx") && bytes("bytes_tx")
    };
    let list = daemon.wait_for("/api/v3/session/active?collectors=rtmp", PATIENCE, is_counted);
    let (first, second) = (&list["rtmp"][0], &list["rtmp"][1]);
    assert_eq!((&first["id"], &first["local"]), (&json!("/live/cam.stream"), &json!("publish:/live/cam.stream")));
    assert_eq!((&first["reference"], &second["reference"]), (&json!("cam"), &json!("cam")));
    assert_eq!(second["local"], "play:/live/cam.stream");
    assert_eq!(second["id"], player.stream.local_addr().expect("an address").to_string());
    drop(player);
    daemon.wait_for("/api/v3/session/active?collectors=rtmp", PATIENCE, |list| list["rtmp"][1].is_null());
    drop(publisher);
    daemon.wait_for("/api/v3/session/active?collectors=rtmp", PATIENCE, |list| list["rtmp"][0].is_null());
    daemon.wait_for("/api/v3/rtmp", PATIENCE, |list| *list == json!([]));
}

#[test]
fn players_end_with_their_publisher() {
    let daemon = setup().start();
    let publisher = publish(&url(&daemon, "cam"));
    wait_for_stream(&daemon, "/live/cam");
    let url = url(&daemon, "cam");
    let player = tool("ffmpeg", &["-v", "error", "-i", &url, "-f", "null", "-"]).spawn().expect("FFmpeg");
    daemon.wait_for("/api/v3/rtmp", PATIENCE, |list| list[0]["rill"]["subscribers"] == 1);
    let mut peer = Peer::play(daemon.rtmp_address(), "live", "cam");
    drop(publisher);
    peer.expect("NetStream.Play.UnpublishNotify");
    peer.wait_for_end();
    let player = player.wait_with_output().expect("it ends");
    assert!(player.status.success(), "{}", said(&player));
}

#[test]
fn sound_alone_can_be_joined_too() {
    let daemon = setup().start();
    let url = url(&daemon, "radio");
    let arguments = ["-v", "error", "-re", "-f", "lavfi", "-i", "sine", "-c:a", "aac", "-f", "flv", &url];
    let _publisher = Running(tool("ffmpeg", &arguments).spawn().expect("FFmpeg"));
    wait_for_stream(&daemon, "/live/radio");
    assert_eq!(watch(&url), (true, String::new()));
}

#[test]
fn rtmps_shows_the_same_streams() {
    let setup = setup()
        .env("CORE_TLS_ENABLE", "true")
        .env("CORE_TLS_ADDRESS", "127.0.0.1:${TLS_PORT}")
        .env("CORE_RTMP_ENABLE_TLS", "true")
        .env("CORE_RTMP_ADDRESS_TLS", "127.0.0.1:${S3_PORT}");
    let daemon = setup.start();
    let address: std::net::SocketAddr = format!("127.0.0.1:{}", daemon.variables["S3_PORT"]).parse().expect("a port");
    let secure = format!("rtmps://{address}/live/cam");
    let _publisher = publish(&secure);
    wait_for_stream(&daemon, "/live/cam");
    assert_eq!(watch(&secure), (true, String::new()));
    assert_eq!(watch(&url(&daemon, "cam")), (true, String::new()));
    let served = |address| tls::certificate(address, "localhost").expect("a certificate");
    assert_eq!(served(address), served(daemon.secure_address()));
}

/// Puts the section in force.
fn reload(daemon: &Daemon, rtmp: &Value) {
    let before = daemon.json("/api/v3/config")["loaded_at"].clone();
    // The stamp has seconds.
    std::thread::sleep(Duration::from_millis(1100));
    daemon.call("PUT", "/api/v3/config", &json!({"version": 3, "rtmp": rtmp}), 200);
    daemon.call("GET", "/api/v3/config/reload", &Value::Null, 200);
    daemon.wait_for("/api/v3/config", PATIENCE, |config| config["loaded_at"] != before);
}

#[test]
fn a_reload_keeps_what_stays_the_same() {
    let port = |daemon: &Daemon| daemon.variables["RTMP_PORT"].clone();
    let daemon = Setup { env: Vec::new(), ..Setup::default() }.start();
    let section = |token: &str, is_on: bool| json!({"enable": is_on, "address": format!("127.0.0.1:{}", port(&daemon)), "app": "/", "token": token});
    assert_eq!(daemon.get("/api/v3/rtmp").status, 404);
    reload(&daemon, &section("", true));
    let mut publisher = Peer::publish(daemon.rtmp_address(), "live", "a");
    let mut player = Peer::play(daemon.rtmp_address(), "live", "a");
    daemon.call("PUT", "/api/v3/config", &json!({"version": 3, "name": "renamed"}), 200);
    reload(&daemon, &section("", true));
    publisher.say(9, &[0x17, 1, 0, 0, 0, 77]);
    let seen = std::iter::from_fn(|| player.read().ok()).find(|message| message.kind == 9).expect("it still plays");
    assert_eq!(seen.body, [0x17, 1, 0, 0, 0, 77]);
    // Other rules: who was let in by the old ones has to come again.
    reload(&daemon, &section("tok", true));
    publisher.wait_for_end();
    player.wait_for_end();
    let mut late = Peer::publish(daemon.rtmp_address(), "live", "a?token=tok");
    reload(&daemon, &section("tok", false));
    late.wait_for_end();
    assert!(Peer::connect(daemon.rtmp_address()).is_err());
    assert_eq!(daemon.get("/api/v3/rtmp").status, 404);
}

#[test]
fn silence_ends_those_who_should_speak() {
    let daemon = setup().start();
    let address = daemon.rtmp_address();
    let mut mute = std::net::TcpStream::connect(address).expect("a connection");
    let mut idle = Peer::open(address, "live");
    let mut stalled = Peer::publish(address, "live", "stalled");
    let mut publisher = Peer::publish(address, "live", "a");
    let mut deaf = Peer::play(address, "live", "a");
    let mut player = Peer::play(address, "live", "a");
    // Speaks all the time; one player takes nothing.
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let frame = [&[0x17, 1, 0, 0, 0][..], &[7; 50_000]].concat();
            let mut time = 0;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                publisher.raw(&crate::harness::rtmp::message(4, 9, time, &frame)).expect("it takes everything");
                time += 40;
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let mut count = 0;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(60) && daemon.log().matches("i/o timeout").count() < 4 {
            for _ in 0..20 {
                count += usize::from(player.read().is_ok_and(|Message { kind, .. }| kind == 9));
            }
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(count > 100, "who reads gets everything: {count}");
    });
    let log = daemon.log();
    for line in ["who=\"CONNECT\"", "path=\"/live/stalled\" who=\"PUBLISH\"", "write: i/o timeout"] {
        let mut ends = log.lines().filter(|entry| entry.contains("i/o timeout"));
        assert!(ends.any(|entry| entry.contains(line)), "{line}: {log}");
    }
    let mut byte = [0];
    assert!(!std::io::Read::read(&mut mute, &mut byte).is_ok_and(|count| count > 0));
    idle.wait_for_end();
    stalled.wait_for_end();
    deaf.wait_for_end();
}

#[test]
fn a_process_publishes_and_another_one_reads_by_placeholder() {
    let daemon = setup().env("CORE_RTMP_TOKEN", "tok").start();
    let main = json!({
        "id": "main", "reconnect": true, "reconnect_delay_seconds": 1,
        "input": [{"id": "in", "address": "testsrc2=size=128x72:rate=10", "options": ["-f", "lavfi", "-re"]}],
        "output": [{"id": "out", "address": "{rtmp,name=main.stream}", "options": [
            "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "10", "-f", "flv"]}],
    });
    let sub = json!({
        "id": "sub", "reconnect": true, "reconnect_delay_seconds": 1,
        "input": [{"id": "in", "address": "#main:output=out", "options": []}],
        "output": [{"id": "out", "address": "{memfs}/sub.m3u8", "options": [
            "-c", "copy", "-f", "hls", "-hls_time", "1", "-method", "PUT"]}],
    });
    daemon.call("POST", "/api/v3/process", &main, 200);
    daemon.call("POST", "/api/v3/process", &sub, 200);
    let runs = |state: &Value| state["exec"] == "running" && state["progress"]["frame"].as_u64() > Some(5);
    daemon.wait_for("/api/v3/process/sub/state", PATIENCE, runs);
    assert_eq!(daemon.json("/api/v3/rtmp")[0]["name"], "/live/main.stream");
    daemon.call("PUT", "/api/v3/process/main/command", &json!({"command": "stop"}), 200);
    daemon.wait_for("/api/v3/process/sub/state", PATIENCE, |state| state["exec"] != "running");
    daemon.call("PUT", "/api/v3/process/main/command", &json!({"command": "start"}), 200);
    daemon.wait_for("/api/v3/process/sub/state", PATIENCE, runs);
}
