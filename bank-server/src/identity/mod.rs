//! From a peer certificate to a known TPP.

mod licences;

use std::collections::BTreeSet;

use rustls_pki_types::CertificateDer;
use shared_types::eidas::{IdentityError, OrganisationId, Psd2Identity, Role, identify};

pub(crate) use self::licences::own_organisation;
pub use self::licences::{LicenceSource, Licences, NotATpp};

/// The TPP at the other end of a connection: what its certificate says of it (ETSI TS 119 495), as far as the register
/// still grants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tpp {
    identity: Psd2Identity,
    roles: BTreeSet<Role>,
}

impl Tpp {
    /// Reads the TPP from its certificate, which has been found trustworthy before. The register is not asked.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let identity = identify(certificate)?;
        let roles = identity.roles.clone();
        Ok(Self { identity, roles })
    }

    /// Keeps the roles that are granted elsewhere as well.
    fn only(mut self, granted: &BTreeSet<Role>) -> Self {
        self.roles.retain(|role| granted.contains(role));
        self
    }

    /// Its authorisation number: by this, and nothing else, it is told from other TPPs.
    #[must_use]
    pub fn organisation(&self) -> &OrganisationId {
        &self.identity.organisation
    }

    /// Its legal name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.identity.name
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
