//! Work that may block over a millisecond (disk, DNS), on few short-lived threads with bounded queues.
//!
//! Three lanes on one pool of `THREADS`: the store has a thread of its own, DNS at most one, the rest is general.
//! A lane that is full makes its callers wait in order; nothing is dropped.

use std::rc::Rc;

use tokio::sync::Semaphore;

/// Threads of the runtime's blocking pool: one store, one DNS, two general.
pub const THREADS: usize = 4;
/// Stack of a blocking thread.
pub const THREAD_STACK: usize = 256 * 1024;
const GENERAL_THREADS: usize = 2;

/// Which threads may do the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Store,
    Dns,
    General,
}

/// Cheap handle to the three lanes. Made once by `app`.
#[derive(Clone)]
pub struct Blocking(Rc<Lanes>);

struct Lanes {
    store: Semaphore,
    dns: Semaphore,
    general: Semaphore,
}

impl Default for Blocking {
    fn default() -> Self {
        Self(Rc::new(Lanes {
            store: Semaphore::new(1),
            dns: Semaphore::new(1),
            general: Semaphore::new(GENERAL_THREADS),
        }))
    }
}

impl Blocking {
    /// Runs `work` on a thread of `lane` and returns its result. A panic in `work` continues in the caller.
    /// The work finishes even when the caller stops waiting.
    pub async fn run<T: Send + 'static>(&self, lane: Lane, work: impl FnOnce() -> T + Send + 'static) -> T {
        let permits = match lane {
            Lane::Store => &self.0.store,
            Lane::Dns => &self.0.dns,
            Lane::General => &self.0.general,
        };
        let permit = permits.acquire().await.expect("the lanes are never closed");
        #[expect(clippy::disallowed_methods, reason = "the one place that bounds the blocking threads")]
        let result = tokio::task::spawn_blocking(work).await;
        drop(permit);
        match result {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
