//! Validation of decoded responses: the strict fields, and faults of a well-formed response.
//!
//! Such faults are two accounts with one id, an id that is no path segment, and an amount in a
//! currency that the account does not have. The format of amounts (14 digits before the point, 3
//! after it) and dates is validated by their types during decoding.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use shared_types::decode::Malformed;
use shared_types::xs2a::account::{
    AccountBalances, AccountDetails, AccountList, AccountReference, AccountResponse, Balance,
};
use shared_types::xs2a::authorisation::{
    AuthorisationList, AuthorisationStarted, AuthorisationUpdated, ScaStatusResponse,
};
use shared_types::xs2a::card_account::{
    CardAccountBalances, CardAccountDetails, CardAccountList, CardAccountResponse, CardTransaction,
    CardTransactionsResponse,
};
use shared_types::xs2a::consent::{ConsentCreated, ConsentInformation};
use shared_types::xs2a::money::{Amount, Currency};
use shared_types::xs2a::transaction::{Transaction, TransactionResponse, TransactionsResponse};

use crate::deviations::Outcome;
use crate::reading::{DecodeNotes, ListField, ValidateResponse, as_type, is_blank};

/// Of an account: its id leads to its balances and transactions, and its links tell whether there
/// are any.
const fn account(_: &Value) -> &'static [&'static str] {
    &[
        "resourceId",
        "_links",
        "_links.balances",
        "_links.transactions",
    ]
}

/// Of an entry: the day by which entries are ordered and periods are read. It is that of booking,
/// or any other if there is none.
fn entry(entry: &Value) -> &'static [&'static str] {
    if entry.get("bookingDate").is_none_or(is_blank) {
        &["valueDate", "transactionDate"]
    } else {
        &["bookingDate"]
    }
}

/// Of an element: what its type requires, and nothing else.
const fn nothing(_: &Value) -> &'static [&'static str] {
    &[]
}

/// Of a step of an approval: its ids, and the links by which it goes on.
const STEP: &[&str] = &[
    "consentId",
    "authorisationId",
    "_links",
    "_links.authoriseTransaction",
    "_links.confirmation",
    "_links.scaRedirect",
    "_links.scaStatus",
    "_links.selectAuthenticationMethod",
    "_links.startAuthorisation",
    "_links.startAuthorisationWithPsuAuthentication",
    "_links.startAuthorisationWithPsuIdentification",
    "_links.updatePsuAuthentication",
    "_links.updatePsuIdentification",
];

impl ValidateResponse for ConsentInformation {}
impl ValidateResponse for ScaStatusResponse {}

impl ValidateResponse for AuthorisationList {
    const STRICT: &'static [&'static str] = &["authorisationIds"];
}

impl ValidateResponse for AuthorisationStarted {
    const STRICT: &'static [&'static str] = STEP;
}

impl ValidateResponse for AuthorisationUpdated {
    const STRICT: &'static [&'static str] = STEP;
}

impl ValidateResponse for ConsentCreated {
    const STRICT: &'static [&'static str] = STEP;

    fn check(
        &mut self,
        _currency: Option<Currency>,
        _notes: &mut DecodeNotes<'_>,
    ) -> Result<(), Malformed> {
        if names_a_resource(&self.consent_id) {
            return Ok(());
        }
        Err(Malformed {
            path: "consentId".to_owned(),
            reason: NO_ID.to_owned(),
        })
    }
}

impl ValidateResponse for AccountList {
    const LISTS: &'static [ListField] = &[ListField {
        names: &["accounts"],
        strict: account,
        decode: as_type::<AccountDetails>,
    }];

    fn check(
        &mut self,
        _currency: Option<Currency>,
        notes: &mut DecodeNotes<'_>,
    ) -> Result<(), Malformed> {
        for (index, account) in self.accounts.iter().enumerate() {
            let list = |notes: &DecodeNotes<'_>| notes.place("accounts", index) + ".balances";
            balances(
                list,
                account.balances.as_ref(),
                Some(account.currency),
                notes,
            );
        }
        followable("accounts", &mut self.accounts, id_of, notes);
        Ok(())
    }
}

impl ValidateResponse for CardAccountList {
    const LISTS: &'static [ListField] = &[ListField {
        names: &["cardAccounts"],
        strict: account,
        decode: as_type::<CardAccountDetails>,
    }];

    fn check(
        &mut self,
        _currency: Option<Currency>,
        notes: &mut DecodeNotes<'_>,
    ) -> Result<(), Malformed> {
        for (index, account) in self.card_accounts.iter().enumerate() {
            let list = |notes: &DecodeNotes<'_>| notes.place("cardAccounts", index) + ".balances";
            balances(
                list,
                account.balances.as_ref(),
                Some(account.currency),
                notes,
            );
        }
        followable("cardAccounts", &mut self.card_accounts, id_of_card, notes);
        Ok(())
    }
}

impl ValidateResponse for AccountResponse {
    const STRICT: &'static [&'static str] = &[
        "account.resourceId",
        "account._links",
        "account._links.balances",
        "account._links.transactions",
    ];

    fn check(
        &mut self,
        currency: Option<Currency>,
        notes: &mut DecodeNotes<'_>,
    ) -> Result<(), Malformed> {
        let holds = agreed(
            "account.currency",
            currency,
            Some(self.account.currency),
            notes,
        );
        let list = |_: &DecodeNotes<'_>| "account.balances".to_owned();
        balances(list, self.account.balances.as_ref(), holds, notes);
        Ok(())
    }
}

impl ValidateResponse for CardAccountResponse {
    const STRICT: &'static [&'static str] = &[
        "cardAccount.resourceId",
        "cardAccount._links",
        "cardAccount._links.balances",
        "cardAccount._links.transactions",
    ];

    fn check(
        &mut self,
        currency: Option<Currency>,
        notes: &mut DecodeNotes<'_>,
    ) -> Result<(), Malformed> {
        let account = &self.card_account;
        let holds = agreed(
            "cardAccount.currency",
            currency,
            Some(account.currency),
            notes,
        );
        let list = |_: &DecodeNotes<'_>| "cardAccount.balances".to_owned();
        balances(list, account.balances.as_ref(), holds, notes);
        Ok(())
    }
}

/// Its balances.
const BALANCES: &[ListField] = &[ListField {
    names: &["balances"],
    strict: nothing,
    decode: as_type::<Balance>,
}];

impl ValidateResponse for AccountBalances {
    const LISTS: &'static [ListField] = BALANCES;

    fn check(
        &mut self,
        currency: Option<Currency>,
        notes: &mut DecodeNotes<'_>,
    ) -> Result<(), Malformed> {
        let holds = agreed(
            "account.currency",
            currency,
            said(self.account.as_ref()),
            notes,
        );
        balances(
            |_| "balances".to_owned(),
            Some(&self.balances),
            holds,
            notes,
        );
        Ok(())
    }
}

impl ValidateResponse for CardAccountBalances {
    const LISTS: &'static [ListField] = BALANCES;

    /// An example of the standard's has `debitAccounting` among the balances.
    fn to_standard(document: &mut Value) {
        let mut found = None;
        if let Some(Value::Array(balances)) = document.get_mut("balances") {
            balances.retain_mut(|balance| match balance {
                Value::Object(balance) => {
                    let said = balance.remove("debitAccounting");
                    let stray = said.is_some() && balance.is_empty();
                    found = said.or(found.take());
                    !stray
                }
                _ => true,
            });
        }
        if let (Some(found), Value::Object(document)) = (found, document) {
            document.insert("debitAccounting".to_owned(), found);
        }
    }

    fn check(
        &mut self,
        currency: Option<Currency>,
        notes: &mut DecodeNotes<'_>,
    ) -> Result<(), Malformed> {
        let said = said(self.card_account.as_ref());
        let holds = agreed("cardAccount.currency", currency, said, notes);
        balances(
            |_| "balances".to_owned(),
            Some(&self.balances),
            holds,
            notes,
        );
        Ok(())
    }
}

impl ValidateResponse for TransactionsResponse {
    const LISTS: &'static [ListField] = &[
        ListField {
            names: &["transactions", "pending"],
            strict: entry,
            decode: as_type::<Transaction>,
        },
        ListField {
            names: &["transactions", "booked"],
            strict: entry,
            decode: as_type::<Transaction>,
        },
        ListField {
            names: &["transactions", "information"],
            strict: nothing,
            decode: as_type::<Transaction>,
        },
    ];
    const STRICT: &'static [&'static str] = &[
        "transactions",
        "transactions.pending",
        "transactions.booked",
        "transactions.information",
        "transactions._links",
        "transactions._links.next",
        "transactions._links.download",
        "_links",
        "_links.next",
        "_links.download",
    ];

    fn check(
        &mut self,
        currency: Option<Currency>,
        notes: &mut DecodeNotes<'_>,
    ) -> Result<(), Malformed> {
        let holds = agreed(
            "account.currency",
            currency,
            said(self.account.as_ref()),
            notes,
        );
        balances(
            |_| "balances".to_owned(),
            self.balances.as_ref(),
            holds,
            notes,
        );
        let Some(page) = &self.transactions else {
            return Ok(());
        };
        for (list, entries) in [
            ("transactions.pending", &page.pending),
            ("transactions.booked", &page.booked),
            ("transactions.information", &page.information),
        ] {
            for (index, entry) in entries.iter().flatten().enumerate() {
                transaction(entry, holds, |notes| notes.place(list, index), notes);
            }
        }
        Ok(())
    }
}

impl ValidateResponse for CardTransactionsResponse {
    const LISTS: &'static [ListField] = &[
        ListField {
            names: &["cardTransactions", "pending"],
            strict: entry,
            decode: as_type::<CardTransaction>,
        },
        ListField {
            names: &["cardTransactions", "booked"],
            strict: entry,
            decode: as_type::<CardTransaction>,
        },
    ];
    const STRICT: &'static [&'static str] = &[
        "cardTransactions",
        "cardTransactions.pending",
        "cardTransactions.booked",
        "cardTransactions._links",
        "cardTransactions._links.next",
        "cardTransactions._links.download",
        "_links",
        "_links.next",
        "_links.download",
    ];

    fn check(
        &mut self,
        currency: Option<Currency>,
        notes: &mut DecodeNotes<'_>,
    ) -> Result<(), Malformed> {
        let said = said(self.card_account.as_ref());
        let holds = agreed("cardAccount.currency", currency, said, notes);
        balances(
            |_| "balances".to_owned(),
            self.balances.as_ref(),
            holds,
            notes,
        );
        let Some(page) = &self.card_transactions else {
            return Ok(());
        };
        for (list, entries) in [
            ("cardTransactions.pending", &page.pending),
            ("cardTransactions.booked", &page.booked),
        ] {
            for (index, entry) in entries.iter().flatten().enumerate() {
                // What was paid abroad (`originalAmount`), and the fee for it, may be in any
                // currency.
                in_currency(&entry.transaction_amount, holds, notes, |notes| {
                    notes.place(list, index) + ".transactionAmount.currency"
                });
            }
        }
        Ok(())
    }
}

impl ValidateResponse for TransactionResponse {
    const STRICT: &'static [&'static str] = &["transactionsDetails.transactionDetails.bookingDate"];

    /// An example of the standard's has one envelope where its schema has two.
    fn to_standard(document: &mut Value) {
        if let Some(details) = document.get_mut("transactionsDetails")
            && details.is_object()
            && details.get("transactionDetails").is_none()
        {
            *details = serde_json::json!({ "transactionDetails": details.take() });
        }
    }

    fn check(
        &mut self,
        currency: Option<Currency>,
        notes: &mut DecodeNotes<'_>,
    ) -> Result<(), Malformed> {
        let entry = &self.transactions_details.transaction_details;
        let place = |_: &DecodeNotes<'_>| "transactionsDetails.transactionDetails".to_owned();
        transaction(entry, currency, place, notes);
        Ok(())
    }
}

/// The currencies of accounts, as the last lists of them said. They bind what the bank says of
/// these accounts after. And how debits of card accounts are quoted (`debitAccounting`): the
/// standard lets a bank say so in any of its answers.
///
/// Kept is only the last list of each kind, so that no bank can make it grow.
#[derive(Default)]
pub(crate) struct AccountFacts {
    accounts: Mutex<HashMap<String, Currency>>,
    cards: Mutex<HashMap<String, Currency>>,
    debits: Mutex<HashMap<String, bool>>,
}

impl AccountFacts {
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
impl fmt::Debug for AccountFacts {
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

const NO_ID: &str = "expected an id that can stand in a path";

/// Leaves out the accounts that cannot be followed: an id that cannot stand in a path leads
/// elsewhere, and one that two accounts share leads to either.
fn followable<T>(
    list: &str,
    accounts: &mut Vec<T>,
    id: fn(&T) -> Option<&str>,
    notes: &mut DecodeNotes<'_>,
) {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for id in accounts.iter().filter_map(id) {
        *times.entry(id).or_default() += 1;
    }
    let fault = |account: &T| match id(account) {
        Some(id) if !names_a_resource(id) => Some(NO_ID),
        Some(id) if times.get(id).is_some_and(|times| *times > 1) => {
            Some("the same id as another account's")
        }
        _ => None,
    };
    let faults: Vec<Option<&str>> = accounts.iter().map(fault).collect();
    for (index, fault) in faults.iter().enumerate() {
        if let Some(fault) = fault {
            let path = |notes: &DecodeNotes<'_>| notes.place(list, index) + ".resourceId";
            notes.record(path, *fault, Outcome::ElementLeftOut);
        }
    }
    let mut faults = faults.into_iter();
    accounts.retain(|_| faults.next().flatten().is_none());
}

/// An id becomes a segment of a path: nothing and the dots would lead to another resource (RFC
/// 3986, section 5.2.4).
fn names_a_resource(id: &str) -> bool {
    !matches!(id, "" | "." | "..") && !id.chars().any(char::is_control)
}

/// The one currency of an account, or none where it may hold any (`XXX`), or where it is not known.
fn agreed(
    path: &str,
    currency: Option<Currency>,
    said: Option<Currency>,
    notes: &mut DecodeNotes<'_>,
) -> Option<Currency> {
    let single = |currency: &Currency| currency.as_str() != "XXX";
    match (currency, said) {
        (Some(currency), _) if !single(&currency) => None,
        (Some(currency), Some(said)) if single(&said) && currency != said => {
            let reason = "another currency than in the list of accounts";
            notes.record(|_| path.to_owned(), reason, Outcome::Kept);
            None
        }
        (Some(currency), _) => Some(currency),
        (None, said) => said.filter(single),
    }
}

/// An amount has its currency with it: one in another currency than the account's is kept, and
/// told.
fn in_currency(
    amount: &Amount,
    holds: Option<Currency>,
    notes: &mut DecodeNotes<'_>,
    path: impl FnOnce(&DecodeNotes<'_>) -> String,
) {
    if holds.is_some_and(|holds| holds.as_str() != "XXX" && holds != amount.currency()) {
        notes.record(path, "another currency than the account's", Outcome::Kept);
    }
}

fn balances(
    list: impl Fn(&DecodeNotes<'_>) -> String,
    balances: Option<&Vec<Balance>>,
    holds: Option<Currency>,
    notes: &mut DecodeNotes<'_>,
) {
    for (index, balance) in balances.into_iter().flatten().enumerate() {
        in_currency(&balance.balance_amount, holds, notes, |notes| {
            notes.place(&list(notes), index) + ".balanceAmount.currency"
        });
    }
}

fn transaction(
    entry: &Transaction,
    holds: Option<Currency>,
    place: impl Fn(&DecodeNotes<'_>) -> String,
    notes: &mut DecodeNotes<'_>,
) {
    in_currency(&entry.transaction_amount, holds, notes, |notes| {
        place(notes) + ".transactionAmount.currency"
    });
    if let Some(balance) = &entry.balance_after_transaction {
        in_currency(&balance.balance_amount, holds, notes, |notes| {
            place(notes) + ".balanceAfterTransaction.balanceAmount.currency"
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared_types::decode::decode;

    use super::*;

    /// Where what was read deviates, or what it fails with.
    fn faulty<T: ValidateResponse>(body: &Value, held: Option<&str>) -> String {
        let mut body: T = decode(body.to_string().as_bytes()).unwrap();
        let held = held.map(|held| held.parse().unwrap());
        let mut notes = DecodeNotes::of("Bank B");
        if let Err(fault) = body.check(held, &mut notes) {
            return fault.path;
        }
        let deviations = notes.into_deviations();
        let paths: Vec<&str> = deviations
            .iter()
            .map(|deviation| deviation.path.as_str())
            .collect();
        paths.join(" ")
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
            (
                &["a", "b", "a"],
                "accounts[0].resourceId accounts[2].resourceId",
            ),
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
            "cardAccounts[0].resourceId cardAccounts[1].resourceId"
        );
        let mut accounts: AccountList =
            decode(list(&["a", "b", "a"]).to_string().as_bytes()).unwrap();
        accounts
            .check(None, &mut DecodeNotes::of("Bank B"))
            .unwrap();
        let ids: Vec<_> = accounts.accounts.iter().map(id_of).collect();
        assert_eq!(ids, [Some("b")]);
        let consent = json!({ "consentStatus": "received", "consentId": "..", "_links": {} });
        assert_eq!(faulty::<ConsentCreated>(&consent, None), "consentId");
    }

    #[test]
    fn only_the_last_list_is_kept() {
        let held = AccountFacts::default();
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
