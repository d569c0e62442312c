//! Authorisation of consents by the customer (SCA), in any approach that the bank offers.
//!
//! [`Authorisation::next`] says what comes next, whichever way that is: nothing of it has to be
//! known beforehand.
//!
//! ```no_run
//! use std::net::IpAddr;
//!
//! use bank_client::authorisations::{ApprovalOptions, NextStep};
//! use bank_client::shared_types::xs2a::authorisation::Secret;
//! # use bank_client::shared_types::xs2a::consent::ConsentRequest;
//! # fn ask_customer(_: &str) -> String { String::new() }
//! # async fn example(bank: bank_client::Bank, wanted: ConsentRequest) -> Result<(), Box<dyn std::error::Error>> {
//! let options = ApprovalOptions::new()
//!     .psu_id("anna.weber")
//!     .return_to("https://app.tpp.example/back");
//! let asked = bank.ask_for_consent(&wanted, IpAddr::from([192, 0, 2, 7]), &options).await?;
//! let id = asked.consent.consent_id.clone();
//!
//! let mut step = match asked.next() {
//!     NextStep::Redirect(url) => return Ok(println!("send the customer to {url}")),
//!     NextStep::Password => {
//!         let password = Secret::new(ask_customer("password"))?;
//!         bank.start_authorisation_with_password(&id, &options, password).await?
//!     }
//!     _ => bank.start_authorisation(&id, &options).await?,
//! };
//! loop {
//!     step = match step.next() {
//!         NextStep::Password => {
//!             let password = Secret::new(ask_customer("password"))?;
//!             bank.authenticate(&id, &step.id, "anna.weber", password).await?
//!         }
//!         NextStep::SelectMethod => {
//!             let method = step.methods.first().ok_or("no method")?;
//!             bank.select_method(&id, &step.id, method.authentication_method_id.as_str()).await?
//!         }
//!         NextStep::Code => {
//!             let code = Secret::new(ask_customer("code"))?;
//!             bank.authorise(&id, &step.id, code).await?
//!         }
//!         _ => break,
//!     };
//! }
//! println!("{} {}", step.status, bank.consent_status(&id).await?);
//! # Ok(())
//! # }
//! ```

use std::fmt;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};
use shared_types::xs2a::authorisation::{
    AuthenticationObject, AuthorisationList, AuthorisationStarted, AuthorisationUpdated,
    ChallengeData, PsuData, ScaApproach, ScaStatus, ScaStatusResponse, Secret, UpdatePsuData,
};
use shared_types::xs2a::consent::ConsentCreated;
use shared_types::xs2a::link::Links;
use shared_types::xs2a::text::Text;

use crate::bank::Bank;
use crate::decode::ValidateResponse;
use crate::deviations::Deviations;
use crate::error::{Error, ErrorKind};
use crate::response::Response;
use crate::transport::{Request, json_body};

/// Options of an approval: what we know of the customer, and what we would like. A bank need not
/// follow.
#[derive(Clone, Default, Serialize, Deserialize)]
#[must_use]
pub struct ApprovalOptions {
    pub(crate) psu_id: Option<String>,
    pub(crate) return_to: Option<String>,
    pub(crate) return_to_if_refused: Option<String>,
    pub(crate) preferred: Option<ScaApproach>,
    pub(crate) explicit: bool,
}

/// With whose id the customer logs in stays out of logs.
impl fmt::Debug for ApprovalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApprovalOptions")
            .field("psu_id", &self.psu_id.as_ref().map(|_| "<psu>"))
            .field("return_to", &self.return_to)
            .field("return_to_if_refused", &self.return_to_if_refused)
            .field("preferred", &self.preferred)
            .field("explicit", &self.explicit)
            .finish()
    }
}

impl ApprovalOptions {
    /// Nothing known, nothing preferred.
    pub fn new() -> Self {
        Self::default()
    }

    /// The customer's login name at the bank (`PSU-ID`).
    pub fn psu_id(mut self, id: impl Into<String>) -> Self {
        self.psu_id = Some(id.into());
        self
    }

    /// Return address for the customer's browser (`TPP-Redirect-URI`).
    pub fn return_to(mut self, url: impl Into<String>) -> Self {
        self.return_to = Some(url.into());
        self
    }

    /// Return address after a failed approval (`TPP-Nok-Redirect-URI`).
    pub fn return_to_if_refused(mut self, url: impl Into<String>) -> Self {
        self.return_to_if_refused = Some(url.into());
        self
    }

    /// The way we would like best (`TPP-Redirect-Preferred`, `TPP-Decoupled-Preferred`).
    pub fn prefer(mut self, approach: ScaApproach) -> Self {
        self.preferred = Some(approach);
        self
    }

    /// We start the authorisation ourselves, later (`TPP-Explicit-Authorisation-Preferred`).
    pub fn explicit(mut self) -> Self {
        self.explicit = true;
        self
    }

    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let texts = [
            ("PSU-ID", &self.psu_id),
            ("TPP-Redirect-URI", &self.return_to),
            ("TPP-Nok-Redirect-URI", &self.return_to_if_refused),
        ];
        let mut headers: Vec<(&'static str, String)> = texts
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)))
            .collect();
        if let Some(preferred) = self.preferred {
            let redirect = preferred == ScaApproach::Redirect;
            let decoupled = preferred == ScaApproach::Decoupled;
            headers.push(("TPP-Redirect-Preferred", redirect.to_string()));
            headers.push(("TPP-Decoupled-Preferred", decoupled.to_string()));
        }
        if self.explicit {
            headers.push(("TPP-Explicit-Authorisation-Preferred", true.to_string()));
        }
        headers
    }
}

/// Next step of an authorisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextStep {
    /// Send the customer's browser to the bank.
    Redirect(String),
    /// Start an authorisation: [`Bank::start_authorisation`].
    Start,
    /// Say who the customer is: start an authorisation with [`ApprovalOptions::psu_id`], or, if
    /// there is one, [`Bank::identify`].
    Identify,
    /// Ask the customer for her password: [`Bank::start_authorisation_with_password`], or, if there
    /// is an authorisation, [`Bank::authenticate`].
    Password,
    /// Have the customer choose a method: [`Bank::select_method`].
    SelectMethod,
    /// Ask the customer for the code: [`Bank::authorise`].
    Code,
    /// Pass on the code that the customer's browser has brought back: [`Bank::confirm`].
    Confirm,
    /// The customer approves in the bank's app: poll the status.
    Wait,
    /// Nothing; it is over.
    Nothing,
}

impl NextStep {
    /// The step that the links lead to; of several, the one that leads furthest.
    pub(crate) fn of(links: &Links, status: Option<ScaStatus>) -> Self {
        if status.is_some_and(ScaStatus::is_final) {
            return Self::Nothing;
        }
        if status == Some(ScaStatus::Unconfirmed) {
            return Self::Confirm;
        }
        if let Some(url) = links.get("scaRedirect") {
            return Self::Redirect(url.to_owned());
        }
        let names = [
            ("authoriseTransaction", Self::Code),
            ("selectAuthenticationMethod", Self::SelectMethod),
            ("updatePsuAuthentication", Self::Password),
            ("startAuthorisationWithPsuAuthentication", Self::Password),
            ("updatePsuIdentification", Self::Identify),
            ("startAuthorisationWithPsuIdentification", Self::Identify),
            ("startAuthorisation", Self::Start),
        ];
        let found = names
            .into_iter()
            .find(|(name, _)| links.get(name).is_some());
        found.map_or(Self::Wait, |(_, step)| step)
    }
}

/// A requested consent, and how it will be approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentAsked {
    /// The bank's answer.
    pub consent: ConsentCreated,
    /// The approach, if the bank has settled on one.
    pub approach: Option<ScaApproach>,
    /// The response's deviations from the standard.
    pub deviations: Deviations,
}

impl ConsentAsked {
    /// The next step.
    #[must_use]
    pub fn next(&self) -> NextStep {
        NextStep::of(&self.consent.links, None)
    }

    /// The id of the authorisation, if the bank has started one along with the consent.
    #[must_use]
    pub fn authorisation_id(&self) -> Option<&str> {
        let link = self.consent.links.get("scaStatus")?;
        let path = link.split(['?', '#']).next()?.trim_end_matches('/');
        path.rsplit('/').next().filter(|id| !id.is_empty())
    }
}

/// An authorisation, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorisation {
    /// Its id.
    pub id: String,
    /// The status.
    pub status: ScaStatus,
    /// The approach, if the bank gives it.
    pub approach: Option<ScaApproach>,
    /// The methods that the customer can choose among.
    pub methods: Vec<AuthenticationObject>,
    /// The method that is chosen.
    pub chosen_method: Option<AuthenticationObject>,
    /// Data that the customer needs for it.
    pub challenge: Option<ChallengeData>,
    /// Links to the next steps.
    pub links: Links,
    /// A sentence for the customer.
    pub psu_message: Option<Text<500>>,
    /// The response's deviations from the standard.
    pub deviations: Deviations,
}

impl Authorisation {
    /// The next step.
    #[must_use]
    pub fn next(&self) -> NextStep {
        NextStep::of(&self.links, Some(self.status))
    }
}

impl Bank {
    /// Starts an authorisation of a consent (`POST /v1/consents/{consentId}/authorisations`).
    pub async fn start_authorisation(
        &self,
        consent_id: &str,
        options: &ApprovalOptions,
    ) -> Result<Authorisation, Error> {
        self.start(consent_id, options, &UpdatePsuData::Identification)
            .await
    }

    /// The same, with the customer's password at once.
    pub async fn start_authorisation_with_password(
        &self,
        consent_id: &str,
        options: &ApprovalOptions,
        password: Secret,
    ) -> Result<Authorisation, Error> {
        self.start(consent_id, options, &first_factor(password))
            .await
    }

    /// Lists the ids of a consent's authorisations (`GET /v1/consents/{consentId}/authorisations`).
    pub async fn authorisations(&self, consent_id: &str) -> Result<Vec<String>, Error> {
        let path = ["v1", "consents", consent_id, "authorisations"];
        let request = Request::new(Method::GET, self.url(&path));
        let answer = self.execute(request).await?;
        let list: Response<AuthorisationList> = self.decode(&answer, None)?;
        Ok(list.into_inner().authorisation_ids)
    }

    /// Reads where an authorisation stands (`GET
    /// /v1/consents/{consentId}/authorisations/{authorisationId}`).
    pub async fn authorisation_status(
        &self,
        consent_id: &str,
        id: &str,
    ) -> Result<ScaStatus, Error> {
        let path = ["v1", "consents", consent_id, "authorisations", id];
        let request = Request::new(Method::GET, self.url(&path));
        let answer = self.execute(request).await?;
        let status: Response<ScaStatusResponse> = self.decode(&answer, None)?;
        Ok(status.sca_status)
    }

    /// Says who the customer is.
    pub async fn identify(
        &self,
        consent_id: &str,
        id: &str,
        psu_id: &str,
    ) -> Result<Authorisation, Error> {
        let step = UpdatePsuData::Identification;
        self.update(consent_id, id, Some(psu_id), &step).await
    }

    /// Passes on the customer's password.
    pub async fn authenticate(
        &self,
        consent_id: &str,
        id: &str,
        psu_id: &str,
        password: Secret,
    ) -> Result<Authorisation, Error> {
        let step = first_factor(password);
        self.update(consent_id, id, Some(psu_id), &step).await
    }

    /// Passes on which method the customer has chosen.
    pub async fn select_method(
        &self,
        consent_id: &str,
        id: &str,
        method: &str,
    ) -> Result<Authorisation, Error> {
        let method = method.parse().map_err(|_| {
            let reason = "longer than 35 characters";
            self.error(ErrorKind::malformed("authenticationMethodId", reason))
        })?;
        let step = UpdatePsuData::MethodSelection(method);
        self.update(consent_id, id, None, &step).await
    }

    /// Passes on the code.
    pub async fn authorise(
        &self,
        consent_id: &str,
        id: &str,
        code: Secret,
    ) -> Result<Authorisation, Error> {
        let step = UpdatePsuData::TransactionAuthorisation(code);
        self.update(consent_id, id, None, &step).await
    }

    /// Confirms that the customer who approved is our own, with the code that her browser has
    /// brought back.
    pub async fn confirm(
        &self,
        consent_id: &str,
        id: &str,
        code: Secret,
    ) -> Result<Authorisation, Error> {
        let step = UpdatePsuData::Confirmation(code);
        self.update(consent_id, id, None, &step).await
    }

    async fn start(
        &self,
        consent_id: &str,
        options: &ApprovalOptions,
        step: &UpdatePsuData,
    ) -> Result<Authorisation, Error> {
        let path = ["v1", "consents", consent_id, "authorisations"];
        let request = Request {
            headers: options.headers(),
            ..Request::new(Method::POST, self.url(&path))
        };
        let opened = |started: AuthorisationStarted| {
            let step = AuthorisationUpdated {
                sca_status: started.sca_status,
                sca_methods: started.sca_methods,
                chosen_sca_method: started.chosen_sca_method,
                challenge_data: started.challenge_data,
                links: Some(started.links),
                psu_message: started.psu_message,
            };
            (started.authorisation_id, step)
        };
        self.send_step(request, step, opened).await
    }

    async fn update(
        &self,
        consent_id: &str,
        id: &str,
        psu_id: Option<&str>,
        step: &UpdatePsuData,
    ) -> Result<Authorisation, Error> {
        let path = ["v1", "consents", consent_id, "authorisations", id];
        let psu_id = psu_id.map(|psu| ("PSU-ID", psu.to_owned()));
        let request = Request {
            headers: psu_id.into_iter().collect(),
            ..Request::new(Method::PUT, self.url(&path))
        };
        self.send_step(request, step, |updated| (id.to_owned(), updated))
            .await
    }

    async fn send_step<T: ValidateResponse>(
        &self,
        request: Request,
        step: &UpdatePsuData,
        open: impl FnOnce(T) -> (String, AuthorisationUpdated),
    ) -> Result<Authorisation, Error> {
        let body = Some(json_body(step).map_err(|kind| self.error(kind))?);
        let answer = self.execute(Request { body, ..request }).await?;
        let (step, deviations) = self.decode::<T>(&answer, None)?.into_parts();
        let (id, step) = open(step);
        Ok(Authorisation {
            id,
            status: step.sca_status,
            approach: approach(&answer.headers),
            methods: step.sca_methods.unwrap_or_default(),
            chosen_method: step.chosen_sca_method,
            challenge: step.challenge_data,
            links: step.links.unwrap_or_default(),
            psu_message: step.psu_message,
            deviations,
        })
    }
}

fn first_factor(password: Secret) -> UpdatePsuData {
    UpdatePsuData::Authentication(PsuData {
        password: Some(password),
        ..PsuData::default()
    })
}

/// The approach that an answer names; one that we do not know is as good as none.
pub(crate) fn approach(headers: &HeaderMap) -> Option<ScaApproach> {
    headers
        .get("ASPSP-SCA-Approach")?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_tell_the_next_step() {
        let path = "/v1/consents/c/authorisations/a";
        for (names, status, step) in [
            (vec!["scaStatus", "status"], None, NextStep::Wait),
            (vec!["startAuthorisation"], None, NextStep::Start),
            (
                vec!["startAuthorisationWithPsuIdentification"],
                None,
                NextStep::Identify,
            ),
            (
                vec![
                    "updatePsuIdentification",
                    "startAuthorisationWithPsuAuthentication",
                ],
                Some(ScaStatus::Received),
                NextStep::Password,
            ),
            (
                vec!["selectAuthenticationMethod"],
                Some(ScaStatus::PsuAuthenticated),
                NextStep::SelectMethod,
            ),
            (
                vec!["authoriseTransaction", "selectAuthenticationMethod"],
                Some(ScaStatus::ScaMethodSelected),
                NextStep::Code,
            ),
            (
                vec!["scaRedirect", "confirmation"],
                Some(ScaStatus::Received),
                NextStep::Redirect(path.to_owned()),
            ),
            (
                vec!["scaRedirect", "confirmation"],
                Some(ScaStatus::Unconfirmed),
                NextStep::Confirm,
            ),
            (
                vec!["authoriseTransaction"],
                Some(ScaStatus::Failed),
                NextStep::Nothing,
            ),
        ] {
            let links = names
                .iter()
                .fold(Links::new(), |links, name| links.with(name, path));
            assert_eq!(NextStep::of(&links, status), step, "{names:?}");
        }
    }

    #[test]
    fn options_are_headers_and_keep_the_customer_out_of_debug() {
        let options = ApprovalOptions::new()
            .psu_id("anna.weber")
            .return_to("https://app.tpp.example/")
            .prefer(ScaApproach::Embedded)
            .explicit();
        let text = |value: &str| value.to_owned();
        assert_eq!(
            options.headers(),
            [
                ("PSU-ID", text("anna.weber")),
                ("TPP-Redirect-URI", text("https://app.tpp.example/")),
                ("TPP-Redirect-Preferred", text("false")),
                ("TPP-Decoupled-Preferred", text("false")),
                ("TPP-Explicit-Authorisation-Preferred", text("true")),
            ]
        );
        assert!(!format!("{options:?}").contains("anna"), "{options:?}");
        assert!(ApprovalOptions::new().headers().is_empty());
    }
}
