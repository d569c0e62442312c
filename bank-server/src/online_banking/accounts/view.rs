//! View of an account for its holder; the same for payment accounts and cards.

use shared_types::xs2a::account::{AccountStatus, Balance, BalanceType};
use shared_types::xs2a::card_account::debits_negative;
use shared_types::xs2a::money::{Amount, Currency};

use super::super::foreign::{Foreign, masked};
use super::super::formatting::grouped;
use super::super::texts::Texts;
use crate::domain::{Account, AccountId, AccountKind};

/// Account as it is shown. Debts are negative, whichever way the bank quotes them.
pub(in super::super) struct View {
    pub(in super::super) id: AccountId,
    pub(in super::super) name: Foreign,
    /// Its number, grouped for reading.
    pub(in super::super) number: Foreign,
    pub(in super::super) owner: Option<Foreign>,
    pub(in super::super) product: Option<Foreign>,
    pub(in super::super) currency: Currency,
    /// The newest balance of each kind, in the bank's order.
    pub(in super::super) balances: Vec<(BalanceType, Amount)>,
    pub(in super::super) limit: Option<Amount>,
    /// Whether it is neither closed nor blocked.
    pub(in super::super) enabled: bool,
    pub(in super::super) card: bool,
    /// Whether the bank quotes debits of a card as positive amounts.
    pub(in super::super) debit_accounting: Option<bool>,
}

impl View {
    pub(in super::super) fn new(account: &Account, balances: &[Balance], texts: &Texts) -> Self {
        let enabled =
            |status: Option<AccountStatus>| matches!(status, None | Some(AccountStatus::Enabled));
        let view = match &account.kind {
            AccountKind::Payment(details) => Self {
                id: account.id.clone(),
                name: Foreign::of(details.display_name.as_ref())
                    .or_else(|| Foreign::of(details.name.as_ref()))
                    .or_else(|| Foreign::of(details.product.as_ref()))
                    .unwrap_or_else(|| Foreign::new(texts.accounts.account)),
                number: details
                    .iban
                    .as_ref()
                    .map(|iban| Foreign::new(grouped(iban)))
                    .or_else(|| Foreign::of(details.bban.as_ref()))
                    .unwrap_or_else(|| Foreign::new("")),
                owner: Foreign::of(details.owner_name.as_ref()),
                product: Foreign::of(details.product.as_ref()),
                currency: details.currency,
                balances: Vec::new(),
                limit: None,
                enabled: enabled(details.status),
                card: false,
                debit_accounting: None,
            },
            AccountKind::Card(details) => Self {
                id: account.id.clone(),
                name: Foreign::of(details.display_name.as_ref())
                    .or_else(|| Foreign::of(details.name.as_ref()))
                    .or_else(|| Foreign::of(details.product.as_ref()))
                    .unwrap_or_else(|| Foreign::new(texts.accounts.card)),
                number: Foreign::new(details.masked_pan.as_str()),
                owner: Foreign::of(details.owner_name.as_ref()),
                product: Foreign::of(details.product.as_ref()),
                currency: details.currency,
                balances: Vec::new(),
                limit: details.credit_limit,
                enabled: enabled(details.status),
                card: true,
                debit_accounting: details.debit_accounting,
            },
        };
        let balances = Balance::newest(balances).into_iter().map(|balance| {
            (
                balance.balance_type.clone(),
                debits_negative(balance.balance_amount, view.debit_accounting),
            )
        });
        Self {
            balances: balances.collect(),
            ..view
        }
    }

    /// The part that one factor opens (RTS, Article 4): kind, end of the number, currency.
    pub(in super::super) fn masked(self, texts: &Texts) -> Self {
        let words = &texts.accounts;
        let kind = if self.card { words.card } else { words.account };
        let number = masked(self.number.as_str());
        Self {
            name: Foreign::new(kind),
            number: Foreign::new(format!("{number} {}", self.currency)),
            owner: None,
            product: None,
            ..self
        }
    }

    /// Booked balance, which lists and totals show.
    pub(in super::super) fn booked(&self) -> Option<&Amount> {
        [
            BalanceType::InterimBooked,
            BalanceType::ClosingBooked,
            BalanceType::Expected,
        ]
        .into_iter()
        .find_map(|wanted| {
            self.balances
                .iter()
                .find(|(kind, amount)| *kind == wanted && amount.currency() == self.currency)
        })
        .map(|(_, amount)| amount)
    }
}
