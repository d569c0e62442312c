//! Section `[retention]`.

use chrono::TimeDelta;
use serde::Deserialize;

use super::Fault;
use crate::sca::PHONE_LIFETIME;
use crate::store::retention::Keeping;

/// Section `[retention]`: for how many days what is over is kept, before it is removed in the background.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Consents, from their end, with all that belongs to them; connections to other banks, from their end. Thirteen months if absent: so long can a customer object to
    /// what was done in her name (Directive (EU) 2015/2366, article 71).
    pub consents_days: u32,
    /// Authorisations that came to nothing, and connections to other banks that were not approved. What was approved stays as long as its consent.
    pub authorisations_days: u32,
    /// Counts of reads on days gone by, failed attempts to log in, and revocation lists that nobody fetches any more. At
    /// least two.
    pub counters_days: u32,
    /// Sessions of online banking, from their last request.
    pub sessions_days: u32,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            consents_days: 396,
            authorisations_days: 396,
            counters_days: 35,
            sessions_days: 1,
        }
    }
}

impl RetentionConfig {
    pub(crate) fn keeping(&self) -> Keeping {
        let days = |days: u32| TimeDelta::days(days.into());
        Keeping {
            consents: days(self.consents_days),
            authorisations: days(self.authorisations_days),
            counters: days(self.counters_days),
            sessions: days(self.sessions_days),
            phones: PHONE_LIFETIME,
        }
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        /// Ten years.
        const MOST: u32 = 3653;

        [
            // An approval may be waited for so long: 30 days.
            ("retention.consents_days", self.consents_days, 31),
            (
                "retention.authorisations_days",
                self.authorisations_days,
                31,
            ),
            ("retention.counters_days", self.counters_days, 2),
            ("retention.sessions_days", self.sessions_days, 1),
        ]
        .into_iter()
        .filter(|(_, value, least)| !(*least..=MOST).contains(value))
        .map(|(name, _, least)| Fault::new(name, format!("must be from {least} to {MOST}")))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_still_counts_cannot_be_removed() {
        let read = |text: &str| toml::from_str::<RetentionConfig>(text).unwrap().faults();
        assert_eq!(read(""), []);
        for text in [
            "consents_days = 30",
            "authorisations_days = 30",
            "counters_days = 1",
            "sessions_days = 0",
            "consents_days = 3654",
        ] {
            let faults = read(text);
            let [fault] = faults.as_slice() else {
                panic!("{text}: {faults:?}");
            };
            let (name, _) = text.split_once(' ').unwrap();
            assert!(fault.to_string().contains(name), "{fault}");
        }
    }
}
