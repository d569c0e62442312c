//! Consent request as shown to the customer: the TPP, the accounts and their data, the frequency
//! and the expiry. Used by the approval page and by the page for the phone.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::OnlineBanking;
use super::accounts::View;
use super::foreign::Foreign;
use super::formatting::day;
use super::forms::Form;
use super::layout::{Tone, notice};
use super::problem::Problem;
use super::texts::Texts;
use crate::consent::ONE_OFF_UNUSED;
use crate::consent::authorisation::{AuthorisationError, OfferedAccess};
use crate::domain::{AccountId, Consent, Grant, TppRecord};

/// Name of the checkboxes of the accounts.
pub(super) const ACCOUNT: &str = "account";

/// The TPP, as its certificate and the register name it.
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

/// Value of the checkbox for all accounts.
const ALL: &str = "all";

/// Accounts that are listed; further ones are folded away, if there are at least three.
const SHOWN: usize = 8;

/// Presentation of the accounts of a request.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    /// Id of the authorisation: a page can show several.
    pub(super) within: &'a str,
    /// Whether account numbers and names are [`masked`](View::masked): the customer has given one
    /// factor alone.
    pub(super) is_masked: bool,
    /// Accounts that were ticked before, if the form is shown again.
    pub(super) chosen: &'a [AccountId],
    pub(super) wrong: Option<&'a str>,
}

/// Whether the customer chooses among several accounts.
pub(super) fn is_choice(offer: &OfferedAccess) -> bool {
    offer.is_choice && offer.accounts.len() > 1
}

/// Accounts that the customer has ticked. Fails for an account that was not offered.
pub(super) fn chosen(form: &Form, offer: &OfferedAccess) -> Result<Vec<AccountId>, Problem> {
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
pub(super) fn accounts(texts: &Texts, offer: &OfferedAccess, shown: Shown<'_>) -> Markup {
    let words = &texts.authorise;
    let view = |account| {
        let view = View::new(account, &[], texts);
        if shown.is_masked {
            view.masked(texts)
        } else {
            view
        }
    };
    let accounts = offer.accounts.iter();
    let lines: Vec<(View, &Grant)> = accounts
        .map(|(account, grant)| (view(account), grant))
        .collect();
    html! {
        @if shown.is_masked { p.hint { (words.masked) } }
        @if is_choice(offer) { (choice(texts, &lines, shown)) }
        @else {
            (opened(texts, lines.iter().map(|(view, grant)| (account(view), *grant)), Fold::Rest))
        }
        @if offer.approvals_needed > 1 {
            (notice(Tone::Neutral, &several(texts, offer)))
        }
    }
}

/// Number of holders of an account who have to approve.
fn several(texts: &Texts, offer: &OfferedAccess) -> String {
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
        let is_ticked = chosen.contains(&view.id);
        (tick(&view.id.0, account(view), is_ticked), *grant)
    });
    let fold = if chosen.is_empty() {
        Fold::Rest
    } else {
        Fold::Nothing
    };
    let id = if wrong.is_some() {
        ACCOUNT.to_owned()
    } else {
        format!("{ACCOUNT}-{within}")
    };
    let described_by = if wrong.is_some() { "error" } else { "hint" };
    let all = texts.fill(words.choose_all, &[("count", &lines.len().to_string())]);
    html! {
        fieldset aria-describedby={ "account-" (described_by) "-" (within) } {
            legend id=(id) { (words.choose) }
            p.hint id={ "account-hint-" (within) } { (words.choose_hint) }
            @if let Some(wrong) = wrong { p.error id={ "account-error-" (within) } { (wrong) } }
            @if is_folded(lines.len()) { (tick(ALL, html! { (all) }, false)) }
            (opened(texts, boxes, fold))
        }
    }
}

/// Folding of a list of accounts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    /// The list is open.
    Nothing,
    /// The first accounts are shown.
    Rest,
}

/// Accounts with the data that a consent covers. Accounts with the same data form a group; data
/// that all groups share is listed once, at the end.
pub(super) fn opened<'a>(
    texts: &Texts,
    lines: impl Iterator<Item = (Markup, &'a Grant)>,
    fold: Fold,
) -> Markup {
    let words = &texts.authorise;
    let mut groups: Vec<([bool; 4], Vec<Markup>)> = Vec::new();
    for (line, grant) in lines {
        let extent = extent(grant);
        match groups.iter_mut().find(|(known, _)| *known == extent) {
            Some((_, lines)) => lines.push(line),
            None => groups.push((extent, vec![line])),
        }
    }
    let shared = groups
        .iter()
        .fold([true; 4], |shared, (extent, _)| both(shared, *extent));
    let has_shared = !groups.is_empty() && shared.contains(&true);
    html! {
        @for (extent, lines) in &groups {
            @let extra = both(*extent, shared.map(|covered| !covered));
            @let shown = if is_folded(lines.len()) { SHOWN } else { lines.len() };
            @let (first, rest) = lines.split_at(shown);
            div.opened {
                ul { @for line in first { li { (line) } } }
                @if !rest.is_empty() {
                    details open[fold == Fold::Nothing] {
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
            @if groups.len() > 1 || groups.iter().any(|(_, lines)| lines.len() > 1) {
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
pub(super) fn account(view: &View) -> Markup {
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
    }
}

/// Limits of the access, and how it can be ended.
pub(super) fn limits(texts: &Texts) -> Markup {
    html! {
        p { (texts.authorise.cannot) }
        p.hint { (texts.authorise.end_any_time) }
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

/// Error page of an authorisation error, with the name of the TPP.
pub(super) fn named(tpp: &TppRecord) -> impl Fn(AuthorisationError) -> Problem {
    move |error| Problem::from(error).with("name", &tpp.name)
}
