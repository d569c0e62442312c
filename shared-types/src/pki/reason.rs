//! Revocation reasons (RFC 5280, section 5.3.1).

/// Reason of a revocation (RFC 5280, section 5.3.1), with the standard's names and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[derive(strum::Display, strum::EnumString, strum::FromRepr)]
#[strum(serialize_all = "camelCase")]
#[strum(parse_err_ty = NotAReason, parse_err_fn = NotAReason::new)]
pub enum Reason {
    /// No reason is given.
    Unspecified = 0,
    /// The private key may be compromised.
    KeyCompromise = 1,
    /// The CA's key may be compromised.
    #[strum(serialize = "cACompromise")]
    CaCompromise = 2,
    /// The holder's name or other facts changed.
    AffiliationChanged = 3,
    /// There is a new certificate.
    Superseded = 4,
    /// It is no longer needed.
    CessationOfOperation = 5,
    /// It is suspended.
    CertificateHold = 6,
    /// The holder may no longer do what the certificate says: the reason of ETSI TS 119 495 where a
    /// licence ended.
    PrivilegeWithdrawn = 9,
    /// The attribute authority's key may be known.
    #[strum(serialize = "aACompromise")]
    AaCompromise = 10,
}

impl Reason {
    /// The reason of that number in a list's entry. An unknown number gives no reason.
    #[must_use]
    pub fn of_code(code: u8) -> Self {
        Self::from_repr(code).unwrap_or(Self::Unspecified)
    }

    /// The number in a list's entry.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// The text names no reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a reason; the reasons are unspecified, keyCompromise, cACompromise, affiliationChanged, \
     superseded, cessationOfOperation, certificateHold, privilegeWithdrawn, aACompromise"
)]
pub struct NotAReason;

impl NotAReason {
    fn new(_: &str) -> Self {
        Self
    }
}
