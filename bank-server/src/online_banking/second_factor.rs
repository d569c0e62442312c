//! Second-factor fields of a form: a code, or a passkey.

use actix_web::web;
use maud::{Markup, html};

use super::OnlineBanking;
use super::forms::Form;
use super::layout::Field;
use super::message::Next;
use super::problem::Problem;
use super::session::Visit;
use super::texts::Texts;
use crate::domain::{MethodId, PsuId};
use crate::sca::{Challenge, DIGITS, PasskeysError, Proof, ScaError, Subject};

/// The fields that [`Asked::fields`] puts into a form.
pub(super) const METHOD: &str = "method";
pub(super) const ANSWER: &str = "answer";

/// What a customer is asked for on a page.
pub(super) struct Asked {
    method: MethodId,
    /// For the browser: what a passkey has to sign.
    options: Option<String>,
    /// The other method, if she has it.
    other: Option<MethodId>,
}

impl Asked {
    /// A passkey, for those options.
    pub(super) fn passkey(options: &serde_json::Value) -> Self {
        Self {
            method: MethodId::Passkey,
            options: Some(options.to_string()),
            other: None,
        }
    }

    /// Asks for a proof for that one thing: by the method she has chosen, or the first that she has.
    pub(super) async fn ask(
        state: &OnlineBanking,
        visit: &Visit,
        psu: &PsuId,
        subject: &Subject,
        chosen: Option<MethodId>,
    ) -> Result<Self, Problem> {
        let enrolled = state.sca.methods_of(psu).await;
        let mut here = enrolled.map_err(|error| Problem::of_sca(state, error))?;
        here.retain(|method| matches!(method, MethodId::Totp | MethodId::Passkey));
        let chosen = chosen.filter(|method| here.contains(method));
        let Some(method) = chosen.or(here.first().copied()) else {
            return Err(Problem::new(
                actix_web::http::StatusCode::FORBIDDEN,
                |texts| &texts.second_factor.none,
                Next::None,
            ));
        };
        let challenge = state
            .sca
            .challenge(psu, method, subject, visit.source(psu))
            .await;
        let challenge = challenge.map_err(|error| Problem::of_sca(state, error))?;
        let options = match challenge {
            Challenge::Browser { options } => Some(options.to_string()),
            Challenge::Code { .. } | Challenge::App => None,
        };
        Ok(Self {
            method,
            options,
            other: here.into_iter().find(|other| *other != method),
        })
    }

    /// For the form's `data-passkey`: the script looks for it.
    pub(super) fn options(&self) -> Option<&str> {
        self.options.as_deref()
    }

    /// Whether the page needs the script.
    pub(super) fn is_passkey(&self) -> bool {
        self.method == MethodId::Passkey
    }

    /// The fields for the answer, with what was wrong with the one before.
    pub(super) fn fields(&self, texts: &Texts, wrong: Option<&str>) -> Markup {
        let words = &texts.second_factor;
        html! {
            input type="hidden" name=(METHOD) value=(self.method);
            @if self.is_passkey() {
                input type="hidden" name=(ANSWER) value="";
                @if let Some(wrong) = wrong { p.error id=(ANSWER) { (wrong) } }
                p { (words.passkey_lead) }
                p.error data-failed hidden role="alert" { (words.passkey_failed) }
                p.notice.warning data-no-script { (words.passkey_needs_script) }
            } @else {
                (code_field(texts, ANSWER, wrong))
            }
        }
    }

    /// A link to the same page with the other method.
    pub(super) fn other_way(&self, texts: &Texts, page: &str) -> Markup {
        let words = &texts.second_factor;
        html! {
            @if let Some(other) = self.other {
                p {
                    a href={ (page) (if page.contains('?') { "&" } else { "?" }) "method=" (other) } {
                        @if other == MethodId::Passkey { (words.with_passkey) } @else { (words.with_code) }
                    }
                }
            }
        }
    }
}

/// The field for a code, with what was wrong with the one before.
pub(super) fn code_field(texts: &Texts, name: &str, wrong: Option<&str>) -> Markup {
    let words = &texts.second_factor;
    let hint = texts.fill(words.code_hint, &[("digits", &DIGITS.to_string())]);
    Field {
        name,
        label: words.code,
        hint: Some(&hint),
        kind: "text",
        value: "",
        autocomplete: "one-time-code",
        digits: true,
        longest: 12,
        required: true,
        error: wrong,
    }
    .render()
}

/// What came of an answer.
pub(super) enum Answered {
    /// It is she.
    Proved(Proof),
    /// It was wrong; she may try again, and is told so at the field.
    Wrong(MethodId, String),
    /// It was wrong, and the last that could be tried for this.
    UsedUp,
}

/// Checks the answer in a form.
pub(super) async fn check(
    state: &web::Data<OnlineBanking>,
    visit: &Visit,
    psu: &PsuId,
    subject: &Subject,
    form: &Form,
) -> Result<Answered, Problem> {
    let words = &state.texts.second_factor;
    let method = form.field(METHOD)?.parse::<MethodId>().ok();
    let method = method
        .filter(|method| matches!(method, MethodId::Totp | MethodId::Passkey))
        .ok_or_else(Problem::form_unreadable)?;
    let answer = form.field(ANSWER)?.trim();
    if answer.is_empty() {
        let missing = if method == MethodId::Totp {
            words.code_missing
        } else {
            words.passkey_failed
        };
        return Ok(Answered::Wrong(method, missing.to_owned()));
    }
    match state
        .sca
        .prove(psu, method, subject, answer, visit.source(psu))
        .await
    {
        Ok(proof) => Ok(Answered::Proved(proof)),
        Err(ScaError::WrongAnswer { .. } | ScaError::Passkeys(PasskeysError::Answer))
            if method == MethodId::Passkey =>
        {
            Ok(Answered::Wrong(method, words.passkey_failed.to_owned()))
        }
        Err(ScaError::Taken) => Ok(Answered::Wrong(method, words.taken.to_owned())),
        Err(ScaError::NotACode) => Ok(Answered::Wrong(method, words.no_code.to_owned())),
        Err(ScaError::WrongAnswer { attempts_left }) if attempts_left > 0 => {
            let left = attempts_left.to_string();
            let text = state.texts.fill(words.wrong, &[("left", &left)]);
            Ok(Answered::Wrong(method, text))
        }
        Err(ScaError::WrongAnswer { .. }) => Ok(Answered::UsedUp),
        Err(error) => Err(Problem::of_sca(state, error)),
    }
}

/// The method that a query asks for.
pub(super) fn method_of(query: &str) -> Option<MethodId> {
    let mut pairs = query.split('&');
    pairs
        .find_map(|pair| pair.strip_prefix("method="))
        .and_then(|name| name.parse().ok())
}
