//! `_links`: where a peer goes next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The target of one link (schema `hrefType`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Href {
    /// An absolute path on the same host, or a whole URL.
    pub href: String,
}

/// Named links (schemas `_links…`). The standard leaves each set open to names of the bank's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Links(BTreeMap<String, Href>);

impl Links {
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
