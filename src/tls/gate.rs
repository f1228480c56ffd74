//! Who may be in a handshake, so that neither floods nor stalled ones hold the others up.
//!
//! peer → one of the few places of its address, then one of all. Who waits is under the time-out of its server.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use rustls::ServerConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Handle;

/// Handshakes at once; further peers wait in order.
const HANDSHAKES: usize = 64;
/// Handshakes at once with one address; further ones of it wait in order.
const HANDSHAKES_PER_ADDRESS: usize = 16;
/// Addresses without a handshake that are remembered.
const IDLE_ADDRESSES: usize = 64;

/// The way in through TLS.
pub(crate) struct Gate {
    tls: Handle,
    places: Arc<Semaphore>,
    /// Of the addresses that are in a handshake.
    addresses: RefCell<BTreeMap<IpAddr, Weak<Semaphore>>>,
}

impl Gate {
    pub(crate) fn new(tls: Handle) -> Self {
        Self { tls, places: Arc::new(Semaphore::new(HANDSHAKES)), addresses: RefCell::default() }
    }

    /// What the next connection is served with; `None` while TLS is off.
    pub(crate) fn server_config(&self) -> Option<Arc<ServerConfig>> {
        self.tls.server_config()
    }

    /// One of the places of `peer`, then one of all.
    pub(crate) async fn place(&self, peer: IpAddr) -> [OwnedSemaphorePermit; 2] {
        let own = self.own_places(peer).acquire_owned().await.expect("never closed");
        let common = self.places.clone().acquire_owned().await.expect("never closed");
        [own, common]
    }

    fn own_places(&self, peer: IpAddr) -> Arc<Semaphore> {
        let mut addresses = self.addresses.borrow_mut();
        if addresses.len() > IDLE_ADDRESSES + HANDSHAKES {
            addresses.retain(|_, places| places.strong_count() > 0);
        }
        let known = addresses.get(&peer).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let places = Arc::new(Semaphore::new(HANDSHAKES_PER_ADDRESS));
            addresses.insert(peer, Arc::downgrade(&places));
            places
        })
    }
}
