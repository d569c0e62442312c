//! Paths from what a peer sends to an agreed anchor: what finding them costs, which certificates
//! count, and what a refusal says (RFC 5280, section 6.1).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bank_client::revocation::Revocation;
use bank_client::test_util::judge_server;
use bank_client::{Bank as BankHandle, ErrorKind};
use bank_server::config::HeaderForm;
use bank_server::transport::trust::TrustSnapshot;
use fixtures::openssl_client::Tls;
use fixtures::sandbox::present_certificate;
use fixtures::world::Bank;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Public};
use openssl::rsa::Rsa;
use openssl::x509::X509;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::json;
use shared_types::pki::revocation::UnknownStatus;
use shared_types::pki::trust::{Anchors, MAX_CERTIFICATES, Path, Refusal, Usage, judge};
use tests::banks::Banks;
use tests::gateway::GatewayListener;
use tests::held_connection::HeldConnection;
use tests::http::STATUS_PATH;
use tests::issuing::{
    Ca, Extension, MlDsa, VALID, both_ends, der, ders, identity, issue, issue_with, key, name,
    of_ca, of_party, organisation, signs, signs_certificates,
};
use tests::lone_bank::well;
use tests::sdk::{BANK_B, bank_builder, credentials};
use tests::tls_terminator::{self, Manners};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer};

/// 2026.
const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_795_000_000));

fn anchors(of: &[&X509]) -> Anchors {
    Anchors::new(ders(of)).unwrap()
}

fn judged(anchors: &Anchors, chain: &[&X509], usage: Usage) -> Result<Path, Refusal> {
    let chain = ders(chain);
    judge(anchors, &chain[0], &chain[1..], usage, NOW)
}

/// By both ends, which have to be of one opinion.
fn refusal(anchors: &Anchors, chain: &[&X509]) -> Option<String> {
    let of_bank = judged(anchors, chain, Usage::Client).err();
    let of_sdk = judge_server(
        anchors.clone(),
        &ders(chain),
        &ServerName::try_from("party.example").unwrap(),
        Revocation::default(),
        chrono::DateTime::from_timestamp(1_795_000_000, 0).unwrap(),
    );
    assert_eq!(of_bank.is_none(), of_sdk.is_ok(), "{of_bank:?}, {of_sdk:?}");
    of_bank.map(|refusal| refusal.to_string())
}

/// An RSA public key without a private one: good for what is to be expensive.
fn made_up_rsa(bits: i32) -> PKey<Public> {
    let mut modulus = BigNum::new().unwrap();
    modulus
        .rand(bits, openssl::bn::MsbOption::ONE, true)
        .unwrap();
    let exponent = BigNum::from_u32(0x1_0001).unwrap();
    PKey::from_rsa(Rsa::from_public_components(modulus, exponent).unwrap()).unwrap()
}

/// Certificates that any peer can send: one of no organisation, and CAs of one name that could all
/// have issued each other.
fn bombs(anchor: &Ca) -> Vec<(&'static str, Vec<X509>)> {
    let stranger = name("Stranger");
    let (one, leaf_key) = (key(), key());
    let leaf = |issuer: &openssl::x509::X509Name| {
        issue(&name("leaf"), &leaf_key, issuer, &one, VALID, &of_party())
    };
    let self_signed = |common: &openssl::x509::X509Name, count: usize| {
        let each = (0..count).map(|_| key());
        each.map(|key| issue(common, &key, common, &key, VALID, &of_ca()))
            .collect::<Vec<_>>()
    };
    let mut named_as_anchor = vec![leaf(&anchor.name)];
    named_as_anchor.extend(self_signed(&anchor.name, 10));
    let mut of_one_name = vec![leaf(&stranger)];
    of_one_name.extend(self_signed(&stranger, 10));
    // Three keys, each certified by each: every step upwards has three ways.
    let keys = [one.clone(), key(), key()];
    let mut crossed = vec![leaf(&stranger)];
    for of in &keys {
        for by in &keys {
            crossed.push(issue(&stranger, of, &stranger, by, VALID, &of_ca()));
        }
    }
    // The same below the anchor's name, which none of them has.
    let mut below_anchor = crossed.clone();
    for _ in 0..6 {
        below_anchor.push(issue(&stranger, &one, &anchor.name, &one, VALID, &of_ca()));
    }
    below_anchor.truncate(MAX_CERTIFICATES);
    // Large public keys without private ones.
    let signer = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut large = vec![issue(
        &name("leaf"),
        &leaf_key,
        &stranger,
        &signer,
        VALID,
        &of_party(),
    )];
    for bits in [8192, 8192, 8192, 8192, 8192, 16384, 16384] {
        let key = made_up_rsa(bits);
        large.push(issue(&stranger, &key, &stranger, &signer, VALID, &of_ca()));
    }
    let mut many = vec![leaf(&stranger)];
    many.extend(self_signed(&stranger, 40));
    vec![
        ("10 self-signed CAs of one name", of_one_name),
        ("10 self-signed CAs of the anchor's name", named_as_anchor),
        ("CAs that have issued each other", crossed),
        ("the same, below the anchor's name", below_anchor),
        ("keys of 8192 and 16384 bits", large),
        ("40 CAs", many),
    ]
}

/// Three CAs that an agreed one has certified, and each other as well: no path is good, and not all
/// are tried.
#[test]
fn more_paths_than_are_tried_are_refused_for_that() {
    let root = Ca::root("Root");
    let cas = ["One", "Two", "Three"].map(|common| (name(common), key()));
    let (issuer, issuing) = &cas[0];
    let mut chain = vec![issue(&name("leaf"), &key(), issuer, issuing, VALID, &[])];
    for (subject, of) in &cas {
        chain.push(issue(subject, of, &root.name, &root.key, VALID, &of_ca()));
        for (issuer, by) in cas.iter().filter(|(_, by)| !by.public_eq(of)) {
            chain.push(issue(subject, of, issuer, by, VALID, &of_ca()));
        }
    }
    let chain: Vec<&X509> = chain.iter().collect();
    let refused = judged(&anchors(&[&root.certificate]), &chain, Usage::Client);
    assert_eq!(refused.err(), Some(Refusal::TooManyPaths));
}

#[test]
fn what_a_stranger_sends_costs_at_most_ten_times_an_ordinary_chain() {
    let root = Ca::root("Root");
    let issuing = root.below("Issuing", &of_ca());
    let anchors = anchors(&[&root.certificate]);
    let (party, _) = issuing.party(&of_party());
    let ordinary = ders(&[&party, &issuing.certificate]);
    // The least of several: other work on the machine is no cost of the chain.
    let cost = |chain: &[CertificateDer<'static>], good: bool| {
        let runs = (0..9).map(|_| {
            let start = Instant::now();
            let judged = judge(&anchors, &chain[0], &chain[1..], Usage::Client, NOW);
            assert_eq!(judged.is_ok(), good, "{judged:?}");
            start.elapsed()
        });
        runs.min().unwrap()
    };
    let usual = cost(&ordinary, true);
    for (what, chain) in bombs(&root) {
        let chain = ders(&chain.iter().collect::<Vec<_>>());
        let cost = cost(&chain, false);
        eprintln!("{what}: {cost:?}, where an ordinary chain takes {usual:?}");
        // Sixteen certificates are read instead of two, and four signatures checked that do not
        // match.
        assert!(cost < usual * 10, "{what}: {cost:?} and {usual:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_certificates_are_refused_for_that_over_the_network_and_through_a_gateway() {
    let banks = Banks::start().await;
    let (leaf_key, stranger) = (key(), name("Stranger"));
    let leaf = issue(
        &name("leaf"),
        &leaf_key,
        &stranger,
        &leaf_key,
        VALID,
        &of_party(),
    );
    let cas: Vec<X509> = (0..MAX_CERTIFICATES)
        .map(|_| key())
        .map(|key| issue(&stranger, &key, &stranger, &key, VALID, &of_ca()))
        .collect();
    let chain: Vec<&X509> = std::iter::once(&leaf).chain(&cas).collect();
    let bank = banks.sandbox.bank(Bank::B);
    let shown = identity(&chain, &leaf_key);
    let (outcome, reason) = present_certificate(bank, Some(&shown), Tls::V1_3).await;
    assert_eq!(outcome, "alert bad_certificate", "{reason}");
    assert!(
        reason.contains("17 certificates were sent; at most 16"),
        "{reason}"
    );

    let gateway_listener = GatewayListener::start(&banks, HeaderForm::Rfc9440).await;
    let mut held = HeldConnection::open(gateway_listener.address(), &gateway_listener.gateway);
    let bytes = |one: &X509| {
        format!(
            ":{}:",
            openssl::base64::encode_block(&one.to_der().unwrap())
        )
    };
    let above: Vec<String> = cas.iter().take(8).map(bytes).collect();
    let headers = [
        ("Client-Cert", bytes(&leaf)),
        ("Client-Cert-Chain", above.join(", ")),
    ];
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let answer = held.get(STATUS_PATH, &headers).refusal();
    assert_eq!(answer, "401 CERTIFICATE_INVALID");
    gateway_listener.bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_take_ml_dsa() {
    let banks = Banks::start().await;
    let pki = &banks.sandbox.pki;
    let bank = banks.sandbox.bank(Bank::B);
    for parameters in MlDsa::ALL {
        let (root_key, key) = (MlDsa::new(parameters), MlDsa::new(parameters));
        let root_name = name("Root").to_der().unwrap();
        let root = root_key.issue(&root_name, &root_name, &root_key, &of_ca());
        let address = (
            "2.5.29.17",
            false,
            der(0x30, &[&der(0x87, &[&[127, 0, 0, 1]])]),
        );
        let extensions = [signs(), both_ends(), address];
        let party = root_key.issue(&organisation(BANK_B), &root_name, &key, &extensions);
        let shown = key.identity(&party);
        let anchors = Anchors::new(vec![root]).unwrap();

        // The bank believes the certificate: it misses a PSD2 statement in it, and says so over
        // HTTP.
        bank.running.trust().update(|snapshot| TrustSnapshot {
            anchors: Arc::new(anchors.clone()),
            unknown_status: UnknownStatus::SoftFail,
            ..snapshot.clone()
        });
        let address = bank.running.xs2a_address();
        let sdk = bank_builder(address, BANK_B, pki, &shown).build().unwrap();
        let error = sdk.with_consent("c").accounts(false).await.unwrap_err();
        assert!(
            matches!(error.kind, ErrorKind::Refused { status: 401, .. }),
            "ML-DSA-{parameters}: {error:?}"
        );

        // The SDK believes it, and asks.
        let (root, own) = (pki.ca1.root_pem().unwrap(), &pki.bank_a.qwac);
        let behind = MockServer::start().await;
        Mock::given(any())
            .respond_with(well(json!({ "accounts": [] })))
            .mount(&behind)
            .await;
        let front = tls_terminator::start(&shown, &root, *behind.address(), Manners::Honest).await;
        let url = format!("https://{front}");
        let sdk = BankHandle::builder(url, BANK_B.parse().unwrap(), anchors, credentials(own));
        let accounts = sdk.build().unwrap().with_consent("c").accounts(false).await;
        assert_eq!(*accounts.unwrap(), [], "{parameters}");
    }
}

/// Of no use to the path, and none of them right: expired, weak, of another CA, with a critical
/// extension.
fn useless(issuing: &Ca) -> Vec<X509> {
    let other = Ca::root("Other");
    let past = (VALID.0, VALID.0 + 86_400);
    let weak = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
    let (same_name, fresh) = (issuing.name.to_owned().unwrap(), key());
    vec![
        issue(
            &other.name,
            &other.key,
            &other.name,
            &other.key,
            past,
            &of_ca(),
        ),
        issue(&other.name, &weak, &other.name, &other.key, VALID, &of_ca()),
        issue(&same_name, &fresh, &other.name, &other.key, past, &of_ca()),
        issue(
            &same_name,
            &fresh,
            &same_name,
            &fresh,
            VALID,
            &[of_ca(), vec![("1.2.3.4", true, der(0x30, &[]))]].concat(),
        ),
    ]
}

#[test]
fn only_the_certificates_of_the_path_count() {
    let root = Ca::root("Root");
    let issuing = root.below("Issuing", &of_ca());
    let anchors = anchors(&[&root.certificate]);
    let (party, _) = issuing.party(&of_party());
    let bare = judged(&anchors, &[&party, &issuing.certificate], Usage::Client).unwrap();
    for extra in useless(&issuing) {
        for chain in [
            [&party, &extra, &issuing.certificate],
            [&party, &issuing.certificate, &extra],
        ] {
            let path = judged(&anchors, &chain, Usage::Client).unwrap();
            assert_eq!(path.window, bare.window, "the judgement stands as long");
            assert_eq!(path.links.len(), 2);
            assert_eq!(refusal(&anchors, &chain), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_useless_certificates_in_its_chain_is_let_in() {
    let banks = Banks::start().await;
    let bank = banks.sandbox.bank(Bank::B);
    let qwac = &banks.sandbox.pki.bank_a.qwac;
    let without = present_certificate(bank, Some(qwac), Tls::V1_3).await;
    assert!(without.0.starts_with("403"), "{without:?}");
    for extra in useless(&Ca::root("Any")) {
        let mut shown = qwac.clone();
        shown.chain_pem += std::str::from_utf8(&extra.to_pem().unwrap()).unwrap();
        assert_eq!(
            present_certificate(bank, Some(&shown), Tls::V1_3).await,
            without
        );
    }
}

/// A name in DER: one commonName.
fn directory(common: &str) -> Vec<u8> {
    name(common).to_der().unwrap()
}

/// nameConstraints: one subtree, permitted (0) or excluded (1).
fn constrained(kind: u8, tag: u8, base: &[u8]) -> Extension {
    let subtree = der(0x30, &[&der(tag, &[base])]);
    (
        "2.5.29.30",
        true,
        der(0x30, &[&der(0xa0 | kind, &[&subtree])]),
    )
}

/// nameConstraints: that many URIs of another host are excluded.
fn many_names(count: usize) -> Extension {
    let subtree = der(0x30, &[&der(0x86, &[b"b.c"])]).repeat(count);
    let subtrees = der(0xa1, &[&subtree]);
    ("2.5.29.30", true, der(0x30, &[&subtrees]))
}

/// certificatePolicies with the policies 1.2.3.N.
fn policies(last: &[u8]) -> Extension {
    let each: Vec<Vec<u8>> = last
        .iter()
        .map(|last| der(0x30, &[&der(0x06, &[&[0x2a, 3, *last]])]))
        .collect();
    let each: Vec<&[u8]> = each.iter().map(Vec::as_slice).collect();
    ("2.5.29.32", true, der(0x30, &each))
}

/// policyConstraints: a policy is required after so many certificates.
fn requires_policy(skipped: u8) -> Extension {
    ("2.5.29.36", true, der(0x30, &[&der(0x80, &[&[skipped]])]))
}

/// policyMappings: one policy is another.
fn maps(from: u8, to: u8) -> Extension {
    let policy = |last| der(0x06, &[&[0x2a, 3, last]]);
    (
        "2.5.29.33",
        true,
        der(0x30, &[&der(0x30, &[&policy(from), &policy(to)])]),
    )
}

/// extKeyUsage: anyExtendedKeyUsage, or code signing.
fn purpose(content: &[u8]) -> Extension {
    ("2.5.29.37", false, der(0x30, &[&der(0x06, &[content])]))
}

const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];

/// A name of the rule, what the issuing CA has besides, what the party has besides, and a part of
/// the refusal; nothing, if it is let in.
type Rule = (
    &'static str,
    Vec<Extension>,
    Vec<Extension>,
    Option<&'static str>,
);

fn rules() -> Vec<Rule> {
    let within = |common: &str, kind| vec![constrained(kind, 0xa4, &directory(common))];
    let mail = |host: &str| vec![constrained(0, 0x81, host.as_bytes())];
    let site = |host: &str| vec![constrained(0, 0x86, host.as_bytes())];
    let uri = |uri: &str| {
        (
            "2.5.29.17",
            false,
            der(
                0x30,
                &[
                    &der(0x82, &[b"party.example"]),
                    &der(0x86, &[uri.as_bytes()]),
                ],
            ),
        )
    };
    let not_for = Some("may not issue for the names in the certificate");
    vec![
        ("directoryName permitted", within("PARTY", 0), vec![], None),
        (
            "directoryName not permitted",
            within("other", 0),
            vec![],
            not_for,
        ),
        (
            "directoryName excluded",
            within("party", 1),
            vec![],
            not_for,
        ),
        (
            "directoryName elsewhere excluded",
            within("other", 1),
            vec![],
            None,
        ),
        (
            "mail permitted, none there",
            mail("party.example"),
            vec![],
            None,
        ),
        (
            "URI permitted",
            site(".party.example"),
            vec![uri("https://www.party.example/a?b#c")],
            None,
        ),
        (
            "URI of another host",
            site("party.example"),
            vec![uri("https://party.example@evil.example/")],
            not_for,
        ),
        (
            "critical policies",
            vec![policies(&[1])],
            vec![policies(&[1])],
            None,
        ),
        (
            "critical policies of the party alone",
            vec![],
            vec![policies(&[1])],
            None,
        ),
        (
            "a policy required and there",
            vec![policies(&[1]), requires_policy(0)],
            vec![policies(&[1])],
            None,
        ),
        (
            "a policy required and not there",
            vec![policies(&[1]), requires_policy(0)],
            vec![policies(&[2])],
            Some("demands a certificate policy"),
        ),
        (
            "a policy required and mapped",
            vec![policies(&[1]), maps(1, 2), requires_policy(0)],
            vec![policies(&[2])],
            None,
        ),
        (
            "a name and subtrees that are expensive to compare",
            vec![many_names(1000)],
            vec![uri(&format!(
                "https://{}@party.example",
                "a".repeat(15_000)
            ))],
            Some("too many name constraints and names to compare"),
        ),
        ("any purpose", vec![purpose(ANY_PURPOSE)], vec![], None),
        (
            "another purpose",
            vec![purpose(CODE_SIGNING)],
            vec![],
            Some("the CA CN=Issuing may not issue for client authentication"),
        ),
        (
            "critical, not understood",
            vec![("1.2.3.4", true, der(0x30, &[]))],
            vec![],
            Some("CN=Issuing has a critical extension that is not understood: 1.2.3.4"),
        ),
        (
            "critical, and must not be",
            vec![],
            vec![("2.5.29.35", true, der(0x30, &[]))],
            Some("authorityKeyIdentifier (2.5.29.35)"),
        ),
        (
            "malformed",
            vec![constrained(0, 0x87, &[1, 2, 3])],
            vec![(
                "2.5.29.17",
                false,
                der(0x30, &[&der(0x87, &[&[192, 0, 2, 1]])]),
            )],
            Some("nameConstraints (2.5.29.30) cannot be applied"),
        ),
        (
            "malformed",
            vec![],
            vec![("1.3.6.1.5.5.7.1.1", false, vec![0x05, 0x00])],
            Some("authorityInfoAccess (1.3.6.1.5.5.7.1.1) is malformed"),
        ),
    ]
}

#[test]
fn constraints_policies_and_purposes_are_judged_as_rfc_5280_says() {
    let root = Ca::root("Root");
    let anchors = anchors(&[&root.certificate]);
    for (what, of_issuing, of_leaf, expected) in rules() {
        let issuing = root.below("Issuing", &[of_ca(), of_issuing].concat());
        let mut extensions = of_party();
        extensions.retain(|(id, ..)| of_leaf.iter().all(|(other, ..)| id != other));
        extensions.extend(of_leaf);
        let (party, _) = issuing.party(&extensions);
        let refused = judged(&anchors, &[&party, &issuing.certificate], Usage::Client).err();
        let said = refused.map(|refusal| refusal.to_string());
        match expected {
            None => assert_eq!(said, None, "{what}"),
            Some(part) => assert!(
                said.as_ref().is_some_and(|said| said.contains(part)),
                "{what}: {said:?}"
            ),
        }
        if expected.is_none() {
            assert_eq!(
                refusal(&anchors, &[&party, &issuing.certificate]),
                None,
                "{what}"
            );
        }
    }
}

/// It would be missing among the anchors, in silence.
#[test]
fn an_anchor_that_no_path_could_lead_to_is_refused() {
    let root = Ca::root("Root").certificate.to_der().unwrap();
    let longer = [root.as_slice(), b"\n"].concat();
    let large = Ca::root_with("Root", &[of_ca(), vec![many_names(3000)]].concat());
    for (der, why) in [
        (longer, "certificate 2 cannot be read"),
        (large.certificate.to_der().unwrap(), "16384"),
    ] {
        let refused = Anchors::new(vec![root.clone().into(), der.into()]).unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
}

#[test]
fn a_ca_that_may_not_sign_certificates_has_issued_none() {
    let without = vec![tests::issuing::ca(), signs()];
    let root = Ca::root("Root");
    let issuing = root.below("Issuing", &without);
    let (party, _) = issuing.party(&of_party());
    let said = refusal(
        &anchors(&[&root.certificate]),
        &[&party, &issuing.certificate],
    )
    .unwrap();
    assert!(
        said.contains("the CA CN=Issuing may not sign certificates"),
        "{said}"
    );
    assert!(said.contains("keyCertSign"), "{said}");

    let root = Ca::root_with("Root", &without);
    let (party, _) = root.party(&of_party());
    let said = refusal(&anchors(&[&root.certificate]), &[&party]).unwrap();
    assert!(
        said.contains("the CA CN=Root may not sign certificates"),
        "{said}"
    );
}

#[test]
fn a_refusal_names_the_certificate_and_what_is_wrong_with_it() {
    let root = Ca::root("Root");
    let anchors = anchors(&[&root.certificate]);
    let mut chain = vec![root.below("CA 1", &of_ca())];
    for number in 2..=7 {
        let next = chain[chain.len() - 1].below(&format!("CA {number}"), &of_ca());
        chain.push(next);
    }
    for (count, expected) in [(6, None), (7, Some("more than 6 CA certificates"))] {
        let (party, _) = chain[count - 1].party(&of_party());
        let cas = chain.iter().take(count).rev().map(|ca| &ca.certificate);
        let sent: Vec<&X509> = [&party].into_iter().chain(cas).collect();
        let said = refusal(&anchors, &sent);
        assert_eq!(said.is_some(), expected.is_some(), "{said:?}");
        assert!(
            said.unwrap_or_default()
                .contains(expected.unwrap_or_default())
        );
    }

    let party = key();
    let with_sha1 = issue_with(
        &name("party"),
        &party,
        &root.name,
        &root.key,
        VALID,
        &of_party(),
        MessageDigest::sha1(),
    );
    let said = refusal(&anchors, &[&with_sha1]).unwrap();
    assert!(
        said.contains("CN=party is signed with ecdsa-with-SHA1 (1.2.840.10045.4.1)"),
        "{said}"
    );

    let stranger = key();
    let forged = issue(
        &name("party"),
        &party,
        &root.name,
        &stranger,
        VALID,
        &of_party(),
    );
    let said = refusal(&anchors, &[&forged]).unwrap();
    assert!(
        said.contains("CN=Root has not issued what carries its name, unless the one that is known here is another"),
        "{said}"
    );

    let (from, until) = (VALID.0, 1_790_000_000);
    let ended = issue(
        &root.name,
        &root.key,
        &root.name,
        &root.key,
        (from, until),
        &of_ca(),
    );
    let (below, _) = root.party(&of_party());
    let said = refusal(&self::anchors(&[&ended]), &[&below]).unwrap();
    assert_eq!(
        said,
        "the agreed authority's own certificate, CN=Root, is not valid at this time: expired at 2026-09-21T14:13:20+00:00"
    );

    let large = issue(
        &name("Large"),
        &made_up_rsa(16384),
        &root.name,
        &root.key,
        VALID,
        &of_ca(),
    );
    let below = issue(
        &name("party"),
        &party,
        &name("Large"),
        &stranger,
        VALID,
        &of_party(),
    );
    let said = refusal(&anchors, &[&below, &large]).unwrap();
    assert!(
        said.contains("the RSA key of CN=Large has 16384 bits; at most 8192"),
        "{said}"
    );
    let short = issue(
        &name("party"),
        &made_up_rsa(2047),
        &root.name,
        &root.key,
        VALID,
        &of_party(),
    );
    let said = refusal(&anchors, &[&short]).unwrap();
    assert!(said.contains("RSA with 2047 bits"), "{said}");

    let short = root.below(
        "Short",
        &[
            vec![(
                "2.5.29.19",
                true,
                der(0x30, &[&der(0x01, &[&[0xff]]), &der(0x02, &[&[0]])]),
            )],
            vec![signs_certificates()],
        ]
        .concat(),
    );
    let below = short.below("Below", &of_ca());
    let (party, _) = below.party(&of_party());
    let said = refusal(&anchors, &[&party, &below.certificate, &short.certificate]).unwrap();
    assert!(
        said.contains("than the CA CN=Short allows: at most 0 CAs below it"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_with_critical_policies_proves_its_key_over_both_versions_of_tls() {
    let banks = Banks::start().await;
    let bank = banks.sandbox.bank(Bank::B);
    let root = Ca::root("Root");
    let anchors = Arc::new(anchors(&[&root.certificate]));
    let trust = bank.running.trust();
    trust.update(|snapshot| TrustSnapshot {
        anchors,
        unknown_status: UnknownStatus::SoftFail,
        ..snapshot.clone()
    });
    let (party, party_key) = root.party(&[of_party(), vec![policies(&[1])]].concat());
    let shown = identity(&[&party], &party_key);
    for tls in [Tls::V1_2, Tls::V1_3] {
        let (outcome, reason) = present_certificate(bank, Some(&shown), tls).await;
        assert_eq!(outcome, "401 CERTIFICATE_INVALID", "{tls:?}: {reason}");
        assert!(
            reason.contains("organizationIdentifier"),
            "{tls:?}: {reason}"
        );
    }
}
