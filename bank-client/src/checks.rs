//! What a well-formed answer may still get wrong: money in a currency that the account does not have, two resources
//! under one id, an id that is no part of a path.
//!
//! That amounts are amounts (14 digits before the point, 3 after it), texts no longer than their fields, and dates dates,
//! the types see to when they are decoded.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use shared_types::account::{
    AccountBalances, AccountDetails, AccountList, AccountReference, AccountResponse, Balance,
};
use shared_types::authorisation::{
    AuthorisationList, AuthorisationStarted, AuthorisationUpdated, ScaStatusResponse,
};
use shared_types::card_account::{
    CardAccountBalances, CardAccountDetails, CardAccountList, CardAccountResponse, CardTransaction,
    CardTransactionsResponse,
};
use shared_types::consent::{ConsentCreated, ConsentInformation, ConsentStatusResponse};
use shared_types::decode::Malformed;
use shared_types::money::{Amount, Currency};
use shared_types::transaction::{Transaction, TransactionResponse, TransactionsResponse};

/// An answer that can be wrong although it can be read.
pub(crate) trait Checked {
    /// Looks at it. `held` is the currency of the account that it is about, where that is known from elsewhere.
    fn check(&self, _held: Option<Currency>) -> Result<(), Malformed> {
        Ok(())
    }
}

impl Checked for ConsentInformation {}
impl Checked for ConsentStatusResponse {}
impl Checked for AuthorisationList {}
impl Checked for AuthorisationStarted {}
impl Checked for AuthorisationUpdated {}
impl Checked for ScaStatusResponse {}

impl Checked for ConsentCreated {
    fn check(&self, _held: Option<Currency>) -> Result<(), Malformed> {
        names_a_resource("consentId", &self.consent_id)
    }
}

impl Checked for AccountList {
    fn check(&self, _held: Option<Currency>) -> Result<(), Malformed> {
        distinct("accounts", self.accounts.iter().map(id_of))?;
        for (index, account) in self.accounts.iter().enumerate() {
            let holds = Some(account.currency);
            balances(
                &format!("accounts[{index}].balances"),
                account.balances.as_ref(),
                holds,
            )?;
        }
        Ok(())
    }
}

impl Checked for CardAccountList {
    fn check(&self, _held: Option<Currency>) -> Result<(), Malformed> {
        distinct("cardAccounts", self.card_accounts.iter().map(id_of_card))?;
        for (index, account) in self.card_accounts.iter().enumerate() {
            let holds = Some(account.currency);
            balances(
                &format!("cardAccounts[{index}].balances"),
                account.balances.as_ref(),
                holds,
            )?;
        }
        Ok(())
    }
}

impl Checked for AccountResponse {
    fn check(&self, held: Option<Currency>) -> Result<(), Malformed> {
        let holds = agreed("account.currency", held, Some(self.account.currency))?;
        balances("account.balances", self.account.balances.as_ref(), holds)
    }
}

impl Checked for CardAccountResponse {
    fn check(&self, held: Option<Currency>) -> Result<(), Malformed> {
        let said = Some(self.card_account.currency);
        let holds = agreed("cardAccount.currency", held, said)?;
        balances(
            "cardAccount.balances",
            self.card_account.balances.as_ref(),
            holds,
        )
    }
}

impl Checked for AccountBalances {
    fn check(&self, held: Option<Currency>) -> Result<(), Malformed> {
        let holds = agreed("account.currency", held, said(self.account.as_ref()))?;
        balances("balances", Some(&self.balances), holds)
    }
}

impl Checked for CardAccountBalances {
    fn check(&self, held: Option<Currency>) -> Result<(), Malformed> {
        let said = said(self.card_account.as_ref());
        let holds = agreed("cardAccount.currency", held, said)?;
        balances("balances", Some(&self.balances), holds)
    }
}

impl Checked for TransactionsResponse {
    fn check(&self, held: Option<Currency>) -> Result<(), Malformed> {
        let holds = agreed("account.currency", held, said(self.account.as_ref()))?;
        balances("balances", self.balances.as_ref(), holds)?;
        let Some(page) = &self.transactions else {
            return Ok(());
        };
        for (list, entries) in [
            ("pending", &page.pending),
            ("booked", &page.booked),
            ("information", &page.information),
        ] {
            for (index, entry) in entries.iter().flatten().enumerate() {
                transaction(entry, holds, || format!("transactions.{list}[{index}]"))?;
            }
        }
        Ok(())
    }
}

impl Checked for CardTransactionsResponse {
    fn check(&self, held: Option<Currency>) -> Result<(), Malformed> {
        let said = said(self.card_account.as_ref());
        let holds = agreed("cardAccount.currency", held, said)?;
        balances("balances", self.balances.as_ref(), holds)?;
        let Some(page) = &self.card_transactions else {
            return Ok(());
        };
        for (list, entries) in [("pending", &page.pending), ("booked", &page.booked)] {
            for (index, entry) in entries.iter().flatten().enumerate() {
                card_transaction(entry, holds, || format!("cardTransactions.{list}[{index}]"))?;
            }
        }
        Ok(())
    }
}

impl Checked for TransactionResponse {
    fn check(&self, held: Option<Currency>) -> Result<(), Malformed> {
        let entry = &self.transactions_details.transaction_details;
        transaction(entry, held, || {
            "transactionsDetails.transactionDetails".to_owned()
        })
    }
}

/// The currencies of accounts, as the last lists of them said. They bind what the bank says of these accounts after. And
/// how debits of card accounts are quoted (`debitAccounting`): the standard lets a bank say so in any of its answers.
///
/// Kept is only the last list of each kind, so that no bank can make it grow.
#[derive(Default)]
pub(crate) struct Held {
    accounts: Mutex<HashMap<String, Currency>>,
    cards: Mutex<HashMap<String, Currency>>,
    debits: Mutex<HashMap<String, bool>>,
}

impl Held {
    pub(crate) fn learn(&self, accounts: &[AccountDetails]) {
        keep(
            &self.accounts,
            accounts
                .iter()
                .map(|account| (id_of(account), account.currency)),
        );
    }

    pub(crate) fn learn_cards(&self, accounts: &[CardAccountDetails]) {
        keep(
            &self.cards,
            accounts
                .iter()
                .map(|account| (id_of_card(account), account.currency)),
        );
        let mut debits = self.debits.lock().unwrap_or_else(PoisonError::into_inner);
        let said = accounts.iter().filter_map(|account| {
            let id = id_of_card(account)?;
            let before = || debits.get(id).copied();
            Some((id.to_owned(), account.debit_accounting.or_else(before)?))
        });
        *debits = said.collect();
    }

    /// What an answer about a card account says of its debits, if it does.
    pub(crate) fn learn_debits(&self, id: &str, said: Option<bool>) {
        if let Some(said) = said {
            let mut debits = self.debits.lock().unwrap_or_else(PoisonError::into_inner);
            debits.insert(id.to_owned(), said);
        }
    }

    pub(crate) fn debits(&self, id: &str) -> Option<bool> {
        let debits = self.debits.lock().unwrap_or_else(PoisonError::into_inner);
        debits.get(id).copied()
    }

    pub(crate) fn by(&self, id: &str) -> Option<Currency> {
        look_up(&self.accounts, id)
    }

    pub(crate) fn by_card(&self, id: &str) -> Option<Currency> {
        look_up(&self.cards, id)
    }
}

/// Its content is account data.
impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

fn keep<'a>(
    kept: &Mutex<HashMap<String, Currency>>,
    list: impl Iterator<Item = (Option<&'a str>, Currency)>,
) {
    let list = list
        .filter_map(|(id, currency)| Some((id?.to_owned(), currency)))
        .collect();
    *kept.lock().unwrap_or_else(PoisonError::into_inner) = list;
}

fn look_up(kept: &Mutex<HashMap<String, Currency>>, id: &str) -> Option<Currency> {
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.get(id).copied()
}

fn id_of(account: &AccountDetails) -> Option<&str> {
    account.resource_id.as_deref()
}

fn id_of_card(account: &CardAccountDetails) -> Option<&str> {
    account.resource_id.as_deref()
}

fn said(account: Option<&AccountReference>) -> Option<Currency> {
    account.and_then(|account| account.currency)
}

fn fault(path: impl Into<String>, reason: impl Into<String>) -> Malformed {
    Malformed {
        path: path.into(),
        reason: reason.into(),
    }
}

/// No two resources of a list share an id, and each id can stand in a path.
fn distinct<'a>(list: &str, ids: impl Iterator<Item = Option<&'a str>>) -> Result<(), Malformed> {
    let mut seen = HashMap::new();
    for (index, id) in ids.enumerate() {
        let Some(id) = id else { continue };
        let path = format!("{list}[{index}].resourceId");
        names_a_resource(&path, id)?;
        if let Some(earlier) = seen.insert(id, index) {
            return Err(fault(path, format!("the same id as {list}[{earlier}]")));
        }
    }
    Ok(())
}

/// An id becomes a segment of a path: nothing and the dots would lead to another resource (RFC 3986, section 5.2.4).
fn names_a_resource(path: &str, id: &str) -> Result<(), Malformed> {
    let names_none = matches!(id, "" | "." | "..") || id.chars().any(char::is_control);
    if names_none {
        return Err(fault(path, "expected an id that can stand in a path"));
    }
    Ok(())
}

/// The one currency of an account, or none where it may hold any (`XXX`) or nobody said.
fn agreed(
    path: &str,
    held: Option<Currency>,
    said: Option<Currency>,
) -> Result<Option<Currency>, Malformed> {
    let single = |currency: Currency| currency.as_str() != "XXX";
    match (held, said) {
        (Some(held), _) if !single(held) => Ok(None),
        (Some(held), Some(said)) if single(said) && held != said => {
            Err(fault(path, "another currency than in the list of accounts"))
        }
        (Some(held), _) => Ok(Some(held)),
        (None, said) => Ok(said.filter(|said| single(*said))),
    }
}

fn in_currency(
    amount: &Amount,
    holds: Option<Currency>,
    path: impl FnOnce() -> String,
) -> Result<(), Malformed> {
    if holds.is_some_and(|holds| holds.as_str() != "XXX" && holds != amount.currency()) {
        return Err(fault(path(), "another currency than the account's"));
    }
    Ok(())
}

fn balances(
    path: &str,
    balances: Option<&Vec<Balance>>,
    holds: Option<Currency>,
) -> Result<(), Malformed> {
    for (index, balance) in balances.into_iter().flatten().enumerate() {
        in_currency(&balance.balance_amount, holds, || {
            format!("{path}[{index}].balanceAmount.currency")
        })?;
    }
    Ok(())
}

fn transaction(
    entry: &Transaction,
    holds: Option<Currency>,
    path: impl Fn() -> String,
) -> Result<(), Malformed> {
    in_currency(&entry.transaction_amount, holds, || {
        path() + ".transactionAmount.currency"
    })?;
    match &entry.balance_after_transaction {
        Some(balance) => in_currency(&balance.balance_amount, holds, || {
            path() + ".balanceAfterTransaction.balanceAmount.currency"
        }),
        None => Ok(()),
    }
}

/// What was paid abroad (`originalAmount`), and the fee for it, may be in any currency.
fn card_transaction(
    entry: &CardTransaction,
    holds: Option<Currency>,
    path: impl FnOnce() -> String,
) -> Result<(), Malformed> {
    in_currency(&entry.transaction_amount, holds, || {
        path() + ".transactionAmount.currency"
    })
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};
    use shared_types::decode::decode;

    use super::*;

    fn faulty<T: DeserializeOwned + Checked>(body: &Value, held: Option<&str>) -> String {
        let body: T = decode(body.to_string().as_bytes()).unwrap();
        let held = held.map(|held| held.parse().unwrap());
        body.check(held)
            .err()
            .map(|fault| fault.path)
            .unwrap_or_default()
    }

    fn balance(currency: &str) -> Value {
        json!({ "balanceType": "expected", "balanceAmount": { "currency": currency, "amount": "1" } })
    }

    fn entry(currency: &str) -> Value {
        json!({ "transactionAmount": { "currency": currency, "amount": "1" } })
    }

    #[test]
    fn accounts_hold_their_own_currency_and_xxx_holds_any() {
        let list = |currency: &str, held: &str| json!({ "accounts": [{ "currency": "CHF" }, { "currency": currency, "balances": [balance(currency), balance(held)] }] });
        let at = faulty::<AccountList>(&list("EUR", "USD"), None);
        assert_eq!(at, "accounts[1].balances[1].balanceAmount.currency");
        assert_eq!(faulty::<AccountList>(&list("EUR", "EUR"), None), "");
        assert_eq!(faulty::<AccountList>(&list("XXX", "USD"), None), "");
        let cards = json!({ "cardAccounts": [{ "maskedPan": "1*", "currency": "EUR", "balances": [balance("USD")] }] });
        let at = faulty::<CardAccountList>(&cards, None);
        assert_eq!(at, "cardAccounts[0].balances[0].balanceAmount.currency");
        let one = json!({ "account": { "currency": "EUR", "balances": [balance("USD")] } });
        let at = faulty::<AccountResponse>(&one, None);
        assert_eq!(at, "account.balances[0].balanceAmount.currency");
        assert_eq!(
            faulty::<AccountResponse>(&one, Some("USD")),
            "account.currency"
        );
        let one = json!({ "cardAccount": { "maskedPan": "1*", "currency": "EUR", "balances": [balance("USD")] } });
        let at = faulty::<CardAccountResponse>(&one, None);
        assert_eq!(at, "cardAccount.balances[0].balanceAmount.currency");
    }

    #[test]
    fn balances_go_by_the_list_and_by_the_answer_itself() {
        let wrong = "balances[0].balanceAmount.currency";
        for (reference, held, expected) in [
            (None, None, ""),
            (None, Some("EUR"), wrong),
            (None, Some("USD"), ""),
            (None, Some("XXX"), ""),
            (Some("EUR"), None, wrong),
            (Some("USD"), None, ""),
            (Some("XXX"), None, ""),
            (Some("XXX"), Some("EUR"), wrong),
            (Some("EUR"), Some("XXX"), ""),
            (Some("USD"), Some("EUR"), "account.currency"),
        ] {
            let mut body = json!({ "balances": [balance("USD")] });
            if let Some(reference) = reference {
                body["account"] = json!({ "currency": reference });
            }
            let at = faulty::<AccountBalances>(&body, held);
            assert_eq!(at, expected, "{reference:?} {held:?}");
        }
        let cards = json!({ "cardAccount": { "currency": "EUR" }, "balances": [balance("USD")] });
        assert_eq!(faulty::<CardAccountBalances>(&cards, None), wrong);
    }

    #[test]
    fn transactions_are_in_the_accounts_currency() {
        let page = |booked: Value, pending: Value| json!({ "transactions": { "booked": [entry("EUR"), booked], "pending": [pending], "_links": {} } });
        let at = |page: &Value| faulty::<TransactionsResponse>(page, Some("EUR"));
        assert_eq!(at(&page(entry("EUR"), entry("EUR"))), "");
        assert_eq!(
            at(&page(entry("USD"), entry("EUR"))),
            "transactions.booked[1].transactionAmount.currency"
        );
        assert_eq!(
            at(&page(entry("EUR"), entry("USD"))),
            "transactions.pending[0].transactionAmount.currency"
        );
        let mut after = entry("EUR");
        after["balanceAfterTransaction"] = balance("USD");
        assert_eq!(
            at(&page(after, entry("EUR"))),
            "transactions.booked[1].balanceAfterTransaction.balanceAmount.currency"
        );
        let balances = json!({ "balances": [balance("USD")] });
        assert_eq!(at(&balances), "balances[0].balanceAmount.currency");

        let mut abroad = entry("EUR");
        abroad["originalAmount"] = json!({ "currency": "USD", "amount": "1" });
        let cards = |entry: Value| json!({ "cardAccount": { "currency": "EUR" }, "cardTransactions": { "booked": [entry], "_links": {} } });
        assert_eq!(faulty::<CardTransactionsResponse>(&cards(abroad), None), "");
        assert_eq!(
            faulty::<CardTransactionsResponse>(&cards(entry("USD")), None),
            "cardTransactions.booked[0].transactionAmount.currency"
        );
        let one = json!({ "transactionsDetails": { "transactionDetails": entry("USD") } });
        assert_eq!(
            faulty::<TransactionResponse>(&one, Some("EUR")),
            "transactionsDetails.transactionDetails.transactionAmount.currency"
        );
    }

    #[test]
    fn ids_name_one_resource_each() {
        let list = |ids: &[&str]| {
            let accounts: Vec<Value> = ids
                .iter()
                .map(|id| json!({ "currency": "EUR", "resourceId": id }))
                .collect();
            json!({ "accounts": accounts })
        };
        for (ids, expected) in [
            (&["a", "b"][..], ""),
            (&["a", "b", "a"], "accounts[2].resourceId"),
            (&["a", ""], "accounts[1].resourceId"),
            (&[".."], "accounts[0].resourceId"),
            (&["."], "accounts[0].resourceId"),
            (&["a\nb"], "accounts[0].resourceId"),
            (&["a/b"], ""),
        ] {
            assert_eq!(faulty::<AccountList>(&list(ids), None), expected, "{ids:?}");
        }
        let nameless = json!({ "accounts": [{ "currency": "EUR" }, { "currency": "EUR" }] });
        assert_eq!(faulty::<AccountList>(&nameless, None), "");
        let cards = json!({ "cardAccounts": [
            { "maskedPan": "1*", "currency": "EUR", "resourceId": "a" },
            { "maskedPan": "2*", "currency": "EUR", "resourceId": "a" },
        ] });
        assert_eq!(
            faulty::<CardAccountList>(&cards, None),
            "cardAccounts[1].resourceId"
        );
        let consent = json!({ "consentStatus": "received", "consentId": "..", "_links": {} });
        assert_eq!(faulty::<ConsentCreated>(&consent, None), "consentId");
    }

    #[test]
    fn only_the_last_list_is_kept() {
        let held = Held::default();
        let account = |id: &str| AccountDetails {
            resource_id: Some(id.to_owned()),
            ..AccountDetails::of(Currency::EUR)
        };
        held.learn(&[account("a")]);
        held.learn(&[account("b")]);
        assert_eq!(held.by("a"), None);
        assert_eq!(held.by("b"), Some(Currency::EUR));
        assert_eq!(held.by_card("b"), None);
        assert_eq!(format!("{held:?}"), "Held { .. }");
    }
}
