//! Addresses of the hosts that a run speaks to: looked up once, in the background.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::rc::Rc;

use crate::base::blocking::{Blocking, Lane};
use crate::base::task;

/// Hosts of one run that are looked up; further ones are unknown.
const HOSTS: usize = 32;

/// What is known of the hosts of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Rc<RefCell<BTreeMap<Box<str>, Option<IpAddr>>>>);

impl Hosts {
    /// The first address of `host`; `None` while it is looked up, or for ever.
    pub(super) fn resolve(&self, host: &str, blocking: &Blocking) -> Option<IpAddr> {
        if let Ok(address) = host.parse() {
            return Some(address);
        }
        let mut known = self.0.borrow_mut();
        if let Some(found) = known.get(host) {
            return *found;
        }
        if known.len() < HOSTS {
            known.insert(host.into(), None);
            task::spawn(look_up(self.clone(), host.to_owned(), blocking.clone()));
        }
        None
    }
}

async fn look_up(hosts: Hosts, host: String, blocking: Blocking) {
    let name = host.clone();
    let work = move || (name.as_str(), 0).to_socket_addrs().ok().and_then(|mut found| found.next());
    let found = blocking.run(Lane::Dns, work).await;
    hosts.0.borrow_mut().insert(host.into(), found.map(|address| address.ip()));
}
