//! Encryption of stored records: one [`Key`] for a program, and a [`Vault`] for each purpose that
//! it serves.
//!
//! Records are encrypted with AES-256-GCM and a fresh random nonce. A record's subject is
//! authenticated data: moved to another place in the database, it does not decrypt. The database
//! cannot be read without the key: keep the key apart from it, and back it up.
//!
//! ```
//! use std::sync::Arc;
//!
//! use bank_client::environment::SystemRandomness;
//! use bank_client::vault::{Key, Vault};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("app.key");
//! let key = Key::from_file(&path, &SystemRandomness)?;
//! let vault = Vault::new(&key, "consents", Arc::new(SystemRandomness))?;
//! let sealed = vault.seal("consent/17", b"secret")?;
//! assert_eq!(vault.open("consent/17", &sealed)?, b"secret");
//! assert!(vault.open("consent/18", &sealed).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{hkdf, hmac};
use shared_types::environment::Randomness;
pub use shared_types::sealing::{Cipher, KEY_BYTES, Key, KeyError, KeyPlace, SealError};

/// Seals records for one purpose. Cheap to clone.
///
/// Its key is derived (HKDF-SHA-256) from the program's own: what is sealed for one purpose does
/// not open for another.
#[derive(Clone)]
pub struct Vault {
    cipher: Cipher,
    names: hmac::Key,
}

impl Vault {
    /// A vault for that purpose.
    pub fn new(
        key: &Key,
        purpose: &str,
        randomness: Arc<dyn Randomness>,
    ) -> Result<Self, SealError> {
        let material = hkdf::Salt::new(hkdf::HKDF_SHA256, b"bank-client").extract(key.bytes());
        let derive = |info: &[&[u8]]| {
            let mut derived = [0; KEY_BYTES];
            material
                .expand(info, hkdf::HKDF_SHA256)
                .and_then(|material| material.fill(&mut derived))
                .map_err(|_| SealError::Library)?;
            Ok(derived)
        };
        let cipher = Cipher::new(&derive(&[purpose.as_bytes()])?, randomness)?;
        let names = derive(&[purpose.as_bytes(), b"\0names"])?;
        let names = hmac::Key::new(hmac::HMAC_SHA256, &names);
        Ok(Self { cipher, names })
    }

    /// Keyed digest of `about` (truncated HMAC-SHA-256). It is always the same, and reveals nothing
    /// without the key.
    pub(crate) fn name(&self, about: &str) -> [u8; 16] {
        let tag = hmac::sign(&self.names, about.as_bytes());
        let mut name = [0; 16];
        for (byte, tag) in name.iter_mut().zip(tag.as_ref()) {
            *byte = *tag;
        }
        name
    }

    /// Encrypts. `about` says what it is and whose: only with the same one does it open again.
    pub fn seal(&self, about: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.cipher.seal(about, plain)
    }

    /// Decrypts what [`seal`](Self::seal) made of the same `about`.
    pub fn open(&self, about: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.cipher.open(about, sealed)
    }

    /// Chance, from the source that its nonces come from.
    #[cfg(feature = "sqlite")]
    pub(crate) fn chance(&self) -> [u8; 16] {
        self.cipher.randomness().bytes()
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<vault>")
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use shared_types::environment::SystemRandomness;

    struct Fixed;

    impl Randomness for Fixed {
        fn bytes(&self) -> [u8; 16] {
            [7; 16]
        }
    }

    fn vault(key: u8, purpose: &str) -> Vault {
        let key = Key::from_bytes([key; KEY_BYTES]);
        Vault::new(&key, purpose, Arc::new(SystemRandomness)).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_purpose_and_subject_alone() {
        let sealed = vault(1, "consents").seal("c/1", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        let again = vault(1, "consents").seal("c/1", b"secret").unwrap();
        assert_ne!(sealed, again, "a fresh nonce each time");
        assert_eq!(
            vault(1, "consents").open("c/1", &sealed).unwrap(),
            b"secret"
        );
        for (other, about) in [
            (vault(2, "consents"), "c/1"),
            (vault(1, "copy"), "c/1"),
            (vault(1, "consents"), "c/2"),
        ] {
            assert_eq!(other.open(about, &sealed), Err(SealError::Foreign));
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(
                vault(1, "consents").open("c/1", &changed).is_err(),
                "byte {at}"
            );
            assert!(
                vault(1, "consents").open("c/1", &sealed[..at]).is_err(),
                "{at} bytes"
            );
        }
        let empty = vault(1, "consents").seal("c/1", b"").unwrap();
        assert_eq!(vault(1, "consents").open("c/1", &empty).unwrap(), b"");
    }

    /// Worked out with Python's `cryptography`: HKDF-SHA-256 with the salt `bank-client`, then
    /// AES-256-GCM. Later versions must decrypt existing databases.
    #[test]
    fn the_format_is_fixed() {
        let key = Key::from_bytes([3; KEY_BYTES]);
        let vault = Vault::new(&key, "consents", Arc::new(Fixed)).unwrap();
        let sealed = vault.seal("c/1", b"secret").unwrap();
        assert_eq!(
            STANDARD.encode(sealed),
            "BwcHBwcHBwcHBwcHc8UvsSfjVF1FwZnLi52pvKZ9bDnEUg=="
        );
    }

    #[test]
    fn nothing_shows_in_debug() {
        let shown = format!("{:?}", vault(65, "consents"));
        assert_eq!(shown, "<vault>");
        let key = Key::from_bytes([65; KEY_BYTES]);
        assert_eq!(format!("{key:?}"), "<key>");
    }
}
