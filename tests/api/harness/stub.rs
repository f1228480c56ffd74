//! The golden fixture `http`: a canned server with exact routes, in a thread of its own.
//!
//! It answers one request per connection; whatever matches no route gets 599.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;

/// Stops and joins its thread when dropped.
pub(crate) struct Stub {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stub {
    /// `routes` as in the golden format: `method`, `path`, `status` and optionally `content_type`, `type`, `body`.
    pub(crate) fn start(port: u16, routes: Vec<Value>) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let port = listener.local_addr()?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::Acquire) {
                    return;
                }
                // A peer that goes away in the middle is its own problem.
                let _ = stream.and_then(|stream| answer(stream, &routes));
            }
        });
        Ok(Self { port, stop, thread: Some(thread) })
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the accept call.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(stream: TcpStream, routes: &[Value]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(super::http::TIMEOUT))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let (mut length, mut content_type) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "content-type" => content_type = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let found = routes.iter().find(|route| {
        route["method"] == method.as_str()
            && route["path"] == path.as_str()
            && (route["content_type"].is_null() || route["content_type"] == content_type.as_str())
    });
    let (status, kind, text) = match found {
        None => (599, "text/plain", format!("no stub route for {method} {path}")),
        Some(route) => {
            let text = match &route["body"] {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            let text = text.replace("${REQUEST_BODY}", &String::from_utf8_lossy(&body));
            let kind = route["type"].as_str().unwrap_or("text/plain");
            (route["status"].as_u64().unwrap_or(200), kind, text.replace("${REQUEST_PATH}", &path))
        }
    };
    let stream = reader.get_mut();
    let length = text.len();
    write!(stream, "HTTP/1.1 {status} Stub\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n")?;
    write!(stream, "Connection: close\r\n\r\n{text}")
}
