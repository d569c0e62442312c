//! Verdict on the peer of a connection, and whether it is still current.
//!
//! A peer is verified by its certificate path and the policy; a gateway by its pinned certificate.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use shared_types::pki::revocation::PathCertificate;
use shared_types::pki::trust::Refusal;

use super::forwarding::Forwarding;
use super::policy::Policy;
use super::trust::{GatewayVerdict, Trust, Verdict};

/// The peer of a connection.
#[derive(Debug)]
pub enum PeerKind<P: Policy> {
    /// A peer that connected directly.
    Peer(Arc<P::Peer>),
    /// A gateway. Each of its requests carries the certificate of the peer it forwards.
    Gateway(Arc<Forwarding<P>>),
}

/// The kind of peers that a listener accepts.
pub(super) enum ListenerRole<P: Policy> {
    /// Peers, verified by their certificate paths.
    Peers,
    /// Gateways, verified by their pinned certificates.
    Gateways(Arc<Forwarding<P>>),
}

impl<P: Policy> Clone for ListenerRole<P> {
    fn clone(&self) -> Self {
        match self {
            Self::Peers => Self::Peers,
            Self::Gateways(forwarding) => Self::Gateways(Arc::clone(forwarding)),
        }
    }
}

/// A favourable verdict on a peer or gateway.
pub(super) enum PeerVerdict<P: Policy> {
    Peer(Verdict<P>),
    Gateway(GatewayVerdict<P>, Arc<Forwarding<P>>),
}

impl<P: Policy> PeerVerdict<P> {
    /// Evaluates a chain as this listener role demands.
    pub(super) async fn new(
        role: &ListenerRole<P>,
        trust: &Trust<P>,
        chain: &[CertificateDer<'_>],
    ) -> Result<Self, Refusal> {
        Ok(match role {
            ListenerRole::Peers => Self::Peer(trust.admit(chain).await?),
            ListenerRole::Gateways(forwarding) => {
                Self::Gateway(trust.evaluate_gateway(chain)?, Arc::clone(forwarding))
            }
        })
    }

    /// Evaluates it again.
    pub(super) fn reevaluate(
        &mut self,
        trust: &Trust<P>,
        chain: &[CertificateDer<'_>],
    ) -> Result<(), Refusal> {
        match self {
            Self::Peer(verdict) => *verdict = trust.reevaluate(chain, verdict)?,
            Self::Gateway(verdict, _) => *verdict = trust.evaluate_gateway(chain)?,
        }
        Ok(())
    }

    /// Whether evaluating it again would change nothing.
    pub(super) fn is_current(&self, trust: &Trust<P>) -> bool {
        match self {
            Self::Peer(verdict) => trust.is_current(verdict),
            Self::Gateway(verdict, _) => trust.is_gateway_current(verdict),
        }
    }

    pub(super) fn peer_kind(&self) -> Result<PeerKind<P>, P::Objection> {
        match self {
            Self::Peer(verdict) => verdict.peer.clone().map(PeerKind::Peer),
            Self::Gateway(_, forwarding) => Ok(PeerKind::Gateway(Arc::clone(forwarding))),
        }
    }

    pub(super) fn is_gateway(&self) -> bool {
        matches!(self, Self::Gateway(..))
    }

    /// The certificates of a peer's path. Gateways are pinned and have no revocation status to
    /// query.
    pub(super) fn path_certificates(&self) -> &[PathCertificate] {
        match self {
            Self::Peer(verdict) => verdict.path_certificates(),
            Self::Gateway(..) => &[],
        }
    }

    /// The key by which connections are counted: the peer's group, or the gateway's certificate.
    pub(super) fn group<'a>(&'a self, fingerprint: &'a str) -> Option<&'a str> {
        match self {
            Self::Peer(verdict) => verdict.peer.as_deref().ok().map(P::group),
            Self::Gateway(..) => Some(fingerprint),
        }
    }
}
