//! Next step of an authorisation that a TPP passes on to the bank.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_with::skip_serializing_none;

use super::Secret;
use crate::xs2a::text::Text;

/// Body of `PUT …/authorisations/{authorisationId}`, and of a `POST …/authorisations` that takes
/// the first step at once: one step at a time.
#[derive(Debug, Clone)]
pub enum UpdatePsuData {
    /// The customer's id, in the header `PSU-ID`; the body is `{}`.
    Identification,
    /// The first factor (schema `updatePsuAuthentication`).
    Authentication(PsuData),
    /// The method for the second (schema `selectPsuAuthenticationMethod`).
    MethodSelection(Text<35>),
    /// The code (schema `transactionAuthorisation`).
    TransactionAuthorisation(Secret),
    /// The code from the customer's browser (schema `authorisationConfirmation`).
    Confirmation(Secret),
}

/// The first factor (schema `psuData`).
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PsuData {
    /// The password.
    pub password: Option<Secret>,
    /// The password, encrypted for the bank.
    pub encrypted_password: Option<Secret>,
    /// A second password.
    pub additional_password: Option<Secret>,
    /// A second password, encrypted for the bank.
    pub additional_encrypted_password: Option<Secret>,
}

/// `UpdatePsuData` as it is written.
#[skip_serializing_none]
#[derive(Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = UpdatePsuData))]
#[serde(rename_all = "camelCase")]
struct Fields {
    psu_data: Option<PsuData>,
    authentication_method_id: Option<Text<35>>,
    sca_authentication_data: Option<Secret>,
    confirmation_code: Option<Secret>,
}

impl Serialize for UpdatePsuData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields::default();
        match self.clone() {
            Self::Identification => {}
            Self::Authentication(data) => fields.psu_data = Some(data),
            Self::MethodSelection(id) => fields.authentication_method_id = Some(id),
            Self::TransactionAuthorisation(code) => fields.sca_authentication_data = Some(code),
            Self::Confirmation(code) => fields.confirmation_code = Some(code),
        }
        fields.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for UpdatePsuData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        match (
            fields.psu_data,
            fields.authentication_method_id,
            fields.sca_authentication_data,
            fields.confirmation_code,
        ) {
            (None, None, None, None) => Ok(Self::Identification),
            (Some(data), None, None, None) => Ok(Self::Authentication(data)),
            (None, Some(id), None, None) => Ok(Self::MethodSelection(id)),
            (None, None, Some(code), None) => Ok(Self::TransactionAuthorisation(code)),
            (None, None, None, Some(code)) => Ok(Self::Confirmation(code)),
            _ => Err(serde::de::Error::custom(
                "one step at a time: psuData, authenticationMethodId, scaAuthenticationData or \
                 confirmationCode",
            )),
        }
    }
}

#[cfg(feature = "openapi")]
mod openapi {
    use utoipa::openapi::RefOr;
    use utoipa::openapi::schema::Schema;
    use utoipa::{PartialSchema, ToSchema};

    use super::{Fields, UpdatePsuData};

    impl PartialSchema for UpdatePsuData {
        fn schema() -> RefOr<Schema> {
            Fields::schema()
        }
    }

    impl ToSchema for UpdatePsuData {
        fn name() -> std::borrow::Cow<'static, str> {
            "UpdatePsuData".into()
        }

        fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
            Fields::schemas(schemas);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::decode::decode;

    #[test]
    fn each_step_has_its_field_and_two_at_once_are_refused() {
        for body in [
            json!({}),
            json!({ "psuData": { "password": "start12" } }),
            json!({ "authenticationMethodId": "totp" }),
            json!({ "scaAuthenticationData": "123456" }),
            json!({ "confirmationCode": "2256ffgh" }),
        ] {
            let step: UpdatePsuData = serde_json::from_value(body.clone()).unwrap();
            assert_eq!(serde_json::to_value(&step).unwrap(), body);
        }
        let two = br#"{"scaAuthenticationData":"1","confirmationCode":"2"}"#;
        let fault = decode::<UpdatePsuData>(two).unwrap_err();
        assert!(fault.reason.contains("one step at a time"), "{fault}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<UpdatePsuData>(&bytes);
        }

        #[test]
        fn any_code_reads_back(code in "\\PC{0,64}") {
            let step = UpdatePsuData::TransactionAuthorisation(Secret::new(code.clone()).unwrap());
            let json = serde_json::to_vec(&step).unwrap();
            match decode(&json).unwrap() {
                UpdatePsuData::TransactionAuthorisation(read) => prop_assert_eq!(read.expose(), code),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
