//! Texts of the pages. Another language is another value of [`Texts`].
//!
//! `{name}` in a text is a placeholder that [`Texts::fill`] replaces. Texts of one page stand
//! together, in reading order.

/// Declares groups of texts and their English values: texts by name, then messages with their
/// stable names.
macro_rules! texts {
    ($(
        $(#[$doc:meta])+
        $group:ident {
            $($text:ident: $english:literal,)*
        } $(messages {
            $($message:ident($name:literal) {
                title: $title:literal,
                happened: $happened:literal,
                to_do: $to_do:literal,
            })*
        })?
    )*) => {$(
        $(#[$doc])+
        pub(in crate::online_banking) struct $group {
            $(pub(in crate::online_banking) $text: &'static str,)*
            $($(pub(in crate::online_banking) $message: Explained,)*)?
        }

        impl $group {
            pub(super) const ENGLISH: Self = Self {
                $($text: $english,)*
                $($($message: Explained {
                    name: $name,
                    title: $title,
                    happened: $happened,
                    to_do: $to_do,
                },)*)?
            };
        }
    )*};
}

mod english;
mod identity_provider;
mod other_banks;

pub(crate) use self::english::ENGLISH;
use self::english::{
    AccountTexts, AuthoriseTexts, ConsentTexts, FrameTexts, LogInTexts, PasskeyTexts, PhoneTexts,
    ProblemTexts, SecondFactorTexts,
};
use self::identity_provider::IdentityProviderTexts;
use self::other_banks::OtherBanksTexts;
use super::foreign::isolated;

/// Texts in one language.
pub(crate) struct Texts {
    /// Its tag (RFC 5646), for the `lang` of the pages.
    pub(super) language: &'static str,
    /// Formats of numbers and dates.
    pub(super) writing: Writing,
    pub(super) frame: FrameTexts,
    pub(super) log_in: LogInTexts,
    pub(super) second_factor: SecondFactorTexts,
    pub(super) identity_provider: IdentityProviderTexts,
    pub(super) accounts: AccountTexts,
    pub(super) authorise: AuthoriseTexts,
    pub(super) consents: ConsentTexts,
    pub(super) phone: PhoneTexts,
    pub(super) passkeys: PasskeyTexts,
    pub(super) other_banks: OtherBanksTexts,
    pub(super) problems: ProblemTexts,
}

/// Formats of numbers and dates.
pub(super) struct Writing {
    /// Between thousands.
    pub(super) thousands: &'static str,
    /// Before the decimals.
    pub(super) point: &'static str,
    /// From January.
    pub(super) months: [&'static str; 12],
    /// The same, short.
    pub(super) short_months: [&'static str; 12],
    /// `{day}`, `{month}` (a name) and `{year}`.
    pub(super) date: &'static str,
    /// `{month}` and `{year}`.
    pub(super) month: &'static str,
    /// `{date}` and `{time}`.
    pub(super) time: &'static str,
}

/// Text of a message page.
pub(super) struct Explained {
    /// Stable name for tests and support; not translated.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) happened: &'static str,
    pub(super) to_do: &'static str,
}

impl Texts {
    /// Replaces the placeholders of a text, each value [`isolated`]. Braces in a value are kept.
    #[expect(
        clippy::unused_self,
        reason = "filling a placeholder may depend on the language"
    )]
    pub(super) fn fill(&self, text: &str, values: &[(&str, &str)]) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                rest = after;
                continue;
            };
            let value = values.iter().find(|(known, _)| *known == name);
            match value {
                Some((_, value)) => filled.push_str(&isolated(value)),
                None => filled.push_str(name),
            }
            rest = after;
        }
        filled.push_str(rest);
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_once() {
        let filled = ENGLISH.fill("{a} and {b}, {c}.", &[("a", "{b}"), ("b", "<two>")]);
        assert_eq!(filled, "{b} and <two>, c.");
    }
}
