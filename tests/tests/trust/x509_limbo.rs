//! C2SP's x509-limbo, where it is at hand: certificate paths that other implementations got wrong, by the judgement of
//! both ends. What is for servers is judged as the SDK judges a bank, what is for clients as the bank judges a TPP, and
//! each by the other end as well, which must not take it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bank_client::ServerRefusal;
use bank_client::revocation::Revocation;
use bank_client::test_util::judge_server;
use chrono::{DateTime, Utc};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::Deserialize;
use shared_types::pki::revocation::{Issuers, List, Statuses, UnknownStatus};
use shared_types::pki::trust::{Anchors, Usage, judge};

#[derive(Deserialize)]
struct Limbo {
    testcases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    validation_kind: String,
    trusted_certs: Vec<String>,
    untrusted_intermediates: Vec<String>,
    peer_certificate: String,
    validation_time: Option<DateTime<Utc>>,
    expected_result: String,
    expected_peer_name: Option<PeerName>,
    crls: Vec<String>,
}

#[derive(Deserialize)]
struct PeerName {
    value: String,
}

/// The cases: named by `X509_LIMBO`, or beside this repository. Without them, nothing is proved, and that is said.
fn cases() -> Option<Vec<Case>> {
    let beside = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/reference/x509-limbo.json"
    );
    let path = std::env::var_os("X509_LIMBO").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let Ok(text) = std::fs::read(&path) else {
        eprintln!(
            "NOT CHECKED against x509-limbo: there is none at {}",
            path.display()
        );
        return None;
    };
    let limbo: Limbo = serde_json::from_slice(&text).expect("x509-limbo is JSON");
    Some(limbo.testcases)
}

impl Case {
    /// Nothing, where it is let in; else why not.
    fn judged_by(&self, usage: Usage) -> Result<(), String> {
        let der = |pem: &String| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let trusted: Vec<_> = self.trusted_certs.iter().map(der).collect();
        let sent: Vec<_> = self.untrusted_intermediates.iter().map(der).collect();
        let leaf = der(&self.peer_certificate);
        let now = self.validation_time.unwrap_or_else(|| {
            // What has no time is about now, and about nothing that ends.
            DateTime::from_timestamp(1_795_000_000, 0).unwrap()
        });
        let issuers = Issuers::new(trusted.iter().chain(&sent));
        // What cannot be used as an anchor or a list is refused when it is configured.
        let anchors = Anchors::new(trusted).map_err(|fault| format!("anchor: {fault}"))?;
        let mut statuses = Statuses::default();
        for crl in &self.crls {
            let list = List::read(crl.clone().into_bytes(), &issuers)
                .map_err(|fault| format!("list: {fault}"))?;
            statuses
                .lists
                .add(list.into())
                .map_err(|fault| fault.to_string())?;
        }
        let unknown_status = if self.crls.is_empty() {
            UnknownStatus::SoftFail
        } else {
            UnknownStatus::HardFail
        };
        match usage {
            Usage::Client => {
                let seconds = u64::try_from(now.timestamp()).unwrap();
                let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
                judge(&anchors, &leaf, &sent, usage, now)
                    .and_then(|path| statuses.check(&path.links, unknown_status, now))
                    .map(|_| ())
                    .map_err(|refusal| refusal.to_string())
            }
            Usage::Server => {
                let expected = self.expected_peer_name.as_ref();
                let host = expected.map_or("any.example", |name| &name.value);
                let host = ServerName::try_from(host).unwrap();
                let chain: Vec<_> = std::iter::once(leaf).chain(sent).collect();
                let revocation = Revocation {
                    statuses,
                    unknown_status,
                };
                match judge_server(anchors, &chain, &host, revocation, now) {
                    // The host is judged last; here, none is expected.
                    Err(ServerRefusal::WrongName(_)) if expected.is_none() => Ok(()),
                    judged => judged.map_err(|refusal| refusal.to_string()),
                }
            }
        }
    }
}

/// RFC 5280, section 4, binds the CA that issues; section 6.1 is what a relying party checks. That a CA which was agreed
/// upon left an identifier out, or marked an extension otherwise, lets no party in that it did not mean to.
const FOR_CAS: &str = "binds CAs (RFC 5280, 4.1 and 4.2); not a step of 6.1";
/// Of the web's CAs: they are not ours, and the agreed ones follow ETSI EN 319 411 and 412.
const FOR_THE_WEB: &str = "CA/Browser Forum; RFC 5280 allows it";
/// The common name is never looked at for a host.
const NO_COMMON_NAME: &str = "hosts are in the alternative names alone (RFC 9525, 2)";
/// A wildcard for a public suffix is its CA's fault; the SDK goes by the bank's organisation as well.
const PUBLIC_SUFFIX: &str =
    "CA/Browser Forum, 3.2.2.6, binds CAs; there is no list of suffixes here";
const PARTY_IS_NO_CA: &str = "a party's certificate is not a CA's (ETSI EN 319 412-4)";

/// Where we differ, and the rule that is followed. A case that no longer differs has to go.
const DIFFERENT: &[(&str, &str)] = &[
    ("crl::crlnumber-critical", FOR_CAS),
    ("crl::crlnumber-missing", FOR_CAS),
    (
        "pathlen::max-chain-depth-0-exhausted",
        "our limit is six, and not configured",
    ),
    (
        "pathlen::max-chain-depth-1-exhausted",
        "our limit is six, and not configured",
    ),
    (
        "pathlen::validation-ignores-pathlen-in-leaf",
        PARTY_IS_NO_CA,
    ),
    ("rfc5280::aki::cross-signed-root-missing-aki", FOR_CAS),
    ("rfc5280::aki::intermediate-missing-aki", FOR_CAS),
    ("rfc5280::aki::leaf-missing-aki", FOR_CAS),
    ("rfc5280::ca-as-leaf", PARTY_IS_NO_CA),
    (
        "rfc5280::eku::ee-without-eku",
        "a website's certificate has an extended key usage (ETSI EN 319 412-4, 4.1)",
    ),
    (
        "rfc5280::nc::permitted-dns-match-noncritical",
        "constraints hold whether they are critical or not",
    ),
    (
        "rfc5280::pc::ica-noncritical-pc",
        "policy constraints hold whether they are critical or not",
    ),
    ("rfc5280::root-non-critical-basic-constraints", FOR_CAS),
    ("rfc5280::san::noncritical-with-empty-subject", FOR_CAS),
    (
        "rfc5280::san::underscore-dns",
        "the host is compared as it was configured",
    ),
    ("rfc5280::serial::too-long", FOR_CAS),
    ("rfc5280::serial::zero", FOR_CAS),
    ("rfc5280::ski::intermediate-missing-ski", FOR_CAS),
    ("rfc5280::ski::root-missing-ski", FOR_CAS),
    ("webpki::aki::root-with-aki-all-fields", FOR_THE_WEB),
    (
        "webpki::aki::root-with-aki-authoritycertissuer",
        FOR_THE_WEB,
    ),
    (
        "webpki::aki::root-with-aki-authoritycertserialnumber",
        FOR_THE_WEB,
    ),
    (
        "webpki::aki::root-with-aki-missing-keyidentifier",
        FOR_THE_WEB,
    ),
    ("webpki::aki::root-with-aki-ski-mismatch", FOR_THE_WEB),
    ("webpki::cn::case-mismatch", NO_COMMON_NAME),
    ("webpki::cn::ipv4-hex-mismatch", NO_COMMON_NAME),
    ("webpki::cn::ipv4-leading-zeros-mismatch", NO_COMMON_NAME),
    ("webpki::cn::ipv6-non-rfc5952-mismatch", NO_COMMON_NAME),
    ("webpki::cn::ipv6-uncompressed-mismatch", NO_COMMON_NAME),
    ("webpki::cn::ipv6-uppercase-mismatch", NO_COMMON_NAME),
    ("webpki::cn::not-in-san", NO_COMMON_NAME),
    ("webpki::cn::punycode-not-in-san", NO_COMMON_NAME),
    ("webpki::cn::utf8-vs-punycode-mismatch", NO_COMMON_NAME),
    ("webpki::eku::ee-anyeku", FOR_THE_WEB),
    ("webpki::eku::ee-critical-eku", FOR_THE_WEB),
    ("webpki::eku::root-has-eku", FOR_THE_WEB),
    (
        "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf",
        FOR_THE_WEB,
    ),
    (
        "webpki::forbidden-rsa-not-divisible-by-8-in-root",
        FOR_THE_WEB,
    ),
    (
        "webpki::san::public-suffix-multi-label-wildcard-san",
        PUBLIC_SUFFIX,
    ),
    (
        "webpki::san::public-suffix-private-namespace-wildcard-san",
        PUBLIC_SUFFIX,
    ),
    (
        "webpki::san::san-critical-with-nonempty-subject",
        FOR_THE_WEB,
    ),
];

/// Certificates of servers that are for clients as well, by their extended key usage; the first is for clients alone.
const FOR_CLIENTS_TOO: [&str; 7] = [
    "rfc5280::eku::ee-wrong-eku",
    "webpki::cryptographydotio-chain",
    "online::facebook.com",
    "online::amazon.com",
    "online::s3.amazonaws.com",
    "online::akamai.com",
    "online::docs.python.org",
];

#[test]
fn both_ends_judge_as_limbo_does_but_where_a_rule_says_otherwise() {
    let Some(cases) = cases() else { return };
    let mut different: BTreeMap<&str, String> = BTreeMap::new();
    for case in &cases {
        let (own, other) = match case.validation_kind.as_str() {
            "CLIENT" => (Usage::Client, Usage::Server),
            _ => (Usage::Server, Usage::Client),
        };
        let by_other = case.judged_by(other);
        let for_both = FOR_CLIENTS_TOO.contains(&case.id.as_str());
        assert_eq!(by_other.is_ok(), for_both, "{}: {by_other:?}", case.id);
        let judged = case.judged_by(own);
        if judged.is_ok() != (case.expected_result == "SUCCESS") {
            let outcome = judged.err().unwrap_or_else(|| "let in".to_owned());
            different.insert(&case.id, outcome);
        }
    }
    let known: BTreeMap<&str, &str> = DIFFERENT.iter().copied().collect();
    for (case, outcome) in &different {
        assert!(known.contains_key(case), "{case}: {outcome}");
    }
    for (case, rule) in &known {
        assert!(
            different.contains_key(case),
            "{case} no longer differs: {rule}"
        );
    }
    assert!(cases.len() >= 208, "{} cases", cases.len());
}
