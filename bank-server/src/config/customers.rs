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
    /// used if the TPP states no preference. If absent: all three, or `embedded` alone without
    /// `[online_banking]`.
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
    pub(crate) fn approaches(&self, has_pages: bool) -> Vec<ScaApproach> {
        match &self.approaches {
            Some(named) => named.iter().copied().map(ScaApproach::from).collect(),
            None if has_pages => ScaApproach::ALL.to_vec(),
            None => vec![ScaApproach::Embedded],
        }
    }

    pub(super) fn faults(&self, has_pages: bool) -> Vec<ConfigError> {
        let mut faults = Vec::new();
        let named = self.approaches.as_deref().unwrap_or(&[Approach::Embedded]);
        if named.is_empty() {
            faults.push(ConfigError::new(
                "sca.approaches",
                "names none: customers could approve nothing",
            ));
        }
        for (index, approach) in named.iter().enumerate() {
            let key = format!("sca.approaches[{index}]");
            if named.iter().take(index).any(|other| other == approach) {
                faults.push(ConfigError::new(key, "is named twice"));
            } else if *approach != Approach::Embedded && !has_pages {
                faults.push(ConfigError::new(
                    key,
                    "needs the bank's own pages: add [online_banking], or leave it out",
                ));
            }
        }
        faults
    }
}
