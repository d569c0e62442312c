//! Revocation statuses: all CRLs and OCSP responses, and the status they give a certificate.

use std::time::Duration;

use rustls_pki_types::UnixTime;
use serde::{Deserialize, Serialize};

use super::answers::Answers;
use super::lists::Lists;
use super::ocsp::CertStatus;
use super::path_certificate::PathCertificate;
use crate::pki::reason::Reason;
use crate::pki::refusal::Refusal;

/// All CRLs and OCSP responses. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Statuses {
    /// The CRLs.
    pub lists: Lists,
    /// The OCSP responses.
    pub answers: Answers,
}

/// Revocation status of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationStatus {
    /// It is not revoked, and this is known until then.
    Good {
        /// The last second for which that is known.
        until: UnixTime,
    },
    /// It was revoked.
    Revoked {
        /// When.
        since: UnixTime,
        /// The reason.
        reason: Reason,
    },
    /// Its issuer's OCSP responder does not know it, which outweighs a CRL.
    Unrecorded,
    /// No current CRL or OCSP response covers it.
    Unknown,
}

/// Policy for a certificate that no current CRL or OCSP response covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum UnknownStatus {
    /// It is refused.
    #[default]
    HardFail,
    /// It is accepted, unless a CRL or an OCSP response revokes it.
    SoftFail,
}

impl Statuses {
    /// Checks that none of the certificates is revoked, and returns until when that is known, if it
    /// ends. A revoked certificate is reported before an unknown status of another.
    ///
    /// Cost: that of [`Self::status`] for each.
    pub fn check(
        &self,
        links: &[PathCertificate],
        unknown_status: UnknownStatus,
        now: UnixTime,
    ) -> Result<UnixTime, Refusal> {
        let mut until = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
        let mut unknown = None;
        for link in links {
            let issuer = || link.issuer.to_string();
            match self.status(link, now) {
                RevocationStatus::Good { until: known } => until = until.min(known),
                RevocationStatus::Revoked { since, reason } => {
                    return Err(Refusal::Revoked {
                        issuer: issuer(),
                        since,
                        reason,
                    });
                }
                RevocationStatus::Unrecorded => {
                    return Err(Refusal::Unrecorded { issuer: issuer() });
                }
                RevocationStatus::Unknown if unknown_status == UnknownStatus::SoftFail => {}
                RevocationStatus::Unknown => {
                    unknown = Some(Refusal::StatusUnknown { issuer: issuer() });
                }
            }
        }
        unknown.map_or(Ok(until), Err)
    }

    /// Returns the status of a certificate at that time. One revocation is enough, in a CRL or an
    /// OCSP response, even if that is stale.
    ///
    /// Cost: that of a search in the lists, and one look-up by hash.
    #[must_use]
    pub fn status(&self, link: &PathCertificate, now: UnixTime) -> RevocationStatus {
        let listed = self.lists.status(link, now);
        match (listed, self.answered(link, now)) {
            (revoked @ RevocationStatus::Revoked { .. }, _)
            | (_, revoked @ RevocationStatus::Revoked { .. }) => revoked,
            (_, RevocationStatus::Unrecorded) => RevocationStatus::Unrecorded,
            (
                RevocationStatus::Good { until: listed },
                RevocationStatus::Good { until: answered },
            ) => RevocationStatus::Good {
                until: listed.max(answered),
            },
            (RevocationStatus::Unknown, answered) => answered,
            (listed, _) => listed,
        }
    }

    fn answered(&self, link: &PathCertificate, now: UnixTime) -> RevocationStatus {
        let Some(answer) = self.answers.about(link) else {
            return RevocationStatus::Unknown;
        };
        // The answer of a responder whose own certificate was revoked is ignored. If its status is
        // unknown, `revoked` is accepted, and `good` only if the issuer has exempted the responder
        // from revocation checks.
        let vouched_for = match answer.delegate() {
            None => true,
            Some(delegate) => match self.lists.status(&delegate.link, now) {
                RevocationStatus::Revoked { .. } => return RevocationStatus::Unknown,
                RevocationStatus::Good { .. } => true,
                _ => delegate.without_check,
            },
        };
        let fresh = vouched_for && answer.check_fresh(now).is_ok();
        match answer.said() {
            CertStatus::Revoked { since, reason } => RevocationStatus::Revoked { since, reason },
            CertStatus::Good if fresh => RevocationStatus::Good {
                until: answer.until(),
            },
            CertStatus::Unknown if fresh => RevocationStatus::Unrecorded,
            CertStatus::Good | CertStatus::Unknown => RevocationStatus::Unknown,
        }
    }
}
