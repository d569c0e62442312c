//! Sections `[consent]` and `[sca]`: lifetime of consents, and customer authentication.

use std::num::NonZeroU32;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use shared_types::xs2a::authorisation::ScaApproach;
use utoipa::ToSchema;

use crate::config_error::ConfigError;

/// Section `[consent]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsentConfig {
    /// Maximum validity of a consent (Delegated Regulation (EU) 2018/389, article 10a: 180).
    #[schema(minimum = 1, maximum = 3_650)]
    pub max_validity_days: u32,
    /// Maximum `frequencyPerDay`: reads of each resource without the customer (article 36,
    /// paragraph 5: four, unless bank and TPP agree on more).
    #[schema(value_type = u32, minimum = 1)]
    pub max_frequency_per_day: NonZeroU32,
    /// Age up to which transactions are shown at any time.
    #[schema(minimum = 1, maximum = 36_500)]
    pub history_days: u32,
    /// Time after an authentication during which older transactions are shown too.
    #[schema(minimum = 1, maximum = 1_440)]
    pub history_minutes: u32,
    /// Time from the first read to the end of a consent for one read.
    #[schema(minimum = 1, maximum = 1_440)]
    pub one_off_minutes: u32,
    /// Time in which the customer has to approve a consent.
    #[schema(minimum = 1, maximum = 43_200)]
    pub approval_minutes: u32,
}

impl Default for ConsentConfig {
    fn default() -> Self {
        Self {
            max_validity_days: 180,
            max_frequency_per_day: NonZeroU32::MIN.saturating_add(3),
            history_days: 90,
            history_minutes: 15,
            one_off_minutes: 20,
            approval_minutes: 60,
        }
    }
}

/// Section `[sca]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScaConfig {
    /// SCA approaches that the bank offers: `redirect`, `decoupled`, `embedded`. The first one is
    /// used if the TPP states no preference. If absent: all three, `embedded` alone without
    /// `[online_banking]`, or `redirect` alone with `[identity_provider]`.
    #[schema(example = json!(["redirect", "decoupled"]))]
    pub approaches: Option<Vec<Approach>>,
    /// Time without a step after which an authorisation fails.
    #[schema(minimum = 1, maximum = 1_440)]
    pub authorisation_minutes: u32,
    /// Whether a TPP has to confirm, after a redirect, that the customer who approved is its own.
    pub confirmation_code: bool,
    /// Whether the password alone is enough to approve a mere list of accounts.
    pub exempt_account_list: bool,
    /// Hosts to which a TPP can have the customer sent back: those in its certificate
    /// (`certificate-names`), or any host over HTTPS (`any-https`).
    pub redirect_uris: RedirectUris,
    /// Whether a TPP can have the customer sent back to this machine over plain HTTP. For
    /// development only.
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

/// Places at which customers can approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApprovalPlace {
    /// The bank has no pages: through the TPP alone.
    Tpp,
    /// The bank's own pages too.
    Pages,
    /// The bank's own pages, with its identity provider, and nowhere else.
    IdentityProvider,
}

/// An SCA approach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

/// Hosts to which a TPP can have the customer sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RedirectUris {
    /// The hosts that the TPP's certificate names.
    CertificateNames,
    /// Any host, over HTTPS.
    AnyHttps,
}

impl ScaConfig {
    /// Time without a step after which an authorisation fails.
    pub(crate) fn authorisation_lifetime(&self) -> TimeDelta {
        TimeDelta::minutes(self.authorisation_minutes.into())
    }

    /// The approaches that the bank offers, the preferred one first.
    pub(super) fn approaches(&self, place: ApprovalPlace) -> Vec<ScaApproach> {
        match (&self.approaches, place) {
            (Some(named), _) => named.iter().copied().map(ScaApproach::from).collect(),
            (None, ApprovalPlace::Pages) => ScaApproach::ALL.to_vec(),
            (None, ApprovalPlace::IdentityProvider) => vec![ScaApproach::Redirect],
            (None, ApprovalPlace::Tpp) => vec![ScaApproach::Embedded],
        }
    }

    pub(super) fn faults(&self, place: ApprovalPlace) -> Vec<ConfigError> {
        let mut faults = Vec::new();
        let named = self.approaches.iter().flatten();
        if self.approaches.as_ref().is_some_and(Vec::is_empty) {
            faults.push(ConfigError::new(
                "sca.approaches",
                "names none: customers could approve nothing",
            ));
        }
        for (index, approach) in named.clone().enumerate() {
            let key = format!("sca.approaches[{index}]");
            let problem = match (place, approach) {
                _ if named.clone().take(index).any(|other| other == approach) => "is named twice",
                (ApprovalPlace::Tpp, Approach::Redirect | Approach::Decoupled) => {
                    "needs the bank's own pages: add [online_banking], or leave it out"
                }
                (ApprovalPlace::IdentityProvider, Approach::Decoupled | Approach::Embedded) => {
                    "is not possible with [identity_provider], where customers approve: leave it out"
                }
                _ => continue,
            };
            faults.push(ConfigError::new(key, problem));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approaches_are_those_of_the_place_of_approval() {
        let sca = |approaches: Option<&[Approach]>| ScaConfig {
            approaches: approaches.map(<[Approach]>::to_vec),
            ..ScaConfig::default()
        };
        let all = [Approach::Redirect, Approach::Decoupled, Approach::Embedded];
        for (place, by_default, refused) in [
            (ApprovalPlace::Pages, ScaApproach::ALL, &[][..]),
            (
                ApprovalPlace::Tpp,
                &[ScaApproach::Embedded],
                &["[0]", "[1]"],
            ),
            (
                ApprovalPlace::IdentityProvider,
                &[ScaApproach::Redirect],
                &["[1]", "[2]"],
            ),
        ] {
            assert_eq!(sca(None).approaches(place), by_default, "{place:?}");
            assert!(sca(None).faults(place).is_empty(), "{place:?}");
            let faults = sca(Some(&all)).faults(place).into_iter();
            let keys: Vec<String> = faults.map(|fault| fault.key).collect();
            let expected = refused.iter().map(|index| format!("sca.approaches{index}"));
            assert_eq!(keys, expected.collect::<Vec<_>>(), "{place:?}");
        }
        let places = |approaches: &[Approach]| {
            let faults = sca(Some(approaches)).faults(ApprovalPlace::Pages);
            faults
                .into_iter()
                .map(|fault| fault.key)
                .collect::<Vec<_>>()
        };
        assert_eq!(places(&[]), ["sca.approaches"]);
        assert_eq!(
            places(&[Approach::Redirect, Approach::Redirect]),
            ["sca.approaches[1]"]
        );
    }
}
