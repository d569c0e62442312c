//! A TPP that asks for consents and has them approved: through the SDK, and by hand.

use std::net::{IpAddr, Ipv4Addr};

use bank_client::authorisations::ApprovalOptions;
use bank_client::{Bank, ErrorKind};
use fixtures::sandbox::CUSTOMER;
use fixtures::world;
use serde_json::json;
use shared_types::authorisation::ScaApproach;
use shared_types::consent::ConsentRequest;

use crate::banks::Banks;
use crate::http::{Response, Tpp};

/// The customer's device.
pub const PSU: (&str, &str) = ("PSU-IP-Address", "192.0.2.7");
pub const DEVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// Where Bank A has its customers come back to.
pub const BACK: &str = "https://bank-a.example/back";

/// Bank A's handle for Bank B.
pub fn client(banks: &Banks) -> Bank {
    use world::Bank::{A, B};

    banks.sandbox.client(A, B, B).unwrap()
}

/// Everything, of all accounts.
pub fn wanted(banks: &Banks) -> ConsentRequest {
    let body = banks.consent_body(&json!({ "allPsd2": "allAccounts" }));
    serde_json::from_value(body).unwrap()
}

/// For the story's customer, through the TPP.
pub fn embedded() -> ApprovalOptions {
    ApprovalOptions::new()
        .psu_id(CUSTOMER)
        .prefer(ScaApproach::Embedded)
}

/// What a refused call was refused with: status, code, path.
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

/// Asks for everything, with those headers.
pub async fn ask(banks: &Banks, tpp: &Tpp, headers: &[(&str, &str)]) -> Response {
    let body = banks.consent_body(&json!({ "allPsd2": "allAccounts" }));
    let headers: Vec<_> = [PSU].iter().chain(headers).copied().collect();
    tpp.post("/v1/consents", &headers, &body.to_string()).await
}
