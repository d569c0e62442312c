//! Layout of all pages: head, navigation, content, footer; notices, errors and fields of forms.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::assets;
use super::csrf::Purpose;
use super::foreign::isolated;
use super::forms::TOKEN;
use super::headers::content_security_policy;
use super::session::{Customer, Visit};
use super::texts::Texts;
use crate::sca::PASSWORD_LENGTH;

/// Section of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// Accounts at this bank.
    Accounts,
    /// Accounts at other banks.
    OtherBanks,
    /// Consents given to TPPs.
    Consents,
    /// Passkeys, and devices for approvals.
    Passkeys,
}

impl Section {
    const ALL: [Self; 4] = [
        Self::Accounts,
        Self::OtherBanks,
        Self::Consents,
        Self::Passkeys,
    ];

    const fn path(self) -> &'static str {
        match self {
            Self::Accounts => "/",
            Self::OtherBanks => "/other-banks",
            Self::Consents => "/consents",
            Self::Passkeys => "/passkeys",
        }
    }

    const fn name(self, texts: &Texts) -> &'static str {
        match self {
            Self::Accounts => texts.frame.accounts,
            Self::OtherBanks => texts.frame.other_banks,
            Self::Consents => texts.frame.consents,
            Self::Passkeys => texts.frame.passkeys,
        }
    }
}

/// Page before rendering.
pub(super) struct Page {
    title: String,
    content: Markup,
    status: StatusCode,
    section: Option<Section>,
    leads_to: Option<String>,
    script: bool,
}

impl Page {
    /// A page with that title, which is also its first heading.
    pub(super) fn new(title: impl Into<String>, content: Markup) -> Self {
        Self {
            title: isolated(&title.into()),
            content,
            status: StatusCode::OK,
            section: None,
            leads_to: None,
            script: false,
        }
    }

    /// Sets a status other than 200.
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Sets its place in the navigation.
    pub(super) fn section(mut self, section: Section) -> Self {
        self.section = Some(section);
        self
    }

    /// Allows its form to be answered by a redirect to that origin: browsers apply the policy of
    /// the page with the form to it.
    pub(super) fn leads_to(mut self, origin: Option<String>) -> Self {
        self.leads_to = origin;
        self
    }

    /// Adds the script for passkeys, if the page needs it.
    pub(super) fn script(mut self, is_needed: bool) -> Self {
        self.script = is_needed;
        self
    }

    /// Renders the page.
    pub(super) fn respond(self, visit: &Visit) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((CONTENT_TYPE, "text/html; charset=utf-8"));
        if let Some(origin) = &self.leads_to {
            let policy = content_security_policy(Some(origin));
            response.insert_header((CONTENT_SECURITY_POLICY, policy));
        }
        response.body(self.render(visit).into_string())
    }

    fn render(&self, visit: &Visit) -> Markup {
        let state = &visit.state;
        let texts = state.texts;
        let frame = &texts.frame;
        html! {
            (DOCTYPE)
            html lang=(texts.language) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " – " (state.bank_name) }
                    link rel="stylesheet" href=(assets::STYLE.path);
                    link rel="icon" type="image/svg+xml" href=(assets::ICON.path);
                    @if self.script { script src=(assets::SCRIPT.path) defer {} }
                }
                body {
                    a.skip href="#content" { (frame.skip) }
                    header.top {
                        div.within {
                            a.bank href="/" { (mark()) span { (state.bank_name) } }
                            @if visit.customer().is_some() { (log_out(visit)) }
                        }
                        @if visit.customer().is_some() { (self.navigation(visit)) }
                    }
                    main #content tabindex="-1" {
                        h1 { (self.title) }
                        (self.content)
                    }
                    footer {
                        div.within {
                            p { (texts.fill(frame.about, &[("bank", &state.bank_name)])) }
                            p { (frame.never_ask) }
                        }
                    }
                }
            }
        }
    }

    fn navigation(&self, visit: &Visit) -> Markup {
        let state = &visit.state;
        let texts = state.texts;
        let is_there =
            |section: &Section| *section != Section::Passkeys || state.identity_provider.is_none();
        html! {
            nav aria-label=(texts.frame.navigation) {
                ul.within {
                    @for section in Section::ALL.into_iter().filter(is_there) {
                        li {
                            @let is_current = self.section == Some(section);
                            a href=(section.path()) aria-current=[is_current.then_some("page")] {
                                (section.name(texts))
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Customer {
    /// Response with a page of that section.
    pub(super) fn page(
        &self,
        section: Section,
        title: impl Into<String>,
        content: Markup,
    ) -> HttpResponse {
        Page::new(title, content).section(section).respond(self)
    }

    /// Response with a page that asks to confirm one act.
    pub(super) fn confirmation(&self, act: Confirmation<'_>) -> HttpResponse {
        let content = html! {
            div.panel.narrow {
                p.lead { (act.lead) }
                div.actions {
                    form method="post" action=(act.path) {
                        (token_field(self, &act.purpose))
                        button.danger type="submit" { (act.button) }
                    }
                    a.button.quiet href=(act.section.path()) { (act.back) }
                }
            }
        };
        self.page(act.section, act.title, content)
    }
}

/// Act that the customer is asked to confirm.
pub(super) struct Confirmation<'a> {
    /// Section to which the page belongs, and to whose first page the way back leads.
    pub(super) section: Section,
    pub(super) title: String,
    pub(super) lead: String,
    /// Path of the page and of its form.
    pub(super) path: String,
    pub(super) purpose: Purpose,
    pub(super) button: &'a str,
    pub(super) back: &'a str,
}

/// Redirect to another page, which a reload fetches without sending the form again.
pub(super) fn see_other(address: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((LOCATION, address))
        .finish()
}

fn log_out(visit: &Visit) -> Markup {
    html! {
        form.log-out method="post" action="/log-out" {
            (token_field(visit, &Purpose::new("log-out")))
            button.quiet type="submit" { (visit.state.texts.frame.log_out) }
        }
    }
}

/// Form that ends the session and continues at `path` after another log-in.
pub(super) fn as_another_customer(visit: &Visit, path: &str) -> Markup {
    html! {
        form method="post" action="/log-out" {
            (token_field(visit, &Purpose::new("log-out")))
            input type="hidden" name="to" value=(path);
            button.quiet type="submit" { (visit.state.texts.log_in.as_another) }
        }
    }
}

/// The bank's logo, hidden from screen readers.
fn mark() -> Markup {
    PreEscaped(
        r#"<svg class="mark" viewBox="0 0 24 24" width="28" height="28" aria-hidden="true" focusable="false"><path d="M12 2 3 7v2h18V7zM5 11h2.5v7H5zm5.75 0h2.5v7h-2.5zm5.75 0H19v7h-2.5zM3 20h18v2H3z" fill="currentColor"/></svg>"#
            .to_owned(),
    )
}

/// Hidden field with the CSRF token.
pub(super) fn token_field(visit: &Visit, purpose: &Purpose) -> Markup {
    html! { input type="hidden" name=(TOKEN) value=(visit.form_token(purpose)); }
}

/// Tone of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Success.
    Good,
    /// Information.
    Neutral,
    /// Warning.
    Warning,
}

/// Notice in a box.
pub(super) fn notice(tone: Tone, text: &str) -> Markup {
    let class = match tone {
        Tone::Good => "notice good",
        Tone::Neutral => "notice",
        Tone::Warning => "notice warning",
    };
    html! { p class=(class) role="status" { (text) } }
}

/// Errors of a form, each with the id of its field.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FieldErrors(Vec<(String, String)>);

impl FieldErrors {
    /// One error.
    pub(super) fn of(field: &str, text: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.add(field, text);
        errors
    }

    pub(super) fn add(&mut self, field: &str, text: impl Into<String>) {
        self.0.push((field.to_owned(), text.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The error of a field.
    pub(super) fn get(&self, field: &str) -> Option<&str> {
        let error = self.0.iter().find(|(known, _)| known == field);
        error.map(|(_, text)| text.as_str())
    }

    /// Status of the page with the form.
    pub(super) fn status(&self) -> StatusCode {
        if self.is_empty() {
            StatusCode::OK
        } else {
            StatusCode::UNPROCESSABLE_ENTITY
        }
    }

    /// The errors, with links to their fields.
    pub(super) fn render(&self, texts: &Texts) -> Markup {
        html! {
            @if !self.is_empty() {
                div.errors role="alert" aria-labelledby="errors-title" {
                    h2 #errors-title { (texts.frame.errors) }
                    ul {
                        @for (field, text) in &self.0 { li { a href={ "#" (field) } { (text) } } }
                    }
                }
            }
        }
    }
}

/// Field of a form, with its label, a hint and its error.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    /// Its name, and its id, unless it is given another.
    pub(super) name: &'a str,
    pub(super) label: &'a str,
    /// `text`, `password`, `date`, `search`.
    pub(super) kind: &'a str,
    pub(super) hint: Option<&'a str>,
    pub(super) value: &'a str,
    /// The standard's `autocomplete`.
    pub(super) autocomplete: &'a str,
    /// Whether a phone shows its keyboard of digits.
    pub(super) is_numeric: bool,
    pub(super) max_length: usize,
    pub(super) is_required: bool,
    pub(super) error: Option<&'a str>,
}

impl<'a> Field<'a> {
    /// A field that must be filled in, with up to 70 characters.
    pub(super) const fn new(kind: &'a str, name: &'a str, label: &'a str) -> Self {
        Self {
            name,
            label,
            kind,
            hint: None,
            value: "",
            autocomplete: "off",
            is_numeric: false,
            max_length: 70,
            is_required: true,
            error: None,
        }
    }

    /// The field for the customer's password.
    pub(super) const fn password(label: &'a str, hint: Option<&'a str>) -> Self {
        Self {
            hint,
            autocomplete: "current-password",
            max_length: *PASSWORD_LENGTH.end(),
            ..Self::new("password", "password", label)
        }
    }

    pub(super) fn render(&self) -> Markup {
        self.render_as(self.name)
    }

    /// Renders with an explicit id, for a page with several fields of that name.
    pub(super) fn render_as(&self, id: &str) -> Markup {
        let hint = format!("{id}-hint");
        let error = format!("{id}-error");
        let described: Vec<&str> = [
            self.hint.map(|_| hint.as_str()),
            self.error.map(|_| error.as_str()),
        ]
        .into_iter()
        .flatten()
        .collect();
        let described = (!described.is_empty()).then(|| described.join(" "));
        html! {
            div.field {
                label for=(id) { (self.label) }
                @if let Some(text) = self.hint { p.hint id=(hint) { (text) } }
                @if let Some(text) = self.error { p.error id=(error) { (text) } }
                input id=(id) name=(self.name) type=(self.kind) value=(self.value)
                    autocomplete=(self.autocomplete) maxlength=(self.max_length)
                    required[self.is_required] inputmode=[self.is_numeric.then_some("numeric")]
                    autocapitalize="none" spellcheck="false"
                    aria-describedby=[described] aria-invalid=[self.error.map(|_| "true")];
            }
        }
    }
}
