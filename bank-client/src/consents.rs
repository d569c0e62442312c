//! Asking for consents, and following them.

use std::net::IpAddr;

use reqwest::Method;
use shared_types::consent::{
    ConsentCreated, ConsentInformation, ConsentRequest, ConsentStatus, ConsentStatusResponse,
};

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
        let body = serde_json::to_vec(consent)
            .map_err(|fault| self.malformed("request", fault.to_string()))?;
        let url = self.url(&["v1", "consents"]);
        self.ask(Request {
            method: Method::POST,
            url,
            consent: None,
            psu: Some(psu),
            body: Some(body),
        })
        .await
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
        Request {
            method,
            url: self.url(segments),
            consent: None,
            psu: None,
            body: None,
        }
    }
}
