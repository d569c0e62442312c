//! Account information calls under a consent: accounts, balances, transactions.

use std::net::IpAddr;
use std::sync::Arc;

#[cfg(feature = "sqlite")]
use futures::stream::BoxStream;
use reqwest::{StatusCode, Url};
use shared_types::xs2a::account::{AccountBalances, AccountDetails, AccountList, AccountResponse};
use shared_types::xs2a::card_account::{
    CardAccountBalances, CardAccountDetails, CardAccountList, CardAccountResponse, CardTransaction,
    CardTransactionsResponse,
};
use shared_types::xs2a::money::Currency;
use shared_types::xs2a::transaction::{
    BookingStatus, Transaction, TransactionResponse, TransactionsResponse,
};

use crate::bank::Bank;
use crate::decode::ValidateResponse;
use crate::error::Error;
use crate::execute::ConsentScope;
#[cfg(feature = "sqlite")]
use crate::pages::EntryPage;
use crate::pages::{Entry, PageCursor, StandingOrders, TransactionFilter, entries};
use crate::response::{Entries, Response};
use crate::validate::AccountFacts;

/// Client for the accounts of one consent, from [`Bank::with_consent`].
///
/// Responses contain their [deviations](crate::Deviations) from the standard. This and its clones
/// cache the currency of each account of the last list: a balance or a transaction in another
/// currency is a deviation. Accounts in `XXX` may have any.
#[derive(Debug, Clone)]
pub struct AccountInformation {
    scope: ConsentScope,
    facts: Arc<AccountFacts>,
}

impl Bank {
    /// Reads accounts under that consent.
    #[must_use]
    pub fn with_consent(&self, consent_id: impl Into<String>) -> AccountInformation {
        let scope = ConsentScope {
            bank: self.clone(),
            consent_id: consent_id.into(),
            psu: None,
        };
        AccountInformation {
            scope,
            facts: Arc::default(),
        }
    }
}

impl AccountInformation {
    /// Sets the IP address of the customer's device (`PSU-IP-Address`): the customer is present.
    /// Reads without the customer are limited by the consent's frequency per day.
    #[must_use]
    pub fn psu_ip_address(mut self, psu: IpAddr) -> Self {
        self.scope.psu = Some(psu);
        self
    }

    /// The bank.
    #[must_use]
    pub fn bank(&self) -> &Bank {
        &self.scope.bank
    }

    /// The id of the consent: that of its `resourceId`s.
    #[cfg(feature = "sqlite")]
    pub(crate) fn consent_id(&self) -> &str {
        &self.scope.consent_id
    }

    async fn get<T: ValidateResponse>(
        &self,
        url: Url,
        currency: Option<Currency>,
    ) -> Result<Response<T>, Error> {
        let answer = self.scope.execute(url).await?;
        self.bank().decode(&answer, currency)
    }

    /// Gets a list. `204 No Content` is an empty one.
    async fn list<T: ValidateResponse + Default>(
        &self,
        url: Url,
        currency: Option<Currency>,
    ) -> Result<Response<T>, Error> {
        let answer = self.scope.execute(url).await?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(Response::default());
        }
        self.bank().decode(&answer, currency)
    }

    fn url(&self, segments: &[&str], with_balance: bool) -> Url {
        let mut url = self.bank().url(segments);
        if with_balance {
            url.query_pairs_mut().append_pair("withBalance", "true");
        }
        url
    }

    fn transactions_url(&self, kind: &str, id: &str, filter: &TransactionFilter) -> Url {
        filter.apply(self.bank().url(&["v1", kind, id, "transactions"]))
    }

    /// The payment accounts (`GET /v1/accounts`), with balances where the consent opens them. If
    /// the bank refuses a request with balances, perhaps because of them, it is repeated without.
    /// Here and in the other lists, 204 is an empty list.
    pub async fn accounts(
        &self,
        with_balance: bool,
    ) -> Result<Response<Vec<AccountDetails>>, Error> {
        let url = self.url(&["v1", "accounts"], with_balance);
        let accounts: Response<AccountList> = self.list(url, None).await?;
        let accounts = accounts.map(|list| list.accounts);
        self.facts.learn(&accounts);
        Ok(accounts)
    }

    /// One payment account (`GET /v1/accounts/{account-id}`).
    pub async fn account(
        &self,
        id: &str,
        with_balance: bool,
    ) -> Result<Response<AccountDetails>, Error> {
        let url = self.url(&["v1", "accounts", id], with_balance);
        let answer: Response<AccountResponse> = self.get(url, self.facts.currency(id)).await?;
        Ok(answer.map(|answer| answer.account))
    }

    /// The balances of a payment account (`GET /v1/accounts/{account-id}/balances`).
    pub async fn balances(&self, id: &str) -> Result<Response<AccountBalances>, Error> {
        let url = self.url(&["v1", "accounts", id, "balances"], false);
        self.list(url, self.facts.currency(id)).await
    }

    /// The first page of a payment account's transactions (`GET
    /// /v1/accounts/{account-id}/transactions`).
    pub async fn transactions_page(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> Result<Response<TransactionsResponse>, Error> {
        let url = self.transactions_url("accounts", id, filter);
        self.list(url, self.facts.currency(id)).await
    }

    /// All transactions of a payment account, in the bank's order; on each page, pending ones come
    /// before booked ones. Pages are read as the stream is polled. It is empty if the bank responds
    /// with 204 or, except to a delta report, with 404 `RESOURCE_UNKNOWN` for an account of the
    /// last list read here.
    pub fn transactions(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> Entries<Result<Entry<Transaction>, Error>> {
        entries(self.cursor(id, filter), filter.is_of_days())
    }

    /// The standing orders of a payment account (`bookingStatus=information`): of each the next
    /// payment, and when it is due in `additionalInformationStructured`. A bank may leave them out,
    /// and refuses then.
    pub fn standing_orders(&self, id: &str) -> Entries<Result<Transaction, Error>> {
        let mut url = self.bank().url(&["v1", "accounts", id, "transactions"]);
        url.query_pairs_mut()
            .append_pair("bookingStatus", "information");
        let cursor = PageCursor::<StandingOrders>::new(
            self.scope.clone(),
            self.facts.currency(id),
            url,
            BookingStatus::Booked,
            Box::new(|_| ()),
        );
        entries(cursor, true).map_items(|entry| {
            entry.map(|entry| match entry {
                Entry::Pending(order) | Entry::Booked(order) => order,
            })
        })
    }

    /// One transaction (`GET /v1/accounts/{account-id}/transactions/{transactionId}`).
    pub async fn transaction(
        &self,
        id: &str,
        transaction_id: &str,
    ) -> Result<Response<Transaction>, Error> {
        let url = self.url(
            &["v1", "accounts", id, "transactions", transaction_id],
            false,
        );
        let answer: Response<TransactionResponse> = self.get(url, self.facts.currency(id)).await?;
        Ok(answer.map(|answer| answer.transactions_details.transaction_details))
    }

    /// The card accounts (`GET /v1/card-accounts`), with balances where the consent opens them.
    pub async fn card_accounts(
        &self,
        with_balance: bool,
    ) -> Result<Response<Vec<CardAccountDetails>>, Error> {
        let url = self.url(&["v1", "card-accounts"], with_balance);
        let accounts: Response<CardAccountList> = self.list(url, None).await?;
        let accounts = accounts.map(|list| list.card_accounts);
        self.facts.learn_cards(&accounts);
        Ok(accounts)
    }

    /// One card account (`GET /v1/card-accounts/{account-id}`).
    pub async fn card_account(
        &self,
        id: &str,
        with_balance: bool,
    ) -> Result<Response<CardAccountDetails>, Error> {
        let url = self.url(&["v1", "card-accounts", id], with_balance);
        let currency = self.facts.card_currency(id);
        let answer: Response<CardAccountResponse> = self.get(url, currency).await?;
        let answer = answer.map(|answer| answer.card_account);
        self.facts.learn_debits(id, answer.debit_accounting);
        Ok(answer)
    }

    /// The balances of a card account (`GET /v1/card-accounts/{account-id}/balances`).
    pub async fn card_balances(&self, id: &str) -> Result<Response<CardAccountBalances>, Error> {
        let url = self.url(&["v1", "card-accounts", id, "balances"], false);
        let currency = self.facts.card_currency(id);
        let answer: Response<CardAccountBalances> = self.list(url, currency).await?;
        self.facts.learn_debits(id, answer.debit_accounting);
        Ok(answer)
    }

    /// Sign of a card account's debits (`debitAccounting`), as the last answer said
    /// that did, be it the list, the account, its balances or its transactions. [`debits_negative`]
    /// reads amounts by it.
    ///
    /// [`debits_negative`]: shared_types::xs2a::card_account::debits_negative
    #[must_use]
    pub fn debit_accounting(&self, id: &str) -> Option<bool> {
        self.facts.debits(id)
    }

    /// The first page of a card account's transactions (`GET
    /// /v1/card-accounts/{account-id}/transactions`).
    pub async fn card_transactions_page(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> Result<Response<CardTransactionsResponse>, Error> {
        let url = self.transactions_url("card-accounts", id, filter);
        let currency = self.facts.card_currency(id);
        let answer: Response<CardTransactionsResponse> = self.list(url, currency).await?;
        self.facts.learn_debits(id, answer.debit_accounting);
        Ok(answer)
    }

    /// All transactions of a card account, like [`AccountInformation::transactions`].
    pub fn card_transactions(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> Entries<Result<Entry<CardTransaction>, Error>> {
        entries(self.card_cursor(id, filter), filter.is_of_days())
    }

    /// The pages of a payment account's transactions, as the bank cuts them.
    #[cfg(feature = "sqlite")]
    pub(crate) fn transaction_pages(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> BoxStream<'static, Result<EntryPage<Transaction>, Error>> {
        self.cursor(id, filter).pages()
    }

    /// The pages of a card account's transactions.
    #[cfg(feature = "sqlite")]
    pub(crate) fn card_transaction_pages(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> BoxStream<'static, Result<EntryPage<CardTransaction>, Error>> {
        self.card_cursor(id, filter).pages()
    }

    fn cursor(&self, id: &str, filter: &TransactionFilter) -> PageCursor<TransactionsResponse> {
        PageCursor::new(
            self.scope.clone(),
            self.facts.currency(id),
            self.transactions_url("accounts", id, filter),
            filter.booking_status,
            Box::new(|_| ()),
        )
    }

    fn card_cursor(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> PageCursor<CardTransactionsResponse> {
        let (facts, account) = (Arc::clone(&self.facts), id.to_owned());
        PageCursor::new(
            self.scope.clone(),
            self.facts.card_currency(id),
            self.transactions_url("card-accounts", id, filter),
            filter.booking_status,
            Box::new(move |said| facts.learn_debits(&account, said)),
        )
    }
}
