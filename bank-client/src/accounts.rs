//! Reading accounts under a consent.

use std::net::IpAddr;

use futures::stream::BoxStream;
use reqwest::Url;
use serde::de::DeserializeOwned;
use shared_types::account::{AccountBalances, AccountDetails, AccountList, AccountResponse};
use shared_types::card_account::{
    CardAccountBalances, CardAccountDetails, CardAccountList, CardAccountResponse, CardTransaction,
    CardTransactionsResponse,
};
use shared_types::transaction::{Transaction, TransactionResponse, TransactionsResponse};

use crate::bank::Bank;
use crate::error::Error;
use crate::exchange::UnderConsent;
use crate::pages::{Entry, TransactionFilter, entries};
#[cfg(feature = "sqlite")]
use crate::pages::{PageOf, pages};

/// What a consent opens at a bank. [`Bank::with_consent`] makes one.
#[derive(Debug, Clone)]
pub struct AccountInformation(UnderConsent);

impl Bank {
    /// Reads accounts under that consent.
    #[must_use]
    pub fn with_consent(&self, consent_id: impl Into<String>) -> AccountInformation {
        AccountInformation(UnderConsent {
            bank: self.clone(),
            consent_id: consent_id.into(),
            psu: None,
        })
    }
}

impl AccountInformation {
    /// The customer is present, and that is the address of her device. Reads without her are limited by the consent's
    /// frequency per day.
    #[must_use]
    pub fn attended_by(mut self, psu: IpAddr) -> Self {
        self.0.psu = Some(psu);
        self
    }

    /// The bank.
    #[must_use]
    pub fn bank(&self) -> &Bank {
        &self.0.bank
    }

    /// The payment accounts (`GET /v1/accounts`), with balances where the consent opens them.
    pub async fn accounts(&self, with_balance: bool) -> Result<Vec<AccountDetails>, Error> {
        let url = with_balances(self.bank().url(&["v1", "accounts"]), with_balance);
        self.get(url)
            .await
            .map(|answer: AccountList| answer.accounts)
    }

    /// One payment account (`GET /v1/accounts/{account-id}`).
    pub async fn account(&self, id: &str, with_balance: bool) -> Result<AccountDetails, Error> {
        let url = with_balances(self.bank().url(&["v1", "accounts", id]), with_balance);
        self.get(url)
            .await
            .map(|answer: AccountResponse| answer.account)
    }

    /// The balances of a payment account (`GET /v1/accounts/{account-id}/balances`).
    pub async fn balances(&self, id: &str) -> Result<AccountBalances, Error> {
        self.get(self.bank().url(&["v1", "accounts", id, "balances"]))
            .await
    }

    /// The first page of a payment account's transactions (`GET /v1/accounts/{account-id}/transactions`).
    pub async fn transactions_page(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> Result<TransactionsResponse, Error> {
        self.get(filter.apply(self.bank().url(&["v1", "accounts", id, "transactions"])))
            .await
    }

    /// All transactions of a payment account, page by page as they are asked for: pending ones first, then booked ones,
    /// in the bank's order.
    #[must_use]
    pub fn transactions(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> BoxStream<'static, Result<Entry<Transaction>, Error>> {
        let url = filter.apply(self.bank().url(&["v1", "accounts", id, "transactions"]));
        entries::<TransactionsResponse>(self.0.clone(), url)
    }

    /// One transaction (`GET /v1/accounts/{account-id}/transactions/{transactionId}`).
    pub async fn transaction(&self, id: &str, transaction_id: &str) -> Result<Transaction, Error> {
        let url = self
            .bank()
            .url(&["v1", "accounts", id, "transactions", transaction_id]);
        self.get(url)
            .await
            .map(|answer: TransactionResponse| answer.transactions_details.transaction_details)
    }

    /// The card accounts (`GET /v1/card-accounts`), with balances where the consent opens them.
    pub async fn card_accounts(
        &self,
        with_balance: bool,
    ) -> Result<Vec<CardAccountDetails>, Error> {
        let url = with_balances(self.bank().url(&["v1", "card-accounts"]), with_balance);
        self.get(url)
            .await
            .map(|answer: CardAccountList| answer.card_accounts)
    }

    /// One card account (`GET /v1/card-accounts/{account-id}`).
    pub async fn card_account(
        &self,
        id: &str,
        with_balance: bool,
    ) -> Result<CardAccountDetails, Error> {
        let url = with_balances(self.bank().url(&["v1", "card-accounts", id]), with_balance);
        self.get(url)
            .await
            .map(|answer: CardAccountResponse| answer.card_account)
    }

    /// The balances of a card account (`GET /v1/card-accounts/{account-id}/balances`).
    pub async fn card_balances(&self, id: &str) -> Result<CardAccountBalances, Error> {
        self.get(self.bank().url(&["v1", "card-accounts", id, "balances"]))
            .await
    }

    /// The first page of a card account's transactions (`GET /v1/card-accounts/{account-id}/transactions`).
    pub async fn card_transactions_page(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> Result<CardTransactionsResponse, Error> {
        self.get(
            filter.apply(
                self.bank()
                    .url(&["v1", "card-accounts", id, "transactions"]),
            ),
        )
        .await
    }

    /// All transactions of a card account, like [`AccountInformation::transactions`].
    #[must_use]
    pub fn card_transactions(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> BoxStream<'static, Result<Entry<CardTransaction>, Error>> {
        let url = filter.apply(
            self.bank()
                .url(&["v1", "card-accounts", id, "transactions"]),
        );
        entries::<CardTransactionsResponse>(self.0.clone(), url)
    }

    /// The same, with the bank's pages left whole.
    #[cfg(feature = "sqlite")]
    pub(crate) fn transaction_pages(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> BoxStream<'static, Result<PageOf<Transaction>, Error>> {
        let url = self.bank().url(&["v1", "accounts", id, "transactions"]);
        pages::<TransactionsResponse>(self.0.clone(), filter.apply(url))
    }

    /// The same, with the bank's pages left whole.
    #[cfg(feature = "sqlite")]
    pub(crate) fn card_transaction_pages(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> BoxStream<'static, Result<PageOf<CardTransaction>, Error>> {
        let segments = ["v1", "card-accounts", id, "transactions"];
        pages::<CardTransactionsResponse>(self.0.clone(), filter.apply(self.bank().url(&segments)))
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        self.0.get(url).await
    }
}

fn with_balances(mut url: Url, wanted: bool) -> Url {
    if wanted {
        url.query_pairs_mut().append_pair("withBalance", "true");
    }
    url
}
