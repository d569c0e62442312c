//! Errors on the wire: `tppMessages` and the standard's message codes.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;

use crate::xs2a::macros::open_enum;
use crate::xs2a::text::Text;

/// Body of every error answer (schemas `Error4xx_NG_AIS` and their kin).
///
/// It is read from each of the standard's forms, whatever its media type: `tppMessages`;
/// `apiClientMessages`, as in the verification of payees (`error_NG_4xx_VOP`); and RFC 7807 with
/// `code` and `additionalErrors` (`Error4xx_AIS`, `error_RFC7807_4xx_VOP`). A message without a
/// code is left out, a text that is too long is cut; a body without any message is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TppMessages {
    /// The messages; at least one entry.
    pub tpp_messages: Vec<TppMessage>,
}

impl TppMessages {
    /// Messages of one answer, at most: more are not read.
    pub const MAX: usize = 100;
}

impl<'de> Deserialize<'de> for TppMessages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tpp_messages = messages(&Value::deserialize(deserializer)?);
        if tpp_messages.is_empty() {
            return Err(D::Error::custom("no message with a code"));
        }
        Ok(Self { tpp_messages })
    }
}

/// The messages of an error body, in whichever of the forms they come.
fn messages(body: &Value) -> Vec<TppMessage> {
    let list = |name: &str| {
        let list = body.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(TppMessage::read)
    };
    let listed = list("tppMessages").chain(list("apiClientMessages"));
    let mut problem: Vec<TppMessage> = problem(body)
        .into_iter()
        .chain(list("additionalErrors"))
        .take(TppMessages::MAX)
        .collect();
    // The words of a problem that has its codes in the list alone.
    if let Some(first) = problem.first_mut()
        && first.text.is_none()
    {
        first.text = words(body);
    }
    listed.chain(problem).take(TppMessages::MAX).collect()
}

/// The message of a problem after RFC 7807. A field `code` alone does not make one, unless the
/// standard has that code.
fn problem(body: &Value) -> Option<TppMessage> {
    let is_problem = ["type", "title", "detail", "additionalErrors"]
        .iter()
        .any(|name| body.get(name).is_some());
    TppMessage::read(body)
        .filter(|message| is_problem || MessageCode::STANDARD.contains(&message.code))
}

/// The words of a message or of a problem; those about the case at hand first.
fn words(of: &Value) -> Option<Text<500>> {
    ["text", "detail", "title"]
        .iter()
        .filter_map(|name| of.get(name)?.as_str())
        .find(|text| !text.trim().is_empty())
        .map(Text::cut)
}

/// One message to the TPP (schema `tppMessageGeneric`).
///
/// Its `Debug` shows the text, as the `Display` of an error does: it is written for those who mend
/// the request.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TppMessage {
    /// Error or warning.
    pub category: Category,
    /// The standard's code.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "FORMAT_ERROR"))]
    pub code: MessageCode,
    /// The place in the request: a header, a parameter, or a path into the body.
    pub path: Option<String>,
    /// Advice to the TPP, in a sentence.
    pub text: Option<Text<500>>,
}

impl TppMessage {
    /// A message, or one of a problem, if it has a code.
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let code = text("code")
            .map(str::trim)
            .filter(|code| !code.is_empty())?;
        Some(Self {
            category: match text("category") {
                Some("WARNING") => Category::Warning,
                _ => Category::Error,
            },
            code: MessageCode::from_value(Text::cut(code)),
            path: text("path").map(str::to_owned),
            text: words(value),
        })
    }
}

impl fmt::Debug for TppMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TppMessage")
            .field("category", &self.category)
            .field("code", &self.code)
            .field("path", &self.path)
            .field("text", &self.text.as_ref().map(Text::as_str))
            .finish()
    }
}

/// Severity of a message (schema `tppMessageCategory`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Category {
    /// The request was not carried out.
    Error,
    /// The request was carried out, with a caveat.
    Warning,
}

open_enum! {
    /// A message code for account information (the standard's `MessageCode4xx_AIS` lists).
    #[derive(Clone, PartialEq, Eq, Hash)]
    #[non_exhaustive]
    pub enum MessageCode {
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
        /// The bank cannot answer at this time. The standard's schemas name no code for 503; this
        /// is that status's own name.
        ServiceUnavailable = "SERVICE_UNAVAILABLE",
    }
    /// A code that this list does not have.
    Other(Text<70>)
}

impl fmt::Display for MessageCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The code as it is written on the wire, one that a bank made up included.
impl fmt::Debug for MessageCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_str().escape_debug())
    }
}

impl<'de> Deserialize<'de> for MessageCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(Self::from_value)
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

    #[test]
    fn the_messages_of_every_form_are_read() {
        let problem = r#""type": "https://bank.example/errors/consent", "title": "Not allowed""#;
        for (body, expected) in [
            (
                r#"{"tppMessages": [{"category": "ERROR", "code": "CONSENT_EXPIRED", "text": "ended"}]}"#.to_owned(),
                "CONSENT_EXPIRED: ended",
            ),
            (
                r#"{"apiClientMessages": [{"category": "ERROR", "code": "TOKEN_INVALID"}]}"#.to_owned(),
                "TOKEN_INVALID",
            ),
            (
                format!(r#"{{{problem}, "code": "CONSENT_EXPIRED"}}"#),
                "CONSENT_EXPIRED: Not allowed",
            ),
            (
                format!(r#"{{{problem}, "detail": "ended in May", "code": "CONSENT_EXPIRED",
                    "additionalErrors": [{{"code": "HOUSE_RULE", "title": "Mondays"}}, {{"title": "nothing"}}]}}"#),
                "CONSENT_EXPIRED: ended in May, HOUSE_RULE: Mondays",
            ),
            (
                format!(r#"{{{problem}, "additionalErrors": [{{"code": "ACCESS_EXCEEDED"}}]}}"#),
                "ACCESS_EXCEEDED: Not allowed",
            ),
            (
                format!(r#"{{{problem}, "code": "A_CODE", "tppMessages": [{{"code": "CONSENT_UNKNOWN"}}]}}"#),
                "CONSENT_UNKNOWN, A_CODE: Not allowed",
            ),
            (r#"{"code": "CONSENT_INVALID"}"#.to_owned(), "CONSENT_INVALID"),
            // One odd message, or part of one, hides no other.
            (
                r#"{"tppMessages": [null, {"code": 7}, {"category": "FATAL", "code": "A", "path": 1, "text": " "}]}"#.to_owned(),
                "A",
            ),
        ] {
            let read: TppMessages = crate::decode::decode(body.as_bytes()).unwrap();
            let told: Vec<String> = read
                .tpp_messages
                .iter()
                .map(|message| match &message.text {
                    Some(text) => format!("{}: {text}", message.code),
                    None => message.code.to_string(),
                })
                .collect();
            assert_eq!(told.join(", "), expected, "{body}");
            let written = serde_json::to_string(&read).unwrap();
            assert_eq!(serde_json::from_str::<TppMessages>(&written).unwrap(), read);
        }
        for nothing in [
            r#"{"tppMessages": []}"#,
            r#"{"type": "about:blank", "title": "Unauthorized", "status": 401}"#,
            r#"{"code": "E-17", "message": "of some gateway"}"#,
            r#"{"error": "invalid_token"}"#,
            "[]",
            "null",
        ] {
            assert!(
                serde_json::from_str::<TppMessages>(nothing).is_err(),
                "{nothing}"
            );
        }
        let long = format!(
            r#"{{"tppMessages": [{}]}}"#,
            vec![format!(r#"{{"code": "A", "text": "{}"}}"#, "x".repeat(600)); 200].join(",")
        );
        let read: TppMessages = serde_json::from_str(&long).unwrap();
        assert_eq!(read.tpp_messages.len(), TppMessages::MAX);
        let text = read.tpp_messages[0].text.as_ref().unwrap();
        assert_eq!(text.as_str().len(), 500);
    }
}
