//! From reqwest's errors to ours: who refused whom is deep inside them.

use std::error::Error as StdError;

use rustls::AlertDescription;
use shared_types::alert::Alert;

use crate::error::ErrorKind;
use crate::tls::ServerVerifier;

/// What a failed exchange means.
pub(crate) fn explain(error: &reqwest::Error, verifier: &ServerVerifier) -> ErrorKind {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) => {
            return ErrorKind::TheyRefused {
                alert: number(*alert),
            };
        }
        Some(rustls::Error::InvalidCertificate(_)) => {
            if let Some(refused) = verifier.take_refused() {
                return ErrorKind::WeRefused {
                    certificate: Box::new(refused.certificate),
                    reason: refused.reason,
                };
            }
        }
        _ => {}
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

/// The TLS error among the causes, if there is one. Where it is depends on the moment and on the HTTP version.
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

fn innermost(error: &dyn StdError) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
