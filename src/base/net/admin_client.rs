//! Asks the root helper: one line to its socket, one line back (`admin/server`).

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Where `rill-admin.socket` listens.
pub const SOCKET: &str = "/run/rill-admin.sock";
/// As long as the helper waits for what it runs, and more.
const TIME: Duration = Duration::from_secs(90);
/// Bytes of an answer that are read.
const ANSWER_BYTES: u64 = 2048;

/// Why the helper has done nothing, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the root helper is not installed or not switched on (systemctl enable --now rill-admin.socket)")]
    Absent,
    #[error("the root helper at {path} can't be reached")]
    Unreachable { path: PathBuf, source: io::Error },
    #[error("the root helper did not answer within {} seconds", TIME.as_secs())]
    Silent,
    #[error("the root helper ended without an answer; its journal (journalctl -u 'rill-admin*') may say why")]
    NoAnswer,
    #[error("{0}")]
    Refused(String),
}

/// Cheap handle to where the helper is.
#[derive(Clone)]
pub struct Admin(Rc<Path>);

impl Admin {
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self(socket.into().into())
    }

    /// Has `request` done; what the helper says to it.
    ///
    /// # Errors
    /// It was refused or failed, or nobody is there.
    pub async fn ask(&self, request: &str) -> Result<String, Error> {
        let answer = tokio::time::timeout(TIME, self.exchange(request)).await.map_err(|_| Error::Silent)??;
        match answer.strip_suffix('\n').map(|line| line.split_once(' ').unwrap_or((line, ""))) {
            Some(("ok", text)) => Ok(text.to_owned()),
            Some(("error", text)) => Err(Error::Refused(text.to_owned())),
            _ => Err(Error::NoAnswer),
        }
    }

    async fn exchange(&self, request: &str) -> Result<String, Error> {
        let mut stream = match UnixStream::connect(&self.0).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::Absent),
            Err(source) => return Err(Error::Unreachable { path: self.0.to_path_buf(), source }),
            Ok(stream) => stream,
        };
        // One that refuses at once may not take it, but has answered.
        let _ = stream.write_all(format!("{request}\n").as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.take(ANSWER_BYTES).read_to_end(&mut answer).await;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}
