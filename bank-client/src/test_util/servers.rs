//! Verification of bank certificates without a connection.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rustls_pki_types::{CertificateDer, ServerName};
use shared_types::environment::ManualClock;
use shared_types::pki::trust::{Anchors, Refusal};

use crate::revocation::Revocation;
use crate::tls::{ServerRefusal, ServerVerifier};

/// Judges a bank's certificates, its own first, as the SDK does in a handshake with any bank of
/// that host name.
pub fn judge_server(
    anchors: Anchors,
    chain: &[CertificateDer<'_>],
    host: &ServerName<'_>,
    revocation: Revocation,
    now: DateTime<Utc>,
) -> Result<(), ServerRefusal> {
    let (leaf, intermediates) = chain.split_first().ok_or(Refusal::NoCertificate)?;
    let verifier =
        ServerVerifier::new(anchors, None, Arc::new(ManualClock::at(now))).revocation(revocation);
    verifier.judge(leaf, intermediates, host, &[]).map(|_| ())
}
