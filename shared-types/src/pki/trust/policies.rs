//! Certificate policies along a path (RFC 5280, sections 6.1.2 to 6.1.5), where any policy will do.
//!
//! Of the tree of policies that the RFC builds, it only matters whether it has a node at the last
//! level: so the policies expected at the current level are kept, and no tree.

use std::collections::HashSet;

use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::Oid;
use x509_parser::oid_registry::asn1_rs::oid;

use super::certificate::Certificate;

static ANY_POLICY: Oid<'static> = oid!(2.5.29.32.0);

/// Checks a path, the certificate below the anchor first. `false` if it lacks a policy where a CA
/// of it demands one (`policyConstraints`), or maps any policy.
pub(super) fn check(path: &[&Certificate<'_>]) -> bool {
    let last = path.len();
    // Certificates after which a policy is required, mapping is inhibited, and any policy is.
    // Nothing is at first.
    let (mut explicit, mut mapping, mut any) = (last + 1, last + 1, last + 1);
    let mut expected: HashSet<&Oid<'_>> = HashSet::from([&ANY_POLICY]);
    for (certificate, number) in path.iter().zip(1..) {
        let self_issued = certificate.is_self_issued();
        let is_last = number == last;
        let stated = certificate.find(|extension| match extension {
            ParsedExtension::CertificatePolicies(policies) => Some(policies),
            _ => None,
        });
        let stated: HashSet<&Oid<'_>> = stated
            .into_iter()
            .flatten()
            .map(|policy| &policy.policy_id)
            .collect();
        let keeps_all = stated.contains(&ANY_POLICY) && (any > 0 || (self_issued && !is_last));
        let unrestricted = expected.contains(&ANY_POLICY);
        let mut valid: HashSet<&Oid<'_>> = stated
            .into_iter()
            .filter(|policy| **policy != ANY_POLICY)
            .filter(|policy| unrestricted || expected.contains(policy))
            .collect();
        if keeps_all {
            valid.extend(expected);
        }
        if explicit == 0 && valid.is_empty() {
            return false;
        }
        if !is_last && !map(certificate, mapping > 0, &mut valid) {
            return false;
        }
        expected = valid;
        if is_last || !self_issued {
            explicit = explicit.saturating_sub(1);
            mapping = mapping.saturating_sub(1);
            any = any.saturating_sub(1);
        }
        for extension in certificate.parsed.extensions() {
            let limit = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
            match extension.parsed_extension() {
                ParsedExtension::PolicyConstraints(constraints) => {
                    if let Some(skipped) = constraints.require_explicit_policy
                        && (!is_last || skipped == 0)
                    {
                        explicit = explicit.min(limit(skipped));
                    }
                    if let Some(skipped) = constraints.inhibit_policy_mapping {
                        mapping = mapping.min(limit(skipped));
                    }
                }
                ParsedExtension::InhibitAnyPolicy(inhibited) => {
                    any = any.min(limit(inhibited.skip_certs));
                }
                _ => {}
            }
        }
    }
    explicit > 0 || !expected.is_empty()
}

/// Puts in the place of each policy that the CA maps those that it is mapped to, or nothing where
/// mapping is inhibited. `false` if any policy is mapped.
fn map<'a>(
    certificate: &'a Certificate<'_>,
    allowed: bool,
    valid: &mut HashSet<&'a Oid<'a>>,
) -> bool {
    let mappings = certificate.find(|extension| match extension {
        ParsedExtension::PolicyMappings(mappings) => Some(&mappings.mappings),
        _ => None,
    });
    let Some(mappings) = mappings else {
        return true;
    };
    let before = valid.clone();
    for mapping in mappings {
        valid.remove(&mapping.issuer_domain_policy);
    }
    for mapping in mappings {
        let (from, to) = (
            &mapping.issuer_domain_policy,
            &mapping.subject_domain_policy,
        );
        if *from == ANY_POLICY || *to == ANY_POLICY {
            return false;
        }
        if allowed && (before.contains(from) || before.contains(&ANY_POLICY)) {
            valid.insert(to);
        }
    }
    true
}
