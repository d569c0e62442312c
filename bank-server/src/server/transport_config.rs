//! Parts of the transport, made from the configuration.

use std::time::Duration;

use crate::config::{
    Config, ConfigError, GatewayListenerConfig, HeaderForm, LimitsConfig, is_address,
};
use crate::identity::LicenceSource;
use crate::transport::certificate_header::{CertificateHeader, X_SSL_CLIENT_CERT};
use crate::transport::fetch::FetchLimits;
use crate::transport::listener::ConnectionLimits;
use crate::transport::ocsp_worker::OcspOptions;
use crate::transport::pem_files::{KeySource, Source};
use crate::transport::trust_reloader::Sources;

/// Bodies of the largest size that an organisation may have on the way at a time; more of smaller
/// ones.
const LARGEST_BODIES: usize = 8;

pub(super) fn connection_limits(limits: &LimitsConfig) -> ConnectionLimits {
    ConnectionLimits {
        handshake: limits.handshake_timeout(),
        idle: limits.idle_timeout(),
        response: limits.request_timeout() + limits.idle_timeout(),
        per_peer: limits.max_connections_per_organisation,
        requests_per_peer: limits.max_requests_per_organisation,
        body_bytes_per_peer: limits.max_body_bytes.saturating_mul(LARGEST_BODIES),
    }
}

/// The header in which the gateways forward certificates.
pub(super) fn certificate_header(
    config: &GatewayListenerConfig,
) -> Result<CertificateHeader, ConfigError> {
    let name = config.header_name()?;
    Ok(match config.header {
        HeaderForm::Rfc9440 => CertificateHeader::Rfc9440,
        HeaderForm::NginxEscapedPem => {
            CertificateHeader::NginxEscapedPem(name.unwrap_or_else(|| X_SSL_CLIENT_CERT.clone()))
        }
        HeaderForm::EnvoyXfcc => CertificateHeader::EnvoyXfcc,
    })
}

/// The sources of trust.
pub(super) fn sources(config: &Config) -> Sources {
    let Config {
        xs2a, revocation, ..
    } = config;
    let gateways = config.gateway_listener.as_ref();
    let gateways = gateways.map_or(&[][..], |listener| &listener.gateways);
    let lists = revocation.lists.iter().enumerate();
    let lists = lists.map(|(index, list)| Source::new(format!("revocation.lists[{index}]"), list));
    let address = |source: &Source| source.path.to_string_lossy().into_owned();
    let (crl_addresses, crl_files): (Vec<_>, Vec<_>) =
        lists.partition(|list| is_address(&address(list)));
    Sources {
        certificate: Source::new("xs2a.certificate", &xs2a.certificate),
        private_key: KeySource::new("xs2a.private_key", xs2a.private_key.clone()),
        anchors: Source::each("xs2a.anchors", &xs2a.anchors),
        intermediates: Source::each("xs2a.intermediates", &xs2a.intermediates),
        gateways: Source::each("gateway_listener.gateways", gateways),
        // An address of another scheme is an error of the configuration.
        crl_files: crl_files
            .into_iter()
            .filter(|list| !address(list).contains("://"))
            .collect(),
        crl_addresses,
        unknown_status: revocation.unknown_status,
        ocsp: OcspOptions {
            check_peers: revocation.ocsp.peers,
            staple: revocation.ocsp.stapling,
            nonce_required: revocation.ocsp.nonce_required,
            timeout: Duration::from_secs(revocation.ocsp.response_timeout_seconds),
        },
        fetch: FetchLimits {
            time: Duration::from_secs(revocation.fetch_timeout_seconds),
            allow_local: revocation.allow_local_addresses,
        },
        refresh: Duration::from_secs(revocation.refresh_interval_seconds),
    }
}

/// The file of the register.
pub(super) fn licence_source(config: &Config) -> LicenceSource {
    let file = config.register.file.as_ref();
    LicenceSource {
        register: file.map(|path| Source::new("register.file", path)),
    }
}
