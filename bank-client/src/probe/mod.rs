//! Mutual-TLS probe: performs the handshake with a server and reports which side refused which.
//!
//! A [`Probe`] trusts the same servers and sends the same certificate as a [`Bank`](crate::Bank)
//! with the same anchors and credentials. It sends one harmless request, a `GET` of the bank's URL
//! without a consent. The result is a [`Report`] of each step; its last sentence is the
//! [`Verdict`].
//!
//! ```no_run
//! use bank_client::credentials::Credentials;
//! use bank_client::probe::Probe;
//! use bank_client::shared_types::pki::trust::Anchors;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let anchors = Anchors::from_pem(&std::fs::read("ca1.pem")?)?;
//! let own = Credentials::from_pem(&std::fs::read("qwac.pem")?, &std::fs::read("qwac.key")?)?;
//! let report = Probe::new("https://xs2a.bank-b.example", anchors)?
//!     .credentials(own)
//!     .organisation("PSDFR-ACPR-20002".parse()?)
//!     .run()
//!     .await?;
//! println!("{}", report.sentence);
//! # Ok(())
//! # }
//! ```

mod alert;
pub(crate) mod answer;
mod conversation;
mod observations;
mod recorder;
mod report;
mod sentence;
#[cfg(test)]
mod tests;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rustls::client::{Resumption, danger::ServerCertVerifier};
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;
use shared_types::environment::{Clock, Randomness, SystemClock, SystemRandomness};
use shared_types::pki::credentials::{Credentials, provider};
use shared_types::pki::eidas::OrganisationId;
use shared_types::pki::trust::Anchors;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use self::answer::Reason;
use self::answer::ResponseError;
use self::conversation::Conversation;
pub use self::observations::Fact;
use self::observations::{CertificateFacts, End, Negotiated, Observations};
use self::recorder::Recorder;
pub use self::report::{Outcome, Report, Step, StepName};
pub use self::verdict::{Policy, Stage, Verdict};
use crate::address;
use crate::error::ConfigurationError;
use crate::tls::ServerVerifier;

/// One probe of one server.
#[must_use]
pub struct Probe {
    url: Url,
    anchors: Anchors,
    credentials: Option<Credentials>,
    organisation: Option<OrganisationId>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
}

/// Limits of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For DNS and the TCP connection. Default: 5 s.
    pub connecting: Duration,
    /// For the handshake. Default: 5 s.
    pub handshake: Duration,
    /// For the request and its response. Default: 10 s.
    pub exchange: Duration,
    /// For the size of the response, in bytes; no more are read. Default: 64 KiB.
    pub answer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connecting: Duration::from_secs(5),
            handshake: Duration::from_secs(5),
            exchange: Duration::from_secs(10),
            answer: 64 * 1024,
        }
    }
}

impl Limits {
    fn of(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Connecting => self.connecting,
            Stage::Handshake => self.handshake,
            Stage::Exchange => self.exchange,
        }
    }
}

impl Probe {
    /// A probe of the server at an `https` URL. Its certificate must be issued by one of the
    /// anchors, directly or through intermediates.
    pub fn new(url: &str, anchors: Anchors) -> Result<Self, ConfigurationError> {
        Ok(Self {
            url: address::interface(url)?,
            anchors,
            credentials: None,
            organisation: None,
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
        })
    }

    /// Sets the certificate to send if the server requests one. Default: none.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Sets the organisation that the server must prove to be. Default: any.
    pub fn organisation(mut self, expected: OrganisationId) -> Self {
        self.organisation = Some(expected);
        self
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the source of randomness.
    pub fn randomness(mut self, randomness: Arc<dyn Randomness>) -> Self {
        self.randomness = randomness;
        self
    }

    /// Runs the probe. The report covers everything that the server does; an error means that the
    /// probe's own configuration is invalid.
    pub async fn run(&self) -> Result<Report, ConfigurationError> {
        let recorder = Arc::new(Recorder::new(
            ServerVerifier::new(
                self.anchors.clone(),
                self.organisation.clone(),
                Arc::clone(&self.clock),
            ),
            self.credentials.clone(),
        ));
        let tls = ClientConnection::new(Arc::new(config(&recorder)?), self.server_name()?)?;
        let mut seen = self.initial_observations();
        seen.end = self.connect(tls, &mut seen).await;
        let record = recorder.take();
        seen.server_chain = record.server_chain;
        seen.refusal = record.refusal;
        seen.is_key_proved = record.is_key_proved;
        seen.certificate_request = record.certificate_request;
        Ok(Report::of(self.url.to_string(), &seen))
    }

    async fn connect(&self, tls: ClientConnection, seen: &mut Observations) -> End {
        let limits = &self.limits;
        let tcp = match timeout(limits.connecting, TcpStream::connect(self.socket())).await {
            Err(_) => return End::TimedOut(Stage::Connecting),
            Ok(Err(error)) => return End::Unreachable(error.to_string()),
            Ok(Ok(tcp)) => tcp,
        };
        seen.address = tcp.peer_addr().ok();
        let mut conversation = Conversation::new(tcp, tls);
        let handshake = timeout(limits.handshake, conversation.shake_hands()).await;
        seen.negotiated = conversation.negotiated();
        let end = match handshake {
            Err(_) => End::TimedOut(Stage::Handshake),
            Ok(Err(end)) => end,
            Ok(Ok(())) => self.exchange(&mut conversation).await,
        };
        // A server that does not read must not block us.
        let _ = timeout(limits.handshake, conversation.close()).await;
        end
    }

    /// In TLS 1.3 the server judges our certificate after our side of the handshake: its alert is
    /// in the first read.
    async fn exchange(&self, conversation: &mut Conversation) -> End {
        let request = self.request();
        let exchange = conversation.request(&request, self.limits.answer);
        let outcome = timeout(self.limits.exchange, exchange).await;
        let received = conversation.received();
        match (answer::parse(received), outcome) {
            (Ok(answer), _) => End::Answered(answer),
            (_, Ok(Err(end @ (End::Alert(_) | End::TlsError(_))))) => end,
            (Err(ResponseError::NotHttp), _) => End::NotHttp,
            // Reading ends without an error and without a complete response only at the limit.
            (_, Ok(Ok(()))) => End::TooLarge,
            _ if received.len() >= self.limits.answer => End::TooLarge,
            (_, Err(_)) => End::TimedOut(Stage::Exchange),
            (_, Ok(Err(end))) => end,
        }
    }

    fn request(&self) -> String {
        format!(
            "GET {}/ HTTP/1.1\r\nHost: {}\r\nX-Request-ID: {}\r\nAccept: application/json\r\n\
             User-Agent: bank-client/{}\r\nConnection: close\r\n\r\n",
            self.url.path().trim_end_matches('/'),
            self.host_and_port(),
            self.randomness.uuid(),
            env!("CARGO_PKG_VERSION"),
        )
    }

    fn initial_observations(&self) -> Observations {
        let own = self.credentials.iter().flat_map(Credentials::chain);
        Observations {
            server: self.host_and_port(),
            at: self.clock.now(),
            limits: self.limits,
            own_chain: own.map(CertificateFacts::of).collect(),
            address: None,
            offered: self.offer(),
            negotiated: Negotiated::default(),
            server_chain: Vec::new(),
            refusal: None,
            is_key_proved: false,
            certificate_request: None,
            end: End::TimedOut(Stage::Connecting),
        }
    }

    fn offer(&self) -> Vec<Fact> {
        let groups: Vec<String> = provider()
            .kx_groups
            .iter()
            .map(|group| format!("{:?}", group.name()))
            .collect();
        vec![
            Fact::new("host name", self.host()),
            Fact::new("protocol versions offered", "TLS 1.3, TLS 1.2"),
            Fact::new("key exchange groups offered", groups.join(", ")),
            Fact::new("application protocols offered", "http/1.1"),
        ]
    }

    fn host(&self) -> &str {
        let host = self.url.host_str().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    fn socket(&self) -> (&str, u16) {
        (self.host(), self.url.port_or_known_default().unwrap_or(443))
    }

    fn host_and_port(&self) -> String {
        let (_, port) = self.socket();
        format!("{}:{port}", self.url.host_str().unwrap_or_default())
    }

    fn server_name(&self) -> Result<ServerName<'static>, ConfigurationError> {
        ServerName::try_from(self.host().to_owned())
            .map_err(|_| ConfigurationError::Url(self.url.to_string()))
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe")
            .field("url", &self.url.as_str())
            .field("credentials", &self.credentials)
            .field("organisation", &self.organisation)
            .finish_non_exhaustive()
    }
}

fn config(recorder: &Arc<Recorder>) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(recorder) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(Arc::<Recorder>::clone(recorder));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed handshake has no certificates.
    config.resumption = Resumption::disabled();
    Ok(config)
}
