//! Authenticated encryption of records, and the key of a program.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::environment::Randomness;

mod key;

pub use self::key::{Key, KeyError, KeyPlace};

/// Length of a key, in bytes.
pub const KEY_BYTES: usize = 32;

/// Error of sealing or opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// It was sealed with another key, for something else, or was changed.
    #[error(
        "a record was not sealed with this key, or was changed; check that the key is the one it was sealed with"
    )]
    Foreign,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

/// AES-256-GCM with the nonce in front, and the tag behind. Cheap to clone.
///
/// Nonces are random. With 96 bits of them a key is good for 2³² records (NIST SP 800-38D, section
/// 8.3).
#[derive(Clone)]
pub struct Cipher {
    key: Arc<LessSafeKey>,
    randomness: Arc<dyn Randomness>,
}

impl Cipher {
    /// One of that key, which is used for nothing else.
    pub fn new(key: &[u8; KEY_BYTES], randomness: Arc<dyn Randomness>) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| SealError::Library)?;
        Ok(Self {
            key: Arc::new(LessSafeKey::new(key)),
            randomness,
        })
    }

    /// The source of its nonces.
    #[must_use]
    pub fn randomness(&self) -> &dyn Randomness {
        self.randomness.as_ref()
    }

    /// Encrypts, bound to `about`.
    pub fn seal(&self, about: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        for (byte, chance) in nonce.iter_mut().zip(self.randomness.bytes()) {
            *byte = chance;
        }
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(about),
                &mut sealed,
            )
            .map_err(|_| SealError::Library)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts what was bound to the same `about`.
    pub fn open(&self, about: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, sealed) = sealed
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SealError::Foreign)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(about), &mut sealed)
            .map_err(|_| SealError::Foreign)?;
        Ok(plain.to_vec())
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<cipher>")
    }
}
