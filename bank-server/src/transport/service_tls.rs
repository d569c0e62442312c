//! TLS client configuration for a service of the bank itself: own anchors, and own certificate.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert};
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, ConfigBuilder};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use shared_types::environment::Clock;
use shared_types::pki::certificate::hosts;
use shared_types::pki::credentials::{Credentials, provider};
use shared_types::pki::pkcs11::HandshakeThreads;
use shared_types::pki::trust::{Anchors, Refusal, Usage, Window, allows, is_for_host, judge};
use shared_types::verify_handshake_signatures;

use super::pem_files::{self, KeySource, Source};
use super::source_watcher::SourceWatcher;
use crate::config_error::ConfigError;

/// Anchors of the certificate of such a service, and the certificate and key with which the bank
/// server is its client, if it has one. The files are read again when they change.
pub(crate) struct ServiceTls {
    own: Option<OwnCertificate>,
    trusted: SourceWatcher,
    anchors: Anchors,
    verdicts: ServiceVerdicts,
    clock: Arc<dyn Clock>,
}

/// Outcomes of the verifications of a service's certificate so far.
#[derive(Clone, Default)]
pub(crate) struct ServiceVerdicts(Arc<Mutex<Verdicts>>);

#[derive(Default)]
struct Verdicts {
    /// Time in which all certificates of the service that were verified are valid.
    window: Option<Window>,
    /// Reason for the last refusal: rustls's error carries only what fits an alert.
    refused: Option<String>,
}

impl ServiceVerdicts {
    /// Takes the reason for the last refusal.
    pub(crate) fn take_refused(&self) -> Option<String> {
        self.lock().refused.take()
    }

    /// Nothing panics while the lock is held; if it did, the content would still be whole.
    fn lock(&self) -> MutexGuard<'_, Verdicts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Certificate and key of the client.
struct OwnCertificate {
    private_key: KeySource,
    files: SourceWatcher,
    credentials: Credentials,
}

impl OwnCertificate {
    fn open(certificate: Source, private_key: KeySource) -> Result<Self, Vec<ConfigError>> {
        let files = std::iter::once(certificate).chain(private_key.secret_file());
        let mut files = SourceWatcher::new(files.collect());
        let credentials = files.read(|files| own(&private_key, files))?;
        Ok(Self {
            private_key,
            files,
            credentials,
        })
    }

    fn read_changed(&mut self) -> Option<Result<Credentials, Vec<ConfigError>>> {
        let read = |files: pem_files::Files<'_>| own(&self.private_key, files);
        self.files.read_changed(false, read)
    }
}

impl ServiceTls {
    /// Reads the files; returns all errors, not only the first.
    pub(crate) fn open(
        certificate: Source,
        private_key: KeySource,
        anchors: Vec<Source>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Vec<ConfigError>> {
        let own = OwnCertificate::open(certificate, private_key).map(Some);
        Self::with(own, anchors, clock)
    }

    /// Like [`open`](Self::open), for a service that takes callers without a certificate.
    pub(crate) fn without_certificate(
        anchors: Vec<Source>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Vec<ConfigError>> {
        Self::with(Ok(None), anchors, clock)
    }

    fn with(
        own: Result<Option<OwnCertificate>, Vec<ConfigError>>,
        anchors: Vec<Source>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut trusted = SourceWatcher::new(anchors);
        let anchors = trusted.read(pem_files::anchors);
        match (own, anchors) {
            (Ok(own), Ok(anchors)) => Ok(Self {
                own,
                trusted,
                anchors,
                verdicts: ServiceVerdicts::default(),
                clock,
            }),
            (own, anchors) => {
                let faults = own.err().into_iter().chain(anchors.err());
                Err(faults.flatten().collect())
            }
        }
    }

    /// Reads the files that have changed; `None` if none has. After an error all previous
    /// certificates stay, and the next call reads the files again.
    pub(crate) fn reload(&mut self) -> Option<Result<(), Vec<ConfigError>>> {
        let own = self.own.as_mut().and_then(OwnCertificate::read_changed);
        let trusted = self.trusted.read_changed(false, pem_files::anchors);
        if own.is_none() && trusted.is_none() {
            return None;
        }
        match (own.transpose(), trusted.transpose()) {
            (Ok(credentials), Ok(anchors)) => {
                if let Some((own, credentials)) = self.own.as_mut().zip(credentials) {
                    own.credentials = credentials;
                }
                self.anchors = anchors.unwrap_or_else(|| self.anchors.clone());
                Some(Ok(()))
            }
            (credentials, anchors) => {
                if let Some(own) = &mut self.own {
                    own.files.forget();
                }
                self.trusted.forget();
                let faults = credentials.err().into_iter().chain(anchors.err());
                Some(Err(faults.flatten().collect()))
            }
        }
    }

    /// Whether the certificates of the service that were verified so far are still valid. If not,
    /// this forgets them, and their connections must be closed.
    pub(crate) fn still_stands(&self) -> bool {
        let mut verdicts = self.verdicts.lock();
        let now = self.clock.unix();
        let stands = verdicts.window.is_none_or(|window| window.contains(now));
        if !stands {
            verdicts.window = None;
        }
        stands
    }

    /// Outcomes of the verifications, also of those with later certificates.
    pub(crate) fn verdicts(&self) -> ServiceVerdicts {
        self.verdicts.clone()
    }

    /// Threads for handshakes, where the key is on a token.
    pub(crate) fn handshake_threads(&self) -> Option<HandshakeThreads> {
        self.own.as_ref()?.credentials.handshake_threads()
    }

    /// The problem of a key on a token, if it has one.
    pub(crate) fn key_problem(&self) -> Option<ConfigError> {
        let own = self.own.as_ref()?;
        let problem = own.credentials.key_problem()?;
        Some(ConfigError::new(&own.private_key.key, problem.text))
    }

    /// The configuration with the present certificates.
    pub(crate) fn config(&self) -> Result<ClientConfig, rustls::Error> {
        let Some(own) = &self.own else {
            return self.anonymous();
        };
        let own = SingleCertAndKey::from(own.credentials.certified_key());
        let builder = self.builder()?;
        Ok(finish(builder.with_client_cert_resolver(Arc::new(own))))
    }

    /// The configuration of a caller without a certificate of its own.
    pub(crate) fn anonymous(&self) -> Result<ClientConfig, rustls::Error> {
        Ok(finish(self.builder()?.with_no_client_auth()))
    }

    fn builder(&self) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
        let verifier = ServiceVerifier {
            anchors: self.anchors.clone(),
            verdicts: self.verdicts.clone(),
            clock: Arc::clone(&self.clock),
        };
        Ok(ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier)))
    }
}

fn finish(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session brings no certificate to verify.
    config.resumption = Resumption::disabled();
    config
}

/// Our own certificate and key; the certificate has to be one for TLS clients.
fn own(
    private_key: &KeySource,
    files: pem_files::Files<'_>,
) -> Result<Credentials, Vec<ConfigError>> {
    let certificate = files.first().map(|(source, _)| (*source).clone());
    let credentials = pem_files::credentials(private_key, files)?;
    let is_for_clients = |leaf| allows(leaf, Usage::Client);
    match certificate {
        Some(source) if !credentials.chain().first().is_some_and(is_for_clients) => {
            let problem = "is not for TLS clients: its extended key usage lacks clientAuth";
            Err(vec![source.fault(&problem)])
        }
        _ => Ok(credentials),
    }
}

/// Reason for a refusal, and what to do.
fn explain(refusal: &Refusal) -> String {
    let advice = match refusal {
        Refusal::WrongUsage(_) => ": extendedKeyUsage has to name serverAuth",
        Refusal::UnknownIssuer { .. } | Refusal::SelfSigned | Refusal::BadSignature { .. } => {
            ": `anchors` has to name the CA that issued it"
        }
        Refusal::IncompleteChain { .. } => ": the service has to send it, or `anchors` to name it",
        _ => "",
    };
    format!("its certificate is refused: {refusal}{advice}")
}

fn wrong_name(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> String {
    let host = name.to_str();
    let names = hosts(leaf);
    if names.is_empty() {
        format!(
            "its certificate is refused: it names no host (subject alternative name), and `url` \
             names {host}"
        )
    } else {
        let names = names.join(", ");
        format!("its certificate is refused: it is for {names}, and `url` names {host}")
    }
}

/// Verifies the certificate of the service: chain to the anchors, validity, host name.
struct ServiceVerifier {
    anchors: Anchors,
    verdicts: ServiceVerdicts,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for ServiceVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceVerifier").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for ServiceVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _stapled: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let now = self.clock.unix();
        let judged = judge(&self.anchors, leaf, intermediates, Usage::Server, now);
        let mut verdicts = self.verdicts.lock();
        let path = judged.map_err(|refusal| {
            verdicts.refused = Some(explain(&refusal));
            refusal.to_tls()
        })?;
        if !is_for_host(leaf, name) {
            verdicts.refused = Some(wrong_name(leaf, name));
            let error = CertificateError::NotValidForName;
            return Err(rustls::Error::InvalidCertificate(error));
        }
        let window = path.window;
        verdicts.window = Some(
            verdicts
                .window
                .map_or(window, |known| known.intersection(window)),
        );
        Ok(ServerCertVerified::assertion())
    }

    verify_handshake_signatures!();
}
