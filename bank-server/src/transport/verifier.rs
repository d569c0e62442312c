//! Client certificate verifier of the TLS handshake, backed by a trust snapshot.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::StoresServerSessions;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::environment::Clock;
use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::credentials::provider;
use shared_types::pki::trust::{
    Refusal, signature_schemes, verify_tls12_signature, verify_tls13_signature,
};

use super::own_certificate::OwnCertificate;
use super::policy::Policy;
use super::trust::TrustSnapshot;
use super::verified_chain_cache::VerifiedChainCache;

/// The class of peers that a handshake verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerClass {
    /// Peers, by the anchors.
    Peers,
    /// Gateways, by the pinned certificates.
    Gateways,
}

/// The TLS configuration that presents the credentials of a snapshot and verifies peers by it.
pub(super) fn configure<P: Policy>(
    snapshot: &Arc<TrustSnapshot<P>>,
    peer_class: PeerClass,
    clock: &Arc<dyn Clock>,
    sessions: Arc<dyn StoresServerSessions>,
    path_cache: &VerifiedChainCache,
) -> Result<ServerConfig, rustls::Error> {
    let verifier = PeerVerifier {
        hints: match peer_class {
            PeerClass::Peers => snapshot
                .anchors
                .subjects()
                .map(DistinguishedName::in_sequence)
                .collect(),
            // Any authority may have issued what is pinned.
            PeerClass::Gateways => Vec::new(),
        },
        peer_class,
        snapshot: Arc::clone(snapshot),
        clock: Arc::clone(clock),
        path_cache: path_cache.clone(),
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(OwnCertificate::of(snapshot, Arc::clone(clock))));
    // A peer that does not read its responses ends its HTTP/2 connection; behind a gateway, that
    // connection is shared by all peers.
    let protocols = P::PROTOCOLS
        .iter()
        .filter(|name| peer_class == PeerClass::Peers || **name != b"h2");
    config.alpn_protocols = protocols.map(|name| name.to_vec()).collect();
    config.session_storage = sessions;
    Ok(config)
}

tokio::task_local! {
    /// The reason of a handshake's refusal: the error of rustls carries only what fits an alert.
    static REFUSED: RefCell<Option<(CertificateSummary, Refusal)>>;
}

/// Runs a handshake, and returns which certificate was refused and why, if one was.
pub(super) async fn capture_refusal<F: IntoFuture>(
    handshake: F,
) -> (F::Output, Option<(CertificateSummary, Refusal)>) {
    REFUSED
        .scope(RefCell::new(None), async {
            let outcome = handshake.await;
            (outcome, REFUSED.with(RefCell::take))
        })
        .await
}

/// Verifies against the snapshot with which the handshake began. It may have been replaced when the
/// handshake ends: an accepted peer is evaluated once more.
struct PeerVerifier<P: Policy> {
    snapshot: Arc<TrustSnapshot<P>>,
    peer_class: PeerClass,
    clock: Arc<dyn Clock>,
    path_cache: VerifiedChainCache,
    hints: Vec<DistinguishedName>,
}

impl<P: Policy> PeerVerifier<P> {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let chain: Vec<CertificateDer<'_>> = std::iter::once(leaf)
            .chain(intermediates)
            .cloned()
            .collect();
        let path = self
            .path_cache
            .find_or_verify(&chain, &self.snapshot.anchors, now)?;
        match self.snapshot.check_revocation(&path, now) {
            // `Trust::admit` queries the responder first; this callback cannot wait for it.
            Err(Refusal::StatusUnknown { .. }) if self.snapshot.can_query_ocsp(&path, now) => {
                Ok(())
            }
            outcome => outcome.map(|_| ()),
        }
    }
}

impl<P: Policy> fmt::Debug for PeerVerifier<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerVerifier")
            .field("snapshot", &self.snapshot)
            .finish_non_exhaustive()
    }
}

impl<P: Policy> ClientCertVerifier for PeerVerifier<P> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let now = self.clock.unix();
        let verified = match self.peer_class {
            PeerClass::Peers => self.verify(leaf, intermediates, now),
            PeerClass::Gateways => self.snapshot.gateways.check(leaf, now).map(drop),
        };
        match verified {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(refusal) => {
                let error = refusal.to_tls();
                // Outside `capture_refusal` no scope is set.
                let _ = REFUSED
                    .try_with(|slot| slot.replace(Some((CertificateSummary::of(leaf), refusal))));
                Err(error)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        signature_schemes()
    }
}
