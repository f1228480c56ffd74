//! What the HTTP server has done, counted where it happens: a few cells that server and monitor share.

use std::cell::Cell;
use std::rc::Rc;

/// Status codes from `FIRST` on are counted each for itself.
const CODES: usize = 500;
const FIRST: usize = 100;

/// Cheap handle to the counters. One thread adds, the same one reads.
#[derive(Clone)]
pub struct Requests(Rc<Counters>);

struct Counters {
    /// Answers by status code.
    by_code: Box<[Cell<u64>]>,
    received: Cell<u64>,
    sent: Cell<u64>,
    connections: Cell<usize>,
    refused: Cell<u64>,
}

impl Default for Requests {
    fn default() -> Self {
        Self(Rc::new(Counters {
            by_code: vec![Cell::new(0); CODES].into(),
            received: Cell::new(0),
            sent: Cell::new(0),
            connections: Cell::new(0),
            refused: Cell::new(0),
        }))
    }
}

impl Requests {
    /// An answer has begun.
    pub fn answered(&self, code: u16) {
        if let Some(count) = usize::from(code).checked_sub(FIRST).and_then(|code| self.0.by_code.get(code)) {
            count.set(count.get() + 1);
        }
    }

    /// An exchange is over: bytes of its bodies.
    pub fn moved(&self, received: u64, sent: u64) {
        self.0.received.set(self.0.received.get().saturating_add(received));
        self.0.sent.set(self.0.sent.get().saturating_add(sent));
    }

    /// There are `count` connections now.
    pub fn connected(&self, count: usize) {
        self.0.connections.set(count);
    }

    /// A peer found no place.
    pub fn refused(&self) {
        self.0.refused.set(self.0.refused.get() + 1);
    }

    /// Codes that were answered, and how often.
    pub fn by_code(&self) -> Vec<(usize, u64)> {
        let counts = self.0.by_code.iter().enumerate().map(|(index, count)| (FIRST + index, count.get()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    pub fn received(&self) -> u64 {
        self.0.received.get()
    }

    pub fn sent(&self) -> u64 {
        self.0.sent.get()
    }

    pub fn connections(&self) -> usize {
        self.0.connections.get()
    }

    pub fn refusals(&self) -> u64 {
        self.0.refused.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let requests = Requests::default();
        for code in [200, 404, 200, 99, 600, 599, 100] {
            requests.answered(code);
        }
        assert_eq!(requests.by_code(), [(100, 1), (200, 2), (404, 1), (599, 1)]);
        requests.moved(3, u64::MAX);
        requests.moved(1, 1);
        assert_eq!((requests.received(), requests.sent()), (4, u64::MAX));
        requests.moved(u64::from(u32::MAX), 0);
        assert_eq!(requests.received(), (1 << 32) + 3);
    }
}
