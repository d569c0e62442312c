//! Parser of forwarded client certificate headers, in the forms of RFC 9440, nginx and Envoy.
//!
//! Turns headers into a chain. Whether that chain is trusted is decided elsewhere.

mod envoy;
mod escaped_pem;
mod rfc9440;
#[cfg(test)]
mod tests;

use actix_http::header::{HeaderMap, HeaderName};
use rustls_pki_types::CertificateDer;

/// The header, or headers, in which the gateways of a listener forward certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateHeader {
    /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440).
    Rfc9440,
    /// URL-encoded PEM, as in nginx's variable `$ssl_client_escaped_cert`, in that header.
    NginxEscapedPem(HeaderName),
    /// Envoy's `x-forwarded-client-cert`, with `Cert` or `Chain` in its one element.
    EnvoyXfcc,
}

/// A certificate header that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{header}: {problem}")]
pub struct MalformedHeader {
    /// The header.
    pub header: HeaderName,
    /// The problem.
    pub problem: HeaderProblem,
}

/// The problem of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderProblem {
    /// There are several.
    #[error("the header must be there once")]
    Repeated,
    /// A chain came without the certificate that it belongs to.
    #[error("there is no Client-Cert that the chain belongs to")]
    ChainAlone,
    /// The value is not the Byte Sequence of RFC 9440.
    #[error("must be a Byte Sequence, base64 between colons (RFC 8941, section 3.3.5)")]
    NotAByteSequence,
    /// It is not URL-encoded.
    #[error("must be URL-encoded: a % is followed by two hexadecimal digits")]
    NotUrlEncoded,
    /// It is not PEM.
    #[error("must be URL-encoded PEM")]
    NotPem,
    /// It holds no certificate, or several where one is expected.
    #[error("must hold one certificate")]
    NotOne,
    /// A certificate is too large.
    #[error("a certificate is larger than {MAX_CERTIFICATE_BYTES} bytes")]
    TooLarge,
    /// The chain is too long.
    #[error("the chain has more than {MAX_INTERMEDIATES} certificates above the first")]
    TooLong,
    /// It is not what Envoy sends.
    #[error("must be pairs of key and value, separated by semicolons")]
    NotPairs,
    /// More than one proxy has added an element.
    #[error(
        "must have one element: the gateway has to replace what others sent \
         (forward_client_cert_details: SANITIZE_SET)"
    )]
    SeveralElements,
    /// The certificate is not among what Envoy sends.
    #[error("must have Cert or Chain, each once (set_current_client_cert_details)")]
    NoCert,
    /// Certificate and chain contradict each other.
    #[error("the chain must begin with the certificate")]
    OtherLeaf,
}

/// Certificates above the peer's own, at most.
pub const MAX_INTERMEDIATES: usize = 8;
/// Size of one certificate in DER, in bytes, at most.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

static CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
static CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
static X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
/// The name that nginx's users mostly give it; nginx has none of its own.
pub static X_SSL_CLIENT_CERT: HeaderName = HeaderName::from_static("x-ssl-client-cert");

impl CertificateHeader {
    /// The name of the header with the peer's own certificate.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        match self {
            Self::Rfc9440 => &CLIENT_CERT,
            Self::NginxEscapedPem(name) => name,
            Self::EnvoyXfcc => &X_FORWARDED_CLIENT_CERT,
        }
    }

    /// The chain that the headers carry, the peer's own certificate first; nothing, if they carry
    /// none.
    ///
    /// Cost: one pass over the headers' values.
    pub fn read(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<Vec<CertificateDer<'static>>>, MalformedHeader> {
        let in_header = |header: &HeaderName| {
            let header = header.clone();
            move |problem| MalformedHeader { header, problem }
        };
        let name = self.name();
        let mut values = headers.get_all(name);
        let Some(value) = values.next() else {
            let alone = *self == Self::Rfc9440 && headers.contains_key(&CLIENT_CERT_CHAIN);
            return if alone {
                Err(in_header(&CLIENT_CERT_CHAIN)(HeaderProblem::ChainAlone))
            } else {
                Ok(None)
            };
        };
        if values.next().is_some() {
            return Err(in_header(name)(HeaderProblem::Repeated));
        }
        let value = value.as_bytes().trim_ascii();
        let mut chain = match self {
            Self::Rfc9440 => rfc9440::certificate(value).map(|certificate| vec![certificate]),
            Self::NginxEscapedPem(_) => {
                escaped_pem::certificate(value).map(|certificate| vec![certificate])
            }
            Self::EnvoyXfcc => envoy::chain(value),
        }
        .map_err(in_header(name))?;
        if *self == Self::Rfc9440 {
            let lines = headers.get_all(&CLIENT_CERT_CHAIN);
            let above = rfc9440::chain(lines.map(|line| line.as_bytes().trim_ascii()))
                .map_err(in_header(&CLIENT_CERT_CHAIN))?;
            chain.extend(above);
        }
        Ok(Some(chain))
    }

    fn reads(&self, name: &HeaderName) -> bool {
        name == self.name() || (*self == Self::Rfc9440 && *name == CLIENT_CERT_CHAIN)
    }
}

/// A certificate header that is not `expected` at this listener: its sender attempts to impersonate
/// another peer. `configured` is the header of the bank's own gateway, whatever its name.
#[must_use]
pub fn unexpected(
    headers: &HeaderMap,
    configured: Option<&CertificateHeader>,
    expected: bool,
) -> Option<HeaderName> {
    [
        &CLIENT_CERT,
        &CLIENT_CERT_CHAIN,
        &X_FORWARDED_CLIENT_CERT,
        &X_SSL_CLIENT_CERT,
    ]
    .into_iter()
    .chain(configured.map(CertificateHeader::name))
    .filter(|name| !(expected && configured.is_some_and(|configured| configured.reads(name))))
    .find(|name| headers.contains_key(*name))
    .cloned()
}

/// Checks the size of a certificate.
fn sized(certificate: CertificateDer<'static>) -> Result<CertificateDer<'static>, HeaderProblem> {
    if certificate.is_empty() {
        Err(HeaderProblem::NotOne)
    } else if certificate.len() > MAX_CERTIFICATE_BYTES {
        Err(HeaderProblem::TooLarge)
    } else {
        Ok(certificate)
    }
}
