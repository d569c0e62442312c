//! A core banking system over HTTP: the client side of `docs/core-banking-api.md`.

mod check;
mod client;
mod openapi;
mod validate;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use chrono::NaiveDate;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use shared_types::environment::{Clock, Randomness};
use shared_types::xs2a::account::Balance;
use shared_types::xs2a::card_account::CardTransaction;
use shared_types::xs2a::transaction::Transaction;

pub use self::check::{CheckOutcome, check};
use self::client::{CoreClient, CoreError, Operation, Setup};
pub use self::openapi::core_banking_api;
use self::validate::Breach;
use self::wire::EntryDetails;
use super::{Arrived, CoreBanking, Page, Result, TransactionQuery, search};
use crate::config::CoreBankingConfig;
use crate::config_error::ConfigError;
use crate::domain::{Account, AccountId, Arrival, PsuId};
use crate::transport::pem_files::{KeySource, Source};
use crate::transport::service_tls::ServiceTls;

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

const CUSTOMER_ACCOUNTS: Operation = Operation::many("customer-accounts");
const ACCOUNTS: Operation = Operation::many("accounts");
const BALANCES: Operation = Operation::many("balances");
const TRANSACTIONS: Operation = Operation::many("transactions");
const CARD_TRANSACTIONS: Operation = Operation::many("card-transactions");
const TRANSACTION: Operation = Operation::one("transaction");
const ARRIVAL: Operation = Operation::one("arrival");

/// A core over HTTP.
pub struct HttpCore {
    client: Arc<CoreClient>,
    /// `None` over plain HTTP to a loopback address.
    tls: Option<Mutex<ServiceTls>>,
    /// Reason for which changed certificates were rejected.
    rejected: ArcSwap<Vec<ConfigError>>,
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
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let own = config.certificate.as_ref().zip(config.private_key.as_ref());
        let tls = own.map(|(certificate, private_key)| {
            ServiceTls::open(
                Source::new("core_banking.certificate", certificate),
                KeySource::new("core_banking.private_key", private_key.clone()),
                Source::each("core_banking.anchors", &config.anchors),
                Arc::clone(&clock),
            )
        });
        let tls = tls.transpose()?;
        let setup = Setup {
            url: config.url.clone(),
            response_timeout: config.response_timeout(),
            max_concurrent_requests: config.max_concurrent_requests,
            clock,
            randomness,
        };
        let client = CoreClient::new(setup, tls.as_ref())
            .map_err(|problem| vec![ConfigError::new("core_banking.url", problem)])?;
        Ok(Self {
            client: Arc::new(client),
            tls: tls.map(Mutex::new),
            rejected: ArcSwap::default(),
            deltas: config.deltas,
            text_search: config.text_search,
        })
    }

    /// Reads certificate, key and anchors again if their files have changed, and opens new
    /// connections when a certificate of the core has expired. After an error, the previous ones
    /// stay in use. It reads files: not for a thread that serves requests.
    pub(crate) fn reload(&self) {
        let Some(tls) = &self.tls else {
            return;
        };
        // Nothing panics while the lock is held; if it did, the content would still be whole.
        let mut tls = tls.lock().unwrap_or_else(PoisonError::into_inner);
        let reloaded = tls.reload();
        if let Some(Err(faults)) = reloaded {
            if **self.rejected.load() != faults {
                for problem in &faults {
                    tracing::warn!(%problem, "certificates of the core banking system rejected");
                }
            }
            self.rejected.store(Arc::new(faults));
            return;
        }
        let is_reloaded = reloaded.is_some();
        if !is_reloaded && tls.still_stands() {
            return;
        }
        match self.client.replace_tls(&tls) {
            Ok(()) if is_reloaded => {
                self.rejected.store(Arc::default());
                tracing::info!("certificates of the core banking system reloaded");
            }
            Ok(()) => tracing::warn!("certificate of the core banking system has expired"),
            Err(problem) => tracing::warn!(%problem, "no new connections to the core"),
        }
    }

    /// Errors of changed certificates, while the previous ones stay in use, and of a key on a token.
    pub(crate) fn problems(&self) -> Vec<ConfigError> {
        let rejected = self.rejected.load();
        let tls = self.tls.iter().map(|tls| tls.lock());
        let keys = tls.filter_map(|tls| tls.unwrap_or_else(PoisonError::into_inner).key_problem());
        rejected.iter().cloned().chain(keys).collect()
    }

    /// Registers the metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.client.register(registry);
    }

    /// Whether a caller without a client certificate receives an answer; `None` over plain HTTP.
    async fn accepts_strangers(&self) -> Option<bool> {
        let tls = {
            let tls = self.tls.as_ref()?.lock();
            tls.unwrap_or_else(PoisonError::into_inner).anonymous()
        };
        Some(self.client.accepts(tls).await)
    }

    /// Breaches in the answer to a query with a property that this version does not have.
    async fn unknown_properties(&self) -> Vec<String> {
        let query = serde_json::json!({"accountIds": [], "of a later version": {"a": [1]}});
        let answer: Result<wire::Accounts, _> = self.client.query(ACCOUNTS, &query).await;
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
        let answer = self.client.query(operation, &entries).await?;
        let page = validate::page(answer, account, &query, text.is_some());
        self.conform(operation, page)
    }

    fn conform<T>(&self, operation: Operation, validated: Result<T, Breach>) -> Result<T> {
        validated.map_err(|breach| {
            self.client.count_breach(operation.name);
            let operation = operation.name;
            CoreError::Breach { operation, breach }.into()
        })
    }
}

#[async_trait]
impl CoreBanking for HttpCore {
    async fn ready(&self) -> Result<()> {
        let operation = "ready";
        let answer = self.client.get(operation).await?;
        validate::ready(&answer).map_err(|breach| CoreError::Breach { operation, breach }.into())
    }

    async fn accounts_of(&self, psu: &PsuId) -> Result<Vec<Account>> {
        let PsuId(customer_id) = psu;
        let query = wire::CustomerAccountsQuery { customer_id };
        let answer: wire::CustomerAccounts = self.client.query(CUSTOMER_ACCOUNTS, &query).await?;
        let subject = validate::subject("customerId", &answer.customer_id, customer_id);
        self.conform(
            CUSTOMER_ACCOUNTS,
            subject.and_then(|()| validate::accounts(answer.accounts)),
        )
    }

    async fn accounts(&self, ids: &[AccountId]) -> Result<Vec<Account>> {
        let mut accounts = Vec::with_capacity(ids.len());
        for account_ids in ids.chunks(MAX_IDS) {
            let query = wire::AccountsQuery { account_ids };
            let answer: wire::Accounts = self.client.query(ACCOUNTS, &query).await?;
            let validated = validate::accounts_of_ids(answer.accounts, account_ids);
            accounts.extend(self.conform(ACCOUNTS, validated)?);
        }
        Ok(accounts)
    }

    async fn balances(&self, ids: &[AccountId]) -> Result<Vec<Vec<Balance>>> {
        let mut balances = Vec::with_capacity(ids.len());
        for account_ids in ids.chunks(MAX_IDS) {
            let query = wire::AccountsQuery { account_ids };
            let answer: wire::Balances = self.client.query(BALANCES, &query).await?;
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
        let answer: wire::OneTransaction = self.client.query(TRANSACTION, &query).await?;
        let id = answer.details.as_ref().map(|details| details.id());
        let validated = validate::subject("accountId", &answer.account_id, account).and(match id {
            Some(id) => validate::subject("transactionId", &id, &Some(transaction_id)),
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
        let answer: wire::ArrivalAnswer = self.client.query(ARRIVAL, &query).await?;
        let subject = validate::subject("accountId", &answer.account_id, account);
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
