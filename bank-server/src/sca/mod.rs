//! Strong customer authentication (Delegated Regulation (EU) 2018/389).
//!
//! Two elements of different kinds: knowledge, the password, and possession, by one of the
//! [`Method`]s. A proof is valid for one [`Subject`] alone: a code that was made for one
//! authorisation is useless for another. Guesses are limited by their [`Source`], so that an
//! attacker cannot lock a customer out for good.

mod lockout;
mod passkeys;
mod password;
mod phone;
mod totp;

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use shared_types::environment::Randomness;
use shared_types::pki::eidas::OrganisationId;
use tokio::sync::OwnedMutexGuard;

use self::lockout::{Attempt, Kind, Lockout};
pub use self::passkeys::{NamedPasskey, Passkeys, PasskeysError};
use self::password::PasswordTurn;
pub use self::password::{PASSWORD_LENGTH, PasswordError, Passwords};
pub(crate) use self::phone::LIFETIME as PHONE_LIFETIME;
pub use self::phone::{Phone, PhoneToken, Phones, PhonesError};
pub use self::totp::{DIGITS, Totp, code_at};
use crate::calendar::Calendar;
use crate::domain::{MethodId, PsuId};
use crate::store::credentials::{CredentialsVersion, CustomerCredentials};
use crate::store::vault::{Vault, VaultError};
use crate::store::{Database, StoreError};

/// A second element, by which a customer proves that something of hers is in her hands.
#[async_trait]
pub trait Method: Send + Sync {
    /// Which one it is.
    fn id(&self) -> MethodId;

    /// Whether the customer has it set up.
    async fn is_enrolled(&self, psu: &PsuId) -> Result<bool, ScaError>;

    /// Asks for a proof for that one thing.
    async fn challenge(
        &self,
        psu: &PsuId,
        subject: &Subject,
        source: Source<'_>,
    ) -> Result<Challenge, ScaError>;

    /// Checks the answer. One that is right is used up.
    async fn check(&self, psu: &PsuId, subject: &Subject, answer: &str) -> Result<(), ScaError>;
}

/// Subject of a proof: the one thing it is valid for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject(String);

impl Subject {
    /// An authorisation of a consent.
    #[must_use]
    pub fn authorisation(id: &str) -> Self {
        Self(format!("authorisation:{id}"))
    }

    /// A log-in to online banking.
    #[must_use]
    pub fn log_in(session: &str) -> Self {
        Self(format!("log-in:{session}"))
    }

    /// Something that a customer does in her session, such as adding a passkey.
    #[must_use]
    pub fn act(session: &str, what: &str) -> Self {
        Self(format!("act:{session}:{what}"))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Source of an attempt, by which failures are counted. A stranger's failures do not lock out the
/// customer's own device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// A device from which the customer has logged in before, by its id.
    Device(&'a str),
    /// A browser of which nothing is known but the address it comes from: one network's attempts count together.
    Browser(IpAddr),
    /// A TPP that passes the customer's credentials on.
    Tpp(&'a OrganisationId),
}

impl Source<'_> {
    /// Its kind, as figures and logs have it.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Device(_) => "device",
            Self::Browser(_) => "network",
            Self::Tpp(_) => "tpp",
        }
    }

    /// The address or TPP, for the log. A device is its customer's, and stays out of it.
    fn origin(&self) -> Option<String> {
        match self {
            Self::Device(_) => None,
            Self::Browser(address) => Some(address.to_string()),
            Self::Tpp(tpp) => Some(tpp.to_string()),
        }
    }
}

/// Challenge for the customer.
#[derive(Debug, Clone, PartialEq)]
pub enum Challenge {
    /// A code of so many digits.
    Code {
        /// How many.
        digits: u8,
    },
    /// Something for the browser to sign: the options of `navigator.credentials.get`, as JSON.
    Browser {
        /// The options.
        options: serde_json::Value,
    },
    /// To look at the bank's app.
    App,
}

/// The customer has proved, by a second element, that it is she, for one thing. Only [`Sca::prove`] makes one, or makes it
/// again for the session that it began (`Proof::of_session`).
#[derive(Debug, Clone)]
pub struct Proof {
    psu: PsuId,
    subject: Subject,
    method: MethodId,
    at: DateTime<Utc>,
}

impl Proof {
    /// The proof with which a session began that is for one thing alone.
    pub(crate) fn of_session(
        psu: &PsuId,
        subject: Subject,
        method: MethodId,
        begun: DateTime<Utc>,
    ) -> Self {
        Self {
            psu: psu.clone(),
            subject,
            method,
            at: begun,
        }
    }

    /// The authenticated customer.
    #[must_use]
    pub fn psu(&self) -> &PsuId {
        &self.psu
    }

    /// Subject of the proof.
    #[must_use]
    pub fn is_for(&self, subject: &Subject) -> bool {
        self.subject == *subject
    }

    /// Method of the proof.
    #[must_use]
    pub fn method(&self) -> MethodId {
        self.method
    }

    /// Time of the proof.
    #[must_use]
    pub fn at(&self) -> DateTime<Utc> {
        self.at
    }
}

/// Error of customer authentication.
#[derive(Debug, thiserror::Error)]
pub enum ScaError {
    /// Customer or password is wrong; the error does not say which.
    #[error("the customer's credentials are wrong")]
    WrongCredentials,
    /// They were right, and others have taken their place before they counted.
    #[error("the customer's credentials have changed; try again")]
    CredentialsChanged,
    /// The answer to a challenge is wrong.
    #[error("the answer is wrong; {attempts_left} attempts are left")]
    WrongAnswer {
        /// Attempts that are left for this challenge.
        attempts_left: u32,
    },
    /// The code is right, and was used, or belongs to something else that was asked for. It does not count as an attempt.
    #[error(
        "this code was used, or belongs to something else that was asked for; wait for the next one"
    )]
    Taken,
    /// What was entered is no code at all. It does not count as an attempt.
    #[error("a code has {DIGITS} digits")]
    NotACode,
    /// Too many attempts.
    #[error("there were too many attempts; the next is possible at {until}")]
    Locked {
        /// When the next attempt is possible.
        until: DateTime<Utc>,
    },
    /// A code is being asked for on a device that the bank knows, and keeps its place.
    #[error("a code is being asked for on another device of the customer's, until {until}")]
    AskedElsewhere {
        /// When another can be asked for.
        until: DateTime<Utc>,
    },
    /// The customer does not have this method.
    #[error("the customer does not have this method")]
    NoSuchMethod,
    /// Nothing was asked, or too long ago, or something else has been asked since.
    #[error("nothing is being asked for this, or no longer; ask again")]
    NoChallenge,
    /// A password that cannot be taken.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Too many customers are proving who they are.
    #[error("too many customers are logging in at this time; try again")]
    Busy,
    /// What is kept sealed does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The browser's answer could not be made sense of, or the library failed.
    #[error(transparent)]
    Passkeys(#[from] PasskeysError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ScaError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Customer authentication. Cheap to clone.
#[derive(Clone)]
pub struct Sca {
    inner: Arc<Inner>,
}

struct Inner {
    credentials: CustomerCredentials,
    passwords: Passwords,
    password_attempts: Lockout,
    code_attempts: Lockout,
    methods: Vec<Arc<dyn Method>>,
    phones: Phones,
    passkeys: Option<Passkeys>,
    judged: Family<[(&'static str, &'static str); 3], Counter>,
    calendar: Calendar,
}

impl Sca {
    /// The elements kept in that database. Without `passkeys` there is no browser to use them in.
    #[must_use]
    pub fn new(
        database: &Database,
        vault: Vault,
        passkeys: Option<Passkeys>,
        calendar: Calendar,
        randomness: Arc<dyn Randomness>,
    ) -> Self {
        let credentials = CustomerCredentials::new(database.clone(), vault.clone());
        let phones = Phones::new(database.clone(), calendar.clone(), Arc::clone(&randomness));
        let totp = Totp::new(credentials.clone(), database.clone(), calendar.clone());
        let mut methods: Vec<Arc<dyn Method>> = vec![Arc::new(totp), Arc::new(phones.clone())];
        if let Some(passkeys) = &passkeys {
            methods.push(Arc::new(passkeys.clone()));
        }
        let attempts = |kind| Lockout::new(kind, database.clone(), vault.clone(), calendar.clone());
        Self {
            inner: Arc::new(Inner {
                password_attempts: attempts(Kind::Password),
                code_attempts: attempts(Kind::Code),
                passwords: Passwords::new(randomness),
                credentials,
                methods,
                phones,
                passkeys,
                judged: Family::default(),
                calendar,
            }),
        }
    }

    /// Checks a password. A customer that does not exist costs the same time and gets the same answer.
    ///
    /// The attempt is counted before the password is looked at, so that many at once are not more than one after the
    /// other; a right one forgets those before it.
    ///
    /// Returns the version of the credentials that the password is of: what is begun with it begins under that version.
    pub async fn check_password(
        &self,
        psu: &PsuId,
        password: &str,
        source: Source<'_>,
    ) -> Result<CredentialsVersion, ScaError> {
        let right = self.right_password(psu, password, source).await?;
        self.inner
            .password_attempts
            .succeeded(right.attempt)
            .await?;
        Ok(right.version)
    }

    /// Checks a password, and leaves the attempt counted as a failure until the log-in has succeeded.
    async fn right_password<'a>(
        &'a self,
        psu: &'a PsuId,
        password: &str,
        source: Source<'a>,
    ) -> Result<RightPassword<'a>, ScaError> {
        let judged = self.judge_password(psu, password, source).await;
        self.note("password", source, &judged);
        judged
    }

    async fn judge_password<'a>(
        &'a self,
        psu: &'a PsuId,
        password: &str,
        source: Source<'a>,
    ) -> Result<RightPassword<'a>, ScaError> {
        if password::is_too_long(password) {
            return Err(ScaError::WrongCredentials);
        }
        let attempts = &self.inner.password_attempts;
        let turn = attempts.turn(psu, source).await;
        // What waits is not counted, and what is counted is soon settled: right passwords of many customers of one network
        // or TPP at once are not to lock each other out.
        let from_known_device = matches!(source, Source::Device(_));
        let hashing = self.inner.passwords.turn(from_known_device).await?;
        let attempt = attempts.attempt(psu, source).await?;
        match self.is_password(psu, password, hashing.clone()).await {
            Ok(Some(version)) => Ok(RightPassword {
                version,
                attempt,
                _turn: turn,
            }),
            Ok(None) => Err(ScaError::WrongCredentials),
            Err(error) => {
                // It was not checked.
                attempts.forgive(attempt).await?;
                Err(error)
            }
        }
    }

    async fn is_password(
        &self,
        psu: &PsuId,
        password: &str,
        hashing: PasswordTurn,
    ) -> Result<Option<CredentialsVersion>, ScaError> {
        let known = self.inner.credentials.password(psu).await?;
        let (hash, version) = known.unzip();
        let passwords = &self.inner.passwords;
        let is_right = passwords.check(password, hash, hashing).await?;
        Ok(version.filter(|_| is_right))
    }

    /// The version of a customer's credentials.
    pub(crate) async fn credentials_of(&self, psu: &PsuId) -> Result<CredentialsVersion, ScaError> {
        Ok(self.inner.credentials.version(psu).await?)
    }

    /// Checks both elements of a log-in as one, password and code, for that one thing. Which of them is wrong is not told,
    /// nor whether there is such a customer: all is [`ScaError::WrongCredentials`] (Delegated Regulation (EU) 2018/389,
    /// article 4(3)(a)). Whatever the password is, what is no code is told ([`ScaError::NotACode`]), and that there were too
    /// many log-ins that failed ([`ScaError::Locked`]): one counts as failed until both elements were right, so that counting
    /// tells neither.
    ///
    /// Cost: that of a password, and if it is right that of a code.
    pub async fn log_in(
        &self,
        psu: &PsuId,
        password: &str,
        code: &str,
        subject: &Subject,
        source: Source<'_>,
    ) -> Result<(Proof, CredentialsVersion), ScaError> {
        totp::digits(code)?;
        let right = self.right_password(psu, password, source).await?;
        let asked = self.challenge(psu, MethodId::Totp, subject, source).await;
        asked.map_err(without_element)?;
        let proof = self
            .prove(psu, MethodId::Totp, subject, code, source)
            .await
            .map_err(without_element)?;
        self.inner
            .password_attempts
            .succeeded(right.attempt)
            .await?;
        Ok((proof, right.version))
    }

    /// Begins a log-in with a passkey: checks the password, and makes the options of `navigator.credentials.get`. Without a
    /// version the password was wrong. The options are alike then, and no answer to them is right: that is told at the end
    /// ([`Sca::finish_passkey_log_in`]), as for [`Sca::log_in`].
    pub(crate) async fn begin_passkey_log_in(
        &self,
        psu: &PsuId,
        password: &str,
        subject: &Subject,
        source: Source<'_>,
    ) -> Result<(Option<CredentialsVersion>, serde_json::Value), ScaError> {
        let passkeys = self.passkeys().ok_or(ScaError::NoSuchMethod)?;
        let version = match self.right_password(psu, password, source).await {
            Ok(right) => Some(right.version),
            Err(ScaError::WrongCredentials) => None,
            Err(error) => return Err(error),
        };
        if version.is_some()
            && passkeys.is_enrolled(psu).await?
            && let Challenge::Browser { options } = passkeys.challenge(psu, subject, source).await?
        {
            return Ok((version, options));
        }
        Ok((version, passkeys.unanswerable(psu).await?))
    }

    /// Ends a log-in with a passkey.
    pub(crate) async fn finish_passkey_log_in(
        &self,
        psu: &PsuId,
        subject: &Subject,
        answer: &str,
        source: Source<'_>,
    ) -> Result<Proof, ScaError> {
        let proof = self.prove(psu, MethodId::Passkey, subject, answer, source);
        let proof = proof.await.map_err(without_element)?;
        self.inner.password_attempts.settle(psu, source).await?;
        Ok(proof)
    }

    /// The methods that the customer has set up.
    pub async fn methods_of(&self, psu: &PsuId) -> Result<Vec<MethodId>, ScaError> {
        let mut enrolled = Vec::new();
        for method in &self.inner.methods {
            if method.is_enrolled(psu).await? {
                enrolled.push(method.id());
            }
        }
        Ok(enrolled)
    }

    /// Asks for a proof for that one thing.
    pub async fn challenge(
        &self,
        psu: &PsuId,
        method: MethodId,
        subject: &Subject,
        source: Source<'_>,
    ) -> Result<Challenge, ScaError> {
        let method = self.method(method)?;
        if !method.is_enrolled(psu).await? {
            return Err(ScaError::NoSuchMethod);
        }
        method.challenge(psu, subject, source).await
    }

    /// Registers its figures: passwords that wait to be checked, and attempts to prove who a customer is.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "authentication_attempts",
            "Passwords, codes and other proofs of customers, by whence they came and what became of them",
            self.inner.judged.clone(),
        );
        let waiting = self.inner.passwords.waiting().clone();
        registry.register(
            "passwords_waiting",
            "Passwords that wait to be checked",
            waiting,
        );
    }

    /// Checks the answer; one that is right is used up.
    ///
    /// Codes can be guessed, so wrong ones are counted by whose they are, as wrong passwords are: asking for another code
    /// gives no more attempts.
    pub async fn prove(
        &self,
        psu: &PsuId,
        method: MethodId,
        subject: &Subject,
        answer: &str,
        source: Source<'_>,
    ) -> Result<Proof, ScaError> {
        let checked = match method {
            MethodId::Totp => self.check_code(psu, subject, answer, source).await,
            _ => self.method(method)?.check(psu, subject, answer).await,
        };
        self.note(method.as_str(), source, &checked);
        checked?;
        Ok(Proof {
            psu: psu.clone(),
            subject: subject.clone(),
            method,
            at: self.inner.calendar.now(),
        })
    }

    async fn check_code(
        &self,
        psu: &PsuId,
        subject: &Subject,
        code: &str,
        source: Source<'_>,
    ) -> Result<(), ScaError> {
        // An answer without the form of a code is no guess: it fails as such and is not counted.
        let code = totp::digits(code)?;
        let attempts = &self.inner.code_attempts;
        let _turn = attempts.turn(psu, source).await;
        let attempt = attempts.attempt(psu, source).await?;
        let totp = self.method(MethodId::Totp)?;
        let checked = totp.check(psu, subject, &code).await;
        match &checked {
            Ok(()) => attempts.succeeded(attempt).await?,
            Err(ScaError::WrongAnswer { .. }) => {}
            Err(_) => attempts.forgive(attempt).await?,
        }
        checked
    }

    /// Counts what became of an attempt, and logs one that failed: whence it came, and not for whom.
    fn note<T>(&self, element: &'static str, source: Source<'_>, checked: &Result<T, ScaError>) {
        let outcome = match checked {
            Ok(_) => "right",
            Err(ScaError::WrongCredentials | ScaError::WrongAnswer { .. }) => "wrong",
            Err(ScaError::Locked { .. }) => "locked",
            Err(_) => "not judged",
        };
        let labels = [
            ("element", element),
            ("source", source.kind()),
            ("outcome", outcome),
        ];
        self.inner.judged.get_or_create(&labels).inc();
        let (kind, from) = (source.kind(), source.origin());
        match outcome {
            "wrong" => tracing::info!(element, source = kind, from, "authentication failed"),
            "locked" => {
                tracing::warn!(
                    element,
                    source = kind,
                    from,
                    "authentication refused: too many failures"
                );
            }
            _ => {}
        }
    }

    /// The devices with the bank's app.
    #[must_use]
    pub fn phones(&self) -> &Phones {
        &self.inner.phones
    }

    /// The customers' passkeys, if the bank has pages on which to use them.
    #[must_use]
    pub fn passkeys(&self) -> Option<&Passkeys> {
        self.inner.passkeys.as_ref()
    }

    fn method(&self, id: MethodId) -> Result<&dyn Method, ScaError> {
        let found = self.inner.methods.iter().find(|method| method.id() == id);
        found.map(AsRef::as_ref).ok_or(ScaError::NoSuchMethod)
    }
}

/// A right password, and the attempt at it, which counts as a failure until it is settled.
struct RightPassword<'a> {
    version: CredentialsVersion,
    attempt: Attempt<'a>,
    /// No other attempt of the customer from that source is under way meanwhile.
    _turn: OwnedMutexGuard<()>,
}

/// An error without what would tell that the other element was right.
fn without_element(error: ScaError) -> ScaError {
    match error {
        ScaError::WrongAnswer { .. }
        | ScaError::Taken
        | ScaError::AskedElsewhere { .. }
        | ScaError::NoSuchMethod
        | ScaError::NoChallenge
        | ScaError::Locked { .. }
        | ScaError::Passkeys(PasskeysError::Answer) => ScaError::WrongCredentials,
        error => error,
    }
}
