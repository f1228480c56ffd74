//! The certificates in force, and which of them a client gets.
//!
//! Built anew for every change, so that nothing is shared that would have to be locked.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{HTTP_1, HTTP_2};

/// Certificates by what they are for.
#[derive(Clone, Debug, Default)]
pub(super) struct Certs {
    /// From the configured files: for everybody.
    pub(super) files: Option<Arc<CertifiedKey>>,
    /// From the certificate authority, by name in lower case.
    pub(super) names: BTreeMap<String, Arc<CertifiedKey>>,
    /// Signed by the box itself: for whoever asks for anything else.
    pub(super) device: Option<Arc<CertifiedKey>>,
}

impl Certs {
    /// The certificate for a client that asks for `name`.
    pub(super) fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| self.names.get(&name.to_ascii_lowercase()));
        // Who names nothing has dialled an address, which only the box's own certificate can name.
        named.or(self.files.as_ref()).or(self.device.as_ref()).or_else(|| self.names.values().next()).cloned()
    }
}

impl ResolvesServerCert for Certs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

/// TLS 1.2 and 1.3 with these certificates. Sessions are resumed by tickets, nothing is kept for absent clients.
///
/// # Errors
/// The cryptography offers no protocol version.
pub(super) fn server_config(
    certs: Certs,
    ticketer: &Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(certs));
    config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ticketer.clone();
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
