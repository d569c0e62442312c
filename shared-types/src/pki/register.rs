//! The scheme's register of licensed parties: roles, countries and dates.
//!
//! Modelled on the European Banking Authority's central register under PSD2 (Directive (EU)
//! 2015/2366, article 15; Delegated Regulation (EU) 2019/411): an organisation by its national
//! reference and authority, and its services by country. A certificate says what its holder was
//! licensed for when it was issued; the register says what is so now.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::decode::decode;
use crate::pki::eidas::{OrganisationId, Role};

/// The register, with an index by every identifier of its organisations.
#[derive(Debug, Clone)]
pub struct Register(HashMap<OrganisationId, Arc<Entry>>);

/// The file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterFile {
    /// When this edition was published.
    pub published: DateTime<Utc>,
    /// The organisations, each once.
    pub organisations: Vec<Entry>,
}

/// One organisation.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The authorisation number, as in certificates: `PSDDE-BAFIN-125314`.
    pub national_reference: OrganisationId,
    /// Other identifiers in certificates, such as `LEIXG-529900T8BM49AURSDO55` or
    /// `VATDE-123456789`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub other_identifiers: BTreeSet<OrganisationId>,
    /// The authority that licensed it.
    pub nca: RegisterNca,
    /// Legal name.
    pub name: String,
    /// The country that licensed it, by its two letters.
    pub home_country: String,
    /// Its services, in its home country and in those it is passported to.
    pub services: BTreeMap<String, BTreeSet<Service>>,
    /// Whether it may do so at present.
    pub status: Status,
    /// The first day on which it was licensed.
    pub authorised_from: NaiveDate,
    /// The first day on which it is no longer.
    pub withdrawn_from: Option<NaiveDate>,
}

/// An authority, as the register names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterNca {
    /// Such as `DE-BAFIN`.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// Whether an organisation may act at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It may.
    Authorised,
    /// Not for now: its authority has blocked it.
    Blocked,
    /// Its licence was taken, or given back.
    Withdrawn,
}

/// A payment service, with the code of the EBA's register (Directive (EU) 2015/2366, annex I).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Service {
    /// Cash placed on a payment account, and operating it (annex I, 1).
    #[serde(rename = "PS_010")]
    AccountPlacing,
    /// Cash withdrawn from a payment account, and operating it (annex I, 2).
    #[serde(rename = "PS_020")]
    AccountWithdrawing,
    /// Issuing of payment instruments (annex I, 5).
    #[serde(rename = "PS_05A")]
    InstrumentIssuing,
    /// Payment initiation (annex I, 7).
    #[serde(rename = "PS_070")]
    PaymentInitiation,
    /// Account information (annex I, 8).
    #[serde(rename = "PS_080")]
    AccountInformation,
}

impl Service {
    /// The role that a certificate names for it (ETSI TS 119 495, clause 4.1).
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Self::AccountPlacing | Self::AccountWithdrawing => Role::AccountServicing,
            Self::InstrumentIssuing => Role::CardIssuing,
            Self::PaymentInitiation => Role::PaymentInitiation,
            Self::AccountInformation => Role::AccountInformation,
        }
    }
}

/// Error of a register.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// It is not the JSON it should be.
    #[error("is no register: {0}")]
    Malformed(String),
    /// An organisation is in it more than once, or an identifier is that of two.
    #[error("has {0} more than once")]
    Twice(OrganisationId),
    /// A country is not two capital letters.
    #[error("names \"{0}\" as a country of {1}; two capital letters are expected")]
    Country(String, OrganisationId),
}

/// Reason for which the register does not let an organisation act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotLicensed {
    /// It is not in the register.
    #[error("{0} is not in the register")]
    NotInRegister(OrganisationId),
    /// It is blocked.
    #[error("{0} is blocked in the register")]
    Blocked(OrganisationId),
    /// It is no longer licensed.
    #[error("the licence of {organisation} was withdrawn{}", since(*.from))]
    Withdrawn {
        /// The organisation.
        organisation: OrganisationId,
        /// The first day without a licence, if the register has it.
        from: Option<NaiveDate>,
    },
    /// It is not licensed yet.
    #[error("{organisation} is licensed from {from} on")]
    NotYet {
        /// The organisation.
        organisation: OrganisationId,
        /// The first day with a licence.
        from: NaiveDate,
    },
}

fn since(from: Option<NaiveDate>) -> String {
    from.map(|day| format!(" from {day} on"))
        .unwrap_or_default()
}

/// Grant of the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Licence {
    /// The authorisation number: the organisation's id, whatever name its certificate has.
    pub organisation: OrganisationId,
    /// The legal name.
    pub name: String,
    /// The roles, in the country that was asked about.
    pub roles: BTreeSet<Role>,
    /// The last day for which that is known, where the end is.
    pub last_day: Option<NaiveDate>,
}

impl Register {
    /// Reads the file.
    pub fn from_json(json: &[u8]) -> Result<Self, RegisterError> {
        let file: RegisterFile =
            decode(json).map_err(|fault| RegisterError::Malformed(fault.to_string()))?;
        Self::new(file)
    }

    /// Takes the content of a file.
    pub fn new(file: RegisterFile) -> Result<Self, RegisterError> {
        let mut entries = HashMap::with_capacity(file.organisations.len());
        for entry in file.organisations {
            let entry = Arc::new(entry);
            let id = &entry.national_reference;
            let countries = entry.services.keys().chain([&entry.home_country]);
            if let Some(country) = countries.into_iter().find(|country| !is_country(country)) {
                return Err(RegisterError::Country(country.clone(), id.clone()));
            }
            for id in entry.identifiers() {
                if entries.insert(id.clone(), Arc::clone(&entry)).is_some() {
                    return Err(RegisterError::Twice(id.clone()));
                }
            }
        }
        Ok(Self(entries))
    }

    /// The grant of an organisation in a country on that day, by any of its identifiers.
    ///
    /// Cost: one look-up by hash.
    pub fn licence(
        &self,
        organisation: &OrganisationId,
        country: &str,
        today: NaiveDate,
    ) -> Result<Licence, NotLicensed> {
        let id = || organisation.clone();
        let entry = self
            .0
            .get(organisation)
            .ok_or_else(|| NotLicensed::NotInRegister(id()))?;
        entry.check(today)?;
        let services = entry.services.get(country).into_iter().flatten();
        Ok(Licence {
            organisation: entry.national_reference.clone(),
            name: entry.name.clone(),
            roles: services.map(|service| service.role()).collect(),
            last_day: entry.withdrawn_from.and_then(|day| day.pred_opt()),
        })
    }

    /// Whether any party is licensed on that day.
    #[must_use]
    pub fn has_licence_on(&self, today: NaiveDate) -> bool {
        self.0.values().any(|entry| entry.check(today).is_ok())
    }
}

impl Entry {
    /// Everything that names it in certificates.
    pub fn identifiers(&self) -> impl Iterator<Item = &OrganisationId> {
        std::iter::once(&self.national_reference).chain(&self.other_identifiers)
    }

    /// Whether the organisation may act on that day, whatever it may do.
    pub fn check(&self, today: NaiveDate) -> Result<(), NotLicensed> {
        let organisation = self.national_reference.clone();
        let over = self.withdrawn_from.is_some_and(|from| today >= from);
        match self.status {
            Status::Blocked => Err(NotLicensed::Blocked(organisation)),
            // Announced, but not yet so.
            Status::Withdrawn if self.withdrawn_from.is_some() && !over => Ok(()),
            Status::Withdrawn => Err(NotLicensed::Withdrawn {
                organisation,
                from: self.withdrawn_from,
            }),
            Status::Authorised if over => Err(NotLicensed::Withdrawn {
                organisation,
                from: self.withdrawn_from,
            }),
            Status::Authorised if today < self.authorised_from => Err(NotLicensed::NotYet {
                organisation,
                from: self.authorised_from,
            }),
            Status::Authorised => Ok(()),
        }
    }
}

fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn file(change: &str) -> String {
        let json = r#"{ "published": "2026-01-01T00:00:00Z", "organisations": [ {
            "nationalReference": "PSDDE-BAFIN-1", "nca": { "id": "DE-BAFIN", "name": "BaFin" }, "name": "One",
            "homeCountry": "DE", "services": { "DE": ["PS_010", "PS_080"], "FR": ["PS_080"] },
            "status": "authorised", "authorisedFrom": "2020-01-13", "withdrawnFrom": "2027-01-01" } ] }"#;
        match change.split_once("=>") {
            Some((from, to)) => {
                assert!(json.contains(from), "{from}");
                json.replace(from, to)
            }
            None => json.to_owned(),
        }
    }

    fn ask(change: &str, country: &str, today: &str) -> Result<Licence, NotLicensed> {
        let register = Register::from_json(file(change).as_bytes()).unwrap();
        register.licence(&"PSDDE-BAFIN-1".parse().unwrap(), country, day(today))
    }

    #[test]
    fn rights_go_by_country_and_day() {
        let home = ask("", "DE", "2026-05-01").unwrap();
        assert_eq!(
            home.roles,
            BTreeSet::from([Role::AccountServicing, Role::AccountInformation])
        );
        assert_eq!(home.last_day, Some(day("2026-12-31")));
        assert_eq!(home.name, "One");
        let host = ask("", "FR", "2026-05-01").unwrap();
        assert_eq!(host.roles, BTreeSet::from([Role::AccountInformation]));
        assert!(ask("", "ES", "2026-05-01").unwrap().roles.is_empty());
        assert!(matches!(
            ask("", "DE", "2020-01-12"),
            Err(NotLicensed::NotYet { .. })
        ));
        assert!(ask("", "DE", "2026-12-31").is_ok());
        assert!(matches!(
            ask("", "DE", "2027-01-01"),
            Err(NotLicensed::Withdrawn { .. })
        ));
    }

    #[test]
    fn an_organisation_is_found_under_any_of_its_identifiers() {
        let listed = "PSDDE-BAFIN-1\",=>PSDDE-BAFIN-1\", \"otherIdentifiers\": \
            [\"LEIXG-1\", \"NTRDE-HRB 1\"],";
        let register = Register::from_json(file(listed).as_bytes()).unwrap();
        for id in ["PSDDE-BAFIN-1", "LEIXG-1", "NTRDE-HRB 1"] {
            let licence = register.licence(&id.parse().unwrap(), "DE", day("2026-05-01"));
            let organisation = licence.unwrap().organisation;
            assert_eq!(organisation.as_str(), "PSDDE-BAFIN-1", "{id}");
        }
        let other = register.licence(&"VATDE-1".parse().unwrap(), "DE", day("2026-05-01"));
        assert!(matches!(other, Err(NotLicensed::NotInRegister(_))));
    }

    #[test]
    fn the_status_counts() {
        let blocked = ask("authorised\"=>blocked\"", "DE", "2026-05-01");
        assert!(matches!(blocked, Err(NotLicensed::Blocked(_))));
        // Withdrawn, with a day that has not come: until then it may act.
        assert!(ask("authorised\"=>withdrawn\"", "DE", "2026-05-01").is_ok());
        let withdrawn = "authorised\", \"authorisedFrom\": \"2020-01-13\", \"withdrawnFrom\": \"2027-01-01\"=>withdrawn\", \"authorisedFrom\": \"2020-01-13\"";
        assert!(matches!(
            ask(withdrawn, "DE", "2026-05-01"),
            Err(NotLicensed::Withdrawn { from: None, .. })
        ));
        let register = Register::from_json(file("").as_bytes()).unwrap();
        let other: OrganisationId = "PSDDE-BAFIN-2".parse().unwrap();
        assert!(matches!(
            register.licence(&other, "DE", day("2026-05-01")),
            Err(NotLicensed::NotInRegister(_))
        ));
        assert!(register.has_licence_on(day("2026-05-01")));
        assert!(!register.has_licence_on(day("2027-05-01")));
    }

    #[test]
    fn what_is_no_register_is_refused() {
        let entry = file("");
        let twice = {
            let start = entry.find("[ {").unwrap() + 2;
            let end = entry.rfind('}').unwrap();
            let end = entry[..end].rfind('}').unwrap() + 1;
            let one = &entry[start..end];
            entry.replace(one, &format!("{one}, {one}"))
        };
        for (bad, why) in [
            ("<html>", "is no register"),
            (&file("\"name\": \"One\"=>\"nome\": \"One\""), "nome"),
            (&file("\"FR\"=>\"France\""), "France"),
            (&file("PS_010=>PS_999"), "organisations[0].services.DE[0]"),
            (&twice, "more than once"),
            (
                &file(
                    "PSDDE-BAFIN-1\",=>PSDDE-BAFIN-1\", \"otherIdentifiers\": [\"PSDDE-BAFIN-1\"],",
                ),
                "PSDDE-BAFIN-1 more than once",
            ),
        ] {
            let error = Register::from_json(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
        }
    }
}
