//! Sections `[consent]` and `[sca]`: how long consents hold, and how customers prove who they are.

use std::num::NonZeroU32;

use chrono::TimeDelta;
use serde::Deserialize;
use shared_types::authorisation::ScaApproach;

use super::Fault;
use crate::consent::ConsentRules;
use crate::consent::authorisation::Rules;
use crate::xs2a::RedirectRules;

/// Section `[consent]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsentConfig {
    /// Days for which a consent holds at most (Delegated Regulation (EU) 2018/389, article 10a: 180).
    pub longest_days: u32,
    /// How often a day each thing may be read with no customer present, at most (article 36, paragraph 5: four, unless bank
    /// and TPP agree on more).
    pub most_reads_a_day: NonZeroU32,
    /// Days back to which transactions are always shown.
    pub history_days: u32,
    /// Minutes after an authentication in which older ones are shown too.
    pub history_minutes: u32,
    /// Minutes after its first use in which a consent for one read ends.
    pub one_off_minutes: u32,
    /// Minutes in which a consent has to be approved.
    pub approval_minutes: u32,
}

impl Default for ConsentConfig {
    fn default() -> Self {
        Self {
            longest_days: 180,
            most_reads_a_day: NonZeroU32::MIN.saturating_add(3),
            history_days: 90,
            history_minutes: 15,
            one_off_minutes: 20,
            approval_minutes: 60,
        }
    }
}

/// Section `[sca]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScaConfig {
    /// The approaches that the bank offers; the first is for TPPs that do not say what they prefer. If absent: all of them,
    /// or `embedded` alone where the bank has no pages of its own.
    pub approaches: Option<Vec<Approach>>,
    /// Minutes without a step after which an authorisation has failed.
    pub authorisation_minutes: u32,
    /// Whether TPPs have to confirm, after a redirect, that the customer who approved is their own.
    pub confirmation_code: bool,
    /// Whether a mere list of accounts may be approved with the password alone.
    pub exempt_account_list: bool,
    /// Where TPPs may have customers sent back to.
    pub redirect_uris: RedirectUris,
    /// Whether TPPs on this machine may have customers sent back to it, over plain HTTP. For development alone.
    pub allow_loopback_redirects: bool,
}

impl Default for ScaConfig {
    fn default() -> Self {
        Self {
            approaches: None,
            authorisation_minutes: 15,
            confirmation_code: false,
            exempt_account_list: false,
            redirect_uris: RedirectUris::CertificateNames,
            allow_loopback_redirects: false,
        }
    }
}

/// An SCA approach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approach {
    /// On the bank's own pages.
    Redirect,
    /// In the bank's app.
    Decoupled,
    /// Through the TPP.
    Embedded,
}

impl From<Approach> for ScaApproach {
    fn from(approach: Approach) -> Self {
        match approach {
            Approach::Redirect => Self::Redirect,
            Approach::Decoupled => Self::Decoupled,
            Approach::Embedded => Self::Embedded,
        }
    }
}

/// Where TPPs may have customers sent back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RedirectUris {
    /// To the hosts that are named in the TPP's certificate.
    CertificateNames,
    /// To any host, over HTTPS.
    AnyHttps,
}

impl ScaConfig {
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            lifetime: TimeDelta::minutes(self.authorisation_minutes.into()),
            confirmation_code: self.confirmation_code,
            exempt_account_list: self.exempt_account_list,
        }
    }

    /// Where TPPs may have customers sent back to.
    pub(crate) fn redirects(&self) -> RedirectRules {
        RedirectRules {
            any_host: self.redirect_uris == RedirectUris::AnyHttps,
            loopback: self.allow_loopback_redirects,
        }
    }

    /// The approaches that the bank offers, the preferred one first.
    pub(crate) fn approaches(&self, has_pages: bool) -> Vec<ScaApproach> {
        match &self.approaches {
            Some(named) => named.iter().copied().map(ScaApproach::from).collect(),
            None if has_pages => ScaApproach::ALL.to_vec(),
            None => vec![ScaApproach::Embedded],
        }
    }

    pub(super) fn faults(&self, has_pages: bool) -> Vec<Fault> {
        let mut faults = in_range(&[(
            "sca.authorisation_minutes",
            self.authorisation_minutes,
            24 * 60,
        )]);
        let named = self.approaches.as_deref().unwrap_or(&[Approach::Embedded]);
        if named.is_empty() {
            faults.push(Fault::new(
                "sca.approaches",
                "names none: nobody could approve anything",
            ));
        }
        for (index, approach) in named.iter().enumerate() {
            let place = format!("sca.approaches[{index}]");
            if named.iter().take(index).any(|other| other == approach) {
                faults.push(Fault::new(place, "is named twice"));
            } else if *approach != Approach::Embedded && !has_pages {
                faults.push(Fault::new(
                    place,
                    "needs the bank's own pages: add [online_banking], or leave it out",
                ));
            }
        }
        faults
    }
}

impl ConsentConfig {
    pub(crate) fn rules(&self) -> ConsentRules {
        let minutes = |minutes: u32| TimeDelta::minutes(minutes.into());
        ConsentRules {
            longest_days: self.longest_days,
            most_reads_a_day: self.most_reads_a_day,
            history_days: self.history_days,
            history: minutes(self.history_minutes),
            one_off: minutes(self.one_off_minutes),
            approval: minutes(self.approval_minutes),
        }
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        let day = 24 * 60;
        in_range(&[
            ("consent.longest_days", self.longest_days, 3650),
            ("consent.history_days", self.history_days, 36_500),
            ("consent.history_minutes", self.history_minutes, day),
            ("consent.one_off_minutes", self.one_off_minutes, day),
            ("consent.approval_minutes", self.approval_minutes, 30 * day),
        ])
    }
}

fn in_range(values: &[(&str, u32, u32)]) -> Vec<Fault> {
    values
        .iter()
        .filter(|(_, value, most)| !(1..=*most).contains(value))
        .map(|(name, _, most)| Fault::new(*name, format!("must be from 1 to {most}")))
        .collect()
}
