//! HTTPS: certificates and their exchange, both TLS versions, HTTP/2, and peers that mean no good.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use crate::harness::http::{self, Request};
use crate::harness::tls::{self, Offer};
use crate::harness::{Daemon, Setup};

const PATIENCE: Duration = Duration::from_secs(30);

fn setup() -> Setup {
    Setup::default().env("CORE_TLS_ENABLE", "true").env("CORE_TLS_ADDRESS", "127.0.0.1:${TLS_PORT}")
}

/// With a certificate in files; what it is.
fn with_files() -> (Daemon, Vec<u8>) {
    let setup =
        setup().env("CORE_TLS_CERT_FILE", "${WORK_DIR}/cert.pem").env("CORE_TLS_KEY_FILE", "${WORK_DIR}/key.pem");
    let mut daemon = Daemon::prepare(&setup).expect("a work directory");
    let certificate = write(&daemon);
    daemon.resume().expect("it starts");
    (daemon, certificate)
}

fn write(daemon: &Daemon) -> Vec<u8> {
    tls::write_certificate(&daemon.work_dir().join("cert.pem"), &daemon.work_dir().join("key.pem"), &["localhost"])
}

#[track_caller]
fn certificate(daemon: &Daemon) -> Vec<u8> {
    tls::certificate(daemon.secure_address(), "localhost").unwrap_or_else(|e| panic!("{e}: {}", daemon.log_tail()))
}

#[track_caller]
fn wait_until(what: &str, daemon: &Daemon, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}: {}", daemon.log_tail());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn alarms(daemon: &Daemon) -> String {
    daemon.json("/api")["rill"]["alarms"].to_string()
}

fn ask(stream: &mut tls::Stream, path: &str) -> http::Response {
    http::exchange(&mut *stream, "localhost", &Request::get(path)).expect("an answer")
}

#[test]
fn both_versions_of_tls_and_nothing_older() {
    let (daemon, certificate) = with_files();
    for (version, expected) in [(&TLS12, "TLSv1_2"), (&TLS13, "TLSv1_3")] {
        let offer = Offer { versions: &[version], ..Offer::default() };
        let mut stream = tls::connect(daemon.secure_address(), offer, http::TIMEOUT).expect("a handshake");
        assert_eq!(format!("{:?}", stream.conn.protocol_version().expect("a version")), expected);
        assert_eq!(stream.conn.peer_certificates().expect("a certificate")[0].as_ref(), certificate);
        assert_eq!(ask(&mut stream, "/ping").text(), "pong");
    }
    // A client hello of TLS 1.1 without extensions.
    let mut hello = vec![22, 3, 1, 0, 47, 1, 0, 0, 43, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0, 0x2f, 0, 0x35, 1, 0]);
    let mut stream = http::connect(daemon.secure_address(), http::TIMEOUT).expect("a connection");
    stream.write_all(&hello).expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer.first(), Some(&21), "an alert: {answer:?}");
}

#[test]
fn plain_http_on_the_tls_port_is_told_so() {
    let (daemon, _) = with_files();
    let answer = http::send(daemon.secure_address(), &Request::get("/ping"), http::TIMEOUT).expect("an answer");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("Content-Type").as_deref(), Some("text/plain; charset=utf-8"));
}

#[test]
fn changed_files_are_served_to_new_connections_and_old_ones_stay() {
    let (daemon, before) = with_files();
    let mut old = tls::connect(daemon.secure_address(), Offer::default(), PATIENCE).expect("a handshake");
    assert_eq!(ask(&mut old, "/ping").text(), "pong");
    let after = write(&daemon);
    assert_ne!(after, before);
    wait_until("the new certificate", &daemon, || certificate(&daemon) == after);
    assert_eq!(ask(&mut old, "/ping").text(), "pong");
    // Nonsense changes nothing but raises an alarm.
    fs::write(daemon.work_dir().join("cert.pem"), "nonsense").expect("written");
    wait_until("an alarm", &daemon, || alarms(&daemon).contains("the former one serves"));
    assert_eq!(certificate(&daemon), after);
    let repaired = write(&daemon);
    wait_until("the repaired certificate", &daemon, || certificate(&daemon) == repaired);
    assert_eq!(alarms(&daemon), "[]");
}

#[test]
fn files_that_cannot_be_used_leave_https_up() {
    let setup =
        setup().env("CORE_TLS_CERT_FILE", "${WORK_DIR}/cert.pem").env("CORE_TLS_KEY_FILE", "${WORK_DIR}/key.pem");
    let mut daemon = Daemon::prepare(&setup).expect("a work directory");
    // The key of another certificate.
    let work = daemon.work_dir().to_owned();
    tls::write_certificate(&work.join("cert.pem"), &work.join("other.pem"), &["localhost"]);
    tls::write_certificate(&work.join("other-cert.pem"), &work.join("key.pem"), &["localhost"]);
    daemon.resume().expect("it starts");
    let own = certificate(&daemon);
    assert!(alarms(&daemon).contains("the box's own serves"), "{}", alarms(&daemon));
    let right = write(&daemon);
    assert_ne!(own, right);
    wait_until("the certificate", &daemon, || certificate(&daemon) == right);
    assert_eq!(alarms(&daemon), "[]");
}

#[test]
fn without_files_the_box_signs_its_own_and_keeps_it() {
    let mut daemon = setup().env("CORE_HOST_NAME", "box.example").start();
    let first = certificate(&daemon);
    for name in ["box.example", "localhost"] {
        assert!(String::from_utf8_lossy(&first).contains(name), "{name}");
    }
    let file = daemon.db_dir().join("cert/device.pem");
    assert_eq!(fs::metadata(&file).expect("stored").permissions().mode() & 0o777, 0o600);
    assert!(daemon.json("/api/v3/config")["config"]["rill"]["self_signed"] == true);
    daemon.call("PUT", "/api/v3/config", &json!({"version": 3, "name": "still writable"}), 200);
    daemon.stop();
    daemon.resume().expect("it starts again");
    assert_eq!(certificate(&daemon), first);
    daemon.stop();
    fs::write(&file, "damaged").expect("written");
    daemon.resume().expect("it starts with a damaged one");
    assert_ne!(certificate(&daemon), first);
}

#[test]
fn tls_is_switched_on_moved_and_off_by_reloads() {
    let mut daemon = Setup::default().start();
    let second = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let reload = |daemon: &Daemon, tls: Value| {
        let before = daemon.json("/api/v3/config")["loaded_at"].clone();
        daemon.call("PUT", "/api/v3/config", &json!({"version": 3, "tls": tls, "rill": {"self_signed": true}}), 200);
        daemon.call("GET", "/api/v3/config/reload", &Value::Null, 200);
        daemon.wait_for("/api/v3/config", PATIENCE, |config| config["loaded_at"] != before);
    };
    daemon.call("PUT", "/api/v3/config", &json!({"version": 3, "tls": {"enable": true}}), 409);
    let first = daemon.secure_address();
    reload(&daemon, json!({"enable": true, "address": first.to_string()}));
    let mut held = tls::connect(first, Offer::default(), PATIENCE).expect("a handshake");
    assert_eq!(ask(&mut held, "/ping").text(), "pong");
    reload(&daemon, json!({"address": second.to_string()}));
    assert!(TcpStream::connect(first).is_err(), "the former port is closed");
    assert_eq!(ask(&mut held, "/ping").text(), "pong");
    daemon.variables.insert("TLS_PORT".to_owned(), second.port().to_string());
    certificate(&daemon);
    reload(&daemon, json!({"enable": false}));
    assert!(TcpStream::connect(second).is_err(), "it is closed");
    assert_eq!(daemon.get("/ping").text(), "pong");
}

#[test]
fn requests_are_logged_as_https() {
    let (daemon, _) = with_files();
    let mut stream = tls::connect(daemon.secure_address(), Offer::default(), PATIENCE).expect("a handshake");
    assert_eq!(ask(&mut stream, "/api/v3/process/none").status, 404);
    let log = daemon.json("/api/v3/log?format=raw");
    let entry = log.as_array().into_iter().flatten().find(|entry| entry["path"] == "/api/v3/process/none");
    let entry = entry.unwrap_or_else(|| panic!("no entry in {log}"));
    assert_eq!((&entry["component"], &entry["proto"]), (&json!("HTTPS"), &json!("HTTP/1.1")));
}

/// A connection from another address of this machine.
fn connect_from(source: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((source, 0)).into()).expect("an address of loopback");
    socket.connect(&address.into()).expect("connected");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

#[test]
fn handshakes_that_stall_hold_nobody_up() {
    let (daemon, _) = with_files();
    let address = daemon.secure_address();
    let begin: &[u8] = &[22, 3, 1, 2, 0, 1];
    let mut stalled: Vec<TcpStream> = (0..200)
        .map(|number| {
            // Half of them say nothing at all.
            let mut stream = connect_from([127, 0, 0, 2], address);
            if number % 2 == 0 {
                stream.write_all(begin).expect("sent");
            }
            stream
        })
        .collect();
    let name = ServerName::try_from("localhost").expect("a name");
    for _ in 0..20 {
        let mut socket = connect_from([127, 0, 0, 3], address);
        let config = Arc::new(tls::client_config(Offer::default()));
        let mut session = rustls::ClientConnection::new(config, name.clone()).expect("a session");
        while session.is_handshaking() {
            session.complete_io(&mut socket).expect("a handshake while others stall");
        }
    }
    assert_eq!(daemon.get("/ping").text(), "pong");
    for stream in &mut stalled {
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        assert!(matches!(stream.read(&mut [0; 64]), Ok(_) | Err(_)));
    }
    // All of them have been closed, since reading them did not wait for ever.
    drop(stalled);
    certificate(&daemon);
}

/// One HTTP/2 connection.
struct Multiplexed {
    sender: http2::SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, work: F) {
        rill::base::task::spawn(work);
    }
}

impl Multiplexed {
    async fn open(address: SocketAddr, tune: impl FnOnce(&mut http2::Builder<Local>)) -> Self {
        let config = tls::client_config(Offer { alpn: &[b"h2"], ..Offer::default() });
        let socket = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut builder = http2::Builder::new(Local);
        tune(&mut builder);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
        rill::base::task::spawn(connection);
        Self { sender, address }
    }

    fn request(&self, method: &str, path: &str, body: impl Into<Bytes>) -> hyper::Request<Full<Bytes>> {
        let uri = format!("https://{}{path}", self.address);
        hyper::Request::builder().method(method).uri(uri).body(Full::new(body.into())).expect("a request")
    }

    async fn ask(&self, method: &str, path: &str, body: impl Into<Bytes>) -> (u16, Bytes) {
        let response = self.sender.clone().send_request(self.request(method, path, body)).await.expect("an answer");
        assert_eq!(response.version(), hyper::Version::HTTP_2);
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.expect("a body").to_bytes())
    }
}

fn with_type(mut request: hyper::Request<Full<Bytes>>, kind: &'static str) -> hyper::Request<Full<Bytes>> {
    request.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    request
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

#[test]
fn http2_answers_as_http1_does() {
    let (daemon, _) = with_files();
    run(async {
        let connection = Multiplexed::open(daemon.secure_address(), |_| {}).await;
        assert_eq!(connection.ask("GET", "/ping", "").await, (200, "pong".into()));
        assert_eq!(connection.ask("GET", "/api/v3/process", "").await, (200, "[]\n".into()));
        // The guard of the open API sees the authority.
        let request = with_type(connection.request("POST", "/api/v3/process", "{"), "application/json");
        assert_eq!(connection.sender.clone().send_request(request).await.expect("an answer").status(), 400);
        let segment = Bytes::from(vec![7; 3 << 20]);
        for (method, status) in [("PUT", 201), ("PUT", 204)] {
            assert_eq!(connection.ask(method, "/api/v3/fs/mem/a.ts", segment.clone()).await.0, status);
        }
        // Side by side on the one connection, more than there are streams.
        let all = (0..50).map(|_| connection.ask("GET", "/memfs/a.ts", ""));
        for (status, body) in futures_util::future::join_all(all).await {
            assert!(status == 200 && body == segment, "{status}, {} bytes", body.len());
        }
        assert_eq!(connection.ask("DELETE", "/api/v3/fs/mem/a.ts", "").await.0, 200);
        assert_eq!(connection.ask("GET", "/memfs/a.ts", "").await.0, 404);
    });
}

#[test]
fn http2_keeps_its_bounds() {
    let (daemon, _) = with_files();
    run(async {
        let connection = Multiplexed::open(daemon.secure_address(), |_| {}).await;
        let request = connection.request("POST", "/api/v3/process", vec![b' '; (4 << 20) + 1]);
        let request = with_type(request, "application/json");
        assert_eq!(connection.sender.clone().send_request(request).await.expect("an answer").status(), 413);
        let mut request = connection.request("GET", "/ping", "");
        request.headers_mut().insert("x-large", "y".repeat(40_000).parse().expect("a value"));
        match connection.sender.clone().send_request(request).await {
            Ok(response) => assert_eq!(response.status(), 431),
            Err(error) => assert!(error.is_closed() || !error.is_user(), "{error:?}"),
        }
        // A peer that opens no window for what it asked is not waited for, while others are served.
        let put = Multiplexed::open(daemon.secure_address(), |_| {}).await;
        assert_eq!(put.ask("PUT", "/api/v3/fs/mem/b.ts", vec![1; 1 << 20]).await.0, 201);
        let stalled = Multiplexed::open(daemon.secure_address(), |builder| {
            builder.initial_stream_window_size(1).initial_connection_window_size(65_535);
        })
        .await;
        let asked = (0..8).map(|_| stalled.sender.clone().send_request(stalled.request("GET", "/memfs/b.ts", "")));
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(put.ask("GET", "/ping", "").await, (200, "pong".into()));
        // Nobody reads `answers`; the daemon gives the connection up by its minimum rate.
        let end = Instant::now() + Duration::from_secs(60);
        while !stalled.sender.is_closed() {
            assert!(Instant::now() < end, "{}", daemon.log_tail());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        drop(answers);
    });
}
