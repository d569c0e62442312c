//! Money in and out by month, as a table.

use maud::{Markup, html};
use shared_types::xs2a::money::Currency;

use super::super::texts::Texts;
use super::history::Month;

pub(super) fn table(texts: &Texts, currency: Currency, months: &[Month]) -> Markup {
    let words = &texts.accounts;
    html! {
        div.panel {
            h2 #months { (texts.fill(words.months, &[("currency", currency.as_str())])) }
            div.scroll tabindex="0" role="region" aria-labelledby="months" {
                table {
                    thead {
                        tr {
                            th scope="col" { (words.month) }
                            th.right scope="col" { (words.money_in) }
                            th.right scope="col" { (words.money_out) }
                            th.right.spare scope="col" { (words.difference) }
                        }
                    }
                    tbody {
                        @for month in months {
                            tr {
                                th scope="row" { (name(texts, month)) }
                                td.right { span.amount.in { (texts.decimal(month.into)) } }
                                td.right { span.amount { (texts.decimal(month.out)) } }
                                td.right.spare {
                                    span.amount { (texts.decimal(month.into + month.out)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn name(texts: &Texts, month: &Month) -> String {
    let name = texts.month(month.first);
    if month.whole {
        name
    } else {
        texts.fill(texts.accounts.partly, &[("month", &name)])
    }
}
