//! Revocation lists as other authorities write them: what is odd is read where its meaning is
//! clear, and refused with a reason where it is not. No oddity makes a revoked certificate pass.

use std::fs;
use std::sync::{Arc, LazyLock};

use bank_client::ErrorKind;
use bank_client::environment::{Clock as _, SystemClock};
use bank_client::revocation::Revocation;
use bank_server::BankServer;
use bank_server::config::{Config, RevocationConfig};
use fixtures::pki::Pki;
use fixtures::pki::der::{element, oid, sequence};
use fixtures::scheme_ca::CaLevel;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::pki::revocation::{
    Issuers, List, PathCertificate, Reason, RevocationStatus, Statuses,
};
use tests::banks::Banks;
use tests::files::replace;
use tests::foreign::{
    ENUMERATED, ForeignList, INTEGER, SERIAL, extension, link_of, reissued, rewritten,
};
use tests::http::{STATUS_PATH, Tpp, alert};
use tests::sdk::{BANK_B, bank_builder};
use tests::stores;
use tests::wait::wait_for;

static PKI: LazyLock<Pki> = LazyLock::new(|| Pki::make(SystemClock.now()).unwrap());

const REASON: &str = "2.5.29.21";
const ISSUING_DISTRIBUTION_POINT: &str = "2.5.29.28";
/// A serial number without a certificate.
const UNKNOWN: &str = "2.25.4711";

fn issuers() -> Issuers {
    let pem = PKI.ca1.issuing_pem().unwrap();
    Issuers::new([&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()])
}

fn bank_a() -> PathCertificate {
    link_of(&PKI, &PKI.bank_a.qwac)
}

fn new() -> ForeignList {
    ForeignList::new(&PKI.ca1)
}

/// Status of a certificate by that list alone, or the reason for which the list is refused.
fn standing_of(link: &PathCertificate, list: Vec<u8>) -> Result<RevocationStatus, String> {
    let list = List::read(list, &issuers()).map_err(|error| error.to_string())?;
    let mut statuses = Statuses::default();
    statuses.lists.add(Arc::new(list)).unwrap();
    let seconds = SystemClock.now().timestamp().unsigned_abs();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    Ok(statuses.status(link, now))
}

fn standing(link: &PathCertificate, list: &ForeignList) -> Result<RevocationStatus, String> {
    standing_of(link, list.signed(&PKI.ca1))
}

#[track_caller]
fn is_revoked(link: &PathCertificate, list: &ForeignList) {
    let found = standing(link, list);
    assert!(
        matches!(found, Ok(RevocationStatus::Revoked { .. })),
        "{found:?}"
    );
}

#[track_caller]
fn is_good(link: &PathCertificate, list: &ForeignList) {
    let found = standing(link, list);
    assert!(
        matches!(found, Ok(RevocationStatus::Good { .. })),
        "{found:?}"
    );
}

#[track_caller]
fn is_refused(list: &ForeignList, why: &str) {
    let reason = standing(&bank_a(), list).unwrap_err();
    assert!(reason.contains(why), "{reason}");
}

/// Both ends that are shown such a list turn the certificate away; it is not taken for "not
/// revoked".
#[tokio::test(flavor = "multi_thread")]
async fn a_serial_number_with_zeros_in_front_is_out() {
    let banks = Banks::start().await;
    let (folder, pki) = (banks.folder.path(), &banks.sandbox.pki);
    let file = folder.join("foreign.crl");
    fs::write(&file, ForeignList::new(&pki.ca1).signed(&pki.ca1)).unwrap();
    let mut config = Config::read(&folder.join("bank-b.toml")).unwrap();
    config.store.location = stores::empty(&folder.join("foreign.db")).await;
    let root = folder.join("scheme-ca/ca1/published/root.crl");
    let lists = [&root, &file].map(|list| list.to_str().unwrap().to_owned());
    config.revocation = RevocationConfig {
        lists: lists.to_vec(),
        ..RevocationConfig::default()
    };
    let clock = Arc::clone(&banks.clock);
    let bank = BankServer::new(config).clock(clock).start().await.unwrap();
    let address = bank.xs2a_address();
    let a = &pki.bank_a.qwac;
    let asked = Tpp::new(address, a.clone()).get(STATUS_PATH, &[]).await;
    assert_eq!(asked.status, 403, "{asked:?}");

    let padded = [&[0, 0], link_of(pki, a).serial.as_slice()].concat();
    let list = ForeignList::new(&pki.ca1).entry(&padded, &[]);
    let before = bank.trust_report().changes;
    replace(&file, list.signed(&pki.ca1));
    wait_for("the list", || {
        (bank.trust_report().changes > before).then_some(())
    })
    .await;
    assert_eq!(alert(address, a), "certificate_revoked");

    let handle = |list: ForeignList| {
        let pem = pki.ca1.issuing_pem().unwrap();
        let issuing = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let list = List::read(list.signed(&pki.ca1), &Issuers::new([&issuing])).unwrap();
        let mut statuses = Statuses::default();
        statuses.lists.add(Arc::new(list)).unwrap();
        let revocation = Revocation {
            statuses,
            ..Revocation::default()
        };
        bank_builder(address, BANK_B, pki, &pki.bank_r.qwac)
            .revocation(revocation)
            .build()
            .unwrap()
    };
    let ask = async |list| handle(list).consent_status("none").await.unwrap_err().kind;
    let asked = ask(ForeignList::new(&pki.ca1)).await;
    assert!(
        matches!(asked, ErrorKind::Refused { status: 403, .. }),
        "{asked:?}"
    );
    let padded = [&[0, 0], link_of(pki, &pki.bank_b.qwac).serial.as_slice()].concat();
    let asked = ask(ForeignList::new(&pki.ca1).entry(&padded, &[])).await;
    let ErrorKind::WeRefused { reason, .. } = &asked else {
        panic!("{asked:?}");
    };
    assert!(reason.to_string().contains("revoked by"), "{reason}");
    bank.stop().await;
}

#[test]
fn serial_numbers_are_compared_as_numbers() {
    let a = bank_a();
    is_good(&a, &new().entry(&[1], &[]));
    for zeros in [1, 2, 5, 200] {
        let padded = [vec![0; zeros], a.serial.clone()].concat();
        is_revoked(&a, &new().entry(&padded, &[]));
    }
    // And where it is the certificate that has them, or a number that is negative, zero, or longer
    // than 20 octets.
    let long = [&[0x4A; 20][..], &[7]].concat();
    let longer = vec![0x4A; 300];
    for (in_certificate, in_list) in [
        (&[0, 0, 0x2A][..], &[0x2A][..]),
        (&[0x2A], &[0, 0, 0x2A]),
        (&[0x00, 0x8A, 1], &[0x8A, 1]),
        (&[0x8A, 1], &[0x8A, 1]),
        (&[0x8A, 1], &[0xFF, 0xFF, 0x8A, 1]),
        (&[0], &[0, 0]),
        (&long, &long),
        (&longer, &longer),
        (&long, &[&[0], long.as_slice()].concat()),
    ] {
        let odd = reissued(&PKI, &PKI.bank_a.qwac, |parts| {
            parts[SERIAL] = element(INTEGER, in_certificate);
        });
        let odd = link_of(&PKI, &odd);
        assert_eq!(odd.serial, in_certificate);
        is_revoked(&odd, &new().entry(&[1], &[]).entry(in_list, &[]));
        is_good(&odd, &new().entry(&a.serial, &[]));
    }
}

#[test]
fn a_list_is_not_lost_for_one_odd_entry() {
    let a = bank_a();
    for odd in [vec![0x4A; 21], vec![0x4A; 200], vec![0xFF, 0x80], vec![]] {
        is_revoked(&a, &new().entry(&odd, &[]).entry(&a.serial, &[]));
        is_revoked(&a, &new().entry(&a.serial, &[]).entry(&odd, &[]));
        is_good(&a, &new().entry(&odd, &[]));
    }
    // Nor the certificate for a time that cannot be read.
    let mut list = new();
    let nonsense = sequence(&[element(INTEGER, &a.serial), element(0x17, b"yesterday")]);
    list.entries.push(nonsense);
    is_revoked(&a, &list);
}

#[test]
fn who_is_listed_twice_or_removed_is_revoked() {
    let a = bank_a();
    let reason = |code: u8| [extension(REASON, false, &element(ENUMERATED, &[code]))];
    let twice = new()
        .entry(&a.serial, &reason(6))
        .entry(&[1], &[])
        .entry(&a.serial, &reason(8));
    let found = standing(&a, &twice).unwrap();
    let RevocationStatus::Revoked { reason: first, .. } = found else {
        panic!("{found:?}");
    };
    assert_eq!(first, Reason::CertificateHold);
    // removeFromCRL has no meaning in a list that is complete.
    is_revoked(&a, &new().entry(&a.serial, &reason(8)));
}

#[test]
fn a_list_speaks_for_those_that_it_says() {
    const ONLY_USERS: u8 = 0x81;
    const ONLY_CAS: u8 = 0x82;

    let a = bank_a();
    let is_true = |tag: u8| element(tag, &[0xFF]);
    let point =
        |parts: &[Vec<u8>]| new().extension(ISSUING_DISTRIBUTION_POINT, true, &sequence(parts));
    is_good(&a, &point(&[is_true(ONLY_USERS)]));
    is_revoked(&a, &point(&[is_true(ONLY_USERS)]).entry(&a.serial, &[]));
    // Of others, it says nothing; but whom it names is revoked.
    let found = standing(&a, &point(&[is_true(ONLY_CAS)]));
    assert_eq!(found, Ok(RevocationStatus::Unknown));
    is_revoked(&a, &point(&[is_true(ONLY_CAS)]).entry(&a.serial, &[]));
    let place = |uri: &str| {
        let names = element(0xA0, &element(0x86, uri.as_bytes()));
        point(&[element(0xA0, &names), is_true(ONLY_USERS)])
    };
    is_good(&a, &place("http://ca1.example/issuing.crl"));
    let found = standing(&a, &place("http://ca1.example/other.crl"));
    assert_eq!(found, Ok(RevocationStatus::Unknown));
    // FALSE, where it should have been left out.
    is_good(&a, &point(&[element(0x84, &[0]), element(0x85, &[0])]));

    let relative = element(0xA0, &element(0xA1, &[]));
    let directory = element(0xA0, &element(0xA0, &element(0xA4, &[])));
    for (parts, why) in [
        (
            vec![is_true(ONLY_USERS), is_true(ONLY_CAS)],
            "for all others alone",
        ),
        (
            vec![element(0x83, &[0, 0x60])],
            "is a list for some reasons only",
        ),
        (vec![is_true(0x84)], "is an indirect list"),
        (vec![is_true(0x85)], "is a list of attribute certificates"),
        (vec![relative], "is a list for a relative name"),
        (vec![directory], "is a list for a place that is no URL"),
        (vec![is_true(0x99)], "cannot be read"),
    ] {
        is_refused(&point(&parts), why);
    }
}

#[test]
fn the_issuers_name_is_compared_as_text() {
    let a = bank_a();
    let mut list = new().entry(&a.serial, &[]);
    list.issuer = rewritten(&list.issuer);
    is_revoked(&a, &list);
    list.entries.clear();
    is_good(&a, &list);
    // Another name is another CA, whichever key has signed.
    let digit = list.issuer.windows(4).position(|four| four == b"\0A\x001");
    list.issuer[digit.unwrap() + 3] = b'2';
    is_refused(&list, "neither an anchor nor a known intermediate");
}

#[test]
fn what_is_critical_and_not_understood_makes_a_list_useless() {
    let a = bank_a();
    is_good(&a, &new().extension(UNKNOWN, false, b""));
    is_refused(
        &new().extension(UNKNOWN, true, b""),
        "critical extension that is not understood, 2.25.4711",
    );
    let entry = |is_critical| new().entry(&[0x2A], &[extension(UNKNOWN, is_critical, b"")]);
    is_good(&a, &entry(false));
    is_refused(&entry(true), "2.25.4711 in the entry of the certificate 2a");
    let issuer = extension("2.5.29.29", true, &sequence(&[]));
    is_refused(&new().entry(&[0x2A], &[issuer]), "is an indirect list");
    let number = element(INTEGER, &[1]);
    is_refused(
        &new().extension("2.5.29.27", true, &number),
        "is a delta list",
    );
    is_refused(
        &new().extension("2.5.29.20", false, &number),
        "2.5.29.20 twice",
    );
}

#[test]
fn what_is_wrong_with_a_list_is_said_with_what_mends_it() {
    let a = bank_a();
    // Version 1 has no extensions, and is as good.
    let mut first = new().entry(&a.serial, &[]);
    (first.version, first.extensions) = (Vec::new(), Vec::new());
    is_revoked(&a, &first);
    let mut endless = new();
    endless.next_update = Vec::new();
    is_refused(&endless, "openssl ca -gencrl -crldays");
    let mut third = new();
    third.version = element(INTEGER, &[2]);
    is_refused(&third, "version that is not known");
    // Signed with SHA-1, as the algorithm says; the signature itself is not looked at.
    let content = new().content();
    let mut parts = fixtures::pki::der::parts(&content);
    parts[1] = sequence(&[oid("1.2.840.113549.1.1.5"), element(0x05, &[])]);
    let weak = sequence(&[
        sequence(&parts),
        parts[1].clone(),
        element(0x03, &[0, 1, 2, 3]),
    ]);
    let reason = standing_of(&a, weak).unwrap_err();
    assert!(
        reason.contains("SHA-1 (sha1WithRSAEncryption)")
            && reason.contains("openssl ca -gencrl -md sha256")
            && reason.contains("CA1 Issuing CA"),
        "{reason}"
    );
    let signed = PKI.ca1.sign_as_is(CaLevel::Issuing, &sequence(&parts), &[]);
    let reason = standing_of(&a, signed.unwrap()).unwrap_err();
    assert!(reason.contains("two signature algorithms"), "{reason}");
}
