//! From a peer certificate to a known TPP.

mod licences;

use std::collections::BTreeSet;

use rustls_pki_types::CertificateDer;
use shared_types::certificate::hosts;
use shared_types::eidas::{IdentityError, OrganisationId, Psd2Identity, Role, identify};
use shared_types::register::Licence;

pub(crate) use self::licences::own_organisation;
pub use self::licences::{LicenceSource, Licences, NotATpp};

/// The TPP at the other end of a connection: what its certificate says of it (ETSI TS 119 495), as far as the register
/// still grants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tpp {
    identity: Psd2Identity,
    roles: BTreeSet<Role>,
    /// As the register has it, where there is one.
    registered_name: Option<String>,
    /// The host names in its certificate.
    hosts: Vec<String>,
}

impl Tpp {
    /// Reads the TPP from its certificate, which has been found trustworthy before. The register is not asked.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let identity = identify(certificate)?;
        let roles = identity.roles.clone();
        Ok(Self {
            identity,
            roles,
            registered_name: None,
            hosts: hosts(certificate),
        })
    }

    /// A TPP without a certificate.
    #[cfg(test)]
    pub(crate) fn sample(organisation: &str, name: &str) -> Self {
        let identity = Psd2Identity {
            organisation: organisation.parse().unwrap(),
            name: name.to_owned(),
            roles: [Role::AccountInformation].into(),
            nca_name: "BaFin".to_owned(),
            nca_id: "DE-BAFIN".to_owned(),
        };
        Self {
            roles: identity.roles.clone(),
            identity,
            registered_name: None,
            hosts: Vec::new(),
        }
    }

    /// Takes the register's word: the roles that it grants as well, and the name by which it knows the TPP.
    fn licensed(mut self, licence: Licence) -> Self {
        self.roles.retain(|role| licence.roles.contains(role));
        self.registered_name = Some(licence.name);
        self
    }

    /// Its authorisation number: by this, and nothing else, it is told from other TPPs.
    #[must_use]
    pub fn organisation(&self) -> &OrganisationId {
        &self.identity.organisation
    }

    /// Its legal name: the register's word, and without a register the certificate's.
    #[must_use]
    pub fn name(&self) -> &str {
        self.registered_name.as_ref().unwrap_or(&self.identity.name)
    }

    /// The host names that its certificate is for.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The authority that licensed it, such as `DE-BAFIN`.
    #[must_use]
    pub fn nca(&self) -> &str {
        &self.identity.nca_id
    }

    /// Whether it may act in that role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}
