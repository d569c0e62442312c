//! Account information calls under a consent: accounts, balances, transactions.

use std::net::IpAddr;
use std::sync::Arc;

#[cfg(feature = "sqlite")]
use futures::stream::BoxStream;
use reqwest::Url;
use shared_types::xs2a::account::{AccountBalances, AccountDetails, AccountList, AccountResponse};
use shared_types::xs2a::card_account::{
    CardAccountBalances, CardAccountDetails, CardAccountList, CardAccountResponse, CardTransaction,
    CardTransactionsResponse,
};
use shared_types::xs2a::transaction::{
    BookingStatus, Transaction, TransactionResponse, TransactionsResponse,
};

use crate::bank::Bank;
use crate::checks::AccountFacts;
use crate::error::Error;
use crate::pages::{Entry, ListRequest, OnDebits, StandingOrders, TransactionFilter, entries};
#[cfg(feature = "sqlite")]
use crate::pages::{EntryPage, pages};
use crate::response::{Entries, Response};
use crate::transport::UnderConsent;

/// What a consent opens at a bank. [`Bank::with_consent`] makes one.
///
/// Answers tell what of them [deviates](crate::Deviations) from the standard. It and its clones
/// remember of which currency each account of the last list is: a balance or a transaction in
/// another one is a deviation. Accounts in `XXX` hold any.
#[derive(Debug, Clone)]
pub struct AccountInformation {
    under: UnderConsent,
    facts: Arc<AccountFacts>,
}

impl Bank {
    /// Reads accounts under that consent.
    #[must_use]
    pub fn with_consent(&self, consent_id: impl Into<String>) -> AccountInformation {
        let under = UnderConsent {
            bank: self.clone(),
            consent_id: consent_id.into(),
            psu: None,
        };
        AccountInformation {
            under,
            facts: Arc::default(),
        }
    }
}

impl AccountInformation {
    /// The customer is present, and that is the address of her device. Reads without her are
    /// limited by the consent's frequency per day.
    #[must_use]
    pub fn attended_by(mut self, psu: IpAddr) -> Self {
        self.under.psu = Some(psu);
        self
    }

    /// The bank.
    #[must_use]
    pub fn bank(&self) -> &Bank {
        &self.under.bank
    }

    /// The id of the consent: that of its `resourceId`s.
    #[cfg(feature = "sqlite")]
    pub(crate) fn consent_id(&self) -> &str {
        &self.under.consent_id
    }

    /// The payment accounts (`GET /v1/accounts`), with balances where the consent opens them. A
    /// bank that refuses something with balances, perhaps because of the balances, is asked for it
    /// without. Here and in the other lists, 204 is an empty one.
    pub async fn accounts(
        &self,
        with_balance: bool,
    ) -> Result<Response<Vec<AccountDetails>>, Error> {
        let url = with_balances(self.bank().url(&["v1", "accounts"]), with_balance);
        let accounts: Response<AccountList> = self.under.list(url, None).await?;
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
        let url = with_balances(self.bank().url(&["v1", "accounts", id]), with_balance);
        let answer: Response<AccountResponse> = self.under.get(url, self.facts.by(id)).await?;
        Ok(answer.map(|answer| answer.account))
    }

    /// The balances of a payment account (`GET /v1/accounts/{account-id}/balances`).
    pub async fn balances(&self, id: &str) -> Result<Response<AccountBalances>, Error> {
        let url = self.bank().url(&["v1", "accounts", id, "balances"]);
        self.under.list(url, self.facts.by(id)).await
    }

    /// The first page of a payment account's transactions (`GET
    /// /v1/accounts/{account-id}/transactions`).
    pub async fn transactions_page(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> Result<Response<TransactionsResponse>, Error> {
        let url = filter.apply(self.bank().url(&["v1", "accounts", id, "transactions"]));
        self.under.list(url, self.facts.by(id)).await
    }

    /// All transactions of a payment account, page by page as they are asked for: pending ones
    /// first, then booked ones, in the bank's order. There are none where the bank answers 204, or,
    /// of an account of the last list that was read here, 404 `RESOURCE_UNKNOWN` (not to a delta
    /// report).
    pub fn transactions(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> Entries<Result<Entry<Transaction>, Error>> {
        let url = filter.apply(self.bank().url(&["v1", "accounts", id, "transactions"]));
        entries::<TransactionsResponse>(
            self.under.clone(),
            self.facts.by(id),
            url,
            filter.into(),
            Box::new(|_| ()),
        )
    }

    /// The standing orders of a payment account (`bookingStatus=information`): of each the next
    /// payment, and when it is due in `additionalInformationStructured`. A bank may leave them out,
    /// and refuses then.
    pub fn standing_orders(&self, id: &str) -> Entries<Result<Transaction, Error>> {
        let mut url = self.bank().url(&["v1", "accounts", id, "transactions"]);
        url.query_pairs_mut()
            .append_pair("bookingStatus", "information");
        let (under, facts) = (self.under.clone(), self.facts.by(id));
        let asked = ListRequest {
            status: BookingStatus::Booked,
            of_days: true,
        };
        entries::<StandingOrders>(under, facts, url, asked, Box::new(|_| ())).map_items(|entry| {
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
        let url = self
            .bank()
            .url(&["v1", "accounts", id, "transactions", transaction_id]);
        let answer: Response<TransactionResponse> = self.under.get(url, self.facts.by(id)).await?;
        Ok(answer.map(|answer| answer.transactions_details.transaction_details))
    }

    /// The card accounts (`GET /v1/card-accounts`), with balances where the consent opens them.
    pub async fn card_accounts(
        &self,
        with_balance: bool,
    ) -> Result<Response<Vec<CardAccountDetails>>, Error> {
        let url = with_balances(self.bank().url(&["v1", "card-accounts"]), with_balance);
        let accounts: Response<CardAccountList> = self.under.list(url, None).await?;
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
        let url = with_balances(self.bank().url(&["v1", "card-accounts", id]), with_balance);
        let answer: Response<CardAccountResponse> =
            self.under.get(url, self.facts.by_card(id)).await?;
        let answer = answer.map(|answer| answer.card_account);
        self.facts.learn_debits(id, answer.debit_accounting);
        Ok(answer)
    }

    /// The balances of a card account (`GET /v1/card-accounts/{account-id}/balances`).
    pub async fn card_balances(&self, id: &str) -> Result<Response<CardAccountBalances>, Error> {
        let url = self.bank().url(&["v1", "card-accounts", id, "balances"]);
        let answer: Response<CardAccountBalances> =
            self.under.list(url, self.facts.by_card(id)).await?;
        self.facts.learn_debits(id, answer.debit_accounting);
        Ok(answer)
    }

    /// How the bank quotes debits of a card account (`debitAccounting`), as the last answer said
    /// that did, be it the list, the account, its balances or its transactions. [`debits_negative`]
    /// reads amounts by it.
    ///
    /// [`debits_negative`]: shared_types::xs2a::card_account::debits_negative
    #[must_use]
    pub fn debit_accounting(&self, id: &str) -> Option<bool> {
        self.facts.debits(id)
    }

    fn on_debits(&self, id: &str) -> OnDebits {
        let (facts, id) = (Arc::clone(&self.facts), id.to_owned());
        Box::new(move |said| facts.learn_debits(&id, said))
    }

    /// The first page of a card account's transactions (`GET
    /// /v1/card-accounts/{account-id}/transactions`).
    pub async fn card_transactions_page(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> Result<Response<CardTransactionsResponse>, Error> {
        let url = filter.apply(
            self.bank()
                .url(&["v1", "card-accounts", id, "transactions"]),
        );
        let answer: Response<CardTransactionsResponse> =
            self.under.list(url, self.facts.by_card(id)).await?;
        self.facts.learn_debits(id, answer.debit_accounting);
        Ok(answer)
    }

    /// All transactions of a card account, like [`AccountInformation::transactions`].
    pub fn card_transactions(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> Entries<Result<Entry<CardTransaction>, Error>> {
        let url = filter.apply(
            self.bank()
                .url(&["v1", "card-accounts", id, "transactions"]),
        );
        entries::<CardTransactionsResponse>(
            self.under.clone(),
            self.facts.by_card(id),
            url,
            filter.into(),
            self.on_debits(id),
        )
    }

    /// The same, with the bank's pages left whole.
    #[cfg(feature = "sqlite")]
    pub(crate) fn transaction_pages(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> BoxStream<'static, Result<EntryPage<Transaction>, Error>> {
        let url = filter.apply(self.bank().url(&["v1", "accounts", id, "transactions"]));
        pages::<TransactionsResponse>(
            self.under.clone(),
            self.facts.by(id),
            url,
            filter.booking_status,
            Box::new(|_| ()),
        )
    }

    /// The same, with the bank's pages left whole.
    #[cfg(feature = "sqlite")]
    pub(crate) fn card_transaction_pages(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> BoxStream<'static, Result<EntryPage<CardTransaction>, Error>> {
        let segments = ["v1", "card-accounts", id, "transactions"];
        let url = filter.apply(self.bank().url(&segments));
        pages::<CardTransactionsResponse>(
            self.under.clone(),
            self.facts.by_card(id),
            url,
            filter.booking_status,
            self.on_debits(id),
        )
    }
}

fn with_balances(mut url: Url, wanted: bool) -> Url {
    if wanted {
        url.query_pairs_mut().append_pair("withBalance", "true");
    }
    url
}
