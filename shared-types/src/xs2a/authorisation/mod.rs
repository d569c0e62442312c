//! Authorisations: how a customer approves a consent (service AIS,
//! `/v1/consents/{consentId}/authorisations`).

mod secret;
mod step;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_with::skip_serializing_none;
use strum::VariantArray as _;

pub use self::secret::Secret;
pub use self::step::{PsuData, UpdatePsuData};
use crate::xs2a::link::Links;
use crate::xs2a::macros::open_enum;
use crate::xs2a::message::TppMessage;
use crate::xs2a::text::Text;

/// Status of an authorisation (schema `scaStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(strum::Display, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
#[strum(parse_err_ty = UnknownName, parse_err_fn = UnknownName::new)]
pub enum ScaStatus {
    /// Started, without a step yet.
    Received,
    /// The customer is known by name.
    PsuIdentified,
    /// The customer has proved one factor.
    PsuAuthenticated,
    /// The method for the second factor is chosen.
    ScaMethodSelected,
    /// The second factor is on its way.
    Started,
    /// The customer has proved both; the TPP has yet to confirm that it was its own customer.
    Unconfirmed,
    /// Done. Final.
    Finalised,
    /// Failed, refused, or not completed in time. Final.
    Failed,
    /// The bank did not ask for SCA. Final.
    Exempted,
}

impl ScaStatus {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether nothing can follow.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Finalised | Self::Failed | Self::Exempted)
    }

    /// All of them.
    pub const ALL: &[Self] = Self::VARIANTS;
}

/// SCA approach: the way by which a customer authenticates (header `ASPSP-SCA-Approach`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(strum::Display, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[serde(rename_all = "UPPERCASE")]
#[strum(serialize_all = "UPPERCASE")]
#[strum(parse_err_ty = UnknownName, parse_err_fn = UnknownName::new)]
pub enum ScaApproach {
    /// On the bank's own pages, to which the TPP sends the browser.
    Redirect,
    /// In the bank's own app, beside the TPP.
    Decoupled,
    /// Through the TPP, which passes on what the customer enters.
    Embedded,
}

impl ScaApproach {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// All of them.
    pub const ALL: &[Self] = Self::VARIANTS;
}

/// A name that no status, or no approach, has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a known name")]
pub struct UnknownName;

impl UnknownName {
    pub(super) fn new(_: &str) -> Self {
        Self
    }
}

/// A method by which the customer can prove the second factor (schema `authenticationObject`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationObject {
    /// The kind of the method.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "CHIP_OTP"))]
    pub authentication_type: AuthenticationType,
    /// The version of the method, after the bank's documentation.
    pub authentication_version: Option<String>,
    /// The id with which it is selected.
    pub authentication_method_id: Text<35>,
    /// The name that the customer, or the bank, gave it.
    pub name: Option<String>,
    /// Explanation for the customer.
    pub explanation: Option<String>,
}

open_enum! {
    /// The kinds of methods (schema `authenticationType`). Each has a code, by whatever way the
    /// customer gets it.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub enum AuthenticationType {
        /// Sent as a short message.
        SmsOtp = "SMS_OTP",
        /// Made by a device in the customer's hand.
        ChipOtp = "CHIP_OTP",
        /// Made by a device from a picture.
        PhotoOtp = "PHOTO_OTP",
        /// Pushed to the bank's app.
        PushOtp = "PUSH_OTP",
        /// Sent by e-mail.
        SmtpOtp = "SMTP_OTP",
    }
    /// One that the standard does not name; it leaves the list open.
    Other(Text<70>)
}

impl<'de> Deserialize<'de> for AuthenticationType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(Self::from_value)
    }
}

/// Data with which the customer makes, or finds, the code (schema `challengeData`).
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChallengeData {
    /// A picture to show, PNG in base64.
    pub image: Option<String>,
    /// Texts to show.
    pub data: Option<Vec<String>>,
    /// The address of a picture to show.
    pub image_link: Option<String>,
    /// Length of the code, at most. The standard's example writes it as a text; that is understood.
    #[serde(default, deserialize_with = "number")]
    pub otp_max_length: Option<u32>,
    /// The characters of the code.
    pub otp_format: Option<OtpFormat>,
    /// Information for the customer; the TPP has to show it.
    pub additional_information: Option<String>,
}

/// Characters of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum OtpFormat {
    /// Any characters.
    Characters,
    /// Digits.
    Integer,
}

/// Answer to `POST …/authorisations` (schema `startScaprocessResponse`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuthorisationStarted {
    /// The status.
    pub sca_status: ScaStatus,
    /// The id, for the path.
    pub authorisation_id: String,
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

/// Answer to `GET …/authorisations` (schema `authorisations`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuthorisationList {
    /// The ids of all authorisations, in the order in which they were started.
    pub authorisation_ids: Vec<String>,
}

/// Answer to `GET …/authorisations/{authorisationId}` (schema `scaStatusResponse`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ScaStatusResponse {
    /// The status.
    pub sca_status: ScaStatus,
    /// A sentence for the customer.
    pub psu_message: Option<Text<500>>,
    /// Name of the PSU who approved.
    pub psu_name: Option<Text<140>>,
    /// Whether the creditor is a trusted beneficiary.
    pub trusted_beneficiary_flag: Option<bool>,
    /// Links to the next steps.
    #[serde(rename = "_links")]
    pub links: Option<Links>,
    /// Messages for the TPP.
    pub tpp_message: Option<Vec<TppMessage>>,
}

/// Answer to `PUT …/authorisations/{authorisationId}`, whichever step it was (schemas
/// `updatePsuIdentificationResponse`, `updatePsuAuthenticationResponse`,
/// `selectPsuAuthenticationMethodResponse`, `scaStatusResponse` and
/// `authorisationConfirmationResponse`: all of them are told from each other by what the request
/// was).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuthorisationUpdated {
    /// The status. One of the standard's examples calls it `scatransactionStatus`; that is
    /// understood.
    #[serde(alias = "scatransactionStatus")]
    pub sca_status: ScaStatus,
    /// The methods the customer can choose among.
    pub sca_methods: Option<Vec<AuthenticationObject>>,
    /// The method, once it is chosen.
    pub chosen_sca_method: Option<AuthenticationObject>,
    /// Data for the customer.
    pub challenge_data: Option<ChallengeData>,
    /// Links to the next steps.
    #[serde(rename = "_links")]
    pub links: Option<Links>,
    /// A sentence for the customer.
    pub psu_message: Option<Text<500>>,
}

/// The standard's example writes `"6"` where its schema has `6`. Both are understood.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    struct Number;

    impl serde::de::Visitor<'_> for Number {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u32, E> {
            u32::try_from(value)
                .map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(value), &self))
        }

        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<u32, E> {
            value
                .parse()
                .map_err(|_| E::invalid_value(serde::de::Unexpected::Str(value), &self))
        }
    }

    deserializer.deserialize_any(Number).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statuses_and_approaches_keep_their_names() {
        for status in ScaStatus::ALL.iter().copied() {
            assert_eq!(json!(status), status.as_str());
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(format!("{status}"), status.as_str());
        }
        for approach in ScaApproach::ALL.iter().copied() {
            assert_eq!(json!(approach), approach.as_str());
            assert_eq!(approach.as_str().parse(), Ok(approach));
        }
        assert_eq!("Received".parse::<ScaStatus>(), Err(UnknownName));
        assert_eq!("OAUTH".parse::<ScaApproach>(), Err(UnknownName));
    }

    #[test]
    fn three_statuses_are_final() {
        let last: Vec<_> = ScaStatus::ALL
            .iter()
            .copied()
            .filter(|status| status.is_final())
            .collect();
        assert_eq!(
            last,
            [ScaStatus::Finalised, ScaStatus::Failed, ScaStatus::Exempted]
        );
    }

    #[test]
    fn a_length_may_be_written_as_a_text() {
        for length in [json!(6), json!("6")] {
            let data: ChallengeData =
                serde_json::from_value(json!({ "otpMaxLength": length })).unwrap();
            assert_eq!(
                serde_json::to_value(&data).unwrap(),
                json!({ "otpMaxLength": 6 })
            );
        }
        assert!(serde_json::from_value::<ChallengeData>(json!({ "otpMaxLength": "six" })).is_err());
    }

    #[test]
    fn a_strange_kind_of_method_survives() {
        let strange: AuthenticationType = serde_json::from_value(json!("FIDO_U2F")).unwrap();
        assert_eq!(strange.as_str(), "FIDO_U2F");
        for known in AuthenticationType::STANDARD {
            let again: AuthenticationType = serde_json::from_value(json!(known)).unwrap();
            assert_eq!(&again, known);
        }
    }
}
