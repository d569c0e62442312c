//! TLS clients for tests of the handshake. They use the SDK's cryptography and credentials, but
//! verify the server's certificate with rustls instead of the SDK.

use std::sync::Arc;

use bank_client::credentials::provider;
use fixtures::pki::Identity;
use fixtures::scheme_ca::SchemeCa;
use rustls::client::Resumption;
use rustls::sign::SingleCertAndKey;
use rustls::{ALL_VERSIONS, ClientConfig, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio_rustls::TlsConnector;

use crate::sdk::credentials;

/// Client that performs a full handshake each time: it never resumes a TLS session. It trusts
/// `authority`, presents the certificate of `identity`, and offers `alpn` as the only protocol.
pub fn client(authority: &SchemeCa, identity: &Identity, alpn: &[u8]) -> TlsConnector {
    let mut config = client_config(authority, identity, alpn, ALL_VERSIONS);
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// Client that stores TLS sessions to resume them, and offers only these versions of TLS.
pub fn resuming_client(
    authority: &SchemeCa,
    identity: &Identity,
    alpn: &[u8],
    versions: &[&'static SupportedProtocolVersion],
) -> TlsConnector {
    TlsConnector::from(Arc::new(client_config(authority, identity, alpn, versions)))
}

fn client_config(
    authority: &SchemeCa,
    identity: &Identity,
    alpn: &[u8],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let root = authority.root_pem().unwrap();
    roots
        .add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap())
        .unwrap();
    let credentials = credentials(identity);
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
            credentials.certified_key(),
        )));
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}
