//! Trust is judged in every handshake, on every resumption, and for every request on an open connection.

use std::sync::Arc;

use bank_server::transport::trust::TrustSnapshot;
use fixtures::openssl_client::{Reaction, Tls, dial, try_handshake};
use fixtures::pki::{Wanted, enrol};
use fixtures::sandbox::present_certificate;
use fixtures::world::Bank;
use openssl::ssl::{Ssl, SslContextBuilder, SslMethod, SslVerifyMode, SslVersion};
use rustls::HandshakeKind;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use shared_types::pki::trust::Anchors;
use tests::banks::Banks;
use tests::handshake::resuming_client;
use tests::http::LAST_STATUS_REQUEST;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// From now on, Bank B trusts CA2 alone.
fn turn_to_ca2(banks: &Banks) {
    let root = banks.sandbox.pki.ca2.root_pem().unwrap();
    let anchors = Arc::new(Anchors::from_pem(root.as_bytes()).unwrap());
    let trust = banks.sandbox.bank(Bank::B).running.trust();
    trust.update(|snapshot| TrustSnapshot {
        anchors,
        ..snapshot.clone()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_there_is_an_alert_and_no_http() {
    let banks = Banks::start().await;
    let bank = banks.sandbox.bank(Bank::B);
    for tls in [Tls::V1_2, Tls::V1_3] {
        let (outcome, reason) = present_certificate(bank, None, tls).await;
        assert_eq!(outcome, "alert certificate_required", "{reason}");
        assert!(reason.contains("no certificate"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qsealc_does_not_open_a_connection() {
    let banks = Banks::start().await;
    let seal = &banks.sandbox.pki.bank_a.qsealc;
    let (outcome, reason) =
        present_certificate(banks.sandbox.bank(Bank::B), Some(seal), Tls::V1_3).await;
    assert_eq!(outcome, "alert unsupported_certificate", "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_protocol_is_not_spoken() {
    let banks = Banks::start().await;
    let address = banks.sandbox.bank(Bank::B).running.xs2a_address();
    let met = tokio::task::spawn_blocking(move || {
        let mut builder = SslContextBuilder::new(SslMethod::tls_client()).unwrap();
        builder.set_security_level(0);
        builder.set_verify(SslVerifyMode::NONE);
        builder
            .set_min_proto_version(Some(SslVersion::TLS1))
            .unwrap();
        builder
            .set_max_proto_version(Some(SslVersion::TLS1_1))
            .unwrap();
        try_handshake(Ssl::new(&builder.build()).unwrap(), dial(address).unwrap())
            .unwrap()
            .err()
    });
    let Some(Reaction::Alert(alert)) = met.await.unwrap() else {
        panic!()
    };
    assert_eq!(alert.to_string(), "handshake_failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_session_is_judged_again() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let banks = Banks::start().await;
        let address = banks.a_at_b().bank;
        let pki = &banks.sandbox.pki;
        let client = resuming_client(&pki.ca1, &pki.bank_a.qwac, b"http/1.1", &[version]);
        let connect = async || {
            let tcp = TcpStream::connect(address).await.unwrap();
            let name = ServerName::from(address.ip());
            client.connect(name, tcp).await
        };
        let exchange = async |stream: &mut TlsStream<TcpStream>| {
            let mut answer = Vec::new();
            // A connection that is cut shows in what was read, not in how it ended.
            let _ = stream.write_all(LAST_STATUS_REQUEST.as_bytes()).await;
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        };
        let mut first = connect().await.unwrap();
        assert!(exchange(&mut first).await.starts_with("HTTP/1.1 403"));
        let mut second = connect().await.unwrap();
        assert_eq!(
            second.get_ref().1.handshake_kind(),
            Some(HandshakeKind::Resumed),
            "{version:?}"
        );
        assert!(
            exchange(&mut second).await.starts_with("HTTP/1.1 403"),
            "{version:?}: while trust lasts"
        );

        turn_to_ca2(&banks);
        let answer = match connect().await {
            Ok(mut third) => {
                assert_eq!(
                    third.get_ref().1.handshake_kind(),
                    Some(HandshakeKind::Resumed),
                    "{version:?}"
                );
                exchange(&mut third).await
            }
            Err(_) => String::new(),
        };
        assert_eq!(answer, "", "{version:?}: not one byte of HTTP");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_not_the_name_but_the_certificate() {
    // An organisation of CA1 whose legal name is Bank A's, with another authorisation number. Bank A's host, the CA does not give.
    let banks = Banks::start().await;
    let now = bank_client::environment::Clock::now(&*banks.clock);
    let id = "PSDDE-BAFIN-666";
    let pki = &banks.sandbox.pki;
    let mut register = pki.register.clone();
    let mut entry = register.organisations[0].clone();
    entry.national_reference = id.parse().unwrap();
    register.organisations.push(entry);
    banks.publish(&register).await;
    let mut impostor = fixtures::pki::bank_a();
    impostor.id = Some(id.to_owned());
    let wanted = Wanted::default();
    let refused = enrol(&pki.ca1, &register, &impostor, &wanted, now).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("is the host of PSDDE-BAFIN-100001"),
        "{refused}"
    );
    impostor.host = "bank-a.other.example".to_owned();
    let impostor = enrol(&pki.ca1, &register, &impostor, &wanted, now).unwrap();
    let access = serde_json::json!({ "allPsd2": "allAccounts" });
    let consent = banks
        .consent(&banks.a_at_b())
        .access(&access)
        .approved()
        .await;
    let answer = banks.at_b(&impostor).read("/v1/accounts", &consent).await;
    assert_eq!(answer.refusal(), "400 CONSENT_UNKNOWN Consent-ID");
}

#[test]
fn no_changed_byte_of_a_certificate_goes_unnoticed() {
    use bank_client::environment::{Clock as _, SystemClock};
    use rustls_pki_types::UnixTime;
    use shared_types::pki::eidas::identify;
    use shared_types::pki::trust::{Usage, judge};

    let now = SystemClock.now();
    let pki = fixtures::pki::Pki::make(now).unwrap();
    let anchors = Anchors::from_pem(pki.ca1.root_pem().unwrap().as_bytes()).unwrap();
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(pki.bank_a.qwac.chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        now.timestamp().unsigned_abs(),
    ));
    let judged =
        |chain: &[CertificateDer<'_>]| judge(&anchors, &chain[0], &chain[1..], Usage::Client, now);
    assert!(judged(&chain).is_ok());
    for which in 0..chain.len() {
        for at in 0..chain[which].len() {
            let mut changed = chain.clone();
            let mut der = changed[which].to_vec();
            der[at] ^= 0x01;
            changed[which] = der.into();
            assert!(judged(&changed).is_err(), "certificate {which}, byte {at}");
            // Whatever it says now, it is read without harm.
            let _ = identify(&changed[which]);
        }
    }
}
