//! Reader of PEM files (RFC 7468), and of single objects in DER.
//!
//! Every object of a file is returned, with its position, or the file is refused: an object that is
//! skipped in silence is a revocation list that revokes nothing, or an authority that is missing.
//! Text around objects is skipped (section 2 of the RFC); what looks like an object whose first
//! line is damaged is not.

use std::borrow::Cow;
use std::fmt;

use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use crate::pki::certificate::printable;
use crate::pki::der;

/// Objects in one file, at most.
pub const MAX_OBJECTS: usize = 1000;

/// Kind of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `CERTIFICATE`.
    Certificate,
    /// `X509 CRL`.
    RevocationList,
    /// `PRIVATE KEY`, `RSA PRIVATE KEY` or `EC PRIVATE KEY`, not encrypted.
    PrivateKey,
    /// `EC PARAMETERS`: OpenSSL writes the curve's name before a key that names it too.
    Parameters,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::RevocationList => "revocation list",
            Self::PrivateKey => "private key",
            Self::Parameters => "set of EC parameters",
        })
    }
}

/// Position of an object in its PEM file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Number of the object, from 1.
    pub number: usize,
    /// The line of its `BEGIN`, from 1.
    pub line: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object {}, line {}", self.number, self.line)
    }
}

/// One object of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    /// The kind.
    pub kind: Kind,
    /// Its content.
    pub der: Vec<u8>,
    /// The position; `None` if the file is this one object in DER.
    pub position: Option<Position>,
}

/// The content is not shown: it can be a private key.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("kind", &self.kind)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// Error of a file. The text continues the file's name: "holds an encrypted private key
/// (object 2, line 31); ...". Nothing of the content is repeated. In the commands it gives, `FILE`
/// stands for the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// Not one object of the kind that is read here.
    #[error("holds no {0}, neither as PEM nor as DER")]
    Empty(Kind),
    /// Text of two bytes for each character, as Windows programs write it.
    #[error("is UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW")]
    Utf16,
    /// More objects than [`MAX_OBJECTS`].
    #[error("holds more than {MAX_OBJECTS} objects")]
    TooMany,
    /// Base64 outside an object, or a line that is almost its first or last.
    #[error(
        "has a line that belongs to an object but stands outside one (line {line}): the object's \
         line `-----BEGIN ...-----` \
         is missing or damaged"
    )]
    Stray {
        /// Number of the line, from 1.
        line: usize,
    },
    /// No `END` line with the label of the `BEGIN` line.
    #[error(
        "holds a {label} ({position}) that is cut off: its line `-----END {label}-----` is missing \
         or damaged"
    )]
    Unterminated {
        /// Number of the object.
        position: Position,
        /// The label in its first line.
        label: String,
    },
    /// The content between its first and last line is not base64.
    #[error(
        "holds a {label} ({position}) that is not base64: it was changed or cut off; copy it anew"
    )]
    NotBase64 {
        /// Number of the object.
        position: Position,
        /// The label in its first line.
        label: String,
    },
    /// An object that is not read here.
    #[error("holds {what}{}; {advice}", place(*.position))]
    Unwanted {
        /// Number of the object.
        position: Option<Position>,
        /// The kind.
        what: String,
        /// The advice.
        advice: String,
    },
    /// DER with bytes missing at the end, or others after it.
    #[error(
        "is DER that is cut off, or has something after its first object; where there are several \
         objects, write all as PEM"
    )]
    Length,
}

fn place(position: Option<Position>) -> String {
    position.map_or_else(String::new, |position| format!(" ({position})"))
}

impl PemError {
    /// An object that is read elsewhere, and not where it stands.
    #[must_use]
    pub fn unwanted(object: &Object, advice: &str) -> Self {
        Self::Unwanted {
            position: object.position,
            what: format!("a {}", object.kind),
            advice: advice.to_owned(),
        }
    }
}

/// The objects of a file in which there is one kind of objects and no other, at least one.
pub fn only(kind: Kind, file: &[u8]) -> Result<Vec<Object>, PemError> {
    let found = objects(kind, file)?;
    match found.iter().find(|object| object.kind != kind) {
        Some(other) => Err(PemError::unwanted(
            other,
            &format!("each object here has to be a {kind}: take it out"),
        )),
        None if found.is_empty() => Err(PemError::Empty(kind)),
        None => Ok(found),
    }
}

/// Whether a file is one object in DER, and nothing else.
#[must_use]
pub fn is_der(file: &[u8]) -> bool {
    matches!(der::element(file, der::SEQUENCE), Some((_, [])))
}

/// All objects of a file. What is not PEM can be one object in DER: `expected`, unless it is
/// clearly another one.
///
/// Cost: one pass over the file, and a copy of what is in it.
pub fn objects(expected: Kind, file: &[u8]) -> Result<Vec<Object>, PemError> {
    match file {
        _ if is_der(file) => Ok(vec![Object {
            kind: kind_of_der(expected, file)?,
            der: file.to_vec(),
            position: None,
        }]),
        // No text has such a second byte.
        [der::SEQUENCE, 0x80..=0x84, ..] => Err(PemError::Length),
        _ => text_objects(file),
    }
}

/// All objects of a text.
pub fn text_objects(text: &[u8]) -> Result<Vec<Object>, PemError> {
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(PemError::Utf16);
    }
    let mut found = Vec::new();
    let mut lines = Lines::of(text);
    while let Some(line) = lines.next() {
        let Some(label) = boundary(line.text, b"BEGIN ") else {
            if is_stray(line.text) {
                return Err(PemError::Stray { line: line.number });
            }
            continue;
        };
        if !after_boundary(line.text).is_empty() {
            return Err(PemError::Stray { line: line.number });
        }
        let position = Position {
            number: found.len() + 1,
            line: line.number,
        };
        if found.len() == MAX_OBJECTS {
            return Err(PemError::TooMany);
        }
        found.push(object(&mut lines, label, position)?);
    }
    Ok(found)
}

/// The object whose first line has just been read.
fn object(lines: &mut Lines<'_>, label: &[u8], position: Position) -> Result<Object, PemError> {
    let shown = || printable(&String::from_utf8_lossy(label));
    let unwanted = |what: &str, advice: &str| PemError::Unwanted {
        position: Some(position),
        what: what.to_owned(),
        advice: advice.to_owned(),
    };
    let body = lines.rest;
    let unterminated = || PemError::Unterminated {
        position,
        label: shown(),
    };
    let content = loop {
        let before = lines.rest;
        let line = lines.next().ok_or_else(unterminated)?;
        if line.text.starts_with(b"-----END") {
            if boundary(line.text, b"END ") != Some(label) {
                return Err(unterminated());
            }
            lines.put_back(after_boundary(line.text));
            break body.get(..body.len() - before.len()).unwrap_or_default();
        }
        if line.text.contains(&b'-') && line.text.windows(5).any(|part| part == b"BEGIN") {
            return Err(unterminated());
        }
        if line.text.starts_with(b"Proc-Type:") && line.text.ends_with(b"ENCRYPTED") {
            return Err(unwanted(ENCRYPTED.0, ENCRYPTED.1));
        }
    };
    let kind = kind_of_label(label).map_err(|(what, advice)| unwanted(&what, advice))?;
    if kind == Kind::Parameters {
        return Ok(Object {
            kind,
            der: Vec::new(),
            position: Some(position),
        });
    }
    // The decoder wants the lines that frame an object to stand at the margin.
    let framed: [&[u8]; 7] = [
        b"-----BEGIN ",
        label,
        b"-----\n",
        content,
        b"\n-----END ",
        label,
        b"-----\n",
    ];
    match <(SectionKind, Vec<u8>)>::from_pem_slice(&framed.concat()) {
        Ok((_, der)) if !der.is_empty() => Ok(Object {
            kind,
            der,
            position: Some(position),
        }),
        _ => Err(PemError::NotBase64 {
            position,
            label: shown(),
        }),
    }
}

/// The kind of an object of that label; or its name and advice, if it is not read here.
fn kind_of_label(label: &[u8]) -> Result<Kind, (Cow<'static, str>, &'static str)> {
    let (what, advice) = match label {
        b"CERTIFICATE" => return Ok(Kind::Certificate),
        b"X509 CRL" => return Ok(Kind::RevocationList),
        b"PRIVATE KEY" | b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" => return Ok(Kind::PrivateKey),
        b"EC PARAMETERS" => return Ok(Kind::Parameters),
        b"ENCRYPTED PRIVATE KEY" => ENCRYPTED,
        b"TRUSTED CERTIFICATE" => (
            "a TRUSTED CERTIFICATE",
            "its trust settings would not be heeded here; write it without them: openssl x509 -in \
             FILE -out NEW",
        ),
        b"X509 CERTIFICATE" => (
            "an X509 CERTIFICATE",
            "write it under its usual name: openssl x509 -in FILE -out NEW",
        ),
        b"PKCS7" | b"PKCS #7 SIGNED DATA" | b"CMS" => (
            "a PKCS #7 bundle",
            "take the certificates out: openssl pkcs7 -in FILE -print_certs -out NEW",
        ),
        b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => (
            "a certificate request",
            "the authority answers it with the certificate that belongs here",
        ),
        b"OPENSSH PRIVATE KEY" => (
            "an OpenSSH private key",
            "convert it: ssh-keygen -p -m PKCS8 -f FILE",
        ),
        other => {
            let name = format!(
                "an object \"{}\"",
                printable(&String::from_utf8_lossy(other))
            );
            return Err((name.into(), "it is not read here: take it out"));
        }
    };
    Err((what.into(), advice))
}

const ENCRYPTED: (&str, &str) = (
    "an encrypted private key",
    "its password cannot be asked for here; decrypt it: openssl pkey -in FILE -out NEW",
);

/// The label of a line that begins or ends an object.
fn boundary<'a>(line: &'a [u8], which: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(b"-----")?.strip_prefix(which)?;
    let end = rest.windows(5).position(|part| part == b"-----")?;
    rest.get(..end)
}

/// The text after the last line of an object without a line break, where files were put together.
fn after_boundary(line: &[u8]) -> &[u8] {
    let inner = line.get(5..).unwrap_or_default();
    let end = inner.windows(5).position(|part| part == b"-----");
    end.and_then(|end| inner.get(end + 5..)).unwrap_or_default()
}

/// Whether a line outside objects belongs to one: base64, or a line that should begin or end one.
fn is_stray(line: &[u8]) -> bool {
    /// RFC 7468 has 64 characters in a line. Pins and fingerprints in comments are shorter, or
    /// hexadecimal.
    const LINE: usize = 60;

    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let is_base64 = line.len() >= LINE
        && line.iter().all(base64)
        && !line.iter().all(u8::is_ascii_hexdigit)
        // A rule under a heading is not.
        && line.iter().any(u8::is_ascii_alphanumeric);
    is_base64 || line.starts_with(b"-----BEGIN") || line.starts_with(b"-----END")
}

/// The lines of a text, without the blanks and byte order marks at their ends.
struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
    put_back: &'a [u8],
}

struct Line<'a> {
    text: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a [u8]) -> Self {
        Self {
            rest: text,
            number: 0,
            put_back: &[],
        }
    }

    /// Returns that next, as a part of the same line.
    fn put_back(&mut self, part: &'a [u8]) {
        self.put_back = part;
    }

    fn next(&mut self) -> Option<Line<'a>> {
        let part = std::mem::take(&mut self.put_back);
        let text = if part.is_empty() {
            if self.rest.is_empty() {
                return None;
            }
            self.number += 1;
            let end = self
                .rest
                .iter()
                .position(|byte| matches!(byte, b'\n' | b'\r'));
            let (line, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            self.rest = rest
                .strip_prefix(b"\r\n")
                .or_else(|| rest.get(1..))
                .unwrap_or_default();
            line
        } else {
            part
        };
        Some(Line {
            text: trimmed(text),
            number: self.number,
        })
    }
}

fn trimmed(line: &[u8]) -> &[u8] {
    let mut line = line.trim_ascii();
    while let Some(rest) = line.strip_prefix(b"\xef\xbb\xbf") {
        line = rest.trim_ascii();
    }
    line
}

fn kind_of_der(expected: Kind, der: &[u8]) -> Result<Kind, PemError> {
    /// The object identifiers of PKCS #7, 1.2.840.113549.1.7, without the last number.
    const PKCS7: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07";

    let unwanted = |what: &str, advice: &str| {
        Err(PemError::Unwanted {
            position: None,
            what: what.to_owned(),
            advice: advice.to_owned(),
        })
    };
    let content = der::any(der).map_or(&[][..], |(object, _)| object.content);
    if content.starts_with(&[2, 1, 3]) {
        return unwanted(
            "a PKCS #12 bundle",
            "take certificates and key out: openssl pkcs12 -in FILE -nodes -out NEW",
        );
    }
    if content.starts_with(PKCS7) {
        return unwanted(
            "a PKCS #7 bundle",
            "take the certificates out: openssl pkcs7 -inform DER -in FILE -print_certs -out NEW",
        );
    }
    // EncryptedPrivateKeyInfo ::= SEQUENCE { SEQUENCE { OID, ... }, OCTET STRING }
    let is_encrypted = |(algorithm, rest): (der::Element<'_>, &[u8])| {
        algorithm.content.first() == Some(&der::OID) && rest.first() == Some(&der::OCTET_STRING)
    };
    if der::element(content, der::SEQUENCE).is_some_and(is_encrypted) {
        return unwanted(
            ENCRYPTED.0,
            "decrypt it: openssl pkey -inform DER -in FILE -out NEW",
        );
    }
    let kind = if PrivateKeyDer::try_from(der).is_ok() {
        Kind::PrivateKey
    } else if expected == Kind::Certificate && CertificateRevocationList::from_der(der).is_ok() {
        Kind::RevocationList
    } else if expected != Kind::Certificate && X509Certificate::from_der(der).is_ok() {
        Kind::Certificate
    } else {
        // If it is not, those who use it say so.
        expected
    };
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    const TWO: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQI=\n-----END CERTIFICATE-----\n";

    fn numbers(text: impl AsRef<[u8]>) -> Result<Vec<u8>, PemError> {
        let found = only(Kind::Certificate, text.as_ref())?;
        Ok(found.iter().map(|object| object.der[4]).collect())
    }

    fn refused(text: impl AsRef<[u8]>) -> String {
        numbers(text).unwrap_err().to_string()
    }

    #[test]
    fn every_object_of_a_file_is_read() {
        let crlf = |text: &str| text.replace('\n', "\r\n");
        for text in [
            format!("{ONE}{TWO}"),
            format!("\u{feff}{ONE}{TWO}"),
            format!("{ONE}\u{feff}{TWO}"),
            format!("{}{}", ONE.trim_end(), TWO.trim_end()),
            crlf(ONE) + &crlf(TWO),
            format!("{ONE}{TWO}").replace('\n', "\r"),
            format!(
                "# Root - end of life\n--- begin ---\n=======\n  0 s:CN=CA1\n{ONE} \t\n{TWO}the end"
            ),
            format!("{ONE}{TWO}").replace('\n', " \n\t"),
            // A fingerprint in hexadecimal.
            format!("{ONE}{}\n{TWO}", "0123456789abcdef".repeat(4)),
        ] {
            assert_eq!(numbers(&text), Ok(vec![1, 2]), "{text:?}");
        }
        let found = only(Kind::Certificate, format!("\n{ONE}\n{TWO}").as_bytes()).unwrap();
        let lines: Vec<usize> = found
            .iter()
            .filter_map(|found| found.position)
            .map(|at| at.line)
            .collect();
        assert_eq!(lines, [2, 6]);
    }

    #[test]
    fn an_object_that_is_not_read_is_named_with_its_place() {
        let second = |text: &str| refused(format!("{ONE}{text}"));
        let trusted = TWO.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
        let line = "MAMC".repeat(16);
        for (said, wanted) in [
            (second(&trusted), "TRUSTED CERTIFICATE (object 2, line 4)"),
            (
                second(&TWO.replace("CERTIFICATE", "X509 CRL")),
                "revocation list (object 2, line 4)",
            ),
            (
                second(&TWO.replace("CERTIFICATE", "PUBLIC KEY")),
                "\"PUBLIC KEY\" (object 2, line 4)",
            ),
            (
                second(&TWO.replace("CERTIFICATE", "PKCS7")),
                "openssl pkcs7",
            ),
            (
                second(&TWO.replace("CERTIFICATE", "ENCRYPTED PRIVATE KEY")),
                "openssl pkey",
            ),
            (
                second(
                    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: \
                     X\n\nAAAA\n-----END RSA PRIVATE KEY-----",
                ),
                "openssl pkey",
            ),
            (
                second("-----BEGIN CERTIFICATE-----\nMAMCAQI="),
                "(object 2, line 4) that is cut off",
            ),
            (
                second(&format!("-----BEGIN CERTIFICATE-----\nMAMC\n{TWO}")),
                "(object 2, line 4) that is cut off",
            ),
            (
                second(&TWO.replace("END CERTIFICATE", "END X509 CRL")),
                "(object 2, line 4) that is cut off",
            ),
            (
                second(&TWO.replace("MAMC", "MA*C")),
                "(object 2, line 4) that is not base64",
            ),
            (
                second(&TWO.replace("MAMCAQI=\n", "")),
                "(object 2, line 4) that is not base64",
            ),
            (second(&TWO.replace("-----BEGIN", "----BEGIN")), "line 6"),
            (
                second(&TWO.replace("CERTIFICATE-----", "CERTIFICATE----")),
                "line 4",
            ),
            (second(&line), "line 4"),
            (second(&ONE.replacen('\n', "", 1)), "line 4"),
            (refused(""), "no certificate"),
            (refused("a text"), "no certificate"),
            (refused(b"\xff\xfe-\0-\0"), "iconv"),
        ] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        assert_eq!(numbers(ONE.repeat(MAX_OBJECTS + 1)), Err(PemError::TooMany));
    }

    #[test]
    fn der_is_one_object_and_no_more() {
        let der = [0x30, 3, 4, 1, 1];
        assert_eq!(numbers(der), Ok(vec![1]));
        let long = |length: u8| {
            let mut long = vec![0x30, 0x81, length, 0x30];
            long.resize(3 + 200, 0);
            long
        };
        assert!(only(Kind::RevocationList, &long(200)).is_ok());
        for length in [199, 201] {
            assert_eq!(
                only(Kind::RevocationList, &long(length)),
                Err(PemError::Length)
            );
        }
        for (bytes, wanted) in [
            (&b"\x30\x05\x02\x01\x03\x30\x00"[..], "openssl pkcs12"),
            (
                b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02",
                "openssl pkcs7 -inform DER",
            ),
            (
                b"\x30\x07\x30\x02\x06\x00\x04\x01\x00",
                "openssl pkey -inform DER",
            ),
            (b"\x30\x06\x02\x01\x00\x30\x01\x00", "a private key"),
        ] {
            let said = refused(bytes);
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let key = ONE.replace("CERTIFICATE", "PRIVATE KEY");
        let found = objects(Kind::PrivateKey, key.as_bytes()).unwrap();
        assert!(!format!("{found:?}").contains("48, 3"), "{found:?}");
    }

    proptest! {
        #[test]
        fn all_that_is_written_is_read(
            objects in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..200), "[a-z :#.]{0,70}"), 1..6),
            newline in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        ) {
            use std::fmt::Write as _;

            let mut text = String::new();
            for (der, comment) in &objects {
                let _ = write!(text, "{comment} -{newline}-----BEGIN X509 CRL-----{newline}");
                let base64 = encoded(der);
                for line in base64.as_bytes().chunks(64) {
                    let _ = write!(text, "{}{newline}", String::from_utf8_lossy(line));
                }
                let _ = write!(text, "-----END X509 CRL-----{newline}");
            }
            let found = only(Kind::RevocationList, text.as_bytes()).unwrap();
            let found: Vec<_> = found.into_iter().map(|object| object.der).collect();
            let written: Vec<_> = objects.into_iter().map(|(der, _)| der).collect();
            prop_assert_eq!(found, written);
        }

        /// A byte that is changed changes no more than the object it is in, or the file is refused.
        #[test]
        fn no_object_disappears(at in 0..ONE.len(), byte in any::<u8>()) {
            let long = ONE.replace("MAMCAQE=", &"MAMC".repeat(16));
            let mut text = format!("{long}{long}").into_bytes();
            text[at] = byte;
            if let Ok(found) = text_objects(&text) {
                prop_assert_eq!(found.len(), 2);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>(), der in any::<bool>()) {
            let mut bytes = bytes;
            if der {
                bytes.insert(0, 0x30);
            }
            for kind in [Kind::Certificate, Kind::RevocationList, Kind::PrivateKey] {
                let _ = objects(kind, &bytes).map_err(|error| error.to_string());
            }
        }
    }

    fn encoded(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let number = three
                .iter()
                .fold(0_u32, |number, byte| (number << 8) | u32::from(*byte))
                << (8 * (3 - three.len()));
            for place in 0..4 {
                let digit = usize::try_from((number >> (18 - 6 * place)) & 63).unwrap();
                text.push(if place > three.len() {
                    '='
                } else {
                    char::from(DIGITS[digit])
                });
            }
        }
        text
    }
}
