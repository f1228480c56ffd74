//! A small blocking HTTP/1.1 client: one connection per request, nothing sent that the caller did not ask for.
//!
//! `Request` → socket → `Response` (length, chunked or until close; gzip undone). It deliberately has no redirects,
//! no cookies and no `Accept` headers, since the golden cases describe exactly what goes over the wire.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::described;

/// Longer than the five seconds that a refused login takes, short enough to notice a hang.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Sent verbatim as the request target.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) chunked: bool,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), ..Self::default() }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    fn head(&self, host: &str) -> Vec<u8> {
        let named = |name: &str| self.headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        if !named("host") {
            head += &format!("Host: {host}\r\n");
        }
        if !named("user-agent") {
            head += "User-Agent: golden\r\n";
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        match &self.body {
            _ if self.chunked => head += "Transfer-Encoding: chunked\r\n",
            Some(body) if !named("content-length") => head += &format!("Content-Length: {}\r\n", body.len()),
            _ => {}
        }
        head += "\r\n";
        head.into_bytes()
    }
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a header; repeated ones are joined with `, `.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> =
            self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("the body is not JSON ({error}): {}", self.text()))
    }
}

/// Sends one request over a connection of its own.
///
/// A body that the server does not want to read to its end is no error: its answer counts. An answer that the API
/// description does not name fails the test.
pub(crate) fn send(address: SocketAddr, request: &Request, timeout: Duration) -> io::Result<Response> {
    exchange(connect(address, timeout)?, &address.to_string(), request)
}

/// As [`send`] over a connection that is there already.
pub(crate) fn exchange(mut stream: impl Read + Write, host: &str, request: &Request) -> io::Result<Response> {
    stream.write_all(&request.head(host))?;
    if request.chunked {
        if let Some(body) = request.body.as_deref().filter(|body| !body.is_empty()) {
            write!(stream, "{:x}\r\n", body.len())?;
            stream.write_all(body)?;
            stream.write_all(b"\r\n")?;
        }
        stream.write_all(b"0\r\n\r\n")?;
    } else if let Some(body) = &request.body {
        match stream.write_all(body) {
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {}
            other => other?,
        }
    }
    let response = read_response(&mut BufReader::new(stream), &request.method)?;
    let fault = described::fault(request, &response, &mut described::Seen::new());
    assert!(
        fault.is_none(),
        "{} {} and the API description: {}",
        request.method,
        request.path,
        fault.unwrap_or_default()
    );
    Ok(response)
}

/// Sends bytes as they are and reads one answer; for requests that no well-behaved client would make.
pub(crate) fn send_raw(address: SocketAddr, bytes: &[u8], timeout: Duration) -> io::Result<Response> {
    let mut stream = connect(address, timeout)?;
    // The server may refuse and close before it has read everything.
    let _ = stream.write_all(bytes);
    read_response(&mut BufReader::new(stream), "GET")
}

pub(crate) fn connect(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one response, leaving the stream at the next one if the connection is kept.
pub(crate) fn read_response(stream: &mut impl BufRead, method: &str) -> io::Result<Response> {
    let (status, headers) = loop {
        let (status, headers) = read_head(stream)?;
        if status >= 200 || status == 101 {
            break (status, headers);
        }
    };
    let mut response = Response { status, headers, body: Vec::new() };
    if method == "HEAD" || status == 204 || status == 304 {
        return Ok(response);
    }
    let chunked = response.header("Transfer-Encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    if chunked {
        response.body = read_chunked(stream)?;
    } else if let Some(length) = response.header("Content-Length") {
        let length = length.parse().map_err(|_| invalid(format!("bad Content-Length {length:?}")))?;
        response.body = vec![0; length];
        stream.read_exact(&mut response.body)?;
    } else {
        stream.read_to_end(&mut response.body)?;
    }
    if response.header("Content-Encoding").as_deref() == Some("gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(response.body.as_slice()).read_to_end(&mut plain)?;
        response.body = plain;
    }
    Ok(response)
}

fn read_head(stream: &mut impl BufRead) -> io::Result<(u16, Vec<(String, String)>)> {
    let line = read_line(stream)?;
    let status = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| invalid(format!("bad status line {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid(format!("bad header line {line:?}")))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_chunked(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let size = line.split(';').next().unwrap_or("").trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| invalid(format!("bad chunk size {line:?}")))?;
        if size == 0 {
            while !read_line(stream)?.is_empty() {}
            return Ok(body);
        }
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        if !read_line(stream)?.is_empty() {
            return Err(invalid("a chunk is longer than announced".to_owned()));
        }
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
    }
    while line.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
