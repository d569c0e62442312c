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
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The form in which a gateway forwards the certificate of its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HeaderForm {
    /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440).
    #[default]
    Rfc9440,
    /// URL-encoded PEM, as in nginx's variable `$ssl_client_escaped_cert`, in a header of any name.
    NginxEscapedPem,
    /// Envoy's `x-forwarded-client-cert`, with `Cert` or `Chain` in its one element.
    EnvoyXfcc,
}

/// The header, or headers, in which the one gateway of a listener forwards certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateHeader {
    form: HeaderForm,
    name: HeaderName,
}

/// A certificate header that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{header}: {problem}")]
pub struct Malformed {
    /// The header.
    pub header: HeaderName,
    /// The problem.
    pub problem: Problem,
}

/// The problem of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
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

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
const X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
/// The name that nginx's users mostly give it; nginx has none of its own.
const X_SSL_CLIENT_CERT: HeaderName = HeaderName::from_static("x-ssl-client-cert");

impl CertificateHeader {
    /// Headers of that form. `name` is that of nginx's header, if it is not `X-SSL-Client-Cert`;
    /// the other forms have names of their own.
    #[must_use]
    pub fn new(form: HeaderForm, name: Option<HeaderName>) -> Self {
        let name = match form {
            HeaderForm::Rfc9440 => CLIENT_CERT,
            HeaderForm::NginxEscapedPem => name.unwrap_or(X_SSL_CLIENT_CERT),
            HeaderForm::EnvoyXfcc => X_FORWARDED_CLIENT_CERT,
        };
        Self { form, name }
    }

    /// The name of the header in which the peer's own certificate comes.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The chain that the headers carry, the peer's own certificate first; nothing, if they carry
    /// none.
    ///
    /// Cost: one pass over the headers' values.
    pub fn read(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<Vec<CertificateDer<'static>>>, Malformed> {
        let in_header = |header: &HeaderName| {
            let header = header.clone();
            move |problem| Malformed { header, problem }
        };
        let of_chain = || in_header(&CLIENT_CERT_CHAIN);
        let mut values = headers.get_all(&self.name);
        let Some(value) = values.next() else {
            let alone = self.form == HeaderForm::Rfc9440 && headers.contains_key(CLIENT_CERT_CHAIN);
            return if alone {
                Err(of_chain()(Problem::ChainAlone))
            } else {
                Ok(None)
            };
        };
        if values.next().is_some() {
            return Err(in_header(&self.name)(Problem::Repeated));
        }
        let value = value.as_bytes().trim_ascii();
        let first = match self.form {
            HeaderForm::Rfc9440 => rfc9440::certificate(value).map(|certificate| vec![certificate]),
            HeaderForm::NginxEscapedPem => {
                escaped_pem::certificate(value).map(|certificate| vec![certificate])
            }
            HeaderForm::EnvoyXfcc => envoy::chain(value),
        };
        let mut chain = first.map_err(in_header(&self.name))?;
        if self.form == HeaderForm::Rfc9440 {
            let lines = headers.get_all(CLIENT_CERT_CHAIN);
            let above = rfc9440::chain(lines.map(|line| line.as_bytes().trim_ascii()))
                .map_err(of_chain())?;
            chain.extend(above);
        }
        Ok(Some(chain))
    }

    fn reads(&self, name: &HeaderName) -> bool {
        *name == self.name || (self.form == HeaderForm::Rfc9440 && *name == CLIENT_CERT_CHAIN)
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
        CLIENT_CERT,
        CLIENT_CERT_CHAIN,
        X_FORWARDED_CLIENT_CERT,
        X_SSL_CLIENT_CERT,
    ]
    .into_iter()
    .chain(configured.map(|configured| configured.name.clone()))
    .filter(|name| !(expected && configured.is_some_and(|configured| configured.reads(name))))
    .find(|name| headers.contains_key(name))
}

/// Checks the size of a certificate.
fn sized(certificate: CertificateDer<'static>) -> Result<CertificateDer<'static>, Problem> {
    if certificate.is_empty() {
        Err(Problem::NotOne)
    } else if certificate.len() > MAX_CERTIFICATE_BYTES {
        Err(Problem::TooLarge)
    } else {
        Ok(certificate)
    }
}
