//! Asking responders how certificates stand (OCSP, RFC 6960): once for each certificate at a time, and again before an
//! answer runs out, for as long as the certificate is in use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bank_client::environment::{Clock, Randomness, uptime};
use reqwest::StatusCode;
use rustls_pki_types::UnixTime;
use shared_types::revocation::PathCertificate;
use shared_types::revocation::ocsp::{Answer, AnswerError, CertStatus, CertificateId, Question};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::fetch::{FetchError, Fetcher};
use super::own_certificate::own_link;
use super::policy::Policy;
use super::trust::Trust;

/// How responders are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InquiryOptions {
    /// Whether they are asked about peers.
    pub about_peers: bool,
    /// Whether they are asked about our own certificate, so that the answer is stapled to it.
    pub about_ourselves: bool,
    /// Whether an answer without the nonce of its question is refused. Many responders make their answers ahead, and some
    /// refuse questions with a nonce: unless this is set, these are asked once more without.
    pub nonce_required: bool,
    /// How long an answer may take.
    pub patience: Duration,
}

impl Default for InquiryOptions {
    /// Nobody is asked about anything.
    fn default() -> Self {
        Self {
            about_peers: false,
            about_ourselves: false,
            nonce_required: false,
            patience: Duration::from_secs(3),
        }
    }
}

/// Where it is said which certificates are of interest. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct OcspHandle {
    wanted: mpsc::Sender<Wanted>,
    tally: watch::Receiver<InquiryTally>,
}

/// What has come of asking so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InquiryTally {
    /// Questions asked.
    pub(super) questions: u64,
    /// Those without an answer that can be used.
    pub(super) failures: u64,
    /// The certificates in use whose responders gave none when they were asked last.
    pub(super) unanswered: usize,
}

/// Where inquiries are taken up.
pub(super) struct Inbox {
    wanted: mpsc::Receiver<Wanted>,
    tally: watch::Sender<InquiryTally>,
}

/// Certificates of interest, and who waits for the answers.
struct Wanted {
    links: Vec<PathCertificate>,
    answered: Option<oneshot::Sender<()>>,
}

/// OcspHandle that wait to be taken up.
const BACKLOG: usize = 1024;
/// Certificates of which something is known or asked. More would be asked about one at a time, by who waits for it.
const MOST_CERTIFICATES: usize = 10_000;
/// Questions that are under way at a time.
const MOST_QUESTIONS: usize = 64;
/// How soon a responder is asked again that has failed; the wait doubles with each further time.
const SOONEST: Duration = Duration::from_secs(1);
/// How long after it was last of interest a certificate is no longer asked about.
const OF_INTEREST: Duration = Duration::from_mins(2);
/// How often is looked for what is due.
const TICK: Duration = Duration::from_millis(250);

impl OcspHandle {
    /// A pair: where inquiries are handed in, and where they are taken up.
    pub(super) fn new() -> (Self, Inbox) {
        let (sender, wanted) = mpsc::channel(BACKLOG);
        let (counting, tally) = watch::channel(InquiryTally::default());
        let ocsp = Self {
            wanted: sender,
            tally,
        };
        (
            ocsp,
            Inbox {
                wanted,
                tally: counting,
            },
        )
    }

    /// What has come of asking so far.
    pub(super) fn tally(&self) -> InquiryTally {
        *self.tally.borrow()
    }

    /// Has responders asked, and waits until they have answered or failed to.
    pub(super) async fn ask(&self, links: Vec<PathCertificate>) {
        let (answered, answers) = oneshot::channel();
        let wanted = Wanted {
            links,
            answered: Some(answered),
        };
        // When nobody asks, nothing becomes known: the judgement says what follows.
        if self.wanted.send(wanted).await.is_ok() {
            let _ = answers.await;
        }
    }

    /// Has responders asked in the background. Where there is too much to do, this is left out: it will be said again.
    pub(super) fn want(&self, links: Vec<PathCertificate>) {
        let _ = self.wanted.try_send(Wanted {
            links,
            answered: None,
        });
    }
}

/// Asks, for as long as it is polled.
pub struct Inquirer<P: Policy> {
    trust: Arc<Trust<P>>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    options: InquiryOptions,
    /// How long an answer is believed before its responder is asked again, at most.
    refresh: Duration,
    fetcher: Fetcher,
    inbox: Inbox,
    subjects: HashMap<CertificateId, Subject>,
    asking: JoinSet<(CertificateId, Result<Answer, String>)>,
}

/// A certificate that is asked about.
struct Subject {
    link: PathCertificate,
    /// An [`uptime`].
    last_wanted: Duration,
    /// The [`uptime`] at which its responder is to be asked next: after a suspension, at once.
    due: Duration,
    after_failure: Duration,
    asking: bool,
    /// Whether its responder gave no answer when it was asked last.
    unanswered: bool,
    /// Told when the question is settled, by being dropped: whoever waits for several waits for the last.
    waiting: Vec<Arc<oneshot::Sender<()>>>,
}

impl<P: Policy> Inquirer<P> {
    pub(super) fn new(
        trust: Arc<Trust<P>>,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
        options: InquiryOptions,
        refresh: Duration,
        fetcher: Fetcher,
        inbox: Inbox,
    ) -> Self {
        Self {
            trust,
            clock,
            randomness,
            options,
            refresh,
            fetcher,
            inbox,
            subjects: HashMap::new(),
            asking: JoinSet::new(),
        }
    }

    /// Takes inquiries up and asks, for as long as it is polled.
    pub async fn keep_asking(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(wanted) = self.inbox.wanted.recv() => self.take_up(wanted),
                Some(asked) = self.asking.join_next() => match asked {
                    Ok((certificate, outcome)) => self.settle(&certificate, outcome),
                    Err(error) => {
                        tracing::error!(%error, "asking a responder went wrong");
                        // Whose question it was is not known; the others are asked twice.
                        for subject in self.subjects.values_mut() {
                            subject.asking = false;
                            subject.waiting.clear();
                        }
                    }
                },
                _ = tick.tick() => self.look(),
            }
        }
    }

    fn take_up(&mut self, wanted: Wanted) {
        let answered = wanted.answered.map(Arc::new);
        for link in wanted.links {
            self.want(link, answered.as_ref());
        }
        self.ask_what_is_due(uptime());
    }

    fn want(&mut self, link: PathCertificate, answered: Option<&Arc<oneshot::Sender<()>>>) {
        if link.responders.is_empty() {
            return;
        }
        let now = uptime();
        let certificate = CertificateId::of(&link);
        if self.subjects.len() >= MOST_CERTIFICATES && !self.subjects.contains_key(&certificate) {
            tracing::warn!("more certificates are in use than responders are asked about");
            return;
        }
        let subject = self.subjects.entry(certificate).or_insert_with(|| Subject {
            link,
            last_wanted: now,
            due: now,
            after_failure: SOONEST,
            asking: false,
            unanswered: false,
            waiting: Vec::new(),
        });
        subject.last_wanted = now;
        // Who comes while a responder is being left alone, because it has failed, does not wait for it either.
        if subject.asking || subject.due <= now {
            subject.waiting.extend(answered.cloned());
        }
    }

    /// Sees to our own certificate, forgets what is of no interest, and asks what is due.
    fn look(&mut self) {
        if self.options.about_ourselves
            && let Some(own) = own_link(&self.trust.current().credentials)
        {
            self.want(own, None);
        }
        let now = uptime();
        self.subjects.retain(|_, subject| {
            subject.asking || now.saturating_sub(subject.last_wanted) < OF_INTEREST
        });
        self.count_unanswered();
        self.ask_what_is_due(now);
    }

    /// Cost: a look at each certificate of interest.
    fn ask_what_is_due(&mut self, now: Duration) {
        let due = self
            .subjects
            .iter_mut()
            .filter(|(_, subject)| !subject.asking && subject.due <= now);
        for (certificate, subject) in due {
            if self.asking.len() >= MOST_QUESTIONS {
                break;
            }
            subject.asking = true;
            self.inbox.tally.send_modify(|tally| tally.questions += 1);
            let nonce = [self.randomness.bytes(), self.randomness.bytes()].concat();
            let asked = ask(
                self.fetcher.clone(),
                subject.link.clone(),
                nonce,
                self.options,
            );
            let certificate = certificate.clone();
            self.asking.spawn(async move { (certificate, asked.await) });
        }
    }

    fn settle(&mut self, certificate: &CertificateId, outcome: Result<Answer, String>) {
        let now = self.clock.unix();
        let outcome = outcome.and_then(|answer| {
            let until = answer.until();
            self.put_in_place(answer, now)
                .map(|()| Duration::from_secs(until.as_secs().saturating_sub(now.as_secs())))
        });
        let Some(subject) = self.subjects.get_mut(certificate) else {
            return;
        };
        subject.asking = false;
        subject.waiting.clear();
        subject.unanswered = outcome.is_err();
        let most = self.refresh.max(SOONEST);
        let wait = match outcome {
            Ok(good_for) => {
                subject.after_failure = SOONEST;
                (good_for / 2).clamp(SOONEST, most)
            }
            Err(problem) => {
                self.inbox.tally.send_modify(|tally| tally.failures += 1);
                tracing::warn!(
                    issuer = %subject.link.issuer,
                    responders = ?subject.link.responders,
                    problem,
                    "no answer from a responder"
                );
                let wait = subject.after_failure;
                subject.after_failure = (wait * 2).min(most);
                wait
            }
        };
        subject.due = uptime() + wait;
        self.count_unanswered();
    }

    fn count_unanswered(&self) {
        let unanswered = self.subjects.values().filter(|subject| subject.unanswered);
        let unanswered = unanswered.count();
        self.inbox
            .tally
            .send_modify(|tally| tally.unanswered = unanswered);
    }

    fn put_in_place(&self, answer: Answer, now: UnixTime) -> Result<(), String> {
        answer.check_fresh(now).map_err(|error| error.to_string())?;
        let answer = Arc::new(answer);
        let mut outcome: Result<(), AnswerError> = Ok(());
        let changed = self.trust.change(|snapshot| {
            let mut next = snapshot.clone();
            let answers = &mut next.statuses.answers;
            // What was revoked stays so; of the rest, what has run out is of no more use.
            answers.retain(|known| {
                matches!(known.said(), CertStatus::Revoked { .. }) || known.check_fresh(now).is_ok()
            });
            outcome = answers.add(answer);
            next
        });
        outcome.map_err(|error| error.to_string())?;
        changed.map_err(|error| error.to_string())
    }
}

/// Asks one responder after the other, until one answers.
async fn ask(
    fetcher: Fetcher,
    link: PathCertificate,
    nonce: Vec<u8>,
    options: InquiryOptions,
) -> Result<Answer, String> {
    let question = Question::about(&link, &nonce);
    let each = async {
        let mut problems = Vec::new();
        for responder in &link.responders {
            let asked = ask_one(
                &fetcher,
                responder,
                &link,
                &question,
                options.nonce_required,
            );
            match asked.await {
                Ok(answer) => return Ok(answer),
                Err(problem) => problems.push(problem),
            }
        }
        Err(problems.join("; "))
    };
    timeout(options.patience, each).await.unwrap_or_else(|_| {
        Err(format!(
            "nothing within {} s",
            options.patience.as_secs_f32()
        ))
    })
}

/// Asks one responder. One that refuses the question is asked once more without a nonce, unless that is required: there are
/// responders that take none, or none of this length, and say so in any way (RFC 9654, section 2.1).
async fn ask_one(
    fetcher: &Fetcher,
    responder: &str,
    link: &PathCertificate,
    question: &Question,
    nonce_required: bool,
) -> Result<Answer, String> {
    let refused = match exchange(fetcher, responder, link, question).await {
        Ok(answer) if nonce_required && !answer.has_nonce() => {
            return Err(AnswerError::NoNonce.to_string());
        }
        Ok(answer) => return Ok(answer),
        Err(problem) => problem,
    };
    if !refused.can_be_due_to_the_nonce() {
        return Err(refused.to_string());
    }
    if nonce_required {
        return Err(format!(
            "{refused}; it is not asked again without a nonce, because of ocsp.nonce_required"
        ));
    }
    exchange(fetcher, responder, link, &Question::without_nonce(link))
        .await
        .map_err(|problem| format!("{refused}; without a nonce, its answer {problem}"))
}

/// Why a responder's answer is not used.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl Unanswered {
    /// Not where the responder has too much to do: it would be asked twice as often.
    fn can_be_due_to_the_nonce(&self) -> bool {
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

async fn exchange(
    fetcher: &Fetcher,
    responder: &str,
    link: &PathCertificate,
    question: &Question,
) -> Result<Answer, Unanswered> {
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
