//! Free loopback ports for the daemons under test.
//!
//! They are taken below the range from which the kernel serves outgoing connections, so that no client socket takes one
//! between the check and the daemon's bind.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;

const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;

static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// The first of `span` consecutive ports that are free for TCP and UDP and were not given out before.
pub(crate) fn free_port(span: u16) -> u16 {
    let mut given = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let given = given.get_or_insert_default();
    // Test binaries that run side by side start at different places.
    let slots = u32::from(LAST - FIRST - span);
    let offset = std::process::id().wrapping_mul(61) % slots;
    for step in 0..slots {
        let first = FIRST + u16::try_from((offset + step) % slots).expect("slots fit into the range");
        let mut wanted = first..first + span;
        if wanted.clone().all(|port| !given.contains(&port)) && wanted.all(is_free) {
            given.extend(first..first + span);
            return first;
        }
    }
    panic!("no {span} free loopback ports between {FIRST} and {LAST}");
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
