//! `Bank`: handle for one ASPSP, its builder and limits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::Url;
use shared_types::circuit::{Breaker, Circuit};
use shared_types::environment::{Clock, Randomness, SystemClock, SystemRandomness};
use shared_types::pki::credentials::Credentials;
use shared_types::pki::eidas::OrganisationId;
use shared_types::pki::trust::Anchors;

#[cfg(feature = "test-util")]
use crate::address::on_this_machine;
use crate::address::{LinkError, follow, interface};
use crate::connections::{Connections, Setup};
use crate::error::{ConfigurationError, Error, ErrorKind};
use crate::limits::Limits;
use crate::retries::Retries;
use crate::revocation::Revocation;

/// One bank (ASPSP). Cheap to clone; clones share the connections, and the circuit where there is a
/// [`Breaker`].
#[derive(Clone, Debug)]
pub struct Bank {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) base: Url,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    pub(crate) retries: Option<Retries>,
    /// Nothing is awaited while it is locked.
    pub(crate) circuit: Option<Circuit<ErrorKind>>,
    expected: OrganisationId,
    name: String,
    /// Replaced whole, so that a call knows all along with whose certificate it was made.
    connections: Mutex<Arc<Connections>>,
}

/// Builder of a [`Bank`]: [`Bank::builder`].
#[must_use]
pub struct BankBuilder {
    endpoint: Endpoint,
    expected: OrganisationId,
    name: Option<String>,
    limits: Limits,
    retries: Option<Retries>,
    breaker: Option<Breaker>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
}

/// Address of a bank, and the TLS setup for it.
enum Endpoint {
    Secured {
        url: String,
        setup: Box<Setup>,
    },
    #[cfg(feature = "test-util")]
    Mock(std::net::SocketAddr),
}

impl BankBuilder {
    fn new(endpoint: Endpoint, expected: OrganisationId) -> Self {
        Self {
            endpoint,
            expected,
            name: None,
            limits: Limits::default(),
            retries: None,
            breaker: None,
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
        }
    }

    /// A handle for a mock bank, over plain HTTP to this machine.
    #[cfg(feature = "test-util")]
    pub(crate) fn mock(address: std::net::SocketAddr, organisation: OrganisationId) -> Self {
        Self::new(Endpoint::Mock(address), organisation)
    }

    /// The name by which errors call the bank; without it, its organisation id.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Revocation lists, and the policy where nothing fresh is known.
    pub fn revocation(mut self, revocation: Revocation) -> Self {
        match &mut self.endpoint {
            Endpoint::Secured { setup, .. } => setup.revocation = revocation,
            // It shows no certificate that could be revoked.
            #[cfg(feature = "test-util")]
            Endpoint::Mock(_) => {}
        }
        self
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Repeats calls by these rules. Without them, each call is one attempt.
    pub fn retries(mut self, retries: Retries) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Adds a circuit breaker with these rules. Without it, every call is sent.
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// Sets the clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the source of randomness.
    pub fn randomness(mut self, randomness: Arc<dyn Randomness>) -> Self {
        self.randomness = randomness;
        self
    }

    /// Builds the handle. Nothing is connected yet.
    pub fn build(self) -> Result<Bank, ConfigurationError> {
        let (base, connections) = match self.endpoint {
            Endpoint::Secured { url, setup } => {
                let base = interface(&url)?;
                let (expected, clock) = (self.expected.clone(), Arc::clone(&self.clock));
                (
                    base,
                    Connections::new(*setup, expected, clock, &self.limits)?,
                )
            }
            #[cfg(feature = "test-util")]
            Endpoint::Mock(address) => {
                (on_this_machine(address)?, Connections::mock(&self.limits)?)
            }
        };
        let name = self.name.unwrap_or_else(|| self.expected.to_string());
        let inner = Inner {
            name,
            base,
            limits: self.limits,
            clock: self.clock,
            randomness: self.randomness,
            retries: self.retries,
            circuit: self.breaker.map(Circuit::new),
            expected: self.expected,
            connections: Mutex::new(Arc::new(connections)),
        };
        Ok(Bank {
            inner: Arc::new(inner),
        })
    }
}

impl Bank {
    /// Starts a handle for the bank at that address.
    ///
    /// `expected` is the bank's organisation id: a server that shows another bank's certificate is
    /// refused, however trustworthy. `anchors` are the agreed authorities; no others are trusted.
    /// `credentials` are our own.
    pub fn builder(
        url: impl Into<String>,
        expected: OrganisationId,
        anchors: Anchors,
        credentials: Credentials,
    ) -> BankBuilder {
        let setup = Setup {
            credentials,
            anchors,
            revocation: Revocation::default(),
        };
        let endpoint = Endpoint::Secured {
            url: url.into(),
            setup: Box::new(setup),
        };
        BankBuilder::new(endpoint, expected)
    }

    /// The name by which errors call the bank.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Identity that clones of this handle share, and other handles do not.
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }

    /// The address of a resource; each segment is escaped.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.inner.base.clone();
        // An https URL always has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Target of a link of the page at that address, if it stays with the bank.
    pub(crate) fn follow(&self, page: &Url, link: &str) -> Result<Url, Error> {
        follow(&self.inner.base, page, link).map_err(|fault| {
            self.error(match fault {
                LinkError::NotAUrl => ErrorKind::malformed("_links", "a link is not a URL"),
                LinkError::Foreign(url) => ErrorKind::ForeignLink { link: url.into() },
            })
        })
    }

    /// The open connections, or new ones if the certificates of the open ones are no longer
    /// trusted.
    pub(crate) fn connections(&self) -> Result<Arc<Connections>, ConfigurationError> {
        let mut connections = self.lock();
        if !connections.is_trusted() {
            *connections = Arc::new(connections.reopened(&self.inner.limits)?);
        }
        Ok(Arc::clone(&connections))
    }

    /// Replaces the connections by ones that are set up in another way. Calls under way end on
    /// those they began with.
    pub(crate) fn reconnect<E: From<ConfigurationError>>(
        &self,
        change: impl FnOnce(&mut Setup) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut connections = self.lock();
        // A mock bank asks for no certificate and shows none: there is nothing to change.
        let Some(secured) = connections.secured() else {
            return Ok(());
        };
        let mut setup = secured.setup.clone();
        change(&mut setup)?;
        *connections = Arc::new(Connections::new(
            setup,
            self.inner.expected.clone(),
            Arc::clone(&self.inner.clock),
            &self.inner.limits,
        )?);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Connections>> {
        // Nothing is half done while the lock is held: the connections are replaced whole.
        self.inner
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn error(&self, kind: ErrorKind) -> Error {
        Error {
            bank: self.inner.name.clone(),
            kind,
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bank")
            .field("name", &self.name)
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}
