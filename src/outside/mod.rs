//! The only code that speaks to hosts that nobody configured: update check, service reporting, the box's address as
//! others see it. All of it is off unless switched on (`update_check`, `service.enable`, `host.auto`).
//!
//! section → one task for each that is on → `https_client` → what was learned, for `/api`, `/api/v3/config` and the log.
//! Nothing waits for it: not the start, not a reload. Every request has a time limit, every answer a bound, every failure
//! a growing delay. `facts` and `schedule` are pure; `*_client` do the talking.

mod address_client;
mod exchange_client;
mod facts;
mod schedule;
mod service_client;
#[cfg(test)]
mod tests;
mod update_client;

use std::cell::RefCell;
use std::rc::Rc;

use tokio::task::JoinHandle;

use crate::base::alarm::Alarms;
use crate::base::https_client::Client;
use crate::base::task;
use crate::config::{self, Config};

pub use exchange_client::{ANSWER, LIMIT};
pub use facts::{Facts, Observe, Share, States};

/// Whom to talk to about what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The box's id, as both services know it.
    id: String,
    /// In the form of the reference: `linux/arm64`.
    architecture: String,
    /// Where to ask for the newest version.
    update: Option<String>,
    /// Where to report to, and with which token.
    service: Option<(String, String)>,
    /// Who tells the address that the box has outside.
    addresses: Vec<String>,
}

impl Section {
    pub fn new(config: &Config, architecture: String) -> Self {
        let asks_address = config.host.auto && config.host.names.is_empty();
        Self {
            id: config.id.clone(),
            architecture,
            update: config.update_check.then(|| config.rill.update_url.clone()),
            service: config.service.enable.then(|| (config.service.url.clone(), config.service.token.clone())),
            addresses: if asks_address { config.rill.address_urls.clone() } else { Vec::new() },
        }
    }
}

/// What the tasks work with.
#[derive(Clone)]
pub struct Deps {
    pub alarms: Alarms,
    pub client: Client,
    pub config: config::Handle,
    pub observe: Observe,
}

/// Cheap handle. Dropping the last one ends the talking.
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

struct Inner {
    deps: Deps,
    section: RefCell<Section>,
    news: News,
    tasks: RefCell<Vec<JoinHandle<()>>>,
}

/// The newest version that was heard of, if it is newer than this one.
type News = Rc<RefCell<Option<String>>>;

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.borrow_mut().drain(..).for_each(|task| task.abort());
    }
}

/// Starts what `section` switches on.
pub fn spawn(section: Section, deps: Deps) -> Handle {
    let inner = Inner { deps, section: RefCell::default(), news: News::default(), tasks: RefCell::default() };
    let handle = Handle(Rc::new(inner));
    handle.configure(section);
    handle
}

impl Handle {
    /// Puts another section in force; what did not change goes on.
    pub fn configure(&self, section: Section) {
        let inner = &self.0;
        if *inner.section.borrow() == section {
            return;
        }
        inner.tasks.borrow_mut().drain(..).for_each(|task| task.abort());
        inner.deps.alarms.clear(service_client::COMPONENT, service_client::ALARM);
        inner.deps.config.show_addresses(Vec::new());
        if section.update.is_none() {
            inner.news.take();
        }
        let mut tasks = Vec::new();
        if let Some(url) = section.update.clone() {
            let check = update_client::run(url, section.clone(), inner.deps.clone(), inner.news.clone());
            tasks.push(task::spawn(check));
        }
        if let Some((url, token)) = section.service.clone() {
            let report = service_client::run(url, token, section.id.clone(), inner.deps.clone());
            tasks.push(task::spawn(report));
        }
        if !section.addresses.is_empty() {
            tasks.push(task::spawn(address_client::run(section.addresses.clone(), inner.deps.clone())));
        }
        inner.tasks.replace(tasks);
        inner.section.replace(section);
    }

    /// The newest version, while it is newer than this one.
    pub fn newer_version(&self) -> Option<String> {
        self.0.news.borrow().clone()
    }
}
