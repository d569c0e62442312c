//! Terms of a bank that are known before it is asked for a consent.

use chrono_tz::Tz;

/// Terms of a bank that are known beforehand. [`BankEntry::terms`](super::BankEntry::terms): what a
/// directory says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The time zone whose midnight ends the bank's day, by which reads are counted. Default: UTC.
    pub time_zone: Tz,
    /// The most days for which it gives a consent, if that is known. What is not is learnt.
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
