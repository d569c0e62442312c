//! A party's own certificate and private key, for either end of a connection.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use shared_types::certificate::CertificateSummary;
use shared_types::trust::validity;

/// A certificate chain and the private key that belongs to its first certificate.
#[derive(Clone)]
pub struct Credentials(Arc<CertifiedKey>);

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The certificate file is not PEM, or holds no certificate.
    #[error("the certificate file holds no readable PEM certificate")]
    NoCertificate,
    /// The key file is not PEM, or holds no private key.
    #[error("the private key file holds no readable PEM private key")]
    NoKey,
    /// The key is of a kind that cannot be used, or belongs to another certificate.
    #[error("the private key does not fit the certificate: {0}")]
    Mismatch(rustls::Error),
}

impl Credentials {
    /// Reads the chain (own certificate first, then the issuing CA) and the key.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CredentialsError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| CredentialsError::NoCertificate)?;
        if chain.is_empty() {
            return Err(CredentialsError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CredentialsError::NoKey)?;
        let certified =
            CertifiedKey::from_der(chain, key, &provider()).map_err(CredentialsError::Mismatch)?;
        Ok(Self(Arc::new(certified)))
    }

    /// The chain, own certificate first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.cert
    }

    /// The last second of its own certificate.
    #[must_use]
    pub fn valid_until(&self) -> Option<UnixTime> {
        self.chain()
            .first()
            .and_then(validity)
            .map(|window| window.until)
    }

    /// Chain and key as rustls takes them, for a client and for a server alike.
    #[must_use]
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0)
    }
}

/// The key is not shown.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chain().first() {
            Some(certificate) => write!(f, "Credentials({})", CertificateSummary::of(certificate)),
            None => f.write_str("Credentials()"),
        }
    }
}

/// The cryptography of every TLS configuration: aws-lc-rs, hybrid post-quantum key exchange first.
#[must_use]
pub fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}
