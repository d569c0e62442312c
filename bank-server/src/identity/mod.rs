//! From a peer certificate to a known TPP.

use rustls_pki_types::CertificateDer;
use shared_types::eidas::{IdentityError, OrganisationId, Psd2Identity, Role, identify};

/// The TPP at the other end of a connection: what its certificate says of it (ETSI TS 119 495).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tpp(Psd2Identity);

impl Tpp {
    /// Reads the TPP from its certificate, which has been found trustworthy before.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        identify(certificate).map(Self)
    }

    /// Its authorisation number: by this, and nothing else, it is told from other TPPs.
    #[must_use]
    pub fn organisation(&self) -> &OrganisationId {
        &self.0.organisation
    }

    /// Its legal name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The authority that licensed it, such as `DE-BAFIN`.
    #[must_use]
    pub fn nca(&self) -> &str {
        &self.0.nca_id
    }

    /// Whether it may act in that role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.0.has(role)
    }
}
