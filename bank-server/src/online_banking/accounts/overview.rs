//! Page of all accounts of a customer, with totals per currency.

use std::collections::BTreeMap;

use maud::{Markup, html};
use shared_types::xs2a::money::{Amount, Currency};

use super::super::formatting::held;
use super::super::layout::Section;
use super::super::problem::Problem;
use super::super::session::Customer;
use super::super::texts::Texts;
use super::super::{OnlineBanking, PageResult};
use super::view::View;
use crate::domain::{AccountId, PsuId};

pub(super) async fn page(customer: Customer) -> PageResult {
    let views = views(&customer.state, &customer.psu).await?;
    let texts = customer.state.texts;
    let content = html! {
        @if views.is_empty() { p { (texts.accounts.none) } }
        @else {
            (totals(texts, views.iter()))
            ul.cards {
                @for view in &views {
                    (card(texts, view, &html! {
                        h2.name { a href={ "/accounts/" (view.id.0) } { (view.name) } }
                    }))
                }
            }
        }
    };
    Ok(customer.page(Section::Accounts, texts.accounts.title, content))
}

/// The accounts of a customer at this bank, with their balances.
pub(in super::super) async fn views(
    state: &OnlineBanking,
    psu: &PsuId,
) -> Result<Vec<View>, Problem> {
    let accounts = state.core.accounts_of(psu).await?;
    let ids: Vec<AccountId> = accounts.iter().map(|account| account.id.clone()).collect();
    let balances = state.core.balances(&ids).await?;
    let views = accounts
        .iter()
        .zip(&balances)
        .map(|(account, balances)| View::new(account, balances, state.texts));
    Ok(views.collect())
}

/// Sum of the balances in each currency. A currency in which an account has no balance has no sum.
fn sums<'a>(views: impl Iterator<Item = &'a View>) -> Vec<Amount> {
    let mut sums: BTreeMap<Currency, Option<Amount>> = BTreeMap::new();
    for view in views {
        let sum = sums
            .entry(view.currency)
            .or_insert_with(|| Some(Amount::zero(view.currency)));
        *sum = sum
            .zip(view.booked())
            .and_then(|(sum, booked)| sum.checked_add(booked).ok());
    }
    sums.into_values().flatten().collect()
}

/// Panel with the sums.
pub(in super::super) fn totals<'a>(texts: &Texts, views: impl Iterator<Item = &'a View>) -> Markup {
    let sums = sums(views);
    html! {
        @if !sums.is_empty() {
            section.panel aria-labelledby="totals" {
                h2 #totals { (texts.accounts.totals) }
                dl.facts {
                    @for sum in &sums {
                        @let currency = sum.currency();
                        @let values = [("currency", currency.as_str())];
                        dt { (texts.fill(texts.accounts.total, &values)) }
                        dd.large { (held(texts, sum)) }
                    }
                }
            }
        }
    }
}

/// Card of an account, with that heading.
pub(in super::super) fn card(texts: &Texts, view: &View, heading: &Markup) -> Markup {
    html! {
        li {
            (heading)
            p.number { (view.number) }
            p.amount {
                @match view.booked() {
                    Some(booked) => (texts.amount(booked)),
                    None => (texts.accounts.no_balance),
                }
            }
            @if !view.enabled { span.tag.warning { (texts.accounts.not_enabled) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::texts::ENGLISH;
    use super::*;
    use crate::domain::{Account, AccountKind};

    fn view(currency: &str, balance: Option<&str>) -> View {
        let details = serde_json::json!({ "iban": "DE89370400440532013000", "currency": currency });
        let account = Account {
            id: AccountId("1".to_owned()),
            kind: AccountKind::Payment(Box::new(serde_json::from_value(details).unwrap())),
            approvals_needed: 1,
        };
        let balances = balance.map(|amount| {
            serde_json::from_value(serde_json::json!({
                "balanceAmount": { "currency": currency, "amount": amount }, "balanceType": "interimBooked"
            }))
            .unwrap()
        });
        View::new(&account, balances.as_slice(), &ENGLISH)
    }

    #[test]
    fn sums_are_exact_and_complete_for_each_currency() {
        let told = |views: &[View]| -> Vec<String> {
            sums(views.iter()).iter().map(ToString::to_string).collect()
        };
        let views = [
            view("EUR", Some("0.10")),
            view("USD", Some("5")),
            view("EUR", Some("0.20")),
            view("EUR", Some("-1000.00")),
        ];
        assert_eq!(told(&views), ["-999.70 EUR", "5 USD"]);
        let unknown = [
            view("EUR", Some("1")),
            view("EUR", None),
            view("USD", Some("5")),
        ];
        assert_eq!(told(&unknown), ["5 USD"]);
        let too_much = [view("EUR", Some("99999999999999")), view("EUR", Some("1"))];
        assert!(told(&too_much).is_empty());
    }
}
