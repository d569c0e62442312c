//! `/v1/consents`.

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use shared_types::consent::{
    ConsentCreated, ConsentInformation, ConsentRequest, ConsentStatus, ConsentStatusResponse,
};
use shared_types::decode::decode;
use shared_types::digest;
use shared_types::link::Links;
use shared_types::message::TppMessages;
use shared_types::text::Text;

use super::Xs2a;
use super::body::receive;
use super::door::Caller;
use super::error::ApiError;
use super::reading::psu_ip_address;
use crate::consent::{check_request, last_action_day, standing};
use crate::store::consents::{Consent, Inserted, NewConsent};

/// Asks for a consent. It is `received` and opens nothing until the customer approves it.
#[utoipa::path(
    post, path = "/v1/consents", operation_id = "createConsent", tag = "Consents", request_body = ConsentRequest,
    params(
        ("X-Request-ID" = String, Header, description = "UUID of the request; repeated, it has one effect"),
        ("PSU-IP-Address" = String, Header, description = "Address of the customer's device"),
    ),
    responses(
        (status = 201, description = "Created", body = ConsentCreated),
        (status = 400, description = "FORMAT_ERROR, PARAMETER_NOT_SUPPORTED, PARAMETER_NOT_CONSISTENT, PERIOD_INVALID, SESSIONS_NOT_SUPPORTED", body = TppMessages),
        (status = 401, description = "CERTIFICATE_INVALID, CERTIFICATE_EXPIRED, ROLE_INVALID", body = TppMessages),
        (status = 413, description = "FORMAT_ERROR", body = TppMessages),
        (status = 415, description = "FORMAT_ERROR", body = TppMessages),
    )
)]
pub(super) async fn create(
    caller: Caller,
    state: Data<Xs2a>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = receive(&request, payload, &caller, state.limits.body).await?;
    psu_ip_address(&request)?
        .ok_or_else(|| ApiError::format("PSU-IP-Address", "the header is required"))?;
    let asked: ConsentRequest = decode(&body)?;
    let (now, today) = (state.calendar.now(), state.calendar.today());
    check_request(&asked, today)?;
    let stored = state
        .consents
        .insert(NewConsent {
            id: state.randomness.uuid(),
            tpp: &caller.tpp,
            request_id: caller.request_id,
            digest: &digest::sha256(&body),
            request: &asked,
            valid_until: state.rules.last_day(asked.valid_until, today),
            now,
            approve_by: now + state.rules.approval,
        })
        .await?;
    match stored {
        Inserted::Consent(consent) => Ok(created(&consent, &asked)),
        Inserted::OtherBody => Err(ApiError::format(
            "X-Request-ID",
            "this id came with another body before; take a new one",
        )),
    }
}

fn created(consent: &Consent, asked: &ConsentRequest) -> HttpResponse {
    let cut = consent.valid_until != asked.valid_until;
    let last_day = consent.valid_until;
    let itself = format!("/v1/consents/{}", consent.id);
    let answer = ConsentCreated {
        // What this request led to; where the consent stands by now is told by its status.
        consent_status: ConsentStatus::Received,
        consent_id: consent.id.clone(),
        sca_methods: None,
        chosen_sca_method: None,
        challenge_data: None,
        links: Links::new()
            .with("self", &*itself)
            .with("status", format!("{itself}/status")),
        psu_message: cut.then(|| {
            Text::cut(&format!(
                "The bank gives access until {last_day} at most, and asks again after that."
            ))
        }),
    };
    HttpResponse::Created()
        .insert_header((LOCATION, itself))
        .json(answer)
}

/// Reads a consent.
#[utoipa::path(
    get, path = "/v1/consents/{consentId}", operation_id = "getConsentInformation", tag = "Consents",
    params(("consentId" = String, Path), ("X-Request-ID" = String, Header)),
    responses(
        (status = 200, body = ConsentInformation),
        (status = 403, description = "CONSENT_UNKNOWN", body = TppMessages),
    )
)]
pub(super) async fn read(
    caller: Caller,
    state: Data<Xs2a>,
    id: Path<String>,
) -> Result<Json<ConsentInformation>, ApiError> {
    let consent = find(&caller, &state, &id).await?;
    let now = state.calendar.now();
    let consent_status = standing(&consent, now, &state.calendar);
    let last_action = last_action_day(&consent, now, &state.calendar);
    let links = (consent_status == ConsentStatus::Valid).then(|| {
        Links::new()
            .with("account", "/v1/accounts")
            .with("card-account", "/v1/card-accounts")
    });
    Ok(Json(ConsentInformation {
        access: consent.access,
        recurring_indicator: consent.recurring,
        valid_until: consent.valid_until,
        frequency_per_day: consent.frequency_per_day,
        last_action_date: Some(last_action),
        consent_status,
        links,
    }))
}

/// Reads where a consent stands.
#[utoipa::path(
    get, path = "/v1/consents/{consentId}/status", operation_id = "getConsentStatus", tag = "Consents",
    params(("consentId" = String, Path), ("X-Request-ID" = String, Header)),
    responses(
        (status = 200, body = ConsentStatusResponse),
        (status = 403, description = "CONSENT_UNKNOWN", body = TppMessages),
    )
)]
pub(super) async fn status(
    caller: Caller,
    state: Data<Xs2a>,
    id: Path<String>,
) -> Result<Json<ConsentStatusResponse>, ApiError> {
    let consent = find(&caller, &state, &id).await?;
    Ok(Json(ConsentStatusResponse {
        consent_status: standing(&consent, state.calendar.now(), &state.calendar),
        psu_message: None,
    }))
}

/// Ends a consent. Ending one that has ended changes nothing.
#[utoipa::path(
    delete, path = "/v1/consents/{consentId}", operation_id = "deleteConsent", tag = "Consents",
    params(("consentId" = String, Path), ("X-Request-ID" = String, Header)),
    responses(
        (status = 204, description = "Ended"),
        (status = 403, description = "CONSENT_UNKNOWN", body = TppMessages),
    )
)]
pub(super) async fn delete(
    caller: Caller,
    state: Data<Xs2a>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    find(&caller, &state, &id).await?;
    state
        .consents
        .terminate(caller.tpp.organisation(), &id, state.calendar.now())
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn find(caller: &Caller, state: &Xs2a, id: &str) -> Result<Consent, ApiError> {
    state
        .consents
        .find(caller.tpp.organisation(), id)
        .await?
        .ok_or_else(ApiError::no_such_consent)
}
