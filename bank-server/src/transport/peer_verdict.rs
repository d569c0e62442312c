//! Who is at the other end of a connection, a peer or a gateway, and whether that still stands.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use shared_types::revocation::PathCertificate;
use shared_types::trust::Refusal;

use super::forwarding::Forwarding;
use super::policy::Policy;
use super::trust::{GatewayVerdict, Trust, Verdict};

/// Who is at the other end of a connection.
#[derive(Debug)]
pub enum PeerKind<P: Policy> {
    /// A peer that came itself.
    Peer(Arc<P::Peer>),
    /// A gateway. Who asks, it says in each request.
    Gateway(Arc<Forwarding<P>>),
}

/// Who comes in at a door.
pub(super) enum Role<P: Policy> {
    /// Peers, judged by their chains.
    Peers,
    /// Gateways, known by their certificates.
    Gateways(Arc<Forwarding<P>>),
}

impl<P: Policy> Clone for Role<P> {
    fn clone(&self) -> Self {
        match self {
            Self::Peers => Self::Peers,
            Self::Gateways(forwarding) => Self::Gateways(Arc::clone(forwarding)),
        }
    }
}

/// A favourable judgement of what is at the other end.
pub(super) enum PeerVerdict<P: Policy> {
    Peer(Verdict<P>),
    Gateway(GatewayVerdict<P>, Arc<Forwarding<P>>),
}

impl<P: Policy> PeerVerdict<P> {
    /// Judges what came in at the door of that role.
    pub(super) async fn new(
        role: &Role<P>,
        trust: &Trust<P>,
        chain: &[CertificateDer<'_>],
    ) -> Result<Self, Refusal> {
        Ok(match role {
            Role::Peers => Self::Peer(trust.admit(chain).await?),
            Role::Gateways(forwarding) => {
                Self::Gateway(trust.judge_gateway(chain)?, Arc::clone(forwarding))
            }
        })
    }

    /// Judges it again.
    pub(super) fn renew(
        &mut self,
        trust: &Trust<P>,
        chain: &[CertificateDer<'_>],
    ) -> Result<(), Refusal> {
        match self {
            Self::Peer(verdict) => *verdict = trust.judge_again(chain, verdict)?,
            Self::Gateway(verdict, _) => *verdict = trust.judge_gateway(chain)?,
        }
        Ok(())
    }

    /// Whether judging it again would change nothing.
    pub(super) fn stands(&self, trust: &Trust<P>) -> bool {
        match self {
            Self::Peer(verdict) => trust.stands(verdict),
            Self::Gateway(verdict, _) => trust.gateway_stands(verdict),
        }
    }

    pub(super) fn caller(&self) -> Result<PeerKind<P>, P::Objection> {
        match self {
            Self::Peer(verdict) => verdict.peer.clone().map(PeerKind::Peer),
            Self::Gateway(_, forwarding) => Ok(PeerKind::Gateway(Arc::clone(forwarding))),
        }
    }

    pub(super) fn is_gateway(&self) -> bool {
        matches!(self, Self::Gateway(..))
    }

    /// The certificates by which a peer was judged. Those of gateways are pinned, and nobody is asked about them.
    pub(super) fn links(&self) -> &[PathCertificate] {
        match self {
            Self::Peer(verdict) => verdict.links(),
            Self::Gateway(..) => &[],
        }
    }

    /// Under which name the connections are counted together: the peer's own, or the gateway's certificate.
    pub(super) fn group<'a>(&'a self, fingerprint: &'a str) -> Option<&'a str> {
        match self {
            Self::Peer(verdict) => verdict.peer.as_deref().ok().map(P::group),
            Self::Gateway(..) => Some(fingerprint),
        }
    }
}
