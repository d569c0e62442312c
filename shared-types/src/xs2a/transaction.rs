//! Transactions of payment accounts (service AIS, `/v1/accounts/{account-id}/transactions`).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;
use serde_with::skip_serializing_none;

use crate::decode::Split;
use crate::xs2a::account::{AccountReference, Balance};
use crate::xs2a::link::Links;
use crate::xs2a::macros::required_fields_constructor;
use crate::xs2a::money::{Amount, Currency, Rate};
use crate::xs2a::text::{OpenText, Text, is_placeholder};

/// An exchange rate that was applied to a transaction (schema `reportExchangeRate`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExchangeRate {
    /// Currency from which money was converted.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[A-Z]{3}$"))]
    pub source_currency: Currency,
    /// Units of the target currency for one unit of `unit_currency`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub exchange_rate: Rate,
    /// Currency in which the rate is stated.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[A-Z]{3}$"))]
    pub unit_currency: Currency,
    /// Currency to which money was converted.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[A-Z]{3}$"))]
    pub target_currency: Currency,
    /// Day of the rate.
    pub quotation_date: NaiveDate,
    /// The contract under which the rate was agreed.
    pub contract_identification: Option<Text<35>>,
}

/// A structured payment reference (schema `remittanceInformationStructured`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StructuredRemittance {
    /// The reference, an RF creditor reference (ISO 11649) for example.
    pub reference: Text<35>,
    /// Its type, `SCOR` for example.
    pub reference_type: Option<Text<35>>,
    /// Its issuer.
    pub reference_issuer: Option<Text<35>>,
}

/// One payment of a batch entry (schema `EntryDetailsElement`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EntryDetails {
    /// The payer's end-to-end reference.
    pub end_to_end_id: Option<Text<35>>,
    /// Direct-debit mandate.
    pub mandate_id: Option<Text<35>>,
    /// Cheque.
    pub check_id: Option<Text<35>>,
    /// Direct-debit creditor.
    pub creditor_id: Option<Text<35>>,
    /// The amount.
    pub transaction_amount: Amount,
    /// Exchange rates that were applied.
    pub currency_exchange: Option<Vec<ExchangeRate>>,
    /// Name of the creditor.
    pub creditor_name: Option<Text<70>>,
    /// Account of the creditor.
    pub creditor_account: Option<AccountReference>,
    /// BIC of the creditor's bank.
    pub creditor_agent: Option<Text<11>>,
    /// The ultimate creditor, on whose behalf the creditor got the money.
    pub ultimate_creditor: Option<Text<70>>,
    /// Name of the debtor.
    pub debtor_name: Option<Text<70>>,
    /// Account of the debtor.
    pub debtor_account: Option<AccountReference>,
    /// BIC of the debtor's bank.
    pub debtor_agent: Option<Text<11>>,
    /// The ultimate debtor, on whose behalf the debtor paid.
    pub ultimate_debtor: Option<Text<70>>,
    /// Remittance information, in words.
    pub remittance_information_unstructured: Option<Text<140>>,
    /// Remittance information, in several lines.
    pub remittance_information_unstructured_array: Option<Vec<Text<140>>>,
    /// Payment reference. An object here, while in a transaction it is a text: so the
    /// standard has it.
    pub remittance_information_structured: Option<StructuredRemittance>,
    /// Payment references.
    pub remittance_information_structured_array: Option<Vec<StructuredRemittance>>,
    /// ISO 20022 `ExternalPurpose1Code`, such as `SALA`.
    pub purpose_code: Option<Text<4>>,
}

required_fields_constructor! {
    /// A payment of that amount, with no other field.
    EntryDetails::of(transaction_amount: Amount)
    end_to_end_id mandate_id check_id creditor_id currency_exchange creditor_name creditor_account
    creditor_agent ultimate_creditor debtor_name debtor_account debtor_agent ultimate_debtor
    remittance_information_unstructured remittance_information_unstructured_array
    remittance_information_structured remittance_information_structured_array purpose_code
}

impl EntryDetails {
    /// The remittance information, in whichever form the bank sends it: as
    /// [`Transaction::remittance_text`].
    #[must_use]
    pub fn remittance_text(&self) -> Option<Cow<'_, str>> {
        let structured = self.remittance_information_structured.iter();
        let more = self
            .remittance_information_structured_array
            .iter()
            .flatten();
        remittance_text(
            self.remittance_information_unstructured.as_ref(),
            self.remittance_information_unstructured_array.as_deref(),
            structured.chain(more).map(reference),
        )
    }
}

/// A standing order, told as an entry of `information` (schema `additionalInformationStructured`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AdditionalInformation {
    /// When it is executed.
    pub standing_order_details: StandingOrderDetails,
}

/// When a standing order is executed (schema `standingOrderDetails`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StandingOrderDetails {
    /// First day.
    pub start_date: Option<NaiveDate>,
    /// First day and time, of instant payments.
    pub start_date_time: Option<DateTime<Utc>>,
    /// Last day; without any end it goes on.
    pub end_date: Option<NaiveDate>,
    /// Last day and time, of instant payments.
    pub end_date_time: Option<DateTime<Utc>>,
    /// The day for a payment that falls on a holiday: `following` or `preceding`.
    pub execution_rule: Option<Text<9>>,
    /// Of monthly ones: whether the day of execution stays within its month.
    pub within_a_month_flag: Option<bool>,
    /// ISO 20022 `EventFrequency7Code`: `Daily`, `Weekly`, `EveryTwoWeeks`, `Monthly`, ...
    pub frequency: Text<15>,
    /// Multiplies the frequency: 3 with `Weekly` is every three weeks.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<f64>))]
    pub multiplicator: Option<Number>,
    /// Day of the month, without leading zero; `31` is the last.
    pub day_of_execution: Option<Text<2>>,
    /// Months, of `MonthlyVariable`. Version 1.3.12 has it; 1.3.16 has only the frequency that
    /// needs it.
    pub months_of_execution: Option<Vec<Text<2>>>,
    /// Amount that stays on the account, where all that is more is moved away.
    pub limit_amount: Option<Amount>,
}

/// A transaction (schema `transactions`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// The id by which its details can be read.
    pub transaction_id: Option<OpenText>,
    /// The bank's reference of the entry.
    pub entry_reference: Option<Text<35>>,
    /// The payer's end-to-end reference.
    pub end_to_end_id: Option<Text<35>>,
    /// Whether several payments are booked as this one entry.
    pub batch_indicator: Option<bool>,
    /// Number of the payments in a batch entry.
    pub batch_number_of_transactions: Option<u64>,
    /// Direct-debit mandate.
    pub mandate_id: Option<Text<35>>,
    /// Cheque.
    pub check_id: Option<Text<35>>,
    /// Direct-debit creditor.
    pub creditor_id: Option<Text<35>>,
    /// Day of booking; absent while pending.
    pub booking_date: Option<NaiveDate>,
    /// Day from which interest counts.
    pub value_date: Option<NaiveDate>,
    /// The amount; negative when money went out.
    pub transaction_amount: Amount,
    /// Exchange rates that were applied.
    pub currency_exchange: Option<Vec<ExchangeRate>>,
    /// Name of the creditor.
    pub creditor_name: Option<Text<70>>,
    /// Account of the creditor.
    pub creditor_account: Option<AccountReference>,
    /// BIC of the creditor's bank.
    pub creditor_agent: Option<Text<11>>,
    /// The ultimate creditor, on whose behalf the creditor got the money.
    pub ultimate_creditor: Option<Text<70>>,
    /// Name of the debtor.
    pub debtor_name: Option<Text<70>>,
    /// Account of the debtor.
    pub debtor_account: Option<AccountReference>,
    /// BIC of the debtor's bank.
    pub debtor_agent: Option<Text<11>>,
    /// The ultimate debtor, on whose behalf the debtor paid.
    pub ultimate_debtor: Option<Text<70>>,
    /// Remittance information, in words.
    pub remittance_information_unstructured: Option<Text<140>>,
    /// Remittance information, in several lines.
    pub remittance_information_unstructured_array: Option<Vec<Text<140>>>,
    /// Payment reference, within a text.
    pub remittance_information_structured: Option<Text<140>>,
    /// Payment references.
    pub remittance_information_structured_array: Option<Vec<StructuredRemittance>>,
    /// The payments of a batch entry.
    pub entry_details: Option<Vec<EntryDetails>>,
    /// Further details, in words.
    pub additional_information: Option<Text<500>>,
    /// The standing order, of entries of `information`.
    pub additional_information_structured: Option<Box<AdditionalInformation>>,
    /// ISO 20022 `ExternalPurpose1Code`, such as `SALA`.
    pub purpose_code: Option<Text<4>>,
    /// ISO 20022 bank transaction code, such as `PMNT-RCDT-ESCT`.
    pub bank_transaction_code: Option<OpenText>,
    /// The bank's own code for the kind of transaction.
    pub proprietary_bank_transaction_code: Option<Text<35>>,
    /// The balance after it.
    pub balance_after_transaction: Option<Balance>,
    /// `transactionDetails`, where there is more to read.
    #[serde(rename = "_links")]
    pub links: Option<Links>,
}

required_fields_constructor! {
    /// A transaction of that amount, with no other field.
    Transaction::of(transaction_amount: Amount)
    transaction_id entry_reference end_to_end_id batch_indicator batch_number_of_transactions
    mandate_id check_id creditor_id booking_date value_date currency_exchange creditor_name
    creditor_account creditor_agent ultimate_creditor debtor_name debtor_account debtor_agent
    ultimate_debtor remittance_information_unstructured remittance_information_unstructured_array
    remittance_information_structured remittance_information_structured_array entry_details
    additional_information additional_information_structured purpose_code bank_transaction_code
    proprietary_bank_transaction_code balance_after_transaction links
}

/// The other party of a transaction, as far as the bank names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counterparty<'a> {
    /// Its name; if there is none, that of the party on whose behalf it paid or got the money.
    pub name: Option<&'a str>,
    /// Its account.
    pub account: Option<&'a AccountReference>,
}

/// Its name, else the number of its account.
impl fmt::Display for Counterparty<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name, self.account) {
            (Some(name), _) => f.write_str(name),
            (None, Some(account)) => account.fmt(f),
            (None, None) => Ok(()),
        }
    }
}

/// A name, unless it is a [placeholder](is_placeholder).
fn named<const MAX: usize>(name: Option<&Text<MAX>>) -> Option<&str> {
    name.map(|name| name.as_str().trim())
        .filter(|name| !is_placeholder(name))
}

impl Transaction {
    /// The other party: the creditor where money went out, the debtor where it came in. The party
    /// on the account's own side is the account's holder, and never taken for it, also where it is
    /// the only one that is named.
    ///
    /// An amount of zero has no direction: then it is the one party that is named, and none if both
    /// are.
    #[must_use]
    pub fn counterparty(&self) -> Counterparty<'_> {
        let side = |name, ultimate, account| Counterparty {
            name: named(name).or_else(|| named(ultimate)),
            account,
        };
        let creditor = side(
            self.creditor_name.as_ref(),
            self.ultimate_creditor.as_ref(),
            self.creditor_account.as_ref(),
        );
        let debtor = side(
            self.debtor_name.as_ref(),
            self.ultimate_debtor.as_ref(),
            self.debtor_account.as_ref(),
        );
        let none = Counterparty::default();
        match self.transaction_amount.value().cmp(&Decimal::ZERO) {
            Ordering::Less => creditor,
            Ordering::Greater => debtor,
            Ordering::Equal if debtor == none => creditor,
            Ordering::Equal if creditor == none => debtor,
            Ordering::Equal => none,
        }
    }

    /// The remittance information, in whichever form the bank sends it: the words, else the
    /// references. A batch entry that says nothing of its own has the texts of its payments.
    ///
    /// Lines are joined by blanks, references and payments by commas.
    /// [Placeholders](is_placeholder) are none.
    #[must_use]
    pub fn remittance_text(&self) -> Option<Cow<'_, str>> {
        remittance_text(
            self.remittance_information_unstructured.as_ref(),
            self.remittance_information_unstructured_array.as_deref(),
            self.references(),
        )
        .or_else(|| {
            let payments = self.entry_details.iter().flatten();
            joined(payments.filter_map(EntryDetails::remittance_text), ", ")
        })
    }

    /// The structured payment references alone, joined by commas.
    #[must_use]
    pub fn remittance_references(&self) -> Option<Cow<'_, str>> {
        remittance_text(None, None, self.references())
    }

    fn references(&self) -> impl Iterator<Item = &str> {
        let one = self.remittance_information_structured.iter();
        let more = self
            .remittance_information_structured_array
            .iter()
            .flatten();
        one.map(Text::as_str).chain(more.map(reference))
    }
}

fn reference(structured: &StructuredRemittance) -> &str {
    structured.reference.as_str()
}

/// Remittance information as one text: the words, else the references.
fn remittance_text<'a>(
    unstructured: Option<&'a Text<140>>,
    lines: Option<&'a [Text<140>]>,
    references: impl Iterator<Item = &'a str>,
) -> Option<Cow<'a, str>> {
    let first = unstructured.map(|text| text.as_str().trim());
    // Many banks repeat the first line, or all of them, in the single field.
    let more = lines
        .unwrap_or_default()
        .iter()
        .map(|line| line.as_str().trim());
    let more = more.filter(|line| first.is_none_or(|first| !first.contains(line)));
    joined(first.into_iter().chain(more).map(Cow::Borrowed), " ")
        .or_else(|| joined(references.map(|text| Cow::Borrowed(text.trim())), ", "))
}

/// The texts that are not placeholders, as one.
pub(crate) fn joined<'a>(
    texts: impl Iterator<Item = Cow<'a, str>>,
    between: &str,
) -> Option<Cow<'a, str>> {
    texts
        .filter(|text| !is_placeholder(text))
        .reduce(|mut all, text| {
            all.to_mut().push_str(between);
            all.to_mut().push_str(&text);
            all
        })
}

/// Filter of transactions by booking (query parameter `bookingStatus`).
///
/// The standard also knows `information` (standing orders, which the SDK asks for by themselves)
/// and `all`; a bank may leave them out, and ours does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum BookingStatus {
    /// Booked.
    Booked,
    /// Seen, but not booked yet.
    Pending,
    /// Booked and pending.
    Both,
}

impl BookingStatus {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether booked transactions are asked for.
    #[must_use]
    pub const fn wants_booked(self) -> bool {
        matches!(self, Self::Booked | Self::Both)
    }

    /// Whether pending transactions are asked for.
    #[must_use]
    pub const fn wants_pending(self) -> bool {
        matches!(self, Self::Pending | Self::Both)
    }
}

/// One page of transactions (schema `accountReport`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountReport {
    /// Booked ones, if asked for.
    pub booked: Option<Vec<Transaction>>,
    /// Pending ones, if asked for.
    pub pending: Option<Vec<Transaction>>,
    /// Standing orders, if asked for.
    pub information: Option<Vec<Transaction>>,
    /// `account`, and `first` and `next` where there is more than this page.
    #[serde(rename = "_links")]
    pub links: Links,
}

/// Answer to `GET /v1/accounts/{account-id}/transactions` (schema `transactionsResponse-200_json`).
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TransactionsResponse {
    /// The account.
    pub account: Option<AccountReference>,
    /// The page.
    pub transactions: Option<AccountReport>,
    /// Balances, if asked for and allowed.
    pub balances: Option<Vec<Balance>>,
    /// `download`, where a bank hands the list over as a file instead.
    #[serde(rename = "_links")]
    pub links: Option<Links>,
}

/// Answer to `GET /v1/accounts/{account-id}/transactions/{transaction-id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TransactionResponse {
    /// The standard's envelope within the envelope.
    pub transactions_details: TransactionDetails,
}

/// Schema `transactionDetailsBody`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TransactionDetails {
    /// The transaction.
    pub transaction_details: Transaction,
}

/// The standard's schema nests the transaction twice, its own example once. Both are understood.
impl<'de> Deserialize<'de> for TransactionResponse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            transactions_details: Body,
        }
        struct Body(Transaction);

        impl<'de> Deserialize<'de> for Body {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let body: Split<Transaction, Transaction> =
                    Split::read(deserializer, "transactionDetails")?;
                match body.member {
                    Some(nested) => Ok(Self(nested)),
                    None => body.rest.map(Self).map_err(serde::de::Error::custom),
                }
            }
        }

        let Body(entry) = Wire::deserialize(deserializer)?.transactions_details;
        Ok(Self {
            transactions_details: TransactionDetails {
                transaction_details: entry,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_counterparty_is_on_the_other_side_of_the_money() {
        const BOTH: &str = r#", "creditorName": "Creditor", "debtorName": "Debtor""#;
        const CREDITOR: &str = r#", "creditorName": "Creditor""#;
        const DEBTOR: &str = r#", "debtorName": "Debtor""#;
        const ACCOUNTS: &str = r#", "creditorName": "Creditor", "debtorName": " ",
            "debtorAccount": {"iban": "DE02120300000000202051"}"#;
        const PLACEHOLDER: &str = r#", "debtorName": "NOTPROVIDED", "ultimateDebtor": "-",
            "debtorAccount": {"iban": "DE02120300000000202051"}"#;
        const BEHALF: &str = r#", "debtorName": "", "ultimateDebtor": "Child""#;

        let with = |amount: &str, names: &str| -> String {
            let text = format!(
                r#"{{"transactionAmount": {{"currency": "EUR", "amount": "{amount}"}} {names}}}"#
            );
            let transaction: Transaction = serde_json::from_str(&text).unwrap();
            transaction.counterparty().to_string()
        };
        for (amount, names, expected) in [
            ("-1.00", BOTH, "Creditor"),
            ("1.00", BOTH, "Debtor"),
            // Neither is known to be the other party.
            ("0.00", BOTH, ""),
            ("-0.00", BOTH, ""),
            ("0.00", CREDITOR, "Creditor"),
            ("-0.00", DEBTOR, "Debtor"),
            // That is the holder.
            ("1.00", CREDITOR, ""),
            ("-1.00", DEBTOR, ""),
            ("1.00", ACCOUNTS, "DE02120300000000202051"),
            ("-1.00", ACCOUNTS, "Creditor"),
            ("1.00", BEHALF, "Child"),
            ("1.00", PLACEHOLDER, "DE02120300000000202051"),
            ("-1.00", r#", "creditorName": "n/a""#, ""),
            ("1.00", "", ""),
        ] {
            assert_eq!(with(amount, names), expected, "{amount} {names}");
        }
    }

    fn text(mut entry: Value) -> Option<String> {
        entry["transactionAmount"] = json!({ "currency": "EUR", "amount": "1" });
        let entry: Transaction = serde_json::from_value(entry).unwrap();
        entry.remittance_text().map(Cow::into_owned)
    }

    #[test]
    fn remittance_text_is_found_whichever_form_it_comes_in() {
        let unstructured = "remittanceInformationUnstructured";
        let lines = "remittanceInformationUnstructuredArray";
        let structured = "remittanceInformationStructured";
        let references = "remittanceInformationStructuredArray";
        let rf = |reference: &str| json!({ "reference": reference });
        for (entry, expected) in [
            (json!({}), None),
            (json!({ unstructured: "Rent" }), Some("Rent")),
            (
                json!({ lines: ["Invoice 118", "second line"] }),
                Some("Invoice 118 second line"),
            ),
            (json!({ structured: "RF18" }), Some("RF18")),
            (
                json!({ references: [rf("RF18"), rf("RF19")] }),
                Some("RF18, RF19"),
            ),
            (
                json!({ structured: "RF17", references: [rf("RF18")] }),
                Some("RF17, RF18"),
            ),
            (
                json!({ unstructured: "Rent", structured: "RF18" }),
                Some("Rent"),
            ),
            // Blank texts are none.
            (
                json!({ unstructured: " ", lines: ["", "Rent "], structured: "RF18" }),
                Some("Rent"),
            ),
            (
                json!({ unstructured: "", lines: [" "], references: [rf("RF18")] }),
                Some("RF18"),
            ),
            (
                json!({ unstructured: "", lines: [], structured: " ", references: [] }),
                None,
            ),
            // So are placeholders.
            (
                json!({ unstructured: "NOTPROVIDED", structured: "RF18" }),
                Some("RF18"),
            ),
            (json!({ unstructured: "n/a", lines: ["-"] }), None),
            // The single field repeats what the array has.
            (
                json!({ unstructured: "Rent", lines: ["Rent", "May"] }),
                Some("Rent May"),
            ),
            (
                json!({ unstructured: "Rent May", lines: ["Rent", "May"] }),
                Some("Rent May"),
            ),
            (
                json!({ "entryDetails": [
                    { "transactionAmount": { "currency": "EUR", "amount": "1" }, lines: ["Wages", "May"] },
                    { "transactionAmount": { "currency": "EUR", "amount": "1" } },
                    { "transactionAmount": { "currency": "EUR", "amount": "1" }, structured: rf("RF18") },
                ] }),
                Some("Wages May, RF18"),
            ),
        ] {
            assert_eq!(text(entry.clone()).as_deref(), expected, "{entry}");
        }
    }
}
