//! `_links`: hypermedia links of a response.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The target of one link (schema `hrefType`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Href {
    /// A whole URL, or a reference relative to the address of the answer that the link is in.
    pub href: String,
}

/// Named links (schemas `_links…`). The standard leaves each set open to names of the bank's own.
///
/// A link that is `null`, or whose target is, is read as none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Links(BTreeMap<String, Href>);

impl Links {
    /// Links in one set, at most: more are not read. The standard has names for some thirty.
    pub const MOST: usize = 100;

    /// No links yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more link.
    #[must_use]
    pub fn with(mut self, name: &str, href: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), Href { href: href.into() });
        self
    }

    /// The target of the link of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|link| link.href.as_str())
    }

    /// Names and targets, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, link)| (name.as_str(), link.href.as_str()))
    }
}

impl<'de> Deserialize<'de> for Links {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A link of which a bank may say that there is none.
        #[derive(Deserialize)]
        struct Target {
            href: Option<String>,
        }

        struct Set;

        impl<'de> Visitor<'de> for Set {
            type Value = Links;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of links")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Links, A::Error> {
                let mut links = BTreeMap::new();
                let mut read = 0;
                while let Some((name, link)) = map.next_entry::<String, Option<Target>>()? {
                    if read >= Links::MOST {
                        let most = Links::MOST;
                        return Err(A::Error::custom(format!("more than {most} links")));
                    }
                    read += 1;
                    if let Some(href) = link.and_then(|link| link.href) {
                        links.insert(name, Href { href });
                    }
                }
                Ok(Links(links))
            }
        }

        deserializer.deserialize_map(Set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_links_has_an_end() {
        let set = |links: usize| {
            let links: Vec<String> = (0..links)
                .map(|number| format!(r#""{number}":{{"href":"/"}}"#))
                .collect();
            serde_json::from_str::<Links>(&format!("{{{}}}", links.join(",")))
        };
        assert_eq!(set(Links::MOST).unwrap().iter().count(), Links::MOST);
        let fault = set(Links::MOST + 1).unwrap_err().to_string();
        assert!(fault.contains("more than 100 links"), "{fault}");
        assert!(serde_json::from_str::<Links>("[]").is_err());
    }

    #[test]
    fn a_link_that_is_null_is_none() {
        let links = r#"{"next": null, "first": {"href": null}, "last": {}, "account": {"href": "/v1/accounts/a"}}"#;
        let links: Links = serde_json::from_str(links).unwrap();
        let read: Vec<(&str, &str)> = links.iter().collect();
        assert_eq!(read, [("account", "/v1/accounts/a")]);
        assert!(serde_json::from_str::<Links>(r#"{"next": {"href": 2}}"#).is_err());
    }
}
