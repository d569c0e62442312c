//! Parser of `BasicOCSPResponse`, before any verification (RFC 6960, section 4.2.1).

use std::cmp::Reverse;

use rustls_pki_types::UnixTime;
use sha1::{Digest as _, Sha1};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::Oid;
use x509_parser::oid_registry::asn1_rs::oid;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::answer::{AnswerError, CertStatus, Delegate};
use super::question::{NONCE, key_hash, names};
use crate::pki::der::{self, Element};
use crate::pki::name::is_one_name;
use crate::pki::reason::Reason;
use crate::pki::revocation::extension::{Extension, extensions};
use crate::pki::revocation::path_certificate::PathCertificate;
use crate::pki::revocation::signature::{SignatureError, Signed};
use crate::pki::validity::{Window, unix};

/// Certificates that are looked at for the signer's, at most. Whether its issuer has issued one
/// costs a signature.
const MAX_CERTIFICATES: usize = 4;

/// `BasicOCSPResponse`, not verified yet.
pub(super) struct Basic<'a> {
    responder: Responder<'a>,
    /// The content of the `SEQUENCE OF SingleResponse`.
    singles: &'a [u8],
    pub(super) nonce: Option<&'a [u8]>,
    signed: Signed<'a>,
    /// The content of the `SEQUENCE OF Certificate`.
    certificates: &'a [u8],
}

/// Signer that an answer names (`ResponderID`).
enum Responder<'a> {
    /// By the name of its certificate, as DER.
    Name(&'a [u8]),
    /// By the SHA-1 of its public key.
    Key(&'a [u8]),
}

/// `SingleResponse`.
pub(super) struct Single {
    pub(super) said: CertStatus,
    pub(super) this_update: UnixTime,
    pub(super) next_update: Option<UnixTime>,
}

/// Verified signer, and the validity of its certificate.
pub(super) struct Signer {
    pub(super) from: UnixTime,
    pub(super) until: UnixTime,
    pub(super) delegate: Option<Delegate>,
}

const fn no_form() -> AnswerError {
    AnswerError::NotAnAnswer("it does not have an answer's form")
}

fn part(bytes: &[u8], tag: u8) -> Result<(Element<'_>, &[u8]), AnswerError> {
    der::element(bytes, tag).ok_or_else(no_form)
}

fn time(bytes: &[u8]) -> Result<(UnixTime, &[u8]), AnswerError> {
    ASN1Time::from_der(bytes)
        .map(|(rest, time)| (unix(time), rest))
        .map_err(|_| no_form())
}

impl<'a> Basic<'a> {
    /// `OCSPResponse ::= SEQUENCE { ENUMERATED, [0] SEQUENCE { responseType, OCTET STRING }
    /// OPTIONAL }`
    pub(super) fn read(der: &'a [u8]) -> Result<Self, AnswerError> {
        const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

        let (outer, rest) =
            der::element(der, der::SEQUENCE).ok_or(AnswerError::NotAnAnswer("it is not DER"))?;
        if !rest.is_empty() {
            return Err(no_form());
        }
        let (status, rest) = part(outer.content, der::ENUMERATED)?;
        match status.content {
            [0] => {}
            [1] => return Err(AnswerError::Refused("the question was malformed")),
            [2] => return Err(AnswerError::Refused("the responder has failed")),
            [3] => return Err(AnswerError::TryLater),
            [5] => return Err(AnswerError::Refused("the question has to be signed")),
            [6] => {
                return Err(AnswerError::Refused(
                    "the responder does not answer us, or not for this issuer",
                ));
            }
            _ => return Err(no_form()),
        }
        let (bytes, _) = part(rest, der::context_tag(0))?;
        let (bytes, _) = part(bytes.content, der::SEQUENCE)?;
        let (kind, rest) = part(bytes.content, der::OID)?;
        if kind.content != BASIC {
            return Err(AnswerError::NotAnAnswer("it is of an unknown type"));
        }
        let (response, _) = part(rest, der::OCTET_STRING)?;
        Self::read_basic(response.content)
    }

    /// `SEQUENCE { ResponseData, AlgorithmIdentifier, BIT STRING, certs [0] SEQUENCE OF Certificate
    /// OPTIONAL }`
    fn read_basic(der: &'a [u8]) -> Result<Self, AnswerError> {
        let (basic, _) = part(der, der::SEQUENCE)?;
        let (data, rest) = part(basic.content, der::SEQUENCE)?;
        let (algorithm, rest) = part(rest, der::SEQUENCE)?;
        let (signature, rest) = part(rest, der::BIT_STRING)?;
        let signed =
            Signed::new(data.whole, algorithm.content, signature.content).ok_or_else(no_form)?;
        let certificates = match der::optional(rest, der::context_tag(0)) {
            (Some(certificates), _) => part(certificates.content, der::SEQUENCE)?.0.content,
            (None, _) => &[],
        };
        // ResponseData ::= SEQUENCE { version [0] DEFAULT v1, ResponderID, producedAt, responses,
        // extensions [1] }
        let (version, rest) = der::optional(data.content, der::context_tag(0));
        if version.is_some_and(|version| version.content != [der::INTEGER, 1, 0]) {
            return Err(AnswerError::NotAnAnswer(
                "it is of a version that is not known",
            ));
        }
        let (responder, rest) = der::any(rest).ok_or_else(no_form)?;
        let responder = match responder.tag {
            tag if tag == der::context_tag(1) => Responder::Name(responder.content),
            tag if tag == der::context_tag(2) => {
                Responder::Key(part(responder.content, der::OCTET_STRING)?.0.content)
            }
            _ => return Err(no_form()),
        };
        let (_produced_at, rest) = time(rest)?;
        let (singles, rest) = part(rest, der::SEQUENCE)?;
        let nonce = nonce(extensions_within(rest)?)?;
        Ok(Self {
            responder,
            singles: singles.content,
            nonce,
            signed,
            certificates,
        })
    }

    /// The status of that certificate. Of several statuses, the worst counts.
    pub(super) fn about(&self, link: &PathCertificate) -> Result<Single, AnswerError> {
        let mut found = Vec::new();
        for single in der::elements(self.singles).ok_or_else(no_form)? {
            let (single, _) = part(single.whole, der::SEQUENCE)?;
            let (id, after) = part(single.content, der::SEQUENCE)?;
            if names(id.content, link) {
                found.push(Single::read(after)?);
            }
        }
        // The first of the worst.
        let worst = found
            .into_iter()
            .min_by_key(|single| Reverse(single.weight()));
        worst.ok_or(AnswerError::AnotherCertificate)
    }

    /// The signer, if it may sign for this issuer.
    pub(super) fn signer(&self, link: &PathCertificate) -> Result<Signer, AnswerError> {
        let issuer = &link.issuer;
        let is_issuer = match self.responder {
            Responder::Name(name) => issuer.is_named(name),
            Responder::Key(hash) => hash == key_hash(issuer),
        };
        let mut refused = AnswerError::NotItsResponder(issuer.to_string());
        if is_issuer {
            match self.signed.verify(issuer.key()) {
                Ok(()) => {
                    return Ok(Signer {
                        from: UnixTime::since_unix_epoch(std::time::Duration::ZERO),
                        until: UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::MAX)),
                        delegate: None,
                    });
                }
                Err(error) => refused = error.into(),
            }
        }
        // A responder that got a new key has two certificates of one name.
        let mut left = self.certificates;
        for _ in 0..MAX_CERTIFICATES {
            let Some((certificate, rest)) = der::element(left, der::SEQUENCE) else {
                break;
            };
            left = rest;
            let Ok((_, parsed)) = X509Certificate::from_der(certificate.whole) else {
                continue;
            };
            if !self.responder.is(&parsed) || !is_vouched_for(certificate.whole, &parsed, link) {
                continue;
            }
            match self.signed.verify(parsed.public_key().raw) {
                Ok(()) => return Ok(Signer::delegate(&parsed, link)),
                Err(error) => refused = error.into(),
            }
        }
        Err(refused)
    }
}

impl From<SignatureError> for AnswerError {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Mismatch => Self::BadSignature,
            SignatureError::Algorithm(algorithm) => Self::WeakSignature(algorithm),
        }
    }
}

impl Responder<'_> {
    fn is(&self, certificate: &X509Certificate<'_>) -> bool {
        match self {
            Self::Name(name) => is_one_name(name, certificate.subject().as_raw()),
            Self::Key(hash) => {
                let key = &certificate.public_key().subject_public_key.data;
                Sha1::digest(key).as_slice() == *hash
            }
        }
    }
}

/// Whether the issuer of the certificate in question has issued this one too, for answering (RFC
/// 6960, section 4.2.2.2).
///
/// A CA below it may state that purpose for the responders that it appoints itself: it does not
/// answer for its issuer, least of all about itself.
fn is_vouched_for(der: &[u8], certificate: &X509Certificate<'_>, link: &PathCertificate) -> bool {
    let for_answering = certificate
        .extended_key_usage()
        .is_ok_and(|usage| usage.is_some_and(|usage| usage.value.ocsp_signing));
    let for_signing = certificate
        .key_usage()
        .is_ok_and(|usage| usage.is_none_or(|usage| usage.value.digital_signature()));
    for_answering
        && for_signing
        && !certificate.is_ca()
        && is_understood(certificate)
        && link.issuer.is_named(certificate.issuer().as_raw())
        && Signed::read(der).is_some_and(|signed| signed.verify(link.issuer.key()).is_ok())
}

/// Whether nothing critical in a responder's certificate goes beyond what is looked at or does not
/// concern an answer (RFC 5280, section 4.2).
fn is_understood(certificate: &X509Certificate<'_>) -> bool {
    let known = [
        oid!(2.5.29.14), // subject key identifier
        oid!(2.5.29.15), // key usage
        oid!(2.5.29.17), // subject alternative name
        oid!(2.5.29.19), // basic constraints
        oid!(2.5.29.32), // certificate policies
        oid!(2.5.29.35), // authority key identifier
        oid!(2.5.29.37), // extended key usage
        OCSP_NO_CHECK,
    ];
    let mut extensions = certificate.extensions().iter();
    extensions.all(|extension| !extension.critical || known.contains(&extension.oid))
}

/// `id-pkix-ocsp-nocheck` (RFC 6960, section 4.2.2.2.1).
const OCSP_NO_CHECK: Oid<'static> = oid!(1.3.6.1.5.5.7.48.1.5);

impl Signer {
    fn delegate(certificate: &X509Certificate<'_>, link: &PathCertificate) -> Self {
        let window = Window::of(certificate);
        let mut extensions = certificate.extensions().iter();
        let without_check = extensions.any(|extension| extension.oid == OCSP_NO_CHECK);
        Self {
            from: window.from,
            until: window.until,
            delegate: Some(Delegate {
                link: PathCertificate::new(certificate, link.issuer.clone()),
                without_check,
            }),
        }
    }
}

impl Single {
    /// The severity of the status.
    fn weight(&self) -> u8 {
        match self.said {
            CertStatus::Good => 0,
            CertStatus::Unknown => 1,
            CertStatus::Revoked { .. } => 2,
        }
    }

    /// Reads what follows the `CertID`: `certStatus, thisUpdate, nextUpdate [0] OPTIONAL,
    /// singleExtensions [1] OPTIONAL`
    fn read(after_id: &[u8]) -> Result<Self, AnswerError> {
        const GOOD: u8 = 0x80;
        const UNKNOWN: u8 = 0x82;

        let (status, rest) = der::any(after_id).ok_or_else(no_form)?;
        let said = match status.tag {
            GOOD => CertStatus::Good,
            UNKNOWN => CertStatus::Unknown,
            tag if tag == der::context_tag(1) => {
                let (since, rest) = time(status.content)?;
                let reason = match der::optional(rest, der::context_tag(0)) {
                    (Some(reason), _) => part(reason.content, der::ENUMERATED)?
                        .0
                        .content
                        .last()
                        .map_or(Reason::Unspecified, |code| Reason::of_code(*code)),
                    (None, _) => Reason::Unspecified,
                };
                CertStatus::Revoked { since, reason }
            }
            _ => return Err(no_form()),
        };
        let (this_update, rest) = time(rest)?;
        let (next, rest) = der::optional(rest, der::context_tag(0));
        let next_update = match next {
            Some(next) => Some(time(next.content)?.0),
            None => None,
        };
        for extension in extensions(extensions_within(rest)?) {
            may_be_ignored(&extension.ok_or_else(no_form)?)?;
        }
        Ok(Self {
            said,
            this_update,
            next_update,
        })
    }
}

/// The content of what follows, an answer or what it says of one certificate: `extensions [1]
/// Extensions OPTIONAL`.
fn extensions_within(rest: &[u8]) -> Result<&[u8], AnswerError> {
    match der::optional(rest, der::context_tag(1)) {
        (Some(outer), []) => Ok(part(outer.content, der::SEQUENCE)?.0.content),
        (None, []) => Ok(&[]),
        _ => Err(no_form()),
    }
}

/// The nonce among the extensions of an answer, the only one of them that is understood.
fn nonce(content: &[u8]) -> Result<Option<&[u8]>, AnswerError> {
    let mut nonce = None;
    for extension in extensions(content) {
        let extension = extension.ok_or_else(no_form)?;
        if extension.id != NONCE {
            may_be_ignored(&extension)?;
            continue;
        }
        // RFC 8954 wraps it once more; older responders do not.
        let value = der::element(extension.value, der::OCTET_STRING)
            .map_or(extension.value, |(inner, _)| inner.content);
        if nonce.replace(value).is_some() {
            return Err(AnswerError::NotAnAnswer("it carries two nonces"));
        }
    }
    Ok(nonce)
}

fn may_be_ignored(extension: &Extension<'_>) -> Result<(), AnswerError> {
    if extension.is_critical {
        Err(AnswerError::CriticalExtension(extension.name()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::pki::revocation::issuer::Issuer;
    use crate::pki::revocation::ocsp::{Answer, Question};

    fn link() -> PathCertificate {
        PathCertificate {
            serial: vec![1],
            issuer: Arc::new(Issuer::new(b"name", b"key")),
            is_ca: false,
            lists: Vec::new(),
            responders: Vec::new(),
        }
    }

    fn read(bytes: &[u8]) -> Result<Answer, AnswerError> {
        Answer::read(bytes.to_vec(), &link(), None)
    }

    /// The answers of RFC 6960, section 4.2.1, that bring no status along.
    #[test]
    fn refusals_are_told_apart() {
        let status = |status: u8| der::write(der::SEQUENCE, &[&[der::ENUMERATED, 1, status]]);
        for refusal in [1, 2, 3, 5, 6] {
            let outcome = read(&status(refusal));
            assert!(
                matches!(
                    outcome,
                    Err(AnswerError::Refused(_) | AnswerError::TryLater)
                ),
                "{outcome:?}"
            );
        }
        for other in [0, 4, 7, 200] {
            assert!(matches!(
                read(&status(other)),
                Err(AnswerError::NotAnAnswer(_))
            ));
        }
        assert!(matches!(read(b"<html>"), Err(AnswerError::NotAnAnswer(_))));
        let large = vec![0x30; Answer::MOST_BYTES + 1];
        assert!(matches!(read(&large), Err(AnswerError::TooLarge)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            // Inside the wrapping as well.
            let basic = der::write(der::OCTET_STRING, &[&bytes]);
            let kind = der::write(der::OID, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
            let content = der::write(der::SEQUENCE, &[&kind, &basic]);
            let tagged = der::write(der::context_tag(0), &[&content]);
            let answer = der::write(der::SEQUENCE, &[&[der::ENUMERATED, 1, 0], &tagged]);
            let _ = read(&answer);
            let _ = Basic::read_basic(&der::write(der::SEQUENCE, &[&bytes]));
            let _ = nonce(&bytes);
        }

        /// Our own reading of what a question names agrees with our writing.
        #[test]
        fn a_question_names_its_certificate(serial in proptest::collection::vec(any::<u8>(), 1..21), nonce in proptest::collection::vec(any::<u8>(), 1..129)) {
            let link = PathCertificate { serial, ..link() };
            let question = Question::about(&link, &nonce);
            let (outer, _) = der::element(question.der(), der::SEQUENCE).unwrap();
            let (asked, _) = der::element(outer.content, der::SEQUENCE).unwrap();
            let (requests, _) = der::element(asked.content, der::SEQUENCE).unwrap();
            let (request, _) = der::element(requests.content, der::SEQUENCE).unwrap();
            let (id, _) = der::element(request.content, der::SEQUENCE).unwrap();
            prop_assert!(names(id.content, &link));
            let other_serial = PathCertificate { serial: vec![0x7f; 21], ..link.clone() };
            let issuer = Arc::new(Issuer::new(b"other name", b"key"));
            let other_issuer = PathCertificate { issuer, ..link };
            prop_assert!(!names(id.content, &other_serial) && !names(id.content, &other_issuer));
        }
    }
}
