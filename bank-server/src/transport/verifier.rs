//! The handshake's side of trust: rustls asks, the beliefs of the moment answer.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use bank_client::credentials::provider;
use bank_client::environment::Clock;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::StoresServerSessions;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::certificate::CertificateSummary;
use shared_types::trust::{Refusal, verify_tls12_signature, verify_tls13_signature};

use super::own_certificate::OwnCertificate;
use super::policy::Policy;
use super::trust::TrustSnapshot;
use super::verified_chain_cache::Paths;

/// Whom a listener's handshake judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judges {
    /// Peers, by the anchors.
    Peers,
    /// Gateways, by the pinned certificates.
    Gateways,
}

/// The TLS configuration that shows the credentials of those beliefs, and judges peers by them.
pub(super) fn configure<P: Policy>(
    snapshot: &Arc<TrustSnapshot<P>>,
    judges: Judges,
    clock: &Arc<dyn Clock>,
    sessions: Arc<dyn StoresServerSessions>,
    paths: &Paths,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(provider());
    let verifier = PeerVerifier {
        hints: match judges {
            Judges::Peers => snapshot
                .anchors
                .subjects()
                .map(DistinguishedName::in_sequence)
                .collect(),
            // Any authority may have issued what is pinned.
            Judges::Gateways => Vec::new(),
        },
        judges,
        snapshot: Arc::clone(snapshot),
        clock: Arc::clone(clock),
        paths: paths.clone(),
        provider: Arc::clone(&provider),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(OwnCertificate::of(snapshot, Arc::clone(clock))));
    // A peer that collects no answers ends the HTTP/2 connection it has; behind a gateway that would be everybody's.
    let spoken = P::PROTOCOLS
        .iter()
        .filter(|name| judges == Judges::Peers || **name != b"h2");
    config.alpn_protocols = spoken.map(|name| name.to_vec()).collect();
    config.session_storage = sessions;
    Ok(config)
}

tokio::task_local! {
    /// Where a handshake leaves the reason of its refusal: rustls's error carries only what fits an alert.
    static REFUSED: RefCell<Option<(CertificateSummary, Refusal)>>;
}

/// Runs a handshake, and tells which certificate of the peer was refused and why, if one was.
pub(super) async fn noting_refusal<F: IntoFuture>(
    handshake: F,
) -> (F::Output, Option<(CertificateSummary, Refusal)>) {
    REFUSED
        .scope(RefCell::new(None), async {
            let outcome = handshake.await;
            (outcome, REFUSED.with(RefCell::take))
        })
        .await
}

/// Asks the [`TrustSnapshot`] with which the handshake began. They may have been replaced when it ends: what is let in is
/// judged once more.
struct PeerVerifier<P: Policy> {
    snapshot: Arc<TrustSnapshot<P>>,
    judges: Judges,
    clock: Arc<dyn Clock>,
    paths: Paths,
    provider: Arc<CryptoProvider>,
    hints: Vec<DistinguishedName>,
}

impl<P: Policy> PeerVerifier<P> {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let chain: Vec<CertificateDer<'_>> = std::iter::once(leaf)
            .chain(intermediates)
            .cloned()
            .collect();
        let path = self.paths.find(&chain, &self.snapshot.anchors, now)?;
        match self.snapshot.check_revocation(&path, now) {
            // Who admits the peer asks the responder first; this cannot wait for it.
            Err(Refusal::StatusUnknown { .. }) if self.snapshot.can_ask_about(&path, now) => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }
}

impl<P: Policy> fmt::Debug for PeerVerifier<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerVerifier")
            .field("beliefs", &self.snapshot)
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
        let judged = match self.judges {
            Judges::Peers => self.judge(leaf, intermediates, now),
            Judges::Gateways => self.snapshot.gateways.judge(leaf, now).map(drop),
        };
        match judged {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(refusal) => {
                let error = refusal.to_tls();
                // Outside `noting_refusal` there is nobody to tell.
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
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
