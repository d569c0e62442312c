//! Consents: what a customer lets a TPP see (service AIS, `/v1/consents`).

use std::fmt;

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer, Serialize};
use serde_with::skip_serializing_none;
use strum::VariantArray as _;

use crate::xs2a::account::AccountReference;
use crate::xs2a::authorisation::{AuthenticationObject, ChallengeData, UnknownName};
use crate::xs2a::link::Links;
use crate::xs2a::text::Text;

/// Requested accounts, and the kinds of access to each (schema `accountAccess`).
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccountAccess {
    /// Details of these accounts. Empty: the customer chooses at the bank.
    pub accounts: Option<Vec<AccountReference>>,
    /// Details and balances of these accounts. Empty: the customer chooses at the bank.
    pub balances: Option<Vec<AccountReference>>,
    /// Details and transactions of these accounts. Empty: the customer chooses at the bank.
    pub transactions: Option<Vec<AccountReference>>,
    /// Further information about the accounts named above.
    pub additional_information: Option<AdditionalInformation>,
    /// A list of the accounts, and no more.
    pub available_accounts: Option<AllAccounts>,
    /// A list of the accounts with balances, and no more.
    pub available_accounts_with_balance: Option<AllAccounts>,
    /// A global consent: all accounts, everything PSD2 opens.
    pub all_psd2: Option<AllAccounts>,
    /// Only accounts of these types (ISO 20022 `ExternalCashAccountType1Code`).
    pub restricted_to: Option<Vec<Text<4>>>,
}

/// Access beyond PSD2 (schema `additionalInformationAccess`).
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AdditionalInformation {
    /// The owner's name of these accounts.
    pub owner_name: Option<Vec<AccountReference>>,
    /// The trusted beneficiaries of these accounts.
    pub trusted_beneficiaries: Option<Vec<AccountReference>>,
}

/// All accounts of the customer, with or without the owner's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum AllAccounts {
    /// All accounts.
    AllAccounts,
    /// All accounts, and whose they are.
    AllAccountsWithOwnerName,
}

/// Body of `POST /v1/consents` (schema `consents`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ConsentRequest {
    /// The requested access.
    pub access: AccountAccess,
    /// `true`: for repeated reads; `false`: for one.
    pub recurring_indicator: bool,
    /// Last day on which the consent holds. `9999-12-31` asks for as long as the bank allows.
    #[serde(deserialize_with = "crate::xs2a::date::strict")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Date))]
    pub valid_until: NaiveDate,
    /// Reads of each account a day with no customer present; 1 for a one-off consent.
    #[cfg_attr(feature = "openapi", schema(value_type = u32, minimum = 1))]
    pub frequency_per_day: std::num::NonZeroU32,
    /// Whether a payment in the same session will rest on this consent.
    pub combined_service_indicator: bool,
}

/// Status of a consent (schema `consentStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(strum::Display, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
#[strum(parse_err_ty = UnknownName, parse_err_fn = UnknownName::new)]
pub enum ConsentStatus {
    /// Technically right, not yet approved.
    Received,
    /// Refused by the customer or the bank.
    Rejected,
    /// Approved: reads are allowed.
    Valid,
    /// Withdrawn by the customer.
    RevokedByPsu,
    /// Past its last day.
    Expired,
    /// Withdrawn by the TPP.
    TerminatedByTpp,
    /// Approved by some, but not yet by all who must.
    PartiallyAuthorised,
}

impl ConsentStatus {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// All of them.
    pub const ALL: &[Self] = Self::VARIANTS;
}

/// Answer to `POST /v1/consents` (schema `consentsResponse-201`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ConsentCreated {
    /// `received`, normally.
    pub consent_status: ConsentStatus,
    /// The id, for the path and for the `Consent-ID` header.
    pub consent_id: String,
    /// The methods the customer can choose among.
    pub sca_methods: Option<Vec<AuthenticationObject>>,
    /// The method, where there is nothing to choose.
    pub chosen_sca_method: Option<AuthenticationObject>,
    /// Data for the customer.
    pub challenge_data: Option<ChallengeData>,
    /// Links to the next steps.
    #[serde(rename = "_links")]
    pub links: Links,
    /// A sentence for the customer.
    pub psu_message: Option<Text<500>>,
}

/// Answer to `GET /v1/consents/{consentId}` (schema `consentInformationResponse-200_json`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ConsentInformation {
    // The standard requires this field and the next three: we always send them, and read a consent
    // without them too.
    /// The requested access.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub access: AccountAccess,
    /// For repeated reads, or for one.
    #[serde(default, deserialize_with = "truth")]
    #[cfg_attr(feature = "openapi", schema(value_type = bool, required = true))]
    pub recurring_indicator: Option<bool>,
    /// Last day on which the consent holds.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Date, required = true))]
    pub valid_until: Option<NaiveDate>,
    /// Reads of each account a day with no customer present.
    #[cfg_attr(feature = "openapi", schema(value_type = u32, minimum = 1, required = true))]
    pub frequency_per_day: Option<std::num::NonZeroU32>,
    /// Day of the last action on the consent. The standard requires the field and its own example
    /// leaves it out: we always send it and do not insist on getting it.
    pub last_action_date: Option<NaiveDate>,
    /// The status.
    pub consent_status: ConsentStatus,
    /// `account`, `card-account`.
    #[serde(rename = "_links")]
    pub links: Option<Links>,
}

/// Answer to `GET /v1/consents/{consentId}/status` (schema `consentStatusResponse-200`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ConsentStatusResponse {
    /// The status.
    pub consent_status: ConsentStatus,
    /// A sentence for the customer.
    pub psu_message: Option<Text<500>>,
}

/// The standard's example of an answer writes `"true"` where its schema has `true`. Both are
/// understood of a bank.
fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    struct Truth;

    impl serde::de::Visitor<'_> for Truth {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a boolean")
        }

        fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<bool, E> {
            match value {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(E::invalid_value(serde::de::Unexpected::Str(value), &self)),
            }
        }
    }

    deserializer.deserialize_any(Truth).map(Some)
}
