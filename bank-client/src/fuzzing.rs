//! Every decoder of ours that meets a bank's bytes, for fuzzing: one function for each target in
//! `fuzz/`.
//!
//! Each says more than "it does not panic": what is understood reads back the same, what is
//! followed stays with the bank, what is shown to people has no control characters. The corpus that
//! was found is run through by a test.

#![expect(
    clippy::missing_panics_doc,
    reason = "a panic is how a target tells what it has found"
)]

use std::fmt::{Debug, Display};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::DateTime;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared_types::decode::{Shape, decode};
use shared_types::pki::certificate::{CertificateSummary, distinguished_name, hosts};
use shared_types::pki::credentials::Credentials;
use shared_types::pki::eidas::{identify, organisation_of};
use shared_types::pki::pem::{Kind, Object, objects};
use shared_types::pki::revocation::{Issuers, List};
use shared_types::pki::trust::{
    Anchors, MAX_CERTIFICATES, Path, Usage, is_for_host, judge, validity,
};
use shared_types::xs2a::account::{AccountBalances, AccountList, AccountResponse};
use shared_types::xs2a::authorisation::{
    AuthorisationList, AuthorisationStarted, AuthorisationUpdated, ScaStatusResponse,
};
use shared_types::xs2a::card_account::{
    CardAccountBalances, CardAccountList, CardAccountResponse, CardTransactionsResponse,
};
use shared_types::xs2a::consent::{ConsentCreated, ConsentInformation};
use shared_types::xs2a::link::Links;
use shared_types::xs2a::message::TppMessages;
use shared_types::xs2a::money::Currency;
use shared_types::xs2a::transaction::{TransactionResponse, TransactionsResponse};
use uuid::Uuid;

use crate::address::follow;
use crate::authorisations::{NextStep, approach};
use crate::consents::StatusAnswer;
use crate::decode::{ValidateResponse, decode as decode_response};
use crate::error::{Error, ErrorKind};
use crate::probe::answer as probe_response;
use crate::retries::retry_after;
use crate::revocation::Revocation;
use crate::transport::is_json;

/// The body of an answer; the first byte chooses the type that is expected.
pub fn answer(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    match kind % 15 {
        0 => is_checked::<AccountList>(body),
        1 => is_checked::<AccountResponse>(body),
        2 => is_checked::<AccountBalances>(body),
        3 => is_checked::<TransactionsResponse>(body),
        4 => is_checked::<TransactionResponse>(body),
        5 => is_checked::<CardAccountList>(body),
        6 => is_checked::<CardAccountResponse>(body),
        7 => is_checked::<CardAccountBalances>(body),
        8 => is_checked::<CardTransactionsResponse>(body),
        9 => is_checked::<ConsentCreated>(body),
        10 => is_checked::<ConsentInformation>(body),
        11 => is_checked::<StatusAnswer>(body),
        12 => is_checked::<AuthorisationStarted>(body),
        13 => is_checked::<AuthorisationUpdated>(body),
        _ => {
            is_checked::<AuthorisationList>(body);
            is_checked::<ScaStatusResponse>(body);
        }
    }
}

/// The body of an error response, and the error that reports it.
pub fn refusal(data: &[u8]) {
    let Ok(TppMessages {
        tpp_messages: messages,
    }) = decode::<TppMessages>(data)
    else {
        return;
    };
    let error = Error {
        bank: "Bank B".to_owned(),
        kind: ErrorKind::Refused {
            status: 400,
            messages,
            request_id: Uuid::nil(),
            retry_after: None,
        },
    };
    assert!(!error.to_string().is_empty() && !error.advice().is_empty());
}

/// The header fields of an answer, a line each, and the links in a body.
pub fn head(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let _ = (is_json(&headers), approach(&headers));
    let now = DateTime::from_timestamp(1_795_576_344, 0).unwrap_or_default();
    let _ = retry_after(&headers, now);
    for value in headers.values() {
        if let Ok(link) = value.to_str() {
            stays(link);
        }
    }
    if let Ok(links) = decode::<Links>(data) {
        let _ = NextStep::of(&links, None);
        if let Some(next) = links.get("next") {
            stays(next);
        }
    }
}

/// The bytes that a server sends to a probe after the handshake, in two pieces.
pub fn probe_answer(data: &[u8]) {
    let (half, _) = data.split_at(data.len() / 2);
    let _ = probe_response::is_finished(half);
    if let Ok(response) = probe_response::parse(data)
        && let probe_response::Reaction::Refuses(reasons) = response.reaction
    {
        for reason in reasons {
            let text = reason.text.unwrap_or_default();
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
}

/// A server's certificates, and what it staples to its own: each behind its length in two bytes,
/// the staple last.
pub fn chain(data: &[u8]) {
    let mut rest = data;
    let mut certificates: Vec<CertificateDer<'_>> = Vec::new();
    while certificates.len() <= MAX_CERTIFICATES
        && let Some((length, after)) = rest.split_first_chunk::<2>()
        && let Some((one, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
    {
        certificates.push(one.into());
        rest = after;
    }
    let Some((leaf, above)) = certificates.split_first() else {
        return;
    };
    let _ = (CertificateSummary::of(leaf), validity(leaf), hosts(leaf));
    let identity = identify(leaf);
    let names = identity.iter().flat_map(|identity| {
        let of_nca = [&identity.nca_name, &identity.nca_id];
        of_nca.into_iter().chain(&identity.name)
    });
    for name in names.chain([&distinguished_name(leaf)]) {
        assert!(!name.chars().any(char::is_control), "{name:?}");
    }
    if let Ok(organisation) = organisation_of(leaf) {
        let shown = organisation.as_str();
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        assert_eq!(shown.parse(), Ok(organisation.clone()));
    }
    let _ = is_for_host(
        leaf,
        &ServerName::IpAddress(IpAddr::from([127, 0, 0, 1]).into()),
    );
    if let Ok(path) = judge(&WORLD.anchors, leaf, above, Usage::Server, NOW) {
        assert!(path.window.contains(NOW));
        let _ = Revocation::default().check(&path, rest, NOW);
    }
}

/// An OCSP answer that is stapled to a good certificate, and a revocation list.
pub fn staple(data: &[u8]) {
    let known = Revocation::default().check(&WORLD.path, data, NOW);
    // Only a response of the issuer counts: no other party can forge "good".
    if let Ok(until) = known {
        assert!(until >= NOW);
    }
    let _ = List::read(data.to_vec(), &WORLD.issuers);
}

/// A file of certificates, lists or keys.
pub fn pem(data: &[u8]) {
    for kind in [Kind::Certificate, Kind::RevocationList, Kind::PrivateKey] {
        match objects(kind, data) {
            Err(fault) => shown(&fault),
            Ok(found) => {
                let again = objects(kind, written(&found).as_bytes());
                let content = |object: Object| (object.kind, object.der);
                assert_eq!(
                    again.map(|again| again.into_iter().map(content).collect()),
                    Ok(found.into_iter().map(content).collect::<Vec<_>>())
                );
            }
        }
    }
    let _ = Anchors::from_pem(data).map_err(|fault| shown(&fault));
    let _ = Credentials::from_pem(data, data).map_err(|fault| shown(&fault));
    for list in List::read_all(data.to_vec(), &WORLD.issuers).unwrap_or_default() {
        let _ = list.map_err(|fault| shown(&fault));
    }
}

/// Objects as a PEM file.
fn written(objects: &[Object]) -> String {
    let written = objects.iter().map(|object| {
        let label = match object.kind {
            Kind::Certificate => "CERTIFICATE",
            Kind::RevocationList => "X509 CRL",
            Kind::PrivateKey => "PRIVATE KEY",
            Kind::Parameters => "EC PARAMETERS",
        };
        let base64 = BASE64_STANDARD.encode(&object.der);
        format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
    });
    written.collect::<Vec<_>>().concat()
}

/// What is understood is written and read again as the same, and has a form for logs; in whatever
/// pieces it arrives.
fn reads_back<T: DeserializeOwned + Serialize + PartialEq + Debug>(body: &[u8]) {
    let whole = shape(&[body]);
    let (half, rest) = body.split_at(body.len() / 2);
    assert_eq!(whole, shape(&[half, rest]));
    match whole.decode::<T>(body) {
        Ok(value) => {
            // Numbers beyond all bounds can be skipped, and are in no value.
            if let Ok(json) = serde_json::from_slice(body) {
                // A name that is there twice counts twice, and is one in the value.
                assert!(elements(&json) <= whole.elements());
            }
            let again = serde_json::to_vec(&value).map(|written| decode::<T>(&written));
            assert!(
                again.is_ok_and(|again| again.as_ref() == Ok(&value)),
                "{value:?}"
            );
        }
        Err(fault) => shown(&fault),
    }
}

/// The same as an answer of a bank, read by the policy of reading; an account holds euros. What
/// conforms is read without a deviation but for what is looked at once more after it was read.
fn is_checked<T: Serialize + PartialEq + Debug + ValidateResponse>(body: &[u8]) {
    reads_back::<T>(body);
    match decode_response::<T>("Bank B", body, &shape(&[body]), Some(Currency::EUR)) {
        Ok(answer) => answer.deviations.iter().for_each(shown),
        Err(fault) => {
            // What is strict is so whichever way it is read.
            shown(&fault);
        }
    }
}

fn shape(pieces: &[&[u8]]) -> Shape {
    let mut shape = Shape::default();
    for piece in pieces {
        shape.scan(piece);
    }
    shape
}

/// Elements of lists, all lists together.
fn elements(json: &Value) -> usize {
    match json {
        Value::Array(list) => list.len() + list.iter().map(elements).sum::<usize>(),
        Value::Object(fields) => fields.values().map(elements).sum(),
        _ => 0,
    }
}

fn shown(fault: &impl Display) {
    assert!(fault.to_string().len() < 4096, "{fault}");
}

fn stays(link: &str) {
    let Ok(base) = Url::parse("https://xs2a.bank-b.example:8443/psd2/") else {
        return;
    };
    for below in ["", "v1/accounts/a/transactions?page=1"] {
        if let Ok(page) = base.join(below)
            && let Ok(url) = follow(&base, &page, link)
        {
            assert_eq!(url.origin(), base.origin());
        }
    }
}

/// A good certificate with its authorities, all public, from when they were valid.
struct World {
    anchors: Anchors,
    path: Path,
    issuers: Issuers,
}

const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_795_576_344));

#[expect(
    clippy::expect_used,
    reason = "the files belong to this crate and contain no external data"
)]
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let root: CertificateDer<'static> = include_bytes!("../fuzz/world/root.der").as_slice().into();
    let issuing: CertificateDer<'static> = include_bytes!("../fuzz/world/issuing.der")
        .as_slice()
        .into();
    let leaf: CertificateDer<'static> = include_bytes!("../fuzz/world/leaf.der").as_slice().into();
    let anchors = Anchors::new(vec![root.clone()]).expect("a root");
    let path = judge(
        &anchors,
        &leaf,
        std::slice::from_ref(&issuing),
        Usage::Server,
        NOW,
    )
    .expect("a good path");
    let issuers = Issuers::new([&root, &issuing]);
    World {
        anchors,
        path,
        issuers,
    }
});

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// What fuzzing has found once is not to come back.
    #[test]
    fn the_corpus_holds() {
        type Target = (&'static str, fn(&[u8]));
        let targets: [Target; 7] = [
            ("answer", super::answer),
            ("refusal", super::refusal),
            ("head", super::head),
            ("probe_answer", super::probe_answer),
            ("chain", super::chain),
            ("staple", super::staple),
            ("pem", super::pem),
        ];
        for (name, target) in targets {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("fuzz/corpus")
                .join(name);
            let mut inputs = 0;
            for file in std::fs::read_dir(&folder).unwrap() {
                target(&std::fs::read(file.unwrap().path()).unwrap());
                inputs += 1;
            }
            assert!(inputs > 0, "{} is empty", folder.display());
        }
    }
}
