//! Listener for browsers: TLS without client certificates, or plain HTTP on loopback.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
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
use shared_types::pki::trust::{Window, is_for_host, validity};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use url::{Host, Url};

use super::client_address::TrustedProxies;
use crate::config::{LimitsConfig, OnlineBankingConfig};
use crate::config_error::ConfigError;
use crate::file_mode::is_open_to_others;

/// Lets browsers in. Cheap to clone, one for each worker.
#[derive(Clone)]
pub(crate) struct Entrance {
    tls: Option<TlsAcceptor>,
    /// When the certificate is valid.
    window: Option<Window>,
    room: Arc<Semaphore>,
    guests: Guests,
    limits: LimitsConfig,
}

/// How much later than the request's time a connection is cut: the page that says so goes first.
const GRACE: Duration = Duration::from_secs(2);

/// How much of the whole room one [source](source_of) may take, unless it is this machine's own or a proxy's, which is not one browser.
const SHARE: usize = 10;

impl Entrance {
    /// Opens certificate and key, if the configuration names them. It lets in so many connections.
    pub(crate) fn open(
        config: &OnlineBankingConfig,
        connections: usize,
        limits: &LimitsConfig,
    ) -> Result<Self, Vec<ConfigError>> {
        let (tls, window) = tls(config)?.unzip();
        Ok(Self {
            tls,
            window: window.flatten(),
            room: Arc::new(Semaphore::new(connections)),
            guests: Guests {
                each: (connections / SHARE).max(1),
                proxies: TrustedProxies::new(&config.trusted_proxies),
                here: Arc::default(),
            },
            limits: limits.clone(),
        })
    }

    /// What is wrong with the time of the certificate. Browsers say it too, and warn of the pages.
    pub(crate) fn certificate_fault(
        &self,
        config: &OnlineBankingConfig,
        now: UnixTime,
    ) -> Option<ConfigError> {
        let refusal = self.window?.check(now).err()?;
        let path = config.certificate.as_ref()?.display();
        let problem = format!("{path}: {refusal}");
        Some(ConfigError::new("online_banking.certificate", problem))
    }

    /// Lets one browser in; one too many is turned away at once.
    pub(crate) async fn accept(
        &self,
        tcp: TcpStream,
    ) -> Option<(Bytes, Protocol, Option<SocketAddr>)> {
        let address = tcp.peer_addr().ok()?;
        let room = Arc::clone(&self.room).try_acquire_owned().ok();
        let guest = self.guests.enter(address.ip());
        let (Some(room), Some(guest)) = (room, guest) else {
            tracing::warn!("online banking: connection limit reached, connection rejected");
            return None;
        };
        // Pages are small; waiting to fill a segment only costs time. Without it they still arrive.
        let _ = tcp.set_nodelay(true);
        let stream = match &self.tls {
            None => Stream::Plain(tcp),
            Some(tls) => match timeout(
                Duration::from_secs(self.limits.handshake_seconds),
                tls.accept(tcp),
            )
            .await
            {
                Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "online banking: handshake failed");
                    return None;
                }
                Err(_) => return None,
            },
        };
        let patience = self.limits.request_timeout();
        let turn = patience + GRACE;
        let idle = Duration::from_secs(self.limits.idle_seconds);
        let bytes = Bytes {
            stream,
            patience,
            stalled: None,
            turn,
            quiet: idle + turn,
            asking: false,
            end: Box::pin(sleep(idle + turn)),
            _room: room,
            _guest: guest,
        };
        Some((bytes, Protocol::Http1, Some(address)))
    }
}

/// What accepts browsers, and when its certificate is valid.
type Tls = (TlsAcceptor, Option<Window>);

/// TLS without client certificates.
fn tls(config: &OnlineBankingConfig) -> Result<Option<Tls>, Vec<ConfigError>> {
    let (Some(certificate), Some(key)) = (&config.certificate, &config.private_key) else {
        return Ok(None);
    };
    let fault = |place: &str, path: &Path, problem: &dyn std::fmt::Display| {
        let place = format!("online_banking.{place}");
        ConfigError::new(place, format!("{} {problem}", path.display()))
    };
    let read = |place: &str, path: &Path| {
        std::fs::read(path).map_err(|error| fault(place, path, &format!("cannot be read: {error}")))
    };
    let (chain, secret) = match (read("certificate", certificate), read("private_key", key)) {
        (Ok(chain), Ok(secret)) => (chain, secret),
        (chain, secret) => return Err([chain.err(), secret.err()].into_iter().flatten().collect()),
    };
    if is_open_to_others(key) {
        let problem = "is open to others; run chmod 600";
        return Err(vec![fault("private_key", key, &problem)]);
    }
    let credentials = Credentials::from_pem(&chain, &secret).map_err(|error| {
        vec![if error.is_of_key() {
            fault("private_key", key, &error)
        } else {
            fault("certificate", certificate, &error)
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
        return Err(vec![fault("certificate", certificate, &problem)]);
    }
    let mut tls = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| vec![fault("certificate", certificate, &error)])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(
            (*credentials.certified_key()).clone(),
        )));
    // A page is one request and a stylesheet that browsers keep: HTTP/2 would gain nothing.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let window = credentials.chain().first().and_then(validity);
    Ok(Some((TlsAcceptor::from(Arc::new(tls)), window)))
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

/// Whose connections count together: those of an IPv4 address, or of 56 bits of IPv6. One customer of a provider has at least
/// 64 bits, and would take all the room with ten of its addresses.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 72)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// How many connections each source holds.
#[derive(Clone)]
struct Guests {
    each: usize,
    proxies: TrustedProxies,
    here: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Guests {
    fn enter(&self, address: IpAddr) -> Option<Guest> {
        let source = source_of(address);
        if !address.to_canonical().is_loopback() && !self.proxies.contains(address) {
            let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
            let held = here.entry(source).or_default();
            if *held >= self.each {
                return None;
            }
            *held += 1;
        }
        Some(Guest {
            source,
            guests: self.clone(),
        })
    }
}

/// One connection of a source, for as long as it is open.
struct Guest {
    source: IpAddr,
    guests: Guests,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let here = &self.guests.here;
        let mut here = here.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = here.get_mut(&self.source) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                here.remove(&self.source);
            }
        }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The bytes of a connection. It fails when the browser collects nothing of its answer for too long, and when a request
/// is not answered in time, however its bytes come in.
///
/// Where requests begin and end is not known here; but each ends with an answer. What comes after an answer is the next
/// request, or the rest of one that the bank has given up: that has its time too, and is cut.
pub(crate) struct Bytes {
    stream: Stream,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// From the first byte of a request to some of its answer.
    turn: Duration,
    /// The same, from the answer before.
    quiet: Duration,
    /// Whether something has come since the last answer.
    asking: bool,
    /// When the connection ends, unless something is answered.
    end: Pin<Box<Sleep>>,
    _room: OwnedSemaphorePermit,
    _guest: Guest,
}

fn late<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
}

impl Bytes {
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.end.as_mut().poll(cx).is_ready()
    }

    fn asked(&mut self) {
        if !self.asking {
            self.asking = true;
            self.end.as_mut().reset(Instant::now() + self.turn);
        }
    }

    fn answered(&mut self) {
        self.asking = false;
        self.end.as_mut().reset(Instant::now() + self.quiet);
    }

    fn or_late<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        debug_assert!(stalled.deadline() <= Instant::now() + patience);
        if stalled.as_mut().poll(cx).is_ready() {
            late()
        } else {
            Poll::Pending
        }
    }
}

impl AsyncRead for Bytes {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_over(cx) {
            return late();
        }
        let before = buffer.filled().len();
        let polled = match &mut this.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        };
        if buffer.filled().len() > before {
            this.asked();
            // The time has changed: it is to wake this connection.
            let _ = this.is_over(cx);
        }
        polled
    }
}

impl AsyncWrite for Bytes {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_over(cx) {
            return late();
        }
        let polled = match &mut this.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        };
        if polled.is_ready() {
            this.answered();
            let _ = this.is_over(cx);
        }
        this.or_late(polled, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_over(cx) {
            return late();
        }
        let polled = match &mut this.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        };
        this.or_late(polled, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_over(cx) {
            return late();
        }
        let polled = match &mut this.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        };
        this.or_late(polled, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_all_the_room() {
        let guests = Guests {
            each: 2,
            proxies: TrustedProxies::new(&["10.0.0.5".parse().unwrap()]),
            here: Arc::default(),
        };
        let far: IpAddr = "192.0.2.1".parse().unwrap();
        let near: IpAddr = "127.0.0.1".parse().unwrap();
        let trusted: IpAddr = "::ffff:10.0.0.5".parse().unwrap();
        let first = guests.enter(far).unwrap();
        let _second = guests.enter(far).unwrap();
        assert!(guests.enter(far).is_none());
        assert!(guests.enter("192.0.2.2".parse().unwrap()).is_some());
        for proxy in [near, trusted] {
            let held: Vec<_> = (0..3).map(|_| guests.enter(proxy)).collect();
            assert!(held.iter().all(Option::is_some));
        }
        drop(first);
        assert!(guests.enter(far).is_some());
        // One customer of a provider has many addresses of IPv6.
        let of_ipv6 = |text: &str| guests.enter(text.parse().unwrap());
        let _held = [of_ipv6("2001:db8:1:201::1"), of_ipv6("2001:db8:1:202::1")];
        assert!(of_ipv6("2001:db8:1:203::1").is_none());
        assert!(of_ipv6("2001:db8:1:300::1").is_some());
    }
}
