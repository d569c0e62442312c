//! What a TPP asks for, in plain words: who it is, which accounts, what of them, how often, until when. On the page of the
//! approval, and on the phone.

use actix_web::http::StatusCode;
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use shared_types::authorisation::ScaStatus;
use shared_types::consent::ConsentStatus;

use super::OnlineBanking;
use super::accounts::View;
use super::layout::{Tone, notice};
use super::problem::{Next, Problem};
use super::texts::Texts;
use super::writing::day;
use crate::consent::authorisation::{AuthorisationError, Offer};
use crate::core_banking::AccountId;
use crate::store::consents::{Consent, Grant};
use crate::store::given::TppRecord;

/// The field with the accounts that are chosen.
pub(super) const ACCOUNT: &str = "account";

/// Who asks: what register and certificate say.
pub(super) fn who(texts: &Texts, tpp: &TppRecord) -> Markup {
    let words = &texts.authorise;
    html! {
        dl.facts {
            dt { (words.name) }
            dd { strong { (tpp.name) } }
            dt { (words.number) }
            dd { (tpp.organisation) }
            @if !tpp.authority.is_empty() {
                dt { (words.authority) }
                dd { (tpp.authority) }
            }
        }
        p.hint { (words.checked) }
    }
}

/// Which accounts, each with what of it would be seen. Where the choice is the customer's, with a box for each. `within`
/// is the authorisation that they belong to: a page can show several.
pub(super) fn accounts(
    texts: &Texts,
    within: &str,
    offer: &Offer,
    chosen: Option<&[AccountId]>,
    wrong: Option<&str>,
) -> Markup {
    let words = &texts.authorise;
    let views = offer
        .accounts
        .iter()
        .map(|(account, grant)| (View::new(account, &[], texts), grant));
    html! {
        @if offer.is_choice {
            fieldset aria-describedby={ "account-" (if wrong.is_some() { "error" } else { "hint" }) "-" (within) } {
                legend id=(if wrong.is_some() { ACCOUNT.to_owned() } else { format!("{ACCOUNT}-{within}") }) { (words.choose) }
                p.hint id={ "account-hint-" (within) } { (words.choose_hint) }
                @if let Some(wrong) = wrong { p.error id={ "account-error-" (within) } { (wrong) } }
                @for (view, grant) in views {
                    @let id = format!("account-{within}-{}", view.id.0);
                    div.choice {
                        input type="checkbox" name=(ACCOUNT) id=(id) value=(view.id.0)
                            checked[chosen.is_none_or(|chosen| chosen.contains(&view.id))];
                        label for=(id) { (named(&view)) (sights(texts, grant)) }
                    }
                }
            }
        } @else {
            ul.opened {
                @for (view, grant) in views { li { (named(&view)) (sights(texts, grant)) } }
            }
        }
        p { (words.cannot) }
        @if offer.approvals_needed > 1 {
            (notice(Tone::Neutral, &texts.fill(words.several, &[("number", &offer.approvals_needed.to_string())])))
        }
    }
}

fn named(view: &View) -> Markup {
    html! { strong { (view.name) } " " span.number { (view.number) } }
}

pub(super) fn sights(texts: &Texts, grant: &Grant) -> Markup {
    let words = &texts.authorise;
    let seen = [
        (grant.details, words.sees_details),
        (grant.balances, words.sees_balances),
        (grant.transactions, words.sees_transactions),
        (grant.owner_name, words.sees_owner),
    ];
    html! {
        span.sights {
            @for (_, text) in seen.iter().filter(|(seen, _)| *seen) { span { (text) } }
        }
    }
}

/// How often, and until when.
pub(super) fn terms(texts: &Texts, consent: &Consent) -> Markup {
    let words = &texts.authorise;
    let times = consent.frequency_per_day.to_string();
    let until = texts.date(consent.valid_until);
    html! {
        ul {
            @if consent.recurring {
                li { (texts.fill(words.often, &[("times", &times)])) }
                li { (texts.fill(words.until, &[("day", &until)])) }
            } @else {
                li { (words.once) }
            }
        }
        p.hint { (words.end_any_time) }
    }
}

/// A moment, on the bank's own clocks.
pub(super) fn moment(state: &OnlineBanking, time: DateTime<Utc>) -> Markup {
    html! { time datetime=(time.to_rfc3339()) { (state.texts.time(&state.calendar.local(time))) } }
}

/// The last day of a consent.
pub(super) fn last_day(texts: &Texts, consent: &Consent) -> Markup {
    day(texts, consent.valid_until)
}

/// The page for what was not done, with the name of the TPP, where it is known.
pub(super) fn problem(
    state: &OnlineBanking,
    error: AuthorisationError,
    tpp: Option<&TppRecord>,
) -> Problem {
    use AuthorisationError as E;

    macro_rules! told {
        ($status:ident, $text:ident, $next:ident) => {
            Problem::told(
                StatusCode::$status,
                |texts| &texts.authorise.$text,
                Next::$next,
            )
        };
    }
    let problem = match error {
        E::Unknown | E::NoSuchConsent => told!(NOT_FOUND, unknown, Nowhere),
        E::OutOfTurn(ScaStatus::Failed) => told!(GONE, lapsed, Nowhere),
        E::OutOfTurn(ScaStatus::Finalised | ScaStatus::Exempted | ScaStatus::Unconfirmed)
        | E::ConsentOver(ConsentStatus::Valid) => told!(CONFLICT, finished, Consents),
        E::OutOfTurn(_) | E::WrongConfirmation => told!(CONFLICT, not_finished, Nowhere),
        E::ConsentOver(ConsentStatus::Rejected) => told!(GONE, lapsed, Nowhere),
        E::ConsentOver(_) => told!(GONE, consent_over, Nowhere),
        E::OtherApproach(_) => told!(CONFLICT, other_way, Nowhere),
        E::OtherCustomer => told!(FORBIDDEN, others, Nowhere),
        E::ApprovedBefore | E::TooMany | E::TooManyWaiting | E::OtherRequest => {
            told!(CONFLICT, approved_before, Consents)
        }
        E::NotTheCustomers(_) => told!(FORBIDDEN, not_the_customers, Nowhere),
        E::NoAccount => told!(FORBIDDEN, no_account, Nowhere),
        E::Sca(error) => Problem::of_sca(state, error),
        E::CoreBanking(error) => error.into(),
        E::Store(error) => error.into(),
    };
    match tpp {
        Some(tpp) => problem.with("name", tpp.name.clone()),
        None => problem,
    }
}
