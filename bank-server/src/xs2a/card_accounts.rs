//! `/v1/card-accounts`.

use actix_web::web::{Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use shared_types::xs2a::card_account::{
    CardAccountBalances, CardAccountDetails, CardAccountList, CardAccountReport,
    CardAccountResponse, CardTransactionsResponse,
};
use shared_types::xs2a::link::Links;
use shared_types::xs2a::message::TppMessages;

use super::consent_access::{ConsentAccess, GrantedAccount};
use super::error::Result;
use super::parameters::Parameters;
use super::report;
use crate::domain::{AccountKind, Resource};

fn card(kind: AccountKind) -> Option<CardAccountDetails> {
    match kind {
        AccountKind::Payment(_) => None,
        AccountKind::Card(details) => Some(*details),
    }
}

fn path_of(id: &str) -> String {
    format!("/v1/card-accounts/{id}")
}

fn present(account: GrantedAccount<'_, CardAccountDetails>) -> CardAccountDetails {
    let links = account.links(&path_of(&account.id.0));
    let grant = account.grant;
    // PSD2 does not give access to the owner's name; it requires a consent that requests it.
    let owner_name = account.details.owner_name.filter(|_| grant.owner_name);
    CardAccountDetails {
        resource_id: grant.details.then_some(account.id.0),
        balances: account.balances,
        links,
        owner_name,
        ..account.details
    }
}

/// Lists the card accounts that the consent opens, with balances where they are asked for and
/// opened.
#[utoipa::path(
    get, path = "/v1/card-accounts", operation_id = "getCardAccountList", tag = "Card accounts",
    params(
        ("X-Request-ID" = String, Header), ("Consent-ID" = String, Header),
        ("PSU-IP-Address" = Option<String>, Header), ("withBalance" = Option<bool>, Query),
    ),
    responses(
        (status = 200, description = "The card accounts", body = CardAccountList),
        (status = 400, description = "FORMAT_ERROR, CONSENT_UNKNOWN", body = TppMessages),
        (status = 401, description = "CONSENT_INVALID, CONSENT_EXPIRED", body = TppMessages),
    )
)]
pub(super) async fn list(
    access: ConsentAccess,
    request: HttpRequest,
) -> Result<Json<CardAccountList>> {
    let with_balance = Parameters::of(&request)?.with_balance()?;
    let accounts = access.accounts(card, with_balance).await?;
    access.count(Resource::CardAccounts, &accounts).await?;
    Ok(Json(CardAccountList {
        card_accounts: accounts.into_iter().map(present).collect(),
    }))
}

/// Reads one card account.
#[utoipa::path(
    get, path = "/v1/card-accounts/{account-id}", operation_id = "readCardAccountDetails", tag = "Card accounts",
    params(
        ("account-id" = String, Path), ("X-Request-ID" = String, Header), ("Consent-ID" = String, Header),
        ("PSU-IP-Address" = Option<String>, Header), ("withBalance" = Option<bool>, Query),
    ),
    responses(
        (status = 200, description = "The card account", body = CardAccountResponse),
        (status = 404, description = "RESOURCE_UNKNOWN", body = TppMessages),
    )
)]
pub(super) async fn details(
    access: ConsentAccess,
    id: Path<String>,
    request: HttpRequest,
) -> Result<Json<CardAccountResponse>> {
    let with_balance = Parameters::of(&request)?.with_balance()?;
    let account = access.account(&id, card, with_balance).await?;
    access
        .count_one(Resource::Account(&account.id), &account)
        .await?;
    Ok(Json(CardAccountResponse {
        card_account: present(account),
    }))
}

/// Reads a card account's balances.
#[utoipa::path(
    get, path = "/v1/card-accounts/{account-id}/balances", operation_id = "getCardAccountBalances", tag = "Card accounts",
    params(
        ("account-id" = String, Path), ("X-Request-ID" = String, Header), ("Consent-ID" = String, Header),
        ("PSU-IP-Address" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "The balances", body = CardAccountBalances),
        (status = 401, description = "CONSENT_INVALID, CONSENT_EXPIRED", body = TppMessages),
        (status = 404, description = "RESOURCE_UNKNOWN", body = TppMessages),
    )
)]
pub(super) async fn balances(
    access: ConsentAccess,
    id: Path<String>,
) -> Result<Json<CardAccountBalances>> {
    let mut account = access.account(&id, card, true).await?;
    account.require_balances()?;
    access
        .count_one(Resource::Balances(&account.id), &account)
        .await?;
    let balances = account.balances.take().unwrap_or_default();
    Ok(Json(CardAccountBalances {
        card_account: Some(account.reference),
        debit_accounting: account.details.debit_accounting,
        balances,
    }))
}

/// Reads a card account's transactions, page by page: pending ones first, then booked ones, the
/// newest first.
#[utoipa::path(
    get, path = "/v1/card-accounts/{account-id}/transactions", operation_id = "getCardAccountTransactionList", tag = "Card accounts",
    params(
        ("account-id" = String, Path), ("X-Request-ID" = String, Header), ("Consent-ID" = String, Header),
        ("PSU-IP-Address" = Option<String>, Header),
        ("dateFrom" = Option<String>, Query, format = Date, description = "First day; required, unless a delta report is asked for"),
        ("dateTo" = Option<String>, Query, format = Date, description = "Last day; today, if absent"),
        ("entryReferenceFrom" = Option<String>, Query, max_length = 35, description = "A delta report: all pending ones, and what was booked after the transaction of this cardTransactionId"),
        ("deltaList" = Option<bool>, Query, description = "A delta report: all pending ones, and what was booked after the last delta report to you; read it to its last page"),
        ("bookingStatus" = shared_types::xs2a::transaction::BookingStatus, Query),
        ("withBalance" = Option<bool>, Query),
        ("pageSize" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Transactions on a page"),
        ("page" = Option<String>, Query, description = "Part of the link next"),
    ),
    responses(
        (status = 200, description = "One page of transactions", body = CardTransactionsResponse),
        (status = 400, description = "FORMAT_ERROR, PARAMETER_NOT_CONSISTENT, PARAMETER_NOT_SUPPORTED, PERIOD_INVALID, RESOURCE_UNKNOWN, CONSENT_UNKNOWN", body = TppMessages),
        (status = 401, description = "CONSENT_INVALID, CONSENT_EXPIRED", body = TppMessages),
        (status = 404, description = "RESOURCE_UNKNOWN", body = TppMessages),
    )
)]
pub(super) async fn transactions(
    access: ConsentAccess,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let list = access.list_request(&request)?;
    let account = access.account(&id, card, list.with_balance).await?;
    account.require_transactions()?;
    let mut listing = access.open_list(list, &account.id).await?;
    let core = &access.state.core;
    let page = core
        .card_transactions_as_json(&account.id, &listing.query)
        .await?;
    let path = path_of(&account.id.0);
    let path_of_list = format!("{path}/transactions");
    let links = Links::new().with("cardAccount", path);
    let links = access
        .finish_page(links, &path_of_list, &account, &mut listing, &page)
        .await?;
    let status = listing.query.status;
    let empty = CardTransactionsResponse {
        card_account: Some(account.reference),
        debit_accounting: account.details.debit_accounting,
        card_transactions: Some(CardAccountReport {
            booked: status.wants_booked().then(Vec::new),
            pending: status.wants_pending().then(Vec::new),
            links,
        }),
        balances: account.balances,
        links: None,
    };
    report::respond(&empty, &page, None)
}
