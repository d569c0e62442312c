//! Mapping of reqwest errors to SDK errors, including the TLS refusal nested in them.

use std::error::Error as StdError;
use std::sync::Arc;

use reqwest::Url;
use rustls::AlertDescription;
use rustls_pki_types::ServerName;
use shared_types::pki::alert::Alert;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::ErrorKind;
use crate::tls::ServerVerifier;

/// What a failed exchange means.
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
        _ => {}
    }
    if let Some(reason) = no_http(error) {
        return ErrorKind::Malformed {
            path: "HTTP".to_owned(),
            reason: reason.to_owned(),
        };
    }
    let cause = innermost(error);
    if error.is_connect() {
        ErrorKind::Unreachable { cause }
    } else {
        ErrorKind::Interrupted { cause }
    }
}

fn number(alert: AlertDescription) -> Alert {
    Alert(alert.into())
}

/// The TLS error among the causes, if there is one. Where it is depends on the moment and on the
/// HTTP version.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if let Some(inner) = inner {
            return tls_error(inner);
        }
        next = error.source();
    }
    None
}

/// Why an answer is none: it came, and it is not HTTP as we understand and bound it.
fn no_http(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(http) = error.downcast_ref::<hyper::Error>() {
            return match http {
                http if http.is_parse_too_large() => Some("more header fields than we take"),
                http if http.is_parse() => Some("expected an answer in HTTP"),
                _ => None,
            };
        }
        next = error.source();
    }
    None
}

fn innermost(error: &dyn StdError) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// The alert with which the bank ends a new connection, if it does.
///
/// In TLS 1.3 a bank's refusal comes after our side of the handshake. Over HTTP/1.1 the error of
/// the first exchange holds it. The HTTP/2 library forgets it: there we connect once more, and
/// listen. A bank that lets us in says hello (its SETTINGS) at once, so this takes one round trip.
pub(crate) async fn fetch_alert(tls: &rustls::ClientConfig, url: &Url) -> Option<Alert> {
    let host = url
        .host_str()?
        .trim_start_matches('[')
        .trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let tcp = TcpStream::connect((host, url.port_or_known_default()?))
        .await
        .ok()?;
    let mut stream = match TlsConnector::from(Arc::new(tls.clone()))
        .connect(name, tcp)
        .await
    {
        Ok(stream) => stream,
        Err(error) => return alert_in(&error),
    };
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return None;
    }
    let mut first = [0];
    stream
        .read(&mut first)
        .await
        .err()
        .as_ref()
        .and_then(alert_in)
}

fn alert_in(error: &std::io::Error) -> Option<Alert> {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) => Some(number(*alert)),
        _ => None,
    }
}
