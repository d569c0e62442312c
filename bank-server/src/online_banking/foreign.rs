//! Text from third parties, made safe for display: isolated from the text around it, without
//! control characters, or masked.

use maud::{Markup, Render, html};
use shared_types::xs2a::text::{Text, is_obeyed, plain};

/// Text of third parties: names, purposes, account numbers. A page shows it isolated (`bdi`), so
/// that its direction of writing does not reorder the text around it, and without control
/// characters ([`plain`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign(String);

impl Foreign {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text of a field, if there is one.
    pub(super) fn of<const MAX: usize>(text: Option<&Text<MAX>>) -> Option<Self> {
        text.map(Text::as_str)
            .filter(|text| !text.is_empty())
            .map(Self::new)
    }

    /// The text unchanged, for `Texts::fill`, which isolates its values itself.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Render for Foreign {
    fn render(&self) -> Markup {
        html! { bdi { (plain(&self.0)) } }
    }
}

const ISOLATE: char = '\u{2068}';
const END_OF_ISOLATE: char = '\u{2069}';

/// Isolated text for a sentence, an attribute or a title, where no element can isolate it: like
/// [`Foreign`], with the characters of Unicode's bidirectional algorithm (UAX 9). Parts that are
/// isolated already stay as they are.
pub(super) fn isolated(text: &str) -> String {
    let (mut isolated, mut open) = (String::with_capacity(text.len()), 0_usize);
    for character in text.chars() {
        isolated.push(match character {
            ISOLATE => {
                open += 1;
                ISOLATE
            }
            END_OF_ISOLATE if open > 0 => {
                open -= 1;
                END_OF_ISOLATE
            }
            '\n' | '\r' | '\t' => ' ',
            other if is_obeyed(other) => char::REPLACEMENT_CHARACTER,
            other => other,
        });
    }
    isolated.extend(std::iter::repeat_n(END_OF_ISOLATE, open));
    if isolated.contains(is_right_to_left) {
        isolated.insert(0, ISOLATE);
        isolated.push(END_OF_ISOLATE);
    }
    isolated
}

/// Whether a character is of a block whose scripts are written from right to left.
const fn is_right_to_left(character: char) -> bool {
    matches!(
        character,
        '\u{590}'..='\u{8ff}'
            | '\u{fb1d}'..='\u{fdff}'
            | '\u{fe70}'..='\u{fefe}'
            | '\u{10800}'..='\u{10fff}'
            | '\u{1e800}'..='\u{1efff}'
    )
}

/// Account or card number masked up to its end, for before the second factor: `DE•• •••• 3000`.
pub(super) fn masked(number: &str) -> String {
    const SHOWN: usize = 4;
    let letters: Vec<char> = number.chars().filter(|letter| *letter != ' ').collect();
    let country: String = letters.iter().take(2).collect();
    let country = if letters.len() > 12 && country.bytes().all(|byte| byte.is_ascii_uppercase()) {
        format!("{country}•• ")
    } else {
        String::new()
    };
    // Of a short number, four would be most of it.
    let hidden = letters.len().saturating_sub(SHOWN).max(SHOWN);
    let end: String = letters.iter().skip(hidden).collect();
    format!("{country}•••• {end}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::texts::ENGLISH;
    use super::*;

    #[test]
    fn foreign_text_does_not_reorder_the_text_around_it() {
        let shown = |text| Foreign::new(text).render().into_string();
        assert_eq!(
            shown("Bank\u{202e}<A>\0"),
            "<bdi>Bank\u{fffd}&lt;A&gt;\u{fffd}</bdi>"
        );
        for (text, expected) in [
            ("Bank A", "Bank A"),
            ("Bank\u{202e} A\u{2069}", "Bank\u{fffd} A\u{fffd}"),
            ("بنك", "\u{2068}بنك\u{2069}"),
            ("Bank \u{2068}", "Bank \u{2068}\u{2069}"),
        ] {
            assert_eq!(isolated(text), expected, "{text:?}");
        }
        let inner = ENGLISH.fill("{name} waits", &[("name", "بنك")]);
        let outer = ENGLISH.fill("Note: {text}", &[("text", &inner)]);
        assert!(outer.contains("\u{2068}بنك\u{2069} waits"), "{outer:?}");
        assert!(!outer.contains('\u{fffd}'), "{outer:?}");
    }

    #[test]
    fn a_masked_number_shows_the_last_four_characters() {
        for (number, expected) in [
            ("DE89 3704 0044 0532 0130 00", "DE•• •••• 3000"),
            ("NO9386011117947", "NO•• •••• 7947"),
            ("525412******3241", "•••• 3241"),
            ("12345678", "•••• 5678"),
            ("12345", "•••• 5"),
            ("1234", "••••"),
            ("", "••••"),
        ] {
            assert_eq!(masked(number), expected);
        }
    }
}
