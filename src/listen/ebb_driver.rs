//! Gives memory back when a crowd has left.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::base::task;
use crate::sys::memory;

/// Connections; what fewer of them leave behind is not worth the work.
const CROWD: usize = 64;
/// From the moment that a half has left; others follow, and are counted in.
const AFTER: Duration = Duration::from_secs(1);

/// The connections of one server, by their number. Freed memory lies between what is still in use, where the allocator
/// keeps it until it is told otherwise.
#[derive(Default)]
pub(crate) struct Ebb {
    now: Cell<usize>,
    /// Since memory was given back.
    most: Cell<usize>,
    is_due: Cell<bool>,
}

impl Ebb {
    /// There are `count` connections now.
    pub(crate) fn set(self: &Rc<Self>, count: usize) {
        self.now.set(count);
        self.most.set(self.most.get().max(count));
        if self.most.get() < CROWD || count > self.most.get() / 2 || self.is_due.replace(true) {
            return;
        }
        let ebb = self.clone();
        task::spawn(async move {
            tokio::time::sleep(AFTER).await;
            ebb.is_due.set(false);
            ebb.most.set(ebb.now.get());
            memory::trim();
        });
    }
}
