//! Uploads and removals: the request's body goes to the file system piece by piece, all or nothing.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::base::clock::Now;
use crate::hls;
use crate::http::body::Body;
use crate::http::error::storage::{incomplete, refused, unknown_mount};
use crate::http::hls::Publishing;
use crate::http::request::target;
use crate::http::response::{self, Answer, Response};
use crate::http::{Error, Request};
use crate::media::Repairs;
use crate::media::ts::{Run, Stream};
use crate::memfs::{self, Committed, Writer};
use crate::storage::{self, Live, Mount};

/// Bytes per second that an upload delivers at least, on average.
pub(super) const MIN_UPLOAD_RATE: u64 = 256;
/// Time before `MIN_UPLOAD_RATE` is judged: an encoder may need it for its first segment.
pub(super) const UPLOAD_GRACE: Duration = Duration::from_secs(60);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");

/// Stores the body as `path`; `publishing` hears of its pieces.
///
/// # Errors
/// 400, 404, 408, 5xx: the file stays as it was.
pub(super) async fn write(
    storage: &storage::Handle,
    req: Request,
    mount: &str,
    path: &str,
    publishing: Option<&mut Publishing>,
) -> Answer {
    let mount = storage.mount(mount).ok_or_else(|| unknown_mount(mount))?;
    let announced = req.body.size_hint().exact();
    let mut pieces = Pieces { body: req.body, begun: Instant::now(), received: 0, publishing };
    let is_new = match mount {
        Mount::Mem(mem) => {
            let fault = |error: memfs::Error| refused(&error.into(), path);
            if announced.is_some_and(|size| size > mem.usage().bound) {
                return Err(fault(memfs::Error::TooBig));
            }
            let writer = mem.create(path).map_err(fault)?;
            let mut playlist = Playlist::of(&writer);
            let mut repaired = Repaired::new(writer);
            while let Some(piece) = pieces.next().await? {
                let Some(piece) = playlist.as_mut().map_or(Some(piece.clone()), |it| it.hold(piece)) else { continue };
                playlist = None;
                repaired.append(storage.repairs(), piece).map_err(fault)?;
            }
            if let Some(playlist) = playlist {
                let content = playlist.resumed(storage.live(), repaired.writer.path());
                repaired.append(storage.repairs(), content).map_err(fault)?;
            }
            repaired.commit(Now::read()).map_err(fault)?.created
        }
        Mount::Disk(disk) => {
            let fault = |error: storage::Error| refused(&error, path);
            let mut writer = disk.create(path).await.map_err(fault)?;
            while let Some(piece) = pieces.next().await? {
                writer.append(&piece).await.map_err(fault)?;
            }
            let committed = writer.commit().await;
            storage.cache().invalidate(path);
            committed.map_err(fault)?
        }
        Mount::S3(s3) => {
            let fault = |error: storage::S3Error| refused(&error.into(), path);
            let writer = s3.create(path, announced).await.map_err(fault)?;
            let mut writer = writer.ok_or_else(|| refused(&storage::Error::NoName, path))?;
            while let Some(piece) = pieces.next().await? {
                writer.append(&piece).await.map_err(fault)?;
            }
            let committed = writer.commit().await;
            storage.cache().invalidate(&s3.cache_name(path));
            committed.map_err(fault)?
        }
    };
    let mut response = response::empty(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT });
    if is_new {
        response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    }
    if let Ok(target) = HeaderValue::from_str(target(&req.uri)) {
        response.headers_mut().insert(header::CONTENT_LOCATION, target);
    }
    Ok(response)
}

/// Removes the file `path`.
///
/// # Errors
/// 404, 5xx.
pub(super) async fn remove(storage: &storage::Handle, mount: &str, path: &str) -> Answer {
    let removed = match storage.mount(mount).ok_or_else(|| unknown_mount(mount))? {
        Mount::Mem(mem) => mem.remove(path).then_some(()).ok_or(storage::Error::NotFound),
        Mount::Disk(disk) => {
            let removed = disk.remove(path).await;
            storage.cache().invalidate(path);
            removed
        }
        Mount::S3(s3) => {
            let removed = s3.remove(path).await;
            storage.cache().invalidate(&s3.cache_name(path));
            removed
                .map_err(storage::Error::from)
                .and_then(|was_there| was_there.then_some(()).ok_or(storage::Error::NotFound))
        }
    };
    removed.map_err(|error| refused(&error, path))?;
    let mut response = Response::new(response::full(format!("Deleted: {path}")));
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    Ok(response)
}

/// A playlist that a process writes, held until it is whole.
struct Playlist {
    run: u64,
    text: Vec<u8>,
}

impl Playlist {
    /// `None`: it is none, or nobody's whose runs are known.
    fn of(writer: &Writer) -> Option<Self> {
        let is_playlist = hls::Kind::of(writer.path()) == hls::Kind::Playlist;
        writer.run().filter(|_| is_playlist).map(|run| Self { run, text: Vec::new() })
    }

    /// Takes a piece; gives all back if it is too long for a playlist.
    fn hold(&mut self, piece: Bytes) -> Option<Bytes> {
        self.text.extend_from_slice(&piece);
        let is_too_long = self.text.len() as u64 > hls::PLAYLIST_BYTES;
        is_too_long.then(|| std::mem::take(&mut self.text).into())
    }

    /// What viewers are to see.
    fn resumed(self, live: &Live, name: &str) -> Bytes {
        live.resume(name, self.run, &self.text).map_or_else(|| self.text.into(), Bytes::from)
    }
}

/// A file in memory on its way through the repair, if it is a segment.
struct Repaired {
    writer: Writer,
    stream: Option<Stream>,
    runs: Vec<Run>,
}

impl Repaired {
    fn new(writer: Writer) -> Self {
        Self { writer, stream: None, runs: Vec::new() }
    }

    fn append(&mut self, repairs: &Repairs, piece: Bytes) -> Result<(), memfs::Error> {
        if self.writer.written() == 0 && self.stream.is_none() {
            self.stream = repairs.upload(self.writer.path(), &piece);
        }
        let Some(stream) = &mut self.stream else { return self.writer.append(&piece) };
        stream.push(piece, &mut self.runs);
        self.write()
    }

    fn commit(mut self, now: Now) -> Result<Committed, memfs::Error> {
        if let Some(mut stream) = self.stream.take() {
            stream.finish(&mut self.runs);
            self.write()?;
        }
        self.writer.commit(now)
    }

    fn write(&mut self) -> Result<(), memfs::Error> {
        self.runs.drain(..).try_for_each(|run| self.writer.append(&run.bytes))
    }
}

struct Pieces<'a> {
    body: Body,
    begun: Instant,
    received: u64,
    publishing: Option<&'a mut Publishing>,
}

impl Pieces<'_> {
    /// The next bytes; `None` when the upload is complete.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(frame) = self.body.frame().await {
            let Ok(piece) = frame.map_err(|error| incomplete(&error))?.into_data() else { continue };
            self.received += piece.len() as u64;
            if is_too_slow(self.begun.elapsed(), self.received) {
                let text = format!("an upload delivers at least {MIN_UPLOAD_RATE} bytes a second");
                return Err(incomplete(&io::Error::new(io::ErrorKind::TimedOut, text)));
            }
            if let Some(publishing) = &mut self.publishing {
                publishing.piece(&piece);
            }
            return Ok(Some(piece));
        }
        Ok(None)
    }
}

fn is_too_slow(age: Duration, received: u64) -> bool {
    age > UPLOAD_GRACE && received < MIN_UPLOAD_RATE * age.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dribbling_uploads_end() {
        let check = |seconds, received| is_too_slow(Duration::from_secs(seconds), received);
        assert!(!check(60, 0));
        assert!(check(61, 1000));
        assert!(!check(1000, 256_000));
        assert!(check(1000, 255_999));
    }
}
