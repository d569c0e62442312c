//! Validation of decoded responses: the strict fields, and faults of a well-formed response.
//!
//! Such faults are two accounts with one id, an id that is no path segment, and an amount in a
//! currency that the account does not have. The format of amounts (14 digits before the point, 3
//! after it) and dates is validated by their types during decoding.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
#[cfg(feature = "sqlite")]
use shared_types::xs2a::link::Links;
use shared_types::xs2a::money::{Amount, Currency};
use shared_types::xs2a::transaction::{Transaction, TransactionResponse, TransactionsResponse};

use crate::decode::{DecodeNotes, ListField, ValidateResponse, is_blank};
use crate::deviations::Outcome;

/// Names of strict fields.
type Strict = &'static [&'static str];

/// The strict fields of an account: its id and links, which lead to its balances and transactions.
const fn account(_: &Value) -> Strict {
    &[
        "resourceId",
        "_links",
        "_links.balances",
        "_links.transactions",
    ]
}

/// The strict field of an entry: the day by which entries are ordered and periods are read. It is
/// that of booking, or any other if there is none.
fn entry(entry: &Value) -> Strict {
    if entry.get("bookingDate").is_none_or(is_blank) {
        &["valueDate", "transactionDate"]
    } else {
        &["bookingDate"]
    }
}

/// Strict is what the element's type requires, and nothing else.
const fn nothing(_: &Value) -> Strict {
    &[]
}

/// The strict fields of a step of an approval: its ids, and the links by which it goes on.
const STEP: Strict = &[
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
    const STRICT: Strict = &["authorisationIds"];
}

impl ValidateResponse for AuthorisationStarted {
    const STRICT: Strict = STEP;
}

impl ValidateResponse for AuthorisationUpdated {
    const STRICT: Strict = STEP;
}

impl ValidateResponse for ConsentCreated {
    const STRICT: Strict = STEP;

    fn validate(&mut self, _notes: &mut DecodeNotes<'_>) -> Result<(), Malformed> {
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
    const LISTS: &'static [ListField] = &[ListField::of::<AccountDetails>(&["accounts"], account)];

    fn validate(&mut self, notes: &mut DecodeNotes<'_>) -> Result<(), Malformed> {
        notes.accounts("accounts", &mut self.accounts);
        Ok(())
    }
}

impl ValidateResponse for CardAccountList {
    const LISTS: &'static [ListField] = &[ListField::of::<CardAccountDetails>(
        &["cardAccounts"],
        account,
    )];

    fn validate(&mut self, notes: &mut DecodeNotes<'_>) -> Result<(), Malformed> {
        notes.accounts("cardAccounts", &mut self.card_accounts);
        Ok(())
    }
}

impl ValidateResponse for AccountResponse {
    const STRICT: Strict = &[
        "account.resourceId",
        "account._links",
        "account._links.balances",
        "account._links.transactions",
    ];

    fn validate(&mut self, notes: &mut DecodeNotes<'_>) -> Result<(), Malformed> {
        notes.agree("account", Some(self.account.currency));
        notes.balances("account.balances", self.account.balances.as_deref());
        Ok(())
    }
}

impl ValidateResponse for CardAccountResponse {
    const STRICT: Strict = &[
        "cardAccount.resourceId",
        "cardAccount._links",
        "cardAccount._links.balances",
        "cardAccount._links.transactions",
    ];

    fn validate(&mut self, notes: &mut DecodeNotes<'_>) -> Result<(), Malformed> {
        notes.agree("cardAccount", Some(self.card_account.currency));
        notes.balances(
            "cardAccount.balances",
            self.card_account.balances.as_deref(),
        );
        Ok(())
    }
}

/// Its balances.
const BALANCES: &[ListField] = &[ListField::of::<Balance>(&["balances"], nothing)];

impl ValidateResponse for AccountBalances {
    const LISTS: &'static [ListField] = BALANCES;

    fn validate(&mut self, notes: &mut DecodeNotes<'_>) -> Result<(), Malformed> {
        notes.agree("account", currency_of(self.account.as_ref()));
        notes.balances("balances", Some(&self.balances));
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

    fn validate(&mut self, notes: &mut DecodeNotes<'_>) -> Result<(), Malformed> {
        notes.agree("cardAccount", currency_of(self.card_account.as_ref()));
        notes.balances("balances", Some(&self.balances));
        Ok(())
    }
}

impl ValidateResponse for TransactionsResponse {
    const LISTS: &'static [ListField] = &[
        ListField::of::<Transaction>(&["transactions", "pending"], entry),
        ListField::of::<Transaction>(&["transactions", "booked"], entry),
        ListField::of::<Transaction>(&["transactions", "information"], nothing),
    ];
    const STRICT: Strict = &[
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

    fn validate(&mut self, notes: &mut DecodeNotes<'_>) -> Result<(), Malformed> {
        notes.agree("account", currency_of(self.account.as_ref()));
        notes.balances("balances", self.balances.as_deref());
        if let Some(page) = &self.transactions {
            for (list, entries) in [
                ("transactions.pending", &page.pending),
                ("transactions.booked", &page.booked),
                ("transactions.information", &page.information),
            ] {
                for (index, entry) in entries.iter().flatten().enumerate() {
                    notes.transaction(entry, |notes| notes.place(list, index));
                }
            }
        }
        Ok(())
    }
}

impl ValidateResponse for CardTransactionsResponse {
    const LISTS: &'static [ListField] = &[
        ListField::of::<CardTransaction>(&["cardTransactions", "pending"], entry),
        ListField::of::<CardTransaction>(&["cardTransactions", "booked"], entry),
    ];
    const STRICT: Strict = &[
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

    fn validate(&mut self, notes: &mut DecodeNotes<'_>) -> Result<(), Malformed> {
        notes.agree("cardAccount", currency_of(self.card_account.as_ref()));
        notes.balances("balances", self.balances.as_deref());
        if let Some(page) = &self.card_transactions {
            for (list, entries) in [
                ("cardTransactions.pending", &page.pending),
                ("cardTransactions.booked", &page.booked),
            ] {
                for (index, entry) in entries.iter().flatten().enumerate() {
                    // The amount paid abroad (`originalAmount`), and its fee, may be in any
                    // currency.
                    notes.amount(&entry.transaction_amount, |notes| {
                        notes.place(list, index) + ".transactionAmount"
                    });
                }
            }
        }
        Ok(())
    }
}

impl ValidateResponse for TransactionResponse {
    const STRICT: Strict = &["transactionsDetails.transactionDetails.bookingDate"];

    /// An example of the standard's has one envelope where its schema has two.
    fn to_standard(document: &mut Value) {
        if let Some(details) = document.get_mut("transactionsDetails")
            && details.is_object()
            && details.get("transactionDetails").is_none()
        {
            *details = serde_json::json!({ "transactionDetails": details.take() });
        }
    }

    fn validate(&mut self, notes: &mut DecodeNotes<'_>) -> Result<(), Malformed> {
        let place = |_: &DecodeNotes<'_>| "transactionsDetails.transactionDetails".to_owned();
        notes.transaction(&self.transactions_details.transaction_details, place);
        Ok(())
    }
}

/// Properties that both kinds of account share.
pub(crate) trait Account {
    fn resource_id(&self) -> Option<&str>;
    fn currency(&self) -> Currency;
    fn balances(&self) -> Option<&[Balance]>;
    #[cfg(feature = "sqlite")]
    fn links(&self) -> Option<&Links>;
}

macro_rules! impl_account {
    ($($details:ty),*) => {$(
        impl Account for $details {
            fn resource_id(&self) -> Option<&str> {
                self.resource_id.as_deref()
            }
            fn currency(&self) -> Currency {
                self.currency
            }
            fn balances(&self) -> Option<&[Balance]> {
                self.balances.as_deref()
            }
            #[cfg(feature = "sqlite")]
            fn links(&self) -> Option<&Links> {
                self.links.as_ref()
            }
        }
    )*};
}

impl_account!(AccountDetails, CardAccountDetails);

fn currency_of(account: Option<&AccountReference>) -> Option<Currency> {
    account.and_then(|account| account.currency)
}

const NO_ID: &str = "expected an id that can stand in a path";

/// An id becomes a segment of a path: nothing and the dots would lead to another resource (RFC
/// 3986, section 5.2.4).
fn names_a_resource(id: &str) -> bool {
    !matches!(id, "" | "." | "..") && !id.chars().any(char::is_control)
}

/// Whether an account of that currency holds no other (`XXX` holds any).
fn is_single(currency: Currency) -> bool {
    currency.as_str() != "XXX"
}

impl DecodeNotes<'_> {
    /// Validates a list of accounts. Those that cannot be followed are left out: an id that cannot
    /// stand in a path leads elsewhere, and one that two accounts share leads to either.
    fn accounts<T: Account>(&mut self, list: &str, accounts: &mut Vec<T>) {
        let mut times: HashMap<&str, usize> = HashMap::new();
        for (index, account) in accounts.iter().enumerate() {
            self.currency = Some(account.currency());
            for (number, balance) in account.balances().into_iter().flatten().enumerate() {
                self.amount(&balance.balance_amount, |notes| {
                    notes.place(list, index) + &format!(".balances[{number}].balanceAmount")
                });
            }
            if let Some(id) = account.resource_id() {
                *times.entry(id).or_default() += 1;
            }
        }
        let fault = |account: &T| match account.resource_id() {
            Some(id) if !names_a_resource(id) => Some(NO_ID),
            Some(id) if times.get(id).is_some_and(|times| *times > 1) => {
                Some("the same id as another account's")
            }
            _ => None,
        };
        let faults: Vec<Option<&str>> = accounts.iter().map(fault).collect();
        for (index, fault) in faults.iter().enumerate() {
            if let Some(fault) = fault {
                let path = |notes: &Self| notes.place(list, index) + ".resourceId";
                self.record(path, *fault, Outcome::ElementLeftOut);
            }
        }
        let mut faults = faults.into_iter();
        accounts.retain(|_| faults.next().flatten().is_none());
    }

    /// Settles the one currency of the account, or none where it may hold any, or where it is not
    /// known. `said` is what the answer itself has, in the field of that name.
    fn agree(&mut self, account: &str, said: Option<Currency>) {
        self.currency = match (self.currency, said) {
            (Some(known), Some(said)) if is_single(known) && is_single(said) && known != said => {
                let reason = "another currency than in the list of accounts";
                self.record(|_| format!("{account}.currency"), reason, Outcome::Kept);
                None
            }
            (known, said) => known.or(said).filter(|currency| is_single(*currency)),
        };
    }

    /// An amount has its currency with it: one in another currency than the account's is kept, and
    /// recorded.
    fn amount(&mut self, amount: &Amount, path: impl FnOnce(&Self) -> String) {
        let differs = |own| is_single(own) && own != amount.currency();
        if self.currency.is_some_and(differs) {
            let reason = "another currency than the account's";
            self.record(|notes| path(notes) + ".currency", reason, Outcome::Kept);
        }
    }

    fn balances(&mut self, list: &str, balances: Option<&[Balance]>) {
        for (index, balance) in balances.into_iter().flatten().enumerate() {
            self.amount(&balance.balance_amount, |notes| {
                notes.place(list, index) + ".balanceAmount"
            });
        }
    }

    fn transaction(&mut self, entry: &Transaction, place: impl Fn(&Self) -> String) {
        self.amount(&entry.transaction_amount, |notes| {
            place(notes) + ".transactionAmount"
        });
        if let Some(balance) = &entry.balance_after_transaction {
            self.amount(&balance.balance_amount, |notes| {
                place(notes) + ".balanceAfterTransaction.balanceAmount"
            });
        }
    }
}

/// Facts about accounts from earlier answers: the currencies by the last list of each kind, which
/// bind later answers, and how debits of card accounts are quoted (`debitAccounting`): the standard
/// lets a bank say so in any of its answers.
///
/// Kept is only the last list of each kind, so that no bank can make it grow.
#[derive(Default)]
pub(crate) struct AccountFacts(Mutex<Facts>);

#[derive(Default)]
struct Facts {
    accounts: HashMap<String, Currency>,
    cards: HashMap<String, Currency>,
    debits: HashMap<String, bool>,
}

impl AccountFacts {
    /// Each change leaves the maps whole.
    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn learn(&self, accounts: &[AccountDetails]) {
        self.lock().accounts = currencies(accounts);
    }

    pub(crate) fn learn_cards(&self, accounts: &[CardAccountDetails]) {
        let mut facts = self.lock();
        facts.cards = currencies(accounts);
        let said = accounts.iter().filter_map(|account| {
            let id = account.resource_id()?;
            let before = || facts.debits.get(id).copied();
            Some((id.to_owned(), account.debit_accounting.or_else(before)?))
        });
        facts.debits = said.collect();
    }

    /// Learns the `debitAccounting` of an answer about a card account, if it has any.
    pub(crate) fn learn_debits(&self, id: &str, said: Option<bool>) {
        if let Some(said) = said {
            self.lock().debits.insert(id.to_owned(), said);
        }
    }

    pub(crate) fn debits(&self, id: &str) -> Option<bool> {
        self.lock().debits.get(id).copied()
    }

    pub(crate) fn currency(&self, id: &str) -> Option<Currency> {
        self.lock().accounts.get(id).copied()
    }

    pub(crate) fn card_currency(&self, id: &str) -> Option<Currency> {
        self.lock().cards.get(id).copied()
    }
}

fn currencies<T: Account>(accounts: &[T]) -> HashMap<String, Currency> {
    let pairs = accounts.iter();
    pairs
        .filter_map(|account| Some((account.resource_id()?.to_owned(), account.currency())))
        .collect()
}

// `Debug` does not show account data.
partial_debug!(AccountFacts {});

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared_types::decode::decode;

    use super::*;

    /// Paths of the deviations, or of the fault.
    fn faulty<T: ValidateResponse>(body: &Value, held: Option<&str>) -> String {
        let mut body: T = decode(body.to_string().as_bytes()).unwrap();
        let held = held.map(|held| held.parse().unwrap());
        let mut notes = DecodeNotes::new("Bank B", held);
        if let Err(fault) = body.validate(&mut notes) {
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
            .validate(&mut DecodeNotes::new("Bank B", None))
            .unwrap();
        let ids: Vec<_> = accounts.accounts.iter().map(Account::resource_id).collect();
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
        assert_eq!(held.currency("a"), None);
        assert_eq!(held.currency("b"), Some(Currency::EUR));
        assert_eq!(held.card_currency("b"), None);
        assert_eq!(format!("{held:?}"), "AccountFacts { .. }");
    }
}
