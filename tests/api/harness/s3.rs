//! The golden fixture `s3`: a minimal object store with path-style addressing, in threads of its own.
//!
//! Buckets are not told apart and signatures are not checked (`scripts/test-s3` has a server that does); a store with a
//! key refuses requests that carry another access key.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use percent_encoding::percent_decode_str;

/// What the store holds; tests may look at it and change it.
#[derive(Default)]
pub(crate) struct Shelf {
    /// By key, with the second of the last change.
    pub(crate) objects: BTreeMap<String, (Vec<u8>, u64)>,
    /// Parts by upload id.
    pub(crate) uploads: BTreeMap<String, BTreeMap<usize, Vec<u8>>>,
    /// All that was asked for: method and target.
    pub(crate) asked: Vec<String>,
    /// Requests that will be answered with 503 before anything else happens.
    pub(crate) faults: usize,
    /// Uploaded parts from this number on are refused.
    pub(crate) last_part: Option<usize>,
    /// Answers to GET that break off in the middle.
    pub(crate) cuts: usize,
    /// Seconds by which its clock is ahead; requests of another time are refused.
    pub(crate) ahead: Option<u64>,
    is_there: bool,
    last_id: usize,
}

/// Stops when dropped.
pub(crate) struct Store {
    pub(crate) port: u16,
    shelf: Arc<Mutex<Shelf>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    peers: Arc<Mutex<Vec<TcpStream>>>,
}

impl Store {
    /// A store without its bucket that asks for this access key.
    pub(crate) fn empty(port: u16, key: Option<&str>) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let port = listener.local_addr()?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let (shelf, peers): (Arc<Mutex<Shelf>>, Arc<Mutex<Vec<TcpStream>>>) = Default::default();
        let (seen, shared, key, list) = (stop.clone(), shelf.clone(), key.map(str::to_owned), peers.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(stream), shelf, key) = (stream, shared.clone(), key.clone()) else { continue };
                list.lock().expect("no thread panics with it").extend(stream.try_clone());
                // Each ends with its peer, which goes away in the middle as it likes.
                std::thread::spawn(move || drop(serve(stream, &shelf, key.as_deref())));
            }
        });
        Ok(Self { port, shelf, stop, thread: Some(thread), peers })
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Shelf) -> T) -> T {
        look(&mut self.shelf.lock().expect("no thread panics with it"))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the accept call.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        for peer in self.peers.lock().expect("no thread panics with it").iter() {
            let _ = peer.shutdown(std::net::Shutdown::Both);
        }
    }
}

struct Asked {
    method: String,
    key: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn answer(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer { status, headers: Vec::new(), body: body.into() }
}

fn refusal(status: u16, code: &str) -> Answer {
    answer(status, format!("<Error><Code>{code}</Code><Message>the store says no</Message></Error>"))
}

fn serve(stream: TcpStream, shelf: &Mutex<Shelf>, key: Option<&str>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(super::http::TIMEOUT))?;
    let mut reader = BufReader::new(stream);
    while let Some((line, asked)) = read(&mut reader)? {
        let mut shelf = shelf.lock().expect("no thread panics with it");
        shelf.asked.push(line);
        let credential = asked.headers.get("authorization").and_then(|value| value.split("Credential=").nth(1));
        let is_known = key.is_none_or(|key| credential.and_then(|text| text.split('/').next()) == Some(key));
        let answer = if shelf.faults > 0 {
            shelf.faults -= 1;
            refusal(503, "SlowDown")
        } else if let Some(date) = shelf.ahead.and_then(|ahead| skewed(&asked, ahead)) {
            Answer { headers: vec![("Date", date)], ..refusal(403, "RequestTimeTooSkewed") }
        } else if !is_known {
            refusal(403, "InvalidAccessKeyId")
        } else {
            shelf.answer(&asked)
        };
        let is_cut = asked.method == "GET" && !asked.key.is_empty() && shelf.cuts > 0;
        shelf.cuts -= usize::from(is_cut);
        drop(shelf);
        write(reader.get_mut(), &asked.method, answer, is_cut)?;
        if is_cut {
            return reader.get_mut().shutdown(std::net::Shutdown::Both);
        }
    }
    Ok(())
}

/// The date of a store that is `ahead`, if `asked` is of another day.
fn skewed(asked: &Asked, ahead: u64) -> Option<String> {
    let now = std::time::SystemTime::now() + std::time::Duration::from_secs(ahead);
    let date = httpdate::fmt_http_date(now);
    let day = iso(&date)[..10].replace('-', "");
    let is_today = asked.headers.get("x-amz-date").is_some_and(|stamp| stamp.starts_with(&day));
    (!is_today).then_some(date)
}

fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<(String, Asked)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let query = query.map(|(key, value)| (decode(key), decode(value))).collect();
    let key = decode(path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key));
    Ok(Some((format!("{method} {target}"), Asked { method, key, query, headers, body })))
}

fn write(stream: &mut TcpStream, method: &str, answer: Answer, is_cut: bool) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {} Store\r\n", answer.status)?;
    for (name, value) in &answer.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    if answer.status != 204 {
        write!(stream, "Content-Length: {}\r\n", answer.body.len())?;
    }
    stream.write_all(b"\r\n")?;
    if method != "HEAD" {
        let len = answer.body.len();
        stream.write_all(&answer.body[..if is_cut { len / 2 } else { len }])?;
    }
    stream.flush()
}

impl Shelf {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let upload = asked.query.get("uploadId");
        if asked.key.is_empty() && asked.method == "PUT" {
            self.is_there = true;
            return answer(200, "");
        }
        if !self.is_there {
            return refusal(404, "NoSuchBucket");
        }
        match (asked.method.as_str(), upload) {
            _ if asked.key.is_empty() => self.list(asked),
            ("POST", None) => {
                self.last_id += 1;
                let id = format!("u{}", self.last_id);
                self.uploads.insert(id.clone(), BTreeMap::new());
                let xml = "InitiateMultipartUploadResult";
                answer(200, format!("<{xml}><UploadId>{id}</UploadId></{xml}>"))
            }
            ("PUT", Some(id)) => {
                let number = asked.query.get("partNumber").and_then(|number| number.parse().ok()).unwrap_or(0);
                if self.last_part.is_some_and(|last| number > last) {
                    return refusal(500, "InternalError");
                }
                let Some(parts) = self.uploads.get_mut(id) else { return refusal(404, "NoSuchUpload") };
                parts.insert(number, asked.body.clone());
                Answer { headers: vec![("ETag", format!("\"{number}\""))], ..answer(200, "") }
            }
            ("POST", Some(id)) => {
                let Some(parts) = self.uploads.remove(id) else { return refusal(404, "NoSuchUpload") };
                self.store(&asked.key, parts.into_values().flatten().collect());
                answer(200, "<CompleteMultipartUploadResult/>")
            }
            ("DELETE", Some(id)) => match self.uploads.remove(id) {
                Some(_) => answer(204, ""),
                None => refusal(404, "NoSuchUpload"),
            },
            ("PUT", None) => {
                self.store(&asked.key, asked.body.clone());
                answer(200, "")
            }
            ("DELETE", None) => {
                self.objects.remove(&asked.key);
                answer(204, "")
            }
            _ => self.read(asked),
        }
    }

    pub(crate) fn store(&mut self, key: &str, data: Vec<u8>) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        self.objects.insert(key.to_owned(), (data, now));
    }

    /// Pages of two, so that everybody has to follow.
    fn list(&self, asked: &Asked) -> Answer {
        let value = |name: &str| asked.query.get(name).map_or("", String::as_str);
        let (prefix, after) = (value("prefix"), value("continuation-token"));
        let mut rows =
            self.objects.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after).peekable();
        let (mut xml, mut last) = (String::new(), "");
        for (key, (data, time)) in rows.by_ref().take(2) {
            let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(*time));
            let date = iso(&date);
            let size = data.len();
            xml +=
                &format!("<Contents><Key>{key}</Key><LastModified>{date}</LastModified><Size>{size}</Size></Contents>");
            last = key;
        }
        let is_cut = rows.peek().is_some();
        let next =
            if is_cut { format!("<NextContinuationToken>{last}</NextContinuationToken>") } else { String::new() };
        let name = "ListBucketResult";
        answer(200, format!("<{name}><IsTruncated>{is_cut}</IsTruncated>{next}{xml}</{name}>"))
    }

    fn read(&self, asked: &Asked) -> Answer {
        let Some((data, time)) = self.objects.get(&asked.key) else { return refusal(404, "NoSuchKey") };
        let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(*time));
        let mut headers = vec![("Last-Modified", date), ("ETag", format!("\"{time}-{}\"", data.len()))];
        let range = asked.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let range = range.and_then(|(from, to)| Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?)));
        match range {
            Some((from, to)) if from <= to && to < data.len() => {
                headers.push(("Content-Range", format!("bytes {from}-{to}/{}", data.len())));
                Answer { status: 206, headers, body: data[from..=to].to_vec() }
            }
            _ => Answer { headers, ..answer(200, data.clone()) },
        }
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as `1994-11-06T08:49:37.000Z`.
fn iso(date: &str) -> String {
    let words: Vec<&str> = date.split(' ').collect();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|month| *month == words[2]).unwrap_or(0) + 1;
    format!("{}-{month:02}-{}T{}.000Z", words[3], words[1], words[4])
}
