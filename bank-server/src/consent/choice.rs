//! What a consent leaves to the customer's choice.

use shared_types::account::AccountReference;
use shared_types::consent::AccountAccess;

use crate::core_banking::Account;

/// Whether the customer chooses among her accounts: the consent names none.
pub(super) fn is_choice(access: &AccountAccess) -> bool {
    [&access.accounts, &access.balances, &access.transactions]
        .into_iter()
        .flatten()
        .all(Vec::is_empty)
        && !is_list_only(access)
        && !is_list_with_balances(access)
}

/// Whether it asks for the list of accounts, and no more.
pub(super) fn is_list_only(access: &AccountAccess) -> bool {
    access.available_accounts.is_some() && !is_list_with_balances(access)
}

fn is_list_with_balances(access: &AccountAccess) -> bool {
    access.available_accounts_with_balance.is_some()
}

/// A bank-offered consent says, once approved, what was chosen. Others say what they said before.
pub(super) fn chosen(access: AccountAccess, accounts: &[Account]) -> AccountAccess {
    if !is_choice(&access) {
        return access;
    }
    let references: Vec<AccountReference> = accounts.iter().map(Account::reference).collect();
    let fill = |list: Option<Vec<AccountReference>>| list.map(|_| references.clone());
    AccountAccess {
        accounts: fill(access.accounts),
        balances: fill(access.balances),
        transactions: fill(access.transactions),
        ..access
    }
}
