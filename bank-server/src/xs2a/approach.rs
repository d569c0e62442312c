//! Choice of the SCA approach, by the bank's offer and the TPP's preferences.

use actix_web::HttpRequest;
use shared_types::xs2a::authorisation::ScaApproach;

use super::consent_access::single;
use super::error::{ApiError, Result};

const REDIRECT_PREFERRED: &str = "TPP-Redirect-Preferred";
const DECOUPLED_PREFERRED: &str = "TPP-Decoupled-Preferred";

/// Preferences of the TPP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Preferences {
    /// `TPP-Redirect-Preferred`.
    pub(super) redirect: Option<bool>,
    /// `TPP-Decoupled-Preferred`.
    pub(super) decoupled: Option<bool>,
    /// The TPP names its customer (`PSU-ID`).
    pub(super) names_customer: bool,
}

impl Preferences {
    pub(super) fn of(request: &HttpRequest, names_customer: bool) -> Result<Self> {
        Ok(Self {
            redirect: truth(request, REDIRECT_PREFERRED)?,
            decoupled: truth(request, DECOUPLED_PREFERRED)?,
            names_customer,
        })
    }

    /// Whether the TPP states a preference.
    pub(super) fn are_stated(self) -> bool {
        self.redirect.is_some() || self.decoupled.is_some()
    }

    /// Distance of an approach from the preferences; 0 is a match.
    fn distance(self, approach: ScaApproach) -> u8 {
        match approach {
            ScaApproach::Redirect => distance(self.redirect, 1),
            // Decoupled needs the PSU-ID; without it, other approaches come first.
            ScaApproach::Decoupled => {
                distance(self.decoupled, if self.names_customer { 1 } else { 2 })
            }
            ScaApproach::Embedded => 1,
        }
    }
}

const fn distance(preferred: Option<bool>, otherwise: u8) -> u8 {
    match preferred {
        Some(true) => 0,
        None => otherwise,
        Some(false) => 3,
    }
}

/// The offered approach that is nearest to the TPP's preferences; among equals, the bank's order
/// decides. A preference that the bank cannot meet is no error.
pub(super) fn choose(offered: &[ScaApproach], preferences: Preferences) -> Option<ScaApproach> {
    offered
        .iter()
        .copied()
        .min_by_key(|approach| preferences.distance(*approach))
}

/// Value of a boolean header.
pub(super) fn truth(request: &HttpRequest, name: &'static str) -> Result<Option<bool>> {
    match single(request, name)?.as_deref() {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(ApiError::format(name, "expected true or false")),
    }
}

#[cfg(test)]
mod tests {
    use ScaApproach::{Decoupled, Embedded, Redirect};

    use super::*;

    #[test]
    fn wishes_are_met_as_far_as_the_bank_offers_it() {
        let all = [Redirect, Decoupled, Embedded];
        let [yes, no] = [Some(true), Some(false)];
        for (offered, redirect, decoupled, names_customer, expected) in [
            // Without wishes, the bank's own order.
            (&all[..], None, None, false, Redirect),
            (
                &[Embedded, Redirect, Decoupled],
                None,
                None,
                false,
                Embedded,
            ),
            (
                &[Decoupled, Embedded, Redirect],
                None,
                None,
                true,
                Decoupled,
            ),
            // Decoupled needs the PSU-ID.
            (
                &[Decoupled, Embedded, Redirect],
                None,
                None,
                false,
                Embedded,
            ),
            (&[Decoupled], None, None, false, Decoupled),
            // With them.
            (&[Embedded, Redirect], yes, None, false, Redirect),
            (&all, None, yes, false, Decoupled),
            (&all, no, None, true, Decoupled),
            (&all, no, None, false, Embedded),
            (&all, no, no, true, Embedded),
            (&all, None, no, true, Redirect),
            // Both: the bank's order between the two.
            (&all, yes, yes, true, Redirect),
            (&[Decoupled, Redirect], yes, yes, true, Decoupled),
            // Skips approaches that the bank does not offer.
            (&[Redirect], no, yes, true, Redirect),
            (&[Embedded], yes, None, true, Embedded),
        ] {
            let preferences = Preferences {
                redirect,
                decoupled,
                names_customer,
            };
            let chosen = choose(offered, preferences);
            assert_eq!(chosen, Some(expected), "{offered:?} {preferences:?}");
        }
        assert_eq!(choose(&[], Preferences::default()), None);
    }
}
