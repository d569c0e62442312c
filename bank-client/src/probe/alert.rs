//! Explanation of TLS alerts (RFC 8446, section 6.2), in view of the certificate that was sent.

use shared_types::environment::unix;
use shared_types::pki::alert::Alert;

use super::observations::{
    CertificateFacts, CertificateRequest, Observations, Presented, format_unix,
};

/// Meaning of the server's alert, and advice. Both are parts of a sentence.
pub(super) fn explain(alert: Alert, seen: &Observations) -> (String, String) {
    if seen.server_chain.is_empty() {
        return before_certificates(alert);
    }
    match &seen.certificate_request {
        Some(request) if seen.is_server_verified() => match request.response {
            Presented::Certificate => about_ours(alert, seen, request),
            Presented::None => pair(
                "it asked for a certificate, and we showed none",
                format!("show one{}, with its key", of_named(request)),
            ),
            Presented::NoCommonScheme => pair(
                "it asked for a certificate, and our key makes none of the signatures that it accepts",
                "use a certificate with another kind of key",
            ),
        },
        _ => pair(
            "it broke the handshake off before we had shown anything",
            ask_the_bank(seen),
        ),
    }
}

fn before_certificates(alert: Alert) -> (String, String) {
    match alert.0 {
        40 | 71 => pair(
            "it accepts nothing of what we offered, before any certificate was shown",
            "ask the bank which cipher suites and key exchange groups it accepts",
        ),
        70 => pair(
            "it speaks neither TLS 1.3 nor TLS 1.2",
            "ask the bank for an interface that does, for older versions are not safe",
        ),
        112 => pair(
            "it does not know the host name that we asked for",
            "use the name under which the bank published its interface",
        ),
        120 => pair(
            "it does not speak HTTP/1.1, which is all that a probe speaks",
            "ask the bank which protocols its interface has",
        ),
        _ => pair(
            "it did so before any certificate was shown",
            "ask the bank to look into its log",
        ),
    }
}

fn about_ours(alert: Alert, seen: &Observations, request: &CertificateRequest) -> (String, String) {
    match alert.0 {
        42 => pair(
            "it cannot read our certificate, a signature in its chain is wrong, or its key is too weak",
            "check that the chain is whole and the key strong enough, then ask the bank which of these it is",
        ),
        43 => pair(
            "our certificate is not of the kind or for the use that it takes",
            "show a QWAC that is for TLS clients",
        ),
        44 => pair(
            format!(
                "our certificate {} was revoked, or one above it",
                serial(seen)
            ),
            "use neither it nor its key any more, and have a new one issued",
        ),
        45 => expired(seen),
        46 => pair(
            "it has a reason that no other alert names, such as that our certificate's revocation status could not be determined",
            ask_the_bank(seen),
        ),
        48 => unknown_authority(seen, request),
        51 => pair(
            format!(
                "a signature did not convince it, either in our chain, if {} is not the authority of that name that it \
                 agreed to, or the one that proves that we hold our key",
                top(seen)
            ),
            "check that our certificate is from that very authority, and not from another of the same name, then ask the bank",
        ),
        116 => pair(
            "it says that no certificate arrived, and we did show one",
            "check that nothing between us and the bank ends the connection and opens another",
        ),
        80 => pair("it failed itself", "try again later, then tell the bank"),
        _ => pair(
            "it did so when we had shown our certificate, and does not say more",
            ask_the_bank(seen),
        ),
    }
}

/// Servers send the same alert for a certificate that is not valid yet.
fn expired(seen: &Observations) -> (String, String) {
    let now = unix(seen.at);
    let of = |index: usize| {
        if index == 0 {
            "our certificate".to_owned()
        } else {
            format!("certificate {} of our chain", index + 1)
        }
    };
    for (index, certificate) in seen.own_chain.iter().enumerate() {
        let Some((from, until)) = certificate.validity else {
            continue;
        };
        if until < now {
            return pair(
                format!("{} ended at {}", of(index), format_unix(until)),
                "have a new one issued",
            );
        }
        if now < from {
            return pair(
                format!("{} is not valid before {}", of(index), format_unix(from)),
                "wait until then, or set our clock right",
            );
        }
    }
    pair(
        "a certificate of our chain is outside its validity by its clock, and none is by ours",
        format!("compare its clock with ours, then {}", ask_the_bank(seen)),
    )
}

fn unknown_authority(seen: &Observations, request: &CertificateRequest) -> (String, String) {
    let Some(top) = seen.own_chain.last() else {
        return pair("it does not know our authority", ask_the_bank(seen));
    };
    let issuer = &top.summary.issuer;
    let vouches_for_itself = |own: &CertificateFacts| own.summary.subject == own.summary.issuer;
    if seen.own_chain.first().is_some_and(vouches_for_itself) {
        return pair(
            "our certificate is self-signed",
            format!("use a certificate{}", of_named(request)),
        );
    }
    let comes_from = |named: &String| {
        let of =
            |one: &CertificateFacts| one.summary.issuer == *named || one.summary.subject == *named;
        seen.own_chain.iter().any(of)
    };
    if request.authorities.iter().any(comes_from) {
        pair(
            format!(
                "it found no way from our certificate to its authority, although our chain ends at {issuer}, which it named"
            ),
            "check that the chain is whole and from this authority, and not from another of the same name",
        )
    } else if seen.own_chain.len() == 1 {
        pair(
            format!("our certificate came without that of its issuing CA, {issuer}"),
            "send that along if it leads to an authority the bank agreed to, and use another certificate if not",
        )
    } else {
        pair(
            format!("our chain ends at {issuer}, which is not an authority it agreed to"),
            format!("use a certificate{}", of_named(request)),
        )
    }
}

fn of_named(request: &CertificateRequest) -> String {
    if request.authorities.is_empty() {
        " of an authority that the bank agreed to".to_owned()
    } else {
        format!(" from {}", request.authorities.join(" or "))
    }
}

/// The authority at which our chain ends.
fn top(seen: &Observations) -> &str {
    seen.own_chain
        .last()
        .map_or("our authority", |top| top.summary.issuer.as_str())
}

fn serial(seen: &Observations) -> &str {
    seen.own_chain
        .first()
        .map_or("(none)", |own| own.summary.serial.as_str())
}

fn ask_the_bank(seen: &Observations) -> String {
    format!(
        "ask the bank what its log says of {}",
        super::observations::format_time(seen.at)
    )
}

fn pair(meaning: impl Into<String>, advice: impl Into<String>) -> (String, String) {
    (meaning.into(), advice.into())
}
