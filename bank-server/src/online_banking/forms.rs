//! Parser of our pages' forms: bounded size, known fields, each once, with a valid CSRF token.

use std::future::{Ready, ready};
use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use actix_web::{FromRequest, HttpRequest};
use futures::StreamExt as _;

use super::csrf::Purpose;
use super::problem::Problem;
use super::session::Visit;

/// The field that holds the token against foreign forms.
pub(super) const TOKEN: &str = "csrf";

/// Maximum size of a form.
const MAX_FORM_BYTES: usize = 64 * 1024;

/// Fields of a form, beside its token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    /// Each at most once.
    pub(super) single: &'static [&'static str],
    /// Each as often as there are choices.
    pub(super) repeated: &'static [&'static str],
}

impl Fields {
    /// Fields that are there once.
    pub(super) const fn single(single: &'static [&'static str]) -> Self {
        Self {
            single,
            repeated: &[],
        }
    }
}

/// Body of a form that has not been read yet.
pub(super) struct FormBody {
    visit: Rc<Visit>,
    request: HttpRequest,
    body: Payload,
}

impl FromRequest for FormBody {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, body: &mut Payload) -> Self::Future {
        ready(Visit::of_request(request).map(|visit| Self {
            visit,
            request: request.clone(),
            body: body.take(),
        }))
    }
}

impl FormBody {
    /// Reads the form. Fails if it was not made by us, for this session and this purpose.
    pub(super) async fn read(self, purpose: Purpose, fields: Fields) -> Result<Form, Problem> {
        let visit = Rc::clone(&self.visit);
        let form = Form::decode(&self.collect().await?, fields)?;
        // The token is checked last: reporting a malformed form reveals and changes nothing.
        let token = form.optional(TOKEN).unwrap_or_default();
        if visit.is_form_token(token, &purpose) {
            Ok(form)
        } else if visit.session().is_none() {
            Err(Problem::foreign_form_before_log_in())
        } else {
            Err(Problem::foreign_form())
        }
    }

    /// Reads a form that has no fields beside its token.
    pub(super) async fn read_empty(self, purpose: Purpose) -> Result<(), Problem> {
        self.read(purpose, Fields::single(&[])).await.map(drop)
    }

    async fn collect(mut self) -> Result<Vec<u8>, Problem> {
        let header = |name: HeaderName| {
            let value = self.request.headers().get(name);
            value.and_then(|value| value.to_str().ok())
        };
        let kind = header(CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Problem::form_type());
        }
        let announced = header(CONTENT_LENGTH).and_then(|value| value.parse::<usize>().ok());
        if announced.is_some_and(|length| length > MAX_FORM_BYTES) {
            return Err(Problem::form_too_large());
        }
        let mut collected = Vec::new();
        while let Some(chunk) = self.body.next().await {
            let chunk = chunk.map_err(|_| Problem::form_unreadable())?;
            if collected.len() + chunk.len() > MAX_FORM_BYTES {
                return Err(Problem::form_too_large());
            }
            collected.extend_from_slice(&chunk);
        }
        Ok(collected)
    }
}

/// Form that came from our own page. Without `Debug`, because it holds passwords.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    fn decode(body: &[u8], fields: Fields) -> Result<Self, Problem> {
        let text = str::from_utf8(body).map_err(|_| Problem::form_unreadable())?;
        let mut read: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name).ok_or_else(Problem::form_unreadable)?;
            let value = decoded(value).ok_or_else(Problem::form_unreadable)?;
            let known = |names: &[&str]| names.contains(&name.as_str());
            if name == TOKEN || known(fields.single) {
                if read.iter().any(|(earlier, _)| *earlier == name) {
                    return Err(Problem::form_repeated_field());
                }
            } else if !known(fields.repeated) {
                return Err(Problem::form_unknown_field());
            }
            read.push((name, value));
        }
        Ok(Self(read))
    }

    /// A field that the page always sends, if only with an empty value.
    pub(super) fn field(&self, name: &str) -> Result<&str, Problem> {
        self.optional(name).ok_or_else(Problem::form_missing_field)
    }

    /// A field that the page may leave out.
    pub(super) fn optional(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a field.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Decoder of a name or value (URL standard, section 5.1): a plus sign is a blank, `%` and two
/// hexadecimal digits are a byte. Fails for text that is not UTF-8, or has a control character
/// other than line breaks and tabs.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    let strange = |letter: char| letter.is_control() && !matches!(letter, '\r' | '\n' | '\t');
    (!text.contains(strange)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: Fields = Fields {
        single: &["name", "text"],
        repeated: &["account"],
    };

    #[test]
    fn fields_are_read_as_the_browser_wrote_them() {
        let form = "csrf=t&name=Anna+Weber&text=%C3%A4%26%3D%2B%0D%0A&account=1&account=2";
        let form = Form::decode(form.as_bytes(), FIELDS).ok().unwrap();
        assert_eq!(form.field("name").ok(), Some("Anna Weber"));
        assert_eq!(form.optional("text"), Some("ä&=+\r\n"));
        assert_eq!(form.all("account").collect::<Vec<_>>(), ["1", "2"]);
        assert!(form.field("missing").is_err());
    }

    #[test]
    fn each_form_error_has_its_page() {
        let refusal = |form: &[u8]| {
            Form::decode(form, FIELDS)
                .err()
                .map(|problem| problem.name())
        };
        assert_eq!(refusal(b"other=1"), Some("form-unknown-field"));
        assert_eq!(refusal(b"name=1&name=2"), Some("form-repeated-field"));
        assert_eq!(refusal(b"csrf=1&csrf=2"), Some("form-repeated-field"));
        for unreadable in [
            &b"name=%"[..],
            b"name=%4",
            b"name=%zz",
            b"name=%ff",
            b"name=\xff",
            b"name=%00",
            b"name=%+1",
        ] {
            assert_eq!(
                refusal(unreadable),
                Some("form-unreadable"),
                "{unreadable:?}"
            );
        }
        assert_eq!(refusal(b""), None);
    }
}
