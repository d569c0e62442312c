//! The bank's own key: what is kept encrypted, and what is stamped so that it comes back unchanged.
//!
//! One key of 32 bytes, in a file of its own beside the database. From it come a key for sealing (AES-256-GCM, a fresh
//! random nonce each time) and one for each kind of stamp (HMAC-SHA-256). Whoever has the database alone can read no
//! secret in it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use bank_client::environment::Randomness;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Length of the key, in bytes.
const KEY: usize = 32;

/// Seals and stamps. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    sealing: LessSafeKey,
    stamping: hmac::Key,
    randomness: Arc<dyn Randomness>,
}

/// Why there is no vault, or why it did not open something.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file cannot be read or made.
    #[error("the key {} cannot be read or made: {error}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file holds no key.
    #[error("the key {} must have {KEY} bytes; a new one makes what was sealed with the old one unreadable", path.display())]
    Length {
        /// Which file.
        path: PathBuf,
    },
    /// Others than its owner can read it.
    #[error("the key {} can be read by others than its owner; set its mode to 600", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// It was sealed with another key, for something else, or was changed.
    #[error("something in the database was not sealed with this key, or was changed")]
    Foreign,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

impl Vault {
    /// Opens the key file; makes it, readable by its owner alone, if it is not there.
    pub fn open_file(path: &Path, randomness: Arc<dyn Randomness>) -> Result<Self, VaultError> {
        let failed = |error| VaultError::File {
            path: path.to_owned(),
            error,
        };
        if !path.try_exists().map_err(failed)? {
            make(path, randomness.as_ref()).map_err(failed)?;
        }
        if is_open_to_others(path).map_err(failed)? {
            return Err(VaultError::Open {
                path: path.to_owned(),
            });
        }
        let bytes = fs::read(path).map_err(failed)?;
        let key: [u8; KEY] = bytes.try_into().map_err(|_| VaultError::Length {
            path: path.to_owned(),
        })?;
        Self::new(&key, randomness)
    }

    /// A vault of that key.
    pub fn new(key: &[u8; KEY], randomness: Arc<dyn Randomness>) -> Result<Self, VaultError> {
        let master = hmac::Key::new(hmac::HMAC_SHA256, key);
        let sealing = hmac::sign(&master, b"seal");
        let sealing =
            UnboundKey::new(&AES_256_GCM, sealing.as_ref()).map_err(|_| VaultError::Library)?;
        let stamping = hmac::sign(&master, b"stamp");
        Ok(Self {
            inner: Arc::new(Inner {
                sealing: LessSafeKey::new(sealing),
                stamping: hmac::Key::new(hmac::HMAC_SHA256, stamping.as_ref()),
                randomness,
            }),
        })
    }

    /// Encrypts. `context` says what it is and whose: only with the same one does it open again.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<String, VaultError> {
        let mut nonce = [0; NONCE_LEN];
        for (byte, chance) in nonce.iter_mut().zip(self.inner.randomness.bytes()) {
            *byte = chance;
        }
        let mut sealed = plain.to_vec();
        self.inner
            .sealing
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut sealed,
            )
            .map_err(|_| VaultError::Library)?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// Decrypts what [`seal`](Self::seal) made of the same context.
    pub fn open(&self, context: &str, sealed: &str) -> Result<Vec<u8>, VaultError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(sealed)
            .map_err(|_| VaultError::Foreign)?;
        let (nonce, sealed) = bytes
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(VaultError::Foreign)?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .inner
            .sealing
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(context),
                &mut sealed,
            )
            .map_err(|_| VaultError::Foreign)?;
        Ok(plain.to_vec())
    }

    /// A stamp on a message, of the kind that `label` names. Compare stamps in constant time.
    #[must_use]
    pub fn mac(&self, label: &str, message: &[u8]) -> [u8; 32] {
        let key = hmac::sign(&self.inner.stamping, label.as_bytes());
        let stamp = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), message);
        let mut bytes = [0; 32];
        for (byte, stamped) in bytes.iter_mut().zip(stamp.as_ref()) {
            *byte = *stamped;
        }
        bytes
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<vault>")
    }
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> io::Result<bool> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path)?.permissions());
    Ok(mode & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Writes a new key beside the place and links it there: nobody ever sees half of one, and who comes second takes the
/// first one's.
fn make(path: &Path, randomness: &dyn Randomness) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", randomness.uuid()));
    let beside = PathBuf::from(beside);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    let written = file
        .write_all(&[randomness.bytes(), randomness.bytes()].concat())
        .and_then(|()| file.sync_all())
        .and_then(|()| match fs::hard_link(&beside, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    fs::remove_file(&beside)?;
    written
}

#[cfg(test)]
mod tests {
    use bank_client::environment::SystemRandomness;

    use super::*;

    fn vault(key: u8) -> Vault {
        Vault::new(&[key; KEY], Arc::new(SystemRandomness)).unwrap()
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

    #[test]
    fn the_key_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bank.key");
        let first = Vault::open_file(&path, Arc::new(SystemRandomness)).unwrap();
        let sealed = first.seal("x", b"y").unwrap();
        let again = Vault::open_file(&path, Arc::new(SystemRandomness)).unwrap();
        assert_eq!(again.open("x", &sealed).unwrap(), b"y");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let error = Vault::open_file(&path, Arc::new(SystemRandomness)).unwrap_err();
        assert!(error.to_string().contains("mode to 600"), "{error}");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(&path, b"short").unwrap();
        let error = Vault::open_file(&path, Arc::new(SystemRandomness)).unwrap_err();
        assert!(error.to_string().contains("32 bytes"), "{error}");
    }
}
