//! Revocation checking of a bank's certificate.
//!
//! A bank may bring its issuer's word along with its certificate (OCSP stapling, RFC 6066, section
//! 8): that is listened to in any case, and a certificate that its issuer has revoked is refused.
//! What is known besides, from revocation lists, is handed in, and so is what follows where nothing
//! is known.

use std::sync::Arc;

use rustls_pki_types::UnixTime;
use shared_types::pki::revocation::ocsp::Answer;
use shared_types::pki::revocation::{Statuses, UnknownStatus};
use shared_types::pki::trust::{Path, Refusal};

/// Revocation lists, and the policy where nothing fresh is known.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// From lists ([`shared_types::pki::revocation::List::read`]), and from answers of responders.
    pub statuses: Statuses,
    /// Policy for a bank of whose certificate, or of one above it, nothing fresh is known.
    /// With [`UnknownStatus::HardFail`], a bank has to staple an answer, or a list has to speak for
    /// it.
    pub unknown_status: UnknownStatus,
}

impl Default for Revocation {
    /// Nothing is known beside what banks bring along, and where they bring nothing, that is
    /// accepted.
    fn default() -> Self {
        Self {
            statuses: Statuses::default(),
            unknown_status: UnknownStatus::SoftFail,
        }
    }
}

impl Revocation {
    /// Until when it is known that nothing of the path was revoked. `stapled` is what the bank
    /// brought along, and may be empty; an invalid one is ignored.
    pub(crate) fn check(
        &self,
        path: &Path,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<UnixTime, Refusal> {
        let answer = path.links.first().and_then(|own| {
            let wanted = !stapled.is_empty() && stapled.len() <= Answer::MOST_BYTES;
            wanted
                .then(|| Answer::read(stapled.to_vec(), own, None).ok())
                .flatten()
        });
        let Some(answer) = answer else {
            return self.statuses.check(&path.links, self.unknown_status, now);
        };
        let mut statuses = self.statuses.clone();
        // An older response than the one at hand is ignored.
        let _ = statuses.answers.add(Arc::new(answer));
        statuses.check(&path.links, self.unknown_status, now)
    }
}
