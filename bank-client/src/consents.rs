//! Asking for consents, and following them.

use std::net::IpAddr;

use reqwest::Method;
use shared_types::consent::{
    ConsentCreated, ConsentInformation, ConsentRequest, ConsentStatus, ConsentStatusResponse,
};
use uuid::Uuid;

use crate::authorisations::{ApprovalOptions, ConsentAsked, approach};
use crate::bank::Bank;
use crate::error::Error;
use crate::exchange::Request;

impl Bank {
    /// Asks for a consent (`POST /v1/consents`). It opens nothing until the customer has approved it at the bank.
    ///
    /// `psu` is the address of the customer's device, as we saw it.
    pub async fn create_consent(
        &self,
        consent: &ConsentRequest,
        psu: IpAddr,
    ) -> Result<ConsentCreated, Error> {
        self.ask_for_consent(consent, psu, &ApprovalOptions::new())
            .await
            .map(|asked| asked.consent)
    }

    /// The same, and says how the customer is to approve it.
    pub async fn ask_for_consent(
        &self,
        consent: &ConsentRequest,
        psu: IpAddr,
        options: &ApprovalOptions,
    ) -> Result<ConsentAsked, Error> {
        self.ask_for_consent_once(None, consent, psu, options).await
    }

    /// The same, as a request of that id: repeated, it has one effect.
    pub(crate) async fn ask_for_consent_once(
        &self,
        id: Option<Uuid>,
        consent: &ConsentRequest,
        psu: IpAddr,
        options: &ApprovalOptions,
    ) -> Result<ConsentAsked, Error> {
        let request = Request {
            id,
            psu: Some(psu),
            headers: options.headers(),
            body: Some(self.body_of(consent)?),
            ..Request::new(Method::POST, self.url(&["v1", "consents"]))
        };
        let (consent, headers) = self.ask_with_headers(request).await?;
        Ok(ConsentAsked {
            consent,
            approach: approach(&headers),
        })
    }

    /// Reads a consent (`GET /v1/consents/{consentId}`).
    pub async fn consent(&self, id: &str) -> Result<ConsentInformation, Error> {
        self.ask(self.about_consent(Method::GET, &["v1", "consents", id]))
            .await
    }

    /// Reads where a consent stands (`GET /v1/consents/{consentId}/status`).
    pub async fn consent_status(&self, id: &str) -> Result<ConsentStatus, Error> {
        let request = self.about_consent(Method::GET, &["v1", "consents", id, "status"]);
        self.ask(request)
            .await
            .map(|answer: ConsentStatusResponse| answer.consent_status)
    }

    /// Ends a consent (`DELETE /v1/consents/{consentId}`).
    pub async fn delete_consent(&self, id: &str) -> Result<(), Error> {
        self.tell(self.about_consent(Method::DELETE, &["v1", "consents", id]))
            .await
    }

    fn about_consent(&self, method: Method, segments: &[&str]) -> Request<'static> {
        Request::new(method, self.url(segments))
    }
}
