//! Certificate revocation list (CRL), parsed and verified.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::UnixTime;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::extension::extensions;
use super::issuer::{Issuer, Issuers, name_text};
use super::path_certificate::{PathCertificate, is_http};
use super::serial::significant;
use super::signature::{SignatureError, Signed};
use crate::pki::der;
use crate::pki::digest::hex;
use crate::pki::pem::{self, Kind, PemError, Position};
use crate::pki::reason::Reason;
use crate::pki::refusal::when;
use crate::pki::validity::unix;

/// A revocation list whose signature, issuer and form were checked. Whether it is fresh depends on
/// the time.
///
/// It is kept as it came, with an index of its serial numbers of four bytes an entry: some 57 bytes
/// with both, and a search of 20 steps among a million.
pub struct List {
    issuer: Arc<Issuer>,
    this_update: UnixTime,
    next_update: UnixTime,
    number: Vec<u8>,
    scope: Scope,
    der: Vec<u8>,
    /// The offset of each serial number in `der`, ordered by serial number.
    index: Vec<u32>,
}

/// Scope of a list: certificates of its issuer that it covers (`issuingDistributionPoint`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Scope {
    /// Distribution points, one of which a certificate names; empty means all.
    places: Vec<String>,
    only_ca: bool,
    only_end_entity: bool,
}

/// Reason for rejecting a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Larger than any list may be.
    #[error("is larger than {} MiB", List::MOST_BYTES / 1024 / 1024)]
    TooLarge,
    /// It is something else: an error page, or a part of a list.
    #[error("is no revocation list: {0}")]
    NotAList(String),
    /// A file that is not lists alone.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// There are several, where one is read.
    #[error("holds several lists, where one is read")]
    Several,
    /// One of several lists of a file.
    #[error("holds a list ({position}) that {error}")]
    OneOfSeveral {
        /// Which one.
        position: Position,
        /// The problem.
        error: Box<ListError>,
    },
    /// It is of a CA that we do not know, of that name.
    #[error(
        "is of {0}, which is neither an anchor nor a known intermediate that may sign lists; \
         name its certificate among the intermediates, if it is a CA below an anchor"
    )]
    UnknownIssuer(String),
    /// Its signature is not that of the CA it names.
    #[error("is not signed by {0}, whose name it carries")]
    BadSignature(String),
    /// Its signature is of a kind that proves nothing, or that is not known.
    #[error(
        "is signed with {algorithm}, which is not accepted: ask {issuer} for a list that is signed \
         with SHA-256 or better (with OpenSSL: openssl ca -gencrl -md sha256)"
    )]
    WeakSignature {
        /// The issuer that it names.
        issuer: String,
        /// The signature algorithm.
        algorithm: String,
    },
    /// It is of a kind that we do not use.
    #[error("is {0}, which is not supported: ask the CA for a complete list of its certificates")]
    Unsupported(&'static str),
    /// It has an unknown critical extension (RFC 5280, sections 5.2 and 5.3).
    #[error(
        "has a critical extension that is not understood, {extension}{}: such a list must not be \
         used; ask the CA for one without it",
        of_entry(.entry.as_ref())
    )]
    CriticalExtension {
        /// The extension's OID.
        extension: String,
        /// The serial number of the entry that has it, in hexadecimal; nothing, where the list
        /// itself has it.
        entry: Option<String>,
    },
    /// Its time, `thisUpdate`, has not come.
    #[error("is of {}, which is in the future", when(*.0))]
    NotYet(UnixTime),
    /// Its time is over: the next one was due at `nextUpdate`.
    #[error("should have been replaced by {}", when(*.0))]
    Stale(UnixTime),
    /// There is a newer one at hand.
    #[error("is of {}, and one of {} is at hand", when(*.this_update), when(*.at_hand))]
    Older {
        /// When it was made.
        this_update: UnixTime,
        /// When the one at hand was made.
        at_hand: UnixTime,
    },
}

fn of_entry(serial: Option<&String>) -> String {
    serial
        .map(|serial| format!(" in the entry of the certificate {serial}"))
        .unwrap_or_default()
}

impl ListError {
    /// The same of one of several lists of a file, if it is one.
    #[must_use]
    pub fn at(self, position: Option<Position>) -> Self {
        match position {
            None => self,
            Some(position) => Self::OneOfSeveral {
                position,
                error: Box::new(self),
            },
        }
    }
}

/// A list of a file or an answer.
#[derive(Debug)]
pub struct FoundList {
    /// The list.
    pub list: List,
    /// The position, if there are several.
    pub position: Option<Position>,
}

/// An entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) since: UnixTime,
    pub(super) reason: Reason,
}

impl List {
    /// The largest list that is read, in bytes.
    pub const MOST_BYTES: usize = 64 * 1024 * 1024;
    /// The tolerance for the clock of a list's issuer.
    pub const CLOCKS_APART: Duration = Duration::from_mins(5);

    /// Reads the lists of a file or an answer, any number as PEM or one in DER, and checks of each
    /// that one of `issuers` signed it. A list that is not good does not hold up the others; a file
    /// that is not lists alone is refused whole.
    ///
    /// Cost of each: one signature check, and sorting the serial numbers.
    pub fn read_all(
        bytes: Vec<u8>,
        issuers: &Issuers,
    ) -> Result<Vec<Result<FoundList, ListError>>, ListError> {
        if pem::is_der(&bytes) {
            let position = None;
            let read = Self::from_der(bytes, issuers).map(|list| FoundList { list, position });
            return Ok(vec![read]);
        }
        let found = pem::only(Kind::RevocationList, &bytes).map_err(|error| match error {
            PemError::Empty(_) => neither_der_nor_pem(&bytes),
            error => error.into(),
        })?;
        drop(bytes);
        let several = found.len() > 1;
        let lists = found.into_iter().map(|object| {
            let position = object.position.filter(|_| several);
            Self::from_der(object.der, issuers)
                .map(|list| FoundList { list, position })
                .map_err(|error| error.at(position))
        });
        Ok(lists.collect())
    }

    /// Reads the only list of a file or an answer, as [`Self::read_all`] does.
    pub fn read(bytes: Vec<u8>, issuers: &Issuers) -> Result<Self, ListError> {
        let mut lists = Self::read_all(bytes, issuers)?;
        match (lists.pop(), lists.is_empty()) {
            (Some(read), true) => read.map(|found| found.list),
            _ => Err(ListError::Several),
        }
    }

    fn from_der(mut der: Vec<u8>, issuers: &Issuers) -> Result<Self, ListError> {
        if der.len() > Self::MOST_BYTES {
            return Err(ListError::TooLarge);
        }
        der.shrink_to_fit();
        let signed = Signed::read(&der).ok_or_else(|| malformed("it is cut off or malformed"))?;
        let outline = Outline::read(&signed)?;
        let issuer = signer(&outline, &signed, issuers)?;
        let extensions = Extensions::read(outline.extensions)?;
        let index = index(&der, outline.entries)?;
        Ok(Self {
            issuer,
            this_update: outline.this_update,
            next_update: outline.next_update,
            number: extensions.number,
            scope: extensions.scope,
            index,
            der,
        })
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// When it was made.
    #[must_use]
    pub fn this_update(&self) -> UnixTime {
        self.this_update
    }

    /// The time of the next list.
    #[must_use]
    pub fn next_update(&self) -> UnixTime {
        self.next_update
    }

    /// The number of revoked certificates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nothing was revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Whether its time has come and is not over. Its issuer's clock may be ahead of ours by
    /// [`Self::CLOCKS_APART`].
    pub fn check_fresh(&self, now: UnixTime) -> Result<(), ListError> {
        if now.as_secs() + Self::CLOCKS_APART.as_secs() < self.this_update.as_secs() {
            Err(ListError::NotYet(self.this_update))
        } else if now > self.next_update {
            Err(ListError::Stale(self.next_update))
        } else {
            Ok(())
        }
    }

    /// Whether it speaks for that certificate.
    pub(super) fn covers(&self, link: &PathCertificate) -> bool {
        let Scope {
            places,
            only_ca,
            only_end_entity,
        } = &self.scope;
        let here = places.is_empty() || link.lists.iter().any(|place| places.contains(place));
        let excluded = if link.is_ca {
            *only_end_entity
        } else {
            *only_ca
        };
        here && !excluded
    }

    /// Whether it is of the same CA and for the same certificates: one replaces the other.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        self.issuer.id() == other.issuer.id() && self.scope == other.scope
    }

    pub(super) fn is_the_same_as(&self, other: &Self) -> bool {
        self.der == other.der
    }

    /// Whether it was issued before the other: by its number, or by its time where numbers are
    /// equal.
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        let order = |list: &Self| (list.number.len(), list.number.clone(), list.this_update);
        order(self) < order(other)
    }

    /// The first entry of that serial number, compared as numbers.
    ///
    /// Cost: a binary search.
    pub(super) fn find(&self, serial: &[u8]) -> Option<Entry> {
        let serial = significant(serial);
        let first = self
            .index
            .partition_point(|place| significant(serial_at(&self.der, *place).0) < serial);
        let (found, rest) = serial_at(&self.der, *self.index.get(first)?);
        (significant(found) == serial).then(|| entry(rest))
    }
}

/// The entries are not shown: there can be a million.
impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List")
            .field("issuer", &self.issuer.to_string())
            .field("this_update", &self.this_update)
            .field("next_update", &self.next_update)
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}

/// No entry takes fewer bytes: tag, length, a serial number of one octet, a time.
const SMALLEST_ENTRY: usize = 2 + 3 + 15;

/// The offset of each entry's serial number in `der`, ordered by serial number, and those of
/// one by place.
fn index(der: &[u8], entries: &[u8]) -> Result<Vec<u32>, ListError> {
    let start = der.as_ptr().addr();
    // Each with the beginning of its serial number: that mostly decides, and is at hand.
    let mut index: Vec<(u64, u32)> = Vec::with_capacity(entries.len() / SMALLEST_ENTRY);
    let mut left = entries;
    while !left.is_empty() {
        let unreadable = || malformed(&format!("its entry {} cannot be read", index.len() + 1));
        let (entry, rest) = der::element(left, der::SEQUENCE).ok_or_else(unreadable)?;
        let (serial, after) = der::element(entry.content, der::INTEGER).ok_or_else(unreadable)?;
        let (_since, after) = der::any(after).ok_or_else(unreadable)?;
        let (extensions, after) = der::optional(after, der::SEQUENCE);
        if !after.is_empty() {
            return Err(unreadable());
        }
        if let Some(extensions) = extensions {
            check_entry(extensions.content, serial.content)?;
        }
        // It lies within `der`, which is not that large.
        let place = u32::try_from(serial.whole.as_ptr().addr() - start);
        let place = place.map_err(|_| ListError::TooLarge)?;
        index.push((beginning(significant(serial.content)), place));
        left = rest;
    }
    let serial = |place: u32| significant(serial_at(der, place).0);
    index.sort_unstable_by(|(beginning, one), (other_beginning, other)| {
        let whole = || serial(*one).cmp(serial(*other)).then(one.cmp(other));
        beginning.cmp(other_beginning).then_with(whole)
    });
    let mut places: Vec<u32> = index.into_iter().map(|(_, place)| place).collect();
    places.shrink_to_fit();
    Ok(places)
}

/// The first eight octets, with zeros after them where there are fewer: in the order of the octets
/// themselves, as far as they go.
fn beginning(octets: &[u8]) -> u64 {
    let mut first = [0; 8];
    for (place, octet) in first.iter_mut().zip(octets) {
        *place = *octet;
    }
    u64::from_be_bytes(first)
}

/// Whether an entry has nothing but the time and reason of the revocation.
fn check_entry(content: &[u8], serial: &[u8]) -> Result<(), ListError> {
    // Of one that is too long, the beginning.
    let serial = || hex(serial.get(..20).unwrap_or(serial));
    for extension in extensions(content) {
        let extension = extension.ok_or_else(|| {
            malformed(&format!(
                "the entry of the certificate {} cannot be read",
                serial()
            ))
        })?;
        match extension.id {
            REASON_CODE | HOLD_INSTRUCTION | INVALIDITY_DATE => {}
            CERTIFICATE_ISSUER => return Err(INDIRECT),
            _ if extension.is_critical => {
                return Err(ListError::CriticalExtension {
                    extension: extension.name(),
                    entry: Some(serial()),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The content of the serial number that starts there, and what follows it in its entry and in the
/// list.
fn serial_at(der: &[u8], place: u32) -> (&[u8], &[u8]) {
    usize::try_from(place)
        .ok()
        .and_then(|place| der::any(der.get(place..)?))
        .map_or((&[], &[]), |(serial, rest)| (serial.content, rest))
}

/// Reads what follows an entry's serial number: a time, and perhaps extensions.
fn entry(rest: &[u8]) -> Entry {
    // A time that cannot be read takes nothing from the fact that the certificate was revoked.
    let since = ASN1Time::from_der(rest)
        .map_or(UnixTime::since_unix_epoch(Duration::ZERO), |time| {
            unix(time.1)
        });
    let after = der::any(rest).map_or(&[][..], |(_, after)| after);
    let content = der::optional(after, der::SEQUENCE).0;
    let reason = extensions(content.map_or(&[], |content| content.content))
        .flatten()
        .find(|extension| extension.id == REASON_CODE)
        // ENUMERATED: the code is the last octet.
        .and_then(|extension| extension.value.last().copied());
    Entry {
        since,
        // removeFromCRL belongs into delta lists alone (RFC 5280, section 5.3.1): whom a complete
        // list names is revoked.
        reason: reason.map_or(Reason::Unspecified, Reason::of_code),
    }
}

fn neither_der_nor_pem(bytes: &[u8]) -> ListError {
    let start: String = String::from_utf8_lossy(bytes.get(..40).unwrap_or(bytes))
        .chars()
        .filter(|character| !character.is_control())
        .collect();
    ListError::NotAList(format!(
        "it is neither DER nor PEM, and starts with \"{start}\""
    ))
}

fn malformed(problem: &str) -> ListError {
    ListError::NotAList(problem.to_owned())
}

fn signer(
    outline: &Outline<'_>,
    signed: &Signed<'_>,
    issuers: &Issuers,
) -> Result<Arc<Issuer>, ListError> {
    let issuer = || name_text(outline.issuer);
    let mut refused = ListError::UnknownIssuer(issuer());
    for known in issuers.named(outline.issuer) {
        refused = match signed.verify(known.key()) {
            Ok(()) => return Ok(Arc::clone(known)),
            Err(SignatureError::Mismatch) => ListError::BadSignature(issuer()),
            Err(SignatureError::Algorithm(algorithm)) => ListError::WeakSignature {
                issuer: issuer(),
                algorithm,
            },
        };
    }
    Err(refused)
}

/// `TBSCertList`, without a look at its entries.
struct Outline<'a> {
    issuer: &'a [u8],
    this_update: UnixTime,
    next_update: UnixTime,
    /// All entries, one after the other.
    entries: &'a [u8],
    /// All extensions of the list, one after the other.
    extensions: &'a [u8],
}

impl<'a> Outline<'a> {
    fn read(signed: &Signed<'a>) -> Result<Self, ListError> {
        let no_form = || malformed("it does not have a list's form");
        let part = |bytes, tag| der::element(bytes, tag).ok_or_else(no_form);
        let time = |bytes| ASN1Time::from_der(bytes).map_err(|_| no_form());
        let (list, _) = part(signed.content, der::SEQUENCE)?;
        // Version 1 has no extensions, and is otherwise the same (RFC 5280, section 5.1.2.1).
        let (version, rest) = der::optional(list.content, der::INTEGER);
        if version.is_some_and(|version| version.content != [1]) {
            return Err(malformed("it is of a version that is not known"));
        }
        let (algorithm, rest) = part(rest, der::SEQUENCE)?;
        if algorithm.content != signed.algorithm {
            return Err(malformed("it names two signature algorithms"));
        }
        let (issuer, rest) = part(rest, der::SEQUENCE)?;
        let (rest, this_update) = time(rest)?;
        // RFC 5280, section 5.1.2.5: there must be one. Without it, a list would never be known to
        // be stale.
        let (rest, next_update) = ASN1Time::from_der(rest).map_err(|_| {
            malformed(
                "it does not say when the next one is due (nextUpdate); with OpenSSL: openssl ca \
                 -gencrl -crldays 7",
            )
        })?;
        let (entries, rest) = der::optional(rest, der::SEQUENCE);
        let extensions = if rest.is_empty() {
            &[]
        } else {
            let (outer, rest) = part(rest, der::context_tag(0))?;
            let (extensions, more) = part(outer.content, der::SEQUENCE)?;
            if !rest.is_empty() || !more.is_empty() {
                return Err(no_form());
            }
            extensions.content
        };
        Ok(Self {
            issuer: issuer.whole,
            this_update: unix(this_update),
            next_update: unix(next_update),
            entries: entries.map_or(&[], |entries| entries.content),
            extensions,
        })
    }
}

/// 2.5.29.20
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
/// 2.5.29.21
const REASON_CODE: &[u8] = &[0x55, 0x1d, 21];
/// 2.5.29.23
const HOLD_INSTRUCTION: &[u8] = &[0x55, 0x1d, 23];
/// 2.5.29.24
const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 24];
/// 2.5.29.27
const DELTA_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
/// 2.5.29.28
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];
/// 2.5.29.29
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
/// 2.5.29.35
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];

const INDIRECT: ListError = ListError::Unsupported("an indirect list");

/// Extensions of a list (RFC 5280, section 5.2).
#[derive(Default)]
struct Extensions {
    number: Vec<u8>,
    scope: Scope,
}

impl Extensions {
    fn read(content: &[u8]) -> Result<Self, ListError> {
        let mut found = Self::default();
        let mut seen = HashSet::new();
        for extension in extensions(content) {
            let extension =
                extension.ok_or_else(|| malformed("one of its extensions cannot be read"))?;
            if !seen.insert(extension.id) {
                let twice = format!("it has the extension {} twice", extension.name());
                return Err(malformed(&twice));
            }
            match extension.id {
                CRL_NUMBER => {
                    let number = der::element(extension.value, der::INTEGER);
                    let (number, _) =
                        number.ok_or_else(|| malformed("its number (cRLNumber) cannot be read"))?;
                    found.number = significant(number.content).to_vec();
                }
                ISSUING_DISTRIBUTION_POINT => found.scope = Scope::read(extension.value)?,
                DELTA_INDICATOR => return Err(ListError::Unsupported("a delta list")),
                AUTHORITY_KEY_ID => {}
                _ if extension.is_critical => {
                    return Err(ListError::CriticalExtension {
                        extension: extension.name(),
                        entry: None,
                    });
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

impl Scope {
    /// `IssuingDistributionPoint` (RFC 5280, section 5.2.5), each of whose parts may be left out.
    fn read(der: &[u8]) -> Result<Self, ListError> {
        const ONLY_USER_CERTS: u8 = 0x81;
        const ONLY_CA_CERTS: u8 = 0x82;
        const ONLY_SOME_REASONS: u8 = 0x83;
        const INDIRECT_CRL: u8 = 0x84;
        const ONLY_ATTRIBUTE_CERTS: u8 = 0x85;

        let no_form = || malformed("what it speaks for (issuingDistributionPoint) cannot be read");
        let Some((point, [])) = der::element(der, der::SEQUENCE) else {
            return Err(no_form());
        };
        let mut scope = Self::default();
        for part in der::elements(point.content).ok_or_else(no_form)? {
            // BOOLEAN; FALSE should have been left out.
            let is_true = part.content != [0];
            match part.tag {
                tag if tag == der::context_tag(0) => scope.places = Self::places(part.content)?,
                ONLY_USER_CERTS => scope.only_end_entity = is_true,
                ONLY_CA_CERTS => scope.only_ca = is_true,
                ONLY_SOME_REASONS => {
                    return Err(ListError::Unsupported("a list for some reasons only"));
                }
                INDIRECT_CRL if is_true => return Err(INDIRECT),
                ONLY_ATTRIBUTE_CERTS if is_true => {
                    return Err(ListError::Unsupported("a list of attribute certificates"));
                }
                INDIRECT_CRL | ONLY_ATTRIBUTE_CERTS => {}
                _ => return Err(no_form()),
            }
        }
        if scope.only_ca && scope.only_end_entity {
            return Err(malformed(
                "it speaks for CA certificates alone, and for all others alone",
            ));
        }
        Ok(scope)
    }

    /// The addresses in a `DistributionPointName`; at least one.
    fn places(content: &[u8]) -> Result<Vec<String>, ListError> {
        const URI: u8 = 0x86;

        let no_form = || malformed("for which places it speaks (distributionPoint) cannot be read");
        let (name, _) = der::any(content).ok_or_else(no_form)?;
        if name.tag != der::context_tag(0) {
            return Err(ListError::Unsupported("a list for a relative name"));
        }
        let names = der::elements(name.content).ok_or_else(no_form)?;
        let places: Vec<String> = names
            .iter()
            .filter(|name| name.tag == URI)
            .filter_map(|name| std::str::from_utf8(name.content).ok())
            .filter(|uri| is_http(uri))
            .map(str::to_owned)
            .collect();
        if places.is_empty() {
            return Err(ListError::Unsupported("a list for a place that is no URL"));
        }
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Entries with those serial numbers, as long as each is below 100 octets.
    fn entries(serials: &[Vec<u8>]) -> Vec<u8> {
        let entry = |serial: &Vec<u8>| {
            let serial = der::write(der::INTEGER, &[serial]);
            let time = der::write(0x17, &[b"260101000000Z"]);
            der::write(der::SEQUENCE, &[&serial, &time])
        };
        serials.iter().map(entry).collect::<Vec<_>>().concat()
    }

    fn list(der: Vec<u8>, index: Vec<u32>) -> List {
        List {
            issuer: Arc::new(Issuer::new(b"name", b"key")),
            this_update: UnixTime::since_unix_epoch(Duration::ZERO),
            next_update: UnixTime::since_unix_epoch(Duration::ZERO),
            number: Vec::new(),
            scope: Scope::default(),
            der,
            index,
        }
    }

    proptest! {
        /// Serial numbers of few octets are often the same, and differ in leading octets.
        #[test]
        fn whom_a_list_names_is_found(serials in proptest::collection::vec(proptest::collection::vec(0_u8..3, 0..12), 0..40), other in proptest::collection::vec(0_u8..3, 0..12)) {
            let der = entries(&serials);
            let list = list(der.clone(), index(&der, &der).unwrap());
            for serial in &serials {
                prop_assert!(list.find(serial).is_some());
            }
            let is_named = serials.iter().any(|serial| significant(serial) == significant(&other));
            prop_assert_eq!(list.find(&other).is_some(), is_named);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), place in 0_usize..40, octet in any::<u8>()) {
            let _ = Extensions::read(&bytes);
            let _ = Scope::read(&bytes);
            let _ = Scope::read(&der::write(der::SEQUENCE, &[&bytes]));
            let _ = Scope::places(&bytes);
            let _ = entry(&bytes);
            if let Ok(index) = index(&bytes, &bytes) {
                let _ = list(bytes, index).find(&[1]);
            }
            // One octet away from what is well-formed.
            let value = der::write(der::OCTET_STRING, &[&der::write(der::SEQUENCE, &[])]);
            let id = der::write(der::OID, &[ISSUING_DISTRIBUTION_POINT]);
            let mut extension = der::write(der::SEQUENCE, &[&id, &value]);
            if let Some(changed) = extension.get_mut(place) {
                *changed = octet;
            }
            let _ = Extensions::read(&extension);
            let _ = check_entry(&extension, &[1]);
            let mut changed = entries(&[vec![1], vec![2; 20]]);
            if let Some(changed) = changed.get_mut(place) {
                *changed = octet;
            }
            if let Ok(index) = index(&changed, &changed) {
                let _ = list(changed, index).find(&[1]);
            }
        }
    }
}
