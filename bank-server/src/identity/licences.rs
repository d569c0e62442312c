//! Licence policy: authorises TPPs by their certificate and, if there is one, the register.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use rustls_pki_types::UnixTime;
use shared_types::pki::credentials::Credentials;
use shared_types::pki::eidas::{IdentityError, OrganisationId, Psd2Identity, identify};
use shared_types::pki::register::{NotLicensed, Register};

use crate::config_error::ConfigError;
use crate::transport::pem_files::Source;
use crate::transport::trust_reloader::PolicySource;

/// Data from which TPPs are authorised and their roles determined.
#[derive(Debug)]
pub struct Licences {
    /// The scheme's register of licensed TPPs. Without one, roles are those of the certificate.
    pub register: Option<Register>,
    /// The bank's country. A TPP needs a licence for it.
    pub country: String,
}

/// Reason for not authorising a TPP with a trusted certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TppRejection {
    /// The certificate has no valid PSD2 identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The register has no valid licence for it.
    #[error(transparent)]
    NotLicensed(#[from] NotLicensed),
}

/// Builds [`Licences`] from the register's file and the bank's certificate.
#[derive(Debug, Clone)]
pub struct LicenceSource {
    /// The register's file, if one is configured.
    pub register: Option<Source>,
}

impl PolicySource for LicenceSource {
    type Policy = Licences;

    fn files(&self) -> Vec<Source> {
        self.register.iter().cloned().collect()
    }

    fn build(
        &self,
        contents: &[Vec<u8>],
        credentials: &Credentials,
        now: UnixTime,
    ) -> Result<Licences, ConfigError> {
        let own = own_identity(credentials)
            .map_err(|error| ConfigError::new("xs2a.certificate", error.to_string()))?;
        let register = match (&self.register, contents.first()) {
            (Some(source), Some(json)) => {
                let register = Register::from_json(json).map_err(|error| source.fault(&error))?;
                if !register.has_licence_on(utc_date(now)) {
                    return Err(
                        source.fault(&"licenses no TPP at this time: no peer could connect")
                    );
                }
                Some(register)
            }
            _ => None,
        };
        Ok(Licences {
            register,
            country: own.country().to_owned(),
        })
    }

    fn check_replacement(&self, new: &Credentials, old: &Credentials) -> Result<(), String> {
        let [new, old] = [new, old].map(own_organisation);
        match (new, old) {
            (Err(error), _) => Err(error.to_string()),
            (Ok(new), Ok(old)) if new != old => Err(format!("is of {new}, and this bank is {old}")),
            _ => Ok(()),
        }
    }
}

/// The organisation in our own certificate.
pub(crate) fn own_organisation(credentials: &Credentials) -> Result<OrganisationId, IdentityError> {
    own_identity(credentials).map(|identity| identity.organisation)
}

fn own_identity(credentials: &Credentials) -> Result<Psd2Identity, IdentityError> {
    let leaf = credentials
        .chain()
        .first()
        .ok_or(IdentityError::Unreadable)?;
    identify(leaf)
}

/// The date in UTC.
pub(crate) fn utc_date(time: UnixTime) -> NaiveDate {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0))
        .map_or(NaiveDate::MAX, |time| time.date_naive())
}

/// The last second of a date in UTC.
pub(crate) fn end_of_day(date: NaiveDate) -> UnixTime {
    const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

    let midnight = date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp();
    UnixTime::since_unix_epoch(Duration::from_secs(
        u64::try_from(midnight).unwrap_or(0) + SECONDS_PER_DAY - 1,
    ))
}
