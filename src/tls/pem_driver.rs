//! Certificates and keys on disk: chains with their key, the device certificate, the box's addresses. Blocks: callers
//! are on a blocking lane.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rcgen::KeyPair;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::device;
use super::validity::Validity;
use crate::base::clock::Now;
use crate::base::file_driver::{self, Previous};

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    File(#[from] file_driver::Error),
    #[error("{} is not there", .0.display())]
    Missing(PathBuf),
    #[error("{} holds no certificate", .0.display())]
    Certificate(PathBuf, #[source] pem::Error),
    #[error("{} holds no private key", .0.display())]
    Key(PathBuf, #[source] pem::Error),
    #[error("certificate and key can't be used together")]
    Pair(#[source] rustls::Error),
    #[error("no certificate can be made")]
    Make(#[from] rcgen::Error),
}

/// A chain with its key, ready to be served.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) pair: Arc<CertifiedKey>,
    pub(super) validity: Option<Validity>,
}

/// What tells whether files have changed: time and size of each.
pub(super) type Mark = [Option<(SystemTime, u64)>; 2];

pub(super) fn mark(cert: &Path, key: &Path) -> Mark {
    [cert, key].map(|path| {
        let entry = fs::metadata(path).ok()?;
        Some((entry.modified().ok()?, entry.len()))
    })
}

/// Reads a chain and its key; the same file may hold both.
pub(super) fn load(cert: &Path, key: &Path) -> Result<Loaded, Error> {
    let read = |path: &Path| file_driver::read(path)?.ok_or_else(|| Error::Missing(path.to_owned()));
    let chain: Result<Vec<CertificateDer<'static>>, pem::Error> =
        CertificateDer::pem_slice_iter(&read(cert)?).collect();
    let chain = chain.map_err(|source| Error::Certificate(cert.to_owned(), source))?;
    if chain.is_empty() {
        return Err(Error::Certificate(cert.to_owned(), pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|source| Error::Key(key.to_owned(), source))?;
    pair(chain, key)
}

fn pair(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Loaded, Error> {
    let validity = chain.first().and_then(|leaf| Validity::of(leaf));
    let provider = rustls::crypto::ring::default_provider();
    let pair = CertifiedKey::from_der(chain, key, &provider).map_err(Error::Pair)?;
    Ok(Loaded { pair: Arc::new(pair), validity })
}

/// Keeps a chain with its key for the next start.
pub(super) fn store(path: &Path, key: &str, chain: &str) -> Result<(), Error> {
    Ok(file_driver::replace(path, format!("{key}{chain}").as_bytes(), Previous::Leave)?)
}

/// The certificate that the box signs itself, made anew if the one in `path` does not serve any more. The key stays.
/// A disk that takes no writes costs only that: the certificate lasts until the next start. The second part says so.
pub(super) fn device(path: &Path, names: &[String], now: Now) -> Result<(Loaded, Option<Error>), Error> {
    if let Ok(stored) = load(path, path)
        && stored.pair.cert.first().is_some_and(|leaf| device::is_good(leaf, names, now.unix()))
    {
        return Ok((stored, None));
    }
    let key = stored_key(path).map_or_else(KeyPair::generate, Ok)?;
    let certificate = device::sign(&key, names, device::validity(now.unix()))?;
    let text = encode(&certificate);
    let fault = store(path, &key.serialize_pem(), &text).err();
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("rcgen writes PKCS #8");
    Ok((pair(vec![certificate], key)?, fault))
}

fn stored_key(path: &Path) -> Option<KeyPair> {
    let bytes = file_driver::read(path).ok()??;
    let key = PrivateKeyDer::from_pem_slice(&bytes).ok()?;
    KeyPair::try_from(key.secret_der()).ok()
}

/// PEM (RFC 7468).
fn encode(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
}

/// What the box is called and where it can be reached.
pub(super) fn own_names(configured: &[String]) -> Vec<String> {
    let system = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let address = |interface: nix::ifaddrs::InterfaceAddress| -> Option<IpAddr> {
        Some(interface.address?.as_sockaddr_in()?.ip().into())
    };
    let addresses: Vec<IpAddr> = interfaces.filter_map(address).collect();
    device::names(system.as_deref(), configured, &addresses)
}
