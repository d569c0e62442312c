//! Certificate of a path, with the fields that a revocation check uses.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::oid_registry::asn1_rs::oid;
use x509_parser::prelude::FromDer as _;

use super::issuer::Issuer;

/// A certificate below the anchor of a validated path, with the data for a revocation check.
#[derive(Debug, Clone)]
pub struct PathCertificate {
    /// The serial number: the content octets of its DER, in whatever form the certificate has it.
    pub serial: Vec<u8>,
    /// The issuer.
    pub issuer: Arc<Issuer>,
    /// Whether this is a CA certificate.
    pub is_ca: bool,
    /// HTTP addresses of the CRLs that cover it (`cRLDistributionPoints`).
    pub lists: Vec<String>,
    /// HTTP addresses of its OCSP responders (`id-ad-ocsp`).
    pub responders: Vec<String>,
}

impl PathCertificate {
    /// Builds one from a certificate and its issuer's certificate without a validated path, for
    /// one's own certificate. `None` if one of them cannot be parsed or the names do not match.
    #[must_use]
    pub fn between(certificate: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let (_, issuer) = X509Certificate::from_der(issuer).ok()?;
        let issuer = Arc::new(Issuer::of(&issuer));
        issuer
            .is_named(certificate.issuer().as_raw())
            .then(|| Self::new(&certificate, issuer))
    }

    pub(crate) fn new(certificate: &X509Certificate<'_>, issuer: Arc<Issuer>) -> Self {
        // By the name as the certificate has it: that is what a responder is asked with (RFC 6960,
        // section 4.1.1).
        let issuer = match certificate.issuer().as_raw() {
            name if name == issuer.name() => issuer,
            name => Arc::new(Issuer::new(name, issuer.key())),
        };
        let mut lists = Vec::new();
        let mut responders = Vec::new();
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::CRLDistributionPoints(points) => {
                    for point in points.iter() {
                        if let Some(DistributionPointName::FullName(names)) =
                            &point.distribution_point
                        {
                            lists.extend(names.iter().filter_map(http));
                        }
                    }
                }
                ParsedExtension::AuthorityInfoAccess(access) => {
                    let ocsp = access
                        .iter()
                        .filter(|entry| entry.access_method == oid!(1.3.6.1.5.5.7.48.1));
                    responders.extend(ocsp.filter_map(|entry| http(&entry.access_location)));
                }
                _ => {}
            }
        }
        Self {
            serial: certificate.raw_serial().to_vec(),
            issuer,
            is_ca: certificate.is_ca(),
            lists,
            responders,
        }
    }
}

fn http(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::URI(uri) if is_http(uri) => Some((*uri).to_owned()),
        _ => None,
    }
}

pub(super) fn is_http(uri: &str) -> bool {
    uri.starts_with("http://") || uri.starts_with("https://")
}
