//! Errors on the wire: `tppMessages` and the standard's message codes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_with::skip_serializing_none;

use crate::text::Text;

/// Body of every error answer (schemas `Error4xx_NG_AIS` and their kin).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TppMessages {
    /// What went wrong; at least one entry.
    pub tpp_messages: Vec<TppMessage>,
}

/// One message to the TPP (schema `tppMessageGeneric`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TppMessage {
    /// Error or warning.
    pub category: Category,
    /// The standard's code.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "FORMAT_ERROR"))]
    pub code: MessageCode,
    /// Where in the request: a header, a parameter, or a path into the body.
    pub path: Option<String>,
    /// What to do about it, in a sentence.
    pub text: Option<Text<500>>,
}

/// How bad it is (schema `tppMessageCategory`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Category {
    /// The request was not carried out.
    Error,
    /// It was, with a caveat.
    Warning,
}

/// Writes an enumeration of codes whose names on the wire are fixed, and one for codes a bank made up.
macro_rules! message_codes {
    ($($(#[$doc:meta])* $name:ident = $wire:literal,)*) => {
        /// A message code for account information (the standard's `MessageCode4xx_AIS` lists).
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum MessageCode {
            $($(#[$doc])* $name,)*
            /// A code that this list does not have.
            Other(Text<70>),
        }

        impl MessageCode {
            /// The codes the standard names.
            pub const STANDARD: &[Self] = &[$(Self::$name,)*];

            /// The code as it is written on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $wire,)*
                    Self::Other(code) => code.as_str(),
                }
            }
        }
    };
}

message_codes! {
    /// Something in the request does not have the form it must have.
    FormatError = "FORMAT_ERROR",
    /// Two parameters contradict each other.
    ParameterNotConsistent = "PARAMETER_NOT_CONSISTENT",
    /// The bank does not support a parameter, or that value of it.
    ParameterNotSupported = "PARAMETER_NOT_SUPPORTED",
    /// The service, or the method, does not exist for this resource.
    ServiceInvalid = "SERVICE_INVALID",
    /// The service is closed to this TPP.
    ServiceBlocked = "SERVICE_BLOCKED",
    /// No such resource, for this TPP and consent.
    ResourceUnknown = "RESOURCE_UNKNOWN",
    /// The resource did exist.
    ResourceExpired = "RESOURCE_EXPIRED",
    /// The resource is blocked.
    ResourceBlocked = "RESOURCE_BLOCKED",
    /// A timestamp is out of range.
    TimestampInvalid = "TIMESTAMP_INVALID",
    /// A period of time is out of range.
    PeriodInvalid = "PERIOD_INVALID",
    /// No such SCA method.
    ScaMethodUnknown = "SCA_METHOD_UNKNOWN",
    /// SCA went wrong.
    ScaInvalid = "SCA_INVALID",
    /// No such consent, for this TPP.
    ConsentUnknown = "CONSENT_UNKNOWN",
    /// The consent does not cover the request.
    ConsentInvalid = "CONSENT_INVALID",
    /// The consent is past its last day.
    ConsentExpired = "CONSENT_EXPIRED",
    /// Sessions of several services are not supported.
    SessionsNotSupported = "SESSIONS_NOT_SUPPORTED",
    /// The certificate is no QWAC for PSD2.
    CertificateInvalid = "CERTIFICATE_INVALID",
    /// The certificate has expired.
    CertificateExpired = "CERTIFICATE_EXPIRED",
    /// The certificate's holder is blocked.
    CertificateBlocked = "CERTIFICATE_BLOCKED",
    /// The certificate was revoked.
    CertificateRevoke = "CERTIFICATE_REVOKE",
    /// There is no certificate.
    CertificateMissing = "CERTIFICATE_MISSING",
    /// The TPP does not have the role that the service needs.
    RoleInvalid = "ROLE_INVALID",
    /// The signature does not match.
    SignatureInvalid = "SIGNATURE_INVALID",
    /// The signature is missing.
    SignatureMissing = "SIGNATURE_MISSING",
    /// The corporate id is unknown.
    CorporateIdInvalid = "CORPORATE_ID_INVALID",
    /// The customer's credentials are wrong.
    PsuCredentialsInvalid = "PSU_CREDENTIALS_INVALID",
    /// The token is unknown.
    TokenUnknown = "TOKEN_UNKNOWN",
    /// The token is not right for this.
    TokenInvalid = "TOKEN_INVALID",
    /// The token has expired.
    TokenExpired = "TOKEN_EXPIRED",
    /// The requested formats are not supported.
    RequestedFormatsInvalid = "REQUESTED_FORMATS_INVALID",
    /// The resource's state does not allow this.
    StatusInvalid = "STATUS_INVALID",
    /// More requests than allowed.
    AccessExceeded = "ACCESS_EXCEEDED",
    /// The bank failed.
    InternalServerError = "INTERNAL_SERVER_ERROR",
    /// The bank cannot answer at this time. The standard's schemas name no code for 503; this is that status's own name.
    ServiceUnavailable = "SERVICE_UNAVAILABLE",
}

impl fmt::Display for MessageCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for MessageCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MessageCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = Text::<70>::deserialize(deserializer)?;
        let known = Self::STANDARD
            .iter()
            .find(|known| known.as_str() == code.as_str());
        Ok(known.cloned().unwrap_or(Self::Other(code)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_keep_their_names_and_strange_ones_survive() {
        for code in MessageCode::STANDARD {
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(&serde_json::from_str::<MessageCode>(&json).unwrap(), code);
        }
        let strange: MessageCode = serde_json::from_str("\"HOUSE_RULE\"").unwrap();
        assert_eq!(strange.as_str(), "HOUSE_RULE");
    }
}
