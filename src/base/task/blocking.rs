//! Work that may block over a millisecond (disk, DNS), on few short-lived threads with bounded queues.
//!
//! Three lanes on one pool of `THREADS`: the store has a thread of its own, DNS at most one, the rest is general.
//! A lane that is full makes its callers wait in order; nothing is dropped. A place is given back when its work has
//! ended, not when its caller stops waiting: a name that nobody waits for any more must not take the store's thread.

use std::rc::Rc;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

/// Threads of the runtime's blocking pool: one store, one DNS, two general.
pub const THREADS: usize = 4;
/// Stack of a blocking thread.
pub const THREAD_STACK: usize = 256 * 1024;
const GENERAL_THREADS: usize = 2;
const ALONE: &str = "nobody panics while the value is put down";

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
    store: Arc<Semaphore>,
    dns: Arc<Semaphore>,
    general: Arc<Semaphore>,
}

impl Default for Blocking {
    fn default() -> Self {
        Self(Rc::new(Lanes {
            store: Arc::new(Semaphore::new(1)),
            dns: Arc::new(Semaphore::new(1)),
            general: Arc::new(Semaphore::new(GENERAL_THREADS)),
        }))
    }
}

impl Blocking {
    /// How many may work in a lane at once, and how many more could now.
    pub fn places(&self, lane: Lane) -> (usize, usize) {
        let places = if lane == Lane::General { GENERAL_THREADS } else { 1 };
        (places, self.lane(lane).available_permits())
    }

    fn lane(&self, lane: Lane) -> &Arc<Semaphore> {
        match lane {
            Lane::Store => &self.0.store,
            Lane::Dns => &self.0.dns,
            Lane::General => &self.0.general,
        }
    }

    /// Runs `work` on a thread of `lane` and returns its result. A panic in `work` continues in the caller.
    /// The work finishes even when the caller stops waiting.
    pub async fn run<T: Send + 'static>(&self, lane: Lane, work: impl FnOnce() -> T + Send + 'static) -> T {
        let permit = self.lane(lane).clone().acquire_owned().await.expect("the lanes are never closed");
        let result = Arc::new(Mutex::new(None));
        let place = result.clone();
        // Boxed: else the runtime's code for a task is there once for every caller.
        let work: Box<dyn FnOnce() + Send> = Box::new(move || {
            let _permit = permit;
            let value = work();
            *place.lock().expect(ALONE) = Some(value);
        });
        #[expect(clippy::disallowed_methods, reason = "the one place that bounds the blocking threads")]
        let ended = tokio::task::spawn_blocking(work).await;
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
        let value = result.lock().expect(ALONE).take();
        value.expect("work that has ended without a panic left its value")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn work_that_nobody_waits_for_keeps_its_place() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let blocking = Blocking::default();
            let (release, held) = mpsc::channel::<()>();
            let hanging = blocking.run(Lane::Dns, move || held.recv());
            assert!(tokio::time::timeout(Duration::from_millis(10), hanging).await.is_err(), "given up");
            assert_eq!(blocking.0.dns.available_permits(), 0);
            assert_eq!(blocking.run(Lane::Store, || 1).await, 1);
            release.send(()).unwrap();
            assert_eq!(blocking.run(Lane::Dns, || 2).await, 2);
        });
    }

    #[test]
    fn a_panic_gives_the_place_back() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let blocking = Blocking::default();
            let work = std::panic::AssertUnwindSafe(blocking.run(Lane::Store, || panic!("on purpose")));
            assert!(futures_util::FutureExt::catch_unwind(work).await.is_err());
            assert_eq!(blocking.run(Lane::Store, || 1).await, 1);
        });
    }
}
