//! Texts, references and parties of an entry, in the standard's fields.

use shared_types::xs2a::account::{AccountDetails, AccountReference, OtherIdentification};
use shared_types::xs2a::iban::Iban;
use shared_types::xs2a::money::Currency;
use shared_types::xs2a::text::{Text, is_placeholder};
use shared_types::xs2a::transaction::Transaction;

/// Longest remittance text in one field of the standard, in characters.
const LINE: usize = 140;

const CONTROL: &str = "a text has no control characters";

/// A text without blanks at its ends and with line breaks as blanks; `None`, if nothing is left.
pub(super) fn clean(text: &str) -> Result<Option<String>, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if !text.contains(char::is_control) {
        return Ok(Some(text.to_owned()));
    }
    let text = text.replace("\r\n", " ").replace(['\n', '\r', '\t'], " ");
    if text.contains(char::is_control) {
        return Err(CONTROL);
    }
    Ok(Some(text))
}

/// A text, cut to what its field allows.
pub(super) fn cut<const MAX: usize>(text: &str) -> Result<Option<Text<MAX>>, &'static str> {
    Ok(clean(text)?.map(|text| Text::cut(&text)))
}

/// A reference, unless it stands for none (`NONREF`, `NOTPROVIDED`).
pub(super) fn reference(text: &str) -> Option<&str> {
    let text = text.trim();
    let is_none = text.is_empty() || is_placeholder(text) || text.eq_ignore_ascii_case("NONREF");
    (!is_none).then_some(text)
}

/// Remittance information: one text if it fits, else several. Longer lines are divided.
pub(super) fn remittance(lines: &[String]) -> (Option<Text<LINE>>, Option<Vec<Text<LINE>>>) {
    let lines: Vec<Text<LINE>> = lines.iter().flat_map(|line| divided(line)).collect();
    match <[Text<LINE>; 1]>::try_from(lines) {
        Ok([line]) => (Some(line), None),
        Err(lines) => (None, (!lines.is_empty()).then_some(lines)),
    }
}

/// Sets the remittance information of an entry.
pub(super) fn set_remittance(entry: &mut Transaction, lines: &[String]) {
    let (line, lines) = remittance(lines);
    entry.remittance_information_unstructured = line;
    entry.remittance_information_unstructured_array = lines;
}

fn divided(line: &str) -> Vec<Text<LINE>> {
    let characters: Vec<char> = line.chars().collect();
    let pieces = characters.chunks(LINE);
    let pieces = pieces.map(|piece| piece.iter().collect::<String>());
    let full = pieces.filter(|piece| !piece.trim().is_empty());
    full.map(|piece| Text::cut(&piece)).collect()
}

/// The account of another party: an IBAN, a national number, or another identification.
pub(super) fn account_reference(number: &str) -> Option<AccountReference> {
    let number: String = number.split_whitespace().collect();
    if number.is_empty() || number.contains(char::is_control) {
        return None;
    }
    let upper = number.to_ascii_uppercase();
    let mut reference = AccountReference::default();
    match upper.parse::<Iban>() {
        Ok(iban) if iban.check_digits_hold() => reference.iban = Some(iban),
        Err(_) if is_bban(&number) => reference.bban = number.parse().ok(),
        // Also an IBAN with wrong check digits: what another party wrote is not corrected here.
        _ => {
            reference.other = Some(OtherIdentification {
                identification: Text::cut(&number),
                scheme_name_code: None,
                scheme_name_proprietary: None,
                issuer: None,
            });
        }
    }
    Some(reference)
}

fn is_bban(number: &str) -> bool {
    (1..=30).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The party on the other side of the money.
#[derive(Debug, Default)]
pub(super) struct Party {
    pub(super) name: Option<Text<70>>,
    pub(super) account: Option<AccountReference>,
    pub(super) agent: Option<Text<11>>,
}

impl Party {
    /// Sets it as the creditor where money went out, as the debtor where it came in.
    pub(super) fn set(self, entry: &mut Transaction) {
        if entry.transaction_amount.value().is_sign_negative() {
            entry.creditor_name = self.name;
            entry.creditor_account = self.account;
            entry.creditor_agent = self.agent;
        } else {
            entry.debtor_name = self.name;
            entry.debtor_account = self.account;
            entry.debtor_agent = self.agent;
        }
    }
}

/// The account of a statement by its number: an IBAN, or a national number, in which blanks and
/// signs do not count. A number that has the form of an IBAN needs right check digits.
pub(super) fn account(number: &str, currency: Currency) -> Result<AccountDetails, &'static str> {
    let is_sign = |letter: char| letter.is_whitespace() || matches!(letter, '/' | '-' | '.' | ' ');
    let plain: String = number.chars().filter(|letter| !is_sign(*letter)).collect();
    let mut account = AccountDetails::of(currency);
    let upper = plain.to_ascii_uppercase();
    // Some banks write the currency behind the number.
    let without_currency = upper.strip_suffix(currency.as_str());
    for candidate in [Some(upper.as_str()), without_currency]
        .into_iter()
        .flatten()
    {
        if let Ok(iban) = candidate.parse::<Iban>()
            && iban.check_digits_hold()
        {
            account.iban = Some(iban);
            return Ok(account);
        }
    }
    // No national number has the length of an IBAN after two letters of a country and two digits.
    if upper.len() >= 15 && upper.parse::<Iban>().is_ok() {
        return Err("the check digits of this IBAN are wrong");
    }
    if !is_bban(&plain) {
        return Err("neither an IBAN nor a national account number of 1 to 30 letters or digits");
    }
    // Germany writes bank code and number without leading zeros; its BBAN has ten digits for it.
    let german = number.split_once('/').and_then(|(bank, number)| {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let fits = bank.len() == 8 && (1..=10).contains(&number.len());
        (fits && digits(bank) && digits(number)).then(|| format!("{bank}{number:0>10}"))
    });
    account.bban = german.unwrap_or(plain).parse().ok();
    Ok(account)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared_types::xs2a::money::Amount;

    use super::*;

    #[test]
    fn an_account_is_found_in_what_banks_write() {
        for (number, iban, bban) in [
            ("DE89370400440532013000", "DE89370400440532013000", ""),
            ("DE89 3704 0044 0532 0130 00", "DE89370400440532013000", ""),
            ("NL91ABNA0417164300EUR", "NL91ABNA0417164300", ""),
            ("37040044/532013000", "", "370400440532013000"),
            ("BNKADEFF/0532.013-000", "", "BNKADEFF0532013000"),
            ("123456", "", "123456"),
        ] {
            let account = account(number, Currency::EUR).unwrap();
            let found = account.iban.map(|iban| iban.to_string());
            assert_eq!(found.unwrap_or_default(), iban, "{number}");
            let found = account.bban.map(|bban| bban.to_string());
            assert_eq!(found.unwrap_or_default(), bban, "{number}");
        }
        for (number, said) in [
            ("DE88370400440532013000", "check digits"),
            ("", "neither an IBAN nor"),
            ("12345678901234567890123456789012345", "neither an IBAN nor"),
            ("12_34", "neither an IBAN nor"),
        ] {
            let refused = account(number, Currency::EUR).unwrap_err();
            assert!(refused.contains(said), "{number}: {refused}");
        }
    }

    #[test]
    fn an_account_of_another_party_is_kept_as_it_was_written() {
        let of = |number: &str| account_reference(number).unwrap();
        assert!(of("de89 3704 0044 0532 0130 00").iban.is_some());
        let wrong = of("DE88370400440532013000");
        assert_eq!(
            wrong.other.unwrap().identification.as_str(),
            "DE88370400440532013000"
        );
        assert_eq!(of("0532013000").bban.unwrap().as_str(), "0532013000");
        assert_eq!(of("12/34").other.unwrap().identification.as_str(), "12/34");
        assert!(account_reference("  ").is_none());
    }

    #[test]
    fn long_remittance_is_divided_and_placeholders_are_no_references() {
        let mut entry = Transaction::of(Amount::zero(Currency::EUR));
        set_remittance(&mut entry, &[]);
        assert!(entry.remittance_text().is_none());
        set_remittance(&mut entry, &["Rent".to_owned()]);
        assert_eq!(entry.remittance_text().unwrap(), "Rent");
        let long = "x".repeat(300);
        let mut entry = Transaction::of(Amount::zero(Currency::EUR));
        set_remittance(&mut entry, &[long]);
        let lines = entry.remittance_information_unstructured_array.unwrap();
        let lengths: Vec<usize> = lines.iter().map(|line| line.as_str().len()).collect();
        assert_eq!(lengths, [140, 140, 20]);
        let gap = format!("{}{}y", "x".repeat(140), " ".repeat(140));
        assert_eq!(divided(&gap).len(), 2, "a line is not blank");
        assert_eq!(reference("NONREF"), None);
        assert_eq!(reference(" NOTPROVIDED "), None);
        assert_eq!(reference(" A1 "), Some("A1"));
        assert_eq!(clean("a\u{1b}b"), Err(CONTROL));
        assert_eq!(clean(" a\r\nb ").unwrap().as_deref(), Some("a b"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = account(&text, Currency::EUR);
            let _ = account_reference(&text);
            let _ = clean(&text);
            let mut entry = Transaction::of(Amount::zero(Currency::EUR));
            set_remittance(&mut entry, &[text]);
        }
    }
}
