//! Certificates that name their holder as other authorities do: in other string types, with other
//! identifiers, twice.

use std::sync::Arc;

use bank_client::environment::Clock as _;
use bank_client::environment::SystemClock;
use bank_server::BankServer;
use bank_server::config::Config;
use fixtures::pki::der::{element, oid, parts, sequence};
use fixtures::pki::{Identity, Pki, bank_a};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::eidas::{Psd2Identity, identify, organisation_of};
use tests::banks::Banks;
use tests::foreign::{EXTENSIONS, SUBJECT, extension, name, reissued};
use tests::http::{STATUS_PATH, Tpp};
use tests::stores;

const ORGANIZATION_ID: &str = "2.5.4.97";
const ORGANIZATION: &str = "2.5.4.10";
const UTF8: u8 = 0x0C;
const QC_STATEMENTS: &str = "1.3.6.1.5.5.7.1.3";

/// Bank A's certificate with another subject.
fn named(pki: &Pki, subject: &[(&str, u8, &[u8])]) -> Identity {
    reissued(pki, &pki.bank_a.qwac, |parts| {
        parts[SUBJECT] = name(subject);
    })
}

fn leaf(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(identity.chain_pem.as_bytes()).unwrap()
}

/// Subject as it is read, or the reason for which it is refused.
fn read(pki: &Pki, subject: &[(&str, u8, &[u8])]) -> Result<Psd2Identity, String> {
    identify(&leaf(&named(pki, subject))).map_err(|error| error.to_string())
}

/// Other extensions in the place of those that are there.
type Change<'a> = &'a dyn Fn(&[Vec<u8>]) -> Vec<Vec<u8>>;

/// Text in each of the string types of a name.
fn in_each_type(text: &str) -> [(u8, Vec<u8>); 4] {
    let latin = text.chars().map(|one| u8::try_from(one).unwrap());
    [
        (UTF8, text.into()),
        (0x14, latin.collect()),
        (
            0x1E,
            text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        ),
        (
            0x1C,
            text.chars()
                .flat_map(|one| u32::from(one).to_be_bytes())
                .collect(),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_is_known_by_any_identifier_that_the_register_lists() {
    let banks = Banks::start().await;
    let pki = &banks.sandbox.pki;
    let ids = [
        "LEIXG-529900T8BM49AURSDO55",
        "NTRDE-HRB 12345",
        "VATDE-Größe 1",
    ];
    let with = |id: &str| {
        let (tag, octets) = in_each_type(id)[id.len() % 4].clone();
        named(pki, &[(ORGANIZATION_ID, tag, &octets)])
    };
    for id in ids {
        let answer = banks.at_b(&with(id)).get(STATUS_PATH, &[]).await;
        assert_eq!(answer.refusal(), "401 CERTIFICATE_BLOCKED", "{id}");
    }
    let mut register = pki.register.clone();
    register.organisations[0].other_identifiers =
        ids.iter().map(|id| id.parse().unwrap()).collect();
    banks.publish(&register).await;
    // One organisation, whatever its certificate names: what it got with one, it has with all.
    let tpp = banks.at_b(&with(ids[0]));
    let consent = banks.consent(&tpp).received().await;
    let path = format!("/v1/consents/{consent}/status");
    for identity in [
        with(ids[0]),
        with(ids[1]),
        with(ids[2]),
        pki.bank_a.qwac.clone(),
    ] {
        let answer = banks.at_b(&identity).get(&path, &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let other = banks.at_b(&pki.bank_r.qwac).get(&path, &[]).await;
    assert_eq!(other.refusal(), "403 CONSENT_UNKNOWN");
    let unlisted = named(pki, &[(ORGANIZATION_ID, UTF8, b"VATDE-2")]);
    let answer = banks.at_b(&unlisted).get(STATUS_PATH, &[]).await;
    assert_eq!(answer.refusal(), "401 CERTIFICATE_BLOCKED");
}

/// With a register, its name is shown; without one, a certificate has to bring a name along.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_no_legal_name() {
    let banks = Banks::start().await;
    let pki = &banks.sandbox.pki;
    let id = bank_a().id.unwrap();
    let nameless = named(pki, &[(ORGANIZATION_ID, UTF8, id.as_bytes())]);
    let answer = banks.at_b(&nameless).get(STATUS_PATH, &[]).await;
    assert_eq!(answer.refusal(), "403 CONSENT_UNKNOWN");

    let mut config = Config::read(&banks.folder.path().join("bank-b.toml")).unwrap();
    config.store.location = stores::empty(&banks.folder.path().join("other.db")).await;
    config.register.file = None;
    let clock = Arc::clone(&banks.clock);
    let bank = BankServer::new(config).clock(clock).start().await.unwrap();
    let ask = async |identity: Identity| {
        let tpp = Tpp::new(bank.xs2a_address(), identity);
        tpp.get(STATUS_PATH, &[]).await
    };
    for no_name in [id.as_str(), "125314", " ", "VATDE-1"] {
        let subject = [
            (ORGANIZATION_ID, UTF8, id.as_bytes()),
            (ORGANIZATION, UTF8, no_name.as_bytes()),
        ];
        let answer = ask(named(pki, &subject)).await;
        assert_eq!(answer.refusal(), "401 CERTIFICATE_INVALID", "{no_name}");
        let text = answer.json()["tppMessages"][0]["text"].to_string();
        assert!(text.contains("no legal name"), "{text}");
    }
    assert_eq!(ask(nameless).await.status, 401);
    assert_eq!(ask(pki.bank_a.qwac.clone()).await.status, 403);
    bank.stop().await;
}

#[test]
fn names_are_read_in_every_string_type() {
    let pki = &Pki::make(SystemClock.now()).unwrap();
    let (id, legal) = ("PSDDE-BAFIN-Ä 12", "Bänk für Größe");
    for ((tag, id_octets), (_, legal_octets)) in
        in_each_type(id).into_iter().zip(in_each_type(legal))
    {
        let subject = [
            (ORGANIZATION_ID, tag, id_octets.as_slice()),
            (ORGANIZATION, tag, legal_octets.as_slice()),
        ];
        let identity = read(pki, &subject).unwrap();
        assert_eq!(identity.organisation.as_str(), id, "{tag:#x}");
        assert_eq!(identity.name.as_deref(), Some(legal), "{tag:#x}");
        // As a client reads it that knows which bank it expects; and as logs show it.
        let leaf = leaf(&named(pki, &subject));
        assert_eq!(organisation_of(&leaf).unwrap().as_str(), id);
        let summary = CertificateSummary::of(&leaf);
        assert_eq!(summary.subject, format!("OID(2.5.4.97)={id}, O={legal}"));
    }
}

#[test]
fn what_is_there_twice_is_refused_as_ambiguous() {
    let pki = &Pki::make(SystemClock.now()).unwrap();
    let id = bank_a().id.unwrap();
    let id = (ORGANIZATION_ID, UTF8, id.as_bytes());
    let (one, other) = (
        (ORGANIZATION, UTF8, &b"One"[..]),
        (ORGANIZATION, UTF8, &b"Other"[..]),
    );
    let refused = |subject: &[(&str, u8, &[u8])]| read(pki, subject).unwrap_err();
    assert!(refused(&[id, id, one]).contains("more than one organizationIdentifier"));
    assert!(refused(&[id, one, other]).contains("more than one organizationName"));
    // The common name is a host, and not shown.
    let hosts = [
        ("2.5.4.3", UTF8, &b"a.example"[..]),
        ("2.5.4.3", UTF8, b"b.example"),
    ];
    assert!(read(pki, &[id, one, hosts[0], hosts[1]]).is_ok());

    // The statements of the certificate, whole, and each of them.
    let statements = |change: Change<'_>| {
        let identity = reissued(pki, &pki.bank_a.qwac, |content| {
            let all = parts(&parts(&content[EXTENSIONS])[0].clone());
            let all = sequence(&change(&all));
            content[EXTENSIONS] = element(0xA3, &all);
        });
        identify(&leaf(&identity)).map_err(|error| error.to_string())
    };
    let is_statements = |one: &Vec<u8>| parts(one)[0] == oid(QC_STATEMENTS);
    let twice_within = |id: &str| {
        let id = oid(id);
        statements(&|all| {
            let found = all.iter().find(|one| is_statements(one)).unwrap();
            let mut inner = parts(&parts(&parts(found)[1])[0]);
            let again = inner.iter().find(|one| parts(one)[0] == id).unwrap();
            inner.push(again.clone());
            let others = all.iter().filter(|one| !is_statements(one)).cloned();
            others
                .chain([extension(QC_STATEMENTS, false, &sequence(&inner))])
                .collect()
        })
    };
    assert!(statements(&<[Vec<u8>]>::to_vec).is_ok());
    let why = statements(&|all| {
        let again = all.iter().find(|one| is_statements(one)).cloned();
        all.iter().cloned().chain(again).collect()
    });
    assert!(
        why.unwrap_err()
            .contains("more than one of the QCStatements extension")
    );
    let why = twice_within("0.4.0.19495.2").unwrap_err();
    assert!(why.contains("more than one of the PSD2 statement"), "{why}");
    let why = twice_within("0.4.0.1862.1.6").unwrap_err();
    assert!(
        why.contains("more than one of the certificate's type"),
        "{why}"
    );
    assert!(twice_within("0.4.0.1862.1.1").is_ok(), "of no interest");
}
