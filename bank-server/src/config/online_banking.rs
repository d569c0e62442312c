//! Section `[online_banking]`: the listener for the bank's customers.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shared_types::pki::key_location::KeyLocation;
use url::Url;
use utoipa::ToSchema;

use super::is_loopback;
use crate::config_error::ConfigError;

/// Section `[online_banking]`: the bank's own pages for its customers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OnlineBankingConfig {
    /// Address and port. Port 0 lets the system choose. The address must be loopback if no
    /// `certificate` is configured.
    #[schema(value_type = String, example = "0.0.0.0:443")]
    pub listen: SocketAddr,
    /// Origin of the pages in the browser: scheme, host and, if needed, port; no path. Requests for
    /// any other host are refused. Port 0 is replaced by the port of the listener.
    #[schema(value_type = String, example = "https://banking.bank-b.example")]
    pub origin: Url,
    /// PEM or DER file: a certificate that browsers trust, followed by its chain.
    #[serde(serialize_with = "super::schema::nothing")]
    #[schema(value_type = Option<String>, example = "pages.pem")]
    pub certificate: Option<PathBuf>,
    /// PEM or DER file: the private key of the certificate, with file mode 600. Or a key on a
    /// token, by its PKCS#11 URI: see [keys-on-tokens.md](keys-on-tokens.md).
    #[serde(serialize_with = "super::schema::nothing")]
    #[schema(value_type = Option<String>, example = "pages.key")]
    pub private_key: Option<KeyLocation>,
    /// Idle timeout of a session: it ends after this time without a request (Delegated Regulation
    /// (EU) 2018/389, article 4(3)(d): at most 5 minutes).
    #[serde(default = "default_idle_timeout_minutes")]
    #[schema(minimum = 1, maximum = 5)]
    pub idle_timeout_minutes: u32,
    /// Time after which a session ends even if it is in use.
    #[serde(default = "default_max_session_minutes")]
    #[schema(minimum = 1, maximum = 1_440)]
    pub max_session_minutes: u32,
    /// Maximum connections of all browsers together.
    #[serde(default = "default_max_connections")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub max_connections: usize,
    /// IP addresses of reverse proxies whose `X-Forwarded-For` header is trusted. The header of any
    /// other peer is ignored.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["127.0.0.1"]))]
    pub trusted_proxies: Vec<IpAddr>,
    /// Whether the page `/phone` shows a note that it replaces the bank's mobile app. For a sandbox
    /// only.
    #[serde(default)]
    pub sandbox: bool,
}

fn default_idle_timeout_minutes() -> u32 {
    5
}

fn default_max_session_minutes() -> u32 {
    8 * 60
}

fn default_max_connections() -> usize {
    1000
}

impl OnlineBankingConfig {
    /// Origin of the pages. A configured port 0 is replaced by the port of the bound listener.
    #[must_use]
    pub fn origin_at(&self, bound: SocketAddr) -> Origin {
        let mut origin = self.origin.clone();
        if origin.port() == Some(0) {
            // Fails only for URLs without a host, which `faults` rejects.
            let _ = origin.set_port(Some(bound.port()));
        }
        Origin(origin)
    }

    /// Errors of this section that can be found without opening a file or a socket.
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
                "must consist of scheme, host and an optional port, such as \
                 https://banking.example",
            );
        } else if origin.scheme() == "http" && !is_local_origin(origin) {
            fault(
                "origin",
                "must be https, unless its host is localhost, a subdomain of localhost, or a \
                 loopback address",
            );
        }
        if self.certificate.is_some() != self.private_key.is_some() {
            fault(
                "certificate",
                "must be configured together with private_key",
            );
        }
        if self.certificate.is_none() && !self.listen.ip().is_loopback() {
            fault(
                "listen",
                "must be a loopback address: without a certificate, the listener speaks plain \
                 HTTP",
            );
        } else if self.certificate.is_none()
            && origin.scheme() == "https"
            && !self.trusted_proxies.iter().any(IpAddr::is_loopback)
        {
            fault(
                "trusted_proxies",
                "must contain the loopback address of the proxy that terminates TLS, such as \
                 [\"127.0.0.1\"]: otherwise all browsers share the proxy's address, and an \
                 attacker who guesses passwords locks all customers out",
            );
        }
        if self.certificate.is_some() && origin.scheme() == "http" {
            fault("origin", "must be https: the listener has a certificate");
        }
        faults
    }
}

/// Whether an origin is of this machine: browsers take subdomains of `localhost` for it too.
fn is_local_origin(url: &Url) -> bool {
    is_loopback(url)
        || url
            .domain()
            .is_some_and(|name| name.ends_with(".localhost"))
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

    /// Value of the header `Origin`: without a slash at the end.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Value of the header `Host`: with the port, unless it is the default port of the scheme.
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

    /// URL of the page at this path.
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
        let faulty_keys = |text: &str| -> Vec<String> {
            let faults = config(text).faults().into_iter();
            faults.map(|fault| fault.key).collect()
        };
        let certificate = "certificate = \"c\"\nprivate_key = \"k\"\n";
        let local = "listen = \"127.0.0.1:0\"\norigin = \"http://bank-a.localhost:0\"\n";
        assert!(faulty_keys(local).is_empty());
        let public = "listen = \"0.0.0.0:443\"\norigin = \"https://banking.example\"\n";
        assert!(faulty_keys(&format!("{public}{certificate}")).is_empty());
        // Behind a proxy that terminates TLS. Its address has to be configured.
        let proxied = "listen = \"127.0.0.1:0\"\norigin = \"https://banking.example\"\n";
        let other_proxy = format!("{proxied}trusted_proxies = [\"192.0.2.1\"]\n");
        for without_proxy in [proxied, other_proxy.as_str()] {
            assert_eq!(
                faulty_keys(without_proxy),
                ["online_banking.trusted_proxies"]
            );
        }
        let with_proxy = format!("{proxied}trusted_proxies = [\"127.0.0.1\", \"::1\"]\n");
        assert!(faulty_keys(&with_proxy).is_empty());
        assert_eq!(faulty_keys(public), ["online_banking.listen"]);
        assert_eq!(
            faulty_keys(&format!("{local}{certificate}")),
            ["online_banking.origin"]
        );
        assert_eq!(
            faulty_keys("listen = \"127.0.0.1:0\"\norigin = \"http://banking.example\""),
            ["online_banking.origin"]
        );
        assert_eq!(
            faulty_keys("listen = \"127.0.0.1:0\"\norigin = \"http://localhost/path\""),
            ["online_banking.origin"]
        );
        assert_eq!(
            faulty_keys(&format!("{public}certificate = \"c\"")),
            ["online_banking.certificate"]
        );
        assert_eq!(config(local).idle_timeout_minutes, 5);
    }

    #[test]
    fn port_0_is_replaced_by_the_port_of_the_listener() {
        let bound = "127.0.0.1:8451".parse().unwrap();
        let origin_at_bound = |origin: &str| {
            config(&format!("listen = \"127.0.0.1:0\"\norigin = \"{origin}\"")).origin_at(bound)
        };
        let local = origin_at_bound("http://bank-a.localhost:0");
        assert_eq!(local.text(), "http://bank-a.localhost:8451");
        assert_eq!(local.authority(), "bank-a.localhost:8451");
        assert_eq!(local.page("/log-in"), "http://bank-a.localhost:8451/log-in");
        let public = origin_at_bound("https://banking.example");
        assert_eq!(public.authority(), "banking.example");
        assert!(public.is_https() && !local.is_https());
    }
}
