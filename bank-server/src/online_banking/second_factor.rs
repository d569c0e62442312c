//! Second-factor fields of a form: a code, or a passkey.

use maud::{Markup, html};

use super::forms::Form;
use super::layout::Field;
use super::problem::{Problem, problem};
use super::session::Visit;
use super::texts::Texts;
use crate::domain::{MethodId, PsuId};
use crate::sca::{Challenge, DIGITS, PasskeysError, Proof, ScaError, Subject};

/// Names of the fields of [`FactorPrompt::fields`].
pub(super) const METHOD: &str = "method";
pub(super) const ANSWER: &str = "answer";

/// Second factor that a page asks for.
pub(super) struct FactorPrompt {
    method: MethodId,
    /// Options for the browser's passkey request.
    options: Option<String>,
    /// The other method, if the customer has it.
    other: Option<MethodId>,
}

impl FactorPrompt {
    /// Prompt for a passkey with those options.
    pub(super) fn passkey(options: &serde_json::Value) -> Self {
        Self {
            method: MethodId::Passkey,
            options: Some(options.to_string()),
            other: None,
        }
    }

    /// Begins a challenge for that subject, by the chosen method or the first that the customer
    /// has.
    pub(super) async fn begin(
        visit: &Visit,
        psu: &PsuId,
        subject: &Subject,
        chosen: Option<MethodId>,
    ) -> Result<Self, Problem> {
        let sca = &visit.state.sca;
        let mut here = sca.methods_of(psu).await?;
        here.retain(|method| matches!(method, MethodId::Totp | MethodId::Passkey));
        let chosen = chosen.filter(|method| here.contains(method));
        let Some(method) = chosen.or_else(|| here.first().cloned()) else {
            return Err(problem!(FORBIDDEN, second_factor.none, None));
        };
        let source = visit.source(psu);
        let options = match sca.challenge(psu, &method, subject, source).await? {
            Challenge::Browser { options } => Some(options.to_string()),
            Challenge::Code { .. } | Challenge::App => None,
        };
        Ok(Self {
            options,
            other: here.into_iter().find(|other| *other != method),
            method,
        })
    }

    /// Value of the form's `data-passkey`, which the script reads.
    pub(super) fn options(&self) -> Option<&str> {
        self.options.as_deref()
    }

    /// Whether the page needs the script.
    pub(super) fn is_passkey(&self) -> bool {
        self.method == MethodId::Passkey
    }

    /// Fields for the answer, with the error of the previous one.
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

    /// Link to the same page with the other method.
    pub(super) fn other_way(&self, texts: &Texts, page: &str) -> Markup {
        let words = &texts.second_factor;
        html! {
            @if let Some(other) = &self.other {
                p {
                    a href={ (page) "?method=" (other) } {
                        @if *other == MethodId::Passkey { (words.with_passkey) }
                        @else { (words.with_code) }
                    }
                }
            }
        }
    }
}

/// Field for a code, with the error of the previous one.
pub(super) fn code_field(texts: &Texts, name: &str, wrong: Option<&str>) -> Markup {
    let words = &texts.second_factor;
    let hint = texts.fill(words.code_hint, &[("digits", &DIGITS.to_string())]);
    Field {
        hint: Some(&hint),
        autocomplete: "one-time-code",
        is_numeric: true,
        max_length: 12,
        error: wrong,
        ..Field::new("text", name, words.code)
    }
    .render()
}

/// Result of an answer.
pub(super) enum FactorResult {
    /// Right.
    Proved(Proof),
    /// Wrong, with the text for the field; the customer can try again.
    Wrong(MethodId, String),
    /// Wrong, and no attempts are left.
    Exhausted,
}

/// Checks the answer in a form.
pub(super) async fn check(
    visit: &Visit,
    psu: &PsuId,
    subject: &Subject,
    form: &Form,
) -> Result<FactorResult, Problem> {
    let state = &visit.state;
    let words = &state.texts.second_factor;
    let method = form.field(METHOD)?.parse::<MethodId>().ok();
    let method = method
        .filter(|method| matches!(method, MethodId::Totp | MethodId::Passkey))
        .ok_or_else(Problem::form_unreadable)?;
    let answer = form.field(ANSWER)?.trim();
    let wrong = |text: &str| Ok(FactorResult::Wrong(method.clone(), text.to_owned()));
    if answer.is_empty() {
        return wrong(if method == MethodId::Totp {
            words.code_missing
        } else {
            words.passkey_failed
        });
    }
    let source = visit.source(psu);
    match state.sca.prove(psu, &method, subject, answer, source).await {
        Ok(proof) => Ok(FactorResult::Proved(proof)),
        Err(ScaError::WrongAnswer { .. } | ScaError::Passkeys(PasskeysError::Answer))
            if method == MethodId::Passkey =>
        {
            wrong(words.passkey_failed)
        }
        Err(ScaError::Taken) => wrong(words.taken),
        Err(ScaError::NotACode) => wrong(words.no_code),
        Err(ScaError::WrongAnswer { attempts_left }) if attempts_left > 0 => {
            let left = attempts_left.to_string();
            wrong(&state.texts.fill(words.wrong, &[("left", &left)]))
        }
        Err(ScaError::WrongAnswer { .. }) => Ok(FactorResult::Exhausted),
        Err(error) => Err(error.into()),
    }
}

/// The method in a query.
pub(super) fn method_of(query: &str) -> Option<MethodId> {
    let mut pairs = query.split('&');
    pairs
        .find_map(|pair| pair.strip_prefix("method="))
        .and_then(|name| name.parse().ok())
}
