//! Section `[online_banking]`: the listener for the bank's customers.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::{Host, Url};
use utoipa::ToSchema;

use crate::config_error::ConfigError;

/// Section `[online_banking]`: the bank's own pages for its customers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OnlineBankingConfig {
    /// Address and port. Port 0 lets the system choose. Without a certificate it must be a loopback
    /// address.
    #[schema(value_type = String, example = "0.0.0.0:443")]
    pub listen: SocketAddr,
    /// Origin of the pages: scheme, host and no path. Requests for any other host are refused. Port
    /// 0 stands for the port that the system chose.
    #[schema(value_type = String, example = "https://banking.bank-b.example")]
    pub origin: Url,
    /// PEM or DER file: a certificate that browsers trust, then its chain.
    #[serde(serialize_with = "super::schema::nothing")]
    #[schema(value_type = Option<String>, example = "pages.pem")]
    pub certificate: Option<PathBuf>,
    /// PEM or DER file: the private key of the certificate, with file mode 600.
    #[serde(serialize_with = "super::schema::nothing")]
    #[schema(value_type = Option<String>, example = "pages.key")]
    pub private_key: Option<PathBuf>,
    /// Time without a request after which a session ends (Delegated Regulation (EU) 2018/389,
    /// article 4(3)(d): at most 5).
    #[serde(default = "idle")]
    #[schema(minimum = 1, maximum = 5)]
    pub idle_timeout_minutes: u32,
    /// Time after which a session ends in any case.
    #[serde(default = "session")]
    #[schema(minimum = 1, maximum = 1_440)]
    pub max_session_minutes: u32,
    /// Maximum connections of all browsers together.
    #[serde(default = "max_connections")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub max_connections: usize,
    /// IP addresses of proxies whose `X-Forwarded-For` is used. From any other address the header
    /// is ignored.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["127.0.0.1"]))]
    pub trusted_proxies: Vec<IpAddr>,
    /// Shows the note that the page for approvals stands for the bank's app. For a sandbox only.
    #[serde(default)]
    pub sandbox: bool,
}

fn idle() -> u32 {
    5
}

fn session() -> u32 {
    8 * 60
}

fn max_connections() -> usize {
    1000
}

impl OnlineBankingConfig {
    /// Origin of the pages, with the port of the bound listener.
    #[must_use]
    pub fn origin_at(&self, bound: SocketAddr) -> Origin {
        let mut origin = self.origin.clone();
        if origin.port() == Some(0) {
            // An http address can always have a port.
            let _ = origin.set_port(Some(bound.port()));
        }
        Origin(origin)
    }

    /// Faults that need no file or socket to find.
    pub(super) fn faults(&self) -> Vec<ConfigError> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, problem: &str| {
            faults.push(ConfigError::new(format!("online_banking.{key}"), problem));
        };
        let origin = &self.origin;
        if !matches!(origin.scheme(), "http" | "https")
            || origin.host().is_none()
            || origin.path() != "/"
            || origin.query().is_some()
            || origin.fragment().is_some()
            || !origin.username().is_empty()
        {
            fault(
                "origin",
                "must be such as https://banking.example: scheme, host and no path",
            );
        } else if origin.scheme() == "http" && !is_loopback(origin) {
            fault(
                "origin",
                "must be https, unless its host is localhost or below it",
            );
        }
        if self.certificate.is_some() != self.private_key.is_some() {
            fault("certificate", "goes with private_key: both, or none");
        }
        if self.certificate.is_none() && !self.listen.ip().is_loopback() {
            fault(
                "listen",
                "must be a loopback address, or have a certificate: it speaks plain HTTP",
            );
        } else if self.certificate.is_none()
            && origin.scheme() == "https"
            && !self.trusted_proxies.iter().any(IpAddr::is_loopback)
        {
            fault(
                "trusted_proxies",
                "must name the address of the proxy on this machine that ends TLS, such as \
                 [\"127.0.0.1\"]; without it all browsers would come from one address, and one that \
                 guesses passwords would lock out all",
            );
        }
        if self.certificate.is_some() && origin.scheme() == "http" {
            fault("origin", "must be https: the listener has a certificate");
        }
        faults
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// Origin of the pages: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(Url);

impl Origin {
    /// Whether browsers connect over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// As browsers write it in `Origin`: no slash at the end.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// As browsers write it in `Host`: with the port, unless it is the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.host();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Origin as a URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The host alone.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The address of a page, by its path.
    #[must_use]
    pub fn page(&self, path: &str) -> String {
        format!("{}{path}", self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> OnlineBankingConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn plain_http_is_for_loopback_alone() {
        let places = |text: &str| -> Vec<String> {
            let faults = config(text).faults().into_iter();
            faults.map(|fault| fault.key).collect()
        };
        let tls = "certificate = \"c\"\nprivate_key = \"k\"\n";
        let local = "listen = \"127.0.0.1:0\"\norigin = \"http://bank-a.localhost:0\"\n";
        assert!(places(local).is_empty());
        let public = "listen = \"0.0.0.0:443\"\norigin = \"https://banking.example\"\n";
        assert!(places(&format!("{public}{tls}")).is_empty());
        // Behind a proxy that ends TLS, which has to be named.
        let gateway_listener = "listen = \"127.0.0.1:0\"\norigin = \"https://banking.example\"\n";
        let other = format!("{gateway_listener}trusted_proxies = [\"192.0.2.1\"]\n");
        for unnamed in [gateway_listener, other.as_str()] {
            assert_eq!(places(unnamed), ["online_banking.trusted_proxies"]);
        }
        let named = format!("{gateway_listener}trusted_proxies = [\"127.0.0.1\", \"::1\"]\n");
        assert!(places(&named).is_empty());
        assert_eq!(places(public), ["online_banking.listen"]);
        assert_eq!(places(&format!("{local}{tls}")), ["online_banking.origin"]);
        assert_eq!(
            places("listen = \"127.0.0.1:0\"\norigin = \"http://banking.example\""),
            ["online_banking.origin"]
        );
        assert_eq!(
            places("listen = \"127.0.0.1:0\"\norigin = \"http://localhost/path\""),
            ["online_banking.origin"]
        );
        assert_eq!(
            places(&format!("{public}certificate = \"c\"")),
            ["online_banking.certificate"]
        );
        assert_eq!(config(local).idle_timeout_minutes, 5);
    }

    #[test]
    fn port_0_becomes_the_one_that_was_bound() {
        let bound = "127.0.0.1:8451".parse().unwrap();
        let at = |origin: &str| {
            config(&format!("listen = \"127.0.0.1:0\"\norigin = \"{origin}\"")).origin_at(bound)
        };
        let local = at("http://bank-a.localhost:0");
        assert_eq!(local.text(), "http://bank-a.localhost:8451");
        assert_eq!(local.authority(), "bank-a.localhost:8451");
        assert_eq!(local.page("/log-in"), "http://bank-a.localhost:8451/log-in");
        let public = at("https://banking.example");
        assert_eq!(public.authority(), "banking.example");
        assert!(public.is_https() && !local.is_https());
    }
}
