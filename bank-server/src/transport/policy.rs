//! Policy interface: what a trusted certificate means to the application.

use std::fmt;

use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::pki::trust::Refusal;

/// The application's rules about peers, beyond the trust in their certificates. Part of the trust
/// snapshot: when it changes, every open connection is re-evaluated.
pub trait Policy: Send + Sync + 'static {
    /// The application's view of a peer.
    type Peer: fmt::Debug + Send + Sync + 'static;
    /// Reason for not authorising a peer with a trusted certificate.
    type Objection: fmt::Debug + fmt::Display + Clone + Send + Sync + 'static;

    /// The protocols spoken over TLS, the preferred one first (ALPN, RFC 7301). A peer that offers
    /// none of them is rejected; one that offers no ALPN at all is accepted. With `h2`, a peer that
    /// loses trust receives a GOAWAY; with any other, the bytes of [`CloseMessage::response`].
    const PROTOCOLS: &'static [&'static [u8]] = &[b"h2", b"http/1.1"];

    /// Decides about a certificate whose path was verified.
    fn admit(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<Admitted<Self::Peer>, Self::Objection>;

    /// The key by which the peer's connections and requests are counted.
    fn quota_key(peer: &Self::Peer) -> &str;

    /// The final message to a peer that has lost trust.
    fn close_message(rejection: &PeerRejection<Self::Objection>) -> CloseMessage;
}

/// An authorised peer, and until when.
#[derive(Debug)]
pub struct Admitted<T> {
    /// The peer.
    pub peer: T,
    /// The last second of the authorisation; `None` if only a change of the policy ends it.
    pub until: Option<UnixTime>,
}

/// Reason for ending a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerRejection<O> {
    /// The certificate is no longer trusted.
    #[error("{0}")]
    Untrusted(Refusal),
    /// The policy does not authorise the peer.
    #[error("{0}")]
    NotAuthorised(O),
}

/// The final message on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseMessage {
    /// Sent to a peer without an open request: a whole HTTP/1.1 response, or a whole message of the
    /// application's own protocol.
    pub response: Vec<u8>,
    /// The debug data of HTTP/2's GOAWAY (RFC 9113, section 6.8), for the peer's log.
    pub debug_data: String,
}
