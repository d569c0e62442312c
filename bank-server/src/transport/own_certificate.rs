//! Own certificate in the handshake, with a stapled OCSP response (RFC 6066, section 8).

use std::fmt;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use shared_types::environment::Clock;
use shared_types::pki::credentials::Credentials;
use shared_types::pki::pkcs11::HandshakeThreads;
use shared_types::pki::revocation::PathCertificate;
use shared_types::pki::revocation::ocsp::{Answer, CertStatus};

use super::trust::TrustSnapshot;

/// Presents our certificate, with the latest OCSP response of its issuer's responder while that is
/// fresh.
pub(super) struct OwnCertificate {
    bare: Arc<CertifiedKey>,
    stapled: Option<(Arc<CertifiedKey>, Arc<Answer>)>,
    clock: Arc<dyn Clock>,
    /// Threads for handshakes, if a token holds the key.
    pub(super) handshake_threads: Option<HandshakeThreads>,
}

impl OwnCertificate {
    pub(super) fn of<P>(snapshot: &TrustSnapshot<P>, clock: Arc<dyn Clock>) -> Self {
        let bare = snapshot.credentials.certified_key();
        let answer = own_path_certificate(&snapshot.credentials)
            .and_then(|own| snapshot.statuses.answers.about(&own).cloned())
            .filter(|answer| answer.said() == CertStatus::Good);
        let stapled = answer.map(|answer| {
            let mut key = (*bare).clone();
            key.ocsp = Some(answer.der().to_vec());
            (Arc::new(key), answer)
        });
        Self {
            bare,
            stapled,
            clock,
            handshake_threads: snapshot.credentials.handshake_threads(),
        }
    }
}

/// Our own certificate as a path certificate for OCSP: the issuing CA follows it in our chain.
pub(super) fn own_path_certificate(credentials: &Credentials) -> Option<PathCertificate> {
    let [own, issuer, ..] = credentials.chain() else {
        return None;
    };
    PathCertificate::between(own, issuer)
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = self.clock.unix();
        let fresh = self
            .stapled
            .as_ref()
            .filter(|(_, answer)| answer.check_fresh(now).is_ok());
        Some(Arc::clone(fresh.map_or(&self.bare, |(key, _)| key)))
    }
}

impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnCertificate")
            .field("stapled", &self.stapled.is_some())
            .finish_non_exhaustive()
    }
}
