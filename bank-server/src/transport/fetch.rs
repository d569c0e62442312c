//! HTTP client for CRLs and OCSP, restricted to addresses outside this host and its link.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, RequestBuilder, Url, redirect};

/// Limits of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Time limit of one fetch, from the DNS look-up to the last byte.
    pub time: Duration,
    /// Whether addresses of this host and its link are allowed.
    pub allow_local: bool,
}

/// Error of a fetch.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("is not an address that can be fetched: {0}")]
    Address(String),
    #[error(
        "leads to {0}, which is this machine or its link; set allow_local_addresses if that is \
         meant"
    )]
    Local(IpAddr),
    #[error("answered {0}")]
    Status(reqwest::StatusCode),
    #[error("sent more than {} KiB", .0 / 1024)]
    TooLarge(usize),
    #[error("cannot be fetched: {0}")]
    Failed(String),
}

/// HTTP client without redirects and proxies, which refuses addresses of this host and its link
/// unless allowed.
#[derive(Clone)]
pub(super) struct Fetcher {
    client: Client,
    limits: FetchLimits,
}

impl Fetcher {
    #[expect(
        clippy::disallowed_methods,
        reason = "speaks plain HTTP alone; its TLS configuration has no trust anchors"
    )]
    pub(super) fn new(limits: FetchLimits) -> Result<Self, FetchError> {
        let tls = no_tls().map_err(|error| FetchError::Failed(error.to_string()))?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(limits.time)
            .pool_max_idle_per_host(0)
            .dns_resolver(Arc::new(PublicResolver {
                allow_local: limits.allow_local,
            }))
            .build()
            .map_err(|error| FetchError::Failed(root_cause(&error)))?;
        Ok(Self { client, limits })
    }

    /// Time limit of one fetch.
    pub(super) fn time_limit(&self) -> Duration {
        self.limits.time
    }

    /// Fetches at most `max_bytes` bytes.
    pub(super) async fn get(&self, address: &str, max_bytes: usize) -> Result<Vec<u8>, FetchError> {
        let url = self.parse_url(address)?;
        Self::exchange(self.client.get(url), max_bytes).await
    }

    /// Posts a body of that media type, and reads at most `max_bytes` bytes of the response.
    pub(super) async fn post(
        &self,
        address: &str,
        media_type: &'static str,
        body: Vec<u8>,
        max_bytes: usize,
    ) -> Result<Vec<u8>, FetchError> {
        let url = self.parse_url(address)?;
        let request = self
            .client
            .post(url)
            .header(reqwest::header::CONTENT_TYPE, media_type)
            .body(body);
        Self::exchange(request, max_bytes).await
    }

    async fn exchange(request: RequestBuilder, max_bytes: usize) -> Result<Vec<u8>, FetchError> {
        let failed = |error: reqwest::Error| FetchError::Failed(root_cause(&error));
        let mut answer = request.send().await.map_err(failed)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let mut content = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            if content.len() + piece.len() > max_bytes {
                return Err(FetchError::TooLarge(max_bytes));
            }
            content.extend_from_slice(&piece);
        }
        Ok(content)
    }

    /// Validates an address. A literal IP address bypasses the resolver and is `parse_url` here.
    fn parse_url(&self, address: &str) -> Result<Url, FetchError> {
        let unusable = || FetchError::Address(address.to_owned());
        let url: Url = address.parse().map_err(|_| unusable())?;
        let host = match url.host() {
            Some(url::Host::Ipv4(address)) => IpAddr::V4(address),
            Some(url::Host::Ipv6(address)) => IpAddr::V6(address),
            Some(url::Host::Domain(_)) => return Ok(url),
            None => return Err(unusable()),
        };
        if is_local(host) && !self.limits.allow_local {
            return Err(FetchError::Local(host));
        }
        Ok(url)
    }
}

/// DNS resolver that leaves out local addresses.
struct PublicResolver {
    allow_local: bool,
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_local = self.allow_local;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let local = found.iter().map(SocketAddr::ip).find(|ip| is_local(*ip));
            let allowed: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| allow_local || !is_local(address.ip()))
                .collect();
            match (allowed.is_empty(), local) {
                (true, Some(local)) => Err(FetchError::Local(local).into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// Whether an address is of this host, its link, or a metadata service of a cloud: nothing that a
/// certificate names should lead there.
fn is_local(address: IpAddr) -> bool {
    /// Metadata services of clouds, beside the link-local 169.254.169.254.
    const CLOUDS: [IpAddr; 4] = [
        IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
        IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
        IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    ];

    let v4 = |address: Ipv4Addr| {
        address.is_loopback()
            || address.is_link_local()
            || address.is_unspecified()
            || address.is_broadcast()
            || address.is_multicast()
            // "This network" (RFC 1122, section 3.2.1.3).
            || address.octets().first() == Some(&0)
    };
    let v6 = |address: Ipv6Addr| {
        address.is_loopback()
            || address.is_unspecified()
            || address.is_multicast()
            || address.is_unicast_link_local()
            // Site-local, deprecated (RFC 3879).
            || address.segments()[0] & 0xffc0 == 0xfec0
    };
    CLOUDS.contains(&address)
        || match address {
            IpAddr::V4(address) => v4(address),
            IpAddr::V6(address) => {
                v6(address)
                    || embedded_ipv4(address).is_some_and(|embedded_ipv4| {
                        v4(embedded_ipv4) || CLOUDS.contains(&embedded_ipv4.into())
                    })
            }
        }
}

/// The IPv4 address that an IPv6 address leads to: mapped or compatible (RFC 4291, section 2.5.5),
/// through NAT64 (RFC 6052, section 2.1) or 6to4 (RFC 3056, section 2).
fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(join(high, low)),
        _ => address.to_ipv4(),
    }
}

/// A TLS configuration without trust anchors: reqwest requires one even for plain HTTP.
pub(crate) fn no_tls() -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = shared_types::pki::credentials::provider();
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

/// The root cause of an error: reqwest's own text leaves it out.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = next.to_string();
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_host_and_its_link_are_local() {
        for local in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "169.254.169.254",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
            "fec0::1",
            "fd00:ec2::254",
            "168.63.129.16",
            "64:ff9b::a83f:8110",
        ] {
            assert!(is_local(local.parse().unwrap()), "{local}");
        }
        for public in [
            "192.0.2.1",
            "10.0.0.1",
            "2001:db8::1",
            "8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(!is_local(public.parse().unwrap()), "{public}");
        }
    }
}
