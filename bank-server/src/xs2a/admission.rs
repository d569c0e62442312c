//! Admission of TPPs to connections, by certificate and register.

use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::pki::eidas::identify;

use super::error::ApiError;
use crate::identity::{Licences, Tpp, TppRejection, end_of_day, utc_date};
use crate::transport::policy::{Admitted, CloseMessage, PeerRejection, Policy};

impl Policy for Licences {
    type Peer = Tpp;
    type Objection = TppRejection;

    fn admit(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<Admitted<Tpp>, TppRejection> {
        let identity = identify(certificate)?;
        let Some(register) = &self.register else {
            return Ok(Admitted {
                peer: Tpp::unregistered(identity, certificate)?,
                until: None,
            });
        };
        let licence = register.licence(&identity.organisation, &self.country, utc_date(now))?;
        let until = licence.last_day.map(end_of_day);
        Ok(Admitted {
            peer: Tpp::licensed(identity, licence, certificate),
            until,
        })
    }

    fn quota_key(peer: &Tpp) -> &str {
        peer.organisation().as_str()
    }

    fn close_message(end: &PeerRejection<TppRejection>) -> CloseMessage {
        ApiError::peer_rejected(end).close_message()
    }
}
