//! Validation of one path (RFC 5280, section 6.1), whose signatures were checked.

use rustls_pki_types::UnixTime;
use x509_parser::extensions::KeyUsage;
use x509_parser::oid_registry::Oid;
use x509_parser::oid_registry::asn1_rs::oid;

use super::certificate::Certificate;
use super::constraints::{Breach, Comparison};
use super::{Refusal, Usage, Window, policies};

const NAME_CONSTRAINTS: Oid<'static> = oid!(2.5.29.30);

/// Purpose and time for which paths of a chain have to be valid.
pub(super) struct Validation {
    usage: Usage,
    now: UnixTime,
    comparison: Comparison,
}

impl Validation {
    pub(super) fn new(usage: Usage, now: UnixTime) -> Self {
        Self {
            usage,
            now,
            comparison: Comparison::default(),
        }
    }

    /// Checks everything of a path but its signatures: the certificates, the party's own first, and
    /// the anchor above them. Returns the time in which all of them are valid.
    ///
    /// Cost: one pass over their extensions, and comparisons of name constraints, which are bounded
    /// for all paths together.
    pub(super) fn check(
        &mut self,
        anchor: &Certificate<'_>,
        path: &[&Certificate<'_>],
    ) -> Result<Window, Refusal> {
        let (leaf, above) = path.split_first().ok_or(Refusal::NoCertificate)?;
        for certificate in path.iter().copied().chain([anchor]) {
            certificate.check_form()?;
        }
        let mut window = Window::of(&anchor.parsed);
        window
            .check(self.now)
            .map_err(|cause| Refusal::AnchorNotValid {
                anchor: anchor.title(),
                cause: Box::new(cause),
            })?;
        for certificate in path {
            let own = Window::of(&certificate.parsed);
            own.check(self.now)?;
            window = window.intersection(own);
        }
        check_party(leaf, self.usage)?;
        let cas: Vec<&Certificate<'_>> = above.iter().copied().chain([anchor]).collect();
        check_authorities(&cas, self.usage)?;
        check_names(&mut self.comparison, leaf, &cas)?;
        let downwards: Vec<&Certificate<'_>> = path.iter().rev().copied().collect();
        if policies::check(&downwards) {
            Ok(window)
        } else {
            Err(Refusal::PolicyRequired)
        }
    }
}

/// The party's own certificate. Without an extended key usage it is refused: ETSI EN 319 412-4
/// requires one for websites, and a seal certificate (QSealC), which has none, must not open a
/// connection.
fn check_party(leaf: &Certificate<'_>, usage: Usage) -> Result<(), Refusal> {
    if leaf.is_ca() {
        return Err(Refusal::CaUsedAsLeaf);
    }
    let stated = leaf.extended_key_usage().is_some_and(|stated| match usage {
        Usage::Client => stated.client_auth,
        Usage::Server => stated.server_auth,
    });
    let signs = leaf.key_usage().is_none_or(KeyUsage::digital_signature);
    if !stated || !signs {
        return Err(Refusal::WrongUsage(usage));
    }
    let malformed = |what: &str| {
        Err(Refusal::Malformed {
            what: what.to_owned(),
            certificate: leaf.title(),
        })
    };
    if leaf.key_usage().is_some_and(KeyUsage::key_cert_sign) {
        return malformed("its key usage has keyCertSign, and it is no CA (section 4.2.1.9)");
    }
    if leaf.value_of(&NAME_CONSTRAINTS).is_some() {
        return malformed("it has nameConstraints, and is no CA (section 4.2.1.10)");
    }
    Ok(())
}

/// The CAs, the anchor last: each has to be one, to be allowed to sign certificates, and to have no
/// more CAs below it than it says (RFC 5280, section 6.1.4, k to n). Those that a CA issues to
/// itself are not counted.
fn check_authorities(cas: &[&Certificate<'_>], usage: Usage) -> Result<(), Refusal> {
    let mut below = 0;
    for ca in cas {
        let constraints = ca.basic_constraints().filter(|constraints| constraints.ca);
        let constraints = constraints.ok_or(Refusal::LeafUsedAsCa)?;
        if ca.subject.is_empty() {
            return Err(Refusal::Malformed {
                what: "its subject is empty (section 4.1.2.6)".to_owned(),
                certificate: "a CA".to_owned(),
            });
        }
        if ca.key_usage().is_some_and(|stated| !stated.key_cert_sign()) {
            return Err(Refusal::NotForCertificates { ca: ca.title() });
        }
        if !allows(ca, usage) {
            return Err(Refusal::WrongUsageOfCa {
                usage,
                ca: ca.title(),
            });
        }
        if let Some(most) = constraints.path_len_constraint
            && below > most
        {
            return Err(Refusal::PathTooLong {
                ca: ca.title(),
                most,
            });
        }
        below += u32::from(!ca.is_self_issued());
    }
    Ok(())
}

/// The names of each certificate against the constraints of all CAs above it, but for those of CAs
/// that issue to themselves (RFC 5280, section 6.1.3, b and c).
fn check_names(
    comparison: &mut Comparison,
    leaf: &Certificate<'_>,
    cas: &[&Certificate<'_>],
) -> Result<(), Refusal> {
    for (place, ca) in cas.iter().enumerate() {
        let Some(constraints) = ca.value_of(&NAME_CONSTRAINTS) else {
            continue;
        };
        let below = cas
            .iter()
            .take(place)
            .filter(|below| !below.is_self_issued());
        for certificate in below.copied().chain([leaf]) {
            let malformed = |what| Refusal::Malformed {
                what,
                certificate: ca.title(),
            };
            comparison
                .check(constraints, certificate)
                .map_err(|breach| match breach {
                    Breach::Forbidden(name) => Refusal::NameConstraintViolated {
                        ca: ca.title(),
                        name,
                    },
                    Breach::Malformed => malformed(format!(
                        "nameConstraints (2.5.29.30) cannot be applied to the names of {}",
                        certificate.title()
                    )),
                    Breach::TooMany => malformed(
                        "there are too many name constraints and names to compare".to_owned(),
                    ),
                })?;
        }
    }
    Ok(())
}

/// Whether the extended key usage names the purpose, or there is none.
pub(super) fn allows(certificate: &Certificate<'_>, usage: Usage) -> bool {
    certificate.extended_key_usage().is_none_or(|stated| {
        stated.any
            || match usage {
                Usage::Client => stated.client_auth,
                Usage::Server => stated.server_auth,
            }
    })
}
