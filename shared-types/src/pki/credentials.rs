//! A party's own certificate and private key, for either end of a connection.

use std::fmt;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

pub use super::crypto::provider;
use crate::pki::certificate::CertificateSummary;
use crate::pki::pem::{self, Kind, Object, PemError};
use crate::pki::pkcs11::{
    HandshakeThreads, KeyProblem, Pkcs11Error, Pkcs11Key, Pkcs11SigningKey, Pkcs11Uri,
    Pkcs11UriError,
};
use crate::pki::trust::{Refusal, public_key, validity, weakness};

/// A certificate chain and the private key that belongs to its first certificate.
#[derive(Clone)]
pub struct Credentials {
    certified_key: Arc<CertifiedKey>,
    /// The key, if a token holds it.
    token_key: Option<Arc<Pkcs11Key>>,
}

/// Error of certificate or key. The text continues the name of the file that is wrong, for which
/// `FILE` stands in commands.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The certificate's file is not a chain of certificates.
    #[error(transparent)]
    Certificate(PemError),
    /// Our own certificate is not one.
    #[error("holds a first certificate that cannot be read: openssl x509 -in FILE -noout -text")]
    Unreadable,
    /// The key's file does not hold one private key.
    #[error(transparent)]
    Key(PemError),
    /// The key is of a kind or size that is not used.
    #[error(
        "holds a private key of a kind that is not used: RSA with 2048 bits or more, ECDSA on P-256, P-384 \
         or P-521, and Ed25519 are; make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out NEW"
    )]
    UnusableKey,
    /// The key is too short, by its certificate.
    #[error(
        "holds a private key that cannot be used: {0}; make another, and have it certified: \
         openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out NEW"
    )]
    WeakKey(Refusal),
    /// The key belongs to another certificate.
    #[error(
        "holds a private key that does not fit the certificate: `openssl pkey -in FILE -pubout` and `openssl x509 -in \
         CERTIFICATE -noout -pubkey` have to print the same"
    )]
    OtherKey,
    /// The key belongs to a certificate of the chain that is not the first.
    #[error(
        "holds our own certificate as number {0}: it has to be the first, then the one that issued \
         it, and so on"
    )]
    Order(usize),
    /// The key is named by a URI that has a fault.
    #[error("{0}")]
    Uri(#[from] Pkcs11UriError),
    /// The key cannot be used on its token.
    #[error(transparent)]
    Token(#[from] Pkcs11Error),
}

impl CredentialsError {
    /// Whether it is the key's file that is wrong, and not the certificate's.
    #[must_use]
    pub fn is_of_key(&self) -> bool {
        match self {
            Self::Certificate(_) | Self::Unreadable | Self::Order(_) => false,
            Self::Key(_)
            | Self::UnusableKey
            | Self::WeakKey(_)
            | Self::OtherKey
            | Self::Uri(_)
            | Self::Token(_) => true,
        }
    }
}

impl Credentials {
    /// Reads the chain (own certificate first, then the issuing CA) and the key.
    ///
    /// Both can be one file. Otherwise the chain's has no key, and the key's no certificate that is
    /// not in the chain.
    ///
    /// In place of PEM, `key` can be a PKCS#11 URI (RFC 7512), such as
    /// `pkcs11:token=bank;object=qwac?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/bank/pin`.
    /// Among the keys that it names, the certificate's is used. Then this blocks until the token has
    /// made a first signature, for 10 s at most, and so does each signature, for 3 s at most: see
    /// [`handshake_threads`](Self::handshake_threads).
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CredentialsError> {
        let is_one_file = chain == key;
        let certificates = certificates(chain, is_one_file)?;
        if Pkcs11Uri::is_meant(key) {
            return Self::on_token(certificates, key);
        }
        let key = private_key(key, &certificates)?;
        if certificates
            .first()
            .is_some_and(|own| public_key(own).is_none())
        {
            return Err(CredentialsError::Unreadable);
        }
        let unusable = || match certificates.first().and_then(weakness) {
            Some(refusal) => CredentialsError::WeakKey(refusal),
            None => CredentialsError::UnusableKey,
        };
        let key = provider().key_provider.load_private_key(key);
        let key = key.map_err(|_| unusable())?;
        // A key without a known public half is checked by the handshake only. rustls's own
        // comparison would refuse certificates with critical extensions that it does not know, such
        // as policies.
        if let Some(own) = key.public_key() {
            let is_its = |certificate: &CertificateDer<'_>| {
                public_key(certificate).is_some_and(|public| public == own.as_ref())
            };
            match certificates.iter().position(is_its) {
                Some(0) => {}
                Some(place) => return Err(CredentialsError::Order(place + 1)),
                None => return Err(CredentialsError::OtherKey),
            }
        }
        Ok(Self {
            certified_key: Arc::new(CertifiedKey::new(certificates, key)),
            token_key: None,
        })
    }

    /// With the key that a token holds.
    fn on_token(
        certificates: Vec<CertificateDer<'static>>,
        uri: &[u8],
    ) -> Result<Self, CredentialsError> {
        let text = str::from_utf8(uri).map_err(|_| Pkcs11UriError::Scheme)?;
        let uri: Pkcs11Uri = text.trim_ascii().parse()?;
        let own = certificates.first().ok_or(CredentialsError::Unreadable)?;
        if public_key(own).is_none() {
            return Err(CredentialsError::Unreadable);
        }
        if let Some(refusal) = weakness(own) {
            return Err(CredentialsError::WeakKey(refusal));
        }
        let key = Pkcs11Key::open(uri, own)?;
        let signing = Arc::new(Pkcs11SigningKey(Arc::clone(&key)));
        Ok(Self {
            certified_key: Arc::new(CertifiedKey::new(certificates, signing)),
            token_key: Some(key),
        })
    }

    /// Threads for handshakes that sign with this key, if a token holds it: it would block others.
    #[must_use]
    pub fn handshake_threads(&self) -> Option<HandshakeThreads> {
        self.token_key.as_ref().map(|key| key.handshake_threads())
    }

    /// The problem of the key at present, if a token holds it: the token is gone, locked or slow, or
    /// does not answer.
    ///
    /// Cost: none worth mentioning. The token is checked in the background.
    #[must_use]
    pub fn key_problem(&self) -> Option<KeyProblem> {
        self.token_key.as_ref()?.problem()
    }

    /// The chain, own certificate first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified_key.cert
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
        Arc::clone(&self.certified_key)
    }
}

/// The certificates of the chain's file; a key is among them only where the key's file is the same.
fn certificates(
    chain: &[u8],
    is_one_file: bool,
) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let found = pem::objects(Kind::Certificate, chain).map_err(CredentialsError::Certificate)?;
    let mut certificates = Vec::new();
    for object in found {
        match object.kind {
            Kind::Certificate => certificates.push(object.der.into()),
            Kind::PrivateKey | Kind::Parameters if is_one_file => {}
            _ => {
                let advice = "certificates are read here, own certificate first: take it out";
                return Err(CredentialsError::Certificate(PemError::unwanted(
                    &object, advice,
                )));
            }
        }
    }
    if certificates.is_empty() {
        return Err(CredentialsError::Certificate(PemError::Empty(
            Kind::Certificate,
        )));
    }
    Ok(certificates)
}

/// The one key of a file.
fn private_key(
    file: &[u8],
    chain: &[CertificateDer<'static>],
) -> Result<PrivateKeyDer<'static>, CredentialsError> {
    let unwanted =
        |object: &Object, advice| CredentialsError::Key(PemError::unwanted(object, advice));
    let mut key: Option<Object> = None;
    for object in pem::objects(Kind::PrivateKey, file).map_err(CredentialsError::Key)? {
        match object.kind {
            Kind::PrivateKey if key.as_ref().is_some_and(|key| key.der != object.der) => {
                let advice = "there is another one before it: keep the certificate's key alone";
                return Err(unwanted(&object, advice));
            }
            Kind::PrivateKey => key = Some(object),
            Kind::Certificate if chain.iter().any(|known| **known == *object.der) => {}
            Kind::Parameters => {}
            Kind::Certificate | Kind::RevocationList => {
                let advice =
                    "it is not in the certificate's file, and is not read here: take it out";
                return Err(unwanted(&object, advice));
            }
        }
    }
    let key = key.ok_or(CredentialsError::Key(PemError::Empty(Kind::PrivateKey)))?;
    PrivateKeyDer::try_from(key.der).map_err(|_| CredentialsError::UnusableKey)
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
