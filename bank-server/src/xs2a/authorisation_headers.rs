//! Headers of a request that starts an authorisation: `PSU-ID`, redirect URIs and preferred
//! approach.

use actix_web::HttpRequest;
use shared_types::xs2a::authorisation::ScaApproach;
use shared_types::xs2a::consent::AccountAccess;

use super::Approving;
use super::approach::{Preferences, choose, truth};
use super::consent_access::single;
use super::error::{ApiError, Result};
use super::middleware::RequestContext;
use super::redirect;
use crate::consent::is_bank_offered;
use crate::domain::{Consent, PsuId};

pub(super) const PSU_ID: &str = "PSU-ID";
const REDIRECT_URI: &str = "TPP-Redirect-URI";
const NOK_REDIRECT_URI: &str = "TPP-Nok-Redirect-URI";
const EXPLICIT: &str = "TPP-Explicit-Authorisation-Preferred";

/// Maximum length of a `PSU-ID`, in bytes.
const MAX_ID: usize = 256;

/// Headers of the TPP.
#[derive(Debug, Clone)]
pub(super) struct AuthorisationHeaders {
    /// `PSU-ID`.
    pub(super) psu: Option<PsuId>,
    /// Redirect URI after success.
    pub(super) redirect_uri: Option<String>,
    /// Redirect URI after failure.
    pub(super) nok_redirect_uri: Option<String>,
    /// The TPP starts the authorisation itself, later.
    pub(super) explicit: bool,
    preferences: Preferences,
}

impl AuthorisationHeaders {
    pub(super) fn of(
        request: &HttpRequest,
        context: &RequestContext,
        approving: &Approving,
    ) -> Result<Self> {
        let psu = psu_id(request)?;
        let address = |name| {
            let Some(text) = single(request, name)? else {
                return Ok(None);
            };
            redirect::check(&text, context.tpp.hosts(), &approving.rules)
                .map(|url| Some(String::from(url)))
                .map_err(|fault| ApiError::format(name, fault.to_string()))
        };
        Ok(Self {
            preferences: Preferences::of(request, psu.is_some())?,
            psu,
            redirect_uri: address(REDIRECT_URI)?,
            nok_redirect_uri: address(NOK_REDIRECT_URI)?,
            explicit: truth(request, EXPLICIT)?.unwrap_or(false),
        })
    }

    /// The nearest approach to the preferences, of those in which that access can be approved.
    pub(super) fn approach(
        &self,
        access: &AccountAccess,
        approving: &Approving,
    ) -> Result<ScaApproach> {
        let possible = possible(access, approving)?;
        // The configuration is checked to offer one at least.
        choose(&possible, self.preferences).ok_or_else(ApiError::internal)
    }

    /// The approach of an authorisation that is started after its consent, which has an approach.
    pub(super) fn later_approach(
        &self,
        consent: &Consent,
        approving: &Approving,
    ) -> Result<ScaApproach> {
        let possible = possible(&consent.access, approving)?;
        let settled = consent
            .approach
            .filter(|settled| possible.contains(settled));
        match settled {
            Some(settled) if !self.preferences.are_stated() => Ok(settled),
            _ => self.approach(&consent.access, approving),
        }
    }

    /// Text of the headers, for the digest of the request.
    pub(super) fn text(&self) -> String {
        format!(
            "{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
            self.psu.as_ref().map(|psu| &psu.0),
            self.redirect_uri,
            self.nok_redirect_uri,
            self.explicit,
            self.preferences
        )
    }
}

/// The approaches in which that access can be approved. If the customer chooses the accounts, only
/// those in which the bank itself shows them to the customer (EBA Q&A 2021/6246).
fn possible(access: &AccountAccess, approving: &Approving) -> Result<Vec<ScaApproach>> {
    let mut possible = approving.offered.clone();
    if is_bank_offered(access) {
        possible.retain(|approach| match approach {
            ScaApproach::Redirect => true,
            ScaApproach::Decoupled => approving.has_app_page,
            ScaApproach::Embedded => false,
        });
        if possible.is_empty() {
            return Err(ApiError::not_supported(
                "access",
                "this bank cannot let the customer choose accounts in the approaches that it offers; name the accounts, or \
                 ask for allPsd2",
            ));
        }
    }
    Ok(possible)
}

/// Fails if the customer cannot be redirected back with the confirmation code that the TPP needs.
pub(super) fn check_return(
    approach: ScaApproach,
    redirect_uri: Option<&str>,
    approving: &Approving,
) -> Result<()> {
    if approving.rules.confirmation_code
        && approach == ScaApproach::Redirect
        && redirect_uri.is_none()
    {
        return Err(ApiError::format(
            "TPP-Redirect-URI",
            "the header is required for the redirect approach: this bank has approvals confirmed, with a code that the \
             customer's browser brings to that address",
        ));
    }
    Ok(())
}

/// `PSU-ID`: the id with which the customer logs in at the bank.
pub(super) fn psu_id(request: &HttpRequest) -> Result<Option<PsuId>> {
    match single(request, PSU_ID)? {
        Some(id) if id.is_empty() || id.len() > MAX_ID => Err(ApiError::format(
            PSU_ID,
            "expected that with which the customer logs in at the bank",
        )),
        id => Ok(id.map(PsuId)),
    }
}
