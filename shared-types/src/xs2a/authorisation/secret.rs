//! Secret that a customer enters: password or one-time code.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::xs2a::text::TooLong;

/// A password or a code. It is readable only through [`expose`](Self::expose): not in `Debug`, and
/// it has no `Display`.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The greatest length, in characters.
    pub const LONGEST: usize = 512;

    /// A secret of at most [`Self::LONGEST`] characters.
    pub fn new(secret: impl Into<String>) -> Result<Self, TooLong> {
        let secret = secret.into();
        if secret.len() > Self::LONGEST && secret.chars().count() > Self::LONGEST {
            return Err(TooLong { max: Self::LONGEST });
        }
        Ok(Self(secret))
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
mod openapi {
    use utoipa::openapi::RefOr;
    use utoipa::openapi::schema::Schema;
    use utoipa::{PartialSchema, ToSchema};

    use super::Secret;
    use crate::xs2a::text::Text;

    impl PartialSchema for Secret {
        fn schema() -> RefOr<Schema> {
            Text::<{ Secret::LONGEST }>::schema()
        }
    }

    impl ToSchema for Secret {
        fn name() -> std::borrow::Cow<'static, str> {
            "Secret".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;
    use crate::xs2a::authorisation::UpdatePsuData;

    #[test]
    fn secrets_are_not_shown_and_not_endless() {
        let step = br#"{"psuData":{"password":"start12"}}"#;
        let step: UpdatePsuData = decode(step).unwrap();
        assert!(!format!("{step:?}").contains("start12"), "{step:?}");
        let longest = "ä".repeat(Secret::LONGEST);
        assert_eq!(Secret::new(longest.clone()).unwrap().expose(), longest);
        assert!(Secret::new(longest + "x").is_err());
        let wrong = br#"{"scaAuthenticationData":["4711"]}"#;
        let fault = decode::<UpdatePsuData>(wrong).unwrap_err();
        assert!(!fault.to_string().contains("4711"), "{fault}");
    }
}
