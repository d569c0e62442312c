//! What an approved consent opens.

use shared_types::account::AccountReference;
use shared_types::consent::AccountAccess;

use crate::core_banking::{Account, AccountKind};
use crate::store::consents::Grant;

/// The consent names an account that is not among the customer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the consent names an account that is not among the customer's")]
pub struct NotTheCustomers;

/// Works out which of the customer's accounts an access opens, and how far.
///
/// A dedicated consent opens what it names, and naming an account that is not the customer's fails the whole: the
/// customer must not approve what she cannot see. A global consent, and one that leaves the choice to the bank, opens
/// everything among `accounts`: hand in what the customer chose. For a bank-offered consent only what it asked for is
/// opened of each account.
pub fn grants(access: &AccountAccess, accounts: &[Account]) -> Result<Vec<Grant>, NotTheCustomers> {
    if access.all_psd2.is_some() {
        return Ok(accounts
            .iter()
            .map(|account| grant(account, true, true))
            .collect());
    }
    let lists = [&access.accounts, &access.balances, &access.transactions];
    if lists.into_iter().flatten().all(Vec::is_empty) {
        let (balances, transactions) = (access.balances.is_some(), access.transactions.is_some());
        return Ok(accounts
            .iter()
            .map(|account| grant(account, balances, transactions))
            .collect());
    }
    let named = |list: &Option<Vec<AccountReference>>| -> Vec<AccountReference> {
        list.clone().unwrap_or_default()
    };
    let (details, balances, transactions) = (
        named(&access.accounts),
        named(&access.balances),
        named(&access.transactions),
    );
    let all_known = details
        .iter()
        .chain(&balances)
        .chain(&transactions)
        .all(|reference| accounts.iter().any(|account| names(reference, account)));
    if !all_known {
        return Err(NotTheCustomers);
    }
    let opened = accounts.iter().filter_map(|account| {
        let within =
            |list: &[AccountReference]| list.iter().any(|reference| names(reference, account));
        let (balances, transactions) = (within(&balances), within(&transactions));
        (within(&details) || balances || transactions)
            .then(|| grant(account, balances, transactions))
    });
    Ok(opened.collect())
}

fn grant(account: &Account, balances: bool, transactions: bool) -> Grant {
    Grant {
        account: account.id.clone(),
        details: true,
        balances,
        transactions,
        owner_name: false,
    }
}

/// Whether a reference means that account. Without a currency it means all currencies of an account number.
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
    use crate::core_banking::AccountId;

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

    fn opened(access: Value) -> Result<Vec<(String, bool, bool)>, NotTheCustomers> {
        let access = serde_json::from_value(access).unwrap();
        let grants = grants(&access, &accounts())?;
        Ok(grants
            .into_iter()
            .map(|grant| (grant.account.0, grant.balances, grant.transactions))
            .collect())
    }

    #[test]
    fn a_dedicated_consent_opens_what_it_names_and_no_more() {
        let opened_by = opened(json!({
            "accounts": [{ "iban": "NL91ABNA0417164300" }],
            "balances": [{ "iban": EURO }],
            "transactions": [{ "iban": EURO, "currency": "USD" }, { "maskedPan": "525412******3241" }]
        }));
        assert_eq!(
            opened_by.unwrap(),
            [
                ("euro".into(), true, false),
                ("dollar".into(), true, true),
                ("other".into(), false, false),
                ("card".into(), false, true)
            ]
        );
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
    fn global_and_bank_offered_consents_open_all_as_far_as_asked() {
        assert!(
            opened(json!({ "allPsd2": "allAccounts" }))
                .unwrap()
                .iter()
                .all(|(_, balances, transactions)| *balances && *transactions)
        );
        let offered = opened(json!({ "balances": [] })).unwrap();
        assert_eq!(offered.len(), 4);
        assert!(
            offered
                .iter()
                .all(|(_, balances, transactions)| *balances && !*transactions)
        );
    }
}
