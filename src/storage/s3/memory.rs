//! The memory of all uploads to S3 together: taken as bytes arrive, given back as they are sent.
//!
//! One upload at a time has the turn: a reserve that fits a whole part. Whatever the others hold, it can fill its part,
//! send it and give everything back, so uploads that wait for each other always end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that all uploads may hold, without the reserve of one part.
const UPLOADS: usize = 24 * 1024 * 1024;
/// Bytes taken at once.
const UNIT: usize = 64 * 1024;
/// An upload that gets no memory for this long is refused.
pub(super) const BUFFER_WAIT: Duration = Duration::from_secs(60);

/// Cheap handle, one for all mounts.
#[derive(Clone)]
pub(super) struct Memory {
    units: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    patience: Duration,
}

/// What one part holds; given back when dropped.
#[derive(Default)]
pub(super) struct Held {
    units: Option<OwnedSemaphorePermit>,
    turn: Option<OwnedSemaphorePermit>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            units: Arc::new(Semaphore::new(UPLOADS / UNIT)),
            turn: Arc::new(Semaphore::new(1)),
            patience: BUFFER_WAIT,
        }
    }
}

impl Memory {
    /// Extends `held` so that it covers `bytes`; false if none came free in time.
    pub(super) async fn cover(&self, held: &mut Held, bytes: usize) -> bool {
        let has = held.units.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(UNIT).saturating_sub(has);
        if more == 0 || held.turn.is_some() {
            return true;
        }
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let units = match self.units.clone().try_acquire_many_owned(more) {
            Ok(units) => units,
            Err(_) => {
                let wait = async {
                    tokio::select! {
                        units = self.units.clone().acquire_many_owned(more) => units.map(Ok),
                        turn = self.turn.clone().acquire_owned() => turn.map(Err),
                    }
                };
                match tokio::time::timeout(self.patience, wait).await {
                    Ok(Ok(Ok(units))) => units,
                    Ok(Ok(Err(turn))) => {
                        held.turn = Some(turn);
                        return true;
                    }
                    Ok(Err(_)) | Err(_) => return false,
                }
            }
        };
        match &mut held.units {
            Some(all) => all.merge(units),
            none => *none = Some(units),
        }
        true
    }

    #[cfg(test)]
    pub(super) fn is_free(&self) -> bool {
        self.units.available_permits() == UPLOADS / UNIT && self.turn.available_permits() == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::s3::upload::PART;

    #[test]
    fn uploads_that_wait_for_each_other_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let memory = Memory::default();
            let upload = |memory: Memory| async move {
                for _ in 0..3 {
                    let mut held = Held::default();
                    for bytes in (0..=PART).step_by(UNIT / 2) {
                        assert!(memory.cover(&mut held, bytes).await, "no memory for {bytes}");
                        tokio::task::yield_now().await;
                    }
                }
            };
            futures_util::future::join_all((0..20).map(|_| upload(memory.clone()))).await;
            assert!(memory.is_free());
        });
    }

    #[test]
    fn who_holds_everything_makes_others_wait_and_be_refused() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let memory = Memory { patience: Duration::from_millis(10), ..Memory::default() };
            let (mut all, mut reserve, mut late) = (Held::default(), Held::default(), Held::default());
            assert!(memory.cover(&mut all, UPLOADS).await);
            assert!(memory.cover(&mut reserve, 1).await, "the turn is free");
            assert!(memory.cover(&mut reserve, PART).await, "and holds a whole part");
            assert!(!memory.cover(&mut late, 1).await);
            let waiting = memory.cover(&mut late, UNIT);
            drop(all);
            assert!(waiting.await);
        });
    }
}
