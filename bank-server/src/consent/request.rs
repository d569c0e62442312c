//! Validation of a TPP's request for a consent.

use chrono::NaiveDate;
use shared_types::xs2a::account::AccountReference;
use shared_types::xs2a::consent::{AccountAccess, ConsentRequest};
use shared_types::xs2a::iban::Iban;
use shared_types::xs2a::message::MessageCode::{
    self, FormatError, ParameterNotConsistent, ParameterNotSupported, PeriodInvalid,
    SessionsNotSupported,
};

/// Violation of a rule that holds for every customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The standard's code.
    pub code: MessageCode,
    /// Path in the body.
    pub path: String,
    /// How to correct it.
    pub text: &'static str,
}

/// Fails with that violation unless the rule holds.
fn ensure(
    holds: bool,
    code: MessageCode,
    path: impl Into<String>,
    text: &'static str,
) -> Result<(), Violation> {
    let path = path.into();
    if holds {
        Ok(())
    } else {
        Err(Violation { code, path, text })
    }
}

/// Maximum number of accounts in one list of a consent. For a customer with more accounts, the TPP
/// requests a global consent.
const MAX_ACCOUNTS: usize = 100;

/// Checks the body of `POST /v1/consents` beyond its form.
pub fn check_request(request: &ConsentRequest, today: NaiveDate) -> Result<(), Violation> {
    check_access(&request.access)?;
    ensure(
        request.valid_until >= today,
        PeriodInvalid,
        "validUntil",
        "the last day must not be in the past",
    )?;
    ensure(
        request.recurring_indicator || request.frequency_per_day.get() == 1,
        ParameterNotConsistent,
        "frequencyPerDay",
        "a consent for one read (recurringIndicator false) has a frequencyPerDay of 1",
    )?;
    ensure(
        !request.combined_service_indicator,
        SessionsNotSupported,
        "combinedServiceIndicator",
        "this bank does not combine services in one session; send false",
    )
}

fn check_access(access: &AccountAccess) -> Result<(), Violation> {
    ensure(
        access.restricted_to.is_none(),
        ParameterNotSupported,
        "access.restrictedTo",
        "this bank does not restrict consents to types of accounts; name the accounts",
    )?;
    let lists = [
        ("access.accounts", access.accounts.as_ref()),
        ("access.balances", access.balances.as_ref()),
        ("access.transactions", access.transactions.as_ref()),
    ];
    let kinds = [
        lists.iter().any(|(_, list)| list.is_some()),
        access.available_accounts.is_some(),
        access.available_accounts_with_balance.is_some(),
        access.all_psd2.is_some(),
    ];
    let kinds = kinds.into_iter().filter(|asked| *asked).count();
    ensure(
        kinds > 0,
        FormatError,
        "access",
        "say which accounts, and what of them",
    )?;
    ensure(
        kinds == 1,
        ParameterNotConsistent,
        "access",
        "ask for one kind: accounts, balances and transactions; or availableAccounts; or \
         availableAccountsWithBalance; or allPsd2",
    )?;
    for (path, list) in lists {
        check_list(path, list)?;
    }
    check_additional(access)
}

fn check_list(path: &str, list: Option<&Vec<AccountReference>>) -> Result<(), Violation> {
    let fits = list.is_none_or(|list| list.len() <= MAX_ACCOUNTS);
    ensure(fits, FormatError, path, "name at most 100 accounts")?;
    for (index, reference) in list.into_iter().flatten().enumerate() {
        check_reference(reference, &format!("{path}[{index}]"))?;
    }
    Ok(())
}

/// Checks the access beyond PSD2: owner names, for accounts that the request names anyway.
fn check_additional(access: &AccountAccess) -> Result<(), Violation> {
    const PATH: &str = "access.additionalInformation.ownerName";

    let Some(additional) = &access.additional_information else {
        return Ok(());
    };
    ensure(
        additional.trusted_beneficiaries.is_none(),
        ParameterNotSupported,
        "access.additionalInformation.trustedBeneficiaries",
        "this bank does not open trusted beneficiaries",
    )?;
    let Some(owners) = &additional.owner_name else {
        return Ok(());
    };
    check_list(PATH, Some(owners))?;
    let lists = [&access.accounts, &access.balances, &access.transactions];
    ensure(
        lists.into_iter().any(Option::is_some),
        ParameterNotConsistent,
        PATH,
        "ask for the owner's name of all accounts by allAccountsWithOwnerName",
    )?;
    let named: Vec<&AccountReference> = lists.into_iter().flatten().flatten().collect();
    ensure(
        owners.is_empty() == named.is_empty() && owners.iter().all(|owner| named.contains(&owner)),
        ParameterNotConsistent,
        PATH,
        "name accounts as they are named in accounts, balances or transactions; where the \
         customer is to choose, leave all lists empty",
    )
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
    ensure(
        identifications.into_iter().filter(|given| *given).count() == 1,
        FormatError,
        path,
        "name the account in exactly one way: iban, bban, pan, maskedPan, msisdn or other",
    )?;
    let iban = reference.iban.as_ref();
    ensure(
        iban.is_none_or(Iban::check_digits_hold),
        FormatError,
        format!("{path}.iban"),
        "the check digits of the IBAN are wrong",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn today() -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, 24).unwrap()
    }

    /// Codes and paths of the errors in a request for that access.
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
    fn all_kinds_of_access_pass() {
        let iban = json!({ "iban": "DE89370400440532013000" });
        for access in [
            json!({ "balances": [iban], "transactions": [] }),
            json!({ "accounts": [] }),
            json!({ "allPsd2": "allAccounts" }),
            json!({ "allPsd2": "allAccountsWithOwnerName" }),
            json!({ "availableAccounts": "allAccounts" }),
            json!({ "availableAccounts": "allAccountsWithOwnerName" }),
            json!({ "availableAccountsWithBalance": "allAccounts" }),
            json!({ "availableAccountsWithBalance": "allAccountsWithOwnerName" }),
            json!({ "accounts": [iban], "additionalInformation": { "ownerName": [iban] } }),
            json!({ "accounts": [], "additionalInformation": { "ownerName": [] } }),
            json!({ "accounts": [], "additionalInformation": {} }),
        ] {
            assert_eq!(fault(access.clone(), |_| ()), "", "{access}");
        }
    }

    #[test]
    fn what_goes_beyond_the_accounts_has_its_rules() {
        let one = json!({ "iban": "DE89370400440532013000" });
        let other = json!({ "iban": "NL91ABNA0417164300" });
        let owner = "access.additionalInformation.ownerName";
        for (access, expected) in [
            (
                json!({ "accounts": [one], "additionalInformation": { "ownerName": [other] } }),
                format!("PARAMETER_NOT_CONSISTENT {owner}"),
            ),
            (
                json!({ "accounts": [one], "additionalInformation": { "ownerName": [] } }),
                format!("PARAMETER_NOT_CONSISTENT {owner}"),
            ),
            (
                json!({ "accounts": [], "additionalInformation": { "ownerName": [one] } }),
                format!("PARAMETER_NOT_CONSISTENT {owner}"),
            ),
            (
                json!({ "allPsd2": "allAccounts", "additionalInformation": { "ownerName": [] } }),
                format!("PARAMETER_NOT_CONSISTENT {owner}"),
            ),
            (
                json!({ "accounts": [one], "additionalInformation": { "ownerName": [{}] } }),
                format!("FORMAT_ERROR {owner}[0]"),
            ),
            (
                json!({ "accounts": [one], "additionalInformation": { "trustedBeneficiaries": [one] } }),
                "PARAMETER_NOT_SUPPORTED access.additionalInformation.trustedBeneficiaries"
                    .to_owned(),
            ),
            (
                json!({ "accounts": [one], "restrictedTo": ["CACC"] }),
                "PARAMETER_NOT_SUPPORTED access.restrictedTo".to_owned(),
            ),
            (
                json!({ "availableAccounts": "allAccounts", "availableAccountsWithBalance": "allAccounts" }),
                "PARAMETER_NOT_CONSISTENT access".to_owned(),
            ),
        ] {
            assert_eq!(fault(access.clone(), |_| ()), expected, "{access}");
        }
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
