//! Tasks of the one thread, and work beside it (`blocking`).

use std::pin::Pin;

use tokio::task::JoinHandle;

pub mod blocking;

/// A task that ends with its owner.
pub struct Owned(JoinHandle<()>);

impl Owned {
    pub fn spawn(future: impl Future<Output = ()> + 'static) -> Self {
        Self(spawn(future))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs `future` as a task of its own. Boxed: else the runtime's code for a task is there once for every call.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let boxed: Pin<Box<dyn Future<Output = T>>> = Box::pin(future);
    #[expect(clippy::disallowed_methods, reason = "the one place that makes tasks")]
    tokio::task::spawn_local(boxed)
}
