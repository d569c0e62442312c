//! OpenAPI document of the core banking API, generated from the wire types.

use shared_types::xs2a::card_account::CardTransaction;
use shared_types::xs2a::transaction::{BookingStatus, Transaction};
use utoipa::OpenApi;

use super::wire;
use crate::bank_service::Ready;
use crate::openapi::{SharedAnswers, to_text};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Core banking API",
        version = "1.0",
        description = "Contract between the bank server, which is the client, and a bank's core banking system. \
                       docs/core-banking-api.md explains it.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        ready,
        customer_accounts,
        accounts,
        balances,
        transactions,
        card_transactions,
        transaction,
        arrival,
    ),
    components(schemas(BookingStatus)),
    modifiers(&SharedAnswers),
)]
struct Document;

/// The document as JSON.
#[must_use]
pub fn core_banking_api() -> String {
    to_text(&Document::openapi())
}

/// Whether the core can answer.
#[utoipa::path(get, path = "/v1/ready", responses((status = 200, description = "The answer", body = Ready)))]
#[expect(dead_code, reason = "carries the description of the operation")]
fn ready() {}

/// The accounts of one customer.
#[utoipa::path(
    post,
    path = "/v1/customer-accounts",
    request_body = wire::CustomerAccountsQuery<'_>,
    responses((status = 200, description = "The answer", body = wire::CustomerAccounts)),
)]
#[expect(dead_code, reason = "carries the description of the operation")]
fn customer_accounts() {}

/// Accounts by their ids.
#[utoipa::path(
    post,
    path = "/v1/accounts",
    request_body = wire::AccountsQuery<'_>,
    responses((status = 200, description = "The answer", body = wire::Accounts)),
)]
#[expect(dead_code, reason = "carries the description of the operation")]
fn accounts() {}

/// Balances of accounts.
#[utoipa::path(
    post,
    path = "/v1/balances",
    request_body = wire::AccountsQuery<'_>,
    responses((status = 200, description = "The answer", body = wire::Balances)),
)]
#[expect(dead_code, reason = "carries the description of the operation")]
fn balances() {}

/// A page of a payment account's entries.
#[utoipa::path(
    post,
    path = "/v1/transactions",
    request_body = wire::EntriesQuery<'_>,
    responses((status = 200, description = "The answer", body = wire::EntryPage<Transaction>)),
)]
#[expect(dead_code, reason = "carries the description of the operation")]
fn transactions() {}

/// A page of a card account's entries.
#[utoipa::path(
    post,
    path = "/v1/card-transactions",
    request_body = wire::EntriesQuery<'_>,
    responses((status = 200, description = "The answer", body = wire::EntryPage<CardTransaction>)),
)]
#[expect(dead_code, reason = "carries the description of the operation")]
fn card_transactions() {}

/// One transaction of a payment account.
#[utoipa::path(
    post,
    path = "/v1/transaction",
    request_body = wire::OneTransactionQuery<'_>,
    responses((status = 200, description = "The answer", body = wire::OneTransaction)),
)]
#[expect(dead_code, reason = "carries the description of the operation")]
fn transaction() {}

/// Arrival of a booked entry, for delta reports. Called only with `deltas = true`.
#[utoipa::path(
    post,
    path = "/v1/arrival",
    request_body = wire::ArrivalQuery<'_>,
    responses((status = 200, description = "The answer", body = wire::ArrivalAnswer)),
)]
#[expect(dead_code, reason = "carries the description of the operation")]
fn arrival() {}
