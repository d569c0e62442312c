//! Page of all accounts of a customer, here and at other banks.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use shared_types::xs2a::transaction::BookingStatus;

use super::super::OnlineBanking;
use super::super::accounts::{Entry, View, totals, views};
use super::super::csrf::Purpose;
use super::super::foreign::Foreign;
use super::super::formatting::moved;
use super::super::forms::{Fields, Form};
use super::super::layout::{Page, Section, Tone, notice, token_field};
use super::super::problem::Problem;
use super::super::session::{Customer, Visit};
use super::connection_error::{ConnectionError, Ending};
use super::freshness::{Age, Renewal};
use super::merging::{Line, merged};
use super::returning::check_form;
use super::service::{When, known};
use super::snapshot::Snapshot;
use super::wording;
use crate::core_banking::TransactionQuery;
use crate::domain::{Account, AccountId, AccountKind};
use crate::store::connections::{Connection, Status};

/// Transactions on the page.
const NEWEST: usize = 50;

/// Days back to which they go.
const DAYS: u64 = 90;

/// One bank's part of the page.
struct Part<'a> {
    bank: &'a str,
    views: Vec<View>,
    lines: Vec<Vec<Line>>,
    connection: Option<&'a Connection>,
    /// Some of what the other bank has could not be read.
    partial: bool,
}

pub(super) async fn page(
    state: web::Data<OnlineBanking>,
    customer: Customer,
) -> Result<HttpResponse, Problem> {
    show(&state, &customer).await
}

/// Refreshes the data of all other banks on request of the customer.
pub(super) async fn refresh(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (purpose, none) = (Purpose::new("refresh"), Fields::single(&[]));
    Form::read(&customer.visit, &purpose, none, request.headers(), body).await?;
    let connections = state.other_banks.connections.of(&customer.psu).await?;
    let other_banks = &state.other_banks;
    other_banks
        .refresh(&connections, When::Now, customer.visit.address())
        .await?;
    Ok(HttpResponse::SeeOther()
        .insert_header((LOCATION, super::START))
        .finish())
}

async fn show(state: &OnlineBanking, customer: &Customer) -> Result<HttpResponse, Problem> {
    let other_banks = &state.other_banks;
    let before = other_banks.connections.of(&customer.psu).await?;
    other_banks
        .refresh(&before, When::Stale, customer.visit.address())
        .await?;
    let connections = other_banks.connections.of(&customer.psu).await?;
    let own = own_part(state, customer).await?;
    let mut others: Vec<Part<'_>> = connections
        .iter()
        .filter(|connection| connection.status == Status::Running)
        .filter_map(|connection| other_part(state, connection))
        .collect();
    let words = &state.texts.other_banks;
    let content = if others.is_empty() && connections.is_empty() {
        html! { (nothing_connected(state)) (section(state, &own)) }
    } else {
        let mut parts = vec![own];
        parts.append(&mut others);
        html! {
            (notices(state, &customer.visit, &connections))
            (together(state, &mut parts))
            @for part in &parts { (section(state, part)) }
            div.actions.apart {
                form method="post" action="/other-banks/refresh" {
                    (token_field(&customer.visit, &Purpose::new("refresh")))
                    button type="submit" { (words.refresh) }
                }
                a.button.quiet href="/other-banks/connect" { (words.connect) }
            }
            (transactions(state, parts))
        }
    };
    Ok(Page::new(words.title, content)
        .section(Section::OtherBanks)
        .respond(state, &customer.visit))
}

fn nothing_connected(state: &OnlineBanking) -> Markup {
    let words = &state.texts.other_banks;
    html! {
        div.panel {
            p.lead { (state.texts.fill(words.none, &[("bank", &state.bank_name)])) }
            @if state.other_banks.banks.is_empty() { p { (words.none_configured) } }
            @else { p { a.button href="/other-banks/connect" { (words.connect) } } }
        }
    }
}

/// Notices on connections: errors, ended access, steps to take.
fn notices(state: &OnlineBanking, visit: &Visit, connections: &[Connection]) -> Markup {
    html! {
        @for connection in connections {
            @if let Some(bank) = state.other_banks.bank(connection.bank.as_str()) {
                @match connection.status {
                    Status::Running => (running(state, connection, &bank.name)),
                    Status::Ended => (ended(state, connection, &bank.name)),
                    Status::Asked => (waiting(state, visit, connection, &bank.name)),
                }
            }
        }
    }
}

fn running(state: &OnlineBanking, connection: &Connection, other: &str) -> Markup {
    let texts = state.texts;
    let words = &texts.other_banks;
    let connection_error = connection
        .problem
        .as_deref()
        .and_then(ConnectionError::read);
    let last_day = connection.valid_until;
    let renewal = last_day.map(|day| Renewal::of(day, state.calendar.today()));
    let days = match renewal {
        Some(Renewal::Offered(days)) => Some(days),
        _ => None,
    };
    html! {
        @if let Some(connection_error) = connection_error {
            @let age = wording::age(texts, age(state, connection));
            (notice(Tone::Warning, &format!(
                "{} {}",
                wording::connection_error(texts, connection_error, other),
                texts.fill(words.as_of_before, &[("age", &age)])
            )))
        }
        @if let Some(days) = days {
            @let text = if days == 0 { words.renewal_today } else { words.renewal };
            @let values = [("other", other), ("days", &days.to_string())];
            div.panel {
                (notice(Tone::Neutral, &texts.fill(text, &values)))
                p { a.button href=(super::connect_path(&connection.bank)) {
                    (texts.fill(words.renewal_button, &values))
                } }
            }
        }
    }
}

fn ended(state: &OnlineBanking, connection: &Connection, other: &str) -> Markup {
    let texts = state.texts;
    let words = &texts.other_banks;
    let ending = connection.problem.as_deref().and_then(Ending::read);
    let ending = wording::ending(texts, ending.unwrap_or(Ending::Gone), other);
    html! {
        div.panel {
            (notice(Tone::Warning, &format!("{ending} {}", words.deleted)))
            div.actions {
                a.button href=(super::connect_path(&connection.bank)) { (words.connect_again) }
                a.button.quiet href={ "/other-banks/disconnect/" (connection.id) } { (words.forget) }
            }
        }
    }
}

fn waiting(state: &OnlineBanking, visit: &Visit, connection: &Connection, other: &str) -> Markup {
    let texts = state.texts;
    let words = &texts.other_banks;
    html! {
        div.panel {
            (notice(Tone::Neutral, &texts.fill(words.waiting, &[("other", other)])))
            div.actions {
                @if connection.returned.is_some() { (check_form(state, visit, &connection.id, None)) }
                a.button.quiet href=(super::connect_path(&connection.bank)) { (words.try_again) }
                a.button.quiet href={ "/other-banks/disconnect/" (connection.id) } { (words.cancel) }
            }
        }
    }
}

/// What all accounts come to.
fn together(state: &OnlineBanking, parts: &mut [Part<'_>]) -> Markup {
    let words = &state.texts.other_banks;
    let missing = parts.iter().filter(|part| {
        part.connection
            .is_some_and(|connection| connection.data.is_none())
    });
    let missing: Vec<String> = missing
        .map(|part| state.texts.fill(words.without, &[("other", part.bank)]))
        .collect();
    // They are put together for the sums, and taken apart again.
    let lengths: Vec<usize> = parts.iter().map(|part| part.views.len()).collect();
    let mut all = Vec::new();
    for part in parts.iter_mut() {
        all.append(&mut part.views);
    }
    let sums = totals(state.texts, &all);
    let mut rest = all.into_iter();
    for (part, length) in parts.iter_mut().zip(lengths) {
        part.views.extend(rest.by_ref().take(length));
    }
    html! {
        (sums)
        @for text in &missing { (notice(Tone::Neutral, text)) }
    }
}

/// The accounts at one bank.
fn section(state: &OnlineBanking, part: &Part<'_>) -> Markup {
    let texts = state.texts;
    let words = &texts.other_banks;
    let freshness = match part.connection {
        None => words.own.to_owned(),
        Some(connection) => wording::age(texts, age(state, connection)),
    };
    let until = part
        .connection
        .and_then(|connection| connection.valid_until);
    html! {
        section {
            h2 { (Foreign::new(part.bank)) }
            p.hint {
                (freshness)
                @if let Some(day) = until { " · " (texts.fill(words.until, &[("date", &texts.date(day))])) }
            }
            @if part.partial {
                (notice(Tone::Warning, &texts.fill(words.partial, &[("other", part.bank)])))
            }
            @if part.views.is_empty() { p.panel { (words.no_accounts) } }
            @else {
                ul.cards {
                    @for view in &part.views { (card(state, view, part.connection.is_none())) }
                }
            }
            @if let Some(connection) = part.connection {
                p {
                    a href={ "/other-banks/disconnect/" (connection.id) } {
                        (texts.fill(words.disconnect, &[("other", part.bank)]))
                    }
                }
            }
        }
    }
}

fn card(state: &OnlineBanking, view: &View, is_own: bool) -> Markup {
    let words = &state.texts.accounts;
    html! {
        li {
            h3.name {
                @if is_own { a href={ "/accounts/" (view.id.0) } { (view.name) } }
                @else { (view.name) }
            }
            p.number { (view.number) }
            p.amount {
                @match view.booked() {
                    Some(booked) => (state.texts.amount(booked)),
                    None => (words.no_balance),
                }
            }
            @if !view.enabled { span.tag.warning { (words.not_enabled) } }
        }
    }
}

/// The newest transactions of all banks.
fn transactions(state: &OnlineBanking, parts: Vec<Part<'_>>) -> Markup {
    let texts = state.texts;
    let words = &texts.other_banks;
    let lists = parts.into_iter().flat_map(|part| part.lines);
    let lines = merged(lists, NEWEST);
    let count = lines.len().to_string();
    html! {
        section.panel aria-labelledby="transactions" {
            h2 #transactions { (words.transactions) }
            @if lines.is_empty() { p { (words.no_transactions) } }
            @else {
                p.hint { (texts.fill(words.newest, &[("count", &count)])) }
                table {
                    caption.hidden-text { (words.transactions) }
                    thead {
                        tr {
                            th scope="col" { (texts.accounts.day) }
                            th scope="col" { (texts.accounts.what) }
                            th.right scope="col" { (texts.accounts.amount) }
                        }
                    }
                    tbody { @for line in &lines { (row(state, line)) } }
                }
            }
        }
    }
}

fn row(state: &OnlineBanking, line: &Line) -> Markup {
    let texts = state.texts;
    html! {
        tr {
            td.day {
                @if let Some(day) = line.entry.day { time datetime=(day) { (texts.short_date(day)) } }
            }
            td {
                (line.entry.described(texts))
                div.for { (line.bank) ", " (line.account) }
            }
            td.right { (moved(texts, &line.entry.amount)) }
        }
    }
}

/// The customer's accounts here.
async fn own_part<'a>(state: &'a OnlineBanking, customer: &Customer) -> Result<Part<'a>, Problem> {
    let views = views(state, &customer.psu).await?;
    let today = state.calendar.today();
    let query = TransactionQuery {
        from: first_day(today),
        to: today,
        status: BookingStatus::Both,
        since: None,
        after: None,
        limit: NEWEST,
    };
    let mut lines = Vec::new();
    for view in &views {
        let entries: Vec<Entry> = if view.card {
            let page = state.core.card_transactions(&view.id, &query).await?;
            let entry =
                |pending| move |one: &_| Entry::of_card(one, pending, view.debit_accounting);
            let pending = page.pending.iter().map(entry(true));
            pending
                .chain(page.booked.iter().map(entry(false)))
                .collect()
        } else {
            let page = state.core.transactions(&view.id, &query).await?;
            let pending = page.pending.iter().map(|one| Entry::of(one, true));
            let booked = page.booked.iter().map(|one| Entry::of(one, false));
            pending.chain(booked).collect()
        };
        lines.push(placed(entries, &state.bank_name, &view.name));
    }
    Ok(Part {
        bank: &state.bank_name,
        views,
        lines,
        connection: None,
        partial: false,
    })
}

/// The customer's accounts at another bank, as they were read last.
fn other_part<'a>(state: &'a OnlineBanking, connection: &'a Connection) -> Option<Part<'a>> {
    let bank = state.other_banks.bank(connection.bank.as_str())?;
    let snapshot = known(connection).unwrap_or_default();
    let partial = snapshot.partial;
    let (views, lines) = parted(state, snapshot, &bank.name);
    Some(Part {
        bank: &bank.name,
        views,
        lines,
        connection: Some(connection),
        partial,
    })
}

fn parted(state: &OnlineBanking, snapshot: Snapshot, bank: &str) -> (Vec<View>, Vec<Vec<Line>>) {
    let first = first_day(state.calendar.today());
    let recent = |entry: &Entry| entry.pending || entry.day.is_some_and(|day| day >= first);
    let (mut views, mut lines) = (Vec::new(), Vec::new());
    let mut place = |view: View, entries: Vec<Entry>| {
        lines.push(placed(entries, bank, &view.name));
        views.push(view);
    };
    for account in snapshot.payment {
        let pending = account.pending.iter().map(|one| Entry::of(one, true));
        let booked = account.booked.iter().map(|one| Entry::of(one, false));
        let entries = pending.chain(booked).filter(recent).take(NEWEST).collect();
        let balances = account.details.balances.clone().unwrap_or_default();
        let id = account.details.resource_id.clone();
        let account = other_account(id, AccountKind::Payment(Box::new(account.details)));
        place(View::new(&account, &balances, state.texts), entries);
    }
    for account in snapshot.cards {
        let balances = account.details.balances.clone().unwrap_or_default();
        let id = account.details.resource_id.clone();
        let (pending, booked) = (account.pending, account.booked);
        let account = other_account(id, AccountKind::Card(Box::new(account.details)));
        let view = View::new(&account, &balances, state.texts);
        let debits = view.debit_accounting;
        let pending = pending.iter().map(|one| Entry::of_card(one, true, debits));
        let booked = booked.iter().map(|one| Entry::of_card(one, false, debits));
        let entries = pending.chain(booked).filter(recent).take(NEWEST).collect();
        place(view, entries);
    }
    (views, lines)
}

fn other_account(id: Option<String>, kind: AccountKind) -> Account {
    Account {
        id: AccountId(id.unwrap_or_default()),
        kind,
        approvals_needed: 1,
    }
}

fn placed(entries: Vec<Entry>, bank: &str, account: &Foreign) -> Vec<Line> {
    let entries = entries.into_iter();
    let line = |entry| Line {
        entry,
        bank: Foreign::new(bank),
        account: account.clone(),
    };
    entries.map(line).collect()
}

fn first_day(today: chrono::NaiveDate) -> chrono::NaiveDate {
    today
        .checked_sub_days(chrono::Days::new(DAYS - 1))
        .unwrap_or(today)
}

fn age(state: &OnlineBanking, connection: &Connection) -> Option<Age> {
    let now = state.calendar.now();
    connection.fetched.map(|fetched| Age::of(fetched, now))
}
