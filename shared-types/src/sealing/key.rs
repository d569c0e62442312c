//! The program's vault key, and where it is stored.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::KEY_BYTES;
use crate::environment::Randomness;

/// The key from which those of all vaults are derived.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_BYTES]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<key>")
    }
}

/// Place of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyPlace {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// The system's keyring.
    Keyring {
        /// The service.
        service: String,
        /// The name.
        name: String,
    },
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the key {}", path.display()),
            Self::Variable(name) => write!(f, "the key in the environment variable {name}"),
            Self::Keyring { service, name } => {
                write!(f, "the key {service}/{name} in the system's keyring")
            }
        }
    }
}

/// Error in reading or making a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("{place} cannot be read or made: {error}")]
    File {
        /// The place.
        place: KeyPlace,
        /// The operating system's error.
        error: io::Error,
    },
    /// Others than the file's owner can read it.
    #[error("{0} can be read by others than its owner; set its mode to 600")]
    OpenToOthers(KeyPlace),
    /// The environment variable is not set.
    #[error("{0} is not there; set it to base64 of {KEY_BYTES} random bytes")]
    Missing(KeyPlace),
    /// The environment variable is not base64.
    #[error("{0} is not base64 of {KEY_BYTES} bytes")]
    NotBase64(KeyPlace),
    /// It does not have the length of a key.
    #[error(
        "{0} must have {KEY_BYTES} bytes; a new one makes what was sealed with the old one unreadable"
    )]
    Length(KeyPlace),
    /// The system's keyring cannot be used.
    #[error(
        "{place} cannot be read or made: {cause}; unlock the keyring, or keep the key in a file"
    )]
    Keyring {
        /// The place.
        place: KeyPlace,
        /// The keyring's error.
        cause: String,
    },
}

impl Key {
    /// These bytes. They have to be random.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes: they open every record.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Reads a file of 32 bytes; makes it, readable by its owner alone, if it is not there.
    pub fn from_file(path: &Path, randomness: &dyn Randomness) -> Result<Self, KeyError> {
        let place = || KeyPlace::File(path.to_owned());
        let failed = |error| KeyError::File {
            place: place(),
            error,
        };
        if !path.try_exists().map_err(failed)? {
            make(path, randomness).map_err(failed)?;
        }
        // What is checked is what is read: the file is opened once.
        let file = fs::File::open(path).map_err(failed)?;
        if is_open_to_others(&file).map_err(failed)? {
            return Err(KeyError::OpenToOthers(place()));
        }
        let mut bytes = Vec::with_capacity(KEY_BYTES);
        let most = u64::try_from(KEY_BYTES).unwrap_or(u64::MAX);
        file.take(most.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        Self::of(&bytes, place)
    }

    /// Reads an environment variable: base64 of 32 bytes. `openssl rand -base64 32` makes one.
    pub fn from_env(variable: &str) -> Result<Self, KeyError> {
        let place = || KeyPlace::Variable(variable.to_owned());
        let value = std::env::var_os(variable).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| KeyError::Missing(place()))?;
        let bytes = value
            .to_str()
            .and_then(|value| STANDARD.decode(value.trim()).ok())
            .ok_or_else(|| KeyError::NotBase64(place()))?;
        Self::of(&bytes, place)
    }

    /// Reads it from the system's keyring (the Secret Service, Keychain, or Credential Manager);
    /// makes it if it is not there. The keyring may ask the user, and this waits until it has.
    ///
    /// Two programs that start at the same moment, for the first time, can each make one, and the
    /// second one's stays.
    #[cfg(feature = "keyring")]
    pub fn from_keyring(
        service: &str,
        name: &str,
        randomness: &dyn Randomness,
    ) -> Result<Self, KeyError> {
        let place = || KeyPlace::Keyring {
            service: service.to_owned(),
            name: name.to_owned(),
        };
        let fresh = fresh(randomness);
        // On a thread of its own: keyrings wait in ways that an asynchronous runtime does not
        // allow.
        let bytes = std::thread::scope(|scope| {
            let asking = scope.spawn(|| kept_or_made(&SystemKeyring { service, name }, &fresh));
            asking
                .join()
                .unwrap_or_else(|_| Err("it broke down".to_owned()))
        });
        let bytes = bytes.map_err(|cause| KeyError::Keyring {
            place: place(),
            cause,
        })?;
        Self::of(&bytes, place)
    }

    fn of(bytes: &[u8], place: impl Fn() -> KeyPlace) -> Result<Self, KeyError> {
        let bytes = bytes.try_into();
        bytes.map(Self).map_err(|_| KeyError::Length(place()))
    }
}

fn fresh(randomness: &dyn Randomness) -> Vec<u8> {
    [randomness.bytes(), randomness.bytes()].concat()
}

#[cfg(unix)]
fn is_open_to_others(file: &fs::File) -> io::Result<bool> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions());
    Ok(mode & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &fs::File) -> io::Result<bool> {
    Ok(false)
}

/// Writes a new key beside the place and links it there, so that it appears whole; a second writer
/// takes the first one's.
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
        .write_all(&fresh(randomness))
        .and_then(|()| file.sync_all())
        .and_then(|()| match fs::hard_link(&beside, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    fs::remove_file(&beside)?;
    written
}

/// Operations of a keyring. Errors are its own.
#[cfg(any(feature = "keyring", test))]
trait Keyring {
    fn read(&self) -> Result<Option<Vec<u8>>, String>;

    fn write(&self, secret: &[u8]) -> Result<(), String>;
}

/// The secret in the keyring; if there is none, a new one. It is read back: what is not kept
/// must not be used.
#[cfg(any(feature = "keyring", test))]
fn kept_or_made(keyring: &dyn Keyring, fresh: &[u8]) -> Result<Vec<u8>, String> {
    if let Some(secret) = keyring.read()? {
        return Ok(secret);
    }
    keyring.write(fresh)?;
    keyring
        .read()?
        .ok_or_else(|| "it does not keep what it is given".to_owned())
}

#[cfg(feature = "keyring")]
struct SystemKeyring<'a> {
    service: &'a str,
    name: &'a str,
}

#[cfg(feature = "keyring")]
impl SystemKeyring<'_> {
    fn entry(&self) -> Result<keyring::Entry, String> {
        if let Err(error) = keyring::Entry::store_status() {
            return Err(without_secret(error));
        }
        keyring::Entry::new(self.service, self.name).map_err(|error| without_secret(&error))
    }
}

#[cfg(feature = "keyring")]
impl Keyring for SystemKeyring<'_> {
    fn read(&self) -> Result<Option<Vec<u8>>, String> {
        match self.entry()?.get_secret() {
            Ok(secret) => Ok(Some(secret)),
            Err(keyring::Error::NoEntry) => Ok(None),
            Err(error) => Err(without_secret(&error)),
        }
    }

    fn write(&self, secret: &[u8]) -> Result<(), String> {
        let written = self.entry()?.set_secret(secret);
        written.map_err(|error| without_secret(&error))
    }
}

/// The error without what was read: some errors of keyrings carry the secret itself.
#[cfg(feature = "keyring")]
fn without_secret(error: &keyring::Error) -> String {
    match error {
        keyring::Error::BadEncoding(_) | keyring::Error::BadDataFormat(..) => {
            "what it holds cannot be read".to_owned()
        }
        keyring::Error::Ambiguous(_) => "it holds several of that name".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::environment::SystemRandomness;

    #[cfg(unix)]
    fn set_mode(path: &Path, mode: u32) {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(path, permissions).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_made_once_and_kept_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.key");
        let key = Key::from_file(&path, &SystemRandomness).unwrap();
        assert_eq!(Key::from_file(&path, &SystemRandomness).unwrap(), key);
        assert_eq!(fs::read(&path).unwrap(), key.bytes());
        let permissions = fs::metadata(&path).unwrap().permissions();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
        for mode in [0o640, 0o604, 0o620, 0o644] {
            set_mode(&path, mode);
            let error = Key::from_file(&path, &SystemRandomness).unwrap_err();
            assert!(matches!(error, KeyError::OpenToOthers { .. }), "{mode:o}");
            assert!(error.to_string().contains("mode to 600"), "{error}");
        }
        set_mode(&path, 0o400);
        assert_eq!(Key::from_file(&path, &SystemRandomness).unwrap(), key);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_of_another_length_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.key");
        for length in [0, 31, 33, 5000] {
            fs::write(&path, vec![1; length]).unwrap();
            set_mode(&path, 0o600);
            let error = Key::from_file(&path, &SystemRandomness).unwrap_err();
            assert!(
                matches!(error, KeyError::Length { .. }),
                "{length}: {error}"
            );
            assert!(error.to_string().contains("32 bytes"), "{error}");
            assert_eq!(fs::read(&path).unwrap().len(), length);
        }
        let nowhere = folder.path().join("nowhere/app.key");
        let error = Key::from_file(&nowhere, &SystemRandomness).unwrap_err();
        assert!(matches!(error, KeyError::File { .. }), "{error}");
        assert!(error.to_string().contains("nowhere/app.key"), "{error}");
    }

    /// Variables of this process cannot be set in a test without `unsafe`: there is one that is
    /// always there.
    #[test]
    fn a_variable_is_base64_of_the_key() {
        let error = Key::from_env("BANK_CLIENT_NO_SUCH_KEY").unwrap_err();
        assert!(matches!(error, KeyError::Missing { .. }), "{error}");
        assert!(error.to_string().contains("BANK_CLIENT_NO_SUCH_KEY"));
        let error = Key::from_env("CARGO_MANIFEST_DIR").unwrap_err();
        assert!(matches!(error, KeyError::NotBase64 { .. }), "{error}");
        let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap();
        assert!(!error.to_string().contains(&folder), "its value stays out");
    }

    #[derive(Default)]
    struct Drawer {
        kept: RefCell<Option<Vec<u8>>>,
        forgets: bool,
    }

    impl Keyring for Drawer {
        fn read(&self) -> Result<Option<Vec<u8>>, String> {
            Ok(self.kept.borrow().clone())
        }

        fn write(&self, secret: &[u8]) -> Result<(), String> {
            if !self.forgets {
                *self.kept.borrow_mut() = Some(secret.to_vec());
            }
            Ok(())
        }
    }

    #[test]
    fn a_keyring_is_asked_first_and_written_once() {
        let drawer = Drawer::default();
        assert_eq!(kept_or_made(&drawer, b"first").unwrap(), b"first");
        assert_eq!(kept_or_made(&drawer, b"second").unwrap(), b"first");
        let forgetful = Drawer {
            forgets: true,
            ..Drawer::default()
        };
        assert!(kept_or_made(&forgetful, b"first").is_err());
    }
}
