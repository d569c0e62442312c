//! Validation of redirect URIs: addresses to which the bank sends the customer back.
//!
//! An open redirect would be a tool for phishing. So an address must belong to the TPP according to
//! its certificate. The address is stored as parsed, not as received.

use std::net::IpAddr;

use url::{Host, Url};

use crate::config::{RedirectUris, ScaConfig};

/// Rule that a redirect URI violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedirectFault {
    /// More characters than allowed.
    #[error("the address is longer than {LONGEST} characters")]
    TooLong,
    /// No address.
    #[error("expected an absolute https address")]
    NotAnAddress,
    /// Another scheme.
    #[error("the address must be https")]
    NotHttps,
    /// The own machine, which is not allowed.
    #[error(
        "the address must be https: this bank does not allow http on loopback (`[sca] allow_loopback_redirects` of \
         its configuration, for development)"
    )]
    Loopback,
    /// It has a user's name or password.
    #[error("the address must not have user information before its host")]
    UserInformation,
    /// It has a fragment.
    #[error("the address must not have a fragment")]
    Fragment,
    /// The certificate does not name its host.
    #[error("the address's host is not among the DNS names of your certificate")]
    ForeignHost,
}

/// Maximum length of an address, in characters.
pub(crate) const LONGEST: usize = 2048;

/// Validates an address against the hosts that the TPP's certificate names.
pub(crate) fn check(text: &str, hosts: &[String], rules: &ScaConfig) -> Result<Url, RedirectFault> {
    if text.chars().count() > LONGEST {
        return Err(RedirectFault::TooLong);
    }
    // A browser-like parser drops invisible characters and reads a backslash as a slash.
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    {
        return Err(RedirectFault::NotAnAddress);
    }
    let url = Url::parse(text).map_err(|_| RedirectFault::NotAnAddress)?;
    // DNS names alone: the address is part of a content security policy, where `;` and `*` have
    // meanings of their own.
    if let Some(Host::Domain(host)) = url.host()
        && !host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
    {
        return Err(RedirectFault::NotAnAddress);
    }
    let is_loopback = url.host().as_ref().is_some_and(is_loopback);
    let loopback = rules.allow_loopback_redirects && is_loopback;
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" if is_loopback => return Err(RedirectFault::Loopback),
        _ => return Err(RedirectFault::NotHttps),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RedirectFault::UserInformation);
    }
    if url.fragment().is_some() {
        return Err(RedirectFault::Fragment);
    }
    let named = || match url.host() {
        Some(Host::Domain(host)) => hosts.iter().any(|pattern| covers(pattern, host)),
        _ => false,
    };
    if loopback || rules.redirect_uris == RedirectUris::AnyHttps || named() {
        Ok(url)
    } else {
        Err(RedirectFault::ForeignHost)
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Whether a name in a certificate covers a host. An asterisk stands for the whole leftmost label
/// (RFC 9525, section 6.3).
fn covers(pattern: &str, host: &str) -> bool {
    if pattern.parse::<IpAddr>().is_ok() {
        return false;
    }
    match pattern.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty() && parent.contains('.') && rest.eq_ignore_ascii_case(parent)
        }),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts() -> Vec<String> {
        [
            "app.tpp.example",
            "*.wild.example",
            "*.example",
            "192.0.2.1",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn strict(text: &str) -> Result<String, RedirectFault> {
        check(text, &hosts(), &ScaConfig::default()).map(String::from)
    }

    #[test]
    fn an_address_of_the_certificates_names_is_taken_as_it_is_understood() {
        for (text, understood) in [
            (
                "https://app.tpp.example/back?x=1",
                "https://app.tpp.example/back?x=1",
            ),
            ("https://APP.tpp.example", "https://app.tpp.example/"),
            (
                "https://app.tpp.example:8443/a/../b",
                "https://app.tpp.example:8443/b",
            ),
            ("https://any.wild.example/", "https://any.wild.example/"),
        ] {
            assert_eq!(strict(text), Ok(understood.to_owned()));
        }
    }

    #[test]
    fn each_fault_has_its_sentence() {
        use RedirectFault::*;

        let long = format!("https://app.tpp.example/{}", "a".repeat(LONGEST));
        for (text, fault) in [
            (&*long, TooLong),
            ("", NotAnAddress),
            ("/back", NotAnAddress),
            ("//app.tpp.example/back", NotAnAddress),
            ("https://", NotAnAddress),
            ("https://app.tpp.example/a b", NotAnAddress),
            ("https://app.tpp.example\t.evil.example/", NotAnAddress),
            ("https:\\\\app.tpp.example\\@evil.example", NotAnAddress),
            ("https://äpp.tpp.example/", NotAnAddress),
            ("http://app.tpp.example/", NotHttps),
            ("javascript:alert(1)", NotHttps),
            ("data:text/html,x", NotHttps),
            ("ftp://app.tpp.example/", NotHttps),
            ("https://app.tpp.example@evil.example/", UserInformation),
            ("https://u:p@app.tpp.example/", UserInformation),
            ("https://app.tpp.example/#x", Fragment),
            ("https://app.tpp.example/#", Fragment),
            ("https://evil.example/", ForeignHost),
            ("https://app.tpp.example.evil.example/", ForeignHost),
            ("https://notapp.tpp.example/", ForeignHost),
            ("https://app.tpp.example./", ForeignHost),
            ("https://a.b.wild.example/", ForeignHost),
            ("https://wild.example/", ForeignHost),
            ("https://192.0.2.1/", ForeignHost),
            ("https://3221225985/", ForeignHost),
            ("https://localhost/", ForeignHost),
            ("http://localhost/", Loopback),
        ] {
            assert_eq!(strict(text), Err(fault), "{text:.80}");
            assert!(!fault.to_string().contains("evil"));
        }
    }

    #[test]
    fn other_hosts_and_the_own_machine_are_a_choice() {
        let any = &ScaConfig {
            redirect_uris: RedirectUris::AnyHttps,
            ..ScaConfig::default()
        };
        let own = &ScaConfig {
            allow_loopback_redirects: true,
            ..ScaConfig::default()
        };
        let check = |text: &str, rules| check(text, &[], rules).map(String::from);
        assert!(check("https://anywhere.example/", any).is_ok());
        assert_eq!(
            check("http://anywhere.example/", any),
            Err(RedirectFault::NotHttps)
        );
        assert_eq!(
            check("http://localhost:1/", any),
            Err(RedirectFault::Loopback)
        );
        for text in [
            "http://localhost:8451/back",
            "http://bank-a.localhost:8451/back",
            "http://127.0.0.1:8451/",
            "http://[::1]/",
            "https://localhost/",
        ] {
            assert!(check(text, own).is_ok(), "{text}");
        }
        for text in [
            "https://anywhere.example/",
            "https://localhost.evil.example/",
        ] {
            assert_eq!(check(text, own), Err(RedirectFault::ForeignHost));
        }
        assert_eq!(
            check("http://user@localhost/", own),
            Err(RedirectFault::UserInformation)
        );
    }

    proptest! {
        #[test]
        fn what_is_taken_leads_to_a_named_host(text in "https?:[/\\\\]{0,3}[a-z@.:/#?*-]{0,40}|\\PC{0,60}") {
            if let Ok(url) = check(&text, &hosts(), &ScaConfig::default()) {
                prop_assert_eq!(url.scheme(), "https");
                let host = url.host_str().unwrap();
                prop_assert!(hosts().iter().any(|pattern| covers(pattern, host)));
            }
        }
    }
}
