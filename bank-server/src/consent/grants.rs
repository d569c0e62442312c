//! Grants: the accounts that an approved consent covers, and the extent of the access.

use shared_types::xs2a::account::AccountReference;
use shared_types::xs2a::consent::{AccountAccess, AdditionalInformation, AllAccounts};

use crate::domain::{Account, AccountKind, Grant};

/// The consent names an account that is not among the customer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the consent names an account that is not among the customer's")]
pub struct NotTheCustomers;

/// Computes which of the customer's accounts an access covers, and to what extent.
///
/// A dedicated consent covers the accounts that it names. If one of them is not the customer's,
/// this fails, because customers must not approve access to accounts that they cannot see. Every
/// other kind of consent covers all of `accounts`; if the customer has chosen accounts, pass only
/// those. For a bank-offered consent, the extent for each account is the requested one.
pub fn grants(access: &AccountAccess, accounts: &[Account]) -> Result<Vec<Grant>, NotTheCustomers> {
    if let Some(extent) = extent_of_all(access) {
        return Ok(accounts
            .iter()
            .map(|account| grant(account, extent))
            .collect());
    }
    let additional = access.additional_information.as_ref();
    let [details, balances, transactions, owners] = [
        access.accounts.as_deref(),
        access.balances.as_deref(),
        access.transactions.as_deref(),
        additional.and_then(|additional| additional.owner_name.as_deref()),
    ]
    .map(Option::unwrap_or_default);
    let all_known = [details, balances, transactions, owners]
        .into_iter()
        .flatten()
        .all(|reference| accounts.iter().any(|account| names(reference, account)));
    if !all_known {
        return Err(NotTheCustomers);
    }
    let opened = accounts.iter().filter_map(|account| {
        let within =
            |list: &[AccountReference]| list.iter().any(|reference| names(reference, account));
        let (balances, transactions) = (within(balances), within(transactions));
        let extent = [true, balances, transactions, within(owners)];
        (within(details) || balances || transactions).then(|| grant(account, extent))
    });
    Ok(opened.collect())
}

/// The access that replaces the requested one on approval: for a bank-offered consent, the accounts
/// that were chosen.
#[must_use]
pub fn chosen(access: AccountAccess, opened: &[Grant], accounts: &[Account]) -> AccountAccess {
    if !is_bank_offered(&access) {
        return access;
    }
    let references: Vec<AccountReference> = opened
        .iter()
        .filter_map(|grant| accounts.iter().find(|account| account.id == grant.account))
        .map(Account::reference)
        .collect();
    let fill = |list: Option<Vec<AccountReference>>| list.map(|_| references.clone());
    AccountAccess {
        accounts: fill(access.accounts),
        balances: fill(access.balances),
        transactions: fill(access.transactions),
        additional_information: access.additional_information.map(|additional| {
            AdditionalInformation {
                owner_name: fill(additional.owner_name),
                ..additional
            }
        }),
        ..access
    }
}

/// Whether the customer chooses at the bank which accounts an access covers.
#[must_use]
pub fn is_bank_offered(access: &AccountAccess) -> bool {
    let lists = [&access.accounts, &access.balances, &access.transactions];
    lists.into_iter().any(Option::is_some) && lists.into_iter().flatten().all(Vec::is_empty)
}

/// Extent to which an account is opened: details, balances, transactions, owner's name.
type Extent = [bool; 4];

fn grant(account: &Account, extent: Extent) -> Grant {
    let [details, balances, transactions, owner_name] = extent;
    Grant {
        account: account.id.clone(),
        details,
        balances,
        transactions,
        owner_name,
    }
}

/// Common extent for all accounts; `None` for an access that names its accounts.
fn extent_of_all(access: &AccountAccess) -> Option<Extent> {
    let listed = |all: AllAccounts, balances: bool, whole: bool| {
        let owner_name = all == AllAccounts::AllAccountsWithOwnerName;
        [whole, balances, whole, owner_name]
    };
    if let Some(all) = access.all_psd2 {
        return Some(listed(all, true, true));
    }
    if let Some(all) = access.available_accounts_with_balance {
        return Some(listed(all, true, false));
    }
    if let Some(all) = access.available_accounts {
        return Some(listed(all, false, false));
    }
    let additional = access.additional_information.as_ref();
    is_bank_offered(access).then(|| {
        let owner_name = additional.is_some_and(|additional| additional.owner_name.is_some());
        let (balances, transactions) = (&access.balances, &access.transactions);
        [true, balances.is_some(), transactions.is_some(), owner_name]
    })
}

/// Whether a reference means that account. Without a currency it means all currencies of an account
/// number.
fn names(reference: &AccountReference, account: &Account) -> bool {
    fn same<T: PartialEq>(asked: Option<&T>, has: Option<&T>) -> bool {
        asked.is_some() && asked == has
    }

    let (identified, currency) = match &account.kind {
        AccountKind::Payment(details) => (
            same(reference.iban.as_ref(), details.iban.as_ref())
                || same(reference.bban.as_ref(), details.bban.as_ref())
                || same(reference.msisdn.as_ref(), details.msisdn.as_ref()),
            details.currency,
        ),
        AccountKind::Card(details) => (
            same(reference.masked_pan.as_ref(), Some(&details.masked_pan)),
            details.currency,
        ),
    };
    identified && reference.currency.is_none_or(|asked| asked == currency)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::AccountId;

    const EURO: &str = "DE89370400440532013000";

    fn accounts() -> Vec<Account> {
        let payment = |id: &str, iban: &str, currency: &str| Account {
            id: AccountId(id.to_owned()),
            kind: AccountKind::Payment(Box::new(
                serde_json::from_value(json!({ "iban": iban, "currency": currency })).unwrap(),
            )),
            approvals_needed: 1,
        };
        let card = Account {
            id: AccountId("card".to_owned()),
            kind: AccountKind::Card(Box::new(
                serde_json::from_value(
                    json!({ "maskedPan": "525412******3241", "currency": "EUR" }),
                )
                .unwrap(),
            )),
            approvals_needed: 1,
        };
        vec![
            payment("euro", EURO, "EUR"),
            payment("dollar", EURO, "USD"),
            payment("other", "NL91ABNA0417164300", "EUR"),
            card,
        ]
    }

    /// Account, and a letter for each of details, balances, transactions and the owner's name.
    fn opened(access: Value) -> Result<Vec<(String, String)>, NotTheCustomers> {
        let access = serde_json::from_value(access).unwrap();
        let grants = grants(&access, &accounts())?;
        Ok(grants
            .into_iter()
            .map(|grant| {
                let opened = [
                    (grant.details, 'd'),
                    (grant.balances, 'b'),
                    (grant.transactions, 't'),
                    (grant.owner_name, 'o'),
                ];
                let letters = opened.into_iter().filter(|(opened, _)| *opened);
                (grant.account.0, letters.map(|(_, letter)| letter).collect())
            })
            .collect())
    }

    #[test]
    fn a_dedicated_consent_opens_what_it_names_and_no_more() {
        let opened_by = opened(json!({
            "accounts": [{ "iban": "NL91ABNA0417164300" }],
            "balances": [{ "iban": EURO }],
            "transactions": [{ "iban": EURO, "currency": "USD" }, { "maskedPan": "525412******3241" }],
            "additionalInformation": { "ownerName": [{ "iban": EURO, "currency": "USD" }] }
        }));
        let expected = [
            ("euro", "db"),
            ("dollar", "dbto"),
            ("other", "d"),
            ("card", "dt"),
        ];
        assert_eq!(
            opened_by.unwrap(),
            expected.map(|(account, letters)| (account.to_owned(), letters.to_owned()))
        );
    }

    #[test]
    fn the_owners_name_opens_no_account_by_itself() {
        let opened_by = opened(json!({
            "accounts": [{ "iban": "NL91ABNA0417164300" }],
            "additionalInformation": { "ownerName": [{ "iban": EURO }] }
        }));
        assert_eq!(opened_by.unwrap(), [("other".to_owned(), "d".to_owned())]);
        let foreign = json!({
            "accounts": [{ "iban": EURO }],
            "additionalInformation": { "ownerName": [{ "iban": "FR1420041010050500013M02606" }] }
        });
        assert_eq!(opened(foreign), Err(NotTheCustomers));
    }

    #[test]
    fn one_account_that_is_not_the_customers_fails_the_whole() {
        let foreign = json!({ "balances": [{ "iban": EURO }], "transactions": [{ "iban": "FR1420041010050500013M02606" }] });
        assert_eq!(opened(foreign), Err(NotTheCustomers));
        assert_eq!(
            opened(json!({ "accounts": [{ "iban": EURO, "currency": "GBP" }] })),
            Err(NotTheCustomers)
        );
    }

    #[test]
    fn all_other_kinds_open_all_accounts_as_far_as_asked() {
        for (access, letters) in [
            (json!({ "allPsd2": "allAccounts" }), "dbt"),
            (json!({ "allPsd2": "allAccountsWithOwnerName" }), "dbto"),
            (json!({ "availableAccounts": "allAccounts" }), ""),
            (
                json!({ "availableAccounts": "allAccountsWithOwnerName" }),
                "o",
            ),
            (
                json!({ "availableAccountsWithBalance": "allAccounts" }),
                "b",
            ),
            (
                json!({ "availableAccountsWithBalance": "allAccountsWithOwnerName" }),
                "bo",
            ),
            (json!({ "accounts": [] }), "d"),
            (json!({ "balances": [] }), "db"),
            (
                json!({ "transactions": [], "additionalInformation": { "ownerName": [] } }),
                "dto",
            ),
        ] {
            let opened = opened(access.clone()).unwrap();
            assert_eq!(opened.len(), 4, "{access}");
            assert!(
                opened.iter().all(|(_, found)| found == letters),
                "{access} {opened:?}"
            );
        }
    }

    #[test]
    fn what_was_chosen_is_told_where_there_was_a_choice() {
        let tell = |access: Value| {
            let access: AccountAccess = serde_json::from_value(access).unwrap();
            let chosen_accounts = &accounts()[..1];
            let opened = grants(&access, chosen_accounts).unwrap();
            serde_json::to_value(chosen(access, &opened, chosen_accounts)).unwrap()
        };
        let euro = json!([{ "iban": EURO, "currency": "EUR" }]);
        assert_eq!(
            tell(json!({ "balances": [], "additionalInformation": { "ownerName": [] } })),
            json!({ "balances": euro, "additionalInformation": { "ownerName": euro } })
        );
        for as_asked in [
            json!({ "accounts": [{ "iban": EURO, "currency": "EUR" }], "balances": [] }),
            json!({ "allPsd2": "allAccounts" }),
            json!({ "availableAccounts": "allAccounts" }),
        ] {
            assert_eq!(tell(as_asked.clone()), as_asked);
        }
    }
}
