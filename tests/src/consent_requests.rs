//! Consent requests of a TPP, through the SDK and over plain HTTP, and helpers that the SDK tests
//! share.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bank_client::authorisations::ApprovalOptions;
use bank_client::directory::BankId;
use bank_client::environment::SystemRandomness;
use bank_client::vault::{Key, Vault};
use bank_client::{Bank, ErrorKind, TransactionFilter};
use fixtures::sandbox::CUSTOMER;
use fixtures::world;
use shared_types::xs2a::authorisation::ScaApproach;
use shared_types::xs2a::consent::ConsentRequest;

use crate::banks::Banks;
use crate::customer::Customer;
use crate::http::{Response, Tpp};

/// The customer's device.
pub const PSU: (&str, &str) = ("PSU-IP-Address", "192.0.2.7");
pub const DEVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// The return address of Bank A.
pub const BACK: &str = "https://bank-a.example/back";

/// Transactions since 1 January 2026.
pub fn since() -> TransactionFilter {
    TransactionFilter::since("2026-01-01".parse().unwrap())
}

/// Vault of a consent manager. Every call makes the same key: two managers can share a store.
pub fn vault() -> Vault {
    let key = Key::from_bytes([7; 32]);
    Vault::new(&key, "consents", Arc::new(SystemRandomness)).unwrap()
}

/// Bank B in the consent manager.
pub fn bank_b_id() -> BankId {
    "bank-b".parse().unwrap()
}

/// Bank A's handle for Bank B.
pub fn client(banks: &Banks) -> Bank {
    use world::Bank::{A, B};

    banks.sandbox.client(A, B, B).unwrap()
}

/// Everything, of all accounts.
pub fn wanted(banks: &Banks) -> ConsentRequest {
    serde_json::from_value(banks.consent_body()).unwrap()
}

/// For the story's customer, through the TPP.
pub fn embedded() -> ApprovalOptions {
    ApprovalOptions::new()
        .psu_id(CUSTOMER)
        .prefer(ScaApproach::Embedded)
}

/// A consent, and the id of its authorisation that the customer has begun with the password,
/// through the TPP.
pub async fn begin_embedded(bank: &Bank, banks: &Banks, customer: &Customer) -> (String, String) {
    let (wanted, options) = (wanted(banks), embedded());
    let asked = bank.ask_for_consent(&wanted, DEVICE, &options);
    let consent = asked.await.unwrap().consent.consent_id;
    let step = bank.start_authorisation_with_password(&consent, &options, customer.password());
    let id = step.await.unwrap().id;
    (consent, id)
}

/// Status, code and path of a refusal.
pub fn refusal<T: std::fmt::Debug>(outcome: Result<T, bank_client::Error>) -> String {
    match outcome.unwrap_err().kind {
        ErrorKind::Refused {
            status, messages, ..
        } => {
            let message = &messages[0];
            let path = message.path.as_deref().unwrap_or_default();
            format!("{status} {} {path}", message.code)
                .trim_end()
                .to_owned()
        }
        other => panic!("{other:?}"),
    }
}

/// Requests a consent for everything, with these headers.
pub async fn ask(banks: &Banks, tpp: &Tpp, headers: &[(&str, &str)]) -> Response {
    banks.consent(tpp).headers(headers).ask().await
}
