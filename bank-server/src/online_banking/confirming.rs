//! Confirmation of a sensitive act by a fresh second factor, within a session. A session that was
//! left open or taken over is not enough for it.

use actix_web::HttpResponse;
use maud::html;

use super::PageResult;
use super::csrf::Purpose;
use super::forms::{Fields, FormBody};
use super::layout::{FieldErrors, Page, Section, token_field};
use super::problem::{Problem, problem};
use super::second_factor::{self, ANSWER, FactorPrompt, FactorResult, METHOD};
use super::session::Customer;
use super::texts::Texts;
use crate::domain::MethodId;
use crate::sca::Subject;

/// Act that a second factor confirms. Its page belongs to the section of passkeys and devices.
pub(super) struct Act {
    /// Its name, in proofs and forms.
    pub(super) name: &'static str,
    /// Path of the page and of its form.
    pub(super) path: &'static str,
    pub(super) title: fn(&Texts) -> &'static str,
    pub(super) lead: fn(&Texts) -> &'static str,
    pub(super) go_on: fn(&Texts) -> &'static str,
}

impl Act {
    fn subject(&self, customer: &Customer) -> Subject {
        Subject::act(&customer.session, self.name)
    }

    /// The page with the form.
    pub(super) async fn page(&self, customer: &Customer, query: &str) -> PageResult {
        let chosen = second_factor::method_of(query);
        self.show(customer, chosen, &FieldErrors::default()).await
    }

    /// Checks the form. Returns its page again, unless the answer is right.
    pub(super) async fn check(
        &self,
        customer: &Customer,
        body: FormBody,
    ) -> Result<Option<HttpResponse>, Problem> {
        let fields = Fields::single(&[METHOD, ANSWER]);
        let form = body.read(Purpose::new(self.name), fields).await?;
        let subject = self.subject(customer);
        match second_factor::check(customer, &customer.psu, &subject, &form).await? {
            FactorResult::Proved(_) => Ok(None),
            FactorResult::Wrong(method, text) => {
                let errors = FieldErrors::of(ANSWER, text);
                Ok(Some(self.show(customer, Some(method), &errors).await?))
            }
            FactorResult::Exhausted => {
                Err(problem!(TOO_MANY_REQUESTS, second_factor.used_up, Start))
            }
        }
    }

    async fn show(
        &self,
        customer: &Customer,
        chosen: Option<MethodId>,
        errors: &FieldErrors,
    ) -> PageResult {
        let texts = customer.state.texts;
        let subject = self.subject(customer);
        let prompt = FactorPrompt::begin(customer, &customer.psu, &subject, chosen).await?;
        let content = html! {
            div.panel.narrow {
                p { ((self.lead)(texts)) }
                (errors.render(texts))
                form method="post" action=(self.path) data-passkey=[prompt.options()] {
                    (token_field(customer, &Purpose::new(self.name)))
                    (prompt.fields(texts, errors.get(ANSWER)))
                    button type="submit" data-passkey-button hidden[prompt.is_passkey()] {
                        ((self.go_on)(texts))
                    }
                }
                (prompt.other_way(texts, self.path))
            }
        };
        let page = Page::new((self.title)(texts), content)
            .status(errors.status())
            .section(Section::Passkeys)
            .script(prompt.is_passkey());
        Ok(page.respond(customer))
    }
}
