//! Consents of the Berlin Group's account information service, and the accounts that they open.

use std::num::NonZeroU32;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use shared_types::authorisation::ScaApproach;
use shared_types::consent::{AccountAccess, ConsentStatus};
use shared_types::eidas::OrganisationId;

use super::{AccountId, PsuId, TppRecord};

/// A consent as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Its id on the wire.
    pub id: String,
    /// The TPP it is given to.
    pub tpp: OrganisationId,
    /// What was asked for; for a bank-offered consent, what the customer chose.
    pub access: AccountAccess,
    /// For repeated reads, or for one.
    pub recurring: bool,
    /// Last day on which it holds, as far as the bank allows.
    pub valid_until: NaiveDate,
    /// Unattended reads a day.
    pub frequency_per_day: NonZeroU32,
    /// Where it stands. What time has done to it is not written down: `consent::standing` computes that.
    pub status: ConsentStatus,
    /// The customer who approved it first.
    pub psu: Option<PsuId>,
    /// When it was asked for.
    pub created: DateTime<Utc>,
    /// Until when it can be approved.
    pub approve_by: DateTime<Utc>,
    /// How many customers have to approve it.
    pub approvals_needed: u32,
    /// When a customer last proved for it who they are.
    pub authenticated: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_use: Option<DateTime<Utc>>,
    /// When it ends by use, if it is for one read and that has begun.
    pub ends: Option<DateTime<Utc>>,
    /// The approach that its TPP got.
    pub approach: Option<ScaApproach>,
    /// Where the customer goes after an authorisation that does not say.
    pub redirect_uri: Option<String>,
    /// Where they go if nothing came of it.
    pub nok_redirect_uri: Option<String>,
    /// When its status was last written down.
    pub last_action: DateTime<Utc>,
}

/// One account that a consent opens. Without any of these, it stands in the list of accounts, and no more.
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

/// A consent, and what it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The consent.
    pub consent: Consent,
    /// The accounts, in the order in which they were asked for.
    pub grants: Vec<Grant>,
}

/// A consent that a customer has given, or has approved along with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenConsent {
    /// The consent.
    pub consent: Consent,
    /// Where it stands now.
    pub status: ConsentStatus,
    /// Who has it.
    pub tpp: TppRecord,
    /// What it opens.
    pub grants: Vec<Grant>,
    /// When it was last used.
    pub last_used: Option<DateTime<Utc>>,
}
