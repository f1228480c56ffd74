//! Datagrams on their way to the socket, in the order in which they go out.
//!
//! packets → one buffer → trains: runs of equal length to one address, which the kernel cuts apart. The buffer is kept
//! and used again.

use std::net::SocketAddr;

use crate::sys::udp::{TRAIN, Train};

/// Beyond this the outbox is to be emptied before the next connection writes into it.
const FULL: usize = 64 * 1024;
/// Bytes of one train (an IP datagram less its headers).
const TRAIN_BYTES: usize = 64_000;

/// See above.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    to: SocketAddr,
    start: usize,
    end: usize,
    segment: usize,
    /// A shorter datagram is its last.
    is_closed: bool,
}

impl Outbox {
    /// Adds the packet that `write` appends.
    pub(super) fn add(&mut self, to: SocketAddr, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let (end, length) = (self.bytes.len(), self.bytes.len() - start);
        let fits = |run: &&mut Run| {
            let is_next = run.to == to && !run.is_closed && length <= run.segment;
            is_next && run.end - run.start + length <= TRAIN_BYTES && (run.end - run.start) / run.segment < TRAIN
        };
        match self.runs.last_mut().filter(fits) {
            Some(run) => {
                run.end = end;
                run.is_closed = length < run.segment;
            }
            None => self.runs.push(Run { to, start, end, segment: length.max(1), is_closed: length == 0 }),
        }
        &self.bytes[start..]
    }

    pub(super) fn trains(&self) -> Vec<Train<'_>> {
        let train = |run: &Run| Train { to: run.to, bytes: &self.bytes[run.start..run.end], segment: run.segment };
        self.runs.iter().map(train).collect()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    /// Length and segment of each train.
    fn shape(packets: &[(u16, usize)]) -> Vec<(u16, usize, usize)> {
        let mut outbox = Outbox::default();
        for (port, length) in packets {
            outbox.add(at(*port), |bytes| bytes.resize(bytes.len() + length, 1));
        }
        outbox.trains().iter().map(|train| (train.to.port(), train.bytes.len(), train.segment)).collect()
    }

    #[test]
    fn equal_packets_to_one_address_make_a_train() {
        assert_eq!(shape(&[(1, 100), (1, 100), (1, 40), (1, 40)]), [(1, 240, 100), (1, 40, 40)]);
        assert_eq!(shape(&[(1, 100), (2, 100), (1, 100)]), [(1, 100, 100), (2, 100, 100), (1, 100, 100)]);
        assert_eq!(shape(&[(1, 40), (1, 100)]), [(1, 40, 40), (1, 100, 100)]);
    }

    #[test]
    fn trains_are_bounded() {
        let trains = shape(&[(1, 100); 2 * TRAIN]);
        assert_eq!(trains, [(1, 6400, 100), (1, 6400, 100)]);
        assert!(shape(&[(1, 1316); 60]).iter().all(|(_, length, _)| *length <= TRAIN_BYTES));
    }

    #[test]
    fn it_is_used_again() {
        let mut outbox = Outbox::default();
        outbox.add(at(1), |bytes| bytes.resize(FULL, 1));
        assert!(outbox.is_full());
        outbox.clear();
        assert!(outbox.is_empty() && !outbox.is_full() && outbox.trains().is_empty());
    }
}
