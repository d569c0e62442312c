//! Mapping of reqwest errors to SDK errors, including the TLS refusal nested in them.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use reqwest::Url;
use rustls::{AlertDescription, OtherError};
use rustls_pki_types::ServerName;
use shared_types::pki::alert::Alert;
use shared_types::pki::pkcs11::{HandshakeThreads, KeyProblem, shake_hands};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::ErrorKind;
use crate::tls::ServerVerifier;

/// The error kind of a failed exchange.
pub(crate) fn explain(error: &reqwest::Error, verifier: Option<&ServerVerifier>) -> ErrorKind {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) => {
            return ErrorKind::TheyRefused {
                alert: number(*alert),
            };
        }
        Some(rustls::Error::InvalidCertificate(_)) => {
            if let Some(refused) = verifier.and_then(ServerVerifier::take_refused) {
                return ErrorKind::WeRefused {
                    certificate: Box::new(refused.certificate),
                    reason: refused.reason,
                };
            }
        }
        Some(rustls::Error::Other(OtherError(inner))) => {
            if let Some(problem) = inner.downcast_ref::<KeyProblem>() {
                let reason = problem.text.clone();
                return ErrorKind::OwnKey { reason };
            }
        }
        _ => {}
    }
    if let Some(reason) = no_http(error) {
        return ErrorKind::malformed("HTTP", reason);
    }
    let cause = causes(error)
        .last()
        .map_or_else(String::new, ToString::to_string);
    if error.is_connect() {
        ErrorKind::Unreachable { cause }
    } else {
        ErrorKind::Interrupted { cause }
    }
}

fn number(alert: AlertDescription) -> Alert {
    Alert(alert.into())
}

/// The error and its causes, the innermost last.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The TLS error among the causes, if there is one. Where it is depends on the moment and on the
/// HTTP version.
#[must_use]
pub fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    causes(error).find_map(|error| {
        let within = || error.downcast_ref::<io::Error>()?.get_ref();
        error
            .downcast_ref::<rustls::Error>()
            .or_else(|| tls_error(within()?))
    })
}

/// The fault of an answer that is not HTTP as we understand and bound it.
fn no_http(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    match causes(error).find_map(|error| error.downcast_ref::<hyper::Error>())? {
        http if http.is_parse_too_large() => Some("more header fields than we take"),
        http if http.is_parse() => Some("expected an answer in HTTP"),
        _ => None,
    }
}

/// The alert with which the bank ends a new connection, if it does.
///
/// In TLS 1.3 a bank's refusal comes after our side of the handshake. Over HTTP/1.1 the error of
/// the first exchange holds it. The HTTP/2 library forgets it: there we connect once more, and
/// listen. A bank that lets us in says hello (its SETTINGS) at once, so this takes one round trip.
pub async fn fetch_alert(
    tls: &rustls::ClientConfig,
    threads: Option<&HandshakeThreads>,
    url: &Url,
) -> Option<Alert> {
    let host = url
        .host_str()?
        .trim_start_matches('[')
        .trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let tcp = TcpStream::connect((host, url.port_or_known_default()?))
        .await
        .ok()?;
    let connecting = TlsConnector::from(Arc::new(tls.clone())).connect(name, tcp);
    let error = match shake_hands(threads, connecting).await.ok()? {
        Ok(stream) if stream.get_ref().1.alpn_protocol() != Some(b"h2") => return None,
        Ok(mut stream) => stream.read(&mut [0]).await.err()?,
        Err(error) => error,
    };
    match tls_error(&error) {
        Some(rustls::Error::AlertReceived(alert)) => Some(number(*alert)),
        _ => None,
    }
}
