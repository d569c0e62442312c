//! Layout of all pages: head, navigation, content, footer; notices, errors and fields of forms.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::OnlineBanking;
use super::assets;
use super::csrf::Purpose;
use super::foreign::isolated;
use super::forms::TOKEN;
use super::headers::content_security_policy;
use super::session::Visit;
use super::texts::Texts;

/// Section of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// The customer's accounts at this bank.
    Accounts,
    /// Her accounts at other banks.
    OtherBanks,
    /// Who has access to her accounts here.
    Consents,
    /// How she logs in.
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
    /// A page of that title. The title is also its first heading.
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

    /// With another status than 200.
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// With its place in the navigation.
    pub(super) fn section(mut self, section: Section) -> Self {
        self.section = Some(section);
        self
    }

    /// Its form may be answered by sending the browser to that origin. Browsers hold a redirection after a form to the
    /// policy of the page with the form.
    pub(super) fn leads_to(mut self, origin: Option<String>) -> Self {
        self.leads_to = origin;
        self
    }

    /// With the script for passkeys.
    pub(super) fn with_script(mut self) -> Self {
        self.script = true;
        self
    }

    /// Renders the page.
    pub(super) fn respond(self, state: &OnlineBanking, visit: &Visit) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((CONTENT_TYPE, "text/html; charset=utf-8"));
        if let Some(origin) = &self.leads_to {
            let policy = content_security_policy(Some(origin));
            response.insert_header((CONTENT_SECURITY_POLICY, policy));
        }
        response.body(self.render(state, visit).into_string())
    }

    fn render(&self, state: &OnlineBanking, visit: &Visit) -> Markup {
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
                    link rel="stylesheet" href=(assets::style_path());
                    link rel="icon" type="image/svg+xml" href=(assets::icon_path());
                    @if self.script { script src=(assets::script_path()) defer {} }
                }
                body {
                    a.skip href="#content" { (frame.skip) }
                    header.top {
                        div.within {
                            a.bank href="/" { (mark()) span { (state.bank_name) } }
                            @if visit.customer().is_some() { (log_out(texts, visit)) }
                        }
                        @if visit.customer().is_some() { (self.navigation(texts)) }
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

    fn navigation(&self, texts: &Texts) -> Markup {
        html! {
            nav aria-label=(texts.frame.navigation) {
                ul.within {
                    @for section in Section::ALL {
                        li {
                            a href=(section.path()) aria-current=[(self.section == Some(section)).then_some("page")] {
                                (section.name(texts))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn log_out(texts: &Texts, visit: &Visit) -> Markup {
    html! {
        form.log-out method="post" action="/log-out" {
            (token_field(visit, &Purpose::new("log-out")))
            button.quiet type="submit" { (texts.frame.log_out) }
        }
    }
}

/// Ends the session and goes on at that page, with another log-in.
pub(super) fn as_another_customer(texts: &Texts, visit: &Visit, path: &str) -> Markup {
    html! {
        form method="post" action="/log-out" {
            (token_field(visit, &Purpose::new("log-out")))
            input type="hidden" name="to" value=(path);
            button.quiet type="submit" { (texts.log_in.as_another) }
        }
    }
}

/// The bank's mark: decoration, so nothing is read out.
fn mark() -> Markup {
    PreEscaped(
        r#"<svg class="mark" viewBox="0 0 24 24" width="28" height="28" aria-hidden="true" focusable="false"><path d="M12 2 3 7v2h18V7zM5 11h2.5v7H5zm5.75 0h2.5v7h-2.5zm5.75 0H19v7h-2.5zM3 20h18v2H3z" fill="currentColor"/></svg>"#
            .to_owned(),
    )
}

/// The hidden field that every form has.
pub(super) fn token_field(visit: &Visit, purpose: &Purpose) -> Markup {
    html! { input type="hidden" name=(TOKEN) value=(visit.form_token(purpose)); }
}

/// Something to be read before all else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Something was done.
    Good,
    /// Something to know.
    Neutral,
    /// Something to heed.
    Warning,
}

/// A notice: what happened, or what to know.
pub(super) fn notice(tone: Tone, text: &str) -> Markup {
    let class = match tone {
        Tone::Good => "notice good",
        Tone::Neutral => "notice",
        Tone::Warning => "notice warning",
    };
    html! { p class=(class) role="status" { (text) } }
}

/// Errors of a form, each with the id of its field.
pub(super) fn errors(texts: &Texts, errors: &[(&str, String)]) -> Markup {
    html! {
        @if !errors.is_empty() {
            div.errors role="alert" aria-labelledby="errors-title" {
                h2 #errors-title { (texts.frame.errors) }
                ul {
                    @for (field, text) in errors { li { a href={ "#" (field) } { (text) } } }
                }
            }
        }
    }
}

/// A field with its label, a hint, and what is wrong with it.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    /// Its name, and its id, unless it is given another.
    pub(super) name: &'a str,
    pub(super) label: &'a str,
    pub(super) hint: Option<&'a str>,
    /// `text`, `password`, `date`, `search`.
    pub(super) kind: &'a str,
    pub(super) value: &'a str,
    /// What the browser may fill in: the standard's `autocomplete`.
    pub(super) autocomplete: &'a str,
    /// Digits only, so that a phone shows its digits.
    pub(super) digits: bool,
    pub(super) longest: usize,
    pub(super) required: bool,
    pub(super) error: Option<&'a str>,
}

impl Field<'_> {
    pub(super) fn render(&self) -> Markup {
        self.render_as(self.name)
    }

    /// The same, where a page has several of that name.
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
                    autocomplete=(self.autocomplete) maxlength=(self.longest) required[self.required]
                    inputmode=[self.digits.then_some("numeric")] autocapitalize="none" spellcheck="false"
                    aria-describedby=[described] aria-invalid=[self.error.map(|_| "true")];
            }
        }
    }
}
