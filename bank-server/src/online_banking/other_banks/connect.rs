//! Connecting another bank: choice of the bank, explanation, request for a consent, link to the
//! bank.

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::Days;
use maud::html;
use url::Url;

use super::super::OnlineBanking;
use super::super::csrf::Purpose;
use super::super::foreign::Foreign;
use super::super::forms::{Fields, Form};
use super::super::layout::{Page, Section, Tone, notice, token_field};
use super::super::problem::Problem;
use super::super::session::Customer;
use super::service::{A_DAY, LONGEST_DAYS, NotAsked};
use super::{bank, find, no_such_connection, to_connect, told, wording};
use crate::store::connections::Status;

/// Which bank?
pub(super) async fn pick(
    state: web::Data<OnlineBanking>,
    customer: Customer,
) -> Result<HttpResponse, Problem> {
    let words = &state.texts.other_banks;
    let connections = state.other_banks.connections.of(&customer.psu).await?;
    let is_connected = |organisation| {
        connections
            .iter()
            .any(|one| one.status == Status::Running && one.bank == organisation)
    };
    let content = html! {
        @if state.other_banks.banks.is_empty() { p { (words.none_configured) } }
        @else {
            p.lead { (words.pick_lead) }
            ul.cards {
                @for bank in &state.other_banks.banks {
                    li {
                        h2.name { a href=(super::connect_path(&bank.organisation)) { (Foreign::new(&bank.name)) } }
                        p.number { (bank.organisation) }
                        @if is_connected(bank.organisation.clone()) { span.tag.good { (words.connected) } }
                    }
                }
            }
        }
    };
    Ok(Page::new(words.pick, content)
        .section(Section::OtherBanks)
        .respond(&state, &customer.visit))
}

/// What will happen, and the button that begins it.
pub(super) async fn explain(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    organisation: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let texts = state.texts;
    let words = &texts.other_banks;
    let bank = bank(&state, &organisation)?;
    let connections = state.other_banks.connections.of(&customer.psu).await?;
    let runs = connections
        .iter()
        .any(|one| one.status == Status::Running && one.bank == bank.organisation);
    let today = state.calendar.today();
    let last_day = today
        .checked_add_days(Days::new(LONGEST_DAYS))
        .unwrap_or(today);
    let (date, count) = (texts.date(last_day), A_DAY.to_string());
    let fill = |text: &str| {
        let values = [
            ("other", bank.name.as_str()),
            ("date", &date),
            ("count", &count),
        ];
        texts.fill(text, &values)
    };
    let content = html! {
        @if runs { (notice(Tone::Neutral, &fill(words.keeps_running))) }
        div.panel {
            p.lead { (words.explain_lead) }
            ol {
                li { (fill(words.step_there)) }
                li { (fill(words.step_approve)) }
                li { (words.step_back) }
            }
            h2 { (fill(words.what)) }
            ul {
                li { (words.what_accounts) }
                li { (words.what_balances) }
                li { (words.what_transactions) }
            }
            p { (words.what_not) }
            p { (fill(words.how_long)) }
            div.actions {
                form method="post" action=(super::connect_path(&bank.organisation)) {
                    (token_field(&customer.visit, &Purpose::of("connect", bank.organisation.as_str())))
                    button type="submit" { (fill(words.ask)) }
                }
                a.button.quiet href=(super::START) { (words.cancel) }
            }
        }
    };
    Ok(Page::new(fill(words.explain), content)
        .section(Section::OtherBanks)
        .respond(&state, &customer.visit))
}

/// Asks the other bank for a consent.
pub(super) async fn ask(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    organisation: web::Path<String>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let visit = &customer.visit;
    let purpose = Purpose::of("connect", &organisation);
    let none = Fields::single(&[]);
    Form::read(visit, &purpose, none, request.headers(), body).await?;
    let bank = bank(&state, &organisation)?;
    let words = &state.texts.other_banks;
    let again = to_connect(bank, words.try_again);
    let asked = state
        .other_banks
        .ask(bank, &customer.psu, visit.address())
        .await;
    let other = bank.name.as_str();
    let (status, text, connection_error) = match asked {
        // From here on a reload asks nothing anew.
        Ok(id) => {
            let go = format!("/other-banks/go/{id}");
            return Ok(HttpResponse::SeeOther()
                .insert_header((LOCATION, go))
                .finish());
        }
        Err(NotAsked::Store(error)) => return Err(error.into()),
        Err(NotAsked::ConnectionError(connection_error)) => {
            let connection_error = wording::connection_error(state.texts, connection_error, other);
            (StatusCode::BAD_GATEWAY, &words.not_asked, connection_error)
        }
        Err(NotAsked::NoPages) => (StatusCode::BAD_GATEWAY, &words.no_pages, String::new()),
        Err(NotAsked::Overtaken) => (StatusCode::CONFLICT, &words.overtaken, String::new()),
    };
    let values = [("other", other), ("trouble", &connection_error)];
    Ok(told(&state, visit, status, text, &values, &again))
}

/// The link to the other bank.
pub(super) async fn go(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let texts = state.texts;
    let words = &texts.other_banks;
    let (connection, bank) = find(&state, &customer, &id).await?;
    let link = connection.link.ok_or_else(no_such_connection)?;
    let address = Url::parse(&link).map_or_else(
        |_| String::new(),
        |url| format!("{}/", url.origin().ascii_serialization()),
    );
    let fill = |text: &str| texts.fill(text, &[("other", &bank.name), ("address", &address)]);
    let content = html! {
        div.panel.narrow {
            p.lead { (fill(words.go_lead)) }
            p.hint { (fill(words.go_check)) }
            div.actions {
                a.button href=(link) { (fill(words.go_button)) }
                a.button.quiet href={ "/other-banks/disconnect/" (id) } { (words.cancel) }
            }
        }
    };
    Ok(Page::new(fill(words.go), content)
        .section(Section::OtherBanks)
        .respond(&state, &customer.visit))
}
