//! Address, certificates and limits of an HTTP service of the bank's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use shared_types::pki::key_location::KeyLocation;
use url::Url;

use super::is_loopback;
use crate::config_error::ConfigError;

/// Such a service, as its section of the configuration describes it.
pub(crate) struct ServiceSection<'a> {
    /// Name of the section.
    pub(crate) name: &'static str,
    /// Address of its API, without `/v1`.
    pub(crate) url: &'a Url,
    /// The certificate that the bank server presents, and its key.
    pub(crate) certificate: Option<&'a Path>,
    pub(crate) private_key: Option<&'a KeyLocation>,
    /// The trust anchors of the service's certificate.
    pub(crate) anchors: &'a [PathBuf],
    /// Timeout for an answer, with connection and repetition.
    pub(crate) response_timeout: Duration,
    /// Maximum concurrent queries.
    pub(crate) max_concurrent_requests: usize,
}

impl ServiceSection<'_> {
    /// Errors that can be found without opening anything.
    pub(crate) fn faults(&self) -> Vec<ConfigError> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, problem: &str| {
            faults.push(ConfigError::new(format!("{}.{key}", self.name), problem));
        };
        let is_plain = self.url.username().is_empty()
            && self.url.password().is_none()
            && self.url.query().is_none()
            && self.url.fragment().is_none();
        if !is_plain {
            fault("url", "must be an address without user, query and fragment");
        }
        if self.url.path().trim_end_matches('/').ends_with("/v1") {
            fault("url", "must be without /v1, which the bank server adds");
        }
        match self.url.scheme() {
            "https" => {
                if self.anchors.is_empty() {
                    fault(
                        "anchors",
                        "names no certification authority: no service could be trusted",
                    );
                }
                if self.certificate.is_none() {
                    fault(
                        "certificate",
                        "is missing: the service accepts no caller without one",
                    );
                }
                if self.private_key.is_none() {
                    fault("private_key", "is missing: it belongs to the certificate");
                }
            }
            "http" if is_loopback(self.url) => {
                if self.certificate.is_some() || self.private_key.is_some() {
                    fault(
                        "certificate",
                        "has no use over http: remove it, or use https",
                    );
                }
            }
            _ => fault(
                "url",
                "must be an https address; http is for a service on this machine alone, such as \
                 http://127.0.0.1:8080",
            ),
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use crate::config::CoreBankingConfig;

    const TLS: &str = "certificate = \"c.pem\"\nprivate_key = \"c.key\"\nanchors = [\"ca.pem\"]";

    #[test]
    fn each_value_has_its_fault() {
        let places = |text: &str| -> Vec<String> {
            let config: CoreBankingConfig = toml::from_str(text).unwrap();
            let faults = config.service().faults().into_iter();
            faults.map(|fault| fault.key).collect()
        };
        for good in [
            format!("url = \"https://core.internal/xs2a\"\n{TLS}"),
            "url = \"http://127.0.0.1:8080\"".to_owned(),
            "url = \"http://[::1]\"".to_owned(),
            "url = \"http://localhost:1\"".to_owned(),
        ] {
            assert_eq!(places(&good), Vec::<String>::new(), "{good}");
        }
        let text = format!("url = \"http://127.0.0.1\"\n{TLS}");
        assert_eq!(places(&text), ["core_banking.certificate"]);
        for url in [
            "http://core.internal",
            "http://127.0.0.1.example",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
            "https://u@core.internal",
            "https://core.internal?q",
            "https://core.internal#f",
        ] {
            let text = format!("url = \"{url}\"\n{TLS}");
            assert_eq!(places(&text), ["core_banking.url"], "{url}");
        }
        assert_eq!(
            places("url = \"https://core.internal\""),
            [
                "core_banking.anchors",
                "core_banking.certificate",
                "core_banking.private_key"
            ]
        );
    }
}
