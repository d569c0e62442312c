//! Refusals of `scheme-ca`; certificates, lists and OCSP responses of it, checked by OpenSSL.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use bank_client::environment::{Clock as _, ManualClock, SystemClock};
use chrono::TimeDelta;
use fixtures::pki::Pki;
use fixtures::scheme_ca::Decision;
use fixtures::scheme_ca::serve::{Options, start};
use openssl::base64;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::{X509, X509Req};
use tests::authority::{Scene, Serving, ocsp, text};
use tests::programs::{both, own, system};
use tests::wait::wait_for;

#[test]
fn openssl_asks_and_believes_the_answers() {
    let scene = Scene::found();
    let serial = scene.issued();
    let serving = Serving::start(&scene);
    let (leaf, url) = (scene.path("leaf.pem"), serving.at("/ocsp/issuing"));
    let (leaf, kept) = (text(&leaf), scene.path("answer.der"));
    let ways: [&[&str]; 4] = [&[], &["-no_nonce"], &["-sha256"], &["-sha1", "-no_nonce"]];
    let ask = |way: &[&str]| {
        let arguments = [way, &["-url", &url, "-cert", leaf]].concat();
        ocsp(&scene, "issuing.pem", &arguments)
    };
    for way in ways {
        let said = ask(way);
        assert!(said.contains("Response verify OK"), "{way:?}: {said}");
        assert!(said.contains("leaf.pem: good"), "{way:?}: {said}");
        assert!(!said.contains("WARNING"), "nonces match, {way:?}: {said}");
        assert!(said.contains("Next Update: "), "{way:?}: {said}");
    }
    let made_up = ocsp(
        &scene,
        "issuing.pem",
        &["-url", &url, "-serial", "0x1234567890"],
    );
    assert!(made_up.contains("Response verify OK"), "{made_up}");
    assert!(made_up.contains("0x1234567890: unknown"), "{made_up}");

    let (issuing, root_url) = (scene.of_ca("issuing.pem"), serving.at("/ocsp/root"));
    let of_root = ["-url", &root_url, "-cert", text(&issuing)];
    let said = ocsp(&scene, "root.pem", &of_root);
    assert!(
        said.contains("Response verify OK") && said.contains("issuing.pem: good"),
        "{said}"
    );
    // The issuing CA's certificate is none of its own.
    let wrong_address = ["-url", &url, "-cert", text(&issuing)];
    let said = ocsp(&scene, "root.pem", &wrong_address);
    assert!(said.contains("issuing.pem: unknown"), "{said}");

    scene.revokes(&serial, "keyCompromise");
    for way in ways {
        let said = ask(way);
        assert!(said.contains("Response verify OK"), "{way:?}: {said}");
        assert!(said.contains("leaf.pem: revoked"), "{way:?}: {said}");
        assert!(said.contains("Reason: keyCompromise"), "{way:?}: {said}");
        assert!(said.contains("Revocation Time: "), "{way:?}: {said}");
    }
    let answer = ocsp(
        &scene,
        "issuing.pem",
        &[
            "-url",
            &url,
            "-cert",
            leaf,
            "-respout",
            text(&kept),
            "-resp_text",
        ],
    );
    for sign in [
        "OCSP Signing",
        "OCSP No Check",
        "CA1 OCSP responder of the issuing CA",
    ] {
        assert!(answer.contains(sign), "{sign}: {answer}");
    }
    let record = scene.does(&["record"]);
    assert!(
        record.contains("a key that signs OCSP answers of the issuing CA"),
        "{record}"
    );
    assert!(
        record.contains("a key that signs OCSP answers of the root CA"),
        "{record}"
    );
}

#[test]
fn the_question_can_be_in_the_path() {
    let scene = Scene::found();
    let serial = scene.issued();
    let serving = Serving::start(&scene);
    let (leaf, request, answer) = (
        scene.path("leaf.pem"),
        scene.path("request.der"),
        scene.path("answer.der"),
    );
    let (leaf, request, answer) = (text(&leaf), text(&request), text(&answer));
    let get = |arguments: &[&str]| {
        let asked = [&["-cert", leaf, "-reqout", request], arguments].concat();
        ocsp(&scene, "issuing.pem", &asked);
        let encoded = base64::encode_block(&fs::read(request).unwrap());
        let escaped = encoded
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3d");
        let escaped = format!("/ocsp/issuing/{escaped}");
        // As RFC 6960 has it, and as some clients do it.
        for path in [&escaped, &format!("/ocsp/issuing/{encoded}")] {
            fs::write(answer, serving.curl_bytes(path, &[])).unwrap();
            let read = [
                "-cert",
                leaf,
                "-reqin",
                request,
                "-no_nonce",
                "-respin",
                answer,
            ];
            let said = ocsp(&scene, "issuing.pem", &read);
            assert!(said.contains("Response verify OK"), "{said}");
            assert!(said.contains("leaf.pem: good"), "{said}");
        }
        serving
            .curl(&escaped, &["--head", "--request", "GET"])
            .to_lowercase()
    };
    let head = get(&["-no_nonce"]);
    for sign in [
        "200 ok",
        "content-type: application/ocsp-response",
        "etag: ",
        "expires: ",
    ] {
        assert!(head.contains(sign), "{sign}: {head}");
    }
    assert!(
        head.contains("cache-control: max-age=600, public"),
        "{head}"
    );
    assert!(
        get(&[]).contains("cache-control: no-store"),
        "an answer to a nonce"
    );

    scene.revokes(&serial, "superseded");
    let posted = serving.curl_bytes(
        "/ocsp/issuing",
        &[
            "-H",
            "Content-Type: application/ocsp-request",
            "--data-binary",
            &format!("@{request}"),
        ],
    );
    fs::write(answer, posted).unwrap();
    let said = ocsp(
        &scene,
        "issuing.pem",
        &["-cert", leaf, "-no_nonce", "-respin", answer],
    );
    assert!(
        said.contains("leaf.pem: revoked") && said.contains("Reason: superseded"),
        "{said}"
    );
}

#[test]
fn what_is_no_request_gets_the_answer_that_says_so() {
    let scene = Scene::found();
    let serving = Serving::start(&scene);
    let answer = scene.path("answer.der");
    let told = |bytes: Vec<u8>| {
        fs::write(&answer, bytes).unwrap();
        ocsp(
            &scene,
            "issuing.pem",
            &["-serial", "1", "-no_nonce", "-respin", text(&answer)],
        )
    };
    let kind = "Content-Type: application/ocsp-request";
    let post = |path: &str, kind: &str, body: &[u8]| {
        let file = scene.path("body");
        fs::write(&file, body).unwrap();
        let body = format!("@{}", text(&file));
        told(serving.curl_bytes(path, &["-H", kind, "--data-binary", &body]))
    };
    let request = scene.path("request.der");
    let asked = ["-serial", "1", "-no_nonce", "-reqout", text(&request)];
    ocsp(&scene, "issuing.pem", &asked);
    let good = fs::read(&request).unwrap();
    assert!(post("/ocsp/issuing", kind, &good).contains("1: unknown"));
    let many: Vec<String> = (1..=33).map(|serial| serial.to_string()).collect();
    let mut asked = vec!["-reqout", text(&request)];
    asked.extend(many.iter().flat_map(|serial| ["-serial", serial.as_str()]));
    ocsp(&scene, "issuing.pem", &asked);
    let too_many = fs::read(&request).unwrap();
    for (what, kind, body) in [
        ("noise", kind, b"noise".to_vec()),
        ("nothing", kind, Vec::new()),
        ("cut off", kind, good[..good.len() - 1].to_vec()),
        ("too long", kind, vec![0x30; 20_000]),
        ("33 certificates", kind, too_many),
        ("another kind", "Content-Type: text/plain", good.clone()),
    ] {
        let said = post("/ocsp/issuing", kind, &body);
        assert!(said.contains("malformedrequest (1)"), "{what}: {said}");
    }
    for path in [
        "/ocsp/issuing/noise!",
        "/ocsp/issuing/bm9pc2U=",
        "/ocsp/issuing/%zz",
        "/ocsp/root/",
    ] {
        let said = told(serving.curl_bytes(path, &[]));
        assert!(said.contains("malformedrequest (1)"), "{path}: {said}");
    }
    let said = post("/ocsp/another", kind, &good);
    assert!(said.contains("unauthorized (6)"), "{said}");
}

#[test]
fn openssl_agrees_on_the_lists() {
    let scene = Scene::found();
    let serial = scene.issued();
    let serving = Serving::start(&scene);
    let both_cas = scene.path("both.pem");
    let chain =
        ["root.pem", "issuing.pem"].map(|name| fs::read_to_string(scene.of_ca(name)).unwrap());
    fs::write(&both_cas, chain.concat()).unwrap();
    let fetch = || {
        for name in ["root", "issuing"] {
            let der = scene.path(&format!("{name}.crl"));
            fs::write(&der, serving.curl_bytes(&format!("/{name}.crl"), &[])).unwrap();
            let read = system("openssl")
                .args([
                    "crl",
                    "-inform",
                    "DER",
                    "-verify",
                    "-CAfile",
                    text(&both_cas),
                    "-in",
                ])
                .args([
                    text(&der),
                    "-out",
                    text(&scene.path(&format!("{name}.pem"))),
                ])
                .output()
                .unwrap();
            assert!(both(&read).contains("verify OK"), "{name}: {}", both(&read));
        }
    };
    let verify = || {
        let verified = system("openssl")
            .args(["verify", "-x509_strict", "-crl_check_all", "-CAfile"])
            .arg(scene.of_ca("root.pem"))
            .arg("-untrusted")
            .arg(scene.of_ca("issuing.pem"))
            .args(["-CRLfile", text(&scene.path("root.pem"))])
            .args(["-CRLfile", text(&scene.path("issuing.pem"))])
            .arg(scene.path("leaf.pem"))
            .output()
            .unwrap();
        both(&verified)
    };
    fetch();
    assert!(verify().contains("leaf.pem: OK"), "{}", verify());
    scene.revokes(&serial, "privilegeWithdrawn");
    fetch();
    let said = verify();
    assert!(said.contains("certificate revoked"), "{said}");
    let list = system("openssl")
        .args([
            "crl",
            "-noout",
            "-text",
            "-in",
            text(&scene.path("issuing.pem")),
        ])
        .output()
        .unwrap();
    let list = both(&list).to_lowercase();
    for sign in [serial.as_str(), "privilege withdrawn", "x509v3 crl number"] {
        assert!(list.contains(sign), "{sign}: {list}");
    }
}

#[test]
fn lists_and_certificates_may_be_kept_until_there_are_others() {
    let scene = Scene::found();
    let serial = scene.issued();
    let serving = Serving::start(&scene);
    for (path, kind, age) in [
        ("/root.crl", "application/pkix-crl", 600),
        ("/issuing.crl", "application/pkix-crl", 600),
        ("/root.der", "application/pkix-cert", 86_400),
        ("/issuing.der", "application/pkix-cert", 86_400),
    ] {
        for way in [
            &["--head"][..],
            &["--dump-header", "-", "--output", "/dev/null"],
        ] {
            let head = serving.curl(path, way).to_lowercase();
            for sign in [
                "200 ok",
                &format!("content-type: {kind}"),
                &format!("cache-control: max-age={age}, public"),
                "last-modified: ",
                "expires: ",
            ] {
                assert!(head.contains(sign), "{path} {sign}: {head}");
            }
        }
        for (method, path, status) in [("GET", "/another.crl", "404"), ("POST", path, "405")] {
            let head = serving.curl(path, &["--include", "--request", method]);
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status}")),
                "{path}: {head}"
            );
            let allow = head.to_lowercase().contains("allow: get, head\r\n");
            assert_eq!(allow, status == "405", "{path}: {head}");
        }
    }
    let der = serving.curl_bytes("/issuing.der", &[]);
    let pem = fs::read(scene.of_ca("issuing.pem")).unwrap();
    assert_eq!(der, X509::from_pem(&pem).unwrap().to_der().unwrap());

    let head = serving.curl("/issuing.crl", &["--head"]).to_lowercase();
    let tag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap();
    let known = format!("If-None-Match: {tag}");
    let again = || serving.curl("/issuing.crl", &["--head", "-H", &known]);
    assert!(again().starts_with("HTTP/1.1 304"), "{}", again());
    scene.revokes(&serial, "superseded");
    assert!(again().starts_with("HTTP/1.1 200"), "{}", again());
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_published_anew_without_a_request() {
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::make(clock.now()).unwrap();
    let path = folder.path().join("ca1");
    pki.ca1.keep_in(&path, clock.now()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let time: Arc<ManualClock> = Arc::clone(&clock);
    let running = start(Arc::clone(&pki.ca1), listener, time, Options::default())
        .await
        .unwrap();
    let files = ["root", "issuing"].map(|name| path.join(format!("published/{name}.crl")));
    let read = || files.each_ref().map(|file| fs::read(file).unwrap());
    let before = read();
    let published = || {
        let decisions = pki.ca1.record();
        let decisions = decisions.entries().iter().map(|entry| &entry.decision);
        decisions
            .filter(|decision| matches!(decision, Decision::Published { .. }))
            .count()
    };
    assert_eq!(published(), 2, "those of the folder are good");
    // They are good for a week.
    clock.advance(TimeDelta::days(4));
    wait_for("other lists", || {
        (0..2)
            .all(|list| read()[list] != before[list])
            .then_some(())
    })
    .await;
    assert_eq!(published(), 4);

    let address = running.address();
    assert!(TcpStream::connect(address).is_ok());
    running.stop().await;
    // A child that another test forks holds the listening socket until it runs its program.
    wait_for("a closed port", || TcpStream::connect(address).err()).await;
}

#[tokio::test]
async fn serving_ends_when_it_is_told_to() {
    let scene = Scene::found();
    for signal in ["TERM", "INT"] {
        let mut serving = Serving::start(&scene);
        serving.child.signal(signal);
        assert!(serving.child.wait().await.success(), "{signal}");
        let rest = serving.child.line(|line| Some(line.to_owned()));
        assert_eq!(rest, "stopped");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = scene.asks(&["serve", "--listen", &address]);
    assert_eq!(refused.status.code(), Some(1));
    let said = both(&refused);
    assert!(
        said.contains(&address) && said.contains("to do: "),
        "{said}"
    );
}

#[test]
fn it_refuses_what_it_must() {
    let scene = Scene::found();
    let register = scene.path("register.json");
    let register = text(&register);
    let issue = |number: &str, by: &str, days: &str| {
        [
            "issue",
            number,
            "--register",
            register,
            "--days",
            days,
            "--by",
            by,
        ]
        .map(str::to_owned)
    };
    let refuses = |arguments: &[String], why: &str| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        scene.refuses(&arguments, why);
    };

    fs::write(scene.path("wrong.csr"), signed_by_another()).unwrap();
    refuses(
        &scene.applies("wrong.csr", "PSP_AI"),
        "possession is not proved",
    );

    let number = scene.applied("PSP_AI");
    refuses(&issue(&number, "Ines", "365"), "was not vetted");
    scene.refuses(
        &["vet", &number, "--evidence", "none", "--by", "Anton"],
        "Anton applied, and cannot also vet",
    );
    scene.does(&["vet", &number, "--evidence", "licence seen", "--by", "Vera"]);
    refuses(
        &issue(&number, "Anton", "365"),
        "Anton applied, and cannot also issue",
    );
    refuses(
        &issue(&number, "Vera", "365"),
        "Vera vetted, and cannot also issue",
    );
    // The CA itself is there for ten years.
    refuses(&issue(&number, "Ines", "3651"), "and the CA's own is until");

    let payments = scene.vetted("PSP_PI");
    let payments = issue(&payments, "Ines", "365");
    refuses(&payments, "the register does not grant PSP_PI");
    let register = payments
        .iter()
        .position(|argument| argument == "--register");
    refuses(
        &payments,
        &format!(": {}\n", payments[register.unwrap() + 1]),
    );

    let issued = issue(&number, "Ines", "365");
    scene.does(&issued.iter().map(String::as_str).collect::<Vec<_>>());
}

/// A decision for which the disk has not enough room is not made, and the next one is.
#[test]
fn a_full_disk_leaves_the_record_whole() {
    let scene = Scene::found();
    let record = scene.of_ca("record.jsonl");
    let before = fs::read(&record).unwrap();
    let application = scene.applies("bank.csr", "PSP_AI");
    // In units of 512 bytes: there is room for a part of the line.
    let blocks = before.len() / 512 + 1;
    let limited = format!(r#"trap "" XFSZ; ulimit -f {blocks}; exec "$0" "$@""#);
    let scheme_ca = own("scheme-ca").get_program().to_owned();
    let refused = system("sh")
        .args(["-c", &limited])
        .arg(scheme_ca)
        .arg("--dir")
        .arg(scene.path("ca"))
        .args(&application)
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1), "{}", both(&refused));
    assert!(
        both(&refused).contains("record.jsonl"),
        "{}",
        both(&refused)
    );
    assert_eq!(fs::read(&record).unwrap(), before);
    scene.applied("PSP_AI");
}

/// A list for which there is no room: the certificate is revoked, and that is told apart from one that is not.
#[test]
fn revoked_and_not_published_has_an_exit_code_of_its_own() {
    let scene = Scene::found();
    scene.issued();
    let record = scene.does(&["record"]);
    let issued = record.lines().last().unwrap();
    let serial = issued
        .split("issued ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let blocked = scene.of_ca("published/issuing.crl.new");
    fs::create_dir(&blocked).unwrap();
    let revoked = scene.asks(&["revoke", serial, "--reason", "superseded", "--by", "Rita"]);
    assert_eq!(revoked.status.code(), Some(3), "{}", both(&revoked));
    let said = both(&revoked);
    assert!(
        said.contains("is revoked, but not published") && said.contains("scheme-ca --dir DIR crl"),
        "{said}"
    );
    assert!(
        scene
            .does(&["record"])
            .contains(&format!("revoked {serial}"))
    );
    fs::remove_dir(&blocked).unwrap();
    scene.does(&["crl"]);
}

/// A certificate signing request for one key, signed with another.
fn signed_by_another() -> Vec<u8> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let [one, another] =
        [(), ()].map(|()| PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap());
    let mut builder = X509Req::builder().unwrap();
    builder.set_pubkey(&one).unwrap();
    builder.sign(&another, MessageDigest::sha256()).unwrap();
    builder.build().to_pem().unwrap()
}
