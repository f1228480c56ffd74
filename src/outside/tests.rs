//! What is said and understood, as tables; then both services on loopback, also as they should not be.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::exchange_client::Error;
use super::facts::newer;
use super::service_client::Service;
use super::{address_client, schedule, update_client, *};
use crate::base::blocking::Blocking;
use crate::base::clock::Now;
use crate::base::https_client::Times;
use crate::base::task;

const FACTS: Facts = Facts {
    uptime_seconds: 61.7,
    states: States { finished: 1.0, starting: 2.0, running: 3.0, finishing: 4.0, failed: 5.0, killed: 6.0 },
    viewers: Share { of: 100.0, used: 7.0 },
    cpus: 4.0,
    cpu_percent: 12.345_67,
    memory: Share { of: 2e9, used: 1e9 },
    disk: Share { of: 16e9, used: 8e9 },
    memfs: Share { of: 5e8, used: 1e6 },
    diskfs: Share { of: -1.0, used: f64::NAN },
    sent: Share { of: 10_240.0, used: 1536.0 },
};

#[test]
fn bodies_as_both_services_expect_them() {
    let expected = json!({
        "app_version": "datarhei-core v16.16.0",
        "core_id": "box",
        "core_aarch": "linux/arm64",
        "core_uptime_seconds": 61,
        "core_process_running": 3,
        "core_process_failed": 5,
        "core_process_killed": 6,
        "core_viewer": 7,
    });
    assert_eq!(FACTS.update("box", "linux/arm64"), expected);
    let report = FACTS.report();
    assert_eq!(report["proc_states"], json!([1, 2, 3, 4, 5, 6]));
    assert_eq!((&report["sys_cpu"], &report["net_tx"]), (&json!([4, 12.346]), &json!([10, 1.5])));
    assert_eq!((&report["fs_disk"], &report["viewer"]), (&json!([-1, null]), &json!([100, 7])));
    assert_eq!((&report["version"], &report["uptime_sec"]), (&json!("16.16.0"), &json!(61)));
}

#[test]
fn versions() {
    for (text, expected) in [
        ("datarhei-core v16.17.2 (amd64)", Some(Some("16.17.2"))),
        ("datarhei-core v16.16.0", Some(None)),
        ("datarhei-core v16.9.11", Some(None)),
        ("rill v99.0.1", Some(Some("99.0.1"))),
        ("rill v0.0.1", Some(None)),
        ("v17.0.0", Some(Some("17.0.0"))),
        ("datarhei-core 16.17.2", None),
        ("v1.2", None),
        ("v1.2.3.4 v99999999999999999999.1.1", None),
        ("", None),
    ] {
        assert_eq!(newer(text), expected.map(|newer| newer.map(str::to_owned)), "{text}");
    }
}

#[test]
fn times() {
    for jitter in [0, 255] {
        assert!((10..=20).contains(&schedule::first(jitter).as_secs()));
        assert!((23 * 3600..=25 * 3600).contains(&schedule::tomorrow(jitter).as_secs()));
    }
    let next: Vec<u64> = [0, 1, 60, u64::MAX].map(|seconds| schedule::next_report(seconds).as_secs()).into();
    assert_eq!(next, [300, 10, 60, 86_400]);
    let again: Vec<u64> = [1, 2, 3, 4, 99].map(|failures| schedule::report_again(failures).as_secs()).into();
    assert_eq!(again, [10, 20, 30, 900, 900]);
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

fn client() -> Client {
    Client::new(Blocking::default(), Times::default(), 0)
}

/// Heads and bodies of the requests that came.
type Heard = Rc<RefCell<Vec<String>>>;

/// Gives each connection the next answer, `None` none at all; its address.
async fn stub(answers: Vec<Option<String>>) -> (String, Heard) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let heard = Heard::default();
    let all = heard.clone();
    task::spawn(async move {
        let mut kept: Vec<TcpStream> = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let request = request(&mut stream).await;
            all.borrow_mut().push(request);
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).await.expect("written"),
                None => kept.push(stream),
            }
        }
        std::future::pending::<()>().await;
        drop(kept);
    });
    (address, heard)
}

async fn request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut piece = [0; 4096];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .to_ascii_lowercase()
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| rest.split("\r\n").next().and_then(|number| number.parse().ok()).unwrap_or(0));
            if body.len() >= length {
                return text;
            }
        }
        let read = stream.read(&mut piece).await.expect("readable");
        assert!(read > 0, "a whole request: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
}

fn ok(body: &str) -> Option<String> {
    answer("200 OK", body)
}

fn answer(status: &str, body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()))
}

#[test]
fn an_update_check() {
    run(async {
        let answers = vec![
            ok(r#"{"latest_version": "datarhei-core v16.20.0"}"#),
            ok(r#"{"latest_version": "none"}"#),
            ok("<html>"),
            answer("503 Service Unavailable", ""),
            ok(&"x".repeat(ANSWER + 1)),
        ];
        let (url, heard) = stub(answers).await;
        let section = Section { id: "box".to_owned(), architecture: "linux/arm64".to_owned(), ..Section::default() };
        let client = client();
        let check = || update_client::check(&client, &url, &section, &FACTS);
        assert_eq!(check().await.unwrap().as_deref(), Some("16.20.0"));
        assert!(matches!(check().await, Err(Error::Content(_))));
        assert!(matches!(check().await, Err(Error::Json(_))));
        assert!(matches!(check().await, Err(Error::Status(status)) if status == 503));
        assert!(matches!(check().await, Err(Error::Client(_))));
        let first = heard.borrow()[0].clone();
        assert!(first.starts_with("PUT / HTTP/1.1\r\n") && first.contains("\"core_id\":\"box\""), "{first}");
    });
}

#[test]
fn reports_with_one_login_until_it_expires() {
    run(async {
        let login = ok(r#"{"access_token": "a1", "token_type": "Bearer"}"#);
        let answers = vec![
            login.clone(),
            ok(r#"{"next_update": 60}"#),
            ok("{}"),
            answer("401 Unauthorized", ""),
            login,
            ok(r#"{"next_update": 20}"#),
            answer("401 Unauthorized", ""),
            answer("401 Unauthorized", ""),
        ];
        let (url, heard) = stub(answers).await;
        let mut service = Service::new(client(), &format!("{url}/"), "secret".to_owned(), "a/b");
        let mut delays = Vec::new();
        for _ in 0..3 {
            delays.push(service.report(&FACTS.report()).await.unwrap());
        }
        assert_eq!(delays, [60, 300, 20].map(Duration::from_secs));
        let refused = service.report(&FACTS.report()).await;
        assert!(matches!(refused, Err(Error::Status(status)) if status == 401), "no more than one login");
        let lines: Vec<String> =
            heard.borrow().iter().map(|request| request.lines().next().unwrap_or_default().to_owned()).collect();
        let (login, report) = ("PUT /api/v1/token/login HTTP/1.1", "PUT /api/v1/core/monitor/a%2Fb HTTP/1.1");
        assert_eq!(lines, [login, report, report, report, login, report, report, login]);
        let (first, second) = (heard.borrow()[0].clone(), heard.borrow()[1].clone());
        assert!(first.contains("authorization: Bearer secret\r\n"), "{first}");
        assert!(second.contains("authorization: Bearer a1\r\n") && second.contains("\"proc_states\""), "{second}");
    });
}

#[test]
fn addresses() {
    run(async {
        let answers = vec![ok("192.0.2.7\n"), ok("2001:db8::1"), ok("<html>"), answer("302 Found", "192.0.2.7")];
        let (url, _) = stub(answers).await;
        let client = client();
        assert_eq!(address_client::ask(&client, &url).await.unwrap().to_string(), "192.0.2.7");
        assert_eq!(address_client::ask(&client, &url).await.unwrap().to_string(), "2001:db8::1");
        assert!(matches!(address_client::ask(&client, &url).await, Err(Error::Content(_))));
        assert!(matches!(address_client::ask(&client, &url).await, Err(Error::Status(_))));
        assert!(address_client::ask(&client, "nonsense").await.is_err());
    });
}

#[test]
fn silence_has_a_limit() {
    run(async {
        let (url, _) = stub(vec![None]).await;
        let asked = address_client::ask(&client(), &url).await;
        assert!(matches!(asked, Err(Error::Time)), "{asked:?}");
    });
}

#[test]
fn nobody_is_talked_to_unless_switched_on() {
    let dir = tempfile::tempdir().unwrap();
    let of = |extra: &[(&str, &str)]| {
        let path = dir.path().display();
        let base = [("CORE_CONFIGFILE", format!("{path}/c.json")), ("CORE_STORAGE_DISK_DIR", path.to_string())];
        let fixed = [("CORE_DB_DIR", path.to_string()), ("CORE_FFMPEG_BINARY", "/bin/sh".to_owned())];
        let extra = extra.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let all = base.into_iter().chain(fixed).chain(extra).map(|(name, value)| (name.to_owned(), value));
        let offline = config::Offline::open(config::Environment::new(all, ""), Now::read()).unwrap();
        Section::new(&offline.check(offline.document()).unwrap(), String::new())
    };
    let silent = of(&[]);
    assert_eq!((&silent.update, &silent.service, silent.addresses.len()), (&None, &None, 0));
    let named = of(&[("CORE_HOST_AUTO", "true"), ("CORE_HOST_NAME", "box.example")]);
    assert_eq!(named.addresses.len(), 0, "a box that has a name asks nobody");
    let on = of(&[("CORE_HOST_AUTO", "1"), ("CORE_UPDATE_CHECK", "1"), ("RILL_ADDRESS_URLS", "http://x")]);
    assert_eq!((on.addresses, on.update.is_some()), (vec!["http://x".to_owned()], true));
}
