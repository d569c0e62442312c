//! Certificate paths that are made up at random, by our judgement and by those of rustls-webpki and
//! OpenSSL: what both of them refuse is not let in here.

use std::sync::LazyLock;
use std::time::Duration;

use fixtures::pki::der::{element, parts, sequence};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509PurposeId, X509StoreContext};
use proptest::prelude::*;
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::trust::{Anchors, Usage, judge};
use tests::issuing::{Extension, VALID, ca, der, issue, key, name, of_party, signs};

/// 2026.
const NOW: u32 = 1_795_000_000;

/// Few, so that some are the same.
static KEYS: LazyLock<Vec<PKey<Private>>> = LazyLock::new(|| (0..6).map(|_| key()).collect());

/// What a certificate has; 0 is right, and what else there is, is in [`Made::extensions`].
#[derive(Debug, Clone, Default)]
struct Made {
    /// Of its subject, its key, the issuer that it names, and the key that signs: what to add to
    /// the right number.
    off: [usize; 4],
    parts: [u8; 8],
}

fn made() -> impl Strategy<Value = Made> {
    (
        prop::array::uniform4(prop_oneof![15 => Just(0), 1 => 1_usize..5]),
        prop::array::uniform8(prop_oneof![8 => Just(0), 1 => 0_u8..10]),
    )
        .prop_map(|(off, parts)| Made { off, parts })
}

fn purposes(of: &[&[u8]]) -> Extension {
    let each: Vec<Vec<u8>> = of.iter().map(|one| der(0x06, &[one])).collect();
    let each: Vec<&[u8]> = each.iter().map(Vec::as_slice).collect();
    ("2.5.29.37", false, der(0x30, &each))
}

fn constrained(kind: u8, tag: u8, base: &[u8]) -> Extension {
    let subtree = der(0x30, &[&der(tag, &[base])]);
    let subtrees = der(0xa0 | kind, &[&subtree]);
    ("2.5.29.30", true, der(0x30, &[&subtrees]))
}

fn policy(id: &[u8]) -> Extension {
    (
        "2.5.29.32",
        false,
        der(0x30, &[&der(0x30, &[&der(0x06, &[id])])]),
    )
}

const CLIENT: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
const SERVER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const ANY: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
const FIRST: &[u8] = &[0x2a, 3, 1];

fn alternative(names: &[(u8, &[u8])]) -> Extension {
    let each: Vec<Vec<u8>> = names.iter().map(|(tag, name)| der(*tag, &[name])).collect();
    let each: Vec<&[u8]> = each.iter().map(Vec::as_slice).collect();
    ("2.5.29.17", false, der(0x30, &each))
}

/// Number of ways to change an element.
const CHANGES: u8 = 9;

/// A certificate with that content, signed by the key.
fn signed(
    content: &[u8],
    original: &CertificateDer<'_>,
    by: &PKey<Private>,
) -> CertificateDer<'static> {
    let mut signer = Signer::new(MessageDigest::sha256(), by).unwrap();
    let signature = signer.sign_oneshot_to_vec(content).unwrap();
    let algorithm = parts(original)[1].clone();
    let signature = element(0x03, &[&[0], signature.as_slice()].concat());
    sequence(&[content.to_vec(), algorithm, signature]).into()
}

/// An element in which one element, counted from the outside, is changed.
fn changed(whole: &[u8], left: &mut usize, how: u8) -> Vec<u8> {
    let content = |whole: &[u8]| match whole[1] {
        0x82 => whole[4..].to_vec(),
        0x81 => whole[3..].to_vec(),
        _ => whole[2..].to_vec(),
    };
    let is_here = *left == 0;
    *left = left.wrapping_sub(1);
    let tag = whole[0];
    if is_here {
        let inner = content(whole);
        let short = u8::try_from(inner.len()).unwrap_or(0xff);
        return match how {
            0 => [whole, whole].concat(),
            1 => Vec::new(),
            2 => [&[tag, 0x81, short], inner.as_slice()].concat(),
            3 => [&[tag, 0x82, 0, short], inner.as_slice()].concat(),
            4 => [&[tag, 0x80], inner.as_slice(), &[0, 0]].concat(),
            5 => element(tag, &[inner.as_slice(), &[0x05, 0x00]].concat()),
            6 => element(tag, &[&[0x00], inner.as_slice()].concat()),
            7 => element(tag, &[]),
            _ => element(tag, &[inner.as_slice(), &inner].concat()),
        };
    }
    if tag & 0x20 != 0 || tag == 0x04 {
        let each: Vec<Vec<u8>> = parts(whole)
            .iter()
            .map(|part| changed(part, left, how))
            .collect();
        return element(tag, &each.concat());
    }
    whole.to_vec()
}

impl Made {
    fn extensions(&self, is_party: bool) -> Vec<Extension> {
        let path_length = |most| {
            let content = der(0x30, &[&der(0x01, &[&[0xff]]), &der(0x02, &[&[most]])]);
            ("2.5.29.19", true, content)
        };
        let no_ca = || ("2.5.29.19", true, der(0x30, &[]));
        let usage = |bits: u8| ("2.5.29.15", true, vec![0x03, 0x02, 0x01, bits]);
        let [
            constraints,
            key_usage,
            purpose,
            names,
            subtrees,
            other,
            policies,
            _,
        ] = self.parts;
        let mut found: Vec<Extension> = Vec::new();
        found.extend(match (constraints, is_party) {
            (0, true) | (1, false) => vec![],
            (1, true) | (2, false) => vec![no_ca()],
            (3, _) => vec![path_length(0)],
            (4, _) => vec![path_length(1)],
            (5, _) => vec![path_length(2)],
            (6, _) => vec![ca(), ca()],
            (7, _) => vec![ca(), no_ca()],
            _ => vec![ca()],
        });
        found.extend(match (key_usage, is_party) {
            (0, true) | (1, false) => vec![signs()],
            (2, _) => vec![],
            (3, _) => vec![usage(0x84)],
            _ if is_party => vec![usage(0x08)],
            _ => vec![usage(0x06)],
        });
        found.extend(match (purpose, is_party) {
            (0, true) | (1, false) => vec![purposes(&[SERVER, CLIENT])],
            (2, _) => vec![purposes(&[SERVER])],
            (3, true) => vec![purposes(&[ANY])],
            (4, _) => vec![purposes(&[])],
            (5, _) => vec![purposes(&[CLIENT]), purposes(&[CLIENT])],
            (6, _) => vec![purposes(&[CLIENT])],
            _ => vec![],
        });
        if is_party {
            found.extend(match names {
                0 => of_party().pop(),
                1 => Some(alternative(&[(0x82, b"*.party.example")])),
                2 => Some(alternative(&[
                    (0x82, b"party.example"),
                    (0x87, &[192, 0, 2, 1]),
                ])),
                3 => Some(alternative(&[(0x81, b"a@party.example")])),
                4 => Some(alternative(&[(0x86, b"https://party.example/")])),
                5 => Some(alternative(&[(0x88, &[0x2a, 3])])),
                6 => Some(alternative(&[(0xa4, &name("party").to_der().unwrap())])),
                7 => Some(alternative(&[(0x82, b"party..example")])),
                8 => Some(alternative(&[(
                    0xa0,
                    &[0x06, 0x02, 0x2a, 3, 0xa0, 0x02, 0x05, 0x00],
                )])),
                _ => None,
            });
        }
        let directory = |common: &str| name(common).to_der().unwrap();
        found.extend(match if is_party { 0 } else { subtrees } {
            1 => Some(constrained(0, 0x82, b"party.example")),
            2 => Some(constrained(1, 0x82, b"party.example")),
            3 => Some(constrained(0, 0xa4, &directory("PARTY"))),
            4 => Some(constrained(1, 0xa4, &directory("Party"))),
            5 => Some(constrained(0, 0x87, &[192, 0, 2, 0, 255, 255, 255, 0])),
            6 => Some(constrained(0, 0x81, b"other.example")),
            7 => Some(constrained(1, 0x86, b"party.example")),
            8 => Some(constrained(1, 0x88, &[0x2a, 3])),
            9 => Some(constrained(1, 0xa4, &der(0x30, &[]))),
            _ => None,
        });
        found.extend(match other {
            1 => Some(("1.2.3.4", true, der(0x30, &[]))),
            2 => Some(("1.2.3.4", false, der(0x30, &[]))),
            3 => Some(("2.5.29.54", true, der(0x02, &[&[0]]))),
            // OpenSSL would have to be given the policies.
            4 => Some(("2.5.29.36", false, der(0x30, &[&der(0x80, &[&[1]])]))),
            5 => Some(("2.5.29.36", true, der(0x30, &[&der(0x81, &[&[0]])]))),
            6 => {
                let pair = der(0x30, &[&der(0x06, &[FIRST]), &der(0x06, &[&[0x2a, 3, 2]])]);
                Some(("2.5.29.33", true, der(0x30, &[&pair])))
            }
            _ => None,
        });
        found.extend(match policies {
            1 => Some(policy(FIRST)),
            2 => Some(policy(&[0x2a, 3, 2])),
            3 => Some(policy(&[0x55, 0x1d, 0x20, 0])),
            _ => None,
        });
        found
    }

    fn has_anothers_name(&self) -> bool {
        let [subject, _, issuer, _] = self.off;
        subject + issuer > 0
    }

    /// The certificate at that place of a path, 0 for the root.
    fn certificate(&self, place: usize, is_party: bool) -> CertificateDer<'static> {
        let [subject, own, issuer, by] = self.off;
        let above = place.saturating_sub(1);
        let named = |number: usize| match number % 6 {
            0 => name("Root"),
            5 => name("party"),
            other => name(&format!("CA {other}")),
        };
        let subject = named(if is_party { 5 } else { place } + subject);
        let own = &KEYS[(if is_party { 5 } else { place } + own) % 6];
        let by = &KEYS[(above + by) % 6];
        let valid = match self.parts[7] {
            1 => (VALID.0, i64::from(NOW) - 1),
            2 => (i64::from(NOW) + 1, VALID.1),
            3 => (VALID.1, VALID.0),
            _ => VALID,
        };
        let extensions = self.extensions(is_party);
        let certificate = issue(
            &subject,
            own,
            &named(above + issuer),
            by,
            valid,
            &extensions,
        );
        certificate.to_der().unwrap().into()
    }
}

fn hex(bytes: &[u8]) -> String {
    let each: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    each.concat()
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(NOW.into()))
}

fn by_us(
    root: &CertificateDer<'static>,
    chain: &[CertificateDer<'static>],
) -> Result<Vec<CertificateDer<'static>>, String> {
    let anchors = Anchors::new(vec![root.clone()]).map_err(|error| error.to_string())?;
    let path = judge(&anchors, &chain[0], &chain[1..], Usage::Client, now())
        .map_err(|refusal| refusal.to_string())?;
    let found = path.links.iter().map(|link| {
        let serial = hex(&link.serial);
        let mut chain = chain.iter();
        chain
            .find(|one| CertificateSummary::of(one).serial == serial)
            .cloned()
            .unwrap()
    });
    Ok(found.collect())
}

fn by_webpki(root: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> Result<(), webpki::Error> {
    let anchor = webpki::anchor_from_trusted_cert(root)?;
    let party = webpki::EndEntityCert::try_from(&chain[0])?;
    party
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            &chain[1..],
            now(),
            webpki::KeyUsage::client_auth(),
            None,
            None,
        )
        .map(|_| ())
}

fn by_openssl(root: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> Result<(), String> {
    let read = |der: &CertificateDer<'_>| X509::from_der(der).map_err(|error| error.to_string());
    let mut store = X509StoreBuilder::new().unwrap();
    store
        .add_cert(read(root)?)
        .map_err(|error| error.to_string())?;
    let mut parameters = X509VerifyParam::new().unwrap();
    parameters
        .set_flags(X509VerifyFlags::POLICY_CHECK | X509VerifyFlags::PARTIAL_CHAIN)
        .unwrap();
    parameters.set_time(NOW.into());
    parameters.set_purpose(X509PurposeId::SSL_CLIENT).unwrap();
    store.set_param(&parameters).unwrap();
    let mut above = Stack::new().unwrap();
    for one in &chain[1..] {
        if let Ok(one) = read(one) {
            above.push(one).unwrap();
        }
    }
    let party = read(&chain[0])?;
    let mut context = X509StoreContext::new().unwrap();
    context
        .init(&store.build(), &party, &above, |context| {
            let good = context.verify_cert()?;
            let why = context.error().error_string();
            Ok(if good { Ok(()) } else { Err(why.to_owned()) })
        })
        .unwrap_or_else(|error| Err(error.to_string()))
}

/// Chains that we accept and both others refuse, with their reasons.
fn objection(root: &CertificateDer<'static>, chain: &[CertificateDer<'static>]) -> Option<String> {
    // The others are asked about that path alone: they look for none where names are twice.
    let path = by_us(root, chain).ok()?;
    let webpki = by_webpki(root, &path).err()?;
    let openssl = by_openssl(root, &path).err()?;
    Some(format!("rustls-webpki: {webpki}; OpenSSL: {openssl}"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn what_others_refuse_is_refused(mut all in prop::collection::vec(made(), 2..6)) {
        if all.iter().any(Made::has_anothers_name) {
            // OpenSSL takes one that names itself as its issuer for a root, and rustls-webpki knows
            // neither these constraints nor these policies.
            for one in &mut all {
                one.parts[4..6].fill(0);
            }
        }
        let last = all.len() - 1;
        let each = all.iter().enumerate();
        let mut chain: Vec<_> = each.map(|(place, one)| one.certificate(place, place == last)).collect();
        let root = chain.remove(0);
        chain.reverse();
        let objection = objection(&root, &chain);
        prop_assert_eq!(objection, None);
    }
}

/// Each element of a certificate twice, left out, in another form, or with something before or
/// after its content, signed anew.
#[test]
fn a_changed_element_is_let_in_by_others_as_well() {
    let right = Made::default();
    let root = right.certificate(0, false);
    let (authority, party) = (right.certificate(1, false), right.certificate(2, true));
    let (mut tried, mut connection_accepted) = (0, 0);
    for (place, original) in [(1, &authority), (2, &party)] {
        let content = parts(original)[0].clone();
        for at in 0.. {
            let mut left = at;
            changed(&content, &mut left, 0);
            if left < usize::MAX / 2 {
                // There are no more elements.
                break;
            }
            for how in 0..CHANGES {
                let certificate = signed(
                    &changed(&content, &mut at.clone(), how),
                    original,
                    &KEYS[place - 1],
                );
                let chain = match place {
                    1 => [party.clone(), certificate],
                    _ => [certificate, authority.clone()],
                };
                tried += 1;
                connection_accepted += u32::from(by_us(&root, &chain).is_ok());
                assert_eq!(
                    objection(&root, &chain),
                    None,
                    "element {at}, change {how}, of {place}"
                );
            }
        }
    }
    assert!(tried > 500, "{tried}");
    assert!(
        (1..tried / 2).contains(&connection_accepted),
        "{connection_accepted} of {tried}"
    );
}
