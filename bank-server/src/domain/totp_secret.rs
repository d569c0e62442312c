//! TOTP secrets (RFC 6238), which a PSU's authenticator shares with the bank.

use std::fmt;

use shared_types::environment::Randomness;

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
        const ALPHABET: [u8; 32] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let (mut text, mut held, mut bits) = (String::with_capacity(32), 0_u32, 0);
        for byte in self.0 {
            held = (held << 8) | u32::from(byte);
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                let index = usize::try_from((held >> bits) & 31).unwrap_or(0);
                text.extend(ALPHABET.get(index).map(|letter| char::from(*letter)));
            }
        }
        text
    }
}

impl std::str::FromStr for TotpSecret {
    type Err = TotpSecretError;

    fn from_str(text: &str) -> Result<Self, TotpSecretError> {
        let (mut bytes, mut held, mut bits) = (Vec::with_capacity(20), 0_u32, 0);
        for letter in text.bytes() {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'2'..=b'7' => letter - b'2' + 26,
                _ => return Err(TotpSecretError),
            };
            held = (held << 5) | u32::from(value);
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push(u8::try_from((held >> bits) & 255).unwrap_or(0));
            }
        }
        Self::from_slice(&bytes)
    }
}

/// A secret stays out of logs.
impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}
