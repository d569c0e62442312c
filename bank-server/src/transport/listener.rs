//! Accepting connections: TCP, then the mutual handshake, then HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::Protocol;
use rustls_pki_types::CertificateDer;
use shared_types::certificate::CertificateSummary;
use shared_types::trust::Refusal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Patience};
use super::connection_registry::ConnectionRegistry;
use super::forwarding::Forwarding;
use super::peer_verdict::Role;
use super::policy::Policy;
use super::quota::{self, Quota};
use super::stream::MtlsStream;
use super::trust::Trust;
use super::verifier::noting_refusal;

/// Limits of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// How long the handshake may take.
    pub handshake: Duration,
    /// How long a connection may stay without a request.
    pub idle: Duration,
    /// How long receiving a request, answering it and having the answer collected may take.
    pub answer: Duration,
    /// How many connections a peer may hold.
    pub per_peer: usize,
    /// How many requests a peer may have at a time, over all its connections.
    pub requests_per_peer: usize,
    /// How many bytes the bodies of these requests may have together.
    pub body_bytes_per_peer: usize,
}

/// The door: everything that is the same for every connection. Cheap to clone, one for each worker.
pub struct MtlsListener<P: Policy> {
    trust: Arc<Trust<P>>,
    role: Role<P>,
    open: ConnectionRegistry<P>,
    quota: Quota,
    limits: ConnectionLimits,
    observer: Arc<dyn ConnectionObserver>,
    draining: CancellationToken,
}

/// Hears of every peer that comes to the door. The server's log is one; the sandbox and tests are others.
pub trait ConnectionObserver: Send + Sync + 'static {
    /// A peer was turned away before any application data.
    fn connection_rejected(&self, peer: &RejectedConnection);

    /// A peer was let in.
    fn connection_accepted(&self) {}
}

/// A peer that was turned away.
#[derive(Debug)]
pub struct RejectedConnection {
    /// Where it connected from.
    pub address: SocketAddr,
    /// The certificate it showed, if it got that far.
    pub certificate: Option<CertificateSummary>,
    /// Why.
    pub reason: RejectionReason,
}

/// Why a peer was turned away.
#[derive(Debug, thiserror::Error)]
pub enum RejectionReason {
    /// Its certificate was refused, in the handshake or on resumption.
    #[error("certificate refused: {0}")]
    Refused(Refusal),
    /// The handshake went wrong for another reason; the peer may have refused *us*.
    #[error("handshake failed: {0}")]
    Handshake(io::Error),
    /// The handshake took longer than allowed.
    #[error("handshake not finished in {} s", .0.as_secs_f32())]
    Slow(Duration),
    /// Nothing was known of its certificate, and its responder did not answer in time.
    #[error("how its certificate stands did not become known in {} s", .0.as_secs_f32())]
    NotKnown(Duration),
    /// It holds more than twice the connections it may.
    #[error("it holds far too many connections")]
    TooMany,
    /// All peers together hold as many connections as the process may have for them.
    #[error("all connections that the process may hold for peers are taken")]
    NoRoom,
}

/// Writes a line to the log for every peer that was turned away.
#[derive(Debug, Clone, Copy)]
pub struct LogRejectedConnections;

impl ConnectionObserver for LogRejectedConnections {
    fn connection_rejected(&self, peer: &RejectedConnection) {
        let certificate = peer.certificate.as_ref();
        tracing::warn!(
            peer = %peer.address,
            subject = certificate.map(|certificate| certificate.subject.as_str()),
            issuer = certificate.map(|certificate| certificate.issuer.as_str()),
            serial = certificate.map(|certificate| certificate.serial.as_str()),
            fingerprint = certificate.map(|certificate| certificate.fingerprint.as_str()),
            reason = %peer.reason,
            "peer turned away"
        );
    }
}

impl<P: Policy> MtlsListener<P> {
    /// A door for those whom that trust lets in.
    pub fn new(
        trust: Arc<Trust<P>>,
        limits: ConnectionLimits,
        observer: Arc<dyn ConnectionObserver>,
    ) -> Self {
        Self {
            trust,
            role: Role::Peers,
            open: ConnectionRegistry::default(),
            quota: Quota::new(quota::Limits {
                connections: limits.per_peer,
                requests: limits.requests_per_peer,
                body_bytes: limits.body_bytes_per_peer,
            }),
            limits,
            observer,
            draining: CancellationToken::new(),
        }
    }

    /// Another door, for gateways that forward such peers, each with so many connections. What the peers have at a time
    /// is counted together at both doors.
    #[must_use]
    pub fn for_gateways(&self, connections: usize) -> Self {
        let forwarding = Forwarding::new(Arc::clone(&self.trust), self.quota.clone());
        Self {
            role: Role::Gateways(Arc::new(forwarding)),
            open: ConnectionRegistry::default(),
            quota: Quota::new(quota::Limits {
                connections,
                requests: usize::MAX,
                body_bytes: usize::MAX,
            }),
            ..self.clone()
        }
    }

    /// Has every open connection judged again when trust changes, or time runs out. Runs for as long as it is polled; to
    /// be polled once for all clones of a door.
    pub async fn reevaluate_connections(self) {
        let judging = self.open.reevaluate_connections(self.trust);
        match self.role {
            Role::Peers => judging.await,
            Role::Gateways(forwarding) => {
                tokio::join!(judging, forwarding.keep_up());
            }
        }
    }

    /// Has peers ask elsewhere from now on, at this door and those for gateways: over HTTP/2 each is told at once, over
    /// HTTP/1.1 with its next answer. Who comes in is still answered. Ready once nobody is left here.
    pub async fn drain(&self) {
        self.draining.cancel();
        let mut tick = interval(Duration::from_millis(50));
        while self.open.count() > 0 {
            tick.tick().await;
        }
    }

    /// Whether peers are asked to ask elsewhere.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// How many connections are open here.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.open.count()
    }

    /// Turns one peer away because all peers together hold as many connections as they may.
    pub fn reject(&self, tcp: &TcpStream) {
        if let Ok(address) = tcp.peer_addr() {
            self.observer.connection_rejected(&RejectedConnection {
                address,
                certificate: None,
                reason: RejectionReason::NoRoom,
            });
        }
    }

    /// Lets one peer in, or turns it away. What comes back is what a service of actix-http takes; a server with a protocol
    /// of its own needs the bytes alone.
    ///
    /// Cost: one mutual handshake, and for what is let in one more judgement of its chain.
    pub async fn accept(
        &self,
        tcp: TcpStream,
    ) -> Option<(MtlsStream<P>, Protocol, Option<SocketAddr>)> {
        let address = tcp.peer_addr().ok()?;
        // Answers are small; waiting to fill a segment only costs time. Without it they still arrive.
        let _ = tcp.set_nodelay(true);
        let connection_rejected = |certificate, reason| RejectedConnection {
            address,
            certificate,
            reason,
        };
        let acceptor = TlsAcceptor::from(match self.role {
            Role::Peers => self.trust.tls(),
            Role::Gateways(_) => self.trust.gateway_tls(),
        });
        let handshake = noting_refusal(acceptor.accept(tcp).into_fallible());
        let Ok((outcome, refused)) = timeout(self.limits.handshake, handshake).await else {
            self.observer.connection_rejected(&connection_rejected(
                None,
                RejectionReason::Slow(self.limits.handshake),
            ));
            return None;
        };
        match outcome {
            Ok(tls) => match self.admit(tls, address).await {
                Ok((bytes, protocol)) => {
                    self.observer.connection_accepted();
                    Some((bytes, protocol, Some(address)))
                }
                Err((certificate, reason)) => {
                    self.observer
                        .connection_rejected(&connection_rejected(certificate, *reason));
                    None
                }
            },
            Err((error, tcp)) => {
                self.observer.connection_rejected(&match refused {
                    Some((certificate, refusal)) => {
                        connection_rejected(Some(certificate), RejectionReason::Refused(refusal))
                    }
                    None => connection_rejected(None, explain(error)),
                });
                linger(tcp, self.limits.handshake).await;
                None
            }
        }
    }

    async fn admit(
        &self,
        tls: TlsStream<TcpStream>,
        address: SocketAddr,
    ) -> Result<(MtlsStream<P>, Protocol), NotAdmitted> {
        let session = tls.get_ref().1;
        let protocol = match session.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let chain: Vec<CertificateDer<'static>> =
            session.peer_certificates().unwrap_or_default().to_vec();
        let shown = chain.first().map(CertificateSummary::of);
        let trust = Arc::clone(&self.trust);
        let draining = self.draining.clone();
        let admitted = Connection::admit(address, chain, trust, &self.role, draining, |group| {
            self.quota.take(group)
        });
        // A responder may have to be asked; that has limits of its own, and this one besides.
        let Ok(admitted) = timeout(self.limits.handshake, admitted).await else {
            let unknown = RejectionReason::NotKnown(self.limits.handshake);
            return Err((shown, Box::new(unknown)));
        };
        let connection = admitted
            .map_err(|refusal| (shown.clone(), Box::new(RejectionReason::Refused(refusal))))?;
        if connection.is_flood() {
            return Err((shown, Box::new(RejectionReason::TooMany)));
        }
        let ConnectionLimits {
            handshake,
            idle,
            answer,
            ..
        } = self.limits;
        // One connection too many is told so; it may not wait around for long.
        let idle = if connection.is_excess() {
            handshake
        } else {
            idle
        };
        let connection = Arc::new(connection);
        self.open.add(&connection);
        // Trust may have changed after it was judged and before it was known to be open.
        let _ = connection.judge();
        let patience = Patience { idle, answer };
        Ok((
            MtlsStream::new(tls, protocol, connection, patience),
            protocol,
        ))
    }
}

impl<P: Policy> Clone for MtlsListener<P> {
    fn clone(&self) -> Self {
        Self {
            trust: Arc::clone(&self.trust),
            role: self.role.clone(),
            open: self.open.clone(),
            quota: self.quota.clone(),
            limits: self.limits,
            observer: Arc::clone(&self.observer),
            draining: self.draining.clone(),
        }
    }
}

/// Which certificate was shown, and why its holder is turned away.
type NotAdmitted = (Option<CertificateSummary>, Box<RejectionReason>);

/// rustls wraps its error; "no certificate" is a refusal like others.
fn explain(error: io::Error) -> RejectionReason {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::NoCertificatesPresented) => {
            RejectionReason::Refused(Refusal::NoCertificate)
        }
        _ => RejectionReason::Handshake(error),
    }
}

/// Our alert is on its way. Closing while the peer still sends would reset the connection, and the reset would
/// overtake the alert: so we stop sending, and read what comes until the peer is done, for a while and up to a limit.
async fn linger(mut tcp: TcpStream, patience: Duration) {
    const MOST: u64 = 64 * 1024;

    if tcp.shutdown().await.is_ok() {
        let mut rest = (&mut tcp).take(MOST);
        let _ = timeout(patience, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}
