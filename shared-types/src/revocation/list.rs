//! One revocation list, read and checked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateRevocationListDer, UnixTime};
use webpki::BorrowedCertRevocationList;
use x509_parser::extensions::{DistributionPointName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Extension};
use x509_parser::time::ASN1Time;

use super::der;
use super::issuer::{Issuer, Issuers, name_text};
use super::link::{Link, http};
use super::reason::Reason;
use super::signature::Signed;
use crate::trust::{unix, when};

/// A revocation list whose signature, issuer and form were checked. Whether it is fresh depends on the time.
///
/// It is kept as it came, with an index of its serial numbers of four bytes an entry: some 57 bytes with both, and a search of 20 steps among a
/// million.
pub struct List {
    issuer: Arc<Issuer>,
    this_update: UnixTime,
    next_update: UnixTime,
    number: Vec<u8>,
    scope: Scope,
    der: Vec<u8>,
    /// Where the content of each serial number starts in `der`, ordered by serial number.
    index: Vec<u32>,
}

/// For which of its issuer's certificates a list speaks (`issuingDistributionPoint`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Scope {
    /// Those that name one of these places; empty means all.
    places: Vec<String>,
    only_ca: bool,
    only_end_entity: bool,
}

/// Why a list is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Larger than any list may be.
    #[error("is larger than {} MiB", List::MOST_BYTES / 1024 / 1024)]
    TooLarge,
    /// It is something else: an error page, or a part of a list.
    #[error("is no revocation list: {0}")]
    NotAList(String),
    /// It is of a CA that we do not know.
    #[error(
        "is of {issuer}, which is neither an anchor nor a known intermediate that may sign lists"
    )]
    UnknownIssuer {
        /// Who it says issued it.
        issuer: String,
    },
    /// Its signature is not that of the CA it names.
    #[error("is not signed by {issuer}, whose name it carries")]
    BadSignature {
        /// Who it says issued it.
        issuer: String,
    },
    /// It is of a kind that we do not use.
    #[error("is of a kind that is not supported: {0}")]
    Unsupported(&'static str),
    /// Its time has not come.
    #[error("is of {}, which is in the future", when(*.this_update))]
    NotYet {
        /// When it was, or is to be, made.
        this_update: UnixTime,
    },
    /// Its time is over.
    #[error("should have been replaced by {}", when(*.next_update))]
    Stale {
        /// When the next one was due.
        next_update: UnixTime,
    },
    /// There is a newer one at hand.
    #[error("is of {}, and one of {} is at hand", when(*.this_update), when(*.at_hand))]
    Older {
        /// When it was made.
        this_update: UnixTime,
        /// When the one at hand was made.
        at_hand: UnixTime,
    },
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
    /// How far the clock of a list's issuer may be ahead.
    pub const CLOCKS_APART: Duration = Duration::from_mins(5);

    /// Reads a list, PEM or DER, and checks that one of `issuers` signed it.
    ///
    /// Cost: one signature check, and sorting the serial numbers: a third of a second for a million.
    pub fn read(bytes: Vec<u8>, issuers: &Issuers) -> Result<Self, ListError> {
        if bytes.len() > Self::MOST_BYTES {
            return Err(ListError::TooLarge);
        }
        let mut der = to_der(bytes)?;
        der.shrink_to_fit();
        let not_a_list = |what: &str| ListError::NotAList(what.to_owned());
        let signed = Signed::read(&der).ok_or_else(|| not_a_list("it is cut off or malformed"))?;
        let outline = Outline::read(signed.content)?;
        let issuer = signer(&outline, &signed, issuers)?;
        let parsed = BorrowedCertRevocationList::from_der(&der).map_err(|fault| match fault {
            webpki::Error::UnsupportedDeltaCrl => ListError::Unsupported("a delta list"),
            other => ListError::NotAList(other.to_string()),
        })?;
        let scope = Scope::read(outline.extensions)?;
        let start = der.as_ptr().addr();
        let mut index = Vec::with_capacity(outline.entries / SMALLEST_ENTRY);
        for entry in &parsed {
            let entry = entry.map_err(|fault| ListError::NotAList(fault.to_string()))?;
            // RFC 5280, section 4.1.2.2: at most 20 octets. It lies within `der`, which is not that large.
            let place = u32::try_from(entry.serial_number.as_ptr().addr() - start);
            match place {
                Ok(place) if (1..=20).contains(&entry.serial_number.len()) => index.push(place),
                _ => return Err(not_a_list("a serial number is longer than 20 octets")),
            }
        }
        index.sort_unstable_by(|one, other| serial_at(&der, *one).cmp(serial_at(&der, *other)));
        index.shrink_to_fit();
        Ok(Self {
            issuer,
            this_update: outline.this_update,
            next_update: outline.next_update,
            number: outline.number(),
            scope,
            index,
            der,
        })
    }

    /// Whose list it is.
    #[must_use]
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// When it was made.
    #[must_use]
    pub fn this_update(&self) -> UnixTime {
        self.this_update
    }

    /// By when there will be another.
    #[must_use]
    pub fn next_update(&self) -> UnixTime {
        self.next_update
    }

    /// How many certificates are on it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nothing was revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Whether its time has come and is not over. Its issuer's clock may be ahead of ours by [`Self::CLOCKS_APART`].
    pub fn check_fresh(&self, now: UnixTime) -> Result<(), ListError> {
        if now.as_secs() + Self::CLOCKS_APART.as_secs() < self.this_update.as_secs() {
            Err(ListError::NotYet {
                this_update: self.this_update,
            })
        } else if now > self.next_update {
            Err(ListError::Stale {
                next_update: self.next_update,
            })
        } else {
            Ok(())
        }
    }

    /// Whether it speaks for that certificate.
    pub(super) fn covers(&self, link: &Link) -> bool {
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

    /// Whether it was made before the other: the number says so, or the time where numbers are equal.
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        let order = |list: &Self| (list.number.len(), list.number.clone(), list.this_update);
        order(self) < order(other)
    }

    /// Cost: a binary search.
    pub(super) fn find(&self, serial: &[u8]) -> Option<Entry> {
        let found = self
            .index
            .binary_search_by(|place| serial_at(&self.der, *place).cmp(serial))
            .ok()?;
        let place = usize::try_from(*self.index.get(found)?).ok()?;
        let rest = self.der.get(place + serial.len()..)?;
        Some(entry(rest))
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

/// The serial number whose content starts there; the octet before it is its length.
fn serial_at(der: &[u8], place: u32) -> &[u8] {
    let Ok(place) = usize::try_from(place) else {
        return &[];
    };
    let length = place
        .checked_sub(1)
        .and_then(|before| der.get(before))
        .map_or(0, |length| usize::from(*length));
    der.get(place..place + length).unwrap_or_default()
}

/// What follows the serial number of an entry that was read before: a time, and perhaps extensions.
fn entry(rest: &[u8]) -> Entry {
    const REASON: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x15];

    let unknown = Entry {
        since: UnixTime::since_unix_epoch(Duration::ZERO),
        reason: Reason::Unspecified,
    };
    let Ok((after, since)) = ASN1Time::from_der(rest) else {
        return unknown;
    };
    let (extensions, _) = der::optional(after, der::SEQUENCE);
    let mut left = extensions.map_or(&[][..], |extensions| extensions.content);
    let mut reason = Reason::Unspecified;
    while let Some((extension, rest)) = der::element(left, der::SEQUENCE) {
        if extension.content.starts_with(REASON) {
            // OCTET STRING { ENUMERATED }: the code is the last octet.
            reason = extension
                .content
                .last()
                .map_or(reason, |code| Reason::of_code(*code));
        }
        left = rest;
    }
    Entry {
        since: unix(since),
        reason,
    }
}

fn to_der(bytes: Vec<u8>) -> Result<Vec<u8>, ListError> {
    if bytes.first() == Some(&der::SEQUENCE) {
        return Ok(bytes);
    }
    CertificateRevocationListDer::from_pem_slice(&bytes)
        .map(|list| list.as_ref().to_vec())
        .map_err(|_| {
            let start: String = String::from_utf8_lossy(bytes.get(..40).unwrap_or(&bytes))
                .chars()
                .filter(|character| !character.is_control())
                .collect();
            ListError::NotAList(format!(
                "it is neither DER nor PEM, and starts with \"{start}\""
            ))
        })
}

fn signer(
    outline: &Outline<'_>,
    signed: &Signed<'_>,
    issuers: &Issuers,
) -> Result<Arc<Issuer>, ListError> {
    let named = issuers.named(outline.issuer);
    if named.is_empty() {
        return Err(ListError::UnknownIssuer {
            issuer: name_text(outline.issuer),
        });
    }
    named
        .iter()
        .find(|issuer| signed.verify(issuer.key()).is_ok())
        .cloned()
        .ok_or_else(|| ListError::BadSignature {
            issuer: name_text(outline.issuer),
        })
}

/// `TBSCertList`, without a look at its entries.
struct Outline<'a> {
    issuer: &'a [u8],
    this_update: UnixTime,
    next_update: UnixTime,
    /// The length of all entries together.
    entries: usize,
    extensions: &'a [u8],
}

impl<'a> Outline<'a> {
    fn read(content: &'a [u8]) -> Result<Self, ListError> {
        let malformed = || ListError::NotAList("it does not have a list's form".to_owned());
        let part = |bytes, tag| der::element(bytes, tag).ok_or_else(malformed);
        let time = |bytes| ASN1Time::from_der(bytes).map_err(|_| malformed());
        let (list, _) = part(content, der::SEQUENCE)?;
        let (_version, rest) = part(list.content, der::INTEGER)?;
        let (_algorithm, rest) = part(rest, der::SEQUENCE)?;
        let (issuer, rest) = part(rest, der::SEQUENCE)?;
        let (rest, this_update) = time(rest)?;
        // RFC 5280, section 5.1.2.5: there must be one. Without it, a list would never be known to be stale.
        let (rest, next_update) = time(rest)?;
        let (entries, rest) = der::optional(rest, der::SEQUENCE);
        let (extensions, _) = part(rest, der::context(0))?;
        let (extensions, _) = part(extensions.content, der::SEQUENCE)?;
        Ok(Self {
            issuer: issuer.whole,
            this_update: unix(this_update),
            next_update: unix(next_update),
            entries: entries.map_or(0, |entries| entries.content.len()),
            extensions: extensions.content,
        })
    }

    fn number(&self) -> Vec<u8> {
        extensions(self.extensions)
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::CRLNumber(number) => Some(number.to_bytes_be()),
                _ => None,
            })
            .unwrap_or_default()
    }
}

impl Scope {
    fn read(list_extensions: &[u8]) -> Result<Self, ListError> {
        let mut scope = Self::default();
        for extension in extensions(list_extensions) {
            let ParsedExtension::IssuingDistributionPoint(point) = extension.parsed_extension()
            else {
                continue;
            };
            if point.indirect_crl {
                return Err(ListError::Unsupported("an indirect list"));
            }
            if point.only_some_reasons.is_some() {
                return Err(ListError::Unsupported("a list for some reasons only"));
            }
            if point.only_contains_attribute_certs {
                return Err(ListError::Unsupported("a list of attribute certificates"));
            }
            match &point.distribution_point {
                None => {}
                Some(DistributionPointName::FullName(names)) => {
                    scope.places = names.iter().filter_map(http).collect();
                    if scope.places.is_empty() {
                        return Err(ListError::Unsupported("a list for a place that is no URL"));
                    }
                }
                Some(DistributionPointName::NameRelativeToCRLIssuer(_)) => {
                    return Err(ListError::Unsupported("a list for a relative name"));
                }
            }
            scope.only_ca = point.only_contains_ca_certs;
            scope.only_end_entity = point.only_contains_user_certs;
        }
        Ok(scope)
    }
}

fn extensions(mut der: &[u8]) -> impl Iterator<Item = X509Extension<'_>> {
    std::iter::from_fn(move || {
        let (rest, extension) = X509Extension::from_der(der).ok()?;
        der = rest;
        Some(extension)
    })
}
