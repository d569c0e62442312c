//! Invalid certificates, each judged by two TLS stacks that know nothing of each other.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use fixtures::openssl_client::{self, Tls};
use fixtures::pki::{Identity, Pki};
use fixtures::sandbox::{expected_of, present_certificate};
use fixtures::world::Bank;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use tests::banks::Banks;

/// The reason, what our bank does, why, and what OpenSSL says of the same certificate; nothing, where it has no opinion.
const INVALID: [(&str, &str, &str, &str); 14] = [
    (
        "expired",
        "alert certificate_expired",
        "expired at",
        "certificate has expired",
    ),
    (
        "not-yet-valid",
        "alert certificate_expired",
        "not valid before",
        "certificate is not yet valid",
    ),
    (
        "self-signed",
        "alert unknown_ca",
        "self-signed",
        "self-signed certificate",
    ),
    (
        "from-ca2",
        "alert unknown_ca",
        "CA2 Root CA, which is not an agreed authority",
        "unable to get local issuer certificate",
    ),
    (
        "from-ca2-with-bank-a-subject",
        "alert unknown_ca",
        "CA2 Root CA, which is not an agreed authority",
        "unable to get local issuer certificate",
    ),
    (
        "issuing-ca-missing",
        "alert unknown_ca",
        "was not sent along",
        "unable to get local issuer certificate",
    ),
    (
        "no-client-auth",
        "alert unsupported_certificate",
        "not for client authentication",
        "unsuitable certificate purpose",
    ),
    (
        "no-psd2-statement",
        "401 CERTIFICATE_INVALID",
        "no PSD2 statement",
        "",
    ),
    (
        "no-organization-identifier",
        "401 CERTIFICATE_INVALID",
        "no organizationIdentifier",
        "",
    ),
    ("payment-role-only", "401 ROLE_INVALID", "PSP_AI", ""),
    (
        "rsa-1024",
        "alert bad_certificate",
        "RSA with 1024 bits",
        "EE certificate key too weak",
    ),
    (
        "unknown-critical-extension",
        "alert bad_certificate",
        "critical extension",
        "unhandled critical extension",
    ),
    (
        "leaf-used-as-ca",
        "alert unknown_ca",
        "not a CA",
        "invalid CA certificate",
    ),
    (
        "name-constraint-violated",
        "alert certificate_unknown",
        "may not issue for the names",
        "permitted subtree violation",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn our_bank_refuses_each_for_its_own_reason_over_both_versions_of_tls() {
    let banks = Banks::start().await;
    let bank = banks.sandbox.bank(Bank::B);
    for (reason, expected, why, _) in INVALID {
        let refused = banks
            .sandbox
            .pki
            .refused
            .iter()
            .find(|refused| refused.reason == reason)
            .unwrap();
        assert_eq!(
            expected,
            expected_of(reason),
            "the sandbox expects the same"
        );
        for tls in [Tls::V1_2, Tls::V1_3] {
            let (outcome, said) = present_certificate(bank, Some(&refused.identity), tls).await;
            assert_eq!(outcome, expected, "{reason} over {tls:?}: {said}");
            assert!(said.contains(why), "{reason} over {tls:?}: {said}");
        }
    }
    assert_eq!(banks.sandbox.pki.refused.len(), INVALID.len());
}

#[test]
fn openssl_is_of_the_same_opinion_where_it_has_one() {
    use bank_client::environment::{Clock as _, SystemClock};

    let pki = Pki::make(SystemClock.now()).unwrap();
    let root = pki.ca1.root_pem().unwrap();
    assert_eq!(
        openssl_says(&root, &pki.bank_b.qwac, &pki.bank_a.qwac),
        "",
        "a good one is let in"
    );
    for (reason, _, _, opinion) in INVALID {
        let refused = pki
            .refused
            .iter()
            .find(|refused| refused.reason == reason)
            .unwrap();
        let said = openssl_says(&root, &pki.bank_b.qwac, &refused.identity);
        // Later versions of OpenSSL say more after the same beginning.
        let same = said.starts_with(opinion) && said.is_empty() == opinion.is_empty();
        assert!(same, "{reason}: {said:?} instead of {opinion:?}");
    }
}

/// Shows a certificate to a server on OpenSSL alone; the server's verdict, or nothing if it lets the peer in.
fn openssl_says(root_pem: &str, server: &Identity, client: &Identity) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    let mut chain = X509::stack_from_pem(server.chain_pem.as_bytes())
        .unwrap()
        .into_iter();
    builder.set_certificate(&chain.next().unwrap()).unwrap();
    for certificate in chain {
        builder.add_extra_chain_cert(certificate).unwrap();
    }
    builder
        .set_private_key(&PKey::private_key_from_pem(server.key_pem.as_bytes()).unwrap())
        .unwrap();
    let mut store = X509StoreBuilder::new().unwrap();
    store
        .add_cert(X509::from_pem(root_pem.as_bytes()).unwrap())
        .unwrap();
    builder.set_verify_cert_store(store.build()).unwrap();
    builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    // The level at which Debian runs OpenSSL: RSA from 2048 bits.
    builder.set_security_level(2);
    let context = builder.build().into_context();

    let verdict = std::thread::spawn(move || {
        let (tcp, _): (TcpStream, _) = listener.accept().unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let outcome = Ssl::new(&context).unwrap().accept(tcp);
        match outcome {
            Ok(_) => String::new(),
            Err(openssl::ssl::HandshakeError::Failure(broken)) => {
                broken.ssl().verify_result().error_string().to_owned()
            }
            Err(other) => panic!("{other}"),
        }
    });
    openssl_client::call(address, Some(client), Tls::V1_3, "GET / HTTP/1.1\r\n\r\n").unwrap();
    verdict.join().unwrap()
}
