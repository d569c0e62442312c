//! Client certificate verifier of one TLS handshake, backed by a trust snapshot.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DistinguishedName, ServerConfig};
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::trust::Refusal;
use shared_types::verify_handshake_signatures;

use super::own_certificate::OwnCertificate;
use super::policy::Policy;
use super::trust::{Trust, TrustSnapshot};
use super::verified_chain_cache::VerifiedPath;

/// Verifies by the snapshot with which the handshake began. It may have been replaced when the
/// handshake ends: an accepted peer is evaluated once more. Keeps the outcome, because the error of
/// rustls carries only what fits an alert.
pub(super) struct PeerVerifier<P: Policy> {
    trust: Arc<Trust<P>>,
    snapshot: Arc<TrustSnapshot<P>>,
    /// Whether the peer has to be a gateway, which is verified by the pinned certificates.
    is_for_gateways: bool,
    hints: Vec<DistinguishedName>,
    /// The path that was verified in the handshake; none if the session was resumed, or for a
    /// gateway.
    pub(super) path: OnceLock<VerifiedPath>,
    /// The certificate that was refused, and the reason.
    pub(super) refusal: OnceLock<(CertificateSummary, Refusal)>,
}

impl<P: Policy> PeerVerifier<P> {
    pub(super) fn new(trust: &Arc<Trust<P>>, is_for_gateways: bool) -> Arc<Self> {
        let snapshot = trust.current();
        let authorities = snapshot.anchors.subjects();
        Arc::new(Self {
            // A pinned certificate may have any issuer.
            hints: authorities
                .filter(|_| !is_for_gateways)
                .map(DistinguishedName::in_sequence)
                .collect(),
            trust: Arc::clone(trust),
            snapshot,
            is_for_gateways,
            path: OnceLock::new(),
            refusal: OnceLock::new(),
        })
    }

    /// The TLS configuration that presents that certificate of ours and verifies the peer here.
    pub(super) fn tls_config(self: &Arc<Self>, own: Arc<OwnCertificate>) -> Arc<ServerConfig> {
        let trust = &self.trust;
        let verifier: Arc<dyn ClientCertVerifier> = Arc::clone(self) as _;
        let tls = trust.tls.clone().with_client_cert_verifier(verifier);
        let mut config = tls.with_cert_resolver(own);
        config.session_storage = Arc::clone(if self.is_for_gateways {
            &trust.gateway_sessions
        } else {
            &trust.peer_sessions
        });
        // A peer that does not read its responses ends its HTTP/2 connection; behind a gateway,
        // that connection is shared by all peers.
        let protocols = P::PROTOCOLS
            .iter()
            .filter(|name| !self.is_for_gateways || **name != b"h2");
        config.alpn_protocols = protocols.map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Refusal> {
        let now = self.trust.now();
        if self.is_for_gateways {
            return self.snapshot.gateways.check(leaf, now);
        }
        let chain: Vec<CertificateDer<'_>> = std::iter::once(leaf)
            .chain(intermediates)
            .cloned()
            .collect();
        let anchors = &self.snapshot.anchors;
        let verified = self.trust.path_cache.find_or_verify(&chain, anchors, now)?;
        match self.snapshot.check_revocation(&verified.path, now) {
            // `Trust::admit` queries the responder first; this callback cannot wait for it.
            Err(Refusal::StatusUnknown { .. })
                if self.snapshot.can_query_ocsp(&verified.path, now) => {}
            outcome => drop(outcome?),
        }
        let _ = self.path.set(verified);
        Ok(())
    }
}

impl<P: Policy> fmt::Debug for PeerVerifier<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerVerifier").finish_non_exhaustive()
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
        self.verify(leaf, intermediates)
            .map(|()| ClientCertVerified::assertion())
            .map_err(|refusal| {
                let error = refusal.to_tls();
                let _ = self.refusal.set((CertificateSummary::of(leaf), refusal));
                error
            })
    }

    verify_handshake_signatures!();
}
