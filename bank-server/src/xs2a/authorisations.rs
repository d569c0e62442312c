//! `/v1/consents/{consentId}/authorisations`.

use actix_web::http::header::{CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared_types::decode::decode;
use shared_types::xs2a::authorisation::{
    AuthorisationList, AuthorisationStarted, AuthorisationUpdated, PsuData, ScaApproach,
    ScaStatusResponse, Secret, UpdatePsuData,
};
use shared_types::xs2a::message::TppMessages;

use super::Xs2a;
use super::authorisation_headers::{AuthorisationHeaders, PSU_ID, check_return, psu_id};
use super::body::receive;
use super::consent_access::psu_ip_address;
use super::consents::find;
use super::error::{ApiError, Result};
use super::middleware::RequestContext;
use super::next_steps::{challenge_data, chosen_method, links, methods, psu_message};
use crate::consent::authorisation::{Start, Step};
use crate::domain::AuthorisationKey;
use crate::store::vault::Vault;

/// Header with the SCA approach.
const APPROACH: HeaderName = HeaderName::from_static("aspsp-sca-approach");

/// Starts an authorisation. With the customer's password in the body, that step is taken at once.
#[utoipa::path(
    post, path = "/v1/consents/{consentId}/authorisations", operation_id = "startConsentAuthorisation",
    tag = "Consents", request_body(content = UpdatePsuData, description = "Empty, or the customer's password"),
    params(
        ("consentId" = String, Path),
        ("X-Request-ID" = String, Header, description = "UUID of the request; repeated, it has one effect"),
        ("PSU-ID" = Option<String>, Header, description = "With what the customer logs in at the bank"),
        ("TPP-Redirect-Preferred" = Option<bool>, Header),
        ("TPP-Redirect-URI" = Option<String>, Header, format = "uri", description = "https, of a host that the TPP's certificate names"),
        ("TPP-Nok-Redirect-URI" = Option<String>, Header, format = "uri", description = "https, of a host that the TPP's certificate names"),
    ),
    responses(
        (status = 201, description = "Started", body = AuthorisationStarted,
            headers(("ASPSP-SCA-Approach" = String, description = "REDIRECT, DECOUPLED or EMBEDDED"))),
        (status = 400, description = "FORMAT_ERROR, PARAMETER_NOT_SUPPORTED", body = TppMessages),
        (status = 401, description = "PSU_CREDENTIALS_INVALID", body = TppMessages),
        (status = 403, description = "CONSENT_UNKNOWN", body = TppMessages),
        (status = 409, description = "STATUS_INVALID", body = TppMessages),
        (status = 429, description = "ACCESS_EXCEEDED", body = TppMessages),
    )
)]
pub(super) async fn start(
    context: RequestContext,
    state: Data<Xs2a>,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse> {
    let body = body_of(&request, payload, &context, &state).await?;
    let step = step_of(&body)?;
    psu_ip_address(&request)?;
    let headers = AuthorisationHeaders::of(&request, &context, &state.approving)?;
    let tpp = context.tpp.organisation();
    let consent = find(&context, &state, &id).await?;
    let approach = match &step {
        UpdatePsuData::Identification => headers.later_approach(&consent, &state.approving)?,
        UpdatePsuData::Authentication(_) => embedded(&state)?,
        _ => {
            return Err(ApiError::status_invalid(
                "an authorisation starts with the customer, or with the password",
            ));
        }
    };
    let digest = digest_of(&state.vault, &[&body, headers.text().as_bytes()]);
    let uri = headers.redirect_uri.or(consent.redirect_uri);
    let nok_uri = headers.nok_redirect_uri.or(consent.nok_redirect_uri);
    check_return(approach, uri.as_deref(), &state.approving)?;
    let start = Start {
        tpp,
        consent_id: &id,
        request_id: context.request_id,
        digest: &digest,
        psu: headers.psu.as_ref(),
        approach,
        redirect_uri: uri.as_deref(),
        nok_redirect_uri: nok_uri.as_deref(),
    };
    let step = match step {
        UpdatePsuData::Authentication(data) => {
            let password = password_in(data)?;
            let psu = headers.psu.as_ref();
            let psu = psu.ok_or_else(password_without_customer)?;
            let (service, password) = (&state.authorisations, password.expose());
            service.start_with_password(start, psu, password).await?
        }
        _ => Step::from(state.authorisations.start(start).await?),
    };
    let authorisation = &step.authorisation;
    let answer = AuthorisationStarted {
        sca_status: authorisation.status,
        authorisation_id: authorisation.id.clone(),
        sca_methods: methods(&step),
        chosen_sca_method: chosen_method(&step),
        challenge_data: challenge_data(&step),
        links: links(authorisation, step.has_choice(), &state.approving, true),
        psu_message: psu_message(authorisation),
    };
    let mut response = HttpResponse::Created();
    Ok(with_approach(&mut response, authorisation.approach).json(answer))
}

/// Lists the ids of a consent's authorisations.
#[utoipa::path(
    get, path = "/v1/consents/{consentId}/authorisations", operation_id = "getConsentAuthorisation", tag = "Consents",
    params(("consentId" = String, Path), ("X-Request-ID" = String, Header)),
    responses(
        (status = 200, description = "The ids of the authorisations", body = AuthorisationList),
        (status = 403, description = "CONSENT_UNKNOWN", body = TppMessages),
    )
)]
pub(super) async fn list(
    context: RequestContext,
    state: Data<Xs2a>,
    id: Path<String>,
) -> Result<Json<AuthorisationList>> {
    let all = state
        .authorisations
        .list(context.tpp.organisation(), &id)
        .await?;
    Ok(Json(AuthorisationList {
        authorisation_ids: all.into_iter().map(|one| one.id).collect(),
    }))
}

/// Returns the status of an authorisation.
#[utoipa::path(
    get, path = "/v1/consents/{consentId}/authorisations/{authorisationId}", operation_id = "getConsentScaStatus",
    tag = "Consents",
    params(("consentId" = String, Path), ("authorisationId" = String, Path), ("X-Request-ID" = String, Header)),
    responses(
        (status = 200, description = "The status", body = ScaStatusResponse),
        (status = 403, description = "RESOURCE_UNKNOWN", body = TppMessages),
    )
)]
pub(super) async fn status(
    context: RequestContext,
    state: Data<Xs2a>,
    path: Path<(String, String)>,
) -> Result<Json<ScaStatusResponse>> {
    let authorisation = state.authorisations.find(key(&context, &path)).await?;
    Ok(Json(ScaStatusResponse {
        sca_status: authorisation.status,
        psu_message: psu_message(&authorisation),
        psu_name: None,
        trusted_beneficiary_flag: None,
        links: Some(links(&authorisation, true, &state.approving, false)),
        tpp_message: None,
    }))
}

/// Takes an authorisation one step further: the customer's id, password, choice of a method, or
/// code; or the TPP's confirmation.
#[utoipa::path(
    put, path = "/v1/consents/{consentId}/authorisations/{authorisationId}", operation_id = "updateConsentsPsuData",
    tag = "Consents", request_body = UpdatePsuData,
    params(
        ("consentId" = String, Path), ("authorisationId" = String, Path), ("X-Request-ID" = String, Header),
        ("PSU-ID" = Option<String>, Header, description = "With what the customer logs in at the bank"),
    ),
    responses(
        (status = 200, description = "The step was taken", body = AuthorisationUpdated,
            headers(("ASPSP-SCA-Approach" = String, description = "REDIRECT, DECOUPLED or EMBEDDED"))),
        (status = 400, description = "FORMAT_ERROR, PARAMETER_NOT_SUPPORTED, PARAMETER_NOT_CONSISTENT, SCA_METHOD_UNKNOWN, SCA_INVALID", body = TppMessages),
        (status = 401, description = "PSU_CREDENTIALS_INVALID, CONSENT_INVALID", body = TppMessages),
        (status = 403, description = "RESOURCE_UNKNOWN", body = TppMessages),
        (status = 409, description = "STATUS_INVALID", body = TppMessages),
        (status = 429, description = "ACCESS_EXCEEDED", body = TppMessages),
    )
)]
pub(super) async fn update(
    context: RequestContext,
    state: Data<Xs2a>,
    path: Path<(String, String)>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse> {
    let step = step_of(&body_of(&request, payload, &context, &state).await?)?;
    psu_ip_address(&request)?;
    let psu = psu_id(&request)?;
    let (service, key) = (&state.authorisations, key(&context, &path));
    // Checks the TPP first, so that the error reveals nothing about the step to another TPP.
    let authorisation = service.find(key).await?;
    let step = match step {
        UpdatePsuData::Identification => {
            let psu = psu.ok_or_else(|| ApiError::format(PSU_ID, "the header is required"))?;
            service.identify(key, &psu).await?
        }
        UpdatePsuData::Authentication(data) => {
            embedded(&state)?;
            let psu = psu.or(authorisation.psu);
            let psu = psu.ok_or_else(password_without_customer)?;
            let password = password_in(data)?;
            let password = password.expose();
            service.authenticate(key, Some(&psu), password).await?
        }
        UpdatePsuData::MethodSelection(method) => {
            embedded(&state)?;
            let method = method.as_str().parse();
            let method = method.map_err(|_| ApiError::no_such_method())?;
            service.select(key, method).await?
        }
        UpdatePsuData::TransactionAuthorisation(code) => {
            embedded(&state)?;
            service.authorise(key, code.expose()).await?
        }
        UpdatePsuData::Confirmation(code) => service.confirm(key, code.expose()).await?,
    };
    let authorisation = &step.authorisation;
    let answer = AuthorisationUpdated {
        sca_status: authorisation.status,
        sca_methods: methods(&step),
        chosen_sca_method: chosen_method(&step),
        challenge_data: challenge_data(&step),
        links: Some(links(
            authorisation,
            step.has_choice(),
            &state.approving,
            false,
        )),
        psu_message: psu_message(authorisation),
    };
    let mut response = HttpResponse::Ok();
    Ok(with_approach(&mut response, authorisation.approach).json(answer))
}

fn key<'a>(
    context: &'a RequestContext,
    (consent_id, id): &'a (String, String),
) -> AuthorisationKey<'a> {
    AuthorisationKey {
        tpp: context.tpp.organisation(),
        consent_id,
        id,
    }
}

/// Adds the header with the SCA approach.
pub(super) fn with_approach(
    response: &mut HttpResponseBuilder,
    approach: ScaApproach,
) -> &mut HttpResponseBuilder {
    response.insert_header((APPROACH, approach.as_str()))
}

/// Receives the body; empty if there is none.
async fn body_of(
    request: &HttpRequest,
    payload: Payload,
    context: &RequestContext,
    state: &Xs2a,
) -> Result<Vec<u8>> {
    let headers = request.headers();
    let is_empty = match headers.get(CONTENT_LENGTH) {
        Some(length) => length.as_bytes() == b"0",
        None => {
            !headers.contains_key(TRANSFER_ENCODING)
                && request.version() < actix_web::http::Version::HTTP_2
        }
    };
    if is_empty {
        return Ok(Vec::new());
    }
    let body = receive(request, payload, context, state.limits.max_body_bytes).await?;
    Ok(body.to_vec())
}

/// The step in the body. Without a body it is the identification by the header alone.
fn step_of(body: &[u8]) -> Result<UpdatePsuData> {
    if body.is_empty() {
        return Ok(UpdatePsuData::Identification);
    }
    Ok(decode(body)?)
}

fn embedded(state: &Xs2a) -> Result<ScaApproach> {
    let offered = state.approving.offered.contains(&ScaApproach::Embedded);
    offered.then_some(ScaApproach::Embedded).ok_or_else(|| {
        ApiError::not_supported(
            "psuData",
            "this bank takes no passwords through TPPs; send the customer to the bank",
        )
    })
}

fn password_in(data: PsuData) -> Result<Secret> {
    data.password.ok_or_else(|| {
        ApiError::not_supported(
            "psuData",
            "send the password in the field password; it is protected by TLS",
        )
    })
}

fn password_without_customer() -> ApiError {
    ApiError::format(PSU_ID, "the header is required with a password")
}

/// Keyed digest of a request, for the database. A request can hold a password, which cannot be
/// guessed from the digest without the bank's key.
fn digest_of(vault: &Vault, parts: &[&[u8]]) -> String {
    let stamp = vault.mac("authorisation-request", &parts.concat());
    URL_SAFE_NO_PAD.encode(stamp)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared_types::environment::SystemRandomness;
    use shared_types::pki::digest;

    use super::*;

    #[test]
    fn a_request_is_kept_by_a_keyed_digest() {
        let vault = |key: u8| Vault::new(&[key; 32], Arc::new(SystemRandomness)).unwrap();
        let body: &[u8] = br#"{"psuData":{"password":"start12"}}"#;
        let kept = digest_of(&vault(1), &[body, b"anna"]);
        assert_eq!(kept, digest_of(&vault(1), &[body, b"anna"]));
        assert_ne!(kept, digest_of(&vault(2), &[body, b"anna"]));
        assert_ne!(kept, digest_of(&vault(1), &[body, b"lucas"]));
        assert_ne!(kept, digest::sha256(&[body, b"anna"].concat()));
    }
}
