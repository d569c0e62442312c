//! Authorisations of consents, and the SCA methods by which a PSU answers them.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared_types::pki::eidas::OrganisationId;
use shared_types::xs2a::authorisation::{
    AuthenticationObject, AuthenticationType, ScaApproach, ScaStatus,
};
use shared_types::xs2a::consent::{AccountAccess, ConsentStatus};
use shared_types::xs2a::text::Text;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MethodId {
    /// A code of six digits from an authenticator (RFC 6238).
    Totp,
    /// Approval in the bank's own app, on a device that the customer has enrolled.
    App,
    /// A passkey in the browser (`WebAuthn`).
    Passkey,
    /// An authentication by the bank's identity provider.
    IdentityProvider,
}

impl MethodId {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 4] = [Self::Totp, Self::App, Self::Passkey, Self::IdentityProvider];

    /// The name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::App => "app",
            Self::Passkey => "passkey",
            Self::IdentityProvider => "identity-provider",
        }
    }

    /// The method as TPPs are offered it. `None` for methods that work in the customer's browser
    /// alone.
    #[must_use]
    pub fn for_tpp(self) -> Option<AuthenticationObject> {
        let (authentication_type, name) = match self {
            Self::Totp => (AuthenticationType::ChipOtp, "Code from your authenticator"),
            Self::App => (AuthenticationType::PushOtp, "Approval in the bank's app"),
            Self::Passkey | Self::IdentityProvider => return None,
        };
        Some(AuthenticationObject {
            authentication_type,
            authentication_version: None,
            authentication_method_id: Text::cut(self.as_str()),
            name: Some(name.to_owned()),
            explanation: None,
        })
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// There is no method of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an SCA method")]
pub struct NotAMethod;

impl std::str::FromStr for MethodId {
    type Err = NotAMethod;

    fn from_str(name: &str) -> Result<Self, NotAMethod> {
        Self::ALL
            .into_iter()
            .find(|method| method.as_str() == name)
            .ok_or(NotAMethod)
    }
}
