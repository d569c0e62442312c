//! Terms of a bank that are known before it is asked for a consent.

use chrono_tz::Tz;

/// Terms of a bank that are known beforehand. [`BankEntry::terms`](super::BankEntry::terms): what a
/// directory says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The time zone whose midnight ends the bank's day, by which reads are counted. Default: UTC.
    pub time_zone: Tz,
    /// Maximum days of a consent, if known. Otherwise it is learnt from responses.
    pub max_validity_days: Option<u32>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            time_zone: Tz::UTC,
            max_validity_days: None,
        }
    }
}
