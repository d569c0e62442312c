//! Error of a key on a token.

use std::path::PathBuf;
use std::time::Duration;

use cryptoki::error::{Error, RvError};

/// Error of a key on a token. The text continues the URI of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs11Error {
    /// The module cannot be loaded or initialised.
    #[error("needs the module {}, which cannot be loaded: {problem}", path.display())]
    Module {
        /// The library.
        path: PathBuf,
        /// The error of the loader or the module.
        problem: String,
    },
    /// No token has these attributes.
    #[error(
        "names a token that is not there: `pkcs11-tool --module MODULE --list-token-slots` lists those that are"
    )]
    NoToken,
    /// Several tokens have these attributes.
    #[error("names {0} tokens: add serial=NUMBER")]
    SeveralTokens(usize),
    /// The token demands a PIN.
    #[error("names a token that demands a PIN: add pin-source=file:/path/of/the/file")]
    NoPin,
    /// The file with the PIN cannot be used.
    #[error("needs the PIN in {}, which {problem}", path.display())]
    PinFile {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The token has refused the PIN.
    #[error(
        "has a PIN in {} that the token has refused; it is not tried again before the file changes, because a \
         token locks after a few attempts", path.display()
    )]
    PinRefused {
        /// The file.
        path: PathBuf,
    },
    /// The file has another PIN than the one that was refused.
    #[error("has a new PIN, which is tried next")]
    NewPin,
    /// The token locks with the next wrong PIN.
    #[error(
        "names a token that takes one more wrong PIN before it locks: log in to it once by hand, \
         with the right one"
    )]
    PinLastTry,
    /// The token is locked.
    #[error("names a token whose PIN is locked: unlock it with the security officer's PIN")]
    PinLocked,
    /// No private key has these attributes.
    #[error(
        "names no private key of that kind on the token: `pkcs11-tool --login --list-objects` lists all"
    )]
    NoKey,
    /// No such key belongs to the certificate.
    #[error("names {0} private keys, none of which belongs to the certificate")]
    OtherKey(usize),
    /// Several keys have these attributes, and no certificate tells which is meant.
    #[error("names {0} public keys: add id=%XX")]
    SeveralKeys(usize),
    /// The certificate's public key is of a kind that is not used on tokens.
    #[error(
        "cannot name the key of this certificate: RSA and ECDSA on P-256, P-384 or P-521 are used on tokens"
    )]
    UnusableKind,
    /// The key demands the PIN for each signature.
    #[error(
        "names a key that demands the PIN for each signature (CKA_ALWAYS_AUTHENTICATE), which is not supported"
    )]
    AlwaysAuthenticate,
    /// The token cannot make such signatures.
    #[error("names a token without the mechanism {0}")]
    NoMechanism(&'static str),
    /// The token has failed.
    #[error("names a token that has failed: {0}")]
    Device(String),
    /// The token has not answered in time.
    #[error("names a token that has not answered within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// Too many calls wait for the token.
    #[error("names a token for which too many calls wait")]
    Busy,
    /// The operating system has no more threads.
    #[error("needs threads that cannot be started: {0}")]
    Threads(String),
}

impl Pkcs11Error {
    /// Whether initialising the module again may help.
    pub(super) fn is_of_device(&self) -> bool {
        matches!(
            self,
            Self::NoToken | Self::NoKey | Self::NewPin | Self::Device(_) | Self::Module { .. }
        )
    }
}

impl From<Error> for Pkcs11Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Pkcs11(RvError::PinLocked, _) => Self::PinLocked,
            Error::Pkcs11(RvError::TokenNotPresent | RvError::SlotIdInvalid, _) => Self::NoToken,
            Error::Pkcs11(code, function) => Self::Device(format!("C_{function:?}: {code}")),
            other => Self::Device(other.to_string()),
        }
    }
}
