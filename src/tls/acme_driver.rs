//! Obtains and renews certificates from an authority in the background, and keeps them for the next start.
//!
//! stored certificates → `acme::Plan` → `acme_client` → disk → certificates in force. The start waits for none of it. A
//! name without a certificate is served with the box's own meanwhile, and an alarm stands until it has one.

use std::path::{Path, PathBuf};

use instant_acme::{Account, AccountCredentials};

use super::acme::{Plan, Step};
use super::acme_client::{self, Error, Issued};
use super::driver::{Known, Owner};
use super::pem_driver::{self, Loaded};
use crate::base::alarm::Alarms;
use crate::base::blocking::Lane;
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::base::file_driver::{self, Previous};
use crate::sys;

const COMPONENT: &str = "Let's Encrypt";

/// One authority and what is stored of it.
pub(super) struct Authority {
    pub(super) email: String,
    pub(super) directory: String,
    pub(super) names: Vec<String>,
    /// Of this authority alone.
    dir: PathBuf,
}

impl Authority {
    pub(super) fn new(email: &str, directory: &str, names: &[String], dir: &Path) -> Self {
        let host = directory.split("://").last().and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let mut names: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.dedup();
        Self { email: email.to_owned(), directory: directory.to_owned(), names, dir: dir.join(file_name(host)) }
    }

    fn certificate(&self, host: &str) -> PathBuf {
        self.dir.join(format!("{}.pem", file_name(host)))
    }

    fn account(&self) -> PathBuf {
        self.dir.join("account.json")
    }
}

/// Ends the complaints about `name`.
pub(super) fn clear(alarms: &Alarms, name: &str) {
    alarms.clear(COMPONENT, &name.to_ascii_lowercase());
}

/// What may stand in a file name, of a host name and port.
fn file_name(host: &str) -> String {
    host.chars().map(|c| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' }).collect()
}

/// The stored certificates of the authority's names.
pub(super) async fn stored(owner: &Owner, authority: &Authority) -> Vec<(String, Option<Loaded>)> {
    let places: Vec<_> = authority.names.iter().map(|name| (name.clone(), authority.certificate(name))).collect();
    let read = move || places.into_iter().map(|(name, path)| (name, pem_driver::load(&path, &path).ok())).collect();
    owner.deps.blocking.run(Lane::General, read).await
}

/// Obtains what is missing, renews what is due, for ever.
pub(super) async fn run(owner: &Owner, authority: &Authority, known: Known) {
    let [jitter] = sys::entropy();
    for (host, _) in known.iter().filter(|(_, validity)| validity.is_none()) {
        let text = format!("{host} has no certificate yet, the box's own serves meanwhile; it is being obtained");
        owner.deps.alarms.raise(Now::read(), COMPONENT, host, text);
    }
    let mut plan = Plan::new(known, jitter);
    let mut account = None;
    loop {
        match plan.next(Now::read()) {
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::Obtain(host) => match obtain(owner, authority, &mut account, &host).await {
                Ok(loaded) => {
                    log::info!(target: COMPONENT, name = host.as_str(); "A certificate has been obtained");
                    plan.obtained(&host, loaded.validity);
                    owner.deps.alarms.clear(COMPONENT, &host);
                    owner.put_name(&host, loaded);
                }
                Err(error) => {
                    let [jitter] = sys::entropy();
                    let now = Now::read();
                    let pause = plan.failed(now, &host, error.failure(), jitter);
                    let serves = match plan.is_valid(now, &host) {
                        true => "the former one serves meanwhile",
                        false => {
                            owner.drop_name(&host);
                            "the box's own serves meanwhile"
                        }
                    };
                    let text = format!(
                        "{host} gets no certificate: {}; {serves}, next attempt in {} s",
                        chain(&error),
                        pause.as_secs()
                    );
                    owner.deps.alarms.raise(now, COMPONENT, &host, text);
                }
            },
        }
    }
}

/// Why a certificate is not there.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Acme(#[from] Error),
    #[error("what the authority sent can't be used")]
    Unusable(#[from] pem_driver::Error),
}

impl Fault {
    fn failure(&self) -> super::acme::Failure {
        match self {
            Self::Acme(error) => error.failure(),
            Self::Unusable(_) => super::acme::Failure::Refused,
        }
    }
}

async fn obtain(
    owner: &Owner,
    authority: &Authority,
    account: &mut Option<Account>,
    host: &str,
) -> Result<Loaded, Fault> {
    let opened = match account.take() {
        Some(account) => account,
        None => open_account(owner, authority, Stored::Used).await?,
    };
    let issued = match acme_client::obtain(&opened, host, &owner.challenges).await {
        Err(error) if error.is_unknown_account() => {
            let fresh = open_account(owner, authority, Stored::Forgotten).await?;
            acme_client::obtain(account.insert(fresh), host, &owner.challenges).await
        }
        issued => {
            *account = Some(opened);
            issued
        }
    };
    let Issued { key, chain } = issued?;
    let path = authority.certificate(host);
    let keep = move || {
        pem_driver::store(&path, &key, &chain)?;
        pem_driver::load(&path, &path)
    };
    Ok(owner.deps.blocking.run(Lane::General, keep).await?)
}

/// Whether the account of an earlier run serves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stored {
    Used,
    /// The authority does not know it any more.
    Forgotten,
}

async fn open_account(owner: &Owner, authority: &Authority, stored: Stored) -> Result<Account, Error> {
    let (path, blocking) = (authority.account(), &owner.deps.blocking);
    let file = path.clone();
    let bytes = blocking.run(Lane::General, move || file_driver::read(&file).ok().flatten()).await;
    let known: Option<AccountCredentials> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let known = known.filter(|_| stored == Stored::Used);
    let (account, credentials) =
        acme_client::account(&owner.deps.client, &authority.directory, &authority.email, known).await?;
    if let Some(credentials) = credentials {
        let bytes = serde_json::to_vec(&credentials).expect("credentials are plain text");
        let keep = move || file_driver::replace(&path, &bytes, Previous::Leave);
        if let Err(error) = blocking.run(Lane::General, keep).await {
            log::warn!(target: COMPONENT, "The account is not stored: {}", chain(&error));
        }
    }
    Ok(account)
}
