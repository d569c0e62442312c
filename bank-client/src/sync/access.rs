//! Access that the consent grants to an account, and what a refusal means in view of it.

use std::future::Future;

use shared_types::xs2a::account::{AccountReference, ReferenceMatch};
use shared_types::xs2a::consent::AccountAccess;
use shared_types::xs2a::link::Links;
use shared_types::xs2a::message::MessageCode;
use shared_types::xs2a::money::Currency;
use tokio::sync::OnceCell;

use super::deadline::Deadline;
use crate::accounts::AccountInformation;
use crate::error::Error;

/// Reason for which the bank does not seem to open a part of an account.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotOpened {
    /// By the consent: nothing is missing.
    ByConsent,
    /// The account has links, none of them leads there, and the bank refused it. The consent does
    /// not say that it is not opened.
    Refused(Error),
}

impl NotOpened {
    /// Whether nothing is missing: also where the bank has no such resource at all (`404`, `405`,
    /// `501`).
    pub(super) const fn is_complete(&self) -> bool {
        match self {
            Self::ByConsent => true,
            Self::Refused(error) => error.is_not_offered(),
        }
    }
}

/// Reason for which a part of an account was not read.
#[derive(Debug)]
pub(super) enum Unread {
    NotOpened(NotOpened),
    Failed(Error),
}

/// Part of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Balances,
    Transactions,
}

impl Part {
    const fn link(self) -> &'static str {
        match self {
            Self::Balances => "balances",
            Self::Transactions => "transactions",
        }
    }

    const fn list(self, access: &AccountAccess) -> Option<&Vec<AccountReference>> {
        match self {
            Self::Balances => access.balances.as_ref(),
            Self::Transactions => access.transactions.as_ref(),
        }
    }

    /// Whether an account that has links has none that leads there. Banks leave links out: that
    /// alone decides nothing.
    fn is_left_out(self, links: Option<&Links>) -> bool {
        links.is_some_and(|links| links.get(self.link()).is_none())
    }
}

/// The access of a run's consent, read from the bank once, when it matters for the first time.
pub(super) struct Access<'a> {
    pub(super) under: &'a AccountInformation,
    pub(super) deadline: Deadline,
    read: OnceCell<Option<AccountAccess>>,
}

impl<'a> Access<'a> {
    pub(super) fn new(under: &'a AccountInformation, deadline: Deadline) -> Self {
        Self {
            under,
            deadline,
            read: OnceCell::new(),
        }
    }

    /// An answer, if it comes before the run ends.
    pub(super) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let outcome = self.deadline.wait(Box::pin(answer)).await;
        outcome.unwrap_or_else(|late| Err(self.under.bank().error(late)))
    }

    /// Whether it need not be requested: the account has no link to it, and the consent does not
    /// open it.
    pub(super) async fn is_closed(
        &self,
        part: Part,
        account: &AccountReference,
        links: Option<&Links>,
    ) -> bool {
        part.is_left_out(links) && self.says_closed(part, account).await
    }

    /// Classifies the error with which the bank did not give it.
    pub(super) async fn judge(
        &self,
        error: Error,
        part: Part,
        account: &AccountReference,
        links: Option<&Links>,
    ) -> Unread {
        let about_the_consent = matches!(
            error.code(),
            Some(MessageCode::ConsentExpired | MessageCode::ConsentUnknown)
        );
        if !error.is_refusal() || about_the_consent {
            Unread::Failed(error)
        } else if self.says_closed(part, account).await {
            Unread::NotOpened(NotOpened::ByConsent)
        } else if part.is_left_out(links) {
            Unread::NotOpened(NotOpened::Refused(error))
        } else {
            Unread::Failed(error)
        }
    }

    async fn says_closed(&self, part: Part, account: &AccountReference) -> bool {
        let read = || async {
            let bank = self.under.bank();
            let consent = self
                .in_time(bank.consent(self.under.consent_id()))
                .await
                .ok()?;
            // Of a consent that cannot be read whole it is not known what it does not open.
            let is_read = consent.deviations.is_empty();
            is_read.then(|| consent.into_inner().access)
        };
        let access = self.read.get_or_init(read).await;
        access
            .as_ref()
            .is_some_and(|access| closes(access, part, account))
    }
}

/// Whether a consent of that access certainly does not open that part of that account.
fn closes(access: &AccountAccess, part: Part, account: &AccountReference) -> bool {
    let with_balance = access.available_accounts_with_balance.is_some();
    if access.all_psd2.is_some() || part == Part::Balances && with_balance {
        return false;
    }
    if let Some(opened) = part.list(access) {
        // An empty list stands for what the customer chooses.
        return !opened.is_empty()
            && opened
                .iter()
                .all(|opened| compare(opened, account) == ReferenceMatch::Different);
    }
    let says_something = |list: Option<&Vec<AccountReference>>| list.is_some();
    with_balance
        || access.available_accounts.is_some()
        || says_something(access.accounts.as_ref())
        || says_something(access.balances.as_ref())
        || says_something(access.transactions.as_ref())
}

/// An account of several currencies (`XXX`) may be named by any of them.
fn compare(opened: &AccountReference, account: &AccountReference) -> ReferenceMatch {
    let several = |reference: &AccountReference| {
        reference
            .currency
            .is_some_and(|currency: Currency| currency.as_str() == "XXX")
    };
    if several(opened) || several(account) {
        let any = |reference: &AccountReference| AccountReference {
            currency: None,
            ..reference.clone()
        };
        return any(opened).compare(&any(account));
    }
    opened.compare(account)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_consent_closes_what_it_names_only_elsewhere() {
        let one = json!({ "iban": "DE02120300000000202051", "currency": "EUR" });
        let two = json!({ "iban": "DE02500105170137075030" });
        let any = json!({ "iban": "DE02120300000000202051", "currency": "XXX" });
        let card = json!({ "pan": "1234567812345678" });
        let account: AccountReference = serde_json::from_value(one.clone()).unwrap();
        let closed = |access: Value| {
            let access: AccountAccess = serde_json::from_value(access).unwrap();
            (
                closes(&access, Part::Balances, &account),
                closes(&access, Part::Transactions, &account),
            )
        };
        for (access, expected) in [
            (json!({}), (false, false)),
            (json!({ "allPsd2": "allAccounts" }), (false, false)),
            (json!({ "availableAccounts": "allAccounts" }), (true, true)),
            (
                json!({ "availableAccountsWithBalance": "allAccounts" }),
                (false, true),
            ),
            (json!({ "accounts": [one] }), (true, true)),
            (json!({ "balances": [one] }), (false, true)),
            (
                json!({ "balances": [one], "transactions": [two] }),
                (false, true),
            ),
            (
                json!({ "balances": [two], "transactions": [two, one] }),
                (true, false),
            ),
            (
                json!({ "balances": [], "transactions": [] }),
                (false, false),
            ),
            (json!({ "balances": [any] }), (false, true)),
            // That may be the account.
            (json!({ "balances": [card] }), (false, true)),
        ] {
            assert_eq!(closed(access.clone()), expected, "{access}");
        }
    }
}
