//! Vault: encryption and authentication of stored secrets with the bank's own key.
//!
//! One key of 32 bytes, in a file of its own beside the database. From it are derived a key for
//! sealing (AES-256-GCM, a fresh random nonce each time) and one for each kind of MAC
//! (HMAC-SHA-256). The database alone reveals no secret.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared_types::environment::Randomness;
use shared_types::sealing::{Cipher, KEY_BYTES, Key, KeyError};

/// Seals, and computes MACs. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    cipher: Cipher,
    stamping: Arc<hmac::Key>,
}

/// Error of the vault.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Something does not open, or cannot be sealed.
    #[error(transparent)]
    Sealing(#[from] shared_types::sealing::SealError),
}

/// Error for a text that was never sealed.
const FOREIGN: VaultError = VaultError::Sealing(shared_types::sealing::SealError::Foreign);

impl Vault {
    /// Opens the key file; makes it, readable by its owner alone, if it is not there.
    pub fn open_file(path: &Path, randomness: Arc<dyn Randomness>) -> Result<Self, VaultError> {
        let key = Key::from_file(path, randomness.as_ref())?;
        Self::new(key.bytes(), randomness)
    }

    /// A vault of that key.
    pub fn new(key: &[u8; KEY_BYTES], randomness: Arc<dyn Randomness>) -> Result<Self, VaultError> {
        let master = hmac::Key::new(hmac::HMAC_SHA256, key);
        let stamping = derived(&master, b"stamp");
        Ok(Self {
            cipher: Cipher::new(&derived(&master, b"seal"), randomness)?,
            stamping: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &stamping)),
        })
    }

    /// Encrypts. `context` names the kind and the owner of the text: it opens with the same context
    /// only.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<String, VaultError> {
        let sealed = self.cipher.seal(context, plain)?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Decrypts a text that [`seal`](Self::seal) returned for the same context.
    pub fn open(&self, context: &str, sealed: &str) -> Result<Vec<u8>, VaultError> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| FOREIGN)?;
        Ok(self.cipher.open(context, &bytes)?)
    }

    /// MAC of a message, under the key of that `label`. Compare MACs in constant time.
    #[must_use]
    pub fn mac(&self, label: &str, message: &[u8]) -> [u8; 32] {
        let key = derived(&self.stamping, label.as_bytes());
        derived(&hmac::Key::new(hmac::HMAC_SHA256, &key), message)
    }
}

/// HMAC-SHA-256 of it.
fn derived(key: &hmac::Key, message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(key, message);
    let mut bytes = [0; 32];
    for (byte, tagged) in bytes.iter_mut().zip(tag.as_ref()) {
        *byte = *tagged;
    }
    bytes
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<vault>")
    }
}

#[cfg(test)]
mod tests {
    use shared_types::environment::SystemRandomness;

    use super::*;

    fn vault(key: u8) -> Vault {
        Vault::new(&[key; KEY_BYTES], Arc::new(SystemRandomness)).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_context_alone() {
        let sealed = vault(1).seal("totp:anna", b"secret").unwrap();
        assert!(!sealed.contains("secret"));
        assert_ne!(
            sealed,
            vault(1).seal("totp:anna", b"secret").unwrap(),
            "a fresh nonce each time"
        );
        assert_eq!(vault(1).open("totp:anna", &sealed).unwrap(), b"secret");
        assert!(vault(2).open("totp:anna", &sealed).is_err(), "another key");
        assert!(
            vault(1).open("totp:lucas", &sealed).is_err(),
            "another customer's"
        );
        let mut changed = sealed.into_bytes();
        changed[20] = if changed[20] == b'A' { b'B' } else { b'A' };
        assert!(
            vault(1)
                .open("totp:anna", std::str::from_utf8(&changed).unwrap())
                .is_err()
        );
        for nonsense in ["", "AAAA", "%"] {
            assert!(vault(1).open("totp:anna", nonsense).is_err());
        }
    }

    #[test]
    fn stamps_differ_by_key_label_and_message() {
        let stamps = [
            vault(1).mac("page", b"x"),
            vault(1).mac("page", b"y"),
            vault(1).mac("form", b"x"),
            vault(2).mac("page", b"x"),
        ];
        assert_eq!(stamps[0], vault(1).mac("page", b"x"));
        for (index, stamp) in stamps.iter().enumerate() {
            assert!(!stamps[index + 1..].contains(stamp));
        }
    }

    /// Sealed before the primitive moved into the SDK: existing databases can still be decrypted.
    #[test]
    fn what_was_sealed_long_ago_opens() {
        let old = "CQkJCQkJCQkJCQkJ_WwH7Uk3rY4my2RjTGhM2yYOWUV3NQ";
        assert_eq!(vault(1).open("totp:anna", old).unwrap(), b"secret");
    }

    #[test]
    fn the_key_file_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bank.key");
        let open = || Vault::open_file(&path, Arc::new(SystemRandomness));
        let sealed = open().unwrap().seal("x", b"y").unwrap();
        assert_eq!(open().unwrap().open("x", &sealed).unwrap(), b"y");
        std::fs::write(&path, b"short").unwrap();
        let error = open().unwrap_err();
        assert!(error.to_string().contains("32 bytes"), "{error}");
    }
}
