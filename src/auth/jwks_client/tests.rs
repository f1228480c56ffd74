//! A tenant on loopback behind a certificate of a test authority, valid for a hundred years.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::base::blocking::Blocking;
use crate::base::https_client::Times;
use crate::base::task;

use super::*;

const AUTHORITY: &str = "\
MIIBejCCASGgAwIBAgIUBysKW60x+fko3B4Qv6AAjYoYNEYwCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHVGVzdCBDQTAgFw0yNjEx\
MjExMzQwMzJaGA8yMTI2MTAyODEzNDAzMlowEjEQMA4GA1UEAwwHVGVzdCBDQTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFGa\
qH9DM21ADj8wvgEoLuh7Ga8bqhHE/4yiVjirD7g0tC6QKcpqNLmxy//d8mdWhcEB+GT3oRQEi0F1Ohfvo6ijUzBRMB0GA1UdDgQW\
BBQb9wuM1kpny6+KMsfVnBoMNVkpTTAfBgNVHSMEGDAWgBQb9wuM1kpny6+KMsfVnBoMNVkpTTAPBgNVHRMBAf8EBTADAQH/MAoG\
CCqGSM49BAMCA0cAMEQCIGJBudUicPtpbgw+cFzAO6/RT5stlAXCSvkKnCl4hSfmAiAjdZ9T++RxfwKpyORNwR9GLoT8u8tpgZvb\
7ySgrI+ZVw==";
const CERTIFICATE: &str = "\
MIIBjjCCATOgAwIBAgIUfsjyxN8ycB/VEoJXAiO//6Vxj/wwCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHVGVzdCBDQTAgFw0yNjEx\
MjExMzQwMzJaGA8yMTI2MTAyODEzNDAzMlowFDESMBAGA1UEAwwJbG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\
VMfPa7XaPHDenP5oHDEAW7mUzRHlwwdPuuzFf9ZU0ER/EKqVYR4tvHN1ZYIqurYuqQyXdwtIc6cJh1CPaZtaSKNjMGEwFAYDVR0R\
BA0wC4IJbG9jYWxob3N0MAkGA1UdEwQCMAAwHQYDVR0OBBYEFGO2PQgtFn5hvpAo9Eq8xAhPFpKGMB8GA1UdIwQYMBaAFBv3C4zW\
SmfLr4oyx9WcGgw1WSlNMAoGCCqGSM49BAMCA0kAMEYCIQC8kcBj9i0kyFhcZgle3nw6c6kKuLd4BOoePC1x6QxYyAIhAJGmgfYO\
/n9f9iVJnwJZBzYs5BhobGNCX050AqB5Wjg3";
const KEY: &str = "\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg7zYOCYVXacv0jMyD5TeDTzsVBm2A4CyErqAoFnWoUfChRANCAARU\
x89rtdo8cN6c/mgcMQBbuZTNEeXDB0+67MV/1lTQRH8QqpVhHi28c3Vlgiq6ti6pDJd3C0hzpwmHUI9pm1pI";
const KEYS: &str = r#"{"keys":[{"alg":"RS256","kty":"RSA","use":"sig","n":"AQAB","e":"AQAB","kid":"one"}]}"#;

fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).expect("base64")
}

fn trusting_the_authority() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(decode(AUTHORITY))).expect("a certificate");
    roots
}

fn client(roots: RootCertStore) -> Client {
    Client::trusting(roots, Blocking::default(), Times::default())
}

async fn fetch_from(port: u16, roots: RootCertStore) -> Result<KeySet, Error> {
    fetch(&format!("localhost:{port}"), &client(roots)).await
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// Answers one request with `answer`; the port, and what it was asked.
async fn tenant(answer: String) -> (u16, JoinHandle<String>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(decode(CERTIFICATE))],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(decode(KEY))),
        )
        .expect("a certificate and its key");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let served = task::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return String::new() };
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("a request"));
        }
        stream.write_all(answer.as_bytes()).await.expect("a client that listens");
        // The client may have gone with what it wanted.
        let _ = stream.shutdown().await;
        String::from_utf8(request).expect("text")
    });
    (port, served)
}

fn response(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn keys_come_over_tls() {
    run(async {
        let (port, served) = tenant(response("200 OK", KEYS)).await;
        let keys = fetch_from(port, trusting_the_authority()).await.expect("keys");
        assert!(keys.find("one").is_some());
        let request = served.await.expect("served");
        assert!(request.starts_with("GET /.well-known/jwks.json HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: localhost:{port}\r\n")), "{request}");
    });
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    run(async {
        let (port, _served) = tenant(response("200 OK", KEYS)).await;
        let result = fetch_from(port, RootCertStore::empty()).await;
        assert!(matches!(result, Err(Error::Client(https_client::Error::Handshake { .. }))), "{result:?}");
    });
}

#[test]
fn answers_that_are_no_keys_are_refused() {
    run(async {
        let ask = async |answer: String| {
            let (port, _served) = tenant(answer).await;
            fetch_from(port, trusting_the_authority()).await.expect_err("no keys")
        };
        assert!(matches!(ask(response("404 Not Found", KEYS)).await, Error::Status(_)));
        assert!(matches!(ask(response("302 Found", KEYS)).await, Error::Status(_)));
        assert!(matches!(ask(response("200 OK", "{}")).await, Error::Json(_)));
        assert!(matches!(
            ask(response("200 OK", &" ".repeat(DOCUMENT + 1))).await,
            Error::Client(https_client::Error::Large(_))
        ));
        assert!(matches!(ask("garbage".to_owned()).await, Error::Client(https_client::Error::Http(_))));
    });
}

#[test]
fn an_unreachable_tenant_raises_an_alarm_and_leaves_no_keys() {
    run(async {
        let alarms = Alarms::default();
        let keys = spawn(vec!["no host name!".to_owned()], &client(RootCertStore::empty()), &alarms);
        while alarms.list().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(alarms.list()[0].text.contains("no host name!"));
        assert!(keys.with("no host name!", |set| set.is_none()));
    });
}
