//! Address of a browser: that of its connection, or the one that a trusted proxy names in
//! `X-Forwarded-For`.
//!
//! Failed log-ins are counted by it. The header is read from the configured proxies only; from any
//! other peer it is ignored. A request of a trusted proxy that names no address is rejected,
//! because its browsers could not be distinguished.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{HeaderMap, X_FORWARDED_FOR};

/// The configured proxies. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustedProxies(std::sync::Arc<[IpAddr]>);

/// Error of the `X-Forwarded-For` header of a trusted proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAddress {
    #[error("the proxy sends no X-Forwarded-For")]
    Missing,
    #[error("X-Forwarded-For holds something else than addresses")]
    Malformed,
}

impl TrustedProxies {
    pub(crate) fn new(addresses: &[IpAddr]) -> Self {
        Self(addresses.iter().map(IpAddr::to_canonical).collect())
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Address of the browser whose request came from that peer.
    ///
    /// Each proxy appends the address of its peer, so the last address that is not a trusted
    /// proxy's is the browser's. The browser can have made up those before it.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, NoAddress> {
        if !self.contains(peer) {
            return Ok(peer);
        }
        let mut nearest = Err(NoAddress::Missing);
        let lines: Vec<_> = headers.get_all(X_FORWARDED_FOR).collect();
        for line in lines.into_iter().rev() {
            let line = line.to_str().map_err(|_| NoAddress::Malformed)?;
            for text in line.rsplit(',') {
                let address = parse(text.trim()).ok_or(NoAddress::Malformed)?;
                nearest = Ok(address);
                if !self.contains(address) {
                    return nearest;
                }
            }
        }
        nearest
    }
}

/// Parses an address, with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse().ok();
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client(peer: &str, lines: &[&str]) -> Result<String, NoAddress> {
        let proxies = TrustedProxies::new(&[ip("127.0.0.1"), ip("10.0.0.5")]);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, line.parse().unwrap());
        }
        let client = proxies.client(ip(peer), &headers);
        client.map(|address| address.to_string())
    }

    #[test]
    fn only_what_a_trusted_proxy_has_added_is_used() {
        for (peer, lines, expected) in [
            ("127.0.0.1", &["192.0.2.1"][..], "192.0.2.1"),
            ("::ffff:127.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            // Addresses from the browser itself precede the proxy's.
            ("127.0.0.1", &["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["203.0.113.9", "192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["nonsense, 192.0.2.1"], "192.0.2.1"),
            // Two trusted proxies in a row, and one as the client.
            ("127.0.0.1", &["192.0.2.1, 10.0.0.5"], "192.0.2.1"),
            ("127.0.0.1", &["10.0.0.5"], "10.0.0.5"),
            ("127.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("127.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("127.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("127.0.0.1", &["192.0.2.1:443"], "192.0.2.1"),
            ("127.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1"),
            ("192.0.2.7", &["203.0.113.9"], "192.0.2.7"),
            ("192.0.2.7", &["nonsense"], "192.0.2.7"),
        ] {
            let client = client(peer, lines);
            assert_eq!(client.as_deref(), Ok(expected), "{peer} {lines:?}");
        }
        assert_eq!(client("127.0.0.1", &[]), Err(NoAddress::Missing));
        for malformed in [
            "",
            "unknown",
            "192.0.2.1,",
            "192.0.2.1 203.0.113.9",
            "192.0.2",
        ] {
            let client = client("127.0.0.1", &[malformed]);
            assert_eq!(client, Err(NoAddress::Malformed), "{malformed}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics_or_has_another_peer_believed(line in "[ -~]{0,60}") {
            let _ = client("127.0.0.1", &[line.as_str()]);
            prop_assert_eq!(client("192.0.2.7", &[line.as_str()]), Ok("192.0.2.7".to_owned()));
            let added = format!("{line}, 192.0.2.1");
            prop_assert_eq!(client("127.0.0.1", &[added.as_str()]), Ok("192.0.2.1".to_owned()));
        }
    }
}
