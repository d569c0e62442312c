//! TOTP secrets (RFC 6238), which a PSU's authenticator shares with the bank.

use std::fmt;

use shared_types::environment::Randomness;
use totp_rs::Secret;

/// Secret that an authenticator shares with the bank: 20 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret([u8; 20]);

/// Error for a text that is not a TOTP secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 20 bytes in base32: 32 characters of A-Z and 2-7")]
pub struct TotpSecretError;

impl TotpSecret {
    /// That secret.
    #[must_use]
    pub fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// A random secret.
    #[must_use]
    pub fn random(randomness: &dyn Randomness) -> Self {
        let mut bytes = [0; 20];
        let chance = [randomness.bytes(), randomness.bytes()].concat();
        for (byte, chance) in bytes.iter_mut().zip(chance) {
            *byte = chance;
        }
        Self(bytes)
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Result<Self, TotpSecretError> {
        bytes.try_into().map(Self).map_err(|_| TotpSecretError)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As people type it into an authenticator (RFC 4648, base32 without padding).
    #[must_use]
    pub fn to_base32(&self) -> String {
        Secret::new_stack(self.0).to_base32()
    }
}

impl std::str::FromStr for TotpSecret {
    type Err = TotpSecretError;

    fn from_str(text: &str) -> Result<Self, TotpSecretError> {
        // The crate takes small letters as well.
        if text.contains(|letter: char| letter.is_ascii_lowercase()) {
            return Err(TotpSecretError);
        }
        let secret = Secret::try_from_base32(text).map_err(|_| TotpSecretError)?;
        Self::from_slice(secret.as_bytes())
    }
}

/// A secret stays out of logs.
impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}
