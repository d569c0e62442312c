//! Consents of the Berlin Group's account information service, and the accounts that they open.

use std::num::NonZeroU32;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use shared_types::pki::eidas::OrganisationId;
use shared_types::xs2a::authorisation::ScaApproach;
use shared_types::xs2a::consent::{AccountAccess, ConsentStatus};

use super::{AccountId, PsuId, TppRecord};

/// Consent for account information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Its id on the wire.
    pub id: String,
    /// The TPP it is given to.
    pub tpp: OrganisationId,
    /// The requested access; for a bank-offered consent, the customer's choice.
    pub access: AccountAccess,
    /// Whether it is for repeated reads; otherwise it is a one-off consent.
    pub recurring: bool,
    /// Last day on which it holds, as far as the bank allows.
    pub valid_until: NaiveDate,
    /// Unattended reads a day.
    pub frequency_per_day: NonZeroU32,
    /// The stored status. Changes by time alone are not stored: `consent::current_status` computes
    /// them.
    pub status: ConsentStatus,
    /// The customer who approved it first.
    pub psu: Option<PsuId>,
    /// Time of the request.
    pub created: DateTime<Utc>,
    /// Until when it can be approved.
    pub approve_by: DateTime<Utc>,
    /// Number of customers who have to approve it.
    pub approvals_needed: u32,
    /// Time of the last strong customer authentication for it.
    pub authenticated: Option<DateTime<Utc>>,
    /// Time of the last use, to the minute.
    pub last_use: Option<DateTime<Utc>>,
    /// End of a consent for one read that has been used.
    pub ends: Option<DateTime<Utc>>,
    /// The approach that its TPP got.
    pub approach: Option<ScaApproach>,
    /// Redirect URI after success, for authorisations without one.
    pub redirect_uri: Option<String>,
    /// Redirect URI after failure.
    pub nok_redirect_uri: Option<String>,
    /// Time of the last stored change of its status.
    pub last_action: DateTime<Utc>,
}

/// Grant of one account. Without any of the flags, the account is in the list of accounts, and no
/// more.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each can be granted without the others"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The account.
    pub account: AccountId,
    /// It can be read by itself.
    pub details: bool,
    /// Its balances too.
    pub balances: bool,
    /// Its transactions too.
    pub transactions: bool,
    /// Its owner's name too.
    pub owner_name: bool,
}

/// A consent and its grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The consent.
    pub consent: Consent,
    /// The accounts, in the order in which they were asked for.
    pub grants: Vec<Grant>,
}

/// A consent that a customer has given, or has approved along with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerConsent {
    /// The consent.
    pub consent: Consent,
    /// Its current status.
    pub status: ConsentStatus,
    /// The TPP.
    pub tpp: TppRecord,
    /// Its grants.
    pub grants: Vec<Grant>,
}
