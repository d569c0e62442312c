//! Pinned certificates of the gateways that may forward peers.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::pki::trust::{Refusal, Window, validity};

/// The certificates of the gateways. They are pinned byte for byte instead of verified by a CA; the
/// handshake proves possession of the keys. Cheap to clone.
#[derive(Clone, Default)]
pub struct Gateways(Arc<[Pinned]>);

/// The certificate of one gateway.
pub struct Pinned {
    certificate: CertificateDer<'static>,
    window: Window,
}

impl Pinned {
    /// Pins that certificate, if it can be read.
    #[must_use]
    pub fn new(certificate: CertificateDer<'static>) -> Option<Self> {
        let window = validity(&certificate)?;
        Some(Self {
            certificate,
            window,
        })
    }
}

impl Gateways {
    /// Accepts those certificates and no others.
    #[must_use]
    pub fn new(pinned: Vec<Pinned>) -> Self {
        Self(pinned.into())
    }

    /// Whether gateways are configured and none of their certificates is valid at that time.
    #[must_use]
    pub fn none_valid_at(&self, now: UnixTime) -> bool {
        !self.0.is_empty() && !self.0.iter().any(|pinned| pinned.window.contains(now))
    }

    /// Checks that the certificate is a pinned one and valid.
    ///
    /// Cost: one comparison for each that is pinned.
    pub(super) fn check(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let pinned = self
            .0
            .iter()
            .find(|pinned| pinned.certificate == *certificate)
            .ok_or(Refusal::UnknownGateway)?;
        pinned.window.check(now)
    }
}
