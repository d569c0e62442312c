//! Fuzzy search for banks by name.

use strsim::osa_distance;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Longest name, in characters: comparing costs the product of both lengths.
const LONGEST: usize = 140;

/// A name as it is compared: in small letters, without accents, in words of letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Folded {
    words: Vec<String>,
    /// All of them in one.
    joined: String,
}

/// Distance of a name from a searched one: the less, the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Distance {
    /// Characters put in, left out, changed or swapped.
    edits: usize,
    /// Words that are only begun.
    begun: usize,
    /// Characters that are not in the query.
    more: usize,
}

impl Distance {
    pub(super) const fn is_mistyped(&self) -> bool {
        self.edits > 0
    }
}

impl Folded {
    pub(super) fn new(name: &str) -> Self {
        let decomposed = name.nfkd().filter(|letter| !is_combining_mark(*letter));
        let small = decomposed.flat_map(char::to_lowercase).take(LONGEST);
        let plain: String = small.fold(String::new(), |mut plain, letter| {
            match undecomposed(letter) {
                Some(letters) => plain.push_str(letters),
                None => plain.push(letter),
            }
            plain
        });
        let words = plain.split(|letter: char| !letter.is_alphanumeric());
        let words: Vec<String> = words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        Self {
            joined: words.concat(),
            words,
        }
    }

    /// Key that equal names share; none, if there is neither letter nor digit in it.
    pub(super) fn key(&self) -> Option<String> {
        (!self.words.is_empty()).then(|| self.words.join(" "))
    }

    /// Distance of this name from the searched one; `None` if they do not match. Each searched word
    /// must be a word of this name or the beginning of one; or the search is this name without its
    /// blanks. Short words must match exactly, longer ones up to an edit or two.
    pub(super) fn distance(&self, asked: &Self) -> Option<Distance> {
        if asked.words.is_empty() {
            return None;
        }
        let more = self
            .joined
            .chars()
            .count()
            .saturating_sub(asked.joined.chars().count());
        let by_word = asked.words.iter().try_fold((0, 0), |(edits, begun), word| {
            let nearest = self
                .words
                .iter()
                .filter_map(|name| near(word, name))
                .min()?;
            Some((edits + nearest.0, begun + usize::from(nearest.1)))
        });
        let without_blanks = match asked.words.as_slice() {
            [word] => near(word, &self.joined).map(|(edits, begun)| (edits, usize::from(begun))),
            _ => None,
        };
        let (edits, begun) = by_word.into_iter().chain(without_blanks).min()?;
        Some(Distance { edits, begun, more })
    }
}

/// Number of edits from one word to the other, or to its beginning, if that is few enough.
fn near(asked: &str, name: &str) -> Option<(usize, bool)> {
    let letters = asked.chars().count();
    let allowed = match letters {
        0..=3 => 0,
        4..=6 => 1,
        _ => 2,
    };
    let whole = (osa_distance(asked, name), false);
    // With one letter begins too much.
    let begun = (letters > 1).then(|| {
        let beginning: String = name.chars().take(letters).collect();
        (osa_distance(asked, &beginning), true)
    });
    let ways = [whole].into_iter().chain(begun);
    ways.filter(|(edits, _)| *edits <= allowed).min()
}

/// Letters that do not come apart into a plain one and an accent.
const fn undecomposed(letter: char) -> Option<&'static str> {
    Some(match letter {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'ł' => "l",
        'đ' | 'ð' => "d",
        'þ' => "th",
        'ħ' => "h",
        'ı' => "i",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 9] = [
        "Bank A",
        "Bank B",
        "Crédit Agricole",
        "Crédit Mutuel",
        "Deutsche Bank",
        "Sparkasse KölnBonn",
        "Sparkasse Aachen",
        "Łódzki Bank",
        "Weißenburger Volksbank",
    ];

    fn found(asked: &str) -> Vec<&'static str> {
        let asked = Folded::new(asked);
        let mut found: Vec<_> = NAMES
            .into_iter()
            .filter_map(|name| Some((Folded::new(name).distance(&asked)?, name)))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn names_are_found_as_people_type_them() {
        for (asked, expected) in [
            // As it is, or in other letters.
            ("Crédit Agricole", vec!["Crédit Agricole"]),
            ("credit agricole", vec!["Crédit Agricole"]),
            ("CREDIT", vec!["Crédit Mutuel", "Crédit Agricole"]),
            ("koelnbonn", vec!["Sparkasse KölnBonn"]),
            ("kölnbonn", vec!["Sparkasse KölnBonn"]),
            ("lodzki", vec!["Łódzki Bank"]),
            ("weissenburger", vec!["Weißenburger Volksbank"]),
            // Mistyped.
            ("Sparkase Aachen", vec!["Sparkasse Aachen"]),
            ("sparkasse aahcen", vec!["Sparkasse Aachen"]),
            ("duetsche", vec!["Deutsche Bank"]),
            ("agrikole", vec!["Crédit Agricole"]),
            // Begun, or without the blank.
            ("spark", vec!["Sparkasse Aachen", "Sparkasse KölnBonn"]),
            ("deutschebank", vec!["Deutsche Bank"]),
            ("mutuel credit", vec!["Crédit Mutuel"]),
            // The nearest first.
            ("bank b", vec!["Bank B"]),
            (
                "bank",
                vec!["Bank A", "Bank B", "Łódzki Bank", "Deutsche Bank"],
            ),
            // Another name is no typing mistake.
            ("commerzbank", vec![]),
            ("bank c", vec![]),
            ("xyz", vec![]),
            ("", vec![]),
            ("–", vec![]),
        ] {
            assert_eq!(found(asked), expected, "{asked}");
        }
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = "a".repeat(1_000_000);
        assert_eq!(Folded::new(&long).joined.len(), LONGEST);
    }
}
