//! OCSP answers as other responders give them.

use std::sync::{Arc, LazyLock};

use bank_client::environment::{Clock as _, SystemClock};
use chrono::{DateTime, TimeDelta, Utc};
use fixtures::pki::der::{element, oid, sequence};
use fixtures::pki::{Identity, Pki};
use fixtures::scheme_ca::CaLevel;
use openssl::hash::{MessageDigest, hash};
use openssl::x509::X509;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use shared_types::pki::revocation::ocsp::{Answer, CertStatus, Question};
use shared_types::pki::revocation::{Issuers, List, RevocationStatus, Statuses};
use tests::foreign::{
    ENUMERATED, ForeignList, INTEGER, ISSUER, OCTET_STRING, SERIAL, extension, link_of, reissued,
    rewritten, time,
};
use tests::openssl_responder::World;
use tests::ports;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

static PKI: LazyLock<Pki> = LazyLock::new(|| Pki::make(SystemClock.now()).unwrap());

const UNKNOWN: &str = "2.25.4711";

/// An answer of CA1's issuing CA, in the making.
struct ForeignAnswer<'a> {
    pki: &'a Pki,
    now: DateTime<Utc>,
    responder: Vec<u8>,
    singles: Vec<Vec<u8>>,
    extensions: Vec<Vec<u8>>,
}

impl<'a> ForeignAnswer<'a> {
    fn new(pki: &'a Pki) -> Self {
        Self {
            pki,
            now: SystemClock.now(),
            // byName [1]
            responder: element(0xA1, &issuing(pki).subject_name().to_der().unwrap()),
            singles: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// Its response for a certificate of the issuing CA.
    fn says(mut self, id: Vec<u8>, status: Vec<u8>, extensions: &[Vec<u8>]) -> Self {
        let next = element(0xA0, &time(self.now + TimeDelta::hours(1)));
        let mut single = vec![id, status, time(self.now), next];
        if !extensions.is_empty() {
            single.push(element(0xA1, &sequence(extensions)));
        }
        self.singles.push(sequence(&single));
        self
    }

    fn with(mut self, extension: Vec<u8>) -> Self {
        self.extensions.push(extension);
        self
    }

    fn content(&self) -> Vec<u8> {
        let mut content = vec![
            self.responder.clone(),
            time(self.now),
            sequence(&self.singles),
        ];
        if !self.extensions.is_empty() {
            content.push(element(0xA1, &sequence(&self.extensions)));
        }
        sequence(&content)
    }

    fn der(&self) -> Vec<u8> {
        let ca = &self.pki.ca1;
        wrapped(
            &ca.sign_as_is(CaLevel::Issuing, &self.content(), &[])
                .unwrap(),
        )
    }
}

/// `OCSPResponse`, successful.
fn wrapped(basic: &[u8]) -> Vec<u8> {
    let bytes = sequence(&[oid("1.3.6.1.5.5.7.48.1.1"), element(OCTET_STRING, basic)]);
    sequence(&[element(ENUMERATED, &[0]), element(0xA0, &bytes)])
}

fn issuing(pki: &Pki) -> X509 {
    X509::from_pem(pki.ca1.issuing_pem().unwrap().as_bytes()).unwrap()
}

/// `CertID`, with that digest.
fn id(pki: &Pki, (algorithm, digest): (&str, MessageDigest), serial: &[u8]) -> Vec<u8> {
    let issuing = issuing(pki);
    let name = issuing.subject_name().to_der().unwrap();
    let key = issuing.public_key().unwrap();
    let point = {
        let key = key.ec_key().unwrap();
        let mut context = openssl::bn::BigNumContext::new().unwrap();
        let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
        key.public_key()
            .to_bytes(key.group(), form, &mut context)
            .unwrap()
    };
    let digest = |bytes: &[u8]| element(OCTET_STRING, &hash(digest, bytes).unwrap());
    sequence(&[
        sequence(&[oid(algorithm)]),
        digest(&name),
        digest(&point),
        element(INTEGER, serial),
    ])
}

fn sha1() -> (&'static str, MessageDigest) {
    ("1.3.14.3.2.26", MessageDigest::sha1())
}

fn of(pki: &Pki, identity: &Identity) -> Vec<u8> {
    id(pki, sha1(), &link_of(pki, identity).serial)
}

fn good() -> Vec<u8> {
    element(0x80, &[])
}

fn revoked() -> Vec<u8> {
    element(0xA1, &time(SystemClock.now()))
}

fn unknown() -> Vec<u8> {
    element(0x82, &[])
}

/// Status of Bank A's certificate in a response, or the reason for which it is refused.
fn said(answer: &ForeignAnswer<'_>) -> Result<CertStatus, String> {
    said_by(answer.der())
}

fn said_by(der: Vec<u8>) -> Result<CertStatus, String> {
    Answer::read(der, &link_of(&PKI, &PKI.bank_a.qwac), None)
        .map(|answer| answer.said())
        .map_err(|error| error.to_string())
}

#[test]
fn the_worst_of_what_is_said_counts() {
    let a = || of(&PKI, &PKI.bank_a.qwac);
    let other = || of(&PKI, &PKI.bank_r.qwac);
    let answer = |statuses: &[Vec<u8>]| {
        let start = ForeignAnswer::new(&PKI).says(other(), revoked(), &[]);
        let all = statuses.iter();
        let answer = all.fold(start, |answer, status| {
            answer.says(a(), status.clone(), &[])
        });
        said(&answer.says(other(), revoked(), &[]))
    };
    assert_eq!(answer(&[good()]), Ok(CertStatus::Good));
    assert_eq!(answer(&[good(), unknown()]), Ok(CertStatus::Unknown));
    for worst in [
        [good(), revoked()],
        [revoked(), good()],
        [unknown(), revoked()],
    ] {
        let found = answer(&worst);
        assert!(matches!(found, Ok(CertStatus::Revoked { .. })), "{found:?}");
    }
    assert!(answer(&[]).unwrap_err().contains("says nothing of"));
}

#[test]
fn what_is_critical_and_not_understood_makes_an_answer_useless() {
    let a = || of(&PKI, &PKI.bank_a.qwac);
    let odd = |is_critical| extension(UNKNOWN, is_critical, b"");
    let plain = || ForeignAnswer::new(&PKI);
    let ignored = plain().says(a(), good(), &[odd(false)]).with(odd(false));
    assert_eq!(said(&ignored), Ok(CertStatus::Good));
    // Of another certificate, it says what it likes.
    let other = of(&PKI, &PKI.bank_r.qwac);
    let other_responder = plain().says(other, good(), &[odd(true)]);
    assert_eq!(
        said(&other_responder.says(a(), good(), &[])),
        Ok(CertStatus::Good)
    );
    for refused in [
        plain().says(a(), good(), &[odd(true)]),
        plain().says(a(), good(), &[]).with(odd(true)),
    ] {
        let why = said(&refused).unwrap_err();
        assert!(why.contains("not understood, 2.25.4711"), "{why}");
    }
    let nonce = || extension("1.3.6.1.5.5.7.48.1.2", false, &element(OCTET_STRING, b"1"));
    let twice = plain().says(a(), good(), &[]).with(nonce()).with(nonce());
    assert!(said(&twice).unwrap_err().contains("two nonces"));
}

#[test]
fn certificates_and_responders_are_named_in_several_ways() {
    let a = link_of(&PKI, &PKI.bank_a.qwac).serial;
    for (algorithm, digest) in [
        sha1(),
        ("2.16.840.1.101.3.4.2.1", MessageDigest::sha256()),
        ("2.16.840.1.101.3.4.2.2", MessageDigest::sha384()),
        ("2.16.840.1.101.3.4.2.3", MessageDigest::sha512()),
    ] {
        for zeros in [0, 1, 3] {
            let padded = [vec![0; zeros], a.clone()].concat();
            let id = id(&PKI, (algorithm, digest), &padded);
            let answer = ForeignAnswer::new(&PKI).says(id, good(), &[]);
            assert_eq!(said(&answer), Ok(CertStatus::Good), "{algorithm} {zeros}");
        }
    }
    let mut answer = ForeignAnswer::new(&PKI).says(id(&PKI, sha1(), &a), good(), &[]);
    let name = rewritten(&issuing(&PKI).subject_name().to_der().unwrap());
    answer.responder = element(0xA1, &name);
    assert_eq!(said(&answer), Ok(CertStatus::Good));

    // A certificate whose own serial number has zeros in front is asked about by its number.
    let odd = reissued(&PKI, &PKI.bank_a.qwac, |parts| {
        parts[SERIAL] = element(INTEGER, &[0, 0, 0x2A]);
    });
    let odd = link_of(&PKI, &odd);
    let question = Question::without_nonce(&odd);
    let asked = openssl::ocsp::OcspRequest::from_der(question.der());
    assert!(asked.is_ok(), "OpenSSL reads the question");
    assert!(question.der().ends_with(&[INTEGER, 1, 0x2A]));
    // And by its issuer's name as it has that itself.
    let renamed = reissued(&PKI, &PKI.bank_a.qwac, |parts| parts[ISSUER] = name.clone());
    let question = Question::without_nonce(&link_of(&PKI, &renamed));
    let digest = hash(MessageDigest::sha1(), &name).unwrap();
    assert!(
        question
            .der()
            .windows(digest.len())
            .any(|octets| *octets == *digest)
    );
    let answer = ForeignAnswer::new(&PKI).says(id(&PKI, sha1(), &[0x2A]), revoked(), &[]);
    let found = Answer::read(answer.der(), &odd, None).unwrap();
    assert!(matches!(found.said(), CertStatus::Revoked { .. }));
}

#[test]
fn an_answer_signed_with_sha_1_is_refused_by_that_name() {
    let a = of(&PKI, &PKI.bank_a.qwac);
    let answer = ForeignAnswer::new(&PKI).says(a, good(), &[]);
    let weak = sequence(&[
        answer.content(),
        sequence(&[oid("1.2.840.10045.4.1")]),
        element(0x03, &[0, 1, 2, 3]),
    ]);
    let why = said_by(wrapped(&weak)).unwrap_err();
    assert!(
        why.contains("SHA-1 (ecdsa-with-SHA1)") && why.contains("-rmd sha256"),
        "{why}"
    );
}

/// A responder's certificate counts where the CA has issued it for this, and nothing critical in it
/// is unknown.
#[test]
fn a_responders_certificate_is_judged_as_well() {
    use fixtures::pki::der::parts;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use openssl::sign::Signer;

    let group = EcGroup::from_curve_name(Nid::SECP384R1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let now = SystemClock.now();
    let name = tests::foreign::name(&[("2.5.4.3", 0x0C, b"Responder")]);
    let purpose = || {
        let usage = sequence(&[oid("1.3.6.1.5.5.7.3.9")]);
        extension("2.5.29.37", true, &usage)
    };
    let no_check = || extension("1.3.6.1.5.5.7.48.1.5", false, &element(0x05, &[]));
    let answer_with = |extensions: &[Vec<u8>]| {
        let issuing = issuing(&PKI);
        let validity = sequence(&[
            time(now - TimeDelta::hours(1)),
            time(now + TimeDelta::hours(1)),
        ]);
        let certificate = sequence(&[
            element(0xA0, &element(INTEGER, &[2])),
            element(INTEGER, &[9]),
            tests::foreign::algorithm(),
            issuing.subject_name().to_der().unwrap(),
            validity,
            name.clone(),
            key.public_key_to_der().unwrap(),
            element(0xA3, &sequence(extensions)),
        ]);
        let certificate = PKI.ca1.sign_as_is(CaLevel::Issuing, &certificate, &[]);
        let a = of(&PKI, &PKI.bank_a.qwac);
        let mut answer = ForeignAnswer::new(&PKI).says(a, good(), &[]);
        answer.responder = element(0xA1, &name);
        let content = answer.content();
        let mut signer = Signer::new(MessageDigest::sha384(), &key).unwrap();
        let signature = signer.sign_oneshot_to_vec(&content).unwrap();
        let basic = sequence(&[
            content,
            tests::foreign::algorithm(),
            element(0x03, &[&[0], signature.as_slice()].concat()),
            element(0xA0, &sequence(&[certificate.unwrap()])),
        ]);
        assert_eq!(parts(&basic).len(), 4);
        wrapped(&basic)
    };
    let said_with = |extensions: &[Vec<u8>]| said_by(answer_with(extensions));
    let usage = |bits: u8| extension("2.5.29.15", true, &element(0x03, &[0, bits]));
    assert_eq!(said_with(&[purpose(), no_check()]), Ok(CertStatus::Good));
    assert_eq!(
        said_with(&[purpose(), no_check(), usage(0x80)]),
        Ok(CertStatus::Good)
    );
    let ca = sequence(&[element(0x01, &[0xff])]);
    let ca = extension("2.5.29.19", true, &ca);
    for refused in [
        said_with(&[no_check()]),
        // Key agreement alone.
        said_with(&[purpose(), no_check(), usage(0x08)]),
        said_with(&[purpose(), no_check(), extension(UNKNOWN, true, b"")]),
        // A CA, which states the purpose for responders of its own.
        said_with(&[purpose(), no_check(), usage(0x86), ca]),
    ] {
        let why = refused.unwrap_err();
        assert!(why.contains("nor of a responder"), "{why}");
    }
    // Nothing has to be known of a responder with that extension; but it is on a list.
    let link = link_of(&PKI, &PKI.bank_a.qwac);
    let answer = Answer::read(answer_with(&[purpose(), no_check()]), &link, None);
    let mut statuses = Statuses::default();
    statuses.answers.add(Arc::new(answer.unwrap())).unwrap();
    let standing = |statuses: &Statuses| statuses.status(&link, SystemClock.unix());
    assert!(matches!(standing(&statuses), RevocationStatus::Good { .. }));
    let issuers = Issuers::new(
        &[PKI.ca1.issuing_pem().unwrap()]
            .map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()),
    );
    let list = ForeignList::new(&PKI.ca1).entry(&[9], &[]);
    let list = list.extension("2.5.29.28", true, &sequence(&[element(0x82, &[0xff])]));
    let list = List::read(list.signed(&PKI.ca1), &issuers).unwrap();
    statuses.lists.add(Arc::new(list)).unwrap();
    assert_eq!(standing(&statuses), RevocationStatus::Unknown);
}

/// A responder that takes no nonces is asked once more without, unless one is required.
#[tokio::test(flavor = "multi_thread")]
async fn a_responder_that_refuses_nonces_is_asked_once_more_without() {
    const NONCE: &[u8] = &[0x2B, 6, 1, 5, 5, 7, 0x30, 1, 2];

    let world = World::make();
    let a = &world.pki.bank_a.qwac;
    let answer = ForeignAnswer::new(&world.pki).says(of(&world.pki, a), good(), &[]);
    let answer = ResponseTemplate::new(200).set_body_bytes(answer.der());
    let refusal = |status: u8| {
        let refusal = sequence(&[element(ENUMERATED, &[status])]);
        ResponseTemplate::new(200).set_body_bytes(refusal)
    };
    let server = MockServer::builder()
        .listener(ports::listen(world.responder).await)
        .start()
        .await;
    for (number, refused) in [
        refusal(1),
        refusal(2),
        refusal(6),
        ResponseTemplate::new(400),
        ResponseTemplate::new(500),
        ResponseTemplate::new(200).set_body_string("<html>bad request</html>"),
    ]
    .into_iter()
    .enumerate()
    {
        server.reset().await;
        let (answer, refused) = (answer.clone(), refused.clone());
        let respond = move |request: &Request| {
            let mut octets = request.body.windows(NONCE.len());
            if octets.any(|octets| octets == NONCE) {
                refused.clone()
            } else {
                answer.clone()
            }
        };
        Mock::given(any())
            .respond_with(respond)
            .mount(&server)
            .await;
        let bank = world.bank("hard-fail", "").await;
        assert_eq!(bank.ask(a).await, "HTTP/1.1 403", "{number}");
        let asked = server.received_requests().await.unwrap();
        let requests = asked.len();
        // Of Bank A's certificate, and of no other: the root's list speaks for the issuing CA.
        assert_eq!(requests, 2, "{number}");
        bank.running.stop().await;
    }
    let strict = world.bank("hard-fail", ", nonce_required = true").await;
    let reason = strict.ask(a).await;
    assert!(reason.contains("nothing fresh from"), "{reason}");
    strict.running.stop().await;
    let asked = server.received_requests().await.unwrap();
    assert!(
        asked[2..].iter().all(|request| request
            .body
            .windows(NONCE.len())
            .any(|octets| octets == NONCE)),
        "only with a nonce"
    );
}
