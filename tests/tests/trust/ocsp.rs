//! The bank asks the responder that a certificate names; the responder is OpenSSL's.

use std::fs;
use std::process::Stdio;
use std::sync::Arc;

use bank_client::ErrorKind;
use bank_client::environment::{Clock as _, ManualClock};
use bank_client::revocation::Revocation;
use chrono::TimeDelta;
use fixtures::scheme_ca::CaLevel;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use shared_types::pki::revocation::ocsp::{Answer, AnswerError, Question};
use shared_types::pki::revocation::{
    Answers, Issuers, List, PathCertificate, Reason, Statuses, UnknownStatus,
};
use tests::held_connection::HeldConnection;
use tests::openssl_responder::{Bank, World, serial_of};
use tests::ports;
use tests::programs::{both, system};
use tests::sdk::{BANK_B, bank_builder};
use tests::wait::{wait_for, wait_until};

const IN: &str = "HTTP/1.1 403";
const NOTHING_FRESH: &str = "nothing fresh from";

#[tokio::test(flavor = "multi_thread")]
async fn good_revoked_and_unknown_are_told_apart() {
    let world = World::make();
    let (a, r, d) = (
        &world.pki.bank_a.qwac,
        &world.pki.bank_r.qwac,
        &world.pki.bank_b.qwac,
    );
    let revoked_at = world.clock.now() - TimeDelta::hours(1);
    world.index(&[a], &[(r, revoked_at, "keyCompromise")]);
    let responder = world.respond_as_ca(&["-nmin", "60"]);
    let bank = world.bank("hard-fail", "").await;
    assert_eq!(bank.ask(a).await, IN);
    let reason = bank.ask(r).await;
    assert!(
        reason.contains("revoked by") && reason.contains("keyCompromise"),
        "{reason}"
    );
    assert_eq!(
        bank.ask(r).await,
        "alert certificate_revoked",
        "what is known is told in the handshake"
    );
    let reason = bank.ask(d).await;
    assert!(reason.contains("does not know the certificate"), "{reason}");
    // What it has said stays known when it says no more.
    drop(responder);
    assert_eq!(bank.ask(a).await, IN);
    assert_eq!(bank.ask(r).await, "alert certificate_revoked");
    bank.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_fresh_answer_the_configuration_decides() {
    let world = World::make();
    let a = &world.pki.bank_a.qwac;
    let decided = async || {
        let (strict, lenient) = (
            world.bank_that_waits(1, "hard-fail", "").await,
            world.bank_that_waits(1, "soft-fail", "").await,
        );
        let reason = strict.ask(a).await;
        assert!(reason.contains(NOTHING_FRESH), "{reason}");
        assert_eq!(lenient.ask(a).await, IN);
        strict.running.stop().await;
        lenient.running.stop().await;
    };
    // No responder listens.
    decided().await;
    // A responder that never answers.
    let silent = ports::listen(world.responder).await;
    decided().await;
    drop(silent);
    // A responder that answers something else.
    let answers = wiremock::MockServer::builder()
        .listener(ports::listen(world.responder).await)
        .start()
        .await;
    let page = wiremock::ResponseTemplate::new(200).set_body_string("<html>no OCSP here</html>");
    wiremock::Mock::given(wiremock::matchers::any())
        .respond_with(page)
        .mount(&answers)
        .await;
    decided().await;
    answers.reset().await;
    let large = wiremock::ResponseTemplate::new(200).set_body_bytes(vec![0x30; 64 * 1024 + 1]);
    wiremock::Mock::given(wiremock::matchers::any())
        .respond_with(large)
        .mount(&answers)
        .await;
    decided().await;
}

/// Only the CA, or whom it has appointed, may say how its certificates stand.
#[tokio::test(flavor = "multi_thread")]
async fn the_signer_has_to_be_appointed() {
    let world = World::make();
    let a = &world.pki.bank_a.qwac;
    world.index(&[a], &[]);
    let usage = "extendedKeyUsage=OCSPSigning\n";
    let (no_check, appointed) = (format!("{usage}noCheck=ignored\n"), usage.to_owned());
    let strangers = [
        (world.path("ca2/issuing.pem"), world.path("ca2/issuing.key")),
        (
            world.path("pki/bank-r/qwac.pem"),
            world.path("pki/bank-r/qwac.key"),
        ),
        world.delegate("server", "extendedKeyUsage=serverAuth\nnoCheck=ignored\n"),
        // Appointed, but nothing says that its own certificate was not revoked.
        world.delegate("unknown", &appointed),
    ];
    for (number, stranger) in strangers.iter().enumerate() {
        let responder = world.respond((&stranger.0, &stranger.1), &["-nmin", "60"]);
        let bank = world.bank("hard-fail", "").await;
        let reason = bank.ask(a).await;
        assert!(reason.contains(NOTHING_FRESH), "{number}: {reason}");
        bank.running.stop().await;
        drop(responder);
    }
    let delegate = world.delegate("appointed", &no_check);
    let _responder = world.respond((&delegate.0, &delegate.1), &["-nmin", "60"]);
    let bank = world.bank("hard-fail", ", nonce_required = true").await;
    assert_eq!(
        bank.ask(a).await,
        IN,
        "OpenSSL's responder echoes the nonce"
    );
    bank.running.stop().await;
}

/// Our own client goes by what the bank staples, and by lists it is given.
#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_knows_a_revoked_bank() {
    let world = World::make();
    let b = &world.pki.bank_b.qwac;
    world.index(&[b, &world.pki.bank_a.qwac], &[]);
    let _responder = world.respond_as_ca(&["-nmin", "60"]);
    let now = world.clock.now();
    let list = |which| {
        let authorities = [
            first(world.pki.ca1.root_pem().unwrap().as_bytes()),
            first(world.pki.ca1.issuing_pem().unwrap().as_bytes()),
        ];
        let list = world.pki.ca1.publish(which, now).unwrap();
        Arc::new(List::read(list, &Issuers::new(&authorities)).unwrap())
    };
    let knowing = |lists: Vec<Arc<List>>| {
        let mut statuses = Statuses::default();
        for list in lists {
            statuses.lists.add(list).unwrap();
        }
        Revocation {
            statuses,
            unknown_status: UnknownStatus::HardFail,
        }
    };
    let (stapling, silent) = (
        world.bank("hard-fail", ", stapling = true").await,
        world.bank("hard-fail", "").await,
    );
    let handle = |bank: &Bank| {
        bank_builder(
            bank.running.xs2a_address(),
            BANK_B,
            &world.pki,
            &world.pki.bank_a.qwac,
        )
        .clock(Arc::clone(&world.clock) as Arc<ManualClock>)
        .revocation(knowing(vec![list(CaLevel::Root)]))
        .build()
        .unwrap()
    };
    let (from_stapling, from_silent) = (handle(&stapling), handle(&silent));
    let refused = async |handle: &bank_client::Bank| match handle
        .consent_status("none")
        .await
        .unwrap_err()
        .kind
    {
        ErrorKind::Refused { status: 403, .. } => None,
        ErrorKind::WeRefused { reason, .. } => Some(reason.to_string()),
        other => panic!("{other:?}"),
    };
    // The staple comes in the background; until then, nothing is known of the bank.
    wait_until("the staple", async || match refused(&from_stapling).await {
        None => Some(()),
        Some(reason) => {
            assert!(reason.contains(NOTHING_FRESH), "{reason}");
            None
        }
    })
    .await;
    let reason = refused(&from_silent).await.unwrap();
    assert!(reason.contains(NOTHING_FRESH), "{reason}");
    // A list says as much as a staple.
    from_silent
        .replace_revocation(knowing(vec![list(CaLevel::Root), list(CaLevel::Issuing)]))
        .unwrap();
    assert_eq!(refused(&from_silent).await, None);
    // And more, when it is against the bank.
    let serial = world.pki.ca1.serials_of(BANK_B).remove(0);
    let withdrawn = Reason::PrivilegeWithdrawn;
    world
        .pki
        .ca1
        .revoke(&serial, withdrawn, "Rita", now)
        .unwrap();
    for handle in [&from_silent, &from_stapling] {
        let lists = vec![list(CaLevel::Root), list(CaLevel::Issuing)];
        handle.replace_revocation(knowing(lists)).unwrap();
        let reason = refused(handle).await.unwrap();
        assert!(reason.contains("privilegeWithdrawn"), "{reason}");
    }
    stapling.running.stop().await;
    silent.running.stop().await;
}

/// A certificate that is revoked while its connection is open: the next answer says so, and the connection ends.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_changes_reaches_open_connections() {
    let world = World::make();
    let a = &world.pki.bank_a.qwac;
    world.index(&[a], &[]);
    let responder = world.respond_as_ca(&["-nmin", "60"]);
    let bank = world.bank("hard-fail", "").await;
    let address = bank.running.xs2a_address();
    let mut held = HeldConnection::accepted(address, a);
    assert_eq!(held.get_status().status, 403);
    drop(responder);
    world.index(&[], &[(a, world.clock.now(), "cessationOfOperation")]);
    let _responder = world.respond_as_ca(&["-nmin", "60"]);
    let (said, _) = tokio::task::spawn_blocking(move || held.until_the_end().join().unwrap())
        .await
        .unwrap();
    assert!(
        said.starts_with("HTTP/1.1 401") && said.contains("CERTIFICATE_REVOKE"),
        "{said}"
    );
    assert!(said.contains("cessationOfOperation"), "{said}");
    bank.running.stop().await;
}

/// The answer about the bank's own certificate comes along with it, and OpenSSL's client finds it good.
#[tokio::test(flavor = "multi_thread")]
async fn our_own_answer_is_stapled() {
    let world = World::make();
    world.index(&[&world.pki.bank_b.qwac, &world.pki.bank_a.qwac], &[]);
    let responder = world.respond_as_ca(&["-nmin", "60"]);
    let bank = world.bank("hard-fail", ", stapling = true").await;
    let address = bank.running.xs2a_address().to_string();
    let connect = || {
        let output = system("openssl")
            .args(["s_client", "-status", "-connect", &address, "-CAfile"])
            .arg(world.path("pki/ca1/root.pem"))
            .arg("-cert")
            .arg(world.path("pki/bank-a/qwac.pem"))
            .arg("-key")
            .arg(world.path("pki/bank-a/qwac.key"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        both(&output)
    };
    let said = wait_for("the staple", || {
        let said = connect();
        (!said.contains("OCSP response: no response sent")).then_some(said)
    })
    .await;
    assert!(said.contains("OCSP Response Status: successful"), "{said}");
    assert!(said.contains("Cert Status: good"), "{said}");
    // When it is stale, none is better.
    drop(responder);
    world.clock.advance(TimeDelta::hours(2));
    let said = connect();
    assert!(said.contains("OCSP response: no response sent"), "{said}");
    bank.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_answer_is_none() {
    let world = World::make();
    let a = &world.pki.bank_a.qwac;
    world.index(&[a], &[]);
    let _responder = world.respond_as_ca(&["-nmin", "5"]);
    let bank = world.bank("hard-fail", "").await;
    assert_eq!(bank.ask(a).await, IN);
    world.clock.advance(TimeDelta::minutes(6));
    let reason = bank.ask(a).await;
    assert!(reason.contains(NOTHING_FRESH), "{reason}");
    bank.running.stop().await;
}

/// Each byte of an answer is either covered by its signature or of no consequence.
#[test]
fn no_changed_byte_of_an_answer_goes_unnoticed() {
    let world = World::make();
    let (a, r) = (&world.pki.bank_a.qwac, &world.pki.bank_r.qwac);
    world.index(&[a], &[(r, world.clock.now(), "superseded")]);
    let issuing = first(&fs::read(world.path("ca1/issuing.pem")).unwrap());
    for (identity, expected) in [(a, "Good"), (r, "Superseded")] {
        let file = world.path("answer.der");
        let done = system("openssl")
            .args(["ocsp", "-nmin", "60", "-no_nonce", "-index"])
            .arg(world.path("index.txt"))
            .arg("-CA")
            .arg(world.path("ca1/issuing.pem"))
            .arg("-rsigner")
            .arg(world.path("ca1/issuing.pem"))
            .arg("-rkey")
            .arg(world.path("ca1/issuing.key"))
            .arg("-issuer")
            .arg(world.path("ca1/issuing.pem"))
            .args(["-serial", &format!("0x{}", serial_of(identity))])
            .arg("-respout")
            .arg(&file)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", both(&done));
        let answer = fs::read(&file).unwrap();
        let link =
            PathCertificate::between(&first(identity.chain_pem.as_bytes()), &issuing).unwrap();
        let said = |bytes: Vec<u8>| {
            Answer::read(bytes, &link, None)
                .map(|answer| format!("{:?} {:?}", answer.said(), answer.until()))
        };
        let good = said(answer.clone()).unwrap();
        assert!(good.contains(expected), "{good}");
        let mut refused = 0;
        for place in 0..answer.len() {
            let mut changed = answer.clone();
            changed[place] ^= 0x01;
            match said(changed) {
                Err(_) => refused += 1,
                Ok(other) => assert_eq!(other, good, "byte {place}"),
            }
            assert!(said(answer[..place].to_vec()).is_err(), "cut at {place}");
        }
        assert!(refused > 200, "{refused}");
    }
}

/// OpenSSL reads our question; its answer is good for this question, and for no other.
#[test]
fn an_answer_belongs_to_its_question() {
    let world = World::make();
    let a = &world.pki.bank_a.qwac;
    world.index(&[a], &[]);
    let issuing = first(&fs::read(world.path("ca1/issuing.pem")).unwrap());
    let link = PathCertificate::between(&first(a.chain_pem.as_bytes()), &issuing).unwrap();
    let other =
        PathCertificate::between(&first(world.pki.bank_r.qwac.chain_pem.as_bytes()), &issuing);
    let question = Question::about(&link, &[7; 32]);
    let (asked, answered) = (world.path("question.der"), world.path("answer.der"));
    fs::write(&asked, question.der()).unwrap();
    let done = system("openssl")
        .args(["ocsp", "-nmin", "60", "-index"])
        .arg(world.path("index.txt"))
        .arg("-CA")
        .arg(world.path("ca1/issuing.pem"))
        .arg("-rsigner")
        .arg(world.path("ca1/issuing.pem"))
        .arg("-rkey")
        .arg(world.path("ca1/issuing.key"))
        .arg("-reqin")
        .arg(&asked)
        .arg("-respout")
        .arg(&answered)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", both(&done));
    let answer = fs::read(&answered).unwrap();
    let read =
        |link: &PathCertificate, nonce: Option<&[u8]>| Answer::read(answer.clone(), link, nonce);
    let good = read(&link, question.nonce()).unwrap();
    assert!(good.has_nonce());
    assert_eq!(
        read(&link, Some(&[8; 32])).unwrap_err(),
        AnswerError::AnotherNonce
    );
    assert_eq!(
        read(&other.unwrap(), None).unwrap_err(),
        AnswerError::AnotherCertificate
    );
    let mut answers = Answers::default();
    answers.add(Arc::new(good)).unwrap();
    assert!(answers.about(&link).is_some());
}

fn first(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).unwrap()
}
