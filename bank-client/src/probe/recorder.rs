//! Recorder of certificate verification and client certificate selection in the handshake.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use shared_types::pki::certificate::distinguished_name;
use shared_types::pki::credentials::Credentials;
use shared_types::verify_handshake_signatures;

use super::observations::{CertificateFacts, CertificateRequest, Presented};
use crate::tls::{ServerRefusal, ServerVerifier};

/// Observations so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The server's certificate chain, leaf first.
    pub(super) server_chain: Vec<CertificateFacts>,
    /// Our reason for refusing it.
    pub(super) refusal: Option<ServerRefusal>,
    /// Whether the server's handshake signature is valid.
    pub(super) is_key_proved: bool,
    /// The server's certificate request, if it sent one.
    pub(super) certificate_request: Option<CertificateRequest>,
}

/// Verifier and certificate resolver that act as the SDK's do, and record both.
pub(super) struct Recorder {
    verifier: ServerVerifier,
    credentials: Option<Credentials>,
    record: Mutex<Record>,
}

impl Recorder {
    pub(super) fn new(verifier: ServerVerifier, credentials: Option<Credentials>) -> Self {
        Self {
            verifier,
            credentials,
            record: Mutex::default(),
        }
    }

    /// Returns the record and resets it.
    pub(super) fn take(&self) -> Record {
        std::mem::take(&mut *self.record())
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // A panic while the lock is held cannot leave the record inconsistent.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_signature(
        &self,
        outcome: Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.record().is_key_proved = outcome.is_ok();
        outcome
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("verifier", &self.verifier)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict =
            self.verifier
                .verify_server_cert(leaf, intermediates, name, ocsp_response, now);
        let mut record = self.record();
        record.server_chain = std::iter::once(leaf)
            .chain(intermediates)
            .map(CertificateFacts::of)
            .collect();
        record.refusal = self.verifier.take_refused().map(|refused| refused.reason);
        verdict
    }

    verify_handshake_signatures!(record_signature);
}

impl ResolvesClientCert for Recorder {
    fn resolve(
        &self,
        authorities: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let key = self.credentials.as_ref().map(Credentials::certified_key);
        let response = match &key {
            None => Presented::None,
            Some(key) if key.key.choose_scheme(schemes).is_none() => Presented::NoCommonScheme,
            Some(_) => Presented::Certificate,
        };
        self.record().certificate_request = Some(CertificateRequest {
            authorities: authorities
                .iter()
                .map(|name| distinguished_name(name))
                .collect(),
            response,
        });
        key
    }

    fn has_certs(&self) -> bool {
        // Also without a certificate: `resolve` records the request.
        true
    }
}
