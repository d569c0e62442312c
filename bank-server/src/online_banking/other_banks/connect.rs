//! Connecting another bank: choice of the bank, explanation, request for a consent, link to the
//! bank.

use actix_web::http::StatusCode;
use actix_web::web;
use chrono::Days;
use maud::html;
use shared_types::pki::eidas::OrganisationId;
use url::Url;

use super::super::PageResult;
use super::super::csrf::Purpose;
use super::super::foreign::Foreign;
use super::super::forms::FormBody;
use super::super::layout::{Section, Tone, notice, see_other, token_field};
use super::super::session::Customer;
use super::service::{ConsentRequestError, FREQUENCY_PER_DAY, VALIDITY_DAYS};
use super::{bank, find, message, no_such_connection, to_connect, wording};
use crate::store::connections::ConnectionStatus;

/// Page with the banks to choose from.
pub(super) async fn pick(customer: Customer) -> PageResult {
    let other_banks = &customer.state.other_banks;
    let words = &customer.state.texts.other_banks;
    let connections = other_banks.connections.of(&customer.psu).await?;
    let is_connected = |bank: &OrganisationId| {
        let mut running = connections
            .iter()
            .filter(|one| one.status == ConnectionStatus::Active);
        running.any(|one| one.bank == *bank)
    };
    let content = html! {
        @if other_banks.banks.is_empty() { p { (words.none_configured) } }
        @else {
            p.lead { (words.pick_lead) }
            ul.cards {
                @for bank in &other_banks.banks {
                    li {
                        h2.name {
                            a href=(super::connect_path(&bank.organisation)) {
                                (Foreign::new(&bank.name))
                            }
                        }
                        p.number { (bank.organisation) }
                        @if is_connected(&bank.organisation) { span.tag.good { (words.connected) } }
                    }
                }
            }
        }
    };
    Ok(customer.page(Section::OtherBanks, words.pick, content))
}

/// Page that explains the steps, with the button that begins them.
pub(super) async fn explain(customer: Customer, organisation: web::Path<String>) -> PageResult {
    let state = &customer.state;
    let texts = state.texts;
    let words = &texts.other_banks;
    let bank = bank(state, &organisation)?;
    let connections = state.other_banks.connections.of(&customer.psu).await?;
    let runs = connections
        .iter()
        .any(|one| one.status == ConnectionStatus::Active && one.bank == bank.organisation);
    let today = state.calendar.today();
    let last_day = today
        .checked_add_days(Days::new(VALIDITY_DAYS))
        .unwrap_or(today);
    let (date, count) = (texts.date(last_day), FREQUENCY_PER_DAY.to_string());
    let values = [
        ("other", bank.name.as_str()),
        ("date", &date),
        ("count", &count),
    ];
    let fill = |text: &str| texts.fill(text, &values);
    let purpose = Purpose::of("connect", bank.organisation.as_str());
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
                    (token_field(&customer, &purpose))
                    button type="submit" { (fill(words.ask)) }
                }
                a.button.quiet href=(super::START) { (words.cancel) }
            }
        }
    };
    Ok(customer.page(Section::OtherBanks, fill(words.explain), content))
}

/// Requests a consent from the other bank.
pub(super) async fn request(
    customer: Customer,
    organisation: web::Path<String>,
    body: FormBody,
) -> PageResult {
    body.read_empty(Purpose::of("connect", &organisation))
        .await?;
    let state = &customer.state;
    let bank = bank(state, &organisation)?;
    let words = &state.texts.other_banks;
    let requested = state
        .other_banks
        .request_consent(bank, &customer.psu, customer.address());
    let other = bank.name.as_str();
    let (status, text, reason) = match requested.await {
        // After the redirect, a reload sends no second request.
        Ok(id) => return Ok(see_other(&format!("/other-banks/go/{id}"))),
        Err(ConsentRequestError::Store(error)) => return Err(error.into()),
        Err(ConsentRequestError::Connection(error)) => {
            let reason = wording::connection_error(state.texts, error, other);
            (StatusCode::BAD_GATEWAY, &words.not_asked, reason)
        }
        Err(ConsentRequestError::NoPages) => {
            (StatusCode::BAD_GATEWAY, &words.no_pages, String::new())
        }
        Err(ConsentRequestError::Overtaken) => {
            (StatusCode::CONFLICT, &words.overtaken, String::new())
        }
    };
    let values = [("other", other), ("trouble", &reason)];
    let again = to_connect(bank, words.try_again);
    Ok(message(&customer, status, text, &values, &again))
}

/// Page with the link to the other bank.
pub(super) async fn go(customer: Customer, id: web::Path<String>) -> PageResult {
    let texts = customer.state.texts;
    let words = &texts.other_banks;
    let (connection, bank) = find(&customer, &id).await?;
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
    Ok(customer.page(Section::OtherBanks, fill(words.go), content))
}
