//! Owner of the certificates: loads them, watches what can change, puts new ones in force.
//!
//! One task while TLS is on: files are looked at every `LOOK_INTERVAL`, the box's own certificate every
//! `DEVICE_INTERVAL`; with an authority `acme_driver` joins it. Off: nothing runs, nothing is held.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::ProducesTickets;
use tokio::task::JoinHandle;

use super::acme_client::Challenges;
use super::acme_driver::{self, Authority};
use super::certs::{self, Certs};
use super::pem_driver::{self, Loaded};
use super::validity::Validity;
use super::{Section, Source};
use crate::base::alarm::Alarms;
use crate::base::blocking::{Blocking, Lane};
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::base::https_client::Client;
use crate::base::task;
use crate::base::tree;

/// Certificate files are looked at this often.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Names and addresses of the box, and the end of its own certificate, are looked at this often.
pub(super) const DEVICE_INTERVAL: Duration = Duration::from_secs(60);

const COMPONENT: &str = "TLS";
/// Alarm keys.
const FILES: &str = "tls.cert_file";
const DEVICE: &str = "device";

/// What the owner works with.
#[derive(Clone)]
pub struct Deps {
    pub blocking: Blocking,
    pub alarms: Alarms,
    /// Speaks to the certificate authority.
    pub client: Client,
}

/// Cheap handle.
#[derive(Clone)]
pub struct Handle(Rc<Owner>);

/// The certificates, shared with their task.
pub(super) struct Owner {
    pub(super) deps: Deps,
    pub(super) challenges: Challenges,
    certs: RefCell<Certs>,
    config: RefCell<Option<Arc<ServerConfig>>>,
    /// Sealed with the same keys whatever the certificate, so that sessions continue.
    ticketer: RefCell<Option<Arc<dyn ProducesTickets>>>,
    section: RefCell<Option<Section>>,
    task: RefCell<Option<JoinHandle<()>>>,
}

/// Certificates for `section`, or none while TLS is off. Once it returns there is one to serve with.
pub async fn spawn(section: Option<Section>, deps: Deps) -> Handle {
    let handle = Handle(Rc::new(Owner {
        deps,
        challenges: Challenges::default(),
        certs: RefCell::default(),
        config: RefCell::default(),
        ticketer: RefCell::default(),
        section: RefCell::default(),
        task: RefCell::default(),
    }));
    handle.reconfigure(section).await;
    handle
}

impl Handle {
    /// What the next connection is served with; `None` while TLS is off.
    pub fn server_config(&self) -> Option<Arc<ServerConfig>> {
        self.0.config.borrow().clone()
    }

    /// What a certificate authority wants to read below `/.well-known/acme-challenge/` on the plain listener.
    pub fn challenge(&self, path: &str) -> Option<String> {
        if self.0.challenges.is_empty() {
            return None;
        }
        self.0.challenges.answer(path.strip_prefix("/.well-known/acme-challenge/")?)
    }

    /// Puts another section in force; an unchanged one changes nothing.
    pub async fn reconfigure(&self, section: Option<Section>) {
        let owner = &self.0;
        if *owner.section.borrow() == section {
            return;
        }
        self.end();
        let former = owner.section.replace(section.clone());
        owner.clear_alarms(former.as_ref());
        let Some(section) = section else {
            owner.config.replace(None);
            owner.certs.replace(Certs::default());
            return;
        };
        let begun = owner.begin(&section).await;
        let follower = owner.clone();
        let task = task::spawn(async move { follower.follow(section, begun).await });
        owner.task.replace(Some(task));
    }

    /// Ends the task; what is in force stays.
    pub fn end(&self) {
        if let Some(task) = self.0.task.take() {
            task.abort();
        }
    }
}

/// Names, each with what is known of its stored certificate.
pub(super) type Known = Vec<(String, Option<Validity>)>;

/// What a section begins with.
struct Begun {
    mark: pem_driver::Mark,
    /// With an authority: what is stored of it.
    authority: Option<(Authority, Known)>,
}

impl Owner {
    async fn begin(&self, section: &Section) -> Begun {
        let mut begun = Begun { mark: [None; 2], authority: None };
        let mut certs = Certs::default();
        match &section.source {
            Source::Device => {}
            Source::Files { cert, key } => {
                begun.mark = self.mark(cert, key).await;
                certs.files = self.load(cert, key).await.map(|loaded| loaded.pair);
            }
            Source::Acme { email, directory } => {
                let authority = Authority::new(email, directory, &section.names, &section.dir);
                let stored = acme_driver::stored(self, &authority).await;
                let known = stored
                    .iter()
                    .map(|(name, loaded)| (name.clone(), loaded.as_ref().and_then(|loaded| loaded.validity)));
                begun.authority = Some((authority, known.collect()));
                let now = Now::read().unix();
                let valid = stored
                    .into_iter()
                    .filter_map(|(name, loaded)| Some((name, loaded?)))
                    .filter(|(_, loaded)| loaded.validity.is_some_and(|validity| now < validity.not_after));
                certs.names = tree::map(valid.map(|(name, loaded)| (name, loaded.pair)));
            }
        }
        self.certs.replace(certs);
        if self.needs_device() {
            self.look_at_device(section).await;
        }
        self.publish();
        begun
    }

    async fn follow(&self, section: Section, begun: Begun) {
        let watch = self.watch(&section, begun.mark);
        match begun.authority {
            Some((authority, known)) => {
                tokio::join!(watch, acme_driver::run(self, &authority, known));
            }
            None => watch.await,
        }
    }

    async fn watch(&self, section: &Section, mut mark: pem_driver::Mark) {
        let files = match &section.source {
            Source::Files { cert, key } => Some((cert, key)),
            _ => None,
        };
        let mut device_looked = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(if files.is_some() { LOOK_INTERVAL } else { DEVICE_INTERVAL }).await;
            if let Some((cert, key)) = files {
                let seen = self.mark(cert, key).await;
                if seen != mark {
                    mark = seen;
                    self.reload(section, cert, key).await;
                }
            }
            if self.needs_device() && device_looked.elapsed() >= DEVICE_INTERVAL {
                device_looked = tokio::time::Instant::now();
                if self.look_at_device(section).await {
                    self.publish();
                }
            }
        }
    }

    /// The files have changed.
    async fn reload(&self, section: &Section, cert: &Path, key: &Path) {
        if let Some(loaded) = self.load(cert, key).await {
            log::info!(target: COMPONENT, file = cert.display().to_string().as_str(); "The certificate has been reloaded");
            self.certs.borrow_mut().files = Some(loaded.pair);
        } else if self.needs_device() {
            self.look_at_device(section).await;
        }
        self.publish();
    }

    /// Whether somebody may have to be served with the box's own certificate.
    fn needs_device(&self) -> bool {
        self.certs.borrow().files.is_none()
    }

    async fn mark(&self, cert: &Path, key: &Path) -> pem_driver::Mark {
        let (cert, key) = (cert.to_owned(), key.to_owned());
        self.deps.blocking.run(Lane::General, move || pem_driver::mark(&cert, &key)).await
    }

    async fn load(&self, cert: &Path, key: &Path) -> Option<Loaded> {
        let (cert_file, key_file) = (cert.to_owned(), key.to_owned());
        let loaded = self.deps.blocking.run(Lane::General, move || pem_driver::load(&cert_file, &key_file)).await;
        match loaded {
            Ok(loaded) => {
                self.deps.alarms.clear(COMPONENT, FILES);
                Some(loaded)
            }
            Err(error) => {
                let serves = match self.certs.borrow().files {
                    Some(_) => "the former one serves",
                    None => "the box's own serves",
                };
                let text =
                    format!("The certificate can't be used ({}); {serves} until the files are right", chain(&error));
                self.deps.alarms.raise(Now::read(), COMPONENT, FILES, text);
                None
            }
        }
    }

    /// Whether the box's own certificate is another one now.
    async fn look_at_device(&self, section: &Section) -> bool {
        let (path, names, now) = (section.dir.join("device.pem"), section.names.clone(), Now::read());
        let look = move || pem_driver::device(&path, &pem_driver::own_names(&names), now);
        let (is_new, fault) = match self.deps.blocking.run(Lane::General, look).await {
            Ok((loaded, fault)) => {
                let former = self.certs.borrow_mut().device.replace(loaded.pair.clone());
                (former.is_none_or(|former| former.cert != loaded.pair.cert), fault)
            }
            Err(error) => (false, Some(error)),
        };
        match fault {
            None => self.deps.alarms.clear(COMPONENT, DEVICE),
            Some(error) => {
                let text = format!("The box's own certificate is not stored: {}", chain(&error));
                self.deps.alarms.raise(now, COMPONENT, DEVICE, text);
            }
        }
        is_new
    }

    /// A certificate for one name has come.
    pub(super) fn put_name(&self, name: &str, loaded: Loaded) {
        self.certs.borrow_mut().names.insert(name.to_owned(), loaded.pair);
        self.publish();
    }

    /// The certificate for one name has expired.
    pub(super) fn drop_name(&self, name: &str) {
        let former = self.certs.borrow_mut().names.remove(name);
        if former.is_some() {
            self.publish();
        }
    }

    fn publish(&self) {
        let ticketer = self.ticketer.borrow().clone();
        let ticketer = ticketer.map_or_else(rustls::crypto::ring::Ticketer::new, Ok);
        let config = ticketer.and_then(|ticketer| {
            self.ticketer.replace(Some(ticketer.clone()));
            certs::server_config(self.certs.borrow().clone(), &ticketer)
        });
        match config {
            Ok(config) => {
                self.config.replace(Some(config));
            }
            Err(error) => log::error!(target: COMPONENT, "TLS can't be used: {error}"),
        }
    }

    fn clear_alarms(&self, former: Option<&Section>) {
        self.deps.alarms.clear(COMPONENT, FILES);
        self.deps.alarms.clear(COMPONENT, DEVICE);
        for name in former.map_or(&[][..], |section| &section.names) {
            acme_driver::clear(&self.deps.alarms, name);
        }
    }
}
