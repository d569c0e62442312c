//! Admission of TPPs to connections, by the bank's rules about its peers.

use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::pki::eidas::identify;

use super::error::ApiError;
use crate::identity::{Licences, NotATpp, Tpp, day, last_second};
use crate::transport::policy::{Admitted, CloseMessage, PeerRejection, Policy};

impl Policy for Licences {
    type Peer = Tpp;
    type Objection = NotATpp;

    fn admit(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<Admitted<Tpp>, NotATpp> {
        let identity = identify(certificate)?;
        let Some(register) = &self.register else {
            return Ok(Admitted {
                peer: Tpp::unregistered(identity, certificate)?,
                until: None,
            });
        };
        let licence = register.licence(&identity.organisation, &self.country, day(now))?;
        let until = licence.last_day.map(last_second);
        Ok(Admitted {
            peer: Tpp::licensed(identity, licence, certificate),
            until,
        })
    }

    fn group(peer: &Tpp) -> &str {
        peer.organisation().as_str()
    }

    fn close_message(end: &PeerRejection<NotATpp>) -> CloseMessage {
        ApiError::peer_rejected(end).close_message()
    }
}
