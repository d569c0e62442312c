//! Page of all accounts of a customer, here and at other banks.

use maud::{Markup, html};
use shared_types::xs2a::account::Balance;
use shared_types::xs2a::transaction::BookingStatus;

use super::super::accounts::{Entry, EntryPage, View, card, table, totals, views};
use super::super::csrf::Purpose;
use super::super::foreign::Foreign;
use super::super::forms::FormBody;
use super::super::layout::{Section, Tone, notice, see_other, token_field};
use super::super::problem::Problem;
use super::super::session::{Customer, Visit};
use super::super::{OnlineBanking, PageResult};
use super::connection_error::{ConnectionError, Ending};
use super::freshness::{Age, Renewal};
use super::merging::{Line, merged};
use super::returning::check_form;
use super::service::{When, known};
use super::snapshot::{CardAccount, PaymentAccount, Snapshot};
use super::wording;
use crate::core_banking::TransactionQuery;
use crate::domain::{Account, AccountId, AccountKind};
use crate::store::connections::{Connection, ConnectionStatus};

/// Transactions on the page.
const NEWEST: usize = 50;

/// Days of the transactions, today included.
const DAYS: u64 = 90;

/// Accounts and transactions at one bank.
struct BankPart<'a> {
    bank: &'a str,
    views: Vec<View>,
    lines: Vec<Vec<Line>>,
    connection: Option<&'a Connection>,
    /// Whether some data of the other bank could not be read.
    partial: bool,
}

pub(super) async fn page(customer: Customer) -> PageResult {
    let state = &customer.state;
    let other_banks = &state.other_banks;
    let before = other_banks.connections.of(&customer.psu).await?;
    let address = customer.address();
    other_banks.refresh(&before, When::Stale, address).await?;
    let connections = other_banks.connections.of(&customer.psu).await?;
    let own = own_part(state, &customer).await?;
    let words = &state.texts.other_banks;
    let content = if connections.is_empty() {
        html! { (nothing_connected(state)) (section(state, &own)) }
    } else {
        let running = connections
            .iter()
            .filter(|one| one.status == ConnectionStatus::Active);
        let others = running.filter_map(|connection| other_part(state, connection));
        let parts: Vec<BankPart<'_>> = std::iter::once(own).chain(others).collect();
        html! {
            (notices(&customer, &connections))
            (sums(state, &parts))
            @for part in &parts { (section(state, part)) }
            div.actions.apart {
                form method="post" action="/other-banks/refresh" {
                    (token_field(&customer, &Purpose::new("refresh")))
                    button type="submit" { (words.refresh) }
                }
                a.button.quiet href="/other-banks/connect" { (words.connect) }
            }
            (transactions(state, parts))
        }
    };
    Ok(customer.page(Section::OtherBanks, words.title, content))
}

/// Refreshes the data of all other banks on request of the customer.
pub(super) async fn refresh(customer: Customer, body: FormBody) -> PageResult {
    body.read_empty(Purpose::new("refresh")).await?;
    let other_banks = &customer.state.other_banks;
    let connections = other_banks.connections.of(&customer.psu).await?;
    let address = customer.address();
    other_banks
        .refresh(&connections, When::Now, address)
        .await?;
    Ok(see_other(super::START))
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

/// Notices on connections: errors, ended access, steps to take. A pending connection replaces the
/// notice that an earlier one has ended.
fn notices(visit: &Visit, connections: &[Connection]) -> Markup {
    let state = &visit.state;
    let is_replaced = |connection: &Connection| {
        let mut others = connections.iter();
        connection.status == ConnectionStatus::Ended
            && others.any(|other| {
                other.bank == connection.bank && other.status == ConnectionStatus::Requested
            })
    };
    html! {
        @for connection in connections.iter().filter(|connection| !is_replaced(connection)) {
            @if let Some(bank) = state.other_banks.bank(connection.bank.as_str()) {
                @match connection.status {
                    ConnectionStatus::Active => (running(state, connection, &bank.name)),
                    ConnectionStatus::Ended => (ended(state, connection, &bank.name)),
                    ConnectionStatus::Requested => (waiting(visit, connection, &bank.name)),
                }
            }
        }
    }
}

fn running(state: &OnlineBanking, connection: &Connection, other: &str) -> Markup {
    let texts = state.texts;
    let words = &texts.other_banks;
    let problem = connection.problem.as_deref();
    let last_day = connection.valid_until;
    let renewal = last_day.map(|day| Renewal::of(day, state.calendar.today()));
    html! {
        @if let Some(connection_error) = problem.and_then(ConnectionError::read) {
            @let age = wording::age(texts, age(state, connection));
            (notice(Tone::Warning, &format!(
                "{} {}",
                wording::connection_error(texts, connection_error, other),
                texts.fill(words.as_of_before, &[("age", &age)])
            )))
        }
        @if let Some(Renewal::Offered(days)) = renewal {
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
                a.button.quiet href={ "/other-banks/disconnect/" (connection.id) } {
                    (words.forget)
                }
            }
        }
    }
}

/// Notice of a pending connection. Its status is checked only after the customer has returned:
/// another person may have been sent to the other bank.
fn waiting(visit: &Visit, connection: &Connection, other: &str) -> Markup {
    let texts = visit.state.texts;
    let words = &texts.other_banks;
    let has_returned = connection.returned.is_some();
    let text = if has_returned {
        words.not_confirmed
    } else {
        words.not_returned
    };
    html! {
        div.panel {
            (notice(Tone::Neutral, &texts.fill(text, &[("other", other)])))
            div.actions {
                @if has_returned { (check_form(visit, &connection.id, None)) }
                a.button.quiet[has_returned] href=(super::connect_path(&connection.bank)) {
                    (words.try_again)
                }
                a.button.quiet href={ "/other-banks/disconnect/" (connection.id) } {
                    (words.cancel)
                }
            }
        }
    }
}

/// Sums of all accounts, with a notice for each bank that is missing in them.
fn sums(state: &OnlineBanking, parts: &[BankPart<'_>]) -> Markup {
    let (texts, words) = (state.texts, &state.texts.other_banks);
    let missing = parts.iter().filter(|part| {
        part.connection
            .is_some_and(|connection| connection.data.is_none())
    });
    html! {
        (totals(texts, parts.iter().flat_map(|part| &part.views)))
        @for part in missing {
            (notice(Tone::Neutral, &texts.fill(words.without, &[("other", part.bank)])))
        }
    }
}

/// The accounts at one bank.
fn section(state: &OnlineBanking, part: &BankPart<'_>) -> Markup {
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
                @if let Some(day) = until {
                    " · " (texts.fill(words.until, &[("date", &texts.date(day))]))
                }
            }
            @if part.partial {
                (notice(Tone::Warning, &texts.fill(words.partial, &[("other", part.bank)])))
            }
            @if part.views.is_empty() { p.panel { (words.no_accounts) } }
            @else {
                ul.cards {
                    @for view in &part.views {
                        (card(texts, view, &html! {
                            h3.name {
                                @if part.connection.is_none() {
                                    a href={ "/accounts/" (view.id.0) } { (view.name) }
                                } @else { (view.name) }
                            }
                        }))
                    }
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

/// The newest transactions of all banks.
fn transactions(state: &OnlineBanking, parts: Vec<BankPart<'_>>) -> Markup {
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
                (table(texts, words.transactions, lines.iter().map(|line| {
                    (&line.entry, Some(html! { (line.bank) ", " (line.account) }))
                })))
            }
        }
    }
}

/// The customer's accounts at this bank.
async fn own_part<'a>(
    state: &'a OnlineBanking,
    customer: &Customer,
) -> Result<BankPart<'a>, Problem> {
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
        let page = EntryPage::read(state.core.as_ref(), view, &query, "").await?;
        lines.push(placed(page.entries, &state.bank_name, &view.name));
    }
    Ok(BankPart {
        bank: &state.bank_name,
        views,
        lines,
        connection: None,
        partial: false,
    })
}

/// The customer's accounts at another bank, as they were read last.
fn other_part<'a>(state: &'a OnlineBanking, connection: &'a Connection) -> Option<BankPart<'a>> {
    let bank = state.other_banks.bank(connection.bank.as_str())?;
    let snapshot = known(connection).unwrap_or_default();
    let partial = snapshot.partial;
    let (views, lines) = parted(state, snapshot, &bank.name);
    Some(BankPart {
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
    let mut place = |id: Option<String>, kind, balances: Option<Vec<Balance>>, entries| {
        let account = Account {
            id: AccountId(id.unwrap_or_default()),
            kind,
            approvals_needed: 1,
        };
        let view = View::new(&account, &balances.unwrap_or_default(), state.texts);
        lines.push(placed(entries, bank, &view.name));
        views.push(view);
    };
    for account in snapshot.payment {
        let PaymentAccount {
            details,
            pending,
            booked,
            ..
        } = account;
        let entries = Entry::all(&pending, &booked, Entry::of).filter(recent);
        let entries = entries.take(NEWEST).collect();
        let (id, balances) = (details.resource_id.clone(), details.balances.clone());
        place(
            id,
            AccountKind::Payment(Box::new(details)),
            balances,
            entries,
        );
    }
    for account in snapshot.cards {
        let CardAccount {
            details,
            pending,
            booked,
            ..
        } = account;
        let debits = details.debit_accounting;
        let of = |one: &_, is_pending| Entry::of_card(one, is_pending, debits);
        let entries = Entry::all(&pending, &booked, of).filter(recent);
        let entries = entries.take(NEWEST).collect();
        let (id, balances) = (details.resource_id.clone(), details.balances.clone());
        place(id, AccountKind::Card(Box::new(details)), balances, entries);
    }
    (views, lines)
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
