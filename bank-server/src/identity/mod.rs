//! TPP identity: from a peer certificate to a known, licensed TPP.

mod licences;

use std::collections::BTreeSet;

use rustls_pki_types::CertificateDer;
use shared_types::pki::certificate::hosts;
use shared_types::pki::eidas::{IdentityError, OrganisationId, Psd2Identity, Role};
use shared_types::pki::register::Licence;

pub(crate) use self::licences::own_organisation;
pub use self::licences::{LicenceSource, Licences, TppRejection};
pub(crate) use self::licences::{end_of_day, utc_date};
use crate::domain::TppRecord;

/// The TPP of a connection: the identity in its certificate (ETSI TS 119 495), restricted to what
/// the register grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tpp {
    organisation: OrganisationId,
    name: String,
    roles: BTreeSet<Role>,
    nca: String,
    /// The host names in its certificate.
    hosts: Vec<String>,
}

impl Tpp {
    /// The TPP that a verified certificate names, without a register.
    pub(crate) fn unregistered(
        identity: Psd2Identity,
        certificate: &CertificateDer<'_>,
    ) -> Result<Self, IdentityError> {
        Ok(Self {
            organisation: identity.organisation,
            name: identity.name.ok_or(IdentityError::NoName)?,
            roles: identity.roles,
            nca: identity.nca_id,
            hosts: hosts(certificate),
        })
    }

    /// The TPP as the register records it: its number, its name, and the roles that both grant.
    pub(crate) fn licensed(
        mut identity: Psd2Identity,
        licence: Licence,
        certificate: &CertificateDer<'_>,
    ) -> Self {
        identity.roles.retain(|role| licence.roles.contains(role));
        Self {
            organisation: licence.organisation,
            name: licence.name,
            roles: identity.roles,
            nca: identity.nca_id,
            hosts: hosts(certificate),
        }
    }

    /// A TPP without a certificate.
    #[cfg(test)]
    pub(crate) fn sample(organisation: &str, name: &str) -> Self {
        Self {
            organisation: organisation.parse().unwrap(),
            name: name.to_owned(),
            roles: [Role::AccountInformation].into(),
            nca: "DE-BAFIN".to_owned(),
            hosts: Vec::new(),
        }
    }

    /// Its authorisation number, from the register if there is one. The only key by which TPPs are
    /// distinguished.
    #[must_use]
    pub fn organisation(&self) -> &OrganisationId {
        &self.organisation
    }

    /// Its legal name, from the register if there is one, else from the certificate.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host names that its certificate is for.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Its record for customers: authorisation number, legal name, and authority.
    #[must_use]
    pub fn record(&self) -> TppRecord {
        TppRecord {
            organisation: self.organisation.to_string(),
            name: self.name.clone(),
            authority: self.nca.clone(),
        }
    }

    /// Whether it may act in that role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}
