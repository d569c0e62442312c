//! Strong customer authentication (Delegated Regulation (EU) 2018/389).
//!
//! Two elements of different kinds: knowledge, the password, and possession, by a built-in method or
//! an [external] one. A proof is valid for one [`Subject`] alone: a code that was made for one
//! authorisation is useless for another. Guesses are limited by their [`Source`], so that an
//! attacker cannot lock a customer out for good.

pub mod external;
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
use shared_types::xs2a::authorisation::ChallengeData;
use tokio::sync::OwnedMutexGuard;

pub(crate) use self::external::ExternalAnswer;
pub use self::external::OfferedMethod;
use self::external::{ScaMethods, ScaMethodsError};
use self::lockout::{Attempt, Kind, Lockout};
pub use self::passkeys::{NamedPasskey, Passkeys, PasskeysError};
use self::password::HashingPermit;
pub use self::password::{PASSWORD_LENGTH, PasswordError, Passwords};
pub(crate) use self::phone::LIFETIME as PHONE_LIFETIME;
pub use self::phone::{Phone, PhoneToken, Phones, PhonesError};
pub(crate) use self::totp::challenge as totp_challenge;
pub use self::totp::{DIGITS, Totp, code_at};
use crate::calendar::Calendar;
use crate::domain::{MethodId, PsuId};
use crate::identity_provider::Authenticated;
use crate::store::credentials::{CredentialsVersion, CustomerCredentials};
use crate::store::vault::{Vault, VaultError};
use crate::store::{Database, StoreError};

/// SCA method of the bank server itself: a possession element of the customer.
#[async_trait]
pub(crate) trait Method: Send + Sync {
    /// Its id.
    fn id(&self) -> MethodId;

    /// Whether the customer has enrolled it.
    async fn is_enrolled(&self, psu: &PsuId) -> Result<bool>;

    /// Issues a challenge for that subject.
    async fn challenge(
        &self,
        psu: &PsuId,
        subject: &Subject,
        source: Source<'_>,
    ) -> Result<Challenge>;

    /// Verifies the answer. A right answer is valid once.
    async fn check(&self, psu: &PsuId, subject: &Subject, answer: &str) -> Result<()>;
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

    /// An action in a session, such as adding a passkey.
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
    /// An unknown browser, by its address: attempts from one network count together.
    Browser(IpAddr),
    /// A TPP that passes the customer's credentials on.
    Tpp(&'a OrganisationId),
}

impl Source<'_> {
    /// Its kind, for metrics and logs.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Device(_) => "device",
            Self::Browser(_) => "network",
            Self::Tpp(_) => "tpp",
        }
    }

    /// Name under which its attempts are counted: the device, the network or the TPP.
    pub(crate) fn name(self) -> String {
        lockout::origin(self)
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
    /// A code: data for the customer.
    Code(ChallengeData),
    /// A `WebAuthn` assertion: the options of `navigator.credentials.get`, as JSON.
    Browser {
        /// The options.
        options: serde_json::Value,
    },
    /// An approval in the bank's app.
    App,
}

/// Proof of strong customer authentication, for one subject. Only this module creates one: from the
/// right answer to a built-in method ([`Sca::prove`]), from that of an external method, or from the
/// identity provider's answer to a request for that subject; `Proof::of_session` restores it from
/// the session that it began.
#[derive(Debug, Clone)]
pub struct Proof {
    psu: PsuId,
    subject: Subject,
    method: MethodId,
    facts_digest: Option<String>,
    at: DateTime<Utc>,
}

impl Proof {
    /// The proof of a session for one authorisation.
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
            facts_digest: None,
            at: begun,
        }
    }

    /// The proof of a customer whom the identity provider has authenticated for that subject.
    pub(crate) fn of_identity_provider(
        authenticated: &Authenticated,
        subject: Subject,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            psu: authenticated.psu().clone(),
            subject,
            method: MethodId::IdentityProvider,
            facts_digest: None,
            at,
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
    pub fn method(&self) -> &MethodId {
        &self.method
    }

    /// Digest of the facts that the customer has approved, where the method returns it.
    #[must_use]
    pub fn facts_digest(&self) -> Option<&str> {
        self.facts_digest.as_deref()
    }

    /// Time of the proof.
    #[must_use]
    pub fn at(&self) -> DateTime<Utc> {
        self.at
    }
}

/// Result of customer authentication.
pub type Result<T, E = ScaError> = std::result::Result<T, E>;

/// Error of customer authentication.
#[derive(Debug, thiserror::Error)]
pub enum ScaError {
    /// Customer or password is wrong; the error does not reveal which.
    #[error("the customer's credentials are wrong")]
    WrongCredentials,
    /// The credentials were right, and were replaced before the authentication counted.
    #[error("the customer's credentials have changed; try again")]
    CredentialsChanged,
    /// The answer to a challenge is wrong.
    #[error("the answer is wrong; {attempts_left} attempts are left")]
    WrongAnswer {
        /// Attempts that are left for this challenge.
        attempts_left: u32,
    },
    /// The code was used before, or belongs to another subject. It does not count as an attempt.
    #[error(
        "this code was used, or belongs to something else that was asked for; wait for the next one"
    )]
    Taken,
    /// The answer does not have the form of a code. It does not count as an attempt.
    #[error("a code has {DIGITS} digits")]
    NotACode,
    /// Too many attempts.
    #[error("there were too many attempts; the next is possible at {until}")]
    Locked {
        /// When the next attempt is possible.
        until: DateTime<Utc>,
    },
    /// A challenge is open on a known device, which keeps the current codes.
    #[error("a code is being asked for on another device of the customer's, until {until}")]
    AskedElsewhere {
        /// When another challenge is possible.
        until: DateTime<Utc>,
    },
    /// The customer does not have this method.
    #[error("the customer does not have this method")]
    NoSuchMethod,
    /// No challenge is open for this subject: none was issued, it has expired, or it was replaced.
    #[error("nothing is being asked for this, or no longer; ask again")]
    NoChallenge,
    /// The password is not acceptable.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Too many passwords wait to be verified.
    #[error("too many customers are logging in at this time; try again")]
    Busy,
    /// Sealed data does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The customer has approved other facts than those that are to be approved now.
    #[error("the approval is for something else than what is asked for now")]
    OtherFacts,
    /// Too many codes or requests were sent to the customer.
    #[error("the next code or request can be sent to the customer at {until}")]
    TooManyChallenges {
        /// When the next one is possible.
        until: DateTime<Utc>,
    },
    /// An external SCA method failed.
    #[error(transparent)]
    External(ScaMethodsError),
    /// A passkey operation failed.
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
    external: Option<Arc<dyn ScaMethods>>,
}

struct Inner {
    credentials: CustomerCredentials,
    passwords: Passwords,
    password_attempts: Lockout,
    code_attempts: Lockout,
    methods: Vec<Arc<dyn Method>>,
    phones: Phones,
    passkeys: Option<Passkeys>,
    attempts: Family<[(&'static str, &'static str); 3], Counter>,
    calendar: Calendar,
}

impl Sca {
    /// Authentication on that database; without `passkeys` where the bank has no pages.
    #[must_use]
    pub fn new(
        database: &Database,
        vault: &Vault,
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
                attempts: Family::default(),
                calendar,
            }),
            external: None,
        }
    }

    /// Adds the SCA methods of the bank's own systems.
    #[must_use]
    pub fn with_external(self, external: Option<Arc<dyn ScaMethods>>) -> Self {
        Self { external, ..self }
    }

    /// Verifies a password. A customer that does not exist costs the same time and gets the same
    /// error.
    ///
    /// The attempt is counted before the password is verified, so that parallel attempts are
    /// limited like sequential ones; a right password clears the earlier failures.
    ///
    /// Returns the version of the credentials: what begins with the password is bound to it.
    pub async fn check_password(
        &self,
        psu: &PsuId,
        password: &str,
        source: Source<'_>,
    ) -> Result<CredentialsVersion> {
        let right = self.verify_password(psu, password, source).await?;
        self.inner
            .password_attempts
            .succeeded(right.attempt)
            .await?;
        Ok(right.version)
    }

    /// Verifies a password. The attempt counts as a failure until the log-in has succeeded.
    async fn verify_password<'a>(
        &'a self,
        psu: &'a PsuId,
        password: &str,
        source: Source<'a>,
    ) -> Result<VerifiedPassword<'a>> {
        let judged = self.try_password(psu, password, source).await;
        self.record("password", source, &judged);
        judged
    }

    async fn try_password<'a>(
        &'a self,
        psu: &'a PsuId,
        password: &str,
        source: Source<'a>,
    ) -> Result<VerifiedPassword<'a>> {
        if password::is_too_long(password) {
            return Err(ScaError::WrongCredentials);
        }
        let attempts = &self.inner.password_attempts;
        let turn = attempts.turn(psu, source).await;
        // A queued attempt is not counted, and a counted one is settled soon: right passwords of
        // many customers of one network or TPP do not lock each other out.
        let from_known_device = matches!(source, Source::Device(_));
        let hashing = self.inner.passwords.turn(from_known_device).await?;
        let attempt = attempts.attempt(psu, source).await?;
        match self.is_password(psu, password, hashing.clone()).await {
            Ok(Some(version)) => Ok(VerifiedPassword {
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
        hashing: HashingPermit,
    ) -> Result<Option<CredentialsVersion>> {
        let known = self.inner.credentials.password(psu).await?;
        let (hash, version) = known.unzip();
        let passwords = &self.inner.passwords;
        let is_right = passwords.check(password, hash, hashing).await?;
        Ok(version.filter(|_| is_right))
    }

    /// The version of a customer's credentials.
    pub(crate) async fn credentials_of(&self, psu: &PsuId) -> Result<CredentialsVersion> {
        Ok(self.inner.credentials.version(psu).await?)
    }

    /// Verifies both elements of a log-in, password and code, for that subject. The error does not
    /// reveal which of them is wrong, nor whether the customer exists: it is always
    /// [`ScaError::WrongCredentials`] (Delegated Regulation (EU) 2018/389, article 4(3)(a)).
    /// Whatever the password is, a malformed code fails as [`ScaError::NotACode`], and too many
    /// failed log-ins as [`ScaError::Locked`]: a log-in counts as failed until both elements are
    /// right, so that the counter reveals neither.
    ///
    /// Cost: that of a password, and if it is right that of a code.
    pub async fn log_in(
        &self,
        psu: &PsuId,
        password: &str,
        code: &str,
        subject: &Subject,
        source: Source<'_>,
    ) -> Result<(Proof, CredentialsVersion)> {
        totp::digits(code)?;
        let right = self.verify_password(psu, password, source).await?;
        let asked = self.challenge(psu, &MethodId::Totp, subject, source).await;
        asked.map_err(without_element)?;
        let proof = self
            .prove(psu, &MethodId::Totp, subject, code, source)
            .await
            .map_err(without_element)?;
        self.inner
            .password_attempts
            .succeeded(right.attempt)
            .await?;
        Ok((proof, right.version))
    }

    /// Begins a log-in with a passkey: verifies the password, and returns the options of
    /// `navigator.credentials.get`. If the password was wrong, there is no version, and the options
    /// are decoys that look the same: the log-in fails at its end ([`Sca::finish_passkey_log_in`]),
    /// as [`Sca::log_in`] does.
    pub(crate) async fn begin_passkey_log_in(
        &self,
        psu: &PsuId,
        password: &str,
        subject: &Subject,
        source: Source<'_>,
    ) -> Result<(Option<CredentialsVersion>, serde_json::Value)> {
        let passkeys = self.passkeys().ok_or(ScaError::NoSuchMethod)?;
        let version = match self.verify_password(psu, password, source).await {
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
        Ok((version, passkeys.decoy(psu).await?))
    }

    /// Finishes a log-in with a passkey.
    pub(crate) async fn finish_passkey_log_in(
        &self,
        psu: &PsuId,
        subject: &Subject,
        answer: &str,
        source: Source<'_>,
    ) -> Result<Proof> {
        let proof = self.prove(psu, &MethodId::Passkey, subject, answer, source);
        let proof = proof.await.map_err(without_element)?;
        self.inner.password_attempts.settle(psu, source).await?;
        Ok(proof)
    }

    /// The methods of the bank server that the customer has enrolled.
    pub async fn methods_of(&self, psu: &PsuId) -> Result<Vec<MethodId>> {
        let mut enrolled = Vec::new();
        for method in &self.inner.methods {
            if method.is_enrolled(psu).await? {
                enrolled.push(method.id());
            }
        }
        Ok(enrolled)
    }

    /// Issues a challenge for that subject.
    pub async fn challenge(
        &self,
        psu: &PsuId,
        method: &MethodId,
        subject: &Subject,
        source: Source<'_>,
    ) -> Result<Challenge> {
        let method = self.method(method)?;
        if !method.is_enrolled(psu).await? {
            return Err(ScaError::NoSuchMethod);
        }
        method.challenge(psu, subject, source).await
    }

    /// Registers the metrics: queued passwords, and authentication attempts.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "authentication_attempts",
            "Passwords, codes and other proofs of customers, by whence they came and what became of them",
            self.inner.attempts.clone(),
        );
        let waiting = self.inner.passwords.waiting().clone();
        registry.register(
            "passwords_waiting",
            "Passwords that wait to be checked",
            waiting,
        );
    }

    /// Verifies the answer to a challenge; a right answer is valid once.
    ///
    /// Codes can be guessed. Wrong codes are counted by customer and source, as wrong passwords
    /// are: another challenge gives no more attempts.
    pub async fn prove(
        &self,
        psu: &PsuId,
        method: &MethodId,
        subject: &Subject,
        answer: &str,
        source: Source<'_>,
    ) -> Result<Proof> {
        let checked = match method {
            MethodId::Totp => self.check_code(psu, subject, answer, source).await,
            _ => self.method(method)?.check(psu, subject, answer).await,
        };
        self.record(method.kind(), source, &checked);
        checked?;
        Ok(Proof {
            psu: psu.clone(),
            subject: subject.clone(),
            method: method.clone(),
            facts_digest: None,
            at: self.inner.calendar.now(),
        })
    }

    async fn check_code(
        &self,
        psu: &PsuId,
        subject: &Subject,
        code: &str,
        source: Source<'_>,
    ) -> Result<()> {
        // An answer without the form of a code is no guess: it fails as such and is not counted.
        let code = totp::digits(code)?;
        let attempts = &self.inner.code_attempts;
        let _turn = attempts.turn(psu, source).await;
        let attempt = attempts.attempt(psu, source).await?;
        let totp = self.method(&MethodId::Totp)?;
        let checked = totp.check(psu, subject, &code).await;
        match &checked {
            Ok(()) => attempts.succeeded(attempt).await?,
            Err(ScaError::WrongAnswer { .. }) => {}
            Err(_) => attempts.forgive(attempt).await?,
        }
        checked
    }

    /// Counts the outcome of an attempt. Logs a failure with its source, without the customer.
    fn record<T>(&self, element: &'static str, source: Source<'_>, checked: &Result<T, ScaError>) {
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
        self.inner.attempts.get_or_create(&labels).inc();
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

    fn method(&self, id: &MethodId) -> Result<&dyn Method> {
        let found = self.inner.methods.iter().find(|method| method.id() == *id);
        found.map(AsRef::as_ref).ok_or(ScaError::NoSuchMethod)
    }
}

/// A right password, and its attempt, which counts as a failure until it is settled.
struct VerifiedPassword<'a> {
    version: CredentialsVersion,
    attempt: Attempt<'a>,
    /// Excludes other attempts of the customer from that source.
    _turn: OwnedMutexGuard<()>,
}

/// The error without details that would reveal which element was right.
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
