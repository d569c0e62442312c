//! Query string of the account page: search text, period and page.

use chrono::NaiveDate;

use super::super::forms::decoded;
use super::super::layout::FieldErrors;
use super::super::texts::Texts;
use crate::core_banking::PageKey;

/// Longest search text, in characters.
const MAX_TEXT: usize = 70;

/// Search for transactions as it was entered, with its errors.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) text: String,
    pub(super) from: Day,
    pub(super) to: Day,
    /// Last entry of the page before.
    pub(super) after: Option<PageKey>,
    pub(super) errors: FieldErrors,
}

/// Date as it was entered and, if it is valid, as it was parsed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) entered: String,
    pub(super) date: Option<NaiveDate>,
}

impl Query {
    /// Parses a query string. Fails if its page key is malformed.
    pub(super) fn read(query: &str, texts: &Texts) -> Option<Self> {
        let mut read = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            match name {
                "text" => value.trim().clone_into(&mut read.text),
                "from" => read.from = Day::read(&value),
                "to" => read.to = Day::read(&value),
                "after" => read.after = Some(key(&value)?),
                // Links from elsewhere may have added parameters.
                _ => {}
            }
        }
        read.validate(texts);
        Some(read)
    }

    fn validate(&mut self, texts: &Texts) {
        let words = &texts.accounts;
        if self.text.chars().count() > MAX_TEXT {
            self.errors.add("text", words.wrong_text);
        }
        for (name, day) in [("from", &self.from), ("to", &self.to)] {
            if day.date.is_none() && !day.entered.is_empty() {
                self.errors.add(name, words.wrong_date);
            }
        }
        if self
            .from
            .date
            .zip(self.to.date)
            .is_some_and(|(from, to)| from > to)
        {
            self.errors.add("from", words.wrong_order);
        }
    }

    /// Whether a text or a period is given.
    pub(super) fn is_narrowed(&self) -> bool {
        !self.text.is_empty() || self.from.date.is_some() || self.to.date.is_some()
    }

    /// Query string of the next page.
    pub(super) fn on_from(&self, next: &PageKey) -> String {
        let mut address = self.start();
        address.push(if address.is_empty() { '?' } else { '&' });
        address.push_str("after=");
        address.push_str(&written(next));
        address
    }

    /// Query string of the first page.
    pub(super) fn start(&self) -> String {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("text", &self.text),
            ("from", &self.from.entered),
            ("to", &self.to.entered),
        ] {
            if !value.is_empty() {
                pairs.append_pair(name, value);
            }
        }
        let pairs = pairs.finish();
        if pairs.is_empty() {
            pairs
        } else {
            format!("?{pairs}")
        }
    }
}

impl Day {
    fn read(entered: &str) -> Self {
        let entered = entered.trim();
        // The form in which browsers send a date, and no other that the library could read.
        let date = (entered.len() == 10)
            .then(|| entered.parse().ok())
            .flatten();
        Self {
            entered: entered.to_owned(),
            date,
        }
    }
}

/// Text of a page key for an address. It gives no access: the account is checked on each request.
fn written(key: &PageKey) -> String {
    let kind = if key.booked { 'b' } else { 'p' };
    format!("{kind}.{}.{}", key.date, key.sequence)
}

fn key(text: &str) -> Option<PageKey> {
    let mut parts = text.splitn(3, '.');
    let booked = match parts.next()? {
        "b" => true,
        "p" => false,
        _ => return None,
    };
    Some(PageKey {
        booked,
        date: parts.next()?.parse().ok()?,
        sequence: parts.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::texts::ENGLISH;
    use super::*;

    fn read(query: &str) -> Query {
        Query::read(query, &ENGLISH).unwrap()
    }

    #[test]
    fn an_address_is_read_as_it_was_written() {
        let query = read("text=+B%C3%A4cker+%26+Co+&from=2026-11-01&to=&utm=1");
        assert_eq!(query.text, "Bäcker & Co");
        assert!(query.errors.is_empty() && query.is_narrowed());
        assert_eq!(query.start(), "?text=B%C3%A4cker+%26+Co&from=2026-11-01");
        let place = PageKey {
            booked: true,
            date: "2026-11-24".parse().unwrap(),
            sequence: -7,
        };
        let on = query.on_from(&place);
        assert_eq!(read(&on[1..]).after, Some(place));
        assert_eq!(read("").on_from(&place), "?after=b.2026-11-24.-7");
        assert!(!read("from=").is_narrowed());
    }

    #[test]
    fn errors_name_their_field() {
        let wrong = |query: &str| -> Vec<&str> {
            let errors = read(query).errors;
            let fields = ["text", "from", "to"].into_iter();
            fields.filter(|field| errors.get(field).is_some()).collect()
        };
        assert_eq!(wrong("from=24.11.2026"), ["from"]);
        assert_eq!(wrong("to=2026-02-30&from=+2026-1-1"), ["from", "to"]);
        assert_eq!(wrong("from=2026-11-02&to=2026-11-01"), ["from"]);
        assert_eq!(wrong(&format!("text={}", "a".repeat(71))), ["text"]);
        for broken in [
            "after=",
            "after=b",
            "after=x.2026-11-24.1",
            "after=b.2026-11-24.x",
            "text=%",
        ] {
            assert_eq!(Query::read(broken, &ENGLISH), None, "{broken}");
        }
    }
}
