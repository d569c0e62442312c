//! Sections `[[other_banks]]`: banks whose accounts customers can have shown here.

use serde::{Deserialize, Serialize};
use shared_types::pki::eidas::OrganisationId;
use url::Url;
use utoipa::ToSchema;

use super::name_problem;
use crate::config_error::ConfigError;

/// Section `[[other_banks]]`: a bank that this bank queries on behalf of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OtherBankConfig {
    /// Name of the bank on the pages.
    #[schema(example = "Bank A", max_length = 70)]
    pub name: String,
    /// Address of its XS2A interface.
    #[schema(example = "https://xs2a.bank-a.example")]
    pub url: String,
    /// Organisation id that its certificate must have.
    #[schema(value_type = String, example = "PSDDE-BAFIN-100001")]
    pub organisation: OrganisationId,
}

/// Errors that can be found without opening anything.
pub(super) fn faults(banks: &[OtherBankConfig], has_pages: bool) -> Vec<ConfigError> {
    let mut faults = Vec::new();
    if !banks.is_empty() && !has_pages {
        faults.push(ConfigError::new(
            "other_banks",
            "are shown on the bank's own pages: add [online_banking], or leave them out",
        ));
    }
    for (index, bank) in banks.iter().enumerate() {
        let mut fault = |key: &str, problem: &str| {
            faults.push(ConfigError::new(
                format!("other_banks[{index}].{key}"),
                problem,
            ));
        };
        if let Some(problem) = name_problem(&bank.name) {
            fault("name", problem);
        }
        if !is_interface(&bank.url) {
            fault(
                "url",
                "must be an https address without user, query and fragment",
            );
        }
        if banks
            .iter()
            .take(index)
            .any(|earlier| earlier.organisation == bank.organisation)
        {
            fault("organisation", "is named twice");
        }
    }
    faults
}

fn is_interface(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        url.scheme() == "https"
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_fault() {
        let places = |text: &str| -> Vec<String> {
            #[derive(Deserialize)]
            struct File {
                other_banks: Vec<OtherBankConfig>,
            }
            let file: File = toml::from_str(text).unwrap();
            let faults = faults(&file.other_banks, true).into_iter();
            faults.map(|fault| fault.key).collect()
        };
        let bank = |name: &str, url: &str| {
            format!(
                "[[other_banks]]\nname = \"{name}\"\nurl = \"{url}\"\norganisation = \"PSDFR-ACPR-20002\"\n"
            )
        };
        let good = bank("Bank B", "https://127.0.0.1:8442");
        assert!(places(&good).is_empty());
        assert_eq!(
            places(&format!("{good}{good}")),
            ["other_banks[1].organisation"]
        );
        assert_eq!(places(&bank(" ", "https://b")), ["other_banks[0].name"]);
        for url in ["http://b", "b", "https://u@b", "https://b?q", "https://b#f"] {
            assert_eq!(places(&bank("B", url)), ["other_banks[0].url"], "{url}");
        }
        let known: OtherBankConfig =
            toml::from_str(good.lines().skip(1).collect::<Vec<_>>().join("\n").as_str()).unwrap();
        assert_eq!(faults(&[known], false).len(), 1, "no page would show them");
    }
}
