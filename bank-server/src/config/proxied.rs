//! Section `[proxied]`: the listener for gateways.

use std::net::SocketAddr;
use std::path::PathBuf;

use actix_http::header::HeaderName;
use serde::Deserialize;

use crate::fault::Fault;
use crate::transport::certificate_header::{CertificateHeader, HeaderForm};

/// Section `[proxied]`: the listener for gateways that end the TPPs' TLS and forward their certificates. Certificate,
/// anchors, intermediates, revocation lists, register and limits are those of the other sections.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxiedConfig {
    /// Address and port; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The gateways' own certificates, as PEM: these very certificates, whoever issued them, and no other. Several, so
    /// that a gateway can change its own.
    pub gateways: Vec<PathBuf>,
    /// The form in which they forward certificates.
    #[serde(default)]
    pub header: HeaderForm,
    /// The name of the header, with `nginx-escaped-pem`, which has none of its own; `X-SSL-Client-Cert`, if absent.
    pub header_name: Option<String>,
    /// Connections that one gateway may hold.
    #[serde(default = "connections")]
    pub connections: usize,
}

fn connections() -> usize {
    1000
}

impl ProxiedConfig {
    /// The header that is read; a fault, if its name cannot be one.
    pub(crate) fn certificate_header(&self) -> Result<CertificateHeader, Fault> {
        let fault = |problem: &str| Fault::new("proxied.header_name", problem);
        let name = match &self.header_name {
            None => None,
            Some(_) if self.header != HeaderForm::NginxEscapedPem => {
                return Err(fault(
                    "goes with header = \"nginx-escaped-pem\" alone: the other forms have names of their own",
                ));
            }
            Some(name) => Some(
                HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| fault("cannot be the name of a header"))?,
            ),
        };
        Ok(CertificateHeader::new(self.header, name))
    }

    /// What can be seen to be wrong without opening anything.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.gateways.is_empty() {
            faults.push(Fault::new(
                "proxied.gateways",
                "names no gateway: nobody could connect",
            ));
        }
        if !(1..=1_000_000).contains(&self.connections) {
            faults.push(Fault::new(
                "proxied.connections",
                "must be from 1 to 1000000",
            ));
        }
        faults.extend(self.certificate_header().err());
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_fault() {
        let places = |text: &str| -> Vec<String> {
            let whole = format!("listen = \"127.0.0.1:0\"\n{text}");
            let config: ProxiedConfig = toml::from_str(&whole).unwrap();
            let faults = config.faults().into_iter();
            faults.map(|fault| fault.place).collect()
        };
        let known = "gateways = [\"g\"]\n";
        assert!(places(known).is_empty());
        assert_eq!(places("gateways = []"), ["proxied.gateways"]);
        assert_eq!(
            places(&format!("{known}connections = 0")),
            ["proxied.connections"]
        );
        let nginx = format!("{known}header = \"nginx-escaped-pem\"\n");
        assert!(places(&format!("{nginx}header_name = \"X-Client\"")).is_empty());
        for wrong in [
            format!("{nginx}header_name = \"X Client\""),
            format!("{known}header_name = \"X-Client\""),
            format!("{known}header = \"envoy-xfcc\"\nheader_name = \"X-Client\""),
        ] {
            assert_eq!(places(&wrong), ["proxied.header_name"]);
        }
    }
}
