//! Consent calls: create, read, get the status, delete.

use std::net::IpAddr;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use shared_types::xs2a::consent::{
    ConsentCreated, ConsentInformation, ConsentRequest, ConsentStatus,
};
use shared_types::xs2a::text::{Text, plain};
use uuid::Uuid;

use crate::authorisations::{ApprovalOptions, ConsentAsked, approach};
use crate::bank::Bank;
use crate::decode::ValidateResponse;
use crate::error::{Error, ErrorKind};
use crate::response::Response;
use crate::transport::{Request, json_body};

impl Bank {
    /// Asks for a consent (`POST /v1/consents`). It opens nothing until the customer has approved
    /// it at the bank.
    ///
    /// `psu` is the address of the customer's device, as we saw it (`PSU-IP-Address`). Of `None`
    /// nothing is sent: the standard requires the header here, and a bank that insists on it
    /// refuses.
    pub async fn create_consent(
        &self,
        consent: &ConsentRequest,
        psu: impl Into<Option<IpAddr>> + Send,
    ) -> Result<Response<ConsentCreated>, Error> {
        self.ask_for_consent(consent, psu, &ApprovalOptions::new())
            .await
            .map(|asked| Response::new(asked.consent, asked.deviations))
    }

    /// The same, and returns how the customer can approve it.
    pub async fn ask_for_consent(
        &self,
        consent: &ConsentRequest,
        psu: impl Into<Option<IpAddr>> + Send,
        options: &ApprovalOptions,
    ) -> Result<ConsentAsked, Error> {
        self.ask_for_consent_once(None, consent, psu.into(), options)
            .await
    }

    /// The same, as a request of that id: repeated, it has one effect.
    pub(crate) async fn ask_for_consent_once(
        &self,
        id: Option<Uuid>,
        consent: &ConsentRequest,
        psu: Option<IpAddr>,
        options: &ApprovalOptions,
    ) -> Result<ConsentAsked, Error> {
        let request = Request {
            id,
            psu,
            headers: options.headers(),
            body: Some(json_body(consent).map_err(|kind| self.error(kind))?),
            ..Request::new(Method::POST, self.url(&["v1", "consents"]))
        };
        let answer = self.execute(request).await?;
        let (consent, deviations) = self.decode::<ConsentCreated>(&answer, None)?.into_parts();
        Ok(ConsentAsked {
            deviations,
            consent,
            approach: approach(&answer.headers),
        })
    }

    /// Reads a consent (`GET /v1/consents/{consentId}`).
    pub async fn consent(&self, id: &str) -> Result<Response<ConsentInformation>, Error> {
        let request = Request::new(Method::GET, self.url(&["v1", "consents", id]));
        self.decode(&self.execute(request).await?, None)
    }

    /// Reads where a consent stands (`GET /v1/consents/{consentId}/status`). A word that the
    /// standard does not have is [`UnknownStatus`](ErrorKind::UnknownStatus).
    pub async fn consent_status(&self, id: &str) -> Result<ConsentStatus, Error> {
        let url = self.url(&["v1", "consents", id, "status"]);
        let answer = self.execute(Request::new(Method::GET, url)).await?;
        let answer: Response<StatusAnswer> = self.decode(&answer, None)?;
        let word = answer.consent_status.as_str();
        let mut known = ConsentStatus::ALL.iter().copied();
        let status = known.find(|known| known.as_str().eq_ignore_ascii_case(word.trim()));
        if status.is_none_or(|status| status.as_str() != word) {
            tracing::warn!(
                bank = self.name(),
                deviations = 1,
                first = "consentStatus",
                "the answer deviates from the standard",
            );
        }
        status.ok_or_else(|| {
            let word = plain(Text::<70>::cut(word).as_str());
            self.error(ErrorKind::UnknownStatus { word })
        })
    }

    /// Ends a consent (`DELETE /v1/consents/{consentId}`).
    pub async fn delete_consent(&self, id: &str) -> Result<(), Error> {
        let request = Request::new(Method::DELETE, self.url(&["v1", "consents", id]));
        self.execute(request).await.map(drop)
    }

    /// Ends a consent, if it still stands. One that the bank does not know any more has ended: by
    /// the standard's codes, or by `404` or `410`.
    pub async fn end_consent(&self, id: &str) -> Result<(), Error> {
        let gone = |error: &Error| {
            let absent = matches!(error.kind.status(), Some(404 | 410));
            error.is_consent_gone() || absent && error.is_bare_denial()
        };
        match self.consent_status(id).await {
            Ok(status) if !stands(status) => return Ok(()),
            Err(error) if error.is_consent_gone() => return Ok(()),
            // Asked once more, it would not answer either.
            Err(error) if error.is_transient() => return Err(error),
            _ => {}
        }
        match self.delete_consent(id).await {
            Err(error) if !gone(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// The answer to where a consent stands, in the bank's own word.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusAnswer {
    consent_status: Text<70>,
}

impl ValidateResponse for StatusAnswer {}

/// Whether there is something to end in a consent of that status.
const fn stands(status: ConsentStatus) -> bool {
    matches!(
        status,
        ConsentStatus::Received | ConsentStatus::PartiallyAuthorised | ConsentStatus::Valid
    )
}
