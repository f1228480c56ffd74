//! Tasks of the one thread, and work beside it (`blocking`).

use std::pin::Pin;

use tokio::task::JoinHandle;

pub mod blocking;

/// Runs `future` as a task of its own. Boxed: else the runtime's code for a task is there once for every call.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let boxed: Pin<Box<dyn Future<Output = T>>> = Box::pin(future);
    #[expect(clippy::disallowed_methods, reason = "the one place that makes tasks")]
    tokio::task::spawn_local(boxed)
}
