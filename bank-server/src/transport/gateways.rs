//! The gateways that may forward peers, each known by its very certificate.

use std::fmt;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::trust::{Refusal, Window, validity};

/// The certificates of the gateways. No authority vouches for them: they are pinned, byte for byte, and their holders
/// prove in the handshake that they have the keys. Cheap to clone.
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
    /// Knows those, and no others.
    #[must_use]
    pub fn new(pinned: Vec<Pinned>) -> Self {
        Self(pinned.into())
    }

    /// Whether gateways are configured, and none of them can come in at that time.
    #[must_use]
    pub fn all_out_of_time(&self, now: UnixTime) -> bool {
        !self.0.is_empty() && !self.0.iter().any(|pinned| pinned.window.contains(now))
    }

    /// Whether the holder of that certificate is one of the gateways, and until when.
    ///
    /// Cost: one comparison for each that is pinned.
    pub(super) fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<Window, Refusal> {
        let pinned = self
            .0
            .iter()
            .find(|pinned| pinned.certificate == *certificate)
            .ok_or(Refusal::UnknownGateway)?;
        pinned.window.check(now)?;
        Ok(pinned.window)
    }
}

impl fmt::Debug for Gateways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gateways").field(&self.0.len()).finish()
    }
}
