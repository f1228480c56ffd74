//! A small blocking TLS client that believes every certificate and shows it, and certificates for the daemon to serve.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Writes a fresh self-signed certificate for `names` and its key; the certificate.
pub(crate) fn write_certificate(cert: &Path, key: &Path, names: &[&str]) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    std::fs::write(key, made.signing_key.serialize_pem()).expect("written");
    std::fs::write(cert, made.cert.pem()).expect("written");
    made.cert.der().to_vec()
}

/// What a client offers.
#[derive(Clone, Copy)]
pub(crate) struct Offer<'a> {
    pub(crate) name: &'a str,
    pub(crate) alpn: &'a [&'a [u8]],
    pub(crate) versions: &'a [&'static rustls::SupportedProtocolVersion],
}

impl Default for Offer<'_> {
    fn default() -> Self {
        Self { name: "localhost", alpn: &[], versions: rustls::ALL_VERSIONS }
    }
}

pub(crate) fn client_config(offer: Offer<'_>) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(offer.versions)
        .expect("versions that ring knows")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    config.alpn_protocols = offer.alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// Connects and finishes the handshake.
pub(crate) fn connect(address: SocketAddr, offer: Offer<'_>, timeout: Duration) -> io::Result<Stream> {
    let mut socket = super::http::connect(address, timeout)?;
    let name = ServerName::try_from(offer.name.to_owned()).map_err(io::Error::other)?;
    let mut session = ClientConnection::new(Arc::new(client_config(offer)), name).map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(session, socket))
}

/// The certificate that `address` shows to a client that asks for `name`.
pub(crate) fn certificate(address: SocketAddr, name: &str) -> io::Result<Vec<u8>> {
    let stream = connect(address, Offer { name, ..Offer::default() }, super::http::TIMEOUT)?;
    let shown = stream.conn.peer_certificates().and_then(|chain| chain.first());
    Ok(shown.ok_or_else(|| io::Error::other("no certificate"))?.to_vec())
}

/// Believes everyone who holds the key of the certificate that is shown.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
