//! What a trusted certificate means to the server behind the door.

use std::fmt;

use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::trust::Refusal;

/// The server's own rules about peers, beyond the trust in their certificates. Part of the snapshot that is replaced
/// whole: when it changes, every open connection is asked about again.
pub trait Policy: Send + Sync + 'static {
    /// What the server knows of a peer.
    type Peer: fmt::Debug + Send + Sync + 'static;
    /// Why a peer may not be here, though its certificate is trusted.
    type Objection: fmt::Debug + fmt::Display + Clone + Send + Sync + 'static;

    /// The protocols that are spoken over TLS, the preferred one first (ALPN, RFC 7301). A peer that names none of them is
    /// turned away; one that names no protocol at all is let in. With `h2`, the answer to a peer that may no longer be
    /// here is HTTP/2's; with any other, the bytes of [`CloseMessage::response`].
    const PROTOCOLS: &'static [&'static [u8]] = &[b"h2", b"http/1.1"];

    /// Looks at a certificate whose path was found good.
    fn admit(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<Admitted<Self::Peer>, Self::Objection>;

    /// Under which name the peer's connections and requests are counted together.
    fn group(peer: &Self::Peer) -> &str;

    /// What a peer is told whose connection ends because it may no longer be here.
    fn close_message(end: &Ended<Self::Objection>) -> CloseMessage;
}

/// A peer that may be here, and until when.
#[derive(Debug)]
pub struct Admitted<T> {
    /// The peer.
    pub peer: T,
    /// The last second for which that is known; without one, until something changes.
    pub until: Option<UnixTime>,
}

/// Why a connection may no longer be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended<O> {
    /// The certificate is no longer trusted.
    #[error("{0}")]
    Untrusted(Refusal),
    /// The server's own rules are against it.
    #[error("{0}")]
    Unwelcome(O),
}

/// The last words to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseMessage {
    /// Sent to a peer that asks nothing at the moment: a whole HTTP/1.1 response, or a whole message of the server's own
    /// protocol.
    pub response: Vec<u8>,
    /// The debug data of HTTP/2's GOAWAY (RFC 9113, section 6.8): a word for the log at the other end.
    pub word: String,
}
