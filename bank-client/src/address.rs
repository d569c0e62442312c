//! Addresses of banks.

use reqwest::Url;

use crate::bank::ConfigurationError;

/// The address of an XS2A interface: https, with a host, and without user, query and fragment.
pub(crate) fn interface(text: &str) -> Result<Url, ConfigurationError> {
    Url::parse(text)
        .ok()
        .filter(|url| url.scheme() == "https" && url.has_host() && url.username().is_empty())
        .filter(|url| url.password().is_none() && url.query().is_none() && url.fragment().is_none())
        .ok_or_else(|| ConfigurationError::Url(text.to_owned()))
}
