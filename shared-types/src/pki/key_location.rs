//! Location of a private key, as configurations name it: a file, or a key on a PKCS#11 token.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use crate::files::is_open_to_others;
use crate::pki::pkcs11::{Pkcs11Uri, Pkcs11UriError};

/// Location of a private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyLocation {
    /// A PEM or DER file. It may hold a PKCS#11 URI instead, which can be replaced while the program
    /// runs.
    File(PathBuf),
    /// A key on a token.
    Token(Box<Pkcs11Uri>),
}

impl KeyLocation {
    /// With a relative path starting at that folder.
    #[must_use]
    pub fn in_folder(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            Self::Token(uri) => Self::Token(uri),
        }
    }

    /// The file that holds the secret: the key, or the PIN of its token.
    #[must_use]
    pub fn secret_file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Token(uri) => uri.pin_file(),
        }
    }

    /// Whether others than its owner can read the file that holds the key. The file of a PIN is
    /// checked when it is read.
    #[must_use]
    pub fn is_open_to_others(&self) -> bool {
        matches!(self, Self::File(path) if is_open_to_others(path))
    }

    /// The key as [`Credentials::from_pem`](crate::pki::credentials::Credentials::from_pem) takes
    /// it: the content of the file, or the URI.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::File(path) => std::fs::read(path),
            Self::Token(uri) => Ok(uri.to_string().into_bytes()),
        }
    }
}

/// A URI where the text starts with `pkcs11:`, and otherwise a path.
impl FromStr for KeyLocation {
    type Err = Pkcs11UriError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if Pkcs11Uri::is_meant(text.as_bytes()) {
            return Ok(Self::Token(Box::new(text.parse()?)));
        }
        Ok(Self::File(PathBuf::from(text)))
    }
}

/// The same for a text that came as a path, such as an argument.
impl TryFrom<&Path> for KeyLocation {
    type Error = Pkcs11UriError;

    fn try_from(path: &Path) -> Result<Self, Self::Error> {
        match path.to_str() {
            Some(text) => text.parse(),
            None => Ok(Self::File(path.to_owned())),
        }
    }
}

impl From<PathBuf> for KeyLocation {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl<'de> Deserialize<'de> for KeyLocation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The path, or the URI, which holds no secret.
impl fmt::Display for KeyLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Token(uri) => uri.fmt(f),
        }
    }
}
