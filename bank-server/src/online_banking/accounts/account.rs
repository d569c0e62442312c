//! Page of one account: balances, recent history, and paged transactions.

use actix_web::{HttpRequest, web};
use chrono::NaiveDate;
use maud::{Markup, html};
use shared_types::xs2a::account::BalanceType;
use shared_types::xs2a::transaction::BookingStatus;

use super::super::formatting::held;
use super::super::layout::{Field, Page, Section};
use super::super::problem::{Problem, problem};
use super::super::session::Customer;
use super::super::texts::Texts;
use super::super::{OnlineBanking, PageResult};
use super::chart::chart;
use super::entry::{EntryPage, table};
use super::history::History;
use super::months;
use super::overview::views;
use super::query::Query;
use super::view::View;
use crate::core_banking::TransactionQuery;

/// Transactions on a page.
const PAGE: usize = 50;

/// Days in the chart.
const DAYS: u64 = 90;

pub(super) async fn page(
    customer: Customer,
    account: web::Path<String>,
    request: HttpRequest,
) -> PageResult {
    let state = &customer.state;
    let texts = state.texts;
    // An account of another customer is reported like one that does not exist.
    let mut views = views(state, &customer.psu).await?.into_iter();
    let view = views.find(|view| view.id.0 == *account);
    let view = view.ok_or_else(|| problem!(NOT_FOUND, accounts.unknown, Start))?;
    let query = Query::read(request.query_string(), texts);
    let query = query.ok_or_else(|| problem!(NOT_FOUND, accounts.bad_page, Start))?;
    let today = state.calendar.today();
    let has_errors = !query.errors.is_empty();
    let found = if has_errors {
        EntryPage::default()
    } else {
        find(state, &view, &query, today).await?
    };
    let history = if query.is_narrowed() || query.after.is_some() || has_errors {
        None
    } else {
        Some(History::read(state, &view, today).await?)
    };
    let path = format!("/accounts/{}", view.id.0);
    let content = html! {
        (facts(texts, &view))
        @if let Some(history) = &history { (lately(texts, &view, history)) }
        section.panel aria-labelledby="transactions" {
            h2 #transactions { (texts.accounts.transactions) }
            (search(texts, &path, &query))
            @if !has_errors { (list(texts, &path, &query, &found)) }
        }
        p { a href="/" { (texts.frame.to_start) } }
    };
    Ok(Page::new(view.name.as_str(), content)
        .status(query.errors.status())
        .section(Section::Accounts)
        .respond(&customer))
}

async fn find(
    state: &OnlineBanking,
    view: &View,
    query: &Query,
    today: NaiveDate,
) -> Result<EntryPage, Problem> {
    let wanted = TransactionQuery {
        from: query.from.date.unwrap_or(NaiveDate::MIN).max(LONG_AGO),
        to: query.to.date.unwrap_or(today).min(FAR_AHEAD),
        status: BookingStatus::Both,
        since: None,
        after: query.after,
        limit: PAGE,
    };
    Ok(EntryPage::read(state.core.as_ref(), view, &wanted, &query.text).await?)
}

/// First and last days that a query can name: days are stored as text of ten characters.
const LONG_AGO: NaiveDate = day(1);
const FAR_AHEAD: NaiveDate = day(9999);

const fn day(year: i32) -> NaiveDate {
    match NaiveDate::from_ymd_opt(year, 1, 1) {
        Some(day) => day,
        None => NaiveDate::MIN,
    }
}

fn facts(texts: &Texts, view: &View) -> Markup {
    let words = &texts.accounts;
    html! {
        div.panel {
            dl.facts {
                dt { (words.number) }
                dd.number { (view.number) }
                @if let Some(owner) = &view.owner { dt { (words.owner) } dd { (owner) } }
                @if let Some(product) = &view.product { dt { (words.product) } dd { (product) } }
                @for (kind, amount) in &view.balances {
                    dt { (kind_of(texts, kind)) }
                    dd { (held(texts, amount)) }
                }
                @if let Some(limit) = &view.limit {
                    dt { (words.limit) }
                    dd { (held(texts, limit)) }
                }
            }
            @if !view.enabled { p { span.tag.warning { (words.not_enabled) } } }
        }
    }
}

fn kind_of<'a>(texts: &'a Texts, kind: &'a BalanceType) -> &'a str {
    let words = &texts.accounts;
    match kind {
        BalanceType::ClosingBooked | BalanceType::OpeningBooked | BalanceType::InterimBooked => {
            words.booked
        }
        BalanceType::Expected => words.expected,
        BalanceType::InterimAvailable | BalanceType::ForwardAvailable => words.available,
        BalanceType::NonInvoiced => words.not_invoiced,
        BalanceType::Other(name) => name.as_str(),
    }
}

/// Chart of the balance, if there is one, and the table of months.
fn lately(texts: &Texts, view: &View, history: &History) -> Markup {
    let drawn = view.booked().and_then(|booked| {
        chart(
            texts,
            view.currency,
            &history.balances(booked.value(), DAYS),
        )
    });
    let title = texts.fill(texts.accounts.chart, &[("days", &DAYS.to_string())]);
    let months = history.months();
    let since = texts.date(history.since);
    let since = [("from", since.as_str())];
    html! {
        @if let Some(drawn) = drawn {
            section.panel aria-labelledby="chart" {
                h2 #chart { (title) }
                @if history.short {
                    p.hint { (texts.fill(texts.accounts.chart_short, &since)) }
                }
                (drawn)
            }
        }
        @if !months.is_empty() { (months::table(texts, view.currency, &months)) }
    }
}

fn search(texts: &Texts, path: &str, query: &Query) -> Markup {
    let words = &texts.accounts;
    let field = |name, label, kind, value| Field {
        value,
        is_required: false,
        error: query.errors.get(name),
        ..Field::new(kind, name, label)
    };
    html! {
        (query.errors.render(texts))
        form method="get" action=(path) role="search" aria-label=(words.find) {
            div.row {
                (Field {
                    hint: Some(words.find_hint),
                    ..field("text", words.find_in, "search", query.text.as_str())
                }.render())
                (field("from", words.from, "date", &query.from.entered).render())
                (field("to", words.to, "date", &query.to.entered).render())
            }
            div.actions {
                button type="submit" { (words.find_button) }
                @if query.is_narrowed() || !query.errors.is_empty() {
                    a.button.quiet href=(path) { (words.find_all) }
                }
            }
        }
    }
}

fn list(texts: &Texts, path: &str, query: &Query, found: &EntryPage) -> Markup {
    let words = &texts.accounts;
    let narrowed = query.is_narrowed();
    let nothing = match (&found.next, narrowed) {
        (Some(next), _) => texts.fill(words.nothing_yet, &[("day", &texts.date(next.date))]),
        (None, true) => words.nothing_found.to_owned(),
        (None, false) => words.no_transactions.to_owned(),
    };
    let entries = found.entries.iter().map(|entry| (entry, None));
    html! {
        @if found.entries.is_empty() { p role="status" { (nothing) } }
        @else { (table(texts, words.transactions, entries)) }
        div.actions {
            @if let Some(next) = &found.next {
                a.button.quiet href={ (path) (query.on_from(next)) "#transactions" } {
                    @if query.text.is_empty() { (words.older) } @else { (words.search_on) }
                }
            }
            @if query.after.is_some() {
                a href={ (path) (query.start()) } { (words.newest) }
            }
        }
    }
}
