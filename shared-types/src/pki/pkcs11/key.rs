//! Private key on a token, as rustls signs with it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::sign::{Signer, SigningKey};
use rustls::{OtherError, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::error::Pkcs11Error;
use super::module::{ContextGuard, HandshakeThreads, Module, lock};
use super::session::{self, Hash, KeySession, Method};
use super::uri::Pkcs11Uri;
use crate::pki::der;
use crate::pki::trust::{self, is_signed_by};

/// Time limit of a signature, the wait for a thread included. A handshake has 5 s by default.
const SIGNATURE_TIMEOUT: Duration = Duration::from_secs(3);

/// Time limit for finding the key when it is configured or reloaded.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Time after which a key that has not signed is checked by a signature.
const IDLE: Duration = Duration::from_secs(10);

/// Time of a signature from which on a token is reported as slow.
const SLOW: Duration = Duration::from_secs(1);

/// Signed to see that a key is that of the certificate, and that its token works. Neither TLS nor a
/// certificate signs what begins like this.
const TEST_MESSAGE: &[u8] = b"test signature of a private key on a PKCS#11 token";

/// A private key on a token, which belongs to a certificate.
pub(in super::super) struct Pkcs11Key {
    uri: Pkcs11Uri,
    module: Arc<Module>,
    /// Public key of the certificate, to which this key has been proved to belong.
    public_key: SubjectPublicKeyInfoDer<'static>,
    kind: Kind,
    has_pkcs1: AtomicBool,
    /// Sessions that wait for a signature.
    sessions: Mutex<Vec<KeySession>>,
    health: Mutex<Health>,
}

/// Problem of a key on a token. As the error of a signature it is within that of rustls.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct KeyProblem {
    /// The URI of the key, and what is wrong with it.
    pub text: String,
    /// Whether signatures are made all the same.
    pub signs: bool,
}

/// Kind of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    Ecdsa(SignatureScheme, Hash),
}

/// Whether the token works.
struct Health {
    /// The error of the last signature, if it failed. Signatures fail with it at once, until the
    /// periodic check succeeds.
    error: Option<Pkcs11Error>,
    last_success: Instant,
    /// Time of the last signature.
    took: Duration,
}

impl Pkcs11Key {
    /// Finds the key that belongs to the first certificate of the chain, and has it sign once.
    pub(in super::super) fn open(
        uri: Pkcs11Uri,
        certificate: &CertificateDer<'_>,
    ) -> Result<Arc<Self>, Pkcs11Error> {
        let public_key = trust::public_key(certificate).ok_or(Pkcs11Error::UnusableKind)?;
        let kind = Kind::of(&public_key).ok_or(Pkcs11Error::UnusableKind)?;
        let module = Module::at(uri.module())?;
        let key = Arc::new(Self {
            uri,
            module: Arc::clone(&module),
            public_key: SubjectPublicKeyInfoDer::from(public_key),
            kind,
            has_pkcs1: AtomicBool::new(false),
            sessions: Mutex::default(),
            health: Mutex::new(Health {
                error: None,
                last_success: Instant::now(),
                took: Duration::ZERO,
            }),
        });
        let opened = Arc::clone(&key);
        module.call(OPEN_TIMEOUT, move || {
            let session = opened.open_first_session();
            if session.as_ref().is_err_and(Pkcs11Error::is_of_device) {
                opened.module.finalise();
            }
            let session = session?;
            opened.has_pkcs1.store(session.has_pkcs1, Ordering::Relaxed);
            lock(&opened.sessions).push(session);
            Ok(())
        })?;
        module.watch(&key);
        Ok(key)
    }

    /// Threads on which handshakes wait for this key.
    pub(in super::super) fn handshake_threads(&self) -> HandshakeThreads {
        HandshakeThreads(Arc::clone(&self.module))
    }

    /// The problem of the key at present, if there is one.
    pub(in super::super) fn problem(&self) -> Option<KeyProblem> {
        let health = lock(&self.health);
        let (problem, signs) = match (self.module.silence(), &health.error) {
            (Some(silence), _) => (Pkcs11Error::Timeout(round(silence)).to_string(), false),
            (None, Some(error)) => (error.to_string(), false),
            (None, None) if health.took >= SLOW => {
                let took = round(health.took).as_secs();
                let slow = format!("names a token that is slow: the last signature took {took} s");
                (slow, true)
            }
            (None, None) => return None,
        };
        Some(KeyProblem {
            text: format!("{} {problem}", self.uri),
            signs,
        })
    }

    /// Whether the last signature succeeded.
    pub(super) fn works(&self) -> bool {
        lock(&self.health).error.is_none()
    }

    /// Whether the periodic check has to have this key sign.
    pub(super) fn is_due(&self) -> bool {
        let health = lock(&self.health);
        health.error.is_some() || health.last_success.elapsed() >= IDLE
    }

    /// Signs once, on this thread, and records the outcome. Where the token is gone, the module is
    /// initialised again by the next check.
    pub(super) fn check(&self) {
        if let Err(error) = self.sign_here(self.kind.preferred(), TEST_MESSAGE)
            && error.is_of_device()
        {
            self.module.finalise();
        }
    }

    /// Closes the sessions that wait.
    pub(super) fn close_sessions(&self) {
        lock(&self.sessions).clear();
    }

    /// Signs on a thread of the module, and waits for it.
    fn sign(self: &Arc<Self>, method: Method, message: &[u8]) -> Result<Vec<u8>, Pkcs11Error> {
        if let Some(error) = &lock(&self.health).error {
            return Err(error.clone());
        }
        let (key, message) = (Arc::clone(self), message.to_vec());
        self.module
            .call(SIGNATURE_TIMEOUT, move || key.sign_here(method, &message))
    }

    /// Signs on this thread, and records the outcome.
    fn sign_here(&self, method: Method, message: &[u8]) -> Result<Vec<u8>, Pkcs11Error> {
        let start = Instant::now();
        let signed = self.sign_in_session(method, message);
        let mut health = lock(&self.health);
        health.error = signed.as_ref().err().cloned();
        if signed.is_ok() {
            health.last_success = Instant::now();
            health.took = start.elapsed();
        }
        signed
    }

    /// Signs in a session that waits. Where it has ended, with the token or by its time limit, opens
    /// another one.
    fn sign_in_session(&self, method: Method, message: &[u8]) -> Result<Vec<u8>, Pkcs11Error> {
        let context = self.module.context()?;
        let waiting = lock(&self.sessions).pop();
        if let Some(session) = waiting {
            if let Ok(signature) = session.sign(method, message) {
                lock(&self.sessions).push(session);
                return self.kind.encode(signature);
            }
            // The others have most likely ended too.
            drop(session);
            self.close_sessions();
        }
        let session = self.open_session(&context)?;
        let signature = session.sign(method, message)?;
        lock(&self.sessions).push(session);
        self.kind.encode(signature)
    }

    fn open_first_session(&self) -> Result<KeySession, Pkcs11Error> {
        self.open_session(&self.module.context()?)
    }

    /// Opens a session in which the key signs, and makes sure that it is the certificate's key.
    fn open_session(&self, context: &ContextGuard<'_>) -> Result<KeySession, Pkcs11Error> {
        let method = self.kind.preferred();
        let scheme = self.kind.preferred_scheme();
        KeySession::open(&self.module, context.get()?, &self.uri, method, |session| {
            let signature = self.kind.encode(session.sign(method, TEST_MESSAGE)?)?;
            Ok(is_signed_by(
                &self.public_key,
                scheme,
                TEST_MESSAGE,
                &signature,
            ))
        })
    }
}

/// The public half of an ECDSA key on a token that has no certificate yet
/// (`SubjectPublicKeyInfo`). Blocks for 10 s at most.
pub fn public_key(uri: &Pkcs11Uri) -> Result<Vec<u8>, Pkcs11Error> {
    let module = Module::at(uri.module())?;
    let (called, uri) = (Arc::clone(&module), uri.clone());
    module.call(OPEN_TIMEOUT, move || {
        let context = called.context()?;
        session::public_key(&called, context.get()?, &uri)
    })
}

/// Whole seconds, for a text that does not change with each look.
fn round(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs().max(1))
}

impl Kind {
    /// That of a public key (`SubjectPublicKeyInfo`).
    fn of(public_key: &[u8]) -> Option<Self> {
        let (_, parsed) = SubjectPublicKeyInfo::from_der(public_key).ok()?;
        let algorithm = parsed.algorithm;
        let curve = algorithm
            .parameters
            .and_then(|parameters| parameters.oid().ok());
        let curve = curve.map(|curve| curve.to_id_string());
        match (
            algorithm.algorithm.to_id_string().as_str(),
            curve.as_deref(),
        ) {
            ("1.2.840.113549.1.1.1", _) => Some(Self::Rsa),
            ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => Some(Self::Ecdsa(
                SignatureScheme::ECDSA_NISTP256_SHA256,
                Hash::Sha256,
            )),
            ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => Some(Self::Ecdsa(
                SignatureScheme::ECDSA_NISTP384_SHA384,
                Hash::Sha384,
            )),
            ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => Some(Self::Ecdsa(
                SignatureScheme::ECDSA_NISTP521_SHA512,
                Hash::Sha512,
            )),
            _ => None,
        }
    }

    const fn preferred(self) -> Method {
        match self {
            Self::Rsa => Method::Pss(Hash::Sha256),
            Self::Ecdsa(_, hash) => Method::Ecdsa(hash),
        }
    }

    const fn preferred_scheme(self) -> SignatureScheme {
        match self {
            Self::Rsa => SignatureScheme::RSA_PSS_SHA256,
            Self::Ecdsa(scheme, _) => scheme,
        }
    }

    /// A signature as TLS and X.509 have it: that of ECDSA is a sequence of two numbers.
    fn encode(self, signature: Vec<u8>) -> Result<Vec<u8>, Pkcs11Error> {
        if self == Self::Rsa {
            return Ok(signature);
        }
        let half = signature.len() / 2;
        let (r, s) = signature.split_at(half);
        if half == 0 || r.len() != s.len() {
            return Err(Pkcs11Error::Device(
                "it made a signature of an odd length".to_owned(),
            ));
        }
        Ok(der::write(der::SEQUENCE, &[&number(r), &number(s)]))
    }
}

/// `INTEGER` of a number without a sign.
fn number(octets: &[u8]) -> Vec<u8> {
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    let significant = octets.get(zeros..).unwrap_or_default();
    match significant.first() {
        Some(first) if *first < 0x80 => der::write(der::INTEGER, &[significant]),
        _ => der::write(der::INTEGER, &[&[0], significant]),
    }
}

/// The key as rustls takes it.
#[derive(Debug)]
pub(in super::super) struct Pkcs11SigningKey(pub(in super::super) Arc<Pkcs11Key>);

impl SigningKey for Pkcs11SigningKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let has_pkcs1 = self.0.has_pkcs1.load(Ordering::Relaxed);
        let known: &[(SignatureScheme, Method)] = match self.0.kind {
            Kind::Ecdsa(scheme, hash) => &[(scheme, Method::Ecdsa(hash))],
            // One of each kind, which every peer has: a peer must not choose a method that the
            // token does not have for this key.
            Kind::Rsa => &[
                (SignatureScheme::RSA_PSS_SHA256, Method::Pss(Hash::Sha256)),
                (
                    SignatureScheme::RSA_PKCS1_SHA256,
                    Method::Pkcs1(Hash::Sha256),
                ),
            ],
        };
        let (scheme, method) = known.iter().copied().find(|(scheme, method)| {
            offered.contains(scheme) && (has_pkcs1 || !matches!(method, Method::Pkcs1(_)))
        })?;
        Some(Box::new(Pkcs11Signer {
            key: Arc::clone(&self.0),
            scheme,
            method,
        }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.0.public_key.clone())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.kind {
            Kind::Rsa => SignatureAlgorithm::RSA,
            Kind::Ecdsa(..) => SignatureAlgorithm::ECDSA,
        }
    }
}

/// Makes one signature.
#[derive(Debug)]
struct Pkcs11Signer {
    key: Arc<Pkcs11Key>,
    scheme: SignatureScheme,
    method: Method,
}

impl Signer for Pkcs11Signer {
    /// Blocks until the token has signed, for 3 s at most.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.key.sign(self.method, message).map_err(|error| {
            let text = format!("{} {error}", self.key.uri);
            let problem = KeyProblem { text, signs: false };
            rustls::Error::Other(OtherError(Arc::new(problem)))
        })
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

impl fmt::Debug for Pkcs11Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Key")
            .field("uri", &self.uri)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_of_ecdsa_are_encoded_without_superfluous_octets() {
        let kind = Kind::Ecdsa(SignatureScheme::ECDSA_NISTP256_SHA256, Hash::Sha256);
        assert_eq!(
            kind.encode(vec![0, 1, 0x80, 2]).unwrap(),
            [0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 2]
        );
        assert_eq!(
            kind.encode(vec![0, 0]).unwrap(),
            [0x30, 6, 2, 1, 0, 2, 1, 0]
        );
        assert!(kind.encode(vec![1, 2, 3]).is_err());
        assert!(kind.encode(Vec::new()).is_err());
    }
}
