//! Validity: the time in which a certificate, a path or a judgement stands.

use std::time::Duration;

use rustls_pki_types::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::time::ASN1Time;

use super::refusal::Refusal;

/// For how long a favourable judgement stands, as long as what it was made by stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first second.
    pub from: UnixTime,
    /// The last second.
    pub until: UnixTime,
}

impl Window {
    /// Whether the judgement stands at that time.
    #[must_use]
    pub fn contains(&self, now: UnixTime) -> bool {
        (self.from..=self.until).contains(&now)
    }

    /// Fails if that time is outside the window.
    pub fn check(&self, now: UnixTime) -> Result<(), Refusal> {
        if now < self.from {
            Err(Refusal::NotYetValid {
                not_before: self.from,
            })
        } else if now > self.until {
            Err(Refusal::Expired {
                not_after: self.until,
            })
        } else {
            Ok(())
        }
    }

    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self {
            from: unix(validity.not_before),
            until: unix(validity.not_after),
        }
    }

    /// The time in which both stand.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self {
            from: self.from.max(other.from),
            until: self.until.min(other.until),
        }
    }
}

/// Seconds since 1970. Before that, nothing of ours was valid.
pub(crate) fn unix(time: ASN1Time) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(
        u64::try_from(time.timestamp()).unwrap_or(0),
    ))
}
