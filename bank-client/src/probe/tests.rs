//! Verdicts and steps derived from observations, without a socket.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use rustls_pki_types::UnixTime;
use shared_types::pki::alert::Alert;
use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::trust::Refusal;

use super::answer::{ProbeResponse, Reaction, Reason};
use super::observations::{
    CertificateFacts, CertificateRequest, End, Negotiated, Observations, Presented,
};
use super::*;
use crate::ServerRefusal;

fn now() -> DateTime<Utc> {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn in_days(days: i64) -> UnixTime {
    let time = now() + TimeDelta::days(days);
    UnixTime::since_unix_epoch(Duration::from_secs(time.timestamp().try_into().unwrap()))
}

fn certificate(subject: &str, issuer: &str) -> CertificateFacts {
    CertificateFacts {
        summary: CertificateSummary {
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
            serial: "0a".to_owned(),
            fingerprint: "ff".to_owned(),
        },
        validity: Some((in_days(-10), in_days(10))),
        hosts: vec!["bank-b.example".to_owned()],
        organisation: Some("PSDFR-ACPR-20002".to_owned()),
    }
}

fn answered(status: u16, reaction: Reaction) -> End {
    End::Answered(ProbeResponse {
        status,
        size: 100,
        is_complete: true,
        reaction,
    })
}

/// Both presented, over TLS 1.3, and it ended in that way.
fn both_presented(end: End) -> Observations {
    Observations {
        server: "bank-b.example:443".to_owned(),
        at: now(),
        limits: Limits::default(),
        own_chain: vec![
            certificate("CN=Bank A", "CN=Issuing"),
            certificate("CN=Issuing", "CN=CA2"),
        ],
        address: Some(([192, 0, 2, 1], 443).into()),
        offered: Vec::new(),
        negotiated: Negotiated {
            version: Some("TLS 1.3".to_owned()),
            is_complete: true,
            ..Negotiated::default()
        },
        server_chain: vec![certificate("CN=Bank B", "CN=CA1")],
        refusal: None,
        is_key_proved: true,
        certificate_request: Some(CertificateRequest {
            authorities: vec!["CN=CA1".to_owned()],
            response: Presented::Certificate,
        }),
        end,
    }
}

fn showing_nothing(end: End) -> Observations {
    let mut seen = both_presented(end);
    seen.own_chain.clear();
    seen.certificate_request = Some(CertificateRequest {
        authorities: vec!["CN=CA1".to_owned()],
        response: Presented::None,
    });
    seen
}

fn report(seen: &Observations) -> Report {
    Report::of("https://bank-b.example/".to_owned(), seen)
}

/// The outcomes of the seven steps, by their first letters: passed, failed, not reached, unknown.
fn outcomes(seen: &Observations) -> String {
    let steps = report(seen).steps.into_iter();
    steps
        .map(|step| match step.outcome {
            Outcome::Passed => 'p',
            Outcome::Failed => 'f',
            Outcome::NotReached => 'n',
            Outcome::Unknown => 'u',
        })
        .collect()
}

/// It is one sentence, and says all of that.
#[track_caller]
fn says(seen: &Observations, wanted: &[&str]) {
    let sentence = report(seen).sentence;
    assert!(
        sentence.ends_with('.') && !sentence.contains(". "),
        "{sentence}"
    );
    for part in wanted {
        assert!(sentence.contains(part), "{part:?} is missing: {sentence}");
    }
}

#[test]
fn each_alert_about_our_certificate_has_a_sentence_of_its_own() {
    let alerts = [40, 42, 43, 44, 45, 46, 48, 49, 51, 80, 116];
    let sentences: BTreeSet<String> = alerts
        .into_iter()
        .map(|alert| {
            let seen = both_presented(End::Alert(Alert(alert)));
            says(
                &seen,
                &[
                    "bank-b.example:443 (PSDFR-ACPR-20002)",
                    &Alert(alert).to_string(),
                ],
            );
            assert!(!report(&seen).granted);
            report(&seen).sentence
        })
        .collect();
    assert_eq!(sentences.len(), alerts.len());
}

#[test]
fn an_unknown_authority_is_told_by_what_the_server_named() {
    let mut seen = both_presented(End::Alert(Alert(48)));
    says(
        &seen,
        &[
            "our chain ends at CN=CA2, which is not an authority it agreed to; use a certificate from CN=CA1",
        ],
    );
    assert_eq!(outcomes(&seen), "ppppfnn");
    seen.own_chain.truncate(1);
    says(&seen, &["came without that of its issuing CA, CN=Issuing"]);
    seen.own_chain = vec![certificate("CN=Bank A", "CN=Bank A")];
    says(
        &seen,
        &["our certificate is self-signed; use a certificate from CN=CA1"],
    );
    seen.own_chain = vec![certificate("CN=Bank A", "CN=CA1")];
    says(&seen, &["found no way", "CN=CA1, which it named"]);
}

#[test]
fn an_expiry_is_told_by_our_own_chain_and_clock() {
    let mut seen = both_presented(End::Alert(Alert(45)));
    says(
        &seen,
        &[
            "outside its validity by its clock, and none is by ours",
            "2026-11-24T12:00:00Z",
        ],
    );
    seen.own_chain[1].validity = Some((in_days(-10), in_days(-1)));
    says(
        &seen,
        &["certificate 2 of our chain ended at 2026-11-23T12:00:00Z"],
    );
    seen.own_chain[0].validity = Some((in_days(1), in_days(10)));
    says(
        &seen,
        &[
            "our certificate is not valid before 2026-11-25T12:00:00Z",
            "clock",
        ],
    );
    seen.own_chain[0].validity = Some((in_days(-10), in_days(-2)));
    says(&seen, &["our certificate ended at 2026-11-22T12:00:00Z"]);
}

#[test]
fn without_a_certificate_of_ours_every_alert_is_about_that() {
    for alert in [40, 49, 116] {
        let mut seen = showing_nothing(End::Alert(Alert(alert)));
        says(
            &seen,
            &["asked for a certificate, and we showed none; show one from CN=CA1"],
        );
        assert_eq!(outcomes(&seen), "pppffnn");
        seen.certificate_request.as_mut().unwrap().response = Presented::NoCommonScheme;
        says(&seen, &["our key makes none of the signatures"]);
    }
}

#[test]
fn an_alert_before_any_certificate_is_not_about_certificates() {
    for (alert, says_so) in [
        (40, "accepts nothing of what we offered"),
        (70, "speaks neither TLS 1.3 nor TLS 1.2"),
        (112, "does not know the host name"),
        (120, "does not speak HTTP/1.1"),
        (80, "before any certificate was shown"),
    ] {
        let mut seen = both_presented(End::Alert(Alert(alert)));
        (seen.server_chain, seen.certificate_request) = (Vec::new(), None);
        seen.negotiated.is_complete = false;
        says(&seen, &[says_so]);
        assert_eq!(outcomes(&seen), "pfnnnnn");
    }
}

#[test]
fn policy_is_what_comes_after_our_certificate_was_accepted() {
    let blocked = Reaction::Refuses(vec![Reason {
        code: "CERTIFICATE_BLOCKED".to_owned(),
        text: Some("the licence is blocked".to_owned()),
    }]);
    let over_http = both_presented(answered(401, blocked.clone()));
    says(
        &over_http,
        &[
            "accepted our certificate and then refused us by policy",
            "HTTP 401 CERTIFICATE_BLOCKED \"the licence is blocked\"",
        ],
    );
    assert_eq!(outcomes(&over_http), "pppppfn");
    let by_alert = both_presented(End::Alert(Alert(49)));
    says(
        &by_alert,
        &["refused us by policy with the alert access_denied"],
    );
    assert_eq!(outcomes(&by_alert), "pppppfn");
    // Nothing was accepted where nothing was shown.
    let unasked = showing_nothing(answered(401, blocked));
    says(
        &unasked,
        &["refused us without a certificate over HTTP with 401 \"CERTIFICATE_BLOCKED\""],
    );
    assert_eq!(outcomes(&unasked), "pppffnn");
}

#[test]
fn a_front_that_tells_its_judgement_over_http_has_not_accepted_us() {
    let seen = both_presented(answered(
        400,
        Reaction::RefusesCertificate("The SSL certificate error"),
    ));
    says(
        &seen,
        &["refused our certificate over HTTP with 400 \"The SSL certificate error\""],
    );
    assert_eq!(outcomes(&seen), "ppppfnn");
}

#[test]
fn only_two_that_accepted_each_other_have_access() {
    let serves = || answered(404, Reaction::Accepts);
    let granted = both_presented(serves());
    assert!(report(&granted).granted);
    assert_eq!(outcomes(&granted), "ppppppp");

    let indifferent = showing_nothing(serves());
    says(
        &indifferent,
        &["asked for a certificate, got none, and answered all the same (HTTP 404)"],
    );
    assert_eq!(outcomes(&indifferent), "pppfnpp");

    let failing = both_presented(answered(503, Reaction::Fails));
    says(
        &failing,
        &["did not refuse us, but failed at our request with HTTP 503"],
    );
    assert_eq!(outcomes(&failing), "pppppfn");
    assert!(!report(&indifferent).granted && !report(&failing).granted);
}

#[test]
fn plain_tls_is_plain_tls_however_it_ends() {
    let ends = [
        (answered(200, Reaction::Accepts), "pppfnpp"),
        (answered(403, Reaction::Refuses(Vec::new())), "pppfnfn"),
        (End::Closed(None), "pppfnfn"),
        (End::TimedOut(Stage::Exchange), "pppfnfn"),
        (End::Alert(Alert(40)), "pppfnfn"),
    ];
    for (end, steps) in ends {
        let mut seen = both_presented(end);
        seen.certificate_request = None;
        says(
            &seen,
            &["did not ask for our certificate: this is plain TLS"],
        );
        assert!(!report(&seen).granted);
        assert_eq!(outcomes(&seen), steps, "{:?}", seen.end);
    }
}

#[test]
fn whom_we_refuse_gets_nothing_more() {
    let mut seen = both_presented(End::TlsError("invalid peer certificate".to_owned()));
    seen.negotiated.is_complete = false;
    seen.is_key_proved = false;
    says(
        &seen,
        &["We broke the handshake", "invalid peer certificate"],
    );
    assert_eq!(outcomes(&seen), "ppfnnnn");
    let refusals = [
        ServerRefusal::Trust(Refusal::SelfSigned),
        ServerRefusal::Trust(Refusal::IncompleteChain {
            issuer: "CN=CA9".to_owned(),
        }),
        ServerRefusal::Trust(Refusal::AnchorNotValid {
            anchor: "CN=CA1".to_owned(),
            cause: Box::new(Refusal::Expired {
                not_after: in_days(-1),
            }),
        }),
        ServerRefusal::Trust(Refusal::BadSignature {
            issuer: "CN=CA1".to_owned(),
        }),
        ServerRefusal::Trust(Refusal::Expired {
            not_after: in_days(-1),
        }),
        ServerRefusal::WrongName("bank-x.example".to_owned()),
        ServerRefusal::WrongOrganisation {
            expected: "PSDFR-ACPR-1".parse().unwrap(),
            found: "PSDFR-ACPR-2".parse().unwrap(),
        },
    ];
    for reason in refusals {
        seen.refusal = Some(reason.clone());
        says(
            &seen,
            &[
                "We refused bank-b.example:443 with",
                "CN=Bank B",
                &reason.to_string(),
            ],
        );
        assert_eq!(outcomes(&seen), "ppfnnnn");
    }
}

#[test]
fn a_silent_end_tells_as_much_as_the_version_of_tls_does() {
    let mut seen = both_presented(End::Closed(Some("reset".to_owned())));
    says(
        &seen,
        &[
            "without an alert (reset) after we had shown our certificate, and so may have refused it",
        ],
    );
    assert_eq!(outcomes(&seen), "ppppufn");
    // Here the server's own end of the handshake came after its judgement.
    seen.negotiated.verifies_client_in_handshake = true;
    assert_eq!(outcomes(&seen), "pppppfn");
    seen.negotiated.is_complete = false;
    assert_eq!(outcomes(&seen), "ppppunn");
}

#[test]
fn each_limit_has_a_sentence_and_a_step() {
    let mut seen = both_presented(End::TimedOut(Stage::Exchange));
    says(&seen, &["neither refused us nor answered within 10 s"]);
    assert_eq!(outcomes(&seen), "ppppufn");
    seen.end = End::TooLarge;
    says(&seen, &["larger than the 65536 bytes"]);
    assert_eq!(outcomes(&seen), "pppppfn");
    (seen.server_chain, seen.certificate_request) = (Vec::new(), None);
    seen.negotiated.is_complete = false;
    seen.end = End::TimedOut(Stage::Handshake);
    says(&seen, &["did not finish the handshake within 5 s"]);
    assert_eq!(outcomes(&seen), "pfnnnnn");
    seen.address = None;
    seen.end = End::TimedOut(Stage::Connecting);
    says(&seen, &["no connection to bank-b.example:443 within 5 s"]);
    assert_eq!(outcomes(&seen), "fnnnnnn");
    seen.end = End::Unreachable("no route to host".to_owned());
    says(
        &seen,
        &["no connection to bank-b.example:443 (no route to host)"],
    );
    assert_eq!(outcomes(&seen), "fnnnnnn");
}

#[test]
fn programs_get_the_same_as_people() {
    let seen = both_presented(End::Alert(Alert(48)));
    let json = serde_json::to_value(report(&seen)).unwrap();
    assert_eq!(json["verdict"]["kind"], "theyRefused");
    assert_eq!(json["verdict"]["alert"], "unknown_ca");
    assert_eq!(json["sentence"], report(&seen).sentence);
    assert_eq!(json["granted"], false);
    assert_eq!(json["steps"][4]["name"], "serverVerifies");
    assert_eq!(json["steps"][4]["outcome"], "failed");
    assert_eq!(json["steps"][4]["facts"][0]["value"], "unknown_ca");
    let json =
        serde_json::to_value(report(&both_presented(End::TimedOut(Stage::Exchange)))).unwrap();
    assert_eq!(json["verdict"]["stage"], "exchange");
    assert_eq!(json["verdict"]["limitSeconds"], 10.0);
}
