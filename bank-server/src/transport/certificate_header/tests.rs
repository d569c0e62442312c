use actix_http::header::{HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

/// RFC 9440, appendix A.
const EXAMPLE: &str = ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNV\
    BAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYI\
    KoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYD\
    VR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0R\
    AQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4u\
    rmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:";

type Read = Result<Option<Vec<Vec<u8>>>, (String, HeaderProblem)>;

fn read(form: &CertificateHeader, lines: &[(&str, &str)]) -> Read {
    read_bytes(
        form,
        &lines
            .iter()
            .map(|(name, value)| (*name, value.as_bytes().to_vec()))
            .collect::<Vec<_>>(),
    )
}

fn read_bytes(form: &CertificateHeader, lines: &[(&str, Vec<u8>)]) -> Read {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    match form.read(&headers) {
        Ok(chain) => Ok(chain.map(|chain| chain.iter().map(|one| one.to_vec()).collect())),
        Err(MalformedHeader { header, problem }) => Err((header.to_string(), problem)),
    }
}

fn bytes(der: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(der))
}

fn pem(der: &[u8]) -> String {
    let lines: Vec<String> = STANDARD
        .encode(der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

/// As nginx's `NGX_ESCAPE_URI_COMPONENT` does it.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

static NGINX: CertificateHeader =
    CertificateHeader::NginxEscapedPem(HeaderName::from_static("x-ssl-client-cert"));
static ENVOY: &CertificateHeader = &CertificateHeader::EnvoyXfcc;
static RFC: &CertificateHeader = &CertificateHeader::Rfc9440;
const XFCC: &str = "x-forwarded-client-cert";

#[test]
fn the_standards_example() {
    let chain = read(RFC, &[("client-cert", EXAMPLE)]).unwrap().unwrap();
    let summary = shared_types::pki::certificate::CertificateSummary::of(&chain[0].clone().into());
    assert_eq!(
        (summary.subject.as_str(), summary.issuer.as_str()),
        ("CN=BC", "O=Let's Authenticate, CN=LA Intermediate CA")
    );
}

#[test]
fn what_rfc_9440_leaves_no_room_for_is_refused() {
    let cert = |value| read(RFC, &[("client-cert", value)]);
    let refused = |header: &str, problem| Err((header.to_owned(), problem));
    assert_eq!(read(RFC, &[]), Ok(None));
    assert_eq!(cert("  :AQID:\t"), Ok(Some(vec![vec![1, 2, 3]])));
    assert_eq!(cert(":AQ==:"), cert(":AQ:"), "padding is not insisted on");
    for value in [
        "",
        ":",
        "AQID",
        "\"AQID\"",
        ":AQID",
        "AQID:",
        ":AQ ID:",
        ":AQ_D:",
        ":AQID:;a=1",
        ":AQID:, :AQID:",
    ] {
        assert_eq!(
            cert(value),
            refused("client-cert", HeaderProblem::NotAByteSequence),
            "{value}"
        );
    }
    assert_eq!(cert("::"), refused("client-cert", HeaderProblem::NotOne));
    assert_eq!(
        read(RFC, &[("client-cert", ":AQID:"), ("client-cert", ":AQID:")]),
        refused("client-cert", HeaderProblem::Repeated)
    );
    assert_eq!(
        read(RFC, &[("client-cert-chain", ":AQID:")]),
        refused("client-cert-chain", HeaderProblem::ChainAlone)
    );
    for value in ["", ":AQID:,", ",:AQID:", ":AQID:, ,:AQID:", ":AQID: :AQID:"] {
        assert_eq!(
            read(
                RFC,
                &[("client-cert", ":AQID:"), ("client-cert-chain", value)]
            ),
            refused("client-cert-chain", HeaderProblem::NotAByteSequence),
            "{value}"
        );
    }
}

#[test]
fn each_limit_has_its_own_error() {
    let large = vec![7; MAX_CERTIFICATE_BYTES + 1];
    let fits = vec![7; MAX_CERTIFICATE_BYTES];
    for (form, header, wrap) in [
        (RFC, "client-cert", bytes as fn(&[u8]) -> String),
        (&NGINX, "x-ssl-client-cert", |der| escaped(&pem(der))),
        (ENVOY, XFCC, |der| format!("Cert={}", escaped(&pem(der)))),
    ] {
        assert_eq!(
            read(form, &[(header, &wrap(&large))]),
            Err((header.to_owned(), HeaderProblem::TooLarge))
        );
        assert_eq!(
            read(form, &[(header, &wrap(&fits))]),
            Ok(Some(vec![fits.clone()]))
        );
    }
    let of_rfc = |count| {
        let chain = vec![":AQID:"; count].join(", ");
        read(
            RFC,
            &[("client-cert", ":AQID:"), ("client-cert-chain", &chain)],
        )
    };
    assert_eq!(
        of_rfc(MAX_INTERMEDIATES).unwrap().unwrap().len(),
        MAX_INTERMEDIATES + 1
    );
    assert_eq!(
        of_rfc(MAX_INTERMEDIATES + 1),
        Err(("client-cert-chain".to_owned(), HeaderProblem::TooLong))
    );
    let of_envoy = |count| {
        let chain = format!("Chain=\"{}\"", escaped(&pem(&[1, 2, 3]).repeat(count)));
        read(ENVOY, &[(XFCC, &chain)])
    };
    assert_eq!(
        of_envoy(MAX_INTERMEDIATES + 1).unwrap().unwrap().len(),
        MAX_INTERMEDIATES + 1
    );
    assert_eq!(
        of_envoy(MAX_INTERMEDIATES + 2),
        Err((XFCC.to_owned(), HeaderProblem::TooLong))
    );
}

#[test]
fn nginx_sends_one_certificate() {
    let cert = |value: &str| read(&NGINX, &[("x-ssl-client-cert", value)]);
    let refused = |problem| Err(("x-ssl-client-cert".to_owned(), problem));
    assert_eq!(cert(&escaped(&pem(&[1]))), Ok(Some(vec![vec![1]])));
    assert_eq!(cert(""), refused(HeaderProblem::NotPem));
    assert_eq!(cert("-----BEGIN"), refused(HeaderProblem::NotPem));
    assert_eq!(cert("%"), refused(HeaderProblem::NotUrlEncoded));
    assert_eq!(cert("%4"), refused(HeaderProblem::NotUrlEncoded));
    assert_eq!(cert("%+1"), refused(HeaderProblem::NotUrlEncoded));
    assert_eq!(
        cert(&escaped(&(pem(&[1]) + &pem(&[2])))),
        refused(HeaderProblem::NotOne)
    );
    let broken = pem(&[1]).replace("AQ==", "A!==");
    assert_eq!(cert(&escaped(&broken)), refused(HeaderProblem::NotPem));
}

#[test]
fn envoy_sends_one_element() {
    let [one, two] = [[1], [2]].map(|der| escaped(&pem(&der)));
    let xfcc = |value: String| read(ENVOY, &[(XFCC, &value)]);
    let refused = |problem| Err((XFCC.to_owned(), problem));
    assert_eq!(
        xfcc(format!(
            "By=spiffe://bank;Hash=468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688;\
             Cert=\"{one}\";Chain=\"{one}{two}\";Subject=\"CN=\\\"a;b\\\", C=DE\";URI="
        )),
        Ok(Some(vec![vec![1], vec![2]]))
    );
    assert_eq!(xfcc(format!("cert={one}")), Ok(Some(vec![vec![1]])));
    assert_eq!(
        xfcc(format!("Chain=\"{one}{two}\"")),
        Ok(Some(vec![vec![1], vec![2]]))
    );
    assert_eq!(
        xfcc(format!("Cert=\"{two}\";Chain=\"{one}{two}\"")),
        refused(HeaderProblem::OtherLeaf)
    );
    assert_eq!(
        xfcc(format!("Cert=\"{one}\",Cert=\"{two}\"")),
        refused(HeaderProblem::SeveralElements)
    );
    assert_eq!(
        xfcc(format!("Hash=1,Cert=\"{one}\"")),
        refused(HeaderProblem::SeveralElements)
    );
    for value in ["Hash=1", "Subject=\"Cert=1\""] {
        assert_eq!(
            xfcc(value.to_owned()),
            refused(HeaderProblem::NoCert),
            "{value}"
        );
    }
    assert_eq!(
        xfcc(format!("Cert={one};Cert={two}")),
        refused(HeaderProblem::NoCert)
    );
    for value in [
        "",
        "Cert",
        ";",
        "=1",
        "Hash=1;",
        "Cert=\"",
        "Cert=\"a\"b",
        "a b=1",
    ] {
        assert_eq!(
            xfcc(value.to_owned()),
            refused(HeaderProblem::NotPairs),
            "{value}"
        );
    }
    let twice = format!("Cert={one}");
    assert_eq!(
        read(ENVOY, &[(XFCC, &twice), (XFCC, &twice)]),
        refused(HeaderProblem::Repeated)
    );
}

#[test]
fn a_header_of_another_kind_of_gateway_is_unexpected() {
    let headers = |name: &str| {
        let mut headers = HeaderMap::new();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.insert(name, HeaderValue::from_static("x"));
        headers
    };
    let own = HeaderName::from_static("x-own");
    let nginx = &CertificateHeader::NginxEscapedPem(own);
    for (name, to_nginx, to_rfc) in [
        ("x-own", false, false),
        ("x-ssl-client-cert", true, true),
        ("x-forwarded-client-cert", true, true),
        ("client-cert", true, false),
        ("client-cert-chain", true, false),
        ("accept", false, false),
    ] {
        let headers = headers(name);
        let seen = |configured, expected| unexpected(&headers, configured, expected).is_some();
        assert_eq!(seen(Some(nginx), true), to_nginx, "{name}");
        assert_eq!(seen(Some(RFC), true), to_rfc, "{name}");
        let always = name.contains("client-cert");
        assert_eq!(seen(None, false), always, "{name}");
        assert_eq!(
            seen(Some(nginx), false),
            always || name == "x-own",
            "{name}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(value in proptest::collection::vec(any::<u8>(), 0..200), text in "[ -~]{0,80}") {
        let allowed: Vec<u8> = value.into_iter().filter(|byte| HeaderValue::from_bytes(&[*byte]).is_ok()).collect();
        for value in [allowed, text.into_bytes()] {
            for form in [RFC, &NGINX, ENVOY] {
                for name in ["client-cert", "client-cert-chain", "x-ssl-client-cert", XFCC] {
                    let _ = read_bytes(form, &[(name, value.clone())]);
                    let _ = read_bytes(form, &[("client-cert", b":AQ:".to_vec()), (name, value.clone())]);
                }
            }
            let _ = envoy::chain(&value);
        }
    }

    #[test]
    fn what_pairs_are_made_of_does_not_panic(text in "[CERTcert=;,\"\\\\%4a -]{0,60}") {
        let _ = envoy::chain(text.as_bytes());
    }

    #[test]
    fn what_is_written_is_read(
        chain in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 1..=MAX_INTERMEDIATES + 1),
        lines in 1_usize..4,
    ) {
        let (leaf, above) = chain.split_first().unwrap();
        let leaf_line = bytes(leaf);
        let above: Vec<String> = above.iter().map(|der| bytes(der)).collect();
        let chain_lines: Vec<String> = above.chunks(lines).map(|members| members.join(" ,\t")).collect();
        let mut rfc = vec![("client-cert", leaf_line.as_str())];
        rfc.extend(chain_lines.iter().map(|line| ("client-cert-chain", line.as_str())));
        prop_assert_eq!(read(RFC, &rfc), Ok(Some(chain.clone())));

        prop_assert_eq!(read(&NGINX, &[("x-ssl-client-cert", &escaped(&pem(leaf)))]), Ok(Some(vec![leaf.clone()])));

        let whole: String = chain.iter().map(|der| escaped(&pem(der))).collect();
        let xfcc = format!("Hash=00;Cert=\"{}\";Chain=\"{whole}\"", escaped(&pem(leaf)));
        prop_assert_eq!(read(ENVOY, &[(XFCC, &xfcc)]), Ok(Some(chain)));
    }
}
