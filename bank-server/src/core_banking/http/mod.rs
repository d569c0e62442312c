//! A core banking system over HTTP: the client side of `docs/core-banking-api.md`.

mod check;
mod openapi;
mod validate;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::NaiveDate;
use serde::de::{DeserializeOwned, IgnoredAny};
use shared_types::environment::{Clock, Randomness};
use shared_types::xs2a::account::Balance;
use shared_types::xs2a::card_account::CardTransaction;
use shared_types::xs2a::transaction::Transaction;

pub use self::check::{CheckOutcome, check};
pub use self::openapi::core_banking_api;
use self::wire::EntryDetails;
use super::{Arrived, CoreBanking, CoreBankingError, Page, Result, TransactionQuery, search};
use crate::bank_service::{
    BankService, Breach, Operation, ServiceError, ServiceKind, matches_query,
};
use crate::config::CoreBankingConfig;
use crate::config_error::ConfigError;
use crate::domain::{Account, AccountId, AccountKind, Arrival, PsuId};

/// Maximum number of ids in one query. More are split over several queries.
const MAX_IDS: usize = 1000;

/// First and last days that a query names: a day has a year of four digits.
const FIRST_DAY: NaiveDate = day(1, 1, 1);
const LAST_DAY: NaiveDate = day(9999, 12, 31);

const fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(day) => day,
        None => NaiveDate::MIN,
    }
}

/// Maximum `limit` of a query.
const MAX_ENTRIES: usize = 1000;

const CUSTOMER_ACCOUNTS: Operation = Operation::list("customer-accounts");
const ACCOUNTS: Operation = Operation::list("accounts");
const BALANCES: Operation = Operation::list("balances");
const TRANSACTIONS: Operation = Operation::list("transactions");
const CARD_TRANSACTIONS: Operation = Operation::list("card-transactions");
const TRANSACTION: Operation = Operation::object("transaction");
const ARRIVAL: Operation = Operation::object("arrival");

const KIND: ServiceKind = ServiceKind {
    name: "core banking system",
    metric: "core_banking_queries",
    help: "Queries to the core banking system, by operation and outcome",
    not_repeated: &[],
};

/// A core over HTTP.
pub struct HttpCore {
    service: Arc<BankService>,
    deltas: bool,
    text_search: bool,
}

impl HttpCore {
    /// Reads certificate, key and anchors; no connection is opened. Returns all errors.
    pub fn open(
        config: &CoreBankingConfig,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
    ) -> Result<Self, Vec<ConfigError>> {
        let service = BankService::open(&KIND, &config.service(), clock, randomness)?;
        Ok(Self {
            service: Arc::new(service),
            deltas: config.deltas,
            text_search: config.text_search,
        })
    }

    /// The service behind it.
    pub(crate) fn service(&self) -> Arc<BankService> {
        Arc::clone(&self.service)
    }

    /// Breaches in the answer to a query with a property that this version does not have.
    async fn unknown_properties(&self) -> Vec<String> {
        let query = serde_json::json!({"accountIds": [], "of a later version": {"a": [1]}});
        let answer: Result<wire::Accounts, _> = self.service.query(ACCOUNTS, &query).await;
        answer.err().iter().map(ToString::to_string).collect()
    }

    async fn page<D>(
        &self,
        operation: Operation,
        account: &AccountId,
        query: &TransactionQuery,
        text: Option<&str>,
    ) -> Result<Page<D>>
    where
        D: EntryDetails + DeserializeOwned + Send + 'static,
    {
        let query = TransactionQuery {
            from: query.from.max(FIRST_DAY),
            to: query.to.min(LAST_DAY),
            limit: query.limit.min(MAX_ENTRIES),
            ..query.clone()
        };
        let answer = self.entries(operation, account, &query, text).await?;
        let page = validate::page(answer, account, &query, text.is_some());
        self.conform(operation, page)
    }

    /// The places of a page's entries, for the contract check. Nothing is validated.
    async fn places(
        &self,
        account: &Account,
        query: &TransactionQuery,
    ) -> Result<wire::EntryPage<IgnoredAny>> {
        let operation = match account.kind {
            AccountKind::Payment(_) => TRANSACTIONS,
            AccountKind::Card(_) => CARD_TRANSACTIONS,
        };
        self.entries(operation, &account.id, query, None).await
    }

    async fn entries<D: DeserializeOwned + Send + 'static>(
        &self,
        operation: Operation,
        account: &AccountId,
        query: &TransactionQuery,
        text: Option<&str>,
    ) -> Result<wire::EntryPage<D>> {
        let entries = wire::EntriesQuery {
            account_id: account,
            date_from: query.from,
            date_to: query.to,
            booking_status: query.status,
            limit: query.limit,
            after: query.after,
            arrived_after: query.since.map(|Arrival(place)| place),
            text,
        };
        Ok(self.service.query(operation, &entries).await?)
    }

    fn conform<T>(&self, operation: Operation, validated: Result<T, Breach>) -> Result<T> {
        Ok(self.service.conform(operation, validated)?)
    }
}

#[async_trait]
impl CoreBanking for HttpCore {
    async fn ready(&self) -> Result<()> {
        Ok(self.service.ready().await?)
    }

    async fn accounts_of(&self, psu: &PsuId) -> Result<Vec<Account>> {
        let PsuId(customer_id) = psu;
        let query = wire::CustomerAccountsQuery { customer_id };
        let answer: wire::CustomerAccounts = self.service.query(CUSTOMER_ACCOUNTS, &query).await?;
        let subject = matches_query("customerId", &answer.customer_id, customer_id);
        self.conform(
            CUSTOMER_ACCOUNTS,
            subject.and_then(|()| validate::accounts(answer.accounts)),
        )
    }

    async fn accounts(&self, ids: &[AccountId]) -> Result<Vec<Account>> {
        let mut accounts = Vec::with_capacity(ids.len());
        for account_ids in ids.chunks(MAX_IDS) {
            let query = wire::AccountsQuery { account_ids };
            let answer: wire::Accounts = self.service.query(ACCOUNTS, &query).await?;
            let validated = validate::accounts_of_ids(answer.accounts, account_ids);
            accounts.extend(self.conform(ACCOUNTS, validated)?);
        }
        Ok(accounts)
    }

    async fn balances(&self, ids: &[AccountId]) -> Result<Vec<Vec<Balance>>> {
        let mut balances = Vec::with_capacity(ids.len());
        for account_ids in ids.chunks(MAX_IDS) {
            let query = wire::AccountsQuery { account_ids };
            let answer: wire::Balances = self.service.query(BALANCES, &query).await?;
            let validated = validate::balances(answer.balances, account_ids);
            let validated = self.conform(BALANCES, validated)?.into_iter();
            balances.extend(validated.map(|account| account.balances));
        }
        Ok(balances)
    }

    async fn transactions(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
    ) -> Result<Page<Transaction>> {
        self.page(TRANSACTIONS, account, query, None).await
    }

    async fn transaction(
        &self,
        account: &AccountId,
        transaction_id: &str,
    ) -> Result<Option<Transaction>> {
        let query = wire::OneTransactionQuery {
            account_id: account,
            transaction_id,
        };
        let answer: wire::OneTransaction = self.service.query(TRANSACTION, &query).await?;
        let id = answer.details.as_ref().map(|details| details.id());
        let validated = matches_query("accountId", &answer.account_id, account).and(match id {
            Some(id) => matches_query("transactionId", &id, &Some(transaction_id)),
            None => Ok(()),
        });
        self.conform(TRANSACTION, validated)?;
        // Links of a transaction lead to resources of the bank server.
        Ok(answer.details.map(|details| Transaction {
            links: None,
            ..details
        }))
    }

    async fn card_transactions(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
    ) -> Result<Page<CardTransaction>> {
        self.page(CARD_TRANSACTIONS, account, query, None).await
    }

    fn has_deltas(&self) -> bool {
        self.deltas
    }

    async fn arrival_of(&self, account: &AccountId, reference: &str) -> Result<Option<Arrived>> {
        let query = wire::ArrivalQuery {
            account_id: account,
            reference,
        };
        let answer: wire::ArrivalAnswer = self.service.query(ARRIVAL, &query).await?;
        let subject = matches_query("accountId", &answer.account_id, account);
        self.conform(ARRIVAL, subject)?;
        Ok(answer.arrival.map(|arrival| Arrived {
            place: Arrival(arrival.sequence),
            date: arrival.date,
        }))
    }

    async fn find_transactions(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
        text: &str,
    ) -> Result<Page<Transaction>> {
        if self.text_search {
            return self.page(TRANSACTIONS, account, query, Some(text)).await;
        }
        search::transactions(self, account, query, text).await
    }

    async fn find_card_transactions(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
        text: &str,
    ) -> Result<Page<CardTransaction>> {
        if self.text_search {
            let operation = CARD_TRANSACTIONS;
            return self.page(operation, account, query, Some(text)).await;
        }
        search::card_transactions(self, account, query, text).await
    }
}

impl From<ServiceError> for CoreBankingError {
    fn from(error: ServiceError) -> Self {
        if error.is_transient() {
            Self::Unavailable(Box::new(error))
        } else {
            Self::Failed(Box::new(error))
        }
    }
}
