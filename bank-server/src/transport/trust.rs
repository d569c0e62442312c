//! Whom we trust, as one immutable snapshot, and the question every handshake and every request asks of it.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bank_client::environment::Clock;
use rustls::DigitallySignedStruct;
use rustls::DistinguishedName;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::certificate::CertificateSummary;
use shared_types::trust::{Anchors, Refusal, Usage, Window, judge};

/// Everything that decides who may come in. Never changed, only replaced whole.
#[derive(Debug)]
pub struct Snapshot {
    /// The agreed certification authorities.
    pub anchors: Anchors,
}

/// Where the current [`Snapshot`] is kept. Reading it takes no lock.
#[derive(Clone)]
pub struct Trust {
    current: Arc<ArcSwap<Snapshot>>,
    clock: Arc<dyn Clock>,
}

/// A favourable judgement: by which snapshot, and for how long it stands.
#[derive(Debug, Clone)]
pub struct Verdict {
    by: Arc<Snapshot>,
    window: Window,
}

impl Trust {
    /// Starts with that snapshot.
    #[must_use]
    pub fn new(snapshot: Snapshot, clock: Arc<dyn Clock>) -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(snapshot)),
            clock,
        }
    }

    /// Puts another snapshot in place, for handshakes and for connections that are open.
    pub fn replace(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
    }

    /// The snapshot of this moment.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Judges a chain, the peer's own certificate first, by the snapshot and the time of this moment.
    pub fn judge(&self, chain: &[CertificateDer<'_>]) -> Result<Verdict, Refusal> {
        let (leaf, intermediates) = chain.split_first().ok_or(Refusal::NoCertificate)?;
        let by = self.current();
        let window = judge(&by.anchors, leaf, intermediates, Usage::Client, self.now())?;
        Ok(Verdict { by, window })
    }

    /// Whether an earlier judgement still stands. If so, judging again would change nothing.
    ///
    /// Cost: two comparisons of the clock and one of a pointer; no signature is checked.
    #[must_use]
    pub fn stands(&self, verdict: &Verdict) -> bool {
        Arc::ptr_eq(&verdict.by, &self.current.load()) && verdict.window.contains(self.now())
    }

    /// The time, as certificates count it.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        let seconds = u64::try_from(self.clock.now().timestamp()).unwrap_or(0);
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("current", &self.current())
            .finish_non_exhaustive()
    }
}

tokio::task_local! {
    /// Where a handshake leaves the reason of its refusal: rustls's error carries only what fits an alert.
    static REFUSED: RefCell<Option<(CertificateSummary, Refusal)>>;
}

/// Runs a handshake, and tells which certificate of the peer was refused and why, if one was.
pub(super) async fn noting_refusal<F: IntoFuture>(
    handshake: F,
) -> (F::Output, Option<(CertificateSummary, Refusal)>) {
    REFUSED
        .scope(RefCell::new(None), async {
            let outcome = handshake.await;
            (outcome, REFUSED.with(RefCell::take))
        })
        .await
}

/// Asks [`Trust`] during the handshake.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    hints: Vec<DistinguishedName>,
}

impl PeerVerifier {
    pub(super) fn new(trust: Trust, provider: Arc<CryptoProvider>) -> Self {
        let hints = trust
            .current()
            .anchors
            .subjects()
            .map(DistinguishedName::in_sequence)
            .collect();
        Self {
            trust,
            provider,
            hints,
        }
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let chain: Vec<CertificateDer<'_>> = std::iter::once(leaf)
            .chain(intermediates)
            .cloned()
            .collect();
        match self.trust.judge(&chain) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(refusal) => {
                let error = refusal.to_tls();
                // Outside `noting_refusal` there is nobody to tell.
                let _ = REFUSED
                    .try_with(|slot| slot.replace(Some((CertificateSummary::of(leaf), refusal))));
                Err(error)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
