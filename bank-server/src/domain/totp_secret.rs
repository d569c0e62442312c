//! TOTP secrets (RFC 6238).

use std::fmt;

use shared_types::environment::Randomness;
use totp_rs::Secret;

/// Secret of 20 bytes that the PSU's authenticator shares with the bank.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret([u8; 20]);

/// Error for a value that is not a TOTP secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 20 bytes in base32: 32 characters of A-Z and 2-7")]
pub struct TotpSecretError;

impl TotpSecret {
    /// Secret that consists of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// New random secret.
    #[must_use]
    pub fn random(randomness: &dyn Randomness) -> Self {
        let mut bytes = [0; 20];
        // Each call returns 16 bytes; `zip` ignores those beyond the 20th.
        let random_bytes = [randomness.bytes(), randomness.bytes()].concat();
        for (byte, random_byte) in bytes.iter_mut().zip(random_bytes) {
            *byte = random_byte;
        }
        Self(bytes)
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Result<Self, TotpSecretError> {
        bytes.try_into().map(Self).map_err(|_| TotpSecretError)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Form in which a person enters the secret in an authenticator: base32 without padding (RFC
    /// 4648).
    #[must_use]
    pub fn to_base32(&self) -> String {
        Secret::new_stack(self.0).to_base32()
    }
}

impl std::str::FromStr for TotpSecret {
    type Err = TotpSecretError;

    fn from_str(text: &str) -> Result<Self, TotpSecretError> {
        // `totp_rs` also accepts lower case; the bank does not.
        if text.contains(|letter: char| letter.is_ascii_lowercase()) {
            return Err(TotpSecretError);
        }
        let secret = Secret::try_from_base32(text).map_err(|_| TotpSecretError)?;
        Self::from_slice(secret.as_bytes())
    }
}

/// Hides the secret, so that it does not appear in logs.
impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}
