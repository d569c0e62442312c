//! Sections `[consent]` and `[sca]`: limits of consents, and strong customer authentication.

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
    /// Maximum `frequencyPerDay` of a consent: reads of each resource a day while the customer is
    /// absent (Delegated Regulation (EU) 2018/389, article 36(5): 4, unless bank and TPP agree on
    /// more).
    #[schema(value_type = u32, minimum = 1)]
    pub max_frequency_per_day: NonZeroU32,
    /// Maximum age of the transactions that a consent shows at any time; for older ones see
    /// `history_minutes`.
    #[schema(minimum = 1, maximum = 36_500)]
    pub history_days: u32,
    /// Time after the customer's authentication for the consent during which it shows transactions
    /// of any age.
    #[schema(minimum = 1, maximum = 1_440)]
    pub history_minutes: u32,
    /// Lifetime of a one-off consent from its first read on.
    #[schema(minimum = 1, maximum = 1_440)]
    pub one_off_minutes: u32,
    /// Time from the TPP's request in which the customer can approve a consent.
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
    /// used if the TPP states no preference. Default: all that are possible. `redirect` requires
    /// `[online_banking]`; `decoupled` requires `[sca_methods]`, or `[online_banking]` without
    /// `[identity_provider]`; `embedded` is not possible with `[identity_provider]`.
    #[schema(example = json!(["redirect"]))]
    pub approaches: Option<Vec<Approach>>,
    /// Idle timeout of an authorisation: it fails after this time without a step.
    #[schema(minimum = 1, maximum = 1_440)]
    pub authorisation_minutes: u32,
    /// Whether an approval by redirect counts only after the TPP has sent the confirmation code
    /// that the bank adds to the redirect URI. The code proves that the customer who approved is
    /// the TPP's own.
    pub confirmation_code: bool,
    /// Whether the password alone is enough to approve access to the list of accounts and nothing
    /// else, if the customer has approved a consent of the same TPP with a second factor in the
    /// last 180 days.
    pub exempt_account_list: bool,
    /// Hosts that a TPP can use in redirect URIs: those in its certificate (`certificate-names`),
    /// or any (`any-https`). The scheme must be `https` in both cases.
    pub redirect_uris: RedirectUris,
    /// Whether redirect URIs with a loopback host are allowed, also with the scheme `http`. For
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

/// Means of the bank by which customers can approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ApprovalMeans {
    /// The bank has pages.
    pub(super) pages: bool,
    /// Customers log in there by the bank's identity provider. The bank knows no passwords.
    pub(super) identity_provider: bool,
    /// The bank has SCA methods of its own systems.
    pub(super) sca_methods: bool,
}

impl ApprovalMeans {
    /// Fails, with the reason, if an approach is not possible.
    fn check(self, approach: Approach) -> Result<(), &'static str> {
        match approach {
            Approach::Redirect if !self.pages => Err(
                "requires the bank's own pages: configure [online_banking], or remove this approach",
            ),
            Approach::Decoupled if self.identity_provider && !self.sca_methods => Err(
                "requires [sca_methods] beside [identity_provider]: configure it, or remove this \
                 approach",
            ),
            Approach::Decoupled if !self.pages && !self.sca_methods => Err(
                "requires the bank's own pages, or [sca_methods]: configure one of them, or remove \
                 this approach",
            ),
            Approach::Embedded if self.identity_provider => Err(
                "is not possible with [identity_provider], which has the customers' passwords: \
                 remove this approach",
            ),
            _ => Ok(()),
        }
    }
}

/// An SCA approach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Approach {
    /// The customer authenticates on the bank's own pages.
    Redirect,
    /// The customer authenticates in the bank's app.
    Decoupled,
    /// The customer gives the credentials to the TPP, which passes them on to the bank.
    Embedded,
}

impl Approach {
    /// All of them, in the order in which they are offered by default.
    const ALL: [Self; 3] = [Self::Redirect, Self::Decoupled, Self::Embedded];
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

/// Hosts that a TPP can use in redirect URIs. The scheme must be `https` in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RedirectUris {
    /// The hosts in the TPP's certificate.
    CertificateNames,
    /// Any host.
    AnyHttps,
}

impl ScaConfig {
    /// Idle timeout of an authorisation, from `authorisation_minutes`.
    pub(crate) fn authorisation_lifetime(&self) -> TimeDelta {
        TimeDelta::minutes(self.authorisation_minutes.into())
    }

    /// The approaches that the bank offers, the default one first.
    pub(super) fn approaches(&self, means: ApprovalMeans) -> Vec<ScaApproach> {
        let configured = self.approaches.as_deref().unwrap_or(&Approach::ALL);
        let possible = configured.iter().copied();
        let possible = possible.filter(|approach| means.check(*approach).is_ok());
        possible.map(ScaApproach::from).collect()
    }

    /// Errors of the section `[sca]`. All of them concern `approaches`; its default is valid.
    pub(super) fn faults(&self, means: ApprovalMeans) -> Vec<ConfigError> {
        let mut faults = Vec::new();
        let Some(approaches) = self.approaches.as_deref() else {
            return faults;
        };
        if approaches.is_empty() {
            faults.push(ConfigError::new(
                "sca.approaches",
                "must contain at least one approach",
            ));
        }
        for (index, approach) in approaches.iter().enumerate() {
            let key = format!("sca.approaches[{index}]");
            let is_repeated = approaches.iter().take(index).any(|other| other == approach);
            let checked = if is_repeated {
                Err("is listed twice")
            } else {
                means.check(*approach)
            };
            faults.extend(checked.err().map(|problem| ConfigError::new(key, problem)));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approaches_are_those_of_the_means_of_approval() {
        use ScaApproach::{Decoupled, Embedded, Redirect};

        let sca = |approaches: Option<&[Approach]>| ScaConfig {
            approaches: approaches.map(<[Approach]>::to_vec),
            ..ScaConfig::default()
        };
        for (pages, identity_provider, sca_methods, possible) in [
            (true, false, false, &[Redirect, Decoupled, Embedded][..]),
            (true, false, true, &[Redirect, Decoupled, Embedded]),
            (true, true, false, &[Redirect]),
            (true, true, true, &[Redirect, Decoupled]),
            (false, false, false, &[Embedded]),
            (false, false, true, &[Decoupled, Embedded]),
        ] {
            let means = ApprovalMeans {
                pages,
                identity_provider,
                sca_methods,
            };
            assert_eq!(sca(None).approaches(means), possible, "{means:?}");
            assert!(sca(None).faults(means).is_empty(), "{means:?}");
            let faults = sca(Some(&Approach::ALL)).faults(means).into_iter();
            let keys: Vec<String> = faults.map(|fault| fault.key).collect();
            let expected = Approach::ALL.into_iter().enumerate();
            let expected = expected.filter(|(_, approach)| !possible.contains(&(*approach).into()));
            let expected = expected.map(|(index, _)| format!("sca.approaches[{index}]"));
            assert_eq!(keys, expected.collect::<Vec<_>>(), "{means:?}");
        }
        let means = ApprovalMeans {
            pages: true,
            identity_provider: false,
            sca_methods: false,
        };
        let places = |approaches: &[Approach]| {
            let faults = sca(Some(approaches)).faults(means).into_iter();
            faults.map(|fault| fault.key).collect::<Vec<_>>()
        };
        assert_eq!(places(&[]), ["sca.approaches"]);
        assert_eq!(
            places(&[Approach::Redirect, Approach::Redirect]),
            ["sca.approaches[1]"]
        );
    }
}
