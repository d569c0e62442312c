//! TLS terminator: accepts TLS, with client certificates or without, and forwards plain HTTP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bank_client::credentials::provider;
use fixtures::pki::Identity;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use shared_types::pki::certificate::CertificateSummary;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::sdk::credentials;

/// Treatment of the answers that pass the terminator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// It passes everything on.
    Honest,
    /// It closes the connection after a number of bytes.
    CutAfter(usize),
}

/// The serial numbers of the certificates that were shown to a front, one for each connection.
pub type Shown = Arc<Mutex<Vec<String>>>;

/// Listens with this identity, accepts clients with a certificate of `client_ca`, and forwards
/// bytes to `behind`. Ends with the test's runtime.
pub async fn start(
    identity: &Identity,
    client_ca: &str,
    behind: SocketAddr,
    manners: Manners,
) -> SocketAddr {
    start_noting(identity, client_ca, behind, manners).await.0
}

/// Like `start`, and records the certificates of its peers.
pub async fn start_noting(
    identity: &Identity,
    client_ca: &str,
    behind: SocketAddr,
    manners: Manners,
) -> (SocketAddr, Shown) {
    let shown = Shown::default();
    let noted = Arc::clone(&shown);
    let acceptor = acceptor(identity, client_ca, "http/1.1");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
            tokio::spawn(async move {
                // A peer that refuses us, or is refused, is part of the tests.
                let Ok(tls) = acceptor.accept(tcp).await else {
                    return;
                };
                let leaf = tls.get_ref().1.peer_certificates().unwrap()[0].clone();
                noted
                    .lock()
                    .unwrap()
                    .push(CertificateSummary::of(&leaf).serial);
                relay(tls, behind, manners).await;
            });
        }
    });
    (address, shown)
}

/// Listens with the identity of that moment, for clients without a certificate.
pub async fn start_without_clients(
    identity: watch::Receiver<Identity>,
    behind: SocketAddr,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let config = server(&identity.borrow(), None, "http/1.1");
            tokio::spawn(async move {
                if let Ok(tls) = TlsAcceptor::from(config).accept(tcp).await {
                    relay(tls, behind, Manners::Honest).await;
                }
            });
        }
    });
    address
}

async fn relay(tls: TlsStream<TcpStream>, behind: SocketAddr, manners: Manners) {
    let plain = TcpStream::connect(behind).await.unwrap();
    let (mut from_peer, mut to_peer) = tokio::io::split(tls);
    let (mut from_behind, mut to_behind) = plain.into_split();
    let most = match manners {
        Manners::Honest => u64::MAX,
        Manners::CutAfter(bytes) => bytes as u64,
    };
    let onward = tokio::spawn(async move { tokio::io::copy(&mut from_peer, &mut to_behind).await });
    let _ = tokio::io::copy(&mut (&mut from_behind).take(most), &mut to_peer).await;
    let _ = to_peer.shutdown().await;
    onward.abort();
}

/// Mutual TLS with that identity, for whom `client_ca` vouches, and that protocol of HTTP.
pub fn acceptor(identity: &Identity, client_ca: &str, http: &str) -> TlsAcceptor {
    TlsAcceptor::from(server(identity, Some(client_ca), http))
}

fn server(identity: &Identity, client_ca: Option<&str>, http: &str) -> Arc<ServerConfig> {
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match client_ca {
        Some(client_ca) => {
            let mut roots = rustls::RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(client_ca.as_bytes()).unwrap())
                .unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let credentials = credentials(identity);
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(
        credentials.certified_key(),
    )));
    config.alpn_protocols = vec![http.as_bytes().to_vec()];
    Arc::new(config)
}
