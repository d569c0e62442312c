//! Listener for browsers: TLS without client certificates, or plain HTTP on loopback.

use std::collections::HashMap;
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::Protocol;
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use shared_types::pki::certificate::hosts;
use shared_types::pki::credentials::{Credentials, provider};
use shared_types::pki::pkcs11::{HandshakeThreads, shake_hands};
use shared_types::pki::trust::{is_for_host, validity};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use url::{Host, Url};

use super::client_address::TrustedProxies;
use crate::config::OnlineBankingConfig;
use crate::config_error::ConfigError;

/// Acceptor of connections from browsers. Cheap to clone, one for each worker.
#[derive(Clone)]
pub(crate) struct BrowserListener {
    tls: Option<Tls>,
    permits: Arc<Semaphore>,
    sources: SourceLimit,
    timeouts: BrowserTimeouts,
}

/// Timeouts of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BrowserTimeouts {
    /// For the handshake.
    pub(crate) handshake: Duration,
    /// For a request and its response; and for the browser to receive some of the response.
    pub(crate) request: Duration,
    /// From a response to the next request.
    pub(crate) idle: Duration,
}

/// Time between the timeout of a request and the end of its connection, for the page that reports
/// the timeout.
const GRACE: Duration = Duration::from_secs(2);

/// One [source](source_of) may hold a tenth of all connections, unless it is loopback or a proxy,
/// which is not one browser.
const SHARE: usize = 10;

impl BrowserListener {
    /// Opens certificate and key, if the configuration names them, with a limit of connections.
    pub(crate) fn open(
        config: &OnlineBankingConfig,
        connections: usize,
        timeouts: BrowserTimeouts,
    ) -> Result<Self, Vec<ConfigError>> {
        Ok(Self {
            tls: tls(config)?,
            permits: Arc::new(Semaphore::new(connections)),
            sources: SourceLimit {
                each: (connections / SHARE).max(1),
                proxies: TrustedProxies::new(&config.trusted_proxies),
                held: Arc::default(),
            },
            timeouts,
        })
    }

    /// Fault of a certificate that is not valid now, of which browsers warn too.
    pub(crate) fn certificate_fault(
        &self,
        config: &OnlineBankingConfig,
        now: UnixTime,
    ) -> Option<ConfigError> {
        let own = self.tls.as_ref()?.credentials.chain().first()?;
        let refusal = validity(own)?.check(now).err()?;
        let path = config.certificate.as_ref()?.display();
        let problem = format!("{path}: {refusal}");
        Some(ConfigError::new("online_banking.certificate", problem))
    }

    /// Certificate and key, if the pages have one of their own.
    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.tls.as_ref().map(|tls| &tls.credentials)
    }

    /// Accepts a connection, or closes it at once if there are too many.
    pub(crate) async fn accept(
        &self,
        tcp: TcpStream,
    ) -> Option<(BrowserStream, Protocol, Option<SocketAddr>)> {
        let address = tcp.peer_addr().ok()?;
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok();
        let source_permit = self.sources.acquire(address.ip());
        let Some(permits) = permit.zip(source_permit) else {
            tracing::warn!("online banking: connection limit reached, connection rejected");
            return None;
        };
        // Pages are small, and a delay to fill a segment costs time. A failure costs nothing else.
        let _ = tcp.set_nodelay(true);
        let stream = match &self.tls {
            None => Either::Left(tcp),
            Some(tls) => match timeout(self.timeouts.handshake, tls.accept(tcp)).await {
                Ok(Ok(stream)) => Either::Right(Box::new(stream)),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "online banking: handshake failed");
                    return None;
                }
                Err(_) => return None,
            },
        };
        let request = self.timeouts.request + GRACE;
        let stream = BrowserStream {
            stream,
            stall: self.timeouts.request,
            stalled: None,
            request,
            idle: self.timeouts.idle + request,
            has_request: false,
            deadline: Box::pin(sleep(self.timeouts.idle + request)),
            _permits: permits,
        };
        Some((stream, Protocol::Http1, Some(address)))
    }
}

/// Acceptor with its certificate and key.
#[derive(Clone)]
struct Tls {
    acceptor: TlsAcceptor,
    handshake_threads: Option<HandshakeThreads>,
    credentials: Credentials,
}

impl Tls {
    async fn accept(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let handshake = self.acceptor.accept(tcp);
        shake_hands(self.handshake_threads.as_ref(), handshake).await?
    }
}

/// TLS without client certificates.
fn tls(config: &OnlineBankingConfig) -> Result<Option<Tls>, Vec<ConfigError>> {
    let (Some(certificate), Some(key)) = (&config.certificate, &config.private_key) else {
        return Ok(None);
    };
    let fault = |place: &str, of: &dyn Display, problem: &dyn Display| {
        ConfigError::new(format!("online_banking.{place}"), format!("{of} {problem}"))
    };
    let of_certificate =
        |problem: &dyn Display| fault("certificate", &certificate.display(), problem);
    let of_key = |problem: &dyn Display| fault("private_key", key, problem);
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let chain = std::fs::read(certificate).map_err(|error| of_certificate(&unreadable(error)));
    let secret = key.read().map_err(|error| of_key(&unreadable(error)));
    let (chain, secret) = match (chain, secret) {
        (Ok(chain), Ok(secret)) => (chain, secret),
        (chain, secret) => return Err([chain.err(), secret.err()].into_iter().flatten().collect()),
    };
    if key.is_open_to_others() {
        return Err(vec![of_key(&"is open to others; run chmod 600")]);
    }
    let credentials = Credentials::from_pem(&chain, &secret).map_err(|error| {
        vec![if error.is_of_key() {
            of_key(&error)
        } else {
            of_certificate(&error)
        }]
    })?;
    if let Some(leaf) = credentials.chain().first()
        && !is_for(leaf, &config.origin)
    {
        let is_for = match hosts(leaf).join(", ") {
            none if none.is_empty() => {
                "names no host as subject alternative name (browsers ignore the common name)"
                    .to_owned()
            }
            hosts => format!("is for {hosts}"),
        };
        let host = config.origin.host_str().unwrap_or_default();
        let problem = format!("{is_for}, and browsers look for {host} (online_banking.origin)");
        return Err(vec![of_certificate(&problem)]);
    }
    let mut tls = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| vec![of_certificate(&error)])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(
            (*credentials.certified_key()).clone(),
        )));
    // A page is one request and a stylesheet that browsers keep: HTTP/2 would gain nothing.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Tls {
        acceptor: TlsAcceptor::from(Arc::new(tls)),
        handshake_threads: credentials.handshake_threads(),
        credentials,
    }))
}

/// Whether a certificate is for the host of that address.
fn is_for(certificate: &CertificateDer<'_>, origin: &Url) -> bool {
    let host = match origin.host() {
        Some(Host::Domain(name)) => ServerName::try_from(name.to_owned()).ok(),
        Some(Host::Ipv4(address)) => Some(ServerName::from(IpAddr::V4(address))),
        Some(Host::Ipv6(address)) => Some(ServerName::from(IpAddr::V6(address))),
        None => None,
    };
    host.is_some_and(|host| is_for_host(certificate, &host))
}

/// Source under which connections are counted: an IPv4 address, or 56 bits of IPv6. One customer of
/// a provider has at least 64 bits, and would exhaust the limit with ten of its addresses.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 72)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// Limit of connections per source.
#[derive(Clone)]
struct SourceLimit {
    each: usize,
    proxies: TrustedProxies,
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl SourceLimit {
    fn acquire(&self, address: IpAddr) -> Option<SourcePermit> {
        let source = source_of(address);
        if !address.to_canonical().is_loopback() && !self.proxies.contains(address) {
            let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let held = all.entry(source).or_default();
            if *held >= self.each {
                return None;
            }
            *held += 1;
        }
        Some(SourcePermit {
            source,
            limit: self.clone(),
        })
    }
}

/// One connection of a source, for as long as it is open.
struct SourcePermit {
    source: IpAddr,
    limit: SourceLimit,
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        let all = &self.limit.held;
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = all.get_mut(&self.source) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                all.remove(&self.source);
            }
        }
    }
}

type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Stream of a connection. It fails when the browser receives nothing of its response for too long,
/// and when a request is not answered in time, however slowly its bytes arrive.
///
/// The stream does not parse requests: it takes the first bytes after a response for the next
/// request. They can also be the rest of a request that was given up, which has the same timeout.
pub(crate) struct BrowserStream {
    stream: Stream,
    /// Time for the browser to receive some of the response.
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Time from the first byte of a request to some of its response.
    request: Duration,
    /// Time from a response to some of the next one.
    idle: Duration,
    /// Whether bytes have arrived since the last response.
    has_request: bool,
    /// End of the connection, unless there is a response before.
    deadline: Pin<Box<Sleep>>,
    _permits: (OwnedSemaphorePermit, SourcePermit),
}

impl BrowserStream {
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.deadline.as_mut().poll(cx).is_ready()
    }

    /// Moves the deadline, and registers it.
    fn extend(&mut self, time: Duration, cx: &mut Context<'_>) {
        self.deadline.as_mut().reset(Instant::now() + time);
        let _ = self.is_over(cx);
    }

    /// Polls the stream, unless the deadline has passed.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        of: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.is_over(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        of(Pin::new(&mut self.stream), cx)
    }

    /// Like `poll`, for a response, which the browser has to receive in time.
    fn poll_response<T>(
        &mut self,
        cx: &mut Context<'_>,
        of: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let polled = self.poll(cx, of);
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let stall = self.stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        debug_assert!(stalled.deadline() <= Instant::now() + stall);
        let timed_out = stalled.as_mut().poll(cx);
        timed_out.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for BrowserStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = this.poll(cx, |stream, cx| stream.poll_read(cx, buffer));
        if buffer.filled().len() > before && !this.has_request {
            this.has_request = true;
            this.extend(this.request, cx);
        }
        polled
    }
}

impl AsyncWrite for BrowserStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = this.poll_response(cx, |stream, cx| stream.poll_write(cx, bytes));
        if matches!(polled, Poll::Ready(Ok(_))) {
            this.has_request = false;
            this.extend(this.idle, cx);
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_response(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_response(cx, AsyncWrite::poll_shutdown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_exhaust_the_limit() {
        let limit = SourceLimit {
            each: 2,
            proxies: TrustedProxies::new(&["10.0.0.5".parse().unwrap()]),
            held: Arc::default(),
        };
        let far: IpAddr = "192.0.2.1".parse().unwrap();
        let near: IpAddr = "127.0.0.1".parse().unwrap();
        let trusted: IpAddr = "::ffff:10.0.0.5".parse().unwrap();
        let first = limit.acquire(far).unwrap();
        let _second = limit.acquire(far).unwrap();
        assert!(limit.acquire(far).is_none());
        assert!(limit.acquire("192.0.2.2".parse().unwrap()).is_some());
        for proxy in [near, trusted] {
            let held: Vec<_> = (0..3).map(|_| limit.acquire(proxy)).collect();
            assert!(held.iter().all(Option::is_some));
        }
        drop(first);
        assert!(limit.acquire(far).is_some());
        // One customer of a provider has many IPv6 addresses.
        let of_ipv6 = |text: &str| limit.acquire(text.parse().unwrap());
        let _held = [of_ipv6("2001:db8:1:201::1"), of_ipv6("2001:db8:1:202::1")];
        assert!(of_ipv6("2001:db8:1:203::1").is_none());
        assert!(of_ipv6("2001:db8:1:300::1").is_some());
    }
}
