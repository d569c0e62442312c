//! Hot reload of trust: a valid replacement takes effect, an invalid one changes nothing, and
//! both are told.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bank_client::environment::Clock as _;
use bank_server::config::{Config, RevocationConfig};
use bank_server::{BankServer, RunningBank};
use chrono::TimeDelta;
use fixtures::pki::{Identity, Wanted, bank_a};
use fixtures::scheme_ca::CaLevel;
use fixtures::world::Bank;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use shared_types::pki::register::{RegisterFile, Status};
use shared_types::pki::revocation::{
    Issuers, List, Lists, PathCertificate, Reason, RevocationStatus, Statuses, UnknownStatus,
};
use tests::banks::Banks;
use tests::files::{list_bundle, replace};
use tests::held_connection::HeldConnection;
use tests::http::alert;
use tests::operator;
use tests::sdk::BANK_A;
use tests::stores;
use tests::wait::wait_for;
use wiremock::matchers::path as at;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// New content of a file, and the expected report.
struct Replacement {
    file: PathBuf,
    content: Vec<u8>,
    says: &'static str,
}

/// Waits until the bank has rejected a change and reports that as the problem.
async fn refused(bank: &RunningBank, before: u64, says: &str) {
    wait_for(says, || {
        let report = bank.trust_report();
        let mut problems = report.problems.iter();
        (report.refusals > before && problems.any(|problem| problem.to_string().contains(says)))
            .then_some(())
    })
    .await;
}

fn without_the_issuing_ca(identity: &Identity) -> Vec<u8> {
    fixtures::pki::leaf_of(&identity.chain_pem)
        .unwrap()
        .into_bytes()
}

/// Bank B once more, with those lists alone: only the test changes anything, and no responder is
/// queried.
async fn bank_b(banks: &Banks, lists: &[String; 2]) -> Config {
    let folder = banks.folder.path();
    let mut config = Config::read(&folder.join("bank-b.toml")).unwrap();
    config.store.location = stores::empty(&folder.join("other.db")).await;
    config.revocation = RevocationConfig {
        lists: lists.to_vec(),
        refresh_interval_seconds: 1,
        ..RevocationConfig::default()
    };
    config
}

async fn start(banks: &Banks, config: Config) -> RunningBank {
    let clock = Arc::clone(&banks.clock);
    BankServer::new(config).clock(clock).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_good_changes_nothing_and_is_told() {
    let banks = Banks::start().await;
    let (folder, pki, now) = (banks.folder.path(), &banks.sandbox.pki, banks.clock.now());
    let lists = ["root", "issuing"].map(|which| folder.join(format!("{which}.crl")));
    let [root, list] = lists.clone();
    fs::write(root, pki.ca1.publish(CaLevel::Root, now).unwrap()).unwrap();
    let older = pki.ca1.publish(CaLevel::Issuing, now).unwrap();
    fs::write(&list, &older).unwrap();
    let named = lists.map(|path| path.to_str().unwrap().to_owned());
    let bank = &start(&banks, bank_b(&banks, &named).await).await;
    let mut held = HeldConnection::accepted(bank.xs2a_address(), &pki.bank_a.qwac);

    let certificate = folder.join("pki/bank-b/qwac.pem");
    let anchors = folder.join("pki/ca1/root.pem");
    let register = folder.join("pki/register.json");

    let before = bank.trust_report().changes;
    let current = pki.ca1.publish(CaLevel::Issuing, now).unwrap();
    replace(&list, &current);
    wait_for("the second list", || {
        (bank.trust_report().changes > before).then_some(())
    })
    .await;
    let mut forged = current.clone();
    *forged.last_mut().unwrap() ^= 1;
    let brief = Wanted {
        valid_for: TimeDelta::days(1),
        ..Wanted::default()
    };
    let expired = pki
        .enrol(&fixtures::pki::bank_b(), &brief, now - TimeDelta::days(10))
        .unwrap();
    let stale = {
        let long_ago = now - TimeDelta::days(1000);
        fixtures::scheme_ca::SchemeCa::open(&folder.join("scheme-ca/ca1"), TimeDelta::days(1))
            .unwrap()
            .publish(CaLevel::Issuing, long_ago)
            .unwrap()
    };
    let without_licences = {
        let mut without_licences: RegisterFile = pki.register.clone();
        for organisation in &mut without_licences.organisations {
            organisation.status = Status::Withdrawn;
        }
        serde_json::to_vec(&without_licences).unwrap()
    };
    let twice = {
        let mut twice = pki.register.clone();
        twice.organisations.push(twice.organisations[0].clone());
        serde_json::to_vec(&twice).unwrap()
    };

    let case = |file: &PathBuf, content: &[u8], says: &'static str| Replacement {
        file: file.clone(),
        content: content.to_vec(),
        says,
    };
    let cases = [
        case(&certificate, b"no certificate", "holds no certificate"),
        case(
            &certificate,
            pki.bank_a.qwac.chain_pem.as_bytes(),
            "a private key that does not fit",
        ),
        case(
            &certificate,
            &without_the_issuing_ca(&pki.bank_b.qwac),
            "no certificate of the issuing CA",
        ),
        case(&anchors, b"", "holds no certificate"),
        case(
            &anchors,
            pki.bank_a.qwac.chain_pem.as_bytes(),
            "is not a certification authority",
        ),
        case(
            &anchors,
            pki.ca2.root_pem().unwrap().as_bytes(),
            "no peer could connect",
        ),
        case(
            &list,
            b"<html>503</html>",
            "starts with \"<html>503</html>\"",
        ),
        case(&list, &current[..current.len() / 2], "cut off"),
        case(&list, &forged, "is not signed by"),
        case(&list, &older, "is at hand"),
        case(&list, &stale, "should have been replaced"),
        case(
            &list,
            &fs::read(folder.join("scheme-ca/ca2/published/issuing.crl")).unwrap(),
            "neither an anchor nor a known intermediate",
        ),
        case(&register, b"{}", "is no register"),
        case(&register, &twice, "more than once"),
        case(&register, &without_licences, "licenses no TPP"),
    ];
    for Replacement {
        file,
        content,
        says,
    } in cases
    {
        let good = fs::read(&file).unwrap();
        let report = bank.trust_report();
        replace(&file, &content);
        refused(bank, report.refusals, says).await;
        assert_eq!(bank.trust_report().changes, report.changes, "{says}");
        assert_eq!(held.get_status().status, 403, "{says}");
        let ready = operator::get(bank.operator_address(), "/health/ready");
        assert!(
            ready.starts_with("HTTP/1.1 200") && ready.contains("\"problems\":[\""),
            "{says}: {ready}"
        );
        let metrics = operator::get(bank.operator_address(), "/metrics");
        let refusals = format!("bank_trust_refusals_total {}\n", report.refusals + 1);
        assert!(metrics.contains(&refusals), "{says}: {metrics}");
        replace(&file, &good);
        wait_for("no more problems", || {
            bank.trust_report().problems.is_empty().then_some(())
        })
        .await;
    }

    // Certificate and key belong together; these two do, and are still no good.
    let key = folder.join("pki/bank-b/qwac.key");
    let good = (fs::read(&certificate).unwrap(), fs::read(&key).unwrap());
    let another = pki.enrol(&bank_a(), &Wanted::default(), now).unwrap();
    for (identity, says) in [
        (&expired, "expired at"),
        (&another, "and this bank is PSDFR-ACPR-20002"),
    ] {
        let report = bank.trust_report();
        fs::write(&key, &identity.key_pem).unwrap();
        replace(&certificate, identity.chain_pem.as_bytes());
        wait_for(says, || {
            let report = bank.trust_report();
            let mut problems = report.problems.iter();
            problems
                .any(|problem| problem.to_string().contains(says))
                .then_some(())
        })
        .await;
        assert_eq!(bank.trust_report().changes, report.changes, "{says}");
        fs::write(&key, &good.1).unwrap();
        replace(&certificate, &good.0);
        wait_for("no more problems", || {
            bank.trust_report().problems.is_empty().then_some(())
        })
        .await;
    }
    assert_eq!(held.get_status().status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_too_early_is_taken_in_its_time() {
    let banks = Banks::start().await;
    let bank = &banks.sandbox.bank(Bank::B).running;
    let (folder, pki) = (banks.folder.path(), &banks.sandbox.pki);
    let tomorrow = banks.clock.now() + TimeDelta::days(1);
    let next = pki
        .enrol(&fixtures::pki::bank_b(), &Wanted::default(), tomorrow)
        .unwrap();
    let report = bank.trust_report();
    fs::write(folder.join("pki/bank-b/qwac.key"), &next.key_pem).unwrap();
    replace(
        &folder.join("pki/bank-b/qwac.pem"),
        next.chain_pem.as_bytes(),
    );
    refused(bank, report.refusals, "not valid before").await;
    assert_eq!(bank.trust_report().changes, report.changes);
    banks.clock.advance(TimeDelta::days(2));
    wait_for("the new certificate", || {
        let report = bank.trust_report();
        (report.problems.is_empty() && report.changes > 0).then_some(())
    })
    .await;
    let shown = bank.trust().current().credentials.valid_until();
    let expected = shared_types::pki::trust::validity(
        &CertificateDer::from_pem_slice(next.chain_pem.as_bytes()).unwrap(),
    );
    assert_eq!(shown, expected.map(|window| window.until));
}

async fn publish(server: &MockServer, which: &str, answer: ResponseTemplate) {
    Mock::given(at(format!("/{which}.crl")))
        .respond_with(answer)
        .with_priority(1)
        .mount(server)
        .await;
}

fn list(content: Vec<u8>) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_bytes(content)
}

/// With soft-fail, a dropped list is a certificate that counts as not revoked.
#[tokio::test(flavor = "multi_thread")]
async fn every_list_of_a_file_counts() {
    let banks = Banks::start().await;
    let (folder, pki, now) = (banks.folder.path(), &banks.sandbox.pki, banks.clock.now());
    let published = |ca: &str, which: &str| {
        fs::read(folder.join(format!("scheme-ca/{ca}/published/{which}.crl"))).unwrap()
    };
    let root = pki.ca1.publish(CaLevel::Root, now).unwrap();
    let before = list_bundle(&[root.clone(), published("ca1", "issuing")]);
    let bank_b_runs = &banks.sandbox.bank(Bank::B).running;
    banks.revoke(bank_b_runs, &banks.serial_of_bank_a()).await;
    let revoking = published("ca1", "issuing");
    let after = list_bundle(&[root.clone(), revoking.clone()]);

    let file = folder.join("bundle.pem");
    let soft = async |lists: Vec<String>| {
        let mut config = bank_b(&banks, &[String::new(), String::new()]).await;
        config.revocation.unknown_status = UnknownStatus::SoftFail;
        config.revocation.allow_local_addresses = true;
        config.revocation.lists = lists;
        start(&banks, config).await
    };
    fs::write(&file, &before).unwrap();
    let bank = soft(vec![file.to_str().unwrap().to_owned()]).await;
    let mut held = HeldConnection::accepted(bank.xs2a_address(), &pki.bank_a.qwac);
    // One list that is no good is named, and does not keep the other out.
    let known = bank.trust_report().refusals;
    let foreign = published("ca2", "issuing");
    replace(&file, list_bundle(&[root.clone(), foreign, revoking]));
    refused(&bank, known, "(object 2, line ").await;
    assert_eq!(held.get_status().refusal(), "401 CERTIFICATE_REVOKE");
    assert_eq!(
        alert(bank.xs2a_address(), &pki.bank_a.qwac),
        "certificate_revoked"
    );
    bank.stop().await;

    // At the start, and over HTTP.
    fs::write(&file, &after).unwrap();
    let server = MockServer::start().await;
    publish(&server, "bundle", list(after.into_bytes())).await;
    for place in [
        file.to_str().unwrap().to_owned(),
        format!("{}/bundle.crl", server.uri()),
    ] {
        let bank = soft(vec![place]).await;
        assert_eq!(bank.trust_report().lists.len(), 2);
        assert_eq!(
            alert(bank.xs2a_address(), &pki.bank_a.qwac),
            "certificate_revoked"
        );
        bank.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_starts_has_asked_every_address() {
    let banks = Banks::start().await;
    let server = MockServer::start().await;
    let now = banks.clock.now();
    let slow = banks
        .sandbox
        .pki
        .ca1
        .publish(CaLevel::Issuing, now)
        .unwrap();
    // By the time that this one comes, the other was asked twice.
    let slow = list(slow).set_delay(Duration::from_millis(2500));
    publish(&server, "issuing", slow).await;
    publish(&server, "root", ResponseTemplate::new(404)).await;
    let lists = ["root", "issuing"].map(|which| format!("{}/{which}.crl", server.uri()));
    let mut config = bank_b(&banks, &lists).await;
    config.revocation.allow_local_addresses = true;
    let bank = start(&banks, config).await;
    assert_eq!(bank.trust_report().lists.len(), 1);
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_fetched_again_and_again() {
    let banks = Banks::start().await;
    let (folder, pki, now) = (banks.folder.path(), &banks.sandbox.pki, banks.clock.now());
    let server = MockServer::start().await;
    let root = pki.ca1.publish(CaLevel::Root, now).unwrap();
    let good = pki.ca1.publish(CaLevel::Issuing, now).unwrap();
    publish(&server, "root", list(root.clone())).await;
    publish(&server, "issuing", list(good.clone())).await;
    let mut config = bank_b(
        &banks,
        &["root", "issuing"].map(|which| format!("{}/{which}.crl", server.uri())),
    )
    .await;

    // This machine is not asked, unless that is meant.
    let bank = start(&banks, config.clone()).await;
    let report = bank.trust_report();
    assert!(report.closed, "{report:?}");
    let problems = format!("{:?}", report.problems);
    assert!(problems.contains("leads to 127.0.0.1"), "{problems}");
    let ready = operator::get(bank.operator_address(), "/health/ready");
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    bank.stop().await;

    config.revocation.allow_local_addresses = true;
    let bank = start(&banks, config).await;
    let mut held = HeldConnection::accepted(bank.xs2a_address(), &pki.bank_a.qwac);
    let page = "<!doctype html><title>Maintenance</title>";
    for (answer, says) in [
        (ResponseTemplate::new(404), "answered 404"),
        (
            ResponseTemplate::new(302).insert_header("Location", "/root.crl"),
            "answered 302",
        ),
        (
            ResponseTemplate::new(200).set_body_string(page),
            "starts with \"<!doctype html><title>Maintenance",
        ),
        (list(good[..good.len() - 1].to_vec()), "cut off"),
        (
            list(vec![0x30; List::MOST_BYTES + 1]),
            "more than 65536 KiB",
        ),
    ] {
        let before = bank.trust_report();
        server.reset().await;
        publish(&server, "root", list(root.clone())).await;
        publish(&server, "issuing", answer).await;
        refused(&bank, before.refusals, says).await;
        assert_eq!(held.get_status().status, 403, "{says}");
    }
    let serial = pki.ca1.serials_of(BANK_A).remove(0);
    pki.ca1
        .revoke(&serial, Reason::AffiliationChanged, "Rita", now)
        .unwrap();
    let revoked = fs::read(folder.join("scheme-ca/ca1/published/issuing.crl")).unwrap();
    server.reset().await;
    publish(&server, "root", list(root)).await;
    publish(&server, "issuing", list(revoked)).await;
    let (said, _) = tokio::task::spawn_blocking(move || held.until_the_end().join().unwrap())
        .await
        .unwrap();
    assert!(
        said.contains("CERTIFICATE_REVOKE") && said.contains("affiliationChanged"),
        "{said}"
    );
    bank.stop().await;
}

/// Each byte of a list is either covered by its signature or of no consequence.
#[tokio::test(flavor = "multi_thread")]
async fn no_changed_byte_of_a_list_goes_unnoticed() {
    let banks = Banks::start().await;
    let (pki, now) = (&banks.sandbox.pki, banks.clock.now());
    let serial = pki.ca1.serials_of(BANK_A).remove(0);
    pki.ca1
        .revoke(&serial, Reason::KeyCompromise, "Rita", now)
        .unwrap();
    let list = pki.ca1.publish(CaLevel::Issuing, now).unwrap();
    let first = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let issuing = first(&pki.ca1.issuing_pem().unwrap());
    let link = PathCertificate::between(&first(&pki.bank_a.qwac.chain_pem), &issuing).unwrap();
    let issuers = Issuers::new([&issuing]);
    let seconds = u64::try_from(now.timestamp()).unwrap();
    let now = rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let standing = |bytes: &[u8]| {
        let list = List::read(bytes.to_vec(), &issuers).ok()?;
        let mut statuses = Statuses::default();
        Lists::add(&mut statuses.lists, Arc::new(list)).unwrap();
        Some(statuses.status(&link, now))
    };
    let good = standing(&list).unwrap();
    assert!(matches!(
        good,
        RevocationStatus::Revoked {
            reason: Reason::KeyCompromise,
            ..
        }
    ));
    for place in 0..list.len() {
        let mut changed = list.clone();
        changed[place] ^= 0x01;
        let other = standing(&changed);
        assert!(
            other.is_none() || other == Some(good),
            "byte {place}: {other:?}"
        );
        assert_eq!(standing(&list[..place]), None, "cut at {place}");
    }
}
