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

/// The address of a mock bank: plain HTTP, and to nowhere but this machine.
#[cfg(feature = "test-util")]
pub(crate) fn on_this_machine(address: std::net::SocketAddr) -> Result<Url, ConfigurationError> {
    let text = format!("http://{address}");
    Url::parse(&text)
        .ok()
        .filter(|_| address.ip().is_loopback())
        .ok_or(ConfigurationError::Url(text))
}

/// Why a link is not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Astray {
    /// It is not a URL.
    NotAUrl,
    /// It leads to another host, port or scheme.
    Foreign(Url),
}

/// Where a bank's link leads, if it stays with the bank whose interface is at `base`.
pub(crate) fn follow(base: &Url, link: &str) -> Result<Url, Astray> {
    let url = base.join(link).map_err(|_| Astray::NotAUrl)?;
    if url.origin() == base.origin() {
        Ok(url)
    } else {
        Err(Astray::Foreign(url))
    }
}
