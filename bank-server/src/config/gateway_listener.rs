//! Section `[gateway_listener]`: the listener for gateways.

use std::net::SocketAddr;
use std::path::PathBuf;

use actix_http::header::HeaderName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config_error::ConfigError;

/// Section `[gateway_listener]`: listener for gateways that terminate the TPPs' TLS and forward
/// their certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayListenerConfig {
    /// Address and port. Port 0 lets the system choose.
    #[schema(value_type = String, example = "0.0.0.0:9444")]
    pub listen: SocketAddr,
    /// PEM or DER files: the gateways' own certificates. Exactly these are accepted, whichever CA
    /// issued them. Several allow a gateway to change its certificate.
    #[serde(serialize_with = "super::schema::nothing")]
    #[schema(value_type = Vec<String>, example = json!(["gateway.pem"]))]
    pub gateways: Vec<PathBuf>,
    /// Format in which the gateways forward certificates.
    #[serde(default)]
    pub header: HeaderForm,
    /// Name of the header with `nginx-escaped-pem`, which has no standard name; `X-SSL-Client-Cert`
    /// if absent.
    #[schema(example = "X-Client-Certificate")]
    pub header_name: Option<String>,
    /// Maximum connections of one gateway.
    #[serde(default = "max_connections")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub max_connections: usize,
}

/// Format in which a gateway forwards the certificate of its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HeaderForm {
    /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440).
    #[default]
    Rfc9440,
    /// URL-encoded PEM, as in nginx's variable `$ssl_client_escaped_cert`, in a header of any name.
    NginxEscapedPem,
    /// Envoy's `x-forwarded-client-cert`, with `Cert` or `Chain` in its one element.
    EnvoyXfcc,
}

fn max_connections() -> usize {
    1000
}

impl GatewayListenerConfig {
    /// The name of the header, if one is configured.
    pub(crate) fn header_name(&self) -> Result<Option<HeaderName>, ConfigError> {
        let fault = |problem: &str| ConfigError::new("gateway_listener.header_name", problem);
        match &self.header_name {
            None => Ok(None),
            Some(_) if self.header != HeaderForm::NginxEscapedPem => Err(fault(
                "goes with header = \"nginx-escaped-pem\" alone: the other forms have names of \
                 their own",
            )),
            Some(name) => HeaderName::from_bytes(name.as_bytes())
                .map(Some)
                .map_err(|_| fault("cannot be the name of a header")),
        }
    }

    /// Faults that need no file or socket to find.
    pub(super) fn faults(&self) -> Vec<ConfigError> {
        let mut faults = Vec::new();
        if self.gateways.is_empty() {
            faults.push(ConfigError::new(
                "gateway_listener.gateways",
                "names no gateway: no peer could connect",
            ));
        }
        faults.extend(self.header_name().err());
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
            let config: GatewayListenerConfig = toml::from_str(&whole).unwrap();
            let faults = config.faults().into_iter();
            faults.map(|fault| fault.key).collect()
        };
        let known = "gateways = [\"g\"]\n";
        assert!(places(known).is_empty());
        assert_eq!(places("gateways = []"), ["gateway_listener.gateways"]);
        let nginx = format!("{known}header = \"nginx-escaped-pem\"\n");
        assert!(places(&format!("{nginx}header_name = \"X-Client\"")).is_empty());
        for wrong in [
            format!("{nginx}header_name = \"X Client\""),
            format!("{known}header_name = \"X-Client\""),
            format!("{known}header = \"envoy-xfcc\"\nheader_name = \"X-Client\""),
        ] {
            assert_eq!(places(&wrong), ["gateway_listener.header_name"]);
        }
    }
}
