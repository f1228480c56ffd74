//! Who is let in: every operation of the description against every way not to be entitled to it.
//!
//! The operations come from `/api/openapi.json`, which a unit test holds to the routes, so that a new one is judged here
//! without being named. What it must ask for is decided here and not read from the description: all of it a token, but
//! for the lists below. Tokens are forged with `ring`, not with the code under test.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::harness::http::{self, Request};
use crate::harness::{Daemon, Setup};

const USER: &str = "admin";
const WORD: &str = "pass-word";
const SECRET: &str = "a-configured-secret";
const MOUNT_USER: &str = "writer";
const MOUNT_WORD: &str = "mount-word";

/// Open to everyone (`contract/http-api.md` §4); the description is.
const OPEN: &[&str] = &[
    "GET /ping",
    "POST /api/login",
    "GET /api/openapi.json",
    "GET /api/swagger/",
    "GET /api/swagger/doc.json",
    "GET /api/swagger/index.html",
    "GET /api/v3/widget/process/{id}",
    "GET /memfs/{filepath}",
    "HEAD /memfs/{filepath}",
    "GET /{filepath}",
    "HEAD /{filepath}",
];
/// Credentials of the mount.
const MOUNT: &[&str] = &["PUT /memfs/{filepath}", "POST /memfs/{filepath}", "DELETE /memfs/{filepath}"];
const REFRESH: &[&str] = &["GET /api/login/refresh"];
/// Answers without a token too, with less.
const ABOUT: &[&str] = &["GET /api"];
/// No token, but the IP list (H11).
const ADDRESS: &[&str] = &["GET /metrics"];
const ADDRESS_PREFIX: &str = "/profiling";
/// Changes something although its method does not say so, and the other way round.
const WRITING_GET: &[&str] = &["GET /api/v3/config/reload"];
const READING_POST: &[&str] = &["POST /api/v3/metrics", "POST /api/graph/query"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Open,
    Token,
    About,
    Refresh,
    Mount,
    Address,
}

struct Operation {
    name: String,
    method: String,
    path: String,
    class: Class,
    writes: bool,
}

/// All operations that the daemon describes, with something in place of each parameter.
fn operations(daemon: &Daemon) -> Vec<Operation> {
    let description = daemon.json("/api/openapi.json");
    let paths = description["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().into_iter().flatten().map(move |(method, _)| operation(&method.to_uppercase(), path))
    });
    let operations: Vec<Operation> = operations.collect();
    let known: Vec<&str> = operations.iter().map(|o| o.name.as_str()).collect();
    for name in [OPEN, MOUNT, REFRESH, ABOUT, WRITING_GET].concat() {
        assert!(known.contains(&name), "{name} is not described any more");
    }
    operations
}

fn operation(method: &str, path: &str) -> Operation {
    let name = format!("{method} {path}");
    let is_in = |list: &[&str]| list.contains(&name.as_str());
    let class = match () {
        () if is_in(OPEN) => Class::Open,
        () if is_in(MOUNT) => Class::Mount,
        () if is_in(REFRESH) => Class::Refresh,
        () if is_in(ABOUT) => Class::About,
        () if is_in(ADDRESS) || path.starts_with(ADDRESS_PREFIX) => Class::Address,
        () => Class::Token,
    };
    let changes = !matches!(method, "GET" | "HEAD") && !is_in(READING_POST) || is_in(WRITING_GET);
    let parts = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
    let path = parts.collect::<Vec<_>>().join("/");
    Operation { name, method: method.to_owned(), path, class, writes: class == Class::Token && changes }
}

pub(crate) fn setup() -> Setup {
    Setup::default()
        .env("CORE_API_AUTH_ENABLE", "true")
        .env("CORE_API_AUTH_USERNAME", USER)
        .env("CORE_API_AUTH_PASSWORD", WORD)
        .env("CORE_API_AUTH_JWT_SECRET", SECRET)
        .env("CORE_STORAGE_MEMORY_AUTH_ENABLE", "true")
        .env("CORE_STORAGE_MEMORY_AUTH_USERNAME", MOUNT_USER)
        .env("CORE_STORAGE_MEMORY_AUTH_PASSWORD", MOUNT_WORD)
        .env("CORE_METRICS_ENABLE", "true")
        .env("CORE_METRICS_ENABLE_PROMETHEUS", "true")
        .env("CORE_DEBUG_PROFILING", "true")
}

/// What a token is signed with, and how.
enum Signature<'a> {
    None,
    Hs256(&'a str),
    Hs512(&'a str),
}

fn key() -> String {
    format!("{USER}{WORD}{SECRET}")
}

fn token(signature: &Signature<'_>, usefor: &str, lifetime: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let now = i64::try_from(now).expect("before the end of time");
    let alg = match signature {
        Signature::None => "none",
        Signature::Hs256(_) => "HS256",
        Signature::Hs512(_) => "HS512",
    };
    let claims = json!({
        "iss": "datarhei-core", "sub": USER, "usefor": usefor, "iat": now, "exp": now + lifetime, "exi": lifetime,
        "jti": "5d3c8e3c-7a43-4f0e-9e1b-1f7d9a0b6c5d",
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": alg, "typ": "JWT"})), part(&claims));
    let sign = |algorithm, key: &str| {
        let tag = hmac::sign(&hmac::Key::new(algorithm, key.as_bytes()), signed.as_bytes());
        URL_SAFE_NO_PAD.encode(tag.as_ref())
    };
    let tag = match signature {
        Signature::None => String::new(),
        Signature::Hs256(key) => sign(hmac::HMAC_SHA256, key),
        Signature::Hs512(key) => sign(hmac::HMAC_SHA512, key),
    };
    format!("{signed}.{tag}")
}

/// An access token that is good for so many seconds.
pub(crate) fn access_for(seconds: i64) -> String {
    token(&Signature::Hs256(&key()), "access", seconds)
}

fn access() -> String {
    access_for(600)
}

fn refresh() -> String {
    token(&Signature::Hs256(&key()), "refresh", 600)
}

/// How a request is made.
#[derive(Clone, Default)]
struct Manner {
    bearer: Option<String>,
    basic: Option<(&'static str, &'static str)>,
    headers: Vec<(&'static str, &'static str)>,
    from: Option<Ipv4Addr>,
}

impl Manner {
    fn bearer(token: String) -> Self {
        Self { bearer: Some(token), ..Self::default() }
    }
}

/// The status only: some answers never end.
fn status(daemon: &Daemon, operation: &Operation, manner: &Manner) -> u16 {
    let mut head = format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", operation.method, operation.path);
    let body = if operation.path == "/api/login" {
        json!({"username": USER, "password": WORD}).to_string()
    } else {
        String::new()
    };
    head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    if let Some(token) = &manner.bearer {
        head += &format!("Authorization: Bearer {token}\r\n");
    }
    if let Some((name, word)) = manner.basic {
        head += &format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:{word}")));
    }
    for (name, value) in &manner.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let mut stream = connect(daemon.address(), manner.from);
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).expect("a connection that is kept");
    let answer = http::read_response(&mut BufReader::new(stream), "HEAD");
    answer.unwrap_or_else(|error| panic!("{}: {error}\n{}", operation.name, daemon.log_tail())).status
}

fn connect(address: SocketAddr, from: Option<Ipv4Addr>) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    if let Some(from) = from {
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("an address of this host");
    }
    socket.connect(&address.into()).expect("a connection");
    socket.set_read_timeout(Some(http::TIMEOUT)).expect("a timeout");
    socket.into()
}

/// Asks for every operation in the same manner; `expected` gives the status that must come, or `None` for any that admits.
#[track_caller]
fn check(daemon: &Daemon, what: &str, manner: &Manner, expected: impl Fn(&Operation) -> Option<u16>) {
    let mut faults = Vec::new();
    for operation in operations(daemon) {
        let status = status(daemon, &operation, manner);
        let is_right = expected(&operation).map_or(!matches!(status, 401 | 403), |expected| status == expected);
        if !is_right {
            faults.push(format!("{}: {status}, expected {:?}", operation.name, expected(&operation)));
        }
    }
    assert!(faults.is_empty(), "{what}:\n  {}", faults.join("\n  "));
}

/// 401 where the class asks for something.
fn refused(operation: &Operation) -> Option<u16> {
    matches!(operation.class, Class::Token | Class::Refresh | Class::Mount).then_some(401)
}

#[test]
fn every_route_refuses_who_has_no_valid_token() {
    let daemon = setup().start();
    let good = key();
    let sign = |signature: &Signature<'_>, usefor, lifetime| Manner::bearer(token(signature, usefor, lifetime));
    for (what, manner) in [
        ("no token", Manner::default()),
        ("expired access token", sign(&Signature::Hs256(&good), "access", -60)),
        ("expired refresh token", sign(&Signature::Hs256(&good), "refresh", -60)),
        ("unknown use", sign(&Signature::Hs256(&good), "other", 600)),
        ("wrong key", sign(&Signature::Hs256("another-key"), "access", 600)),
        ("wrong key, refresh", sign(&Signature::Hs256("another-key"), "refresh", 600)),
        ("empty key", sign(&Signature::Hs256(""), "access", 600)),
        ("alg none", sign(&Signature::None, "access", 600)),
        ("alg none, refresh", sign(&Signature::None, "refresh", 600)),
        ("HS512", sign(&Signature::Hs512(&good), "access", 600)),
        ("HS512, refresh", sign(&Signature::Hs512(&good), "refresh", 600)),
    ] {
        check(&daemon, what, &manner, refused);
    }
    let as_refresh = |o: &Operation| matches!(o.class, Class::Refresh | Class::Mount).then_some(401);
    check(&daemon, "access token, also where a refresh token is due", &Manner::bearer(access()), as_refresh);
    let as_access = |o: &Operation| matches!(o.class, Class::Token | Class::Mount).then_some(401);
    check(&daemon, "refresh token, also where an access token is due", &Manner::bearer(refresh()), as_access);
    let writer = Manner { basic: Some((MOUNT_USER, MOUNT_WORD)), ..Manner::default() };
    let as_writer = |o: &Operation| matches!(o.class, Class::Token | Class::Refresh).then_some(401);
    check(&daemon, "credentials of the mount", &writer, as_writer);
    let user = Manner { basic: Some((USER, WORD)), ..Manner::default() };
    check(&daemon, "credentials of the API, as if of the mount", &user, refused);
}

#[test]
fn without_a_token_about_says_no_more_than_a_login_page_needs() {
    let daemon = setup().start();
    let expired = token(&Signature::Hs256(&key()), "access", -60);
    for bearer in [None, Some(expired), Some(refresh())] {
        let mut request = Request::get("/api");
        if let Some(token) = &bearer {
            request = request.header("Authorization", &format!("Bearer {token}"));
        }
        let about = daemon.send(&request).json().expect("JSON");
        let members: Vec<&String> = about.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["app", "auths", "version"]);
    }
    let request = Request::get("/api").header("Authorization", &format!("Bearer {}", access()));
    assert!(daemon.send(&request).json().expect("JSON")["id"].is_string());
}

/// What an IP list concerns: 403 for who is not on it, whatever token or header is shown.
fn blocked(operation: &Operation) -> Option<u16> {
    matches!(operation.class, Class::Token | Class::About | Class::Address).then_some(403)
}

/// `blocked`, and for the rest what a request without refresh token and credentials gets.
fn blocked_or_refused(operation: &Operation) -> Option<u16> {
    blocked(operation).or_else(|| refused(operation))
}

#[test]
fn a_blocked_address_is_refused_with_a_valid_token_and_with_spoofed_headers() {
    let spoofed = vec![("X-Forwarded-For", "10.1.2.3"), ("X-Real-IP", "10.1.2.3"), ("Forwarded", "for=10.1.2.3")];
    let lists = [
        ("CORE_API_ACCESS_HTTP_BLOCK", "127.0.0.0/8"),
        // The spoofed one would be on it.
        ("CORE_API_ACCESS_HTTP_ALLOW", "10.0.0.0/8"),
    ];
    for (variable, list) in lists {
        let daemon = setup().env(variable, list).start();
        check(&daemon, variable, &Manner::default(), blocked_or_refused);
        check(&daemon, variable, &Manner::bearer(access()), blocked_or_refused);
        let manner = Manner { headers: spoofed.clone(), ..Manner::bearer(access()) };
        check(&daemon, &format!("{variable}, spoofed"), &manner, blocked_or_refused);
    }
}

#[test]
fn the_exemption_of_localhost_is_not_to_be_had_by_a_header() {
    let daemon = setup().env("CORE_API_AUTH_DISABLE_LOCALHOST", "true").start();
    let admitted = |o: &Operation| match o.class {
        // It has no name to refresh.
        Class::Refresh => Some(403),
        Class::Mount => Some(401),
        _ => None,
    };
    check(&daemon, "localhost", &Manner::default(), admitted);
    let elsewhere = Some(Ipv4Addr::new(127, 0, 0, 2));
    check(&daemon, "another address", &Manner { from: elsewhere, ..Manner::default() }, refused);
    let headers = vec![("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "::1"), ("Forwarded", "for=127.0.0.1")];
    check(&daemon, "spoofed", &Manner { from: elsewhere, headers, ..Manner::default() }, refused);
}

#[test]
fn a_trusted_proxy_is_believed() {
    let daemon = setup().env("RILL_TRUSTED_PROXIES", "127.0.0.1/32").env("CORE_API_ACCESS_HTTP_BLOCK", "10.0.0.0/8");
    let daemon = daemon.start();
    let manner = Manner { headers: vec![("X-Forwarded-For", "10.1.2.3")], ..Manner::bearer(access()) };
    check(&daemon, "a blocked client behind it", &manner, blocked_or_refused);
    let manner = Manner { from: Some(Ipv4Addr::new(127, 0, 0, 2)), ..manner };
    let as_access = |o: &Operation| matches!(o.class, Class::Refresh | Class::Mount).then_some(401);
    check(&daemon, "the header of another", &manner, as_access);
}

#[test]
fn read_only_mode_hides_every_write_and_nothing_else() {
    let (open, read_only) = (setup().start(), setup().env("CORE_API_READ_ONLY", "true").start());
    let manner = Manner::bearer(access());
    let mut hidden = 0;
    for operation in operations(&read_only) {
        let Operation { name, method, path, .. } = &operation;
        if !operation.writes {
            assert_eq!(status(&read_only, &operation, &manner), status(&open, &operation, &manner), "{name}");
            continue;
        }
        hidden += 1;
        let request = Request::new(method, path).header("Authorization", &format!("Bearer {}", access()));
        let response = read_only.send(&request);
        let (code, phrase) =
            if path.starts_with("/api/v3/fs/") { (405, "Method Not Allowed") } else { (404, "Not Found") };
        let expected = json!({"code": code, "message": phrase, "details": [phrase]});
        assert_eq!((response.status, response.json()), (code, Ok(expected)), "{name}");
        // Who has no token does not even learn that.
        assert_eq!(status(&read_only, &operation, &Manner::default()), 401, "{name}");
    }
    assert!(hidden >= 12, "{hidden} writes");
}

#[test]
fn a_valid_token_opens_every_route_that_asks_for_one() {
    let daemon = setup().start();
    let manner = Manner::bearer(access());
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for operation in operations(&daemon) {
        *counts.entry(format!("{:?}", operation.class)).or_default() += 1;
        let right = match operation.class {
            Class::Refresh => Manner::bearer(refresh()),
            Class::Mount => Manner { basic: Some((MOUNT_USER, MOUNT_WORD)), ..Manner::default() },
            _ => manner.clone(),
        };
        let status = status(&daemon, &operation, &right);
        assert!(!matches!(status, 401 | 403), "{}: {status}", operation.name);
    }
    println!("operations judged: {counts:?}");
    assert!(counts["Token"] >= 30, "{counts:?}");
}
