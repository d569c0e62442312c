//! TLS clients configured as the SDK's, with rustls's own verification of the banks.

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

/// Never resumes a session. Trusts that authority, has that certificate, and offers that protocol
/// alone.
pub fn client(authority: &SchemeCa, own: &Identity, protocol: &[u8]) -> TlsConnector {
    let mut config = configuration(authority, own, protocol, ALL_VERSIONS);
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// Client that stores TLS sessions, and offers these versions of TLS only.
pub fn resuming_client(
    authority: &SchemeCa,
    own: &Identity,
    protocol: &[u8],
    versions: &[&'static SupportedProtocolVersion],
) -> TlsConnector {
    TlsConnector::from(Arc::new(configuration(authority, own, protocol, versions)))
}

fn configuration(
    authority: &SchemeCa,
    own: &Identity,
    protocol: &[u8],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let root = authority.root_pem().unwrap();
    roots
        .add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap())
        .unwrap();
    let credentials = credentials(own);
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
            credentials.certified_key(),
        )));
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}
