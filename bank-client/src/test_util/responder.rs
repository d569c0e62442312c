//! HTTP responses of the mock bank.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::NaiveDate;
use serde_json::{Value, json};
use shared_types::xs2a::account::AccountReference;
use shared_types::xs2a::consent::ConsentStatus;
use shared_types::xs2a::link::Links;
use shared_types::xs2a::transaction::Transaction;
use url::Url;
use wiremock::{Request, Respond, ResponseTemplate};

use super::{MockAccount, MockBehaviour, MockConsent, State};

/// Transactions on a page, where no number is requested.
const PAGE: usize = 100;

/// Answers every request.
pub(super) struct Responder(Arc<Mutex<State>>);

impl Responder {
    pub(super) fn new(shared: Arc<Mutex<State>>) -> Self {
        Self(shared)
    }
}

impl Respond for Responder {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mood = state
            .script
            .pop_front()
            .unwrap_or_else(|| state.mood.clone());
        let answer = match mood {
            MockBehaviour::Slow(delay) => answer(&mut state, request, false).set_delay(delay),
            MockBehaviour::Broken => {
                ResponseTemplate::new(503).set_body_raw("<h1>Out of order</h1>", "text/html")
            }
            MockBehaviour::RateLimited(wait) => refusal(429, "ACCESS_EXCEEDED", "asked too often")
                .insert_header("Retry-After", wait.as_secs().to_string()),
            MockBehaviour::ConsentExpired if request.headers.contains_key("consent-id") => {
                refusal(401, "CONSENT_EXPIRED", "the consent is past its last day")
            }
            MockBehaviour::Happy | MockBehaviour::ConsentExpired => {
                let expired = matches!(mood, MockBehaviour::ConsentExpired);
                answer(&mut state, request, expired)
            }
            MockBehaviour::Malformed => json_answer(200, &json!({ "unheard": ["of"] })),
        };
        match request.headers.get("x-request-id") {
            Some(id) => answer.insert_header("X-Request-ID", id.as_bytes()),
            None => refusal(400, "FORMAT_ERROR", "X-Request-ID is missing"),
        }
    }
}

fn answer(state: &mut State, request: &Request, expired: bool) -> ResponseTemplate {
    let path = request.url.path().to_owned();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let method = request.method.as_str();
    match (method, segments.as_slice()) {
        (_, ["v1", "consents", ..]) => consents(state, request, expired, &segments),
        ("GET", ["v1", "accounts" | "card-accounts", ..]) => match turned_away(state, request) {
            Some(refusal) => refusal,
            None => read(&state.accounts, request, &segments),
        },
        _ => refusal(404, "RESOURCE_UNKNOWN", "there is no such resource"),
    }
}

fn consents(
    state: &mut State,
    request: &Request,
    expired: bool,
    segments: &[&str],
) -> ResponseTemplate {
    let method = request.method.as_str();
    if let ("POST", [_, _]) = (method, segments) {
        let Ok(wanted) = request.body_json::<Value>() else {
            return refusal(400, "FORMAT_ERROR", "the body is no JSON");
        };
        let id = format!("mock-consent-{}", state.consents.len());
        let body = json!({
            "consentStatus": "received",
            "consentId": id,
            "_links": {
                "self": { "href": format!("/v1/consents/{id}") },
                "status": { "href": format!("/v1/consents/{id}/status") },
                "scaRedirect": { "href": format!("https://mock-bank.example/approve/{id}") },
            },
        });
        let header = |name: &str| {
            let value = request.headers.get(name)?;
            Some(value.to_str().ok()?.to_owned())
        };
        state.consents.push(MockConsent {
            id,
            status: ConsentStatus::Received,
            wanted,
            way_back: ["tpp-redirect-uri", "tpp-nok-redirect-uri"].map(header),
        });
        return json_answer(201, &body).insert_header("ASPSP-SCA-Approach", "REDIRECT");
    }
    let id = segments.get(2).copied().unwrap_or_default();
    let known = state.consents.iter_mut().find(|known| known.id == id);
    let Some(MockConsent { status, wanted, .. }) = known else {
        return refusal(403, "CONSENT_UNKNOWN", "there is no such consent");
    };
    let shown = match *status {
        ConsentStatus::Valid if expired => ConsentStatus::Expired,
        status => status,
    };
    match (method, segments) {
        ("GET", [_, _, _]) => {
            let mut body = wanted.clone();
            if let Some(fields) = body.as_object_mut() {
                fields.insert("consentStatus".to_owned(), json!(shown.as_str()));
            }
            json_answer(200, &body)
        }
        ("GET", [_, _, _, "status"]) => {
            json_answer(200, &json!({ "consentStatus": shown.as_str() }))
        }
        ("DELETE", [_, _, _]) => {
            *status = ConsentStatus::TerminatedByTpp;
            ResponseTemplate::new(204)
        }
        _ => refusal(404, "RESOURCE_UNKNOWN", "there is no such resource"),
    }
}

/// Reason for which account requests are refused, if they are.
fn turned_away(state: &State, request: &Request) -> Option<ResponseTemplate> {
    let id = request
        .headers
        .get("consent-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    let known = state.consents.iter().find(|known| known.id == id);
    match known.map(|known| known.status) {
        Some(ConsentStatus::Valid) => None,
        Some(ConsentStatus::Expired) => Some(refusal(
            401,
            "CONSENT_EXPIRED",
            "the consent is past its last day",
        )),
        Some(_) => Some(refusal(401, "CONSENT_INVALID", "the consent is not valid")),
        None => Some(refusal(403, "CONSENT_UNKNOWN", "there is no such consent")),
    }
}

fn read(accounts: &[MockAccount], request: &Request, segments: &[&str]) -> ResponseTemplate {
    let query: HashMap<String, String> = request.url.query_pairs().into_owned().collect();
    if let [_, "card-accounts", rest @ ..] = segments {
        return if rest.is_empty() {
            json_answer(200, &json!({ "cardAccounts": [] }))
        } else {
            refusal(404, "RESOURCE_UNKNOWN", "there is no such account")
        };
    }
    let with_balance = query
        .get("withBalance")
        .is_some_and(|wanted| wanted == "true");
    let shown = |account: &MockAccount| {
        let mut details = account.details.clone();
        details.balances = with_balance.then(|| account.balances.clone());
        details
    };
    let Some(id) = segments.get(2) else {
        let list: Vec<_> = accounts.iter().map(shown).collect();
        return json_answer(200, &json!({ "accounts": list }));
    };
    let known = accounts
        .iter()
        .find(|account| account.details.resource_id.as_deref() == Some(*id));
    let Some(account) = known else {
        return refusal(404, "RESOURCE_UNKNOWN", "there is no such account");
    };
    match segments.get(3..).unwrap_or_default() {
        [] => json_answer(200, &json!({ "account": shown(account) })),
        ["balances"] => {
            let body = json!({ "account": reference(account), "balances": account.balances });
            json_answer(200, &body)
        }
        ["transactions"] => page(account, &request.url, &query),
        ["transactions", one] => transaction(account, one),
        _ => refusal(404, "RESOURCE_UNKNOWN", "there is no such resource"),
    }
}

/// One page of transactions: pending ones on the first, booked ones by their number.
fn page(account: &MockAccount, url: &Url, query: &HashMap<String, String>) -> ResponseTemplate {
    let day = |name| {
        query
            .get(name)
            .and_then(|day| day.parse::<NaiveDate>().ok())
    };
    let number = |name| {
        query
            .get(name)
            .and_then(|number| number.parse::<usize>().ok())
    };
    let (from, to) = (day("dateFrom"), day("dateTo"));
    let wants = |kind| {
        query
            .get("bookingStatus")
            .is_none_or(|wanted| wanted == kind || wanted == "both")
    };
    let within = |entry: &&Transaction| {
        entry
            .booking_date
            .is_none_or(|day| from.is_none_or(|from| from <= day) && to.is_none_or(|to| day <= to))
    };
    let start = number("offset").unwrap_or(0);
    let size = number("pageSize").unwrap_or(PAGE).max(1);
    let account_path = url.path().trim_end_matches("/transactions");
    let mut links = Links::new().with("account", account_path);
    let mut body = serde_json::Map::new();
    if wants("booked") {
        let booked: Vec<_> = account.booked.iter().filter(within).collect();
        let end = start.saturating_add(size).min(booked.len());
        let shown = booked.get(start..end).unwrap_or_default();
        body.insert("booked".to_owned(), json!(shown));
        if end < booked.len() {
            links = links.with("next", next(url, end));
        }
    }
    if wants("pending") {
        let pending = if start == 0 {
            account.pending.as_slice()
        } else {
            &[]
        };
        body.insert("pending".to_owned(), json!(pending));
    }
    body.insert("_links".to_owned(), json!(links));
    json_answer(
        200,
        &json!({ "account": reference(account), "transactions": body }),
    )
}

/// The same question, from there on.
fn next(url: &Url, offset: usize) -> String {
    let mut next = url.clone();
    let others: Vec<_> = url
        .query_pairs()
        .into_owned()
        .filter(|(name, _)| name != "offset")
        .collect();
    next.query_pairs_mut()
        .clear()
        .extend_pairs(others)
        .append_pair("offset", &offset.to_string());
    format!("{}?{}", next.path(), next.query().unwrap_or_default())
}

fn transaction(account: &MockAccount, id: &str) -> ResponseTemplate {
    let mut all = account.booked.iter().chain(&account.pending);
    let known = all.find(|entry| {
        let known = entry.transaction_id.as_ref();
        known.is_some_and(|known| known.as_str() == id)
    });
    match known {
        Some(entry) => json_answer(
            200,
            &json!({ "transactionsDetails": { "transactionDetails": entry } }),
        ),
        None => refusal(404, "RESOURCE_UNKNOWN", "there is no such transaction"),
    }
}

fn reference(account: &MockAccount) -> AccountReference {
    AccountReference {
        iban: account.details.iban.clone(),
        currency: Some(account.details.currency),
        ..AccountReference::default()
    }
}

fn refusal(status: u16, code: &str, text: &str) -> ResponseTemplate {
    let message = json!({ "category": "ERROR", "code": code, "text": text });
    json_answer(status, &json!({ "tppMessages": [message] }))
}

fn json_answer(status: u16, body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}
