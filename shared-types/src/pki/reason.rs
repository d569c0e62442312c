//! Revocation reasons (RFC 5280, section 5.3.1).

use std::fmt;
use std::str::FromStr;

/// Why a certificate was revoked (RFC 5280, section 5.3.1), with the standard's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not said.
    Unspecified,
    /// The private key may be compromised.
    KeyCompromise,
    /// The CA's key may be compromised.
    CaCompromise,
    /// The holder's name or other facts changed.
    AffiliationChanged,
    /// There is a new certificate.
    Superseded,
    /// It is no longer needed.
    CessationOfOperation,
    /// It is suspended.
    CertificateHold,
    /// The holder may no longer do what the certificate says: the reason of ETSI TS 119 495 where a
    /// licence ended.
    PrivilegeWithdrawn,
    /// The attribute authority's key may be known.
    AaCompromise,
}

const ALL: [(Reason, u8, &str); 9] = [
    (Reason::Unspecified, 0, "unspecified"),
    (Reason::KeyCompromise, 1, "keyCompromise"),
    (Reason::CaCompromise, 2, "cACompromise"),
    (Reason::AffiliationChanged, 3, "affiliationChanged"),
    (Reason::Superseded, 4, "superseded"),
    (Reason::CessationOfOperation, 5, "cessationOfOperation"),
    (Reason::CertificateHold, 6, "certificateHold"),
    (Reason::PrivilegeWithdrawn, 9, "privilegeWithdrawn"),
    (Reason::AaCompromise, 10, "aACompromise"),
];

impl Reason {
    /// The number in a list's entry. An unknown number gives no reason.
    #[must_use]
    pub fn of_code(code: u8) -> Self {
        ALL.iter()
            .find(|(_, known, _)| *known == code)
            .map_or(Self::Unspecified, |(reason, _, _)| *reason)
    }

    /// The number in a list's entry.
    #[must_use]
    pub fn code(self) -> u8 {
        ALL.iter()
            .find(|(known, _, _)| *known == self)
            .map_or(0, |(_, code, _)| *code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ALL.iter().find(|(known, _, _)| known == self);
        f.pad(name.map_or("unspecified", |(_, _, name)| name))
    }
}

/// The text names no reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a reason; the reasons are unspecified, keyCompromise, cACompromise, affiliationChanged, \
     superseded, \
         cessationOfOperation, certificateHold, privilegeWithdrawn, aACompromise"
)]
pub struct NotAReason;

impl FromStr for Reason {
    type Err = NotAReason;

    fn from_str(text: &str) -> Result<Self, NotAReason> {
        ALL.iter()
            .find(|(_, _, name)| *name == text)
            .map(|(reason, _, _)| *reason)
            .ok_or(NotAReason)
    }
}
