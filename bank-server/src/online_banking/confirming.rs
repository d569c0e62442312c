//! Confirmation of a sensitive act by a fresh second factor, within a session. A session that was
//! left open or taken over is not enough for it.

use actix_web::http::header::HeaderMap;
use actix_web::{HttpResponse, web};
use maud::html;

use super::OnlineBanking;
use super::csrf::Purpose;
use super::forms::{Fields, Form};
use super::layout::{Page, Section, errors, token_field};
use super::log_in::status_of;
use super::problem::Problem;
use super::second_factor::{self, ANSWER, Answered, Asked, METHOD};
use super::session::Customer;
use super::texts::Texts;
use crate::domain::MethodId;
use crate::sca::Subject;

/// What is confirmed so. The page is a page of the section of passkeys and devices.
pub(super) struct Act {
    /// The name of it, in proofs and forms.
    pub(super) name: &'static str,
    /// The page, to which its form goes too.
    pub(super) path: &'static str,
    pub(super) title: fn(&Texts) -> &'static str,
    pub(super) lead: fn(&Texts) -> &'static str,
    pub(super) go_on: fn(&Texts) -> &'static str,
}

impl Act {
    fn subject(&self, customer: &Customer) -> Subject {
        Subject::act(&customer.session, self.name)
    }

    /// The page that asks.
    pub(super) async fn page(
        &self,
        state: &OnlineBanking,
        customer: &Customer,
        query: &str,
    ) -> Result<HttpResponse, Problem> {
        let chosen = second_factor::method_of(query);
        self.ask(state, customer, chosen, None).await
    }

    /// Reads the form of that page. `None`: it is she; otherwise the page once more.
    pub(super) async fn check(
        &self,
        state: &web::Data<OnlineBanking>,
        customer: &Customer,
        headers: &HeaderMap,
        body: web::Payload,
    ) -> Result<Option<HttpResponse>, Problem> {
        let fields = Fields::single(&[METHOD, ANSWER]);
        let (visit, purpose) = (&customer.visit, Purpose::new(self.name));
        let form = Form::read(visit, &purpose, fields, headers, body).await?;
        let subject = self.subject(customer);
        match second_factor::check(state, visit, &customer.psu, &subject, &form).await? {
            Answered::Proved(_) => Ok(None),
            Answered::Wrong(method, text) => {
                let again = self.ask(state, customer, Some(method), Some(text)).await?;
                Ok(Some(again))
            }
            Answered::UsedUp => Err(Problem::used_up()),
        }
    }

    async fn ask(
        &self,
        state: &OnlineBanking,
        customer: &Customer,
        chosen: Option<MethodId>,
        wrong: Option<String>,
    ) -> Result<HttpResponse, Problem> {
        let texts = state.texts;
        let (visit, subject) = (&customer.visit, self.subject(customer));
        let asked = Asked::ask(state, visit, &customer.psu, &subject, chosen).await?;
        let errors_there: Vec<_> = wrong.iter().map(|text| (ANSWER, text.clone())).collect();
        let content = html! {
            div.panel.narrow {
                p { ((self.lead)(texts)) }
                (errors(texts, &errors_there))
                form method="post" action=(self.path) data-passkey=[asked.options()] {
                    (token_field(&customer.visit, &Purpose::new(self.name)))
                    (asked.fields(texts, wrong.as_deref()))
                    button type="submit" data-passkey-button hidden[asked.is_passkey()] { ((self.go_on)(texts)) }
                }
                (asked.other_way(texts, self.path))
            }
        };
        let page = Page::new((self.title)(texts), content)
            .status(status_of(&errors_there))
            .section(Section::Passkeys);
        let page = if asked.is_passkey() {
            page.with_script()
        } else {
            page
        };
        Ok(page.respond(state, &customer.visit))
    }
}
