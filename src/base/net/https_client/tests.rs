//! Against plain sockets on loopback that answer with given bytes; TLS is tested where keys are fetched.

use std::convert::Infallible;

use futures_util::stream;
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::base::task;

const SHORT: Times =
    Times { connect: Duration::from_secs(5), answer: Duration::from_millis(200), idle: Duration::from_millis(200) };
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

fn client(resting: usize) -> Client {
    Client::new(Blocking::default(), Times::default(), resting)
}

fn get(address: &str) -> Request<Empty<Bytes>> {
    Request::get(address).body(Empty::new()).expect("an address")
}

/// Reads to the end of a head.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a request"));
    }
    String::from_utf8(head).expect("text")
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    (listener, address)
}

/// Answers every request with `OK`; counts connections.
fn answer_all(listener: TcpListener) -> Rc<Cell<usize>> {
    let count: Rc<Cell<usize>> = Rc::default();
    let counted = count.clone();
    task::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.set(counted.get() + 1);
            task::spawn(async move {
                while stream.readable().await.is_ok() && stream.peek(&mut [0]).await.is_ok_and(|n| n > 0) {
                    read_head(&mut stream).await;
                    stream.write_all(OK).await.expect("a client");
                }
            });
        }
    });
    count
}

async fn text(response: Response<Download>) -> Bytes {
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().read(100).await.expect("a body")
}

#[test]
fn addresses_name_their_target() {
    #[track_caller]
    fn check(address: &str, expected: Option<(&str, u16, &str)>) {
        let target = Target::of(&address.parse().expect("a Uri")).ok();
        let shown = target.as_ref().map(|target| (target.host.as_str(), target.port, target.host_header()));
        let expected = expected.map(|(host, port, header)| (host, port, HeaderValue::from_str(header).unwrap()));
        assert_eq!(shown, expected);
    }
    check("http://box", Some(("box", 80, "box")));
    check("https://box:443/x?y", Some(("box", 443, "box")));
    check("https://box:80", Some(("box", 80, "box:80")));
    check("http://user:word@box:81/", Some(("box", 81, "box:81")));
    check("http://[::1]:81/", Some(("::1", 81, "[::1]:81")));
    check("ftp://box/", None);
    check("/path", None);
}

#[test]
fn one_connection_serves_many_requests_if_asked_to() {
    run(async {
        for (resting, expected) in [(0, 3), (1, 1)] {
            let (listener, address) = listener().await;
            let count = answer_all(listener);
            let client = client(resting);
            for _ in 0..3 {
                assert_eq!(text(client.send(get(&address)).await.expect("an answer")).await, "ok");
                // The connection notices the end of the answer.
                tokio::task::yield_now().await;
            }
            assert_eq!(count.get(), expected);
        }
    });
}

#[test]
fn a_resting_connection_that_was_closed_is_replaced() {
    run(async {
        let (listener, address) = listener().await;
        let server = task::spawn(async move {
            for _ in 0..3 {
                let (mut stream, _) = listener.accept().await.expect("a client");
                read_head(&mut stream).await;
                stream.write_all(OK).await.expect("a client");
            }
        });
        let client = client(4);
        for _ in 0..3 {
            assert_eq!(text(client.send(get(&address)).await.expect("an answer")).await, "ok");
            while !client.0.pool.is_empty()
                && client.0.pool.take(&Target::of(&address.parse().unwrap()).unwrap()).is_some()
            {
                tokio::task::yield_now().await;
            }
        }
        server.await.expect("served");
    });
}

#[test]
fn the_pool_is_bounded_and_forgets() {
    run(async {
        let client = client(2);
        for _ in 0..3 {
            let (listener, address) = listener().await;
            answer_all(listener);
            text(client.send(get(&address)).await.expect("an answer")).await;
        }
        let later = Instant::now() + REST_TIME;
        assert!(!client.0.pool.is_empty());
        assert!(!client.0.forget_old(later), "nothing is left");
        assert!(client.0.pool.is_empty());
    });
}

#[test]
fn a_body_streams_both_ways() {
    run(async {
        let (listener, address) = listener().await;
        let server = task::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let head = read_head(&mut stream).await;
            let mut body = Vec::new();
            while !body.ends_with(b"0\r\n\r\n") {
                body.push(stream.read_u8().await.expect("a body"));
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.expect("a client");
            for _ in 0..3 {
                stream.write_all(b"2\r\nok\r\n").await.expect("a client");
                tokio::task::yield_now().await;
            }
            stream.write_all(b"0\r\n\r\n").await.expect("a client");
            (head, body)
        });
        // Each piece comes later than the time-out for the answer: a source that waits is no peer that hangs.
        let pieces = stream::unfold(0, |count| async move {
            tokio::time::sleep(SHORT.answer * 2).await;
            (count < 2).then(|| (Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"piece"))), count + 1))
        });
        let request = Request::put(&address).body(StreamBody::new(pieces)).expect("an address");
        let client = Client::new(Blocking::default(), SHORT, 0);
        assert_eq!(text(client.send(request).await.expect("an answer")).await, "okokok");
        let (head, body) = server.await.expect("served");
        assert!(head.starts_with("PUT / HTTP/1.1\r\n") && head.contains("transfer-encoding: chunked\r\n"), "{head}");
        assert_eq!(String::from_utf8(body).expect("text"), "5\r\npiece\r\n5\r\npiece\r\n0\r\n\r\n");
    });
}

#[test]
fn a_peer_that_says_nothing_more_is_left() {
    run(async {
        let (listener, address) = listener().await;
        task::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                if read_head(&mut stream).await.contains("/half") {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await.expect("a client");
                }
                held.push(stream);
            }
        });
        let client = Client::new(Blocking::default(), SHORT, 4);
        let error = client.send(get(&format!("{address}/silent"))).await.err().expect("no answer");
        assert!(matches!(error, Error::Time { act: "the answer", .. }), "{error:?}");
        let response = client.send(get(&format!("{address}/half"))).await.expect("a head");
        let error = response.into_body().read(100).await.expect_err("no end");
        assert!(matches!(error, Error::Time { .. }), "{error:?}");
        assert!(client.0.pool.is_empty(), "what was left half read is not used again");
    });
}

#[test]
fn broken_answers_are_errors() {
    run(async {
        let ask = async |answer: &'static [u8]| {
            let (listener, address) = listener().await;
            task::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("a client");
                read_head(&mut stream).await;
                stream.write_all(answer).await.expect("a client");
            });
            client(4).send(get(&address)).await?.into_body().read(4).await
        };
        assert_eq!(ask(OK).await.expect("an answer"), "ok");
        assert!(matches!(ask(b"").await, Err(Error::Http(_))));
        assert!(matches!(ask(b"garbage\r\n\r\n").await, Err(Error::Http(_))));
        assert!(matches!(ask(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok").await, Err(Error::Http(_))));
        assert!(matches!(ask(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlarge").await, Err(Error::Large(4))));
    });
}

#[test]
fn nobody_there() {
    run(async {
        let (listener, address) = listener().await;
        drop(listener);
        let error = client(0).send(get(&address)).await.err().expect("no answer");
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        let request =
            Request::put("http://name.invalid/").body(Full::new(Bytes::from_static(b"x"))).expect("an address");
        let error = client(0).send(request.map(|body| body.boxed_unsync())).await.err().expect("no answer");
        assert!(matches!(error, Error::Resolve { .. }), "{error:?}");
    });
}

#[test]
fn the_systems_roots_make_a_client() {
    assert!(client_config(system_roots()).is_ok());
}
