//! TLS client configuration: our certificate, and verification of the bank's.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::Resumption;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use shared_types::environment::Clock;
use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::credentials::{Credentials, provider};
use shared_types::pki::eidas::{IdentityError, OrganisationId, organisation_of};
use shared_types::pki::trust::{Anchors, Refusal, Usage, Window, is_for_host, judge};
use shared_types::verify_handshake_signatures;

use crate::revocation::Revocation;

/// Reason for which we refused a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerRefusal {
    /// Its certificate cannot be trusted.
    #[error(transparent)]
    Trust(#[from] Refusal),
    /// Its certificate is for other host names.
    #[error("the certificate is not for the host name {0}")]
    WrongName(String),
    /// It is another bank, however trustworthy.
    #[error("it is {found}, and {expected} was expected")]
    WrongOrganisation {
        /// The bank that was meant.
        expected: OrganisationId,
        /// The bank that answered.
        found: OrganisationId,
    },
    /// Its certificate does not name an organisation.
    #[error(transparent)]
    NoOrganisation(#[from] IdentityError),
}

impl ServerRefusal {
    fn to_tls(&self) -> rustls::Error {
        match self {
            Self::Trust(refusal) => refusal.to_tls(),
            Self::WrongName(_) => {
                rustls::Error::InvalidCertificate(CertificateError::NotValidForName)
            }
            Self::WrongOrganisation { .. } | Self::NoOrganisation(_) => {
                rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
            }
        }
    }
}

/// A server that we refused.
#[derive(Debug, Clone)]
pub(crate) struct RefusedServer {
    pub(crate) certificate: CertificateSummary,
    pub(crate) reason: ServerRefusal,
}

/// Judges the certificates of one bank's servers.
pub(crate) struct ServerVerifier {
    anchors: Anchors,
    /// Without it, any organisation will do.
    expected: Option<OrganisationId>,
    revocation: Revocation,
    clock: Arc<dyn Clock>,
    last: Mutex<Last>,
}

/// Outcomes of the judgements so far.
#[derive(Debug, Default)]
struct Last {
    /// Validity of the trust in the servers verified so far.
    window: Option<Window>,
    /// The server that was refused last. rustls's error carries only what fits an alert.
    refused: Option<RefusedServer>,
}

impl ServerVerifier {
    pub(crate) fn new(
        anchors: Anchors,
        expected: impl Into<Option<OrganisationId>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            anchors,
            expected: expected.into(),
            revocation: Revocation::default(),
            clock,
            last: Mutex::default(),
        }
    }

    /// The same, going by that of revoked certificates.
    pub(crate) fn revocation(mut self, revocation: Revocation) -> Self {
        self.revocation = revocation;
        self
    }

    /// The TLS configuration that shows `credentials` and asks this verifier.
    pub(crate) fn config(
        self: &Arc<Self>,
        credentials: &Credentials,
    ) -> Result<ClientConfig, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(self) as Arc<dyn ServerCertVerifier>)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
                credentials.certified_key(),
            )));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed session brings no certificate to judge.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// Takes the server that was refused last, if any.
    pub(crate) fn take_refused(&self) -> Option<RefusedServer> {
        self.last().refused.take()
    }

    /// Whether the servers verified so far are still trusted. If not, this forgets them, and their
    /// connections must be closed.
    pub(crate) fn still_stands(&self) -> bool {
        let now = self.clock.unix();
        let mut last = self.last();
        let stands = last.window.is_none_or(|window| window.contains(now));
        if !stands {
            last.window = None;
        }
        stands
    }

    /// Verifies a bank's certificates. Returns for how long it is trusted.
    pub(crate) fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
    ) -> Result<Window, ServerRefusal> {
        let now = self.clock.unix();
        let path = judge(&self.anchors, leaf, intermediates, Usage::Server, now)?;
        let known = self.revocation.check(&path, stapled, now)?;
        let window = Window {
            until: path.window.until.min(known),
            ..path.window
        };
        if !is_for_host(leaf, name) {
            return Err(ServerRefusal::WrongName(name.to_str().into_owned()));
        }
        if let Some(expected) = &self.expected {
            let found = organisation_of(leaf)?;
            if found != *expected {
                return Err(ServerRefusal::WrongOrganisation {
                    expected: expected.clone(),
                    found,
                });
            }
        }
        Ok(window)
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        // Nothing panics while the lock is held; if it did, the content would still be whole.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerVerifier")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.judge(leaf, intermediates, name, stapled) {
            Ok(window) => {
                let mut last = self.last();
                last.window = Some(
                    last.window
                        .map_or(window, |known| known.intersection(window)),
                );
                Ok(ServerCertVerified::assertion())
            }
            Err(reason) => {
                let error = reason.to_tls();
                self.last().refused = Some(RefusedServer {
                    certificate: CertificateSummary::of(leaf),
                    reason,
                });
                Err(error)
            }
        }
    }

    verify_handshake_signatures!();
}
