//! Authorisations of consents, and the SCA methods by which a PSU answers them.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared_types::pki::eidas::OrganisationId;
use shared_types::xs2a::authorisation::{ScaApproach, ScaStatus};
use shared_types::xs2a::consent::{AccountAccess, ConsentStatus};

use super::{Grant, PsuId};

/// The resource of an authorisation: that of a TPP's consent, by its id.
#[derive(Debug, Clone, Copy)]
pub struct AuthorisationKey<'a> {
    /// The TPP.
    pub tpp: &'a OrganisationId,
    /// The id of the TPP's consent.
    pub consent_id: &'a str,
    /// The id of the authorisation.
    pub id: &'a str,
}

/// Authorisation of a consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorisation {
    /// Its id on the wire.
    pub id: String,
    /// The consent it is for.
    pub consent_id: String,
    /// The PSU whom the TPP named, or who has logged in.
    pub psu: Option<PsuId>,
    /// The PSU has logged in at the bank, and the TPP has named none: until this PSU has answered,
    /// another PSU who logs in for it takes over.
    pub by_log_in: bool,
    /// The SCA approach.
    pub approach: ScaApproach,
    /// The stored status. Failure after the lifetime is not stored:
    /// `consent::authorisation::current_status` computes it.
    pub status: ScaStatus,
    /// The method, once one is chosen.
    pub method: Option<MethodId>,
    /// Redirect URI after success.
    pub redirect_uri: Option<String>,
    /// Redirect URI after failure.
    pub nok_redirect_uri: Option<String>,
    /// Time of its start.
    pub created: DateTime<Utc>,
    /// Time of the last change of its status.
    pub last_action: DateTime<Utc>,
    /// Status of the consent when the access to approve was last shown to the customer.
    pub shown: Option<ConsentStatus>,
    /// The password that came with its start was wrong.
    pub refused: bool,
}

/// Access and grants that an approval gives the consent, as the first customer who approves has
/// chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovedAccess {
    /// The requested or chosen access.
    pub access: AccountAccess,
    /// Account by account.
    pub grants: Vec<Grant>,
    /// Number of customers who have to approve.
    pub approvals_needed: u32,
}

/// SCA method.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MethodId {
    /// A code of six digits from an authenticator (RFC 6238).
    Totp,
    /// Approval in the bank's own app, on a device that the customer has enrolled.
    App,
    /// A passkey in the browser (`WebAuthn`).
    Passkey,
    /// An authentication by the bank's identity provider.
    IdentityProvider,
    /// A method of the bank's own systems.
    External(ExternalMethodId),
}

impl MethodId {
    /// Those that the bank server has itself.
    const BUILT_IN: [Self; 4] = [Self::Totp, Self::App, Self::Passkey, Self::IdentityProvider];

    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::External(ExternalMethodId(id)) => id,
            built_in => built_in.kind(),
        }
    }

    /// Its kind, for metrics and logs.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::App => "app",
            Self::Passkey => "passkey",
            Self::IdentityProvider => "identity-provider",
            Self::External(_) => "external",
        }
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Id of a method of the bank's own systems: 1 to 35 of the characters A-Z a-z 0-9 . _ ~ -, and
/// none of the names of the bank server's own methods.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExternalMethodId(String);

impl ExternalMethodId {
    /// Fails for other texts.
    pub fn new(id: impl Into<String>) -> Result<Self, NotAMethod> {
        let id = id.into();
        let is_unreserved =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-');
        let is_own = MethodId::BUILT_IN.iter().any(|own| own.as_str() == id);
        if id.is_empty() || id.len() > 35 || !id.bytes().all(is_unreserved) || is_own {
            return Err(NotAMethod);
        }
        Ok(Self(id))
    }

    /// The id on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// No SCA method can have that id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an SCA method")]
pub struct NotAMethod;

impl std::str::FromStr for MethodId {
    type Err = NotAMethod;

    fn from_str(id: &str) -> Result<Self, NotAMethod> {
        let own = Self::BUILT_IN.into_iter().find(|own| own.as_str() == id);
        match own {
            Some(own) => Ok(own),
            None => ExternalMethodId::new(id).map(Self::External),
        }
    }
}
