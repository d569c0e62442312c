//! What a TPP may ask for.

use chrono::NaiveDate;
use shared_types::account::AccountReference;
use shared_types::consent::{AccountAccess, ConsentRequest};
use shared_types::message::MessageCode;

/// A request that cannot be granted, whoever the customer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The standard's code.
    pub code: MessageCode,
    /// Where in the body.
    pub path: String,
    /// What to do about it.
    pub text: &'static str,
}

fn violation(
    code: MessageCode,
    path: impl Into<String>,
    text: &'static str,
) -> Result<(), Violation> {
    Err(Violation {
        code,
        path: path.into(),
        text,
    })
}

/// Accounts that a consent may name in one list; a customer with more is asked for a global consent.
const MOST_ACCOUNTS: usize = 100;

/// Checks the body of `POST /v1/consents` beyond its form.
pub fn check_request(request: &ConsentRequest, today: NaiveDate) -> Result<(), Violation> {
    check_access(&request.access)?;
    if request.valid_until < today {
        return violation(
            MessageCode::PeriodInvalid,
            "validUntil",
            "the last day must not be in the past",
        );
    }
    if !request.recurring_indicator && request.frequency_per_day.get() != 1 {
        return violation(
            MessageCode::ParameterNotConsistent,
            "frequencyPerDay",
            "a consent for one read (recurringIndicator false) has a frequencyPerDay of 1",
        );
    }
    if request.combined_service_indicator {
        return violation(
            MessageCode::SessionsNotSupported,
            "combinedServiceIndicator",
            "this bank does not combine services in one session; send false",
        );
    }
    Ok(())
}

fn check_access(access: &AccountAccess) -> Result<(), Violation> {
    use shared_types::consent::AllAccounts;

    let unsupported = [
        (
            "access.availableAccounts",
            access.available_accounts.is_some(),
        ),
        (
            "access.availableAccountsWithBalance",
            access.available_accounts_with_balance.is_some(),
        ),
        (
            "access.additionalInformation",
            access.additional_information.is_some(),
        ),
        ("access.restrictedTo", access.restricted_to.is_some()),
        (
            "access.allPsd2",
            access.all_psd2 == Some(AllAccounts::AllAccountsWithOwnerName),
        ),
    ];
    if let Some((path, _)) = unsupported.into_iter().find(|(_, asked)| *asked) {
        return violation(
            MessageCode::ParameterNotSupported,
            path,
            "this bank grants dedicated (accounts, balances, transactions), bank-offered (empty lists) and global \
             (allPsd2: allAccounts) consents",
        );
    }
    let lists = [
        ("accounts", access.accounts.as_ref()),
        ("balances", access.balances.as_ref()),
        ("transactions", access.transactions.as_ref()),
    ];
    let named = lists.iter().any(|(_, list)| list.is_some());
    match (named, access.all_psd2.is_some()) {
        (false, false) => {
            return violation(
                MessageCode::FormatError,
                "access",
                "say which accounts, and what of them",
            );
        }
        (true, true) => {
            return violation(
                MessageCode::ParameterNotConsistent,
                "access",
                "a global consent (allPsd2) names no accounts",
            );
        }
        _ => {}
    }
    for (name, list) in lists {
        if list.is_some_and(|list| list.len() > MOST_ACCOUNTS) {
            return violation(
                MessageCode::FormatError,
                format!("access.{name}"),
                "name at most 100 accounts",
            );
        }
        for (index, reference) in list.into_iter().flatten().enumerate() {
            check_reference(reference, &format!("access.{name}[{index}]"))?;
        }
    }
    Ok(())
}

fn check_reference(reference: &AccountReference, path: &str) -> Result<(), Violation> {
    let identifications = [
        reference.iban.is_some(),
        reference.bban.is_some(),
        reference.pan.is_some(),
        reference.masked_pan.is_some(),
        reference.msisdn.is_some(),
        reference.other.is_some(),
    ];
    if identifications.into_iter().filter(|given| *given).count() != 1 {
        return violation(
            MessageCode::FormatError,
            path,
            "name the account in exactly one way: iban, bban, pan, maskedPan, msisdn or other",
        );
    }
    if reference
        .iban
        .as_ref()
        .is_some_and(|iban| !iban.check_digits_hold())
    {
        return violation(
            MessageCode::FormatError,
            format!("{path}.iban"),
            "the check digits of the IBAN are wrong",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn today() -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, 24).unwrap()
    }

    /// Code and path of what is wrong with a request for that access; empty if nothing is.
    fn fault(access: Value, change: impl FnOnce(&mut Value)) -> String {
        let mut body = json!({
            "recurringIndicator": true, "validUntil": "2026-12-31",
            "frequencyPerDay": 4, "combinedServiceIndicator": false
        });
        body["access"] = access;
        change(&mut body);
        let request: ConsentRequest = serde_json::from_value(body).unwrap();
        check_request(&request, today())
            .err()
            .map(|fault| format!("{} {}", fault.code, fault.path))
            .unwrap_or_default()
    }

    #[test]
    fn the_three_kinds_of_access_pass() {
        let iban = json!({ "iban": "DE89370400440532013000" });
        assert_eq!(
            fault(json!({ "balances": [iban], "transactions": [] }), |_| ()),
            ""
        );
        assert_eq!(fault(json!({ "accounts": [] }), |_| ()), "");
        assert_eq!(fault(json!({ "allPsd2": "allAccounts" }), |_| ()), "");
    }

    #[test]
    fn what_cannot_be_granted_is_told_with_its_path() {
        let wrong = json!({ "iban": "DE88370400440532013000" });
        let twice = json!({ "iban": "DE89370400440532013000", "bban": "1" });
        let all = json!({ "allPsd2": "allAccounts" });
        assert_eq!(
            fault(json!({ "accounts": [wrong] }), |_| ()),
            "FORMAT_ERROR access.accounts[0].iban"
        );
        assert_eq!(
            fault(json!({ "balances": [twice] }), |_| ()),
            "FORMAT_ERROR access.balances[0]"
        );
        assert_eq!(
            fault(json!({ "balances": [{}] }), |_| ()),
            "FORMAT_ERROR access.balances[0]"
        );
        let many = vec![json!({ "iban": "DE89370400440532013000" }); 101];
        assert_eq!(fault(json!({ "accounts": many[..100] }), |_| ()), "");
        assert_eq!(
            fault(json!({ "accounts": many }), |_| ()),
            "FORMAT_ERROR access.accounts"
        );
        assert_eq!(fault(json!({}), |_| ()), "FORMAT_ERROR access");
        assert_eq!(
            fault(json!({ "allPsd2": "allAccounts", "accounts": [] }), |_| ()),
            "PARAMETER_NOT_CONSISTENT access"
        );
        assert_eq!(
            fault(json!({ "availableAccounts": "allAccounts" }), |_| ()),
            "PARAMETER_NOT_SUPPORTED access.availableAccounts"
        );
        assert_eq!(
            fault(all.clone(), |body| body["validUntil"] = "2026-11-23".into()),
            "PERIOD_INVALID validUntil"
        );
        assert_eq!(
            fault(all.clone(), |body| body["validUntil"] = "2026-11-24".into()),
            ""
        );
        assert_eq!(
            fault(all.clone(), |body| body["recurringIndicator"] =
                false.into()),
            "PARAMETER_NOT_CONSISTENT frequencyPerDay"
        );
        assert_eq!(
            fault(all, |body| body["combinedServiceIndicator"] = true.into()),
            "SESSIONS_NOT_SUPPORTED combinedServiceIndicator"
        );
    }
}
