//! Probe report: the steps of the mutual handshake, each with its outcome and facts.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::answer::{ProbeResponse, Reaction};
use super::observations::{End, Fact, Observations, Presented, chain_facts};
use super::verdict::{Policy, Stage, Verdict};

/// Report of a probe. `bank-client probe --json` prints it as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The address that was probed.
    pub url: String,
    /// Time of the probe.
    pub at: DateTime<Utc>,
    /// The seven steps, in their order.
    pub steps: Vec<Step>,
    /// The verdict.
    pub verdict: Verdict,
    /// The same, and what to do, as one sentence.
    pub sentence: String,
    /// Whether both ends accepted each other, and the server serves us.
    pub granted: bool,
}

/// A step of the mutual handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Which one.
    pub name: StepName,
    /// The outcome.
    pub outcome: Outcome,
    /// The protocol's own facts.
    pub facts: Vec<Fact>,
}

/// The steps of the mutual handshake and of what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StepName {
    /// We connect and send the `ClientHello`.
    ClientConnects,
    /// The server responds with its certificate.
    ServerPresents,
    /// We verify it.
    ClientVerifies,
    /// We send ours, if the server requests it.
    ClientPresents,
    /// The server verifies ours.
    ServerVerifies,
    /// The server serves us.
    AccessGranted,
    /// One request and its response, encrypted.
    EncryptedExchange,
}

/// Outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It was done.
    Passed,
    /// It was not, and ends here.
    Failed,
    /// The probe ended at an earlier step, or the step did not apply.
    NotReached,
    /// The outcome cannot be determined from the protocol.
    Unknown,
}

impl StepName {
    /// All of them, in their order; a step's number is its place here, from 1 on.
    pub const ALL: [Self; 7] = [
        Self::ClientConnects,
        Self::ServerPresents,
        Self::ClientVerifies,
        Self::ClientPresents,
        Self::ServerVerifies,
        Self::AccessGranted,
        Self::EncryptedExchange,
    ];
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ClientConnects => "client connects",
            Self::ServerPresents => "server presents",
            Self::ClientVerifies => "client verifies",
            Self::ClientPresents => "client presents",
            Self::ServerVerifies => "server verifies",
            Self::AccessGranted => "access granted",
            Self::EncryptedExchange => "encrypted exchange",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotReached => "not reached",
            Self::Unknown => "unknown",
        })
    }
}

impl Report {
    pub(super) fn of(url: String, seen: &Observations) -> Self {
        let verdict = Verdict::of(seen);
        let steps = [
            client_connects(seen),
            server_presents(seen),
            client_verifies(seen, &verdict),
            client_presents(seen),
            server_verifies(seen, &verdict),
            access_granted(seen, &verdict),
            encrypted_exchange(seen),
        ];
        let steps = StepName::ALL.into_iter().zip(steps);
        let steps = steps.map(|(name, (outcome, facts))| Step {
            name,
            outcome,
            facts,
        });
        Self {
            url,
            at: seen.at,
            steps: steps.collect(),
            sentence: verdict.to_string(),
            granted: verdict.is_granted(),
            verdict,
        }
    }
}

fn client_connects(seen: &Observations) -> (Outcome, Vec<Fact>) {
    let mut facts = Vec::new();
    let outcome = match (&seen.end, seen.address) {
        (_, Some(address)) => {
            facts.push(Fact::new("address", address.to_string()));
            facts.extend(seen.offered.iter().cloned());
            Outcome::Passed
        }
        (End::Unreachable(cause), None) => {
            facts.push(Fact::new("cause", cause));
            Outcome::Failed
        }
        (_, None) => {
            facts.push(time_limit(seen, Stage::Connecting));
            Outcome::Failed
        }
    };
    (outcome, facts)
}

fn server_presents(seen: &Observations) -> (Outcome, Vec<Fact>) {
    let negotiated = &seen.negotiated;
    let named = [
        ("protocol version", &negotiated.version),
        ("cipher suite", &negotiated.cipher_suite),
        ("key exchange group", &negotiated.key_exchange_group),
        ("handshake", &negotiated.handshake_kind),
    ];
    let mut facts: Vec<Fact> = named
        .into_iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| Fact::new(name, value)))
        .collect();
    facts.extend(chain_facts(&seen.server_chain));
    let outcome = if seen.address.is_none() {
        Outcome::NotReached
    } else if seen.server_chain.is_empty() {
        facts.extend(end(seen));
        Outcome::Failed
    } else {
        Outcome::Passed
    };
    (outcome, facts)
}

fn client_verifies(seen: &Observations, verdict: &Verdict) -> (Outcome, Vec<Fact>) {
    let mut facts = Vec::new();
    let outcome = if seen.server_chain.is_empty() {
        Outcome::NotReached
    } else if seen.is_server_verified() {
        if let Some(organisation) = seen
            .server_chain
            .first()
            .and_then(|leaf| leaf.organisation.as_ref())
        {
            facts.push(Fact::new("organisation", organisation));
        }
        facts.push(Fact::new("chain", "leads to an agreed authority"));
        Outcome::Passed
    } else {
        match verdict {
            Verdict::WeRefused { reason, .. } => {
                facts.push(Fact::new("reason", reason.to_string()));
            }
            _ => facts.extend(end(seen)),
        }
        Outcome::Failed
    };
    (outcome, facts)
}

fn client_presents(seen: &Observations) -> (Outcome, Vec<Fact>) {
    let mut facts = Vec::new();
    if let Some(request) = &seen.certificate_request {
        facts.push(Fact::new("certificate asked for", "yes"));
        let named = request.authorities.iter();
        facts.extend(named.map(|name| Fact::new("authority named", name)));
    } else if seen.is_certificate_not_requested() {
        facts.push(Fact::new("certificate asked for", "no"));
    }
    let outcome = match &seen.certificate_request {
        _ if seen.is_certificate_not_requested() => Outcome::Failed,
        Some(request) if seen.is_server_verified() => {
            if request.response == Presented::Certificate {
                facts.extend(chain_facts(&seen.own_chain));
                Outcome::Passed
            } else {
                let shown = match request.response {
                    Presented::NoCommonScheme => "none, for our key makes no signature it accepts",
                    _ => "none",
                };
                facts.push(Fact::new("certificate shown", shown));
                Outcome::Failed
            }
        }
        _ => Outcome::NotReached,
    };
    (outcome, facts)
}

fn server_verifies(seen: &Observations, verdict: &Verdict) -> (Outcome, Vec<Fact>) {
    let mut facts = Vec::new();
    let is_requested = seen.is_server_verified() && seen.certificate_request.is_some();
    let outcome = match verdict {
        _ if !is_requested => Outcome::NotReached,
        Verdict::TheyRefused { .. } | Verdict::TheyRefusedOverHttp { .. } => {
            facts.extend(end(seen));
            Outcome::Failed
        }
        // There was nothing to verify.
        _ if !seen.is_certificate_sent() => Outcome::NotReached,
        Verdict::Granted { .. }
        | Verdict::RefusedByPolicy { .. }
        | Verdict::ServerFailed { .. }
        | Verdict::NotHttp { .. }
        | Verdict::TooLarge { .. } => Outcome::Passed,
        _ if seen.negotiated.is_complete && seen.negotiated.verifies_client_in_handshake => {
            Outcome::Passed
        }
        _ => {
            facts.extend(end(seen));
            Outcome::Unknown
        }
    };
    (outcome, facts)
}

fn access_granted(seen: &Observations, verdict: &Verdict) -> (Outcome, Vec<Fact>) {
    let mut facts = Vec::new();
    let failed = match (&seen.end, verdict) {
        (_, Verdict::TheyRefusedOverHttp { .. } | Verdict::TheyRefused { .. }) => {
            return (Outcome::NotReached, facts);
        }
        (End::Answered(answer), _) => {
            facts.extend(answered(answer));
            answer.reaction != Reaction::Accepts
        }
        (_, Verdict::RefusedByPolicy { .. }) => {
            facts.extend(end(seen));
            true
        }
        (End::NotHttp | End::TooLarge | End::Closed(_) | End::TimedOut(_), _)
            if seen.negotiated.is_complete =>
        {
            facts.extend(end(seen));
            true
        }
        (End::Alert(_), _) if seen.is_certificate_not_requested() => {
            facts.extend(end(seen));
            true
        }
        _ => return (Outcome::NotReached, facts),
    };
    let outcome = if failed {
        Outcome::Failed
    } else {
        Outcome::Passed
    };
    (outcome, facts)
}

fn encrypted_exchange(seen: &Observations) -> (Outcome, Vec<Fact>) {
    let mut facts = Vec::new();
    let outcome = match &seen.end {
        End::Answered(answer) if answer.reaction == Reaction::Accepts => {
            let negotiated = &seen.negotiated;
            for (name, value) in [
                ("cipher suite", &negotiated.cipher_suite),
                ("application protocol", &negotiated.application_protocol),
            ] {
                facts.extend(value.as_ref().map(|value| Fact::new(name, value)));
            }
            facts.push(Fact::new("received", format!("{} bytes", answer.size)));
            Outcome::Passed
        }
        _ => Outcome::NotReached,
    };
    (outcome, facts)
}

fn answered(answer: &ProbeResponse) -> Vec<Fact> {
    let mut status = answer.status.to_string();
    if answer.reaction == Reaction::Accepts && answer.status >= 400 {
        status.push_str(
            ", which is about the request and not about us: a probe asks for nothing that is there",
        );
    }
    let mut facts = vec![Fact::new("HTTP status", status)];
    if let Reaction::Refuses(reasons) = &answer.reaction
        && !reasons.is_empty()
    {
        let by = Policy::Http {
            status: answer.status,
            reasons: reasons.clone(),
        };
        facts.push(Fact::new("reason", by.to_string()));
    }
    if !answer.is_complete {
        facts.push(Fact::new("answer", "not read to its end"));
    }
    facts
}

/// End of the connection, as a fact of the step at which it occurred.
fn end(seen: &Observations) -> Option<Fact> {
    Some(match &seen.end {
        End::TimedOut(stage) => time_limit(seen, *stage),
        End::Alert(alert) => Fact::new("alert", alert.to_string()),
        End::NotTls => Fact::new("cause", "what came is no TLS"),
        End::TlsError(fault) => Fact::new("cause", fault),
        End::Closed(None) => Fact::new("cause", "the connection was closed without an alert"),
        End::Unreachable(cause) | End::Closed(Some(cause)) => Fact::new("cause", cause),
        End::NotHttp => Fact::new("cause", "what came is no HTTP/1.1"),
        End::TooLarge => Fact::new(
            "cause",
            format!(
                "the head of the answer has more than {} bytes",
                seen.limits.answer
            ),
        ),
        End::Answered(answer) => return answered(answer).into_iter().next(),
    })
}

fn time_limit(seen: &Observations, stage: Stage) -> Fact {
    let seconds = seen.limits.of(stage).as_secs_f32();
    Fact::new("cause", format!("not done within {seconds} s"))
}
