//! SDK handles made from the test PKI.

use std::net::SocketAddr;

use bank_client::credentials::Credentials;
use bank_client::{Bank, BankBuilder};
use fixtures::pki::{Identity, Pki};
use fixtures::scheme_ca::SchemeCa;
use shared_types::pki::trust::Anchors;

use crate::log_capture::LogCapture;

/// Organisation id of Bank A, the TPP of most tests.
pub const BANK_A: &str = "PSDDE-BAFIN-100001";

/// Organisation id of Bank B, the ASPSP of most tests.
pub const BANK_B: &str = "PSDFR-ACPR-20002";

/// Builder of a handle for the bank at that address: it expects that organisation, trusts CA1, and
/// presents `identity`.
pub fn bank_builder(
    address: SocketAddr,
    organisation: &str,
    pki: &Pki,
    identity: &Identity,
) -> BankBuilder {
    Bank::builder(
        format!("https://{address}"),
        organisation.parse().unwrap(),
        anchors(&pki.ca1),
        credentials(identity),
    )
}

/// Trust anchors: the root certificate of that authority.
pub fn anchors(authority: &SchemeCa) -> Anchors {
    Anchors::from_pem(authority.root_pem().unwrap().as_bytes()).unwrap()
}

/// Credentials of the SDK: that identity's certificate chain and key.
pub fn credentials(identity: &Identity) -> Credentials {
    LogCapture::install();
    Credentials::from_pem(identity.chain_pem.as_bytes(), identity.key_pem.as_bytes()).unwrap()
}
