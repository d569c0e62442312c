//! Consent request as shown to the customer: the TPP, the accounts and their data, the frequency and
//! the expiry. Used by the approval page and by the page for the phone.

use actix_web::http::StatusCode;
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use shared_types::xs2a::authorisation::ScaStatus;
use shared_types::xs2a::consent::ConsentStatus;

use super::OnlineBanking;
use super::accounts::View;
use super::foreign::Foreign;
use super::formatting::day;
use super::forms::Form;
use super::layout::{Tone, notice};
use super::message::Next;
use super::problem::Problem;
use super::texts::Texts;
use crate::consent::ONE_OFF_UNUSED;
use crate::consent::authorisation::{AuthorisationError, Offer};
use crate::domain::{AccountId, Consent, Grant, TppRecord};

/// The field with the accounts that are chosen.
pub(super) const ACCOUNT: &str = "account";

/// The TPP, by its certificate and the register.
pub(super) fn who(texts: &Texts, tpp: &TppRecord) -> Markup {
    let words = &texts.authorise;
    html! {
        dl.facts {
            dt { (words.name) }
            dd { strong { (Foreign::new(&tpp.name)) } }
            dt { (words.number) }
            dd { (Foreign::new(&tpp.organisation)) }
            @if !tpp.authority.is_empty() {
                dt { (words.authority) }
                dd { (Foreign::new(&tpp.authority)) }
            }
        }
        p.hint { (words.checked) }
    }
}

/// The value of the box that stands for all accounts on offer.
const ALL: &str = "all";

/// More accounts than these are folded away, where there are enough to fold.
const SHOWN: usize = 8;

/// How a page shows the accounts that a request is about.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    /// The authorisation that they belong to: a page can show several.
    pub(super) within: &'a str,
    /// The customer has shown one factor alone: account numbers and names are [`masked`](View::masked).
    pub(super) is_masked: bool,
    /// What was ticked before, if the form comes back.
    pub(super) chosen: &'a [AccountId],
    pub(super) wrong: Option<&'a str>,
}

/// Whether the customer chooses among accounts. One alone is no choice.
pub(super) fn is_choice(offer: &Offer) -> bool {
    offer.is_choice && offer.accounts.len() > 1
}

/// Accounts that the customer has ticked. Fails for an account that was not offered.
pub(super) fn chosen(form: &Form, offer: &Offer) -> Result<Vec<AccountId>, Problem> {
    let offered = || offer.accounts.iter().map(|(account, _)| &account.id);
    let ticked: Vec<&str> = form.all(ACCOUNT).collect();
    if !is_choice(offer) {
        if !ticked.is_empty() {
            return Err(Problem::form_unreadable());
        }
        return Ok(offered().cloned().collect());
    }
    if ticked.contains(&ALL) && is_folded(offer.accounts.len()) {
        return Ok(offered().cloned().collect());
    }
    if !ticked
        .iter()
        .all(|id| offered().any(|known| known.0 == **id))
    {
        return Err(Problem::form_unreadable());
    }
    Ok(ticked
        .into_iter()
        .map(|id| AccountId(id.to_owned()))
        .collect())
}

/// Accounts and data of a request. Where the customer chooses, each account has a checkbox, none of
/// them ticked beforehand (CJEU C-673/17).
pub(super) fn accounts(texts: &Texts, offer: &Offer, shown: Shown<'_>) -> Markup {
    let words = &texts.authorise;
    let lines: Vec<(View, &Grant)> = offer
        .accounts
        .iter()
        .map(|(account, grant)| {
            let view = View::new(account, &[], texts);
            (
                if shown.is_masked {
                    view.masked(texts)
                } else {
                    view
                },
                grant,
            )
        })
        .collect();
    html! {
        @if shown.is_masked { p.hint { (words.masked) } }
        @if is_choice(offer) { (choice(texts, &lines, shown)) }
        @else {
            (opened(texts, lines.iter().map(|(view, grant)| (named(view), *grant)).collect(), false))
        }
        p { (words.cannot) }
        @if offer.approvals_needed > 1 {
            (notice(Tone::Neutral, &several(texts, offer)))
        }
    }
}

/// How many of the holders of an account have yet to approve.
fn several(texts: &Texts, offer: &Offer) -> String {
    let words = &texts.authorise;
    let text = match offer.approvals_given {
        0 => words.several,
        given if given + 1 >= offer.approvals_needed => words.last_approval,
        _ => words.several_given,
    };
    let (needed, given) = (offer.approvals_needed, offer.approvals_given);
    texts.fill(
        text,
        &[
            ("number", &needed.to_string()),
            ("given", &given.to_string()),
        ],
    )
}

fn choice(texts: &Texts, lines: &[(View, &Grant)], shown: Shown<'_>) -> Markup {
    let words = &texts.authorise;
    let Shown {
        within,
        chosen,
        wrong,
        ..
    } = shown;
    let tick = |id: &str, label: Markup, is_ticked: bool| {
        let field = format!("account-{within}-{id}");
        html! {
            div.choice {
                input type="checkbox" name=(ACCOUNT) id=(field) value=(id) checked[is_ticked];
                label for=(field) { (label) }
            }
        }
    };
    let boxes = lines.iter().map(|(view, grant)| {
        (
            tick(&view.id.0, named(view), chosen.contains(&view.id)),
            *grant,
        )
    });
    let all = texts.fill(words.choose_all, &[("count", &lines.len().to_string())]);
    html! {
        fieldset aria-describedby={ "account-" (if wrong.is_some() { "error" } else { "hint" }) "-" (within) } {
            legend id=(if wrong.is_some() { ACCOUNT.to_owned() } else { format!("{ACCOUNT}-{within}") }) { (words.choose) }
            p.hint id={ "account-hint-" (within) } { (words.choose_hint) }
            @if let Some(wrong) = wrong { p.error id={ "account-error-" (within) } { (wrong) } }
            @if is_folded(lines.len()) { (tick(ALL, html! { (all) }, false)) }
            (opened(texts, boxes.collect(), !chosen.is_empty()))
        }
    }
}

/// Accounts with the data that a consent covers. Accounts with the same data form a group; data that
/// all groups share is listed once, at the end.
pub(super) fn opened(texts: &Texts, lines: Vec<(Markup, &Grant)>, is_unfolded: bool) -> Markup {
    let words = &texts.authorise;
    let mut groups: Vec<(&Grant, Vec<Markup>)> = Vec::new();
    for (line, grant) in lines {
        match groups
            .iter_mut()
            .find(|(known, _)| extent(known) == extent(grant))
        {
            Some((_, lines)) => lines.push(line),
            None => groups.push((grant, vec![line])),
        }
    }
    let shared = groups
        .iter()
        .fold([true; 4], |shared, (grant, _)| both(shared, extent(grant)));
    let has_shared = !groups.is_empty() && shared.contains(&true);
    let is_one = groups.len() == 1;
    html! {
        @for (grant, lines) in &groups {
            @let extra = without(extent(grant), shared);
            @let (first, rest) = lines.split_at(if is_folded(lines.len()) { SHOWN } else { lines.len() });
            div.opened {
                ul { @for line in first { li { (line) } } }
                @if !rest.is_empty() {
                    details open[is_unfolded] {
                        summary { (texts.fill(words.more, &[("count", &rest.len().to_string())])) }
                        ul { @for line in rest { li { (line) } } }
                    }
                }
                @if extra.contains(&true) {
                    @if has_shared { p.hint { (words.also) } }
                    @else if lines.len() > 1 { p.hint { (words.of_each) } }
                    (sights(texts, extra))
                }
            }
        }
        @if has_shared {
            @if !is_one || groups.iter().any(|(_, lines)| lines.len() > 1) {
                p.hint { (words.of_each) }
            }
            (sights(texts, shared))
        }
    }
}

fn both(one: [bool; 4], other: [bool; 4]) -> [bool; 4] {
    let mut other = other.into_iter();
    one.map(|covered| covered & other.next().unwrap_or(false))
}

fn without(one: [bool; 4], other: [bool; 4]) -> [bool; 4] {
    both(one, other.map(|covered| !covered))
}

/// Data of an account that a grant covers: details, balances, transactions, owner name.
const fn extent(grant: &Grant) -> [bool; 4] {
    [
        grant.details,
        grant.balances,
        grant.transactions,
        grant.owner_name,
    ]
}

const fn is_folded(lines: usize) -> bool {
    lines > SHOWN + 2
}

/// An account by its name and number.
pub(super) fn named(view: &View) -> Markup {
    html! { strong { (view.name) } " " span.number { (view.number) } }
}

/// Data that a consent covers, as bullets.
fn sights(texts: &Texts, [details, balances, transactions, owner_name]: [bool; 4]) -> Markup {
    let words = &texts.authorise;
    let seen = [
        (details, words.sees_details),
        (balances, words.sees_balances),
        (transactions, words.sees_transactions),
        (owner_name, words.sees_owner),
    ];
    html! {
        span.sights {
            @for (_, text) in seen.iter().filter(|(seen, _)| *seen) { span { (text) } }
        }
    }
}

/// Frequency and expiry.
pub(super) fn terms(texts: &Texts, consent: &Consent) -> Markup {
    let words = &texts.authorise;
    let times = consent.frequency_per_day.to_string();
    let until = texts.date(consent.valid_until);
    let minutes = ONE_OFF_UNUSED.num_minutes().to_string();
    html! {
        ul {
            @if consent.recurring {
                li { (texts.fill(words.often, &[("times", &times)])) }
                li { (texts.fill(words.until, &[("day", &until)])) }
            } @else {
                li { (texts.fill(words.once, &[("minutes", &minutes), ("day", &until)])) }
            }
        }
        p.hint { (words.end_any_time) }
    }
}

/// A time in the bank's time zone.
pub(super) fn moment(state: &OnlineBanking, time: DateTime<Utc>) -> Markup {
    html! { time datetime=(time.to_rfc3339()) { (state.texts.time(&state.calendar.local(time))) } }
}

/// The last day of a consent.
pub(super) fn last_day(texts: &Texts, consent: &Consent) -> Markup {
    day(texts, consent.valid_until)
}

/// Problem page of an authorisation error, with the TPP's name where known.
pub(super) fn problem(
    state: &OnlineBanking,
    error: AuthorisationError,
    tpp: Option<&TppRecord>,
) -> Problem {
    use AuthorisationError as E;

    macro_rules! problem {
        ($status:ident, $text:ident, $next:ident) => {
            Problem::new(
                StatusCode::$status,
                |texts| &texts.authorise.$text,
                Next::$next,
            )
        };
    }
    let problem = match error {
        E::Unknown | E::NoSuchConsent => problem!(NOT_FOUND, unknown, None),
        E::OutOfTurn(ScaStatus::Failed) => problem!(GONE, lapsed, None),
        E::OutOfTurn(ScaStatus::Finalised | ScaStatus::Exempted | ScaStatus::Unconfirmed)
        | E::ConsentOver(ConsentStatus::Valid) => problem!(CONFLICT, finished, Consents),
        E::OutOfTurn(_) | E::WrongConfirmation => problem!(CONFLICT, not_finished, None),
        E::ConsentOver(ConsentStatus::Rejected) => problem!(GONE, lapsed, None),
        E::ConsentOver(_) => problem!(GONE, consent_over, None),
        E::OtherApproach(_) => problem!(CONFLICT, other_way, None),
        E::OtherCustomer => problem!(FORBIDDEN, others, None),
        E::ApprovedBefore | E::TooMany | E::TooManyWaiting | E::OtherRequest => {
            problem!(CONFLICT, approved_before, Consents)
        }
        E::NeedsChoice => problem!(CONFLICT, other_way, None),
        E::NotTheCustomers(_) => problem!(FORBIDDEN, not_the_customers, None),
        E::NoAccount => problem!(FORBIDDEN, no_account, None),
        E::Sca(error) => Problem::of_sca(state, error),
        E::CoreBanking(error) => error.into(),
        E::Store(error) => error.into(),
    };
    match tpp {
        Some(tpp) => problem.with("name", tpp.name.clone()),
        None => problem,
    }
}
