//! curl and OpenSSL's own client against our bank: tools we did not write.

use std::path::Path;
use std::process::{Output, Stdio};

use fixtures::world::Bank;
use serde_json::Value;
use tests::banks::Banks;
use tests::programs::{both, system};

fn curl(folder: &Path, party: &str, arguments: &[&str]) -> Output {
    let pki = folder.join("pki");
    system("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--cacert"])
        .arg(pki.join("ca1/root.pem"))
        .arg("--cert")
        .arg(pki.join(party).join("qwac.pem"))
        .arg("--key")
        .arg(pki.join(party).join("qwac.key"))
        .args(["-H", "X-Request-ID: 99391c7e-ad88-49ec-a2ad-99ddcb1f7721"])
        .args(arguments)
        .output()
        .unwrap()
}

/// OpenSSL's client, as a TPP would use it by hand.
fn s_client(
    folder: &Path,
    party: &str,
    address: &str,
    arguments: &[&str],
    request: &str,
) -> Output {
    let pki = folder.join("pki");
    let mut child = system("openssl")
        .args([
            "s_client",
            "-connect",
            address,
            "-quiet",
            "-servername",
            "localhost",
            "-CAfile",
        ])
        .arg(pki.join("ca1/root.pem"))
        .arg("-cert_chain")
        .arg(pki.join(party).join("qwac.pem"))
        .arg("-cert")
        .arg(pki.join(party).join("qwac.pem"))
        .arg("-key")
        .arg(pki.join(party).join("qwac.key"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A client that was refused may be gone before it reads.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), request.as_bytes());
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bank_a_gets_the_accounts_and_bank_c_an_alert_and_no_byte_of_http() {
    let banks = Banks::start().await;
    let consent = banks.consent(&banks.a_at_b()).approved().await;
    let (folder, bank) = (banks.folder.path(), banks.sandbox.bank(Bank::B));
    let url = format!("{}/v1/accounts?withBalance=true", bank.url());
    let header = format!("Consent-ID: {consent}");
    for version in ["--http1.1", "--http2"] {
        for tls in [
            ["--tlsv1.2", "--tls-max", "1.2"],
            ["--tlsv1.3", "--tls-max", "1.3"],
        ] {
            let wanted = [
                &tls[..],
                &[version, "-H", &header, "-w", " %{http_version}", &url],
            ]
            .concat();
            let got = curl(folder, "bank-a", &wanted);
            let text = both(&got);
            let (body, spoken) = text.rsplit_once(' ').unwrap_or_default();
            assert_eq!(spoken, version.trim_start_matches("--http"), "{text}");
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["accounts"].as_array().unwrap().len(), 3);

            let refused = curl(folder, "bank-c", &wanted);
            assert!(!refused.status.success());
            assert!(
                String::from_utf8_lossy(&refused.stderr).contains("unknown ca"),
                "{}",
                both(&refused)
            );
            assert_eq!(
                String::from_utf8_lossy(&refused.stdout).trim(),
                "0",
                "no byte, and no version of HTTP"
            );
        }
    }
    let address = bank.running.xs2a_address().to_string();
    let request = format!(
        "GET /v1/accounts HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: 99391c7e-ad88-49ec-a2ad-99ddcb1f7721\r\n\
         {header}\r\nConnection: close\r\n\r\n"
    );
    for tls in ["-tls1_2", "-tls1_3"] {
        let got = s_client(
            folder,
            "bank-a",
            &address,
            &[tls, "-verify_return_error"],
            &request,
        );
        assert!(
            String::from_utf8_lossy(&got.stdout).contains("\"accounts\""),
            "{}",
            both(&got)
        );
        let refused = s_client(folder, "bank-c", &address, &[tls], &request);
        assert!(
            both(&refused).contains("alert unknown ca"),
            "{}",
            both(&refused)
        );
        assert!(
            !String::from_utf8_lossy(&refused.stdout).contains("HTTP"),
            "{}",
            both(&refused)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_refuses_bank_cs_server() {
    let banks = Banks::start().await;
    let address = banks
        .sandbox
        .bank(Bank::C)
        .running
        .xs2a_address()
        .to_string();
    for tls in ["-tls1_2", "-tls1_3"] {
        let refused = s_client(
            banks.folder.path(),
            "bank-a",
            &address,
            &[tls, "-verify_return_error"],
            "GET / HTTP/1.1\r\n\r\n",
        );
        assert!(!refused.status.success());
        assert!(
            both(&refused).contains("unable to get local issuer certificate"),
            "{}",
            both(&refused)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificates_pass_openssls_strict_checks() {
    let banks = Banks::start().await;
    let pki = banks.folder.path().join("pki");
    for party in ["bank-a", "bank-b", "bank-r"] {
        for purpose in ["sslclient", "sslserver"] {
            let verified = system("openssl")
                .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
                .arg(pki.join("ca1/root.pem"))
                .arg("-untrusted")
                .arg(pki.join("ca1/issuing.pem"))
                .arg(pki.join(party).join("qwac.pem"))
                .output()
                .unwrap();
            assert!(
                verified.status.success(),
                "{party} {purpose}: {}",
                both(&verified)
            );
        }
    }
    let text = system("openssl")
        .args(["x509", "-noout", "-text", "-in"])
        .arg(pki.join("bank-a/qwac.pem"))
        .output()
        .unwrap();
    let text = both(&text);
    let ca1 = banks.sandbox.authorities[0].address();
    for sign in [
        "organizationIdentifier = PSDDE-BAFIN-100001",
        "qcStatements",
        "DNS:bank-a.example",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        &format!("CA Issuers - URI:http://{ca1}/issuing.der"),
        &format!("OCSP - URI:http://{ca1}/ocsp/issuing"),
        &format!("URI:http://{ca1}/issuing.crl"),
    ] {
        assert!(text.contains(sign), "{sign}: {text}");
    }
}
