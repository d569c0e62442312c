//! OCSP client (RFC 6960) in a background task.
//!
//! Queries the responder of each certificate in use, once at a time, and again before the response
//! expires. Responses become part of the trust snapshot.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use rustls_pki_types::UnixTime;
use shared_types::environment::{Clock, Randomness, uptime};
use shared_types::pki::revocation::PathCertificate;
use shared_types::pki::revocation::ocsp::{
    Answer, AnswerError, CertStatus, CertificateId, Question,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::fetch::{FetchError, Fetcher};
use super::own_certificate::own_path_certificate;
use super::policy::Policy;
use super::trust::Trust;

/// Settings of the OCSP client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OcspOptions {
    /// Whether the status of peers' certificates is queried.
    pub check_peers: bool,
    /// Whether the status of our own certificate is queried, to staple the response.
    pub staple: bool,
    /// Whether a response without the nonce of its query is refused. Many responders pre-sign their
    /// responses, and some refuse queries with a nonce: unless this is set, these are queried once
    /// more without.
    pub nonce_required: bool,
    /// Time limit of a query.
    pub timeout: Duration,
}

impl Default for OcspOptions {
    /// No status is queried.
    fn default() -> Self {
        Self {
            check_peers: false,
            staple: false,
            nonce_required: false,
            timeout: Duration::from_secs(3),
        }
    }
}

/// Handle to the OCSP worker. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct OcspHandle {
    requests: mpsc::Sender<StatusRequest>,
    counters: watch::Receiver<OcspCounters>,
}

/// Counters of the OCSP client.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OcspCounters {
    /// Queries sent.
    pub(super) queries: u64,
    /// Queries without a usable response.
    pub(super) failures: u64,
    /// Certificates in use whose latest query failed.
    pub(super) unanswered: usize,
}

/// The receiving end of [`OcspHandle`].
pub(super) type OcspRequests = (mpsc::Receiver<StatusRequest>, watch::Sender<OcspCounters>);

/// Certificates to query, and the caller that waits for the responses.
pub(super) struct StatusRequest {
    links: Vec<PathCertificate>,
    answered: Option<oneshot::Sender<()>>,
}

/// Requests that wait for the worker.
const BACKLOG: usize = 1024;
/// Certificates that are tracked. Statuses of others are not queried.
const MAX_CERTIFICATES: usize = 10_000;
/// Queries that are open at a time.
const MAX_OPEN_QUERIES: usize = 64;
/// Delay before a failed query is repeated; it doubles with each further failure.
const MIN_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Time after which a certificate that is not requested again is no longer tracked.
const TRACKING_TIME: Duration = Duration::from_mins(2);
/// Interval at which due queries are sent.
const TICK: Duration = Duration::from_millis(250);

impl OcspHandle {
    /// A handle, and the receiving end for the worker.
    pub(super) fn new() -> (Self, OcspRequests) {
        let (requests, receiver) = mpsc::channel(BACKLOG);
        let (sender, counters) = watch::channel(OcspCounters::default());
        (Self { requests, counters }, (receiver, sender))
    }

    /// Counters of the OCSP client.
    pub(super) fn counters(&self) -> OcspCounters {
        *self.counters.borrow()
    }

    /// Queries the responders, and waits until they have responded or failed.
    pub(super) async fn query(&self, links: Vec<PathCertificate>) {
        let (answered, answers) = oneshot::channel();
        let request = StatusRequest {
            links,
            answered: Some(answered),
        };
        // Without a worker the statuses stay unknown, and the evaluation decides.
        if self.requests.send(request).await.is_ok() {
            let _ = answers.await;
        }
    }

    /// Queries the responders in the background. Dropped when the queue is full: the certificates
    /// in use are requested again periodically.
    pub(super) fn enqueue(&self, links: Vec<PathCertificate>) {
        let _ = self.requests.try_send(StatusRequest {
            links,
            answered: None,
        });
    }
}

/// OCSP worker. Runs until it is dropped.
pub struct OcspWorker<P: Policy> {
    pub(super) trust: Arc<Trust<P>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) randomness: Arc<dyn Randomness>,
    pub(super) options: OcspOptions,
    /// Time after which a response is refreshed at the latest.
    pub(super) refresh: Duration,
    pub(super) fetcher: Fetcher,
    pub(super) requests: mpsc::Receiver<StatusRequest>,
    pub(super) counters: watch::Sender<OcspCounters>,
    pub(super) tracked: HashMap<CertificateId, TrackedCertificate>,
    pub(super) queries: JoinSet<(CertificateId, Result<Answer, String>)>,
}

/// A certificate whose status is kept fresh.
pub(super) struct TrackedCertificate {
    link: PathCertificate,
    /// An [`uptime`].
    last_requested: Duration,
    /// The [`uptime`] at which the next query is due: after a suspension, at once.
    due: Duration,
    retry_delay: Duration,
    is_querying: bool,
    /// Whether its latest query failed.
    unanswered: bool,
    /// Dropped when the query has ended, which wakes the caller; a caller that waits for several
    /// certificates is woken by the last.
    waiting: Vec<Arc<oneshot::Sender<()>>>,
}

impl<P: Policy> OcspWorker<P> {
    /// Processes requests and sends queries until it is dropped.
    pub async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(request) = self.requests.recv() => self.handle_request(request),
                Some(joined) = self.queries.join_next() => match joined {
                    Ok((certificate, outcome)) => self.handle_outcome(&certificate, outcome),
                    Err(error) => {
                        tracing::error!(%error, "OCSP query task failed");
                        // The error does not identify the query, so all open queries are sent
                        // again.
                        for subject in self.tracked.values_mut() {
                            subject.is_querying = false;
                            subject.waiting.clear();
                        }
                    }
                },
                _ = tick.tick() => self.check_due(),
            }
        }
    }

    fn handle_request(&mut self, request: StatusRequest) {
        let answered = request.answered.map(Arc::new);
        for link in request.links {
            self.track(link, answered.as_ref());
        }
        self.send_due_queries(uptime());
    }

    fn track(&mut self, link: PathCertificate, answered: Option<&Arc<oneshot::Sender<()>>>) {
        if link.responders.is_empty() {
            return;
        }
        let now = uptime();
        let certificate = CertificateId::of(&link);
        if self.tracked.len() >= MAX_CERTIFICATES && !self.tracked.contains_key(&certificate) {
            tracing::warn!("limit of certificates tracked for OCSP reached");
            return;
        }
        let subject = self
            .tracked
            .entry(certificate)
            .or_insert_with(|| TrackedCertificate {
                link,
                last_requested: now,
                due: now,
                retry_delay: MIN_RETRY_DELAY,
                is_querying: false,
                unanswered: false,
                waiting: Vec::new(),
            });
        subject.last_requested = now;
        // During the retry delay of a failed responder, callers do not wait for it.
        if subject.is_querying || subject.due <= now {
            subject.waiting.extend(answered.cloned());
        }
    }

    /// Tracks our own certificate, drops certificates that are out of use, and sends due queries.
    fn check_due(&mut self) {
        if self.options.staple
            && let Some(own) = own_path_certificate(&self.trust.current().credentials)
        {
            self.track(own, None);
        }
        let now = uptime();
        self.tracked.retain(|_, subject| {
            subject.is_querying || now.saturating_sub(subject.last_requested) < TRACKING_TIME
        });
        self.count_unanswered();
        self.send_due_queries(now);
    }

    /// Cost: one check of each tracked certificate.
    fn send_due_queries(&mut self, now: Duration) {
        let due = self
            .tracked
            .iter_mut()
            .filter(|(_, subject)| !subject.is_querying && subject.due <= now);
        for (certificate, subject) in due {
            if self.queries.len() >= MAX_OPEN_QUERIES {
                break;
            }
            subject.is_querying = true;
            self.counters.send_modify(|counters| counters.queries += 1);
            let nonce = [self.randomness.bytes(), self.randomness.bytes()].concat();
            let queried = query(
                self.fetcher.clone(),
                subject.link.clone(),
                nonce,
                self.options,
            );
            let certificate = certificate.clone();
            self.queries
                .spawn(async move { (certificate, queried.await) });
        }
    }

    fn handle_outcome(&mut self, certificate: &CertificateId, outcome: Result<Answer, String>) {
        let now = self.clock.unix();
        let outcome = outcome.and_then(|answer| {
            let until = answer.until();
            self.apply(answer, now)
                .map(|()| Duration::from_secs(until.as_secs().saturating_sub(now.as_secs())))
        });
        let Some(subject) = self.tracked.get_mut(certificate) else {
            return;
        };
        subject.is_querying = false;
        subject.waiting.clear();
        subject.unanswered = outcome.is_err();
        let max_wait = self.refresh.max(MIN_RETRY_DELAY);
        let wait = match outcome {
            Ok(good_for) => {
                subject.retry_delay = MIN_RETRY_DELAY;
                (good_for / 2).clamp(MIN_RETRY_DELAY, max_wait)
            }
            Err(problem) => {
                self.counters.send_modify(|counters| counters.failures += 1);
                tracing::warn!(
                    issuer = %subject.link.issuer,
                    responders = ?subject.link.responders,
                    problem,
                    "OCSP query failed"
                );
                let wait = subject.retry_delay;
                subject.retry_delay = (wait * 2).min(max_wait);
                wait
            }
        };
        subject.due = uptime() + wait;
        self.count_unanswered();
    }

    fn count_unanswered(&self) {
        let unanswered = self.tracked.values().filter(|subject| subject.unanswered);
        let unanswered = unanswered.count();
        self.counters
            .send_modify(|counters| counters.unanswered = unanswered);
    }

    fn apply(&self, answer: Answer, now: UnixTime) -> Result<(), String> {
        answer.check_fresh(now).map_err(|error| error.to_string())?;
        let answer = Arc::new(answer);
        let mut outcome: Result<(), AnswerError> = Ok(());
        self.trust.update(|snapshot| {
            let mut next = snapshot.clone();
            let answers = &mut next.statuses.answers;
            // Revocations stay; other expired responses are dropped.
            answers.retain(|known| {
                matches!(known.said(), CertStatus::Revoked { .. }) || known.check_fresh(now).is_ok()
            });
            outcome = answers.add(answer);
            next
        });
        outcome.map_err(|error| error.to_string())
    }
}

/// Queries the responders in order until one gives a usable response.
async fn query(
    fetcher: Fetcher,
    link: PathCertificate,
    nonce: Vec<u8>,
    options: OcspOptions,
) -> Result<Answer, String> {
    let question = Question::about(&link, &nonce);
    let each = async {
        let mut problems = Vec::new();
        for responder in &link.responders {
            let queried = query_one(
                &fetcher,
                responder,
                &link,
                &question,
                options.nonce_required,
            );
            match queried.await {
                Ok(answer) => return Ok(answer),
                Err(problem) => problems.push(problem),
            }
        }
        Err(problems.join("; "))
    };
    timeout(options.timeout, each).await.unwrap_or_else(|_| {
        Err(format!(
            "no response within {} s",
            options.timeout.as_secs_f32()
        ))
    })
}

/// Queries one responder. If it refuses, queries it once more without a nonce, unless the nonce is
/// required: some responders accept none, or none of this length, and signal that in different ways
/// (RFC 9654, section 2.1).
async fn query_one(
    fetcher: &Fetcher,
    responder: &str,
    link: &PathCertificate,
    question: &Question,
    nonce_required: bool,
) -> Result<Answer, String> {
    let refused = match post_query(fetcher, responder, link, question).await {
        Ok(answer) if nonce_required && !answer.has_nonce() => {
            return Err(AnswerError::NoNonce.to_string());
        }
        Ok(answer) => return Ok(answer),
        Err(problem) => problem,
    };
    if !refused.may_be_caused_by_nonce() {
        return Err(refused.to_string());
    }
    if nonce_required {
        return Err(format!(
            "{refused}; not retried without a nonce because ocsp.nonce_required is set"
        ));
    }
    post_query(fetcher, responder, link, &Question::without_nonce(link))
        .await
        .map_err(|problem| format!("{refused}; without a nonce, its answer {problem}"))
}

/// Error of an OCSP query.
#[derive(Debug, thiserror::Error)]
enum OcspError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl OcspError {
    /// False for an overloaded responder, which would be queried twice as often.
    fn may_be_caused_by_nonce(&self) -> bool {
        match self {
            Self::Fetch(FetchError::Status(status)) => {
                let is_busy = [
                    StatusCode::TOO_MANY_REQUESTS,
                    StatusCode::SERVICE_UNAVAILABLE,
                ];
                !is_busy.contains(status)
            }
            Self::Answer(error) => {
                matches!(error, AnswerError::Refused(_) | AnswerError::NotAnAnswer(_))
            }
            Self::Fetch(_) => false,
        }
    }
}

async fn post_query(
    fetcher: &Fetcher,
    responder: &str,
    link: &PathCertificate,
    question: &Question,
) -> Result<Answer, OcspError> {
    let der = fetcher
        .post(
            responder,
            Question::MEDIA_TYPE,
            question.der().to_vec(),
            Answer::MOST_BYTES,
        )
        .await?;
    Ok(Answer::read(der, link, question.nonce())?)
}
