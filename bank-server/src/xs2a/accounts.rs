//! `/v1/accounts`.

use actix_web::web::{Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use shared_types::xs2a::account::{AccountBalances, AccountDetails, AccountList, AccountResponse};
use shared_types::xs2a::link::Links;
use shared_types::xs2a::message::TppMessages;
use shared_types::xs2a::transaction::{
    AccountReport, TransactionDetails, TransactionResponse, TransactionsResponse,
};

use super::consent_access::{ConsentAccess, GrantedAccount};
use super::error::{ApiError, Result};
use super::parameters::Parameters;
use super::report;
use crate::domain::{AccountKind, Resource};

fn payment(kind: AccountKind) -> Option<AccountDetails> {
    match kind {
        AccountKind::Payment(details) => Some(*details),
        AccountKind::Card(_) => None,
    }
}

fn path_of(id: &str) -> String {
    format!("/v1/accounts/{id}")
}

fn present(account: GrantedAccount<'_, AccountDetails>) -> AccountDetails {
    let links = account.links(&path_of(&account.id.0));
    let grant = account.grant;
    // PSD2 does not give access to the names of the owner and the customer; they require a consent
    // that requests them.
    let owner_name = account.details.owner_name.filter(|_| grant.owner_name);
    let owner_names = account.details.owner_names.filter(|_| grant.owner_name);
    let psu_name = account.details.psu_name.filter(|_| grant.owner_name);
    AccountDetails {
        resource_id: grant.details.then_some(account.id.0),
        balances: account.balances,
        links,
        owner_name,
        owner_names,
        psu_name,
        ..account.details
    }
}

/// Lists the accounts that the consent opens, with balances where they are asked for and opened.
#[utoipa::path(
    get, path = "/v1/accounts", operation_id = "getAccountList", tag = "Accounts",
    params(
        ("X-Request-ID" = String, Header), ("Consent-ID" = String, Header),
        ("PSU-IP-Address" = Option<String>, Header, description = "There if the customer is present"),
        ("withBalance" = Option<bool>, Query),
    ),
    responses(
        (status = 200, description = "The accounts", body = AccountList),
        (status = 400, description = "FORMAT_ERROR, CONSENT_UNKNOWN", body = TppMessages),
        (status = 401, description = "CONSENT_INVALID, CONSENT_EXPIRED", body = TppMessages),
    )
)]
pub(super) async fn list(access: ConsentAccess, request: HttpRequest) -> Result<Json<AccountList>> {
    let with_balance = Parameters::of(&request)?.with_balance()?;
    let accounts = access.accounts(payment, with_balance).await?;
    access.count(Resource::Accounts, &accounts).await?;
    Ok(Json(AccountList {
        accounts: accounts.into_iter().map(present).collect(),
    }))
}

/// Reads one account.
#[utoipa::path(
    get, path = "/v1/accounts/{account-id}", operation_id = "readAccountDetails", tag = "Accounts",
    params(
        ("account-id" = String, Path), ("X-Request-ID" = String, Header), ("Consent-ID" = String, Header),
        ("PSU-IP-Address" = Option<String>, Header), ("withBalance" = Option<bool>, Query),
    ),
    responses(
        (status = 200, description = "The account", body = AccountResponse),
        (status = 404, description = "RESOURCE_UNKNOWN", body = TppMessages),
    )
)]
pub(super) async fn details(
    access: ConsentAccess,
    id: Path<String>,
    request: HttpRequest,
) -> Result<Json<AccountResponse>> {
    let with_balance = Parameters::of(&request)?.with_balance()?;
    let account = access.account(&id, payment, with_balance).await?;
    access
        .count_one(Resource::Account(&account.id), &account)
        .await?;
    Ok(Json(AccountResponse {
        account: present(account),
    }))
}

/// Reads an account's balances.
#[utoipa::path(
    get, path = "/v1/accounts/{account-id}/balances", operation_id = "getBalances", tag = "Accounts",
    params(
        ("account-id" = String, Path), ("X-Request-ID" = String, Header), ("Consent-ID" = String, Header),
        ("PSU-IP-Address" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "The balances", body = AccountBalances),
        (status = 401, description = "CONSENT_INVALID, CONSENT_EXPIRED", body = TppMessages),
        (status = 404, description = "RESOURCE_UNKNOWN", body = TppMessages),
    )
)]
pub(super) async fn balances(
    access: ConsentAccess,
    id: Path<String>,
) -> Result<Json<AccountBalances>> {
    let mut account = access.account(&id, payment, true).await?;
    account.require_balances()?;
    access
        .count_one(Resource::Balances(&account.id), &account)
        .await?;
    let balances = account.balances.take().unwrap_or_default();
    Ok(Json(AccountBalances {
        account: Some(account.reference),
        balances,
    }))
}

/// Reads an account's transactions, page by page: pending ones first, then booked ones, the newest
/// first.
#[utoipa::path(
    get, path = "/v1/accounts/{account-id}/transactions", operation_id = "getTransactionList", tag = "Accounts",
    params(
        ("account-id" = String, Path), ("X-Request-ID" = String, Header), ("Consent-ID" = String, Header),
        ("PSU-IP-Address" = Option<String>, Header),
        ("dateFrom" = Option<String>, Query, format = Date, description = "First day; required, unless a delta report is asked for"),
        ("dateTo" = Option<String>, Query, format = Date, description = "Last day; today, if absent"),
        ("entryReferenceFrom" = Option<String>, Query, max_length = 35, description = "A delta report: all pending ones, and what was booked after the entry of this reference"),
        ("deltaList" = Option<bool>, Query, description = "A delta report: all pending ones, and what was booked after the last delta report to you; read it to its last page"),
        ("bookingStatus" = shared_types::xs2a::transaction::BookingStatus, Query),
        ("withBalance" = Option<bool>, Query),
        ("pageSize" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Transactions on a page"),
        ("page" = Option<String>, Query, description = "Part of the link next"),
    ),
    responses(
        (status = 200, description = "One page of transactions", body = TransactionsResponse),
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
    let account = access.account(&id, payment, list.with_balance).await?;
    account.require_transactions()?;
    let mut listing = access.open_list(list, &account.id).await?;
    let core = &access.state.core;
    let page = core
        .transactions_as_json(&account.id, &listing.query)
        .await?;
    let path = path_of(&account.id.0);
    let path_of_list = format!("{path}/transactions");
    let links = Links::new().with("account", path);
    let links = access
        .finish_page(links, &path_of_list, &account, &mut listing, &page)
        .await?;
    let status = listing.query.status;
    let empty = TransactionsResponse {
        account: Some(account.reference),
        transactions: Some(AccountReport {
            booked: status.wants_booked().then(Vec::new),
            pending: status.wants_pending().then(Vec::new),
            information: None,
            links,
        }),
        balances: account.balances,
        links: None,
    };
    report::respond(&empty, &page, Some(&path_of_list))
}

/// Reads one transaction.
#[utoipa::path(
    get, path = "/v1/accounts/{account-id}/transactions/{transactionId}", operation_id = "getTransactionDetails", tag = "Accounts",
    params(
        ("account-id" = String, Path), ("transactionId" = String, Path),
        ("X-Request-ID" = String, Header), ("Consent-ID" = String, Header),
        ("PSU-IP-Address" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "The transaction", body = TransactionResponse),
        (status = 401, description = "CONSENT_INVALID, CONSENT_EXPIRED", body = TppMessages),
        (status = 404, description = "RESOURCE_UNKNOWN", body = TppMessages),
    )
)]
pub(super) async fn transaction(
    access: ConsentAccess,
    path: Path<(String, String)>,
) -> Result<Json<TransactionResponse>> {
    let (account_id, transaction_id) = path.into_inner();
    let account = access.account(&account_id, payment, false).await?;
    account.require_transactions()?;
    let transaction_details = access
        .state
        .core
        .transaction(&account.id, &transaction_id)
        .await?
        // One that is too old to be shown now is answered like one that never was.
        .filter(|transaction| {
            transaction
                .booking_date
                .is_none_or(|date| date >= access.first_day())
        })
        .ok_or_else(|| {
            ApiError::no_such_resource("there is no such transaction in this account")
        })?;
    access
        .count_one(
            Resource::Transaction(&account.id, &transaction_id),
            &account,
        )
        .await?;
    Ok(Json(TransactionResponse {
        transactions_details: TransactionDetails {
            transaction_details,
        },
    }))
}
