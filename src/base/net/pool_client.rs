//! Connections at rest, at most as many as its owner allows; the oldest makes way, and none rests longer than `REST_TIME`.

use std::cell::RefCell;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::body_client::Upload;
use super::https_client::Target;

/// A connection, and what TLS needs, is kept this long for the next request, at most twice as long.
pub(super) const REST_TIME: Duration = Duration::from_secs(15);

/// A connection to one host; closed when dropped.
pub(super) struct Line {
    pub(super) sender: SendRequest<Upload>,
    task: JoinHandle<()>,
    target: Target,
    rests_since: Instant,
}

impl Line {
    pub(super) fn new(sender: SendRequest<Upload>, task: JoinHandle<()>, target: Target) -> Self {
        Self { sender, task, target, rests_since: Instant::now() }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) struct Pool {
    lines: RefCell<Vec<Line>>,
    bound: usize,
}

impl Pool {
    pub(super) fn new(bound: usize) -> Self {
        Self { lines: RefCell::default(), bound }
    }

    /// The connection to `target` that was used last.
    pub(super) fn take(&self, target: &Target) -> Option<Line> {
        let mut lines = self.lines.borrow_mut();
        lines.retain(|line| !line.sender.is_closed());
        let at = lines.iter().rposition(|line| line.target == *target && line.sender.is_ready())?;
        Some(lines.remove(at))
    }

    pub(super) fn put(&self, mut line: Line) {
        if self.bound == 0 || line.sender.is_closed() {
            return;
        }
        line.rests_since = Instant::now();
        let mut lines = self.lines.borrow_mut();
        if lines.len() >= self.bound {
            lines.remove(0);
        }
        lines.push(line);
    }

    pub(super) fn close_old(&self, now: Instant) {
        let is_kept =
            |line: &mut Line| !line.sender.is_closed() && now.saturating_duration_since(line.rests_since) < REST_TIME;
        self.lines.borrow_mut().retain_mut(is_kept);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.borrow().is_empty()
    }
}
