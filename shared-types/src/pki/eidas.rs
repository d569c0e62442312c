//! Identity in an eIDAS certificate: organisation, roles and authority (ETSI TS 119 495).
//!
//! A QWAC for PSD2 names the licensed organisation in its subject (`organizationIdentifier`, clause
//! 5.2.1) and the roles it is licensed for, with the authority that licensed it, in the PSD2
//! statement of its `QCStatements` extension (clause 5.1). This module reads both. Whether the
//! certificate can be trusted is decided elsewhere, in [`crate::pki::trust`].

use std::collections::BTreeSet;
use std::fmt;

use rustls_pki_types::CertificateDer;
use serde::Serialize;
use serde_with::{DeserializeFromStr, SerializeDisplay};
use strum::VariantArray as _;
use x509_parser::asn1_rs::{
    Any, DerParser, Error as DerError, FromDer as _, Oid, SequenceIterator, Tag, oid,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::X509Name;

use crate::pki::certificate::printable;
use crate::pki::name::{text, words};

/// Identifier of an organisation in a certificate (`organizationIdentifier`; EN 319 412-1, clause
/// 5.1.4): a kind, a country, and an identifier.
///
/// A licensed one has an authorisation number, such as `PSDDE-BAFIN-125314` (ETSI TS 119 495,
/// clause 5.2.1): `PSD`, the country of the NCA, the NCA's own id, and the number that the NCA
/// gave, in whatever characters. Some certificates have another of its identifiers instead: a legal
/// entity identifier (`LEIXG-529900T8BM49AURSDO55`), one of a trade register (`NTRDE-HRB 12345`),
/// for value added tax (`VATDE-123456789`), or of a national scheme (`EI:SE-5567971433`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, DeserializeFromStr)]
#[serde(transparent)]
pub struct OrganisationId(String);

/// The text is not an identifier of that form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an organisation id such as PSDDE-BAFIN-125314, LEIXG-529900T8BM49AURSDO55, NTRDE-HRB \
     12345 or VATDE-123456789"
)]
pub struct NotAnOrganisationId;

impl OrganisationId {
    /// The country of the authority that gave it, by its two letters; `XG`, which is none, for a
    /// legal entity identifier.
    #[must_use]
    pub fn country(&self) -> &str {
        // The form was checked: three characters, and two capitals.
        self.0.get(3..5).unwrap_or_default()
    }

    fn is_authorisation_number(&self) -> bool {
        self.0.starts_with("PSD")
    }

    /// The id as it stands in the certificate, with one space between words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for OrganisationId {
    type Err = NotAnOrganisationId;

    fn from_str(text: &str) -> Result<Self, NotAnOrganisationId> {
        let text = words(text);
        let is_one = || {
            let (kind, rest) = text.split_at_checked(3)?;
            let (country, identifier) = rest.split_once('-')?;
            let number = match kind {
                "PSD" => {
                    let (authority, number) = identifier.split_once('-')?;
                    capitals(authority, 2..=8).then_some(number)?
                }
                "LEI" | "NTR" | "VAT" => identifier,
                _ => {
                    let national = kind.strip_suffix(':')?;
                    capitals(national, 2..=2).then_some(identifier)?
                }
            };
            let is_short = number.chars().nth(64).is_none();
            Some(
                capitals(country, 2..=2)
                    && !number.is_empty()
                    && is_short
                    && number.chars().all(is_seen),
            )
        };
        if is_one().unwrap_or(false) {
            Ok(Self(text))
        } else {
            Err(NotAnOrganisationId)
        }
    }
}

fn capitals(part: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Whether a character shows: two identifiers that look alike are one, and none turns the direction
/// of a line. There are no other restrictions on the characters of an authorisation number.
fn is_seen(character: char) -> bool {
    // Unicode's Default_Ignorable_Code_Point: what is not shown where it is not supported.
    let is_format = matches!(
        character,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E0FFF}'
    );
    !character.is_control() && !is_format
}

impl fmt::Display for OrganisationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for OrganisationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Role for which a party is licensed (ETSI TS 119 495, clause 5.1, Annex A).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
    DeserializeFromStr,
    SerializeDisplay,
)]
pub enum Role {
    /// `PSP_AS`: account servicing, a bank.
    #[strum(serialize = "PSP_AS")]
    AccountServicing,
    /// `PSP_PI`: payment initiation.
    #[strum(serialize = "PSP_PI")]
    PaymentInitiation,
    /// `PSP_AI`: account information.
    #[strum(serialize = "PSP_AI")]
    AccountInformation,
    /// `PSP_IC`: issuing of card-based payment instruments.
    #[strum(serialize = "PSP_IC")]
    CardIssuing,
}

impl Role {
    /// All four, as a bank has them.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name in the statement.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The object identifier in the statement.
    #[must_use]
    pub const fn oid(self) -> Oid<'static> {
        match self {
            Self::AccountServicing => oid!(0.4.0.19495.1.1),
            Self::PaymentInitiation => oid!(0.4.0.19495.1.2),
            Self::AccountInformation => oid!(0.4.0.19495.1.3),
            Self::CardIssuing => oid!(0.4.0.19495.1.4),
        }
    }
}

/// The licensed organisation that a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Psd2Identity {
    /// Authorisation number, or another identifier.
    pub organisation: OrganisationId,
    /// Legal name (`organizationName`), if that is one. A number is none.
    pub name: Option<String>,
    /// Roles.
    pub roles: BTreeSet<Role>,
    /// The licensing authority's name.
    pub nca_name: String,
    /// The licensing authority's id, such as `DE-BAFIN`.
    pub nca_id: String,
}

impl Psd2Identity {
    /// The country of the authority that licensed it, by its two letters.
    #[must_use]
    pub fn country(&self) -> &str {
        let of_nca = self.nca_id.split('-').next().unwrap_or_default();
        if self.organisation.is_authorisation_number() || !capitals(of_nca, 2..=2) {
            self.organisation.country()
        } else {
            of_nca
        }
    }

    /// Whether the organisation is licensed for that role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// Reason for which a certificate names no licensed organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// No `organizationIdentifier` in the subject.
    #[error("the certificate's subject has no organizationIdentifier (2.5.4.97)")]
    NoOrganisationId,
    /// More than one `organizationIdentifier`: it is not clear whom it names.
    #[error("the certificate's subject has more than one organizationIdentifier")]
    SeveralOrganisationIds,
    /// The `organizationIdentifier` does not have the form of one.
    #[error("the certificate's organizationIdentifier is {NotAnOrganisationId}")]
    NotAnOrganisationId,
    /// More than one `organizationName`: it is not clear which is shown to customers.
    #[error("the certificate's subject has more than one organizationName")]
    SeveralNames,
    /// No `organizationName` that can be shown to customers.
    #[error("the certificate's subject has no legal name (organizationName, 2.5.4.10)")]
    NoName,
    /// No PSD2 statement among the `QCStatements`.
    #[error("the certificate has no PSD2 statement (0.4.0.19495.2)")]
    NoPsd2Statement,
    /// More than one `QCStatements` extension, PSD2 statement or type: it is not clear which
    /// counts.
    #[error("the certificate has more than one of {0}: it is not clear which counts")]
    SeveralStatements(&'static str),
    /// The `QCStatements`, or the PSD2 statement within, do not have their form.
    #[error("the certificate's PSD2 statement is not well-formed")]
    MalformedStatement,
    /// The certificate is qualified, but not as one for websites.
    #[error("the certificate is not a website certificate (QcType 0.4.0.1862.1.6.3)")]
    NotForWebsites,
}

/// Reads the organisation from its website certificate (QWAC).
pub fn identify(certificate: &CertificateDer<'_>) -> Result<Psd2Identity, IdentityError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| IdentityError::Unreadable)?;
    let organisation = organisation_id(parsed.subject())?;
    let name = legal_name(parsed.subject())?;
    let statements = Statements::of(&parsed)?;
    let psd2 = statements.psd2.ok_or(IdentityError::NoPsd2Statement)?;
    if !statements.for_websites {
        return Err(IdentityError::NotForWebsites);
    }
    Ok(Psd2Identity {
        organisation,
        name,
        roles: psd2.roles,
        nca_name: psd2.nca_name,
        nca_id: psd2.nca_id,
    })
}

/// Reads the organisation's identifier alone, as a client does that knows which bank it expects.
pub fn organisation_of(certificate: &CertificateDer<'_>) -> Result<OrganisationId, IdentityError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| IdentityError::Unreadable)?;
    organisation_id(parsed.subject())
}

fn organisation_id(subject: &X509Name<'_>) -> Result<OrganisationId, IdentityError> {
    let mut ids = subject.iter_by_oid(&oid!(2.5.4.97));
    let id = ids.next().ok_or(IdentityError::NoOrganisationId)?;
    if ids.next().is_some() {
        return Err(IdentityError::SeveralOrganisationIds);
    }
    text(id.attr_value())
        .and_then(|text| text.parse().ok())
        .ok_or(IdentityError::NotAnOrganisationId)
}

fn legal_name(subject: &X509Name<'_>) -> Result<Option<String>, IdentityError> {
    let mut names = subject.iter_organization();
    let name = names.next().and_then(|name| text(name.attr_value()));
    if names.next().is_some() {
        return Err(IdentityError::SeveralNames);
    }
    let is_name = |name: &String| {
        name.chars().any(char::is_alphabetic) && name.parse::<OrganisationId>().is_err()
    };
    Ok(name.map(|name| printable(&words(&name))).filter(is_name))
}

/// Statements of interest among the `QCStatements` (ETSI EN 319 412-5).
struct Statements {
    psd2: Option<Psd2Statement>,
    for_websites: bool,
}

struct Psd2Statement {
    roles: BTreeSet<Role>,
    nca_name: String,
    nca_id: String,
}

impl Statements {
    fn of(certificate: &X509Certificate<'_>) -> Result<Self, IdentityError> {
        let extension = certificate
            .get_extension_unique(&oid!(1.3.6.1.5.5.7.1.3))
            .map_err(|_| IdentityError::SeveralStatements("the QCStatements extension"))?
            .ok_or(IdentityError::NoPsd2Statement)?;
        Self::read(extension.value)
    }

    /// `QCStatements ::= SEQUENCE OF SEQUENCE { statementId OID, statementInfo ANY OPTIONAL }`
    fn read(der: &[u8]) -> Result<Self, IdentityError> {
        let malformed = || IdentityError::MalformedStatement;
        let several = IdentityError::SeveralStatements;
        let (mut psd2, mut for_websites) = (None, None);
        for statement in sequence(der).ok_or_else(malformed)? {
            elements(&statement).ok_or_else(malformed)?;
            let (info, id) = Oid::from_der(statement.data).map_err(|_| malformed())?;
            if id == oid!(0.4.0.19495.2) {
                let read = Psd2Statement::read(info).ok_or_else(malformed)?;
                if psd2.replace(read).is_some() {
                    return Err(several("the PSD2 statement (0.4.0.19495.2)"));
                }
            } else if id == oid!(0.4.0.1862.1.6) {
                // QcType ::= SEQUENCE OF OID
                let kinds = sequence(info).ok_or_else(malformed)?;
                let is_web =
                    |kind: Any<'_>| kind.oid().is_ok_and(|kind| kind == oid!(0.4.0.1862.1.6.3));
                let found = kinds.into_iter().any(is_web);
                if for_websites.replace(found).is_some() {
                    return Err(several("the certificate's type (QcType, 0.4.0.1862.1.6)"));
                }
            }
        }
        Ok(Self {
            psd2,
            for_websites: for_websites.unwrap_or(false),
        })
    }
}

impl Psd2Statement {
    /// `PSD2QcType ::= SEQUENCE { rolesOfPSP, nCAName UTF8String, nCAId UTF8String }`
    fn read(der: &[u8]) -> Option<Self> {
        let fields = sequence(der)?;
        let [roles, nca_name, nca_id] = fields.as_slice() else {
            return None;
        };
        let text = |field: &Any<'_>| text(field).map(|text| printable(&text));
        // RolesOfPSP ::= SEQUENCE OF SEQUENCE { roleOfPspOid, roleOfPspName }. A role we do not
        // know grants nothing.
        let mut known = BTreeSet::new();
        for role in elements(roles)? {
            elements(&role)?;
            let (_, id) = Oid::from_der(role.data).ok()?;
            known.extend(Role::ALL.iter().find(|role| role.oid() == id));
        }
        Some(Self {
            roles: known,
            nca_name: text(nca_name)?,
            nca_id: text(nca_id)?,
        })
    }
}

/// The elements of the DER `SEQUENCE` that fills `der`.
fn sequence(der: &[u8]) -> Option<Vec<Any<'_>>> {
    let (rest, sequence) = Any::from_der(der).ok()?;
    elements(&sequence).filter(|_| rest.is_empty())
}

/// The elements of a `SEQUENCE`.
fn elements<'a>(sequence: &Any<'a>) -> Option<Vec<Any<'a>>> {
    sequence.tag().assert_eq(Tag::Sequence).ok()?;
    let elements = SequenceIterator::<Any<'a>, DerParser, DerError>::new(sequence.data);
    elements.collect::<Result<_, _>>().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn organisation_ids() {
        for good in [
            "PSDDE-BAFIN-125314",
            "PSDFR-ACPR-1",
            "PSDPL-KNF-IP48/2019",
            "PSDXX-AB-a-b",
            "PSDMT-MFSA-A 12345",
            "PSDGR-BOG-ΑΡ.1",
            "PSDBG-BNB-РГ-2",
            "LEIXG-529900T8BM49AURSDO55",
            "NTRDE-HRB 12345",
            "VATDE-123456789",
            "EI:SE-5567971433",
        ] {
            assert!(good.parse::<OrganisationId>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "PSD",
            "PSDDE-BAFIN-",
            "PSDDE-BAFIN",
            "PSDde-BAFIN-1",
            "PSDDE-B-1",
            "VATDE",
            "VATDE-",
            "XXXDE-123",
            "ei:SE-1",
            "PSDDE-BAFIN-1\u{202e}2",
            "PSDDE-BAFIN-1\u{200b}",
            "PSDDE-BAFIN-1\u{fe0f}",
            "PSDDE-BAFIN-1\u{3164}",
            "PSDDE-BAFIN-1\u{e0100}",
            "ÄÄÄ",
        ] {
            assert!(bad.parse::<OrganisationId>().is_err(), "{bad}");
        }
        let spaced: OrganisationId = " PSDMT-MFSA-A \u{a0}12345 ".parse().unwrap();
        assert_eq!(spaced.as_str(), "PSDMT-MFSA-A 12345");
        let longest = format!("PSDDE-BAFIN-{}", "Ω".repeat(64));
        assert!(longest.parse::<OrganisationId>().is_ok());
        assert!(format!("{longest}1").parse::<OrganisationId>().is_err());
    }

    #[test]
    fn a_country_is_that_of_the_licensing_authority() {
        let country = |organisation: &str, nca_id: &str| {
            let identity = Psd2Identity {
                organisation: organisation.parse().unwrap(),
                name: None,
                roles: BTreeSet::new(),
                nca_name: String::new(),
                nca_id: nca_id.to_owned(),
            };
            identity.country().to_owned()
        };
        assert_eq!(country("PSDDE-BAFIN-1", "FR-ACPR"), "DE");
        assert_eq!(country("LEIXG-529900T8BM49AURSDO55", "FR-ACPR"), "FR");
        assert_eq!(country("VATDE-1", "BAFIN"), "DE");
    }

    /// `QCStatements` written by hand from the ASN.1 of the standard: QcType web, then a PSD2
    /// statement.
    #[test]
    fn a_statement_written_from_the_standard() {
        let qc_type = "3013 06060400 8E460106 3009 06070400 8E46010603";
        let role = "3011 06070400 81982701 03 0C06 5053505F4149";
        let psd2 = format!("3026 06060400 81982702 301C 3013 {role} 0C01 4E 0C02 4445");
        let der: Vec<u8> = {
            let digits: String = format!("303D {qc_type} {psd2}")
                .split_whitespace()
                .collect();
            (0..digits.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
                .collect()
        };
        let statements = Statements::read(&der).unwrap();
        assert!(statements.for_websites);
        let psd2 = statements.psd2.unwrap();
        assert_eq!(psd2.roles, BTreeSet::from([Role::AccountInformation]));
        assert_eq!((psd2.nca_name.as_str(), psd2.nca_id.as_str()), ("N", "DE"));
        for cut in 0..der.len() {
            assert!(Statements::read(&der[..cut]).is_err(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Statements::read(&bytes);
            let _ = identify(&CertificateDer::from(bytes));
        }
    }
}
