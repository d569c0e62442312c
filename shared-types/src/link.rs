//! `_links`: where a peer goes next.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The target of one link (schema `hrefType`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Href {
    /// An absolute path on the same host, or a whole URL.
    pub href: String,
}

/// Named links (schemas `_links…`). The standard leaves each set open to names of the bank's own.
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
        struct Set;

        impl<'de> Visitor<'de> for Set {
            type Value = Links;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of links")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Links, A::Error> {
                let mut links = BTreeMap::new();
                while let Some((name, link)) = map.next_entry()? {
                    if links.len() >= Links::MOST {
                        let most = Links::MOST;
                        return Err(A::Error::custom(format!("more than {most} links")));
                    }
                    links.insert(name, link);
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
}
