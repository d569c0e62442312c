//! Message page: what happened, what to do, and one link to continue.
//!
//! Handlers return it for an outcome (`Message::done`); the middleware renders it for a
//! [`Problem`].
//!
//! [`Problem`]: super::problem::Problem

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use maud::html;

use super::destination::Destination;
use super::layout::{Page, Tone, as_another_customer, notice};
use super::session::Visit;
use super::texts::{Explained, Texts};

/// Message page before rendering.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) status: StatusCode,
    pub(super) text: fn(&Texts) -> &Explained,
    next: Next,
    /// Values of the placeholders in the text.
    values: Vec<(&'static str, String)>,
    /// Value of `{until}`, rounded up to the minute.
    until: Option<DateTime<Utc>>,
}

/// Link at the end of a message page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// To the first page.
    Start,
    /// To the log-in.
    LogIn,
    /// To the log-in, at which the identity provider authenticates the customer anew, then to that
    /// page.
    LogInAnew(Destination),
    /// Back to the approval that is confirmed at the identity provider.
    Approval(Destination),
    /// To that page once more, after an outage.
    Again(Destination),
    /// To the consents.
    Consents,
    /// To the accounts at other banks.
    OtherBanks,
    /// To the passkeys.
    Passkeys,
    /// To the page for the phone.
    Phone,
    /// Log out, then back to that page for the log-in of another customer.
    AsAnotherCustomer(Destination),
    /// No link.
    None,
}

impl Message {
    pub(super) const fn new(
        status: StatusCode,
        text: fn(&Texts) -> &Explained,
        next: Next,
    ) -> Self {
        Self {
            status,
            text,
            next,
            values: Vec::new(),
            until: None,
        }
    }

    /// Message that a request succeeded.
    pub(super) const fn done(text: fn(&Texts) -> &Explained, next: Next) -> Self {
        Self::new(StatusCode::OK, text, next)
    }

    /// Sets the value of a placeholder.
    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.values.push((name, value));
        self
    }

    /// Sets the time at which the customer can try again.
    pub(super) const fn until(mut self, time: DateTime<Utc>) -> Self {
        self.until = Some(time);
        self
    }

    /// Replaces the link.
    pub(super) fn then(mut self, next: Next) -> Self {
        self.next = next;
        self
    }

    pub(super) fn respond(&self, visit: &Visit) -> HttpResponse {
        let state = &visit.state;
        let texts = state.texts;
        let text = (self.text)(texts);
        let minutes = |time: TimeDelta| time.num_minutes().to_string();
        let lifetime = state.session_lifetime;
        let (idle, whole) = (minutes(lifetime.idle), minutes(lifetime.whole));
        let until = self.until.map(|time| time + TimeDelta::seconds(59));
        let until = until.map(|time| texts.time(&state.calendar.local(time)));
        let mut values: Vec<(&str, &str)> = vec![
            ("idle", &idle),
            ("whole", &whole),
            ("bank", &state.bank_name),
        ];
        values.extend(until.iter().map(|time| ("until", time.as_str())));
        values.extend(
            self.values
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
        let tone = if self.status.is_success() {
            Tone::Good
        } else {
            Tone::Warning
        };
        let content = html! {
            div.panel.narrow data-message=(text.name) {
                (notice(tone, &texts.fill(text.happened, &values)))
                p { (texts.fill(text.to_do, &values)) }
                @match &self.next {
                    Next::Start => p { a.button href="/" { (texts.frame.to_start) } }
                    Next::LogIn => p { a.button href="/log-in" { (texts.frame.to_log_in) } }
                    Next::LogInAnew(to) => p {
                        a.button href={ "/log-in?prompt=login&to=" (to.path()) } {
                            (texts.frame.to_log_in)
                        }
                    }
                    Next::Approval(to) => p {
                        a.button href=(to.path()) { (texts.identity_provider.back) }
                    }
                    Next::Again(to) => p {
                        a.button href=(to.path()) { (texts.other_banks.try_again) }
                    }
                    Next::Consents => p { a.button href="/consents" { (texts.frame.to_consents) } }
                    Next::OtherBanks => p {
                        a.button href="/other-banks" { (texts.other_banks.see_all) }
                    }
                    Next::Passkeys => p { a.button href="/passkeys" { (texts.frame.passkeys) } }
                    Next::Phone => p { a.button href="/phone" { (texts.frame.to_phone) } }
                    Next::AsAnotherCustomer(to) => (as_another_customer(visit, to.path())),
                    Next::None => {}
                }
            }
        };
        Page::new(text.title, content)
            .status(self.status)
            .respond(visit)
    }
}
