//! Texts for the age of data, connection errors and the end of a connection.

use super::super::texts::Texts;
use super::connection_error::{ConnectionError, Ending};
use super::freshness::Age;

pub(super) fn age(texts: &Texts, age: Option<Age>) -> String {
    let words = &texts.other_banks;
    let (text, count) = match age {
        None => (words.age_never, 0),
        Some(Age::Now) => (words.age_now, 0),
        Some(Age::Minutes(count)) => (words.age_minutes, count),
        Some(Age::Hours(count)) => (words.age_hours, count),
        Some(Age::Days(count)) => (words.age_days, count),
    };
    texts.fill(text, &[("count", &count.to_string())])
}

pub(super) fn connection_error(texts: &Texts, error: ConnectionError, other: &str) -> String {
    let words = &texts.other_banks;
    let text = match error {
        ConnectionError::Down => words.down,
        ConnectionError::Slow => words.slow,
        ConnectionError::NotTrusted => words.not_trusted,
        ConnectionError::TooOften => words.too_often,
        ConnectionError::Faulty => words.faulty,
    };
    texts.fill(text, &[("other", other)])
}

pub(super) fn ending(texts: &Texts, ending: Ending, other: &str) -> String {
    let words = &texts.other_banks;
    let text = match ending {
        Ending::Revoked => words.revoked,
        Ending::Expired => words.expired,
        Ending::Replaced => words.replaced,
        Ending::Gone => words.gone,
    };
    texts.fill(text, &[("other", other)])
}

#[cfg(test)]
mod tests {
    use super::super::super::texts::ENGLISH;
    use super::*;

    #[test]
    fn texts_name_age_and_bank() {
        assert_eq!(age(&ENGLISH, Some(Age::Hours(3))), "Updated 3 hours ago");
        assert_eq!(age(&ENGLISH, None), "Not updated yet");
        let down = connection_error(&ENGLISH, ConnectionError::Down, "Bank B");
        assert_eq!(down, "We cannot reach Bank B at the moment.");
        let gone = ending(&ENGLISH, Ending::Revoked, "Bank {other}");
        assert!(gone.ends_with("at Bank {other}."), "{gone}");
    }
}
