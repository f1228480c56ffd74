//! Aborts on the servers what broke off here, so that no parts stay that nobody sees and somebody pays for.
//!
//! One task for all mounts; it sleeps while there is nothing. What could not be aborted before the daemon ends stays
//! with the server.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tokio::sync::Notify;

use super::ANSWER;
use super::client::{Ask, Client};
use crate::base::backoff::Backoff;
use crate::base::error::chain;
use crate::base::task;

/// Uploads that are remembered; beyond it the oldest is given up.
const LEFTOVERS: usize = 64;
/// A server that is away is asked again for this long.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
const CEILING: Duration = Duration::from_secs(300);
/// How long a stopping daemon waits.
const STOP_TIME: Duration = Duration::from_secs(3);

/// Cheap handle, one for all mounts.
#[derive(Clone, Default)]
pub(super) struct Leftovers(Rc<Inner>);

#[derive(Default)]
struct Inner {
    list: RefCell<VecDeque<Leftover>>,
    /// Uploads in parts that are neither complete nor aborted.
    pending: Cell<usize>,
    added: Rc<Notify>,
    done: Notify,
}

struct Leftover {
    client: Rc<Client>,
    key: String,
    id: String,
    since: Instant,
}

impl Leftovers {
    /// Has them aborted from now on, on the current `LocalSet`.
    pub(super) fn spawn() -> Self {
        let leftovers = Self::default();
        task::spawn(run(Rc::downgrade(&leftovers.0)));
        leftovers
    }

    /// An upload in parts has begun.
    pub(super) fn begin(&self) {
        self.0.pending.set(self.0.pending.get() + 1);
    }

    /// It is complete.
    pub(super) fn end(&self) {
        self.0.end();
    }

    /// It broke off.
    pub(super) fn add(&self, client: Rc<Client>, key: String, id: String) {
        let mut list = self.0.list.borrow_mut();
        if list.len() >= LEFTOVERS {
            list.pop_front().inspect(Leftover::give_up);
            self.0.end();
        }
        list.push_back(Leftover { client, key, id, since: Instant::now() });
        self.0.added.notify_one();
    }

    /// Waits a moment for what is on its way or to be aborted.
    pub(super) async fn settle(&self) {
        let empty = async {
            while self.0.pending.get() > 0 {
                self.0.done.notified().await;
            }
        };
        // Stopping must not hang on a server that is away.
        let _ = tokio::time::timeout(STOP_TIME, empty).await;
    }
}

impl Inner {
    fn end(&self) {
        self.pending.set(self.pending.get() - 1);
        self.done.notify_one();
    }
}

impl Leftover {
    /// Whether it is done with.
    async fn abort(&self) -> bool {
        let query = [("uploadId", self.id.as_str())];
        match self.client.read(&Ask::new(Method::DELETE, &self.key).query(&query), ANSWER).await {
            Ok(_) => true,
            Err(error) if error.is(StatusCode::NOT_FOUND) => true,
            Err(error) => {
                log::debug!(target: "FS", key = self.key; "S3: an upload can't be aborted yet: {}", chain(&error));
                false
            }
        }
    }

    fn give_up(&self) {
        log::warn!(target: "FS", host = self.client.host(), key = self.key, upload = self.id;
            "S3: an upload that broke off can't be aborted, its parts stay on the server");
    }
}

/// Runs until the last handle is gone.
async fn run(inner: Weak<Inner>) {
    let mut backoff = Backoff::default();
    loop {
        let Some(inner) = inner.upgrade() else { return };
        let list = std::mem::take(&mut *inner.list.borrow_mut());
        for leftover in list {
            let is_over = leftover.abort().await;
            if !is_over && leftover.since.elapsed() < PATIENCE {
                inner.list.borrow_mut().push_back(leftover);
                continue;
            }
            if !is_over {
                leftover.give_up();
            }
            inner.end();
        }
        let (added, is_empty) = (inner.added.clone(), inner.list.borrow().is_empty());
        drop(inner);
        if is_empty {
            backoff.reset();
            added.notified().await;
        } else {
            let [jitter] = crate::sys::entropy();
            // Early if there is another one.
            let _ = tokio::time::timeout(backoff.next(CEILING, jitter), added.notified()).await;
        }
    }
}
