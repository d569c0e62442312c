//! Licence policy: which certificates identify a TPP, and its roles by certificate and register.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use rustls_pki_types::UnixTime;
use shared_types::pki::credentials::Credentials;
use shared_types::pki::eidas::{IdentityError, OrganisationId, Psd2Identity, identify};
use shared_types::pki::register::{NotLicensed, Register};

use crate::config_error::ConfigError;
use crate::transport::pem_files::Source;
use crate::transport::trust_reloader::PolicySource;

/// The bank's rules about its peers.
#[derive(Debug)]
pub struct Licences {
    /// The scheme's register. Without one, the identity and roles are those of the certificate.
    pub register: Option<Register>,
    /// The country of the bank, where its TPPs are active.
    pub country: String,
}

/// Reason for not authorising a TPP with a trusted certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotATpp {
    /// The certificate names no TPP.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The register does not license it.
    #[error(transparent)]
    NotLicensed(#[from] NotLicensed),
}

/// Source of the licences: the register's file, if there is one.
#[derive(Debug, Clone)]
pub struct LicenceSource {
    /// The register.
    pub register: Option<Source>,
}

impl PolicySource for LicenceSource {
    type Policy = Licences;

    fn files(&self) -> Vec<Source> {
        self.register.iter().cloned().collect()
    }

    fn make(
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
                if !register.has_licence_on(day(now)) {
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

    fn check_own(&self, new: &Credentials, old: &Credentials) -> Result<(), String> {
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
    own_identity(credentials).map(|itself| itself.organisation)
}

fn own_identity(credentials: &Credentials) -> Result<Psd2Identity, IdentityError> {
    let leaf = credentials
        .chain()
        .first()
        .ok_or(IdentityError::Unreadable)?;
    identify(leaf)
}

pub(crate) fn day(now: UnixTime) -> NaiveDate {
    i64::try_from(now.as_secs())
        .ok()
        .and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0))
        .map_or(NaiveDate::MAX, |time| time.date_naive())
}

pub(crate) fn last_second(day: NaiveDate) -> UnixTime {
    const DAY: u64 = 24 * 60 * 60;

    let midnight = day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp();
    UnixTime::since_unix_epoch(Duration::from_secs(
        u64::try_from(midnight).unwrap_or(0) + DAY - 1,
    ))
}
