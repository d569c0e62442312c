//! `/v1/consents`.

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use chrono::TimeDelta;
use shared_types::decode::decode;
use shared_types::pki::digest;
use shared_types::xs2a::authorisation::{ScaApproach, ScaStatus};
use shared_types::xs2a::consent::{
    ConsentCreated, ConsentInformation, ConsentRequest, ConsentStatus, ConsentStatusResponse,
};
use shared_types::xs2a::link::Links;
use shared_types::xs2a::message::TppMessages;
use shared_types::xs2a::text::Text;

use super::Xs2a;
use super::authorisation_headers::{AuthorisationHeaders, check_return};
use super::authorisations::with_approach;
use super::body::receive;
use super::consent_access::psu_ip_address;
use super::error::{ApiError, Result};
use super::middleware::RequestContext;
use super::next_steps::{consent_path, links, psu_message, start_link};
use crate::consent::authorisation::Start;
use crate::consent::{
    Event, ONE_OFF_UNUSED, check_request, current_status, last_action_day, last_day, next,
};
use crate::domain::{Authorisation, Consent};
use crate::store::consents::{Inserted, NewConsent, Rule};

/// Creates a consent. It is `received` and opens nothing until the customer approves it.
#[utoipa::path(
    post, path = "/v1/consents", operation_id = "createConsent", tag = "Consents", request_body = ConsentRequest,
    params(
        ("X-Request-ID" = String, Header, description = "UUID of the request; repeated, it has one effect"),
        ("PSU-IP-Address" = String, Header, description = "Address of the customer's device"),
        ("PSU-ID" = Option<String>, Header, description = "With what the customer logs in at the bank"),
        ("TPP-Redirect-Preferred" = Option<bool>, Header),
        ("TPP-Decoupled-Preferred" = Option<bool>, Header),
        ("TPP-Redirect-URI" = Option<String>, Header, format = "uri", description = "https, of a host that the TPP's certificate names"),
        ("TPP-Nok-Redirect-URI" = Option<String>, Header, format = "uri", description = "https, of a host that the TPP's certificate names"),
        ("TPP-Explicit-Authorisation-Preferred" = Option<bool>, Header),
    ),
    responses(
        (status = 201, description = "Created", body = ConsentCreated,
            headers(("ASPSP-SCA-Approach" = String, description = "REDIRECT, DECOUPLED or EMBEDDED"))),
        (status = 400, description = "FORMAT_ERROR, PARAMETER_NOT_SUPPORTED, PARAMETER_NOT_CONSISTENT, PERIOD_INVALID, SESSIONS_NOT_SUPPORTED", body = TppMessages),
        (status = 401, description = "CERTIFICATE_INVALID, CERTIFICATE_EXPIRED, ROLE_INVALID", body = TppMessages),
        (status = 413, description = "FORMAT_ERROR", body = TppMessages),
        (status = 415, description = "FORMAT_ERROR", body = TppMessages),
    )
)]
pub(super) async fn create(
    context: RequestContext,
    state: Data<Xs2a>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse> {
    let body = receive(&request, payload, &context, state.limits.max_body_bytes).await?;
    psu_ip_address(&request)?
        .ok_or_else(|| ApiError::format("PSU-IP-Address", "the header is required"))?;
    let headers = AuthorisationHeaders::of(&request, &context, &state.approving)?;
    let asked: ConsentRequest = decode(&body)?;
    let (now, today) = (state.calendar.now(), state.calendar.today());
    check_request(&asked, today)?;
    let approach = headers.approach(&asked.access, &state.approving)?;
    if !headers.explicit {
        check_return(approach, headers.redirect_uri.as_deref(), &state.approving)?;
    }
    let digest = digest::sha256(&[&body, headers.text().as_bytes()].concat());
    let stored = state
        .consents
        .insert(NewConsent {
            id: state.randomness.uuid(),
            tpp: &context.tpp.record(),
            request_id: context.request_id,
            digest: &digest,
            request: &asked,
            valid_until: last_day(
                &state.rules,
                asked.valid_until,
                asked.recurring_indicator,
                now,
                &state.calendar,
            ),
            frequency_per_day: asked
                .frequency_per_day
                .min(state.rules.max_frequency_per_day),
            approach,
            redirect_uri: headers.redirect_uri.as_deref(),
            nok_redirect_uri: headers.nok_redirect_uri.as_deref(),
            now,
            approve_by: now + TimeDelta::minutes(state.rules.approval_minutes.into()),
        })
        .await?;
    let Inserted::Consent(consent) = stored else {
        return Err(ApiError::format(
            "X-Request-ID",
            "this id came with another request before; take a new one",
        ));
    };
    // A repeated request has the approach of the first time.
    let approach = consent.approach.unwrap_or(approach);
    let authorisation = start(&context, &state, &headers, &consent, approach, &digest).await?;
    let path = consent_path(&consent.id);
    let links = match &authorisation {
        Some(authorisation) => links(authorisation, false, &state.approving, true),
        None => start_link(Links::new(), &consent.id, approach, headers.psu.is_some()),
    };
    let authorisation_message = authorisation.as_ref().and_then(psu_message);
    let answer = ConsentCreated {
        // Outcome of this request; the status of the consent has its own resource.
        consent_status: ConsentStatus::Received,
        consent_id: consent.id.clone(),
        sca_methods: None,
        chosen_sca_method: None,
        challenge_data: None,
        links: links
            .with("status", format!("{path}/status"))
            .with("self", &*path),
        psu_message: limited(&consent, &asked).or(authorisation_message),
    };
    let mut response = HttpResponse::Created();
    let response = with_approach(&mut response, approach).insert_header((LOCATION, path));
    Ok(response.json(answer))
}

/// Starts the authorisation along with the consent, unless the TPP starts it itself or has to name
/// the customer first.
async fn start(
    context: &RequestContext,
    state: &Xs2a,
    headers: &AuthorisationHeaders,
    consent: &Consent,
    approach: ScaApproach,
    digest: &str,
) -> Result<Option<Authorisation>> {
    let complete = match approach {
        ScaApproach::Redirect => true,
        ScaApproach::Decoupled => headers.psu.is_some(),
        ScaApproach::Embedded => false,
    };
    if headers.explicit || !complete {
        return Ok(None);
    }
    let started = state
        .authorisations
        .start(Start {
            tpp: context.tpp.organisation(),
            consent_id: &consent.id,
            request_id: context.request_id,
            digest,
            psu: headers.psu.as_ref(),
            approach,
            redirect_uri: consent.redirect_uri.as_deref(),
            nok_redirect_uri: consent.nok_redirect_uri.as_deref(),
        })
        .await?;
    // Outcome of this request; its status has its own resource.
    let status = match approach {
        ScaApproach::Decoupled => ScaStatus::Started,
        _ if started.psu.is_some() => ScaStatus::PsuIdentified,
        _ => ScaStatus::Received,
    };
    Ok(Some(Authorisation { status, ..started }))
}

/// Message of a consent whose last day the bank has cut.
fn limited(consent: &Consent, asked: &ConsentRequest) -> Option<Text<500>> {
    let last_day = consent.valid_until;
    (last_day != asked.valid_until).then(|| {
        Text::cut(&if consent.recurring {
            format!("The bank gives access until {last_day} at most, and asks again after that.")
        } else {
            format!(
                "The bank gives access once: within {} minutes of the approval, and until \
                 {last_day} at most.",
                ONE_OFF_UNUSED.num_minutes()
            )
        })
    })
}

/// Reads a consent.
#[utoipa::path(
    get, path = "/v1/consents/{consentId}", operation_id = "getConsentInformation", tag = "Consents",
    params(("consentId" = String, Path), ("X-Request-ID" = String, Header)),
    responses(
        (status = 200, description = "The consent", body = ConsentInformation),
        (status = 403, description = "CONSENT_UNKNOWN", body = TppMessages),
    )
)]
pub(super) async fn read(
    context: RequestContext,
    state: Data<Xs2a>,
    id: Path<String>,
) -> Result<Json<ConsentInformation>> {
    let consent = find(&context, &state, &id).await?;
    let now = state.calendar.now();
    let consent_status = current_status(&consent, now, &state.calendar);
    let last_action = last_action_day(&consent, now, &state.calendar);
    let links = match (consent_status, consent.approach) {
        (ConsentStatus::Valid, _) => Some(
            Links::new()
                .with("account", "/v1/accounts")
                .with("card-account", "/v1/card-accounts"),
        ),
        // An approval is missing: of another customer, or after an authorisation that failed.
        (ConsentStatus::Received | ConsentStatus::PartiallyAuthorised, Some(approach)) => {
            Some(start_link(Links::new(), &consent.id, approach, false))
        }
        _ => None,
    };
    Ok(Json(ConsentInformation {
        access: consent.access,
        recurring_indicator: Some(consent.recurring),
        valid_until: Some(consent.valid_until),
        frequency_per_day: Some(consent.frequency_per_day),
        last_action_date: Some(last_action),
        consent_status,
        links,
    }))
}

/// Returns the status of a consent.
#[utoipa::path(
    get, path = "/v1/consents/{consentId}/status", operation_id = "getConsentStatus", tag = "Consents",
    params(("consentId" = String, Path), ("X-Request-ID" = String, Header)),
    responses(
        (status = 200, description = "The status", body = ConsentStatusResponse),
        (status = 403, description = "CONSENT_UNKNOWN", body = TppMessages),
    )
)]
pub(super) async fn status(
    context: RequestContext,
    state: Data<Xs2a>,
    id: Path<String>,
) -> Result<Json<ConsentStatusResponse>> {
    let consent = find(&context, &state, &id).await?;
    let consent_status = current_status(&consent, state.calendar.now(), &state.calendar);
    let waits = consent_status == ConsentStatus::PartiallyAuthorised;
    Ok(Json(ConsentStatusResponse {
        consent_status,
        psu_message: waits.then(|| {
            let needed = consent.approvals_needed;
            Text::cut(&format!(
                "{needed} holders of an account have to approve, each for themselves; not all have."
            ))
        }),
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
    context: RequestContext,
    state: Data<Xs2a>,
    id: Path<String>,
) -> Result<HttpResponse> {
    find(&context, &state, &id).await?;
    let (now, calendar) = (state.calendar.now(), &state.calendar);
    let terminated: Rule<'_> = &|consent| next(consent, Event::Terminated, now, calendar);
    state
        .consents
        .change(context.tpp.organisation(), &id, terminated, now)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The TPP's own consent of that id.
pub(super) async fn find(context: &RequestContext, state: &Xs2a, id: &str) -> Result<Consent> {
    state
        .consents
        .find(context.tpp.organisation(), id)
        .await?
        .ok_or_else(ApiError::no_such_consent)
}
