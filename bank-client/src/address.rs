//! Validation of bank addresses, and of links in their responses.

use reqwest::Url;

use crate::error::ConfigurationError;

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

/// Reason for which a link is not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LinkError {
    /// It is not a URL.
    NotAUrl,
    /// It leads to another host, port or scheme.
    Foreign(Url),
}

/// Target of a link of the page at `page`, if it stays with the bank whose interface is at
/// `base`.
///
/// It is resolved as RFC 3986, section 5, has it, with one addition. Banks behind a gateway know
/// nothing of the path at which their interface is reached, and begin at its root:
/// `/v1/accounts/…`. Such a path goes on from `base`.
pub(crate) fn follow(base: &Url, page: &Url, link: &str) -> Result<Url, LinkError> {
    let mut url = page.join(link).map_err(|_| LinkError::NotAUrl)?;
    if url.origin() != base.origin() {
        return Err(LinkError::Foreign(url));
    }
    // It is not sent, so that two pages cannot differ in it.
    url.set_fragment(None);
    let root = base.path().trim_end_matches('/');
    let is_below = url
        .path()
        .strip_prefix(root)
        .is_some_and(|rest| rest.starts_with('/'));
    if !is_below && link.trim_start().starts_with("/v1/") {
        let path = format!("{root}{}", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(base: &str, page: &str, link: &str) -> Result<String, LinkError> {
        let url = |text| Url::parse(text).unwrap();
        follow(&url(base), &url(page), link).map(Into::into)
    }

    #[test]
    fn links_are_resolved_against_their_page() {
        let root = "https://bank.example";
        for base in [
            root.to_owned(),
            format!("{root}/psd2/xs2a"),
            format!("{root}/psd2/xs2a/"),
        ] {
            let below = base.trim_end_matches('/');
            let list = format!("{below}/v1/accounts/a/transactions");
            let page = format!("{list}?dateFrom=2026-01-01&page=1");
            for (link, expected) in [
                ("?page=2".to_owned(), format!("{list}?page=2")),
                ("transactions?page=2".to_owned(), format!("{list}?page=2")),
                ("./transactions?page=2".to_owned(), format!("{list}?page=2")),
                ("../a/transactions/2".to_owned(), format!("{list}/2")),
                (
                    "/v1/accounts/a/transactions?page=2".to_owned(),
                    format!("{list}?page=2"),
                ),
                (format!("{list}?page=2#top"), format!("{list}?page=2")),
                (
                    "//bank.example:443/page/2".to_owned(),
                    format!("{root}/page/2"),
                ),
                ("/page/2".to_owned(), format!("{root}/page/2")),
                // Resolves as a relative path, to a page that does not exist.
                (
                    "null?page=2".to_owned(),
                    format!("{below}/v1/accounts/a/null?page=2"),
                ),
                ("#2".to_owned(), page.clone()),
                (String::new(), page.clone()),
            ] {
                assert_eq!(followed(&base, &page, &link), Ok(expected), "{base} {link}");
            }
            let whole = &list[root.len()..];
            assert_eq!(followed(&base, &page, whole), Ok(list.clone()), "{base}");
        }
    }

    #[test]
    fn links_that_leave_the_bank_are_foreign() {
        let base = "https://bank.example/psd2/xs2a";
        let page = "https://bank.example/psd2/xs2a/v1/accounts/a/transactions?page=1";
        for link in [
            "https://evil.example/v1/accounts",
            "//evil.example/v1/accounts",
            r"\\evil.example/v1/accounts",
            r"/\evil.example/v1/accounts",
            "\t//evil.example/v1/accounts",
            "http://bank.example/v1/accounts",
            "https://bank.example:8443/v1/accounts",
            "https://bank.example@evil.example/v1/accounts",
            "https://bank.example.evil.example/",
            "data:text/plain,x",
        ] {
            let found = followed(base, page, link);
            assert!(
                matches!(found, Err(LinkError::Foreign(_))),
                "{link}: {found:?}"
            );
        }
        assert_eq!(followed(base, page, "https://"), Err(LinkError::NotAUrl));
    }
}
