//! Reload and shutdown requests, sent up to `app`.

use tokio::sync::mpsc;

/// Requests waiting for `app`. Reload is single flight: one that finds the queue full joins those waiting.
pub const CONTROL_QUEUE: usize = 4;

/// What `app` is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Read the configuration again and hand changed sections down.
    Reload,
    /// Stop everything in reverse order and end the daemon.
    Shutdown,
}

/// Sending half; cheap to clone, never waits.
#[derive(Clone)]
pub struct Sender(mpsc::Sender<Control>);

impl Sender {
    /// Asks `app`; a full queue already holds the same wish, so it is not an error.
    pub fn send(&self, request: Control) {
        if self.0.try_send(request).is_err() {
            log::debug!(target: "Core", "a {request:?} request is already waiting");
        }
    }
}

/// The pair that `app` makes at start.
pub fn channel() -> (Sender, mpsc::Receiver<Control>) {
    let (tx, rx) = mpsc::channel(CONTROL_QUEUE);
    (Sender(tx), rx)
}
