//! Connections to one bank, and what they are set up with.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use shared_types::eidas::OrganisationId;
use shared_types::trust::Anchors;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::bank::{ConfigurationError, Limits};
use crate::credentials::Credentials;
use crate::environment::Clock;
use crate::revocation::Revocation;
use crate::tls::ServerVerifier;

/// Whom we show ourselves as, and whom we believe.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) credentials: Credentials,
    pub(crate) anchors: Anchors,
    pub(crate) revocation: Revocation,
}

/// Connections that were all set up in one way. They are closed once this is dropped, and the calls over them have ended.
pub(crate) struct Connections {
    setup: Setup,
    verifier: Arc<ServerVerifier>,
    tls: rustls::ClientConfig,
    client: Client,
    /// Has one permit until the first call is answered, and is closed from then on.
    first: Semaphore,
}

/// The first call over connections none of which is open yet. The others follow when it is dropped.
pub(crate) struct FirstCall<'a>(
    &'a Semaphore,
    #[expect(dead_code, reason = "held")] SemaphorePermit<'a>,
);

impl Drop for FirstCall<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Connections {
    /// None is open yet.
    pub(crate) fn new(
        setup: Setup,
        expected: OrganisationId,
        clock: Arc<dyn Clock>,
        limits: &Limits,
    ) -> Result<Self, ConfigurationError> {
        let judge = ServerVerifier::new(setup.anchors.clone(), expected, clock);
        let verifier = Arc::new(judge.revocation(setup.revocation.clone()));
        let tls = verifier.config(&setup.credentials)?;
        let client = client(tls.clone(), limits)?;
        Ok(Self {
            setup,
            verifier,
            tls,
            client,
            first: Semaphore::new(1),
        })
    }

    /// Others, set up in the same way.
    pub(crate) fn afresh(&self, limits: &Limits) -> Result<Self, reqwest::Error> {
        Ok(Self {
            setup: self.setup.clone(),
            verifier: Arc::clone(&self.verifier),
            tls: self.tls.clone(),
            client: client(self.tls.clone(), limits)?,
            first: Semaphore::new(1),
        })
    }

    /// Waits until the first call has been answered, unless this is the first, but for so long only.
    ///
    /// Calls that begin together would each shake hands, and all but one of these connections be for nothing where the
    /// bank speaks HTTP/2. After the first there is one that all of them can share.
    pub(crate) async fn first(&self, most: Duration) -> Option<FirstCall<'_>> {
        let permit = timeout(most, self.first.acquire()).await.ok()?.ok()?;
        Some(FirstCall(&self.first, permit))
    }

    /// Whether the servers at their other end may still be believed. Once asked and answered `false`, it starts afresh.
    pub(crate) fn still_stand(&self) -> bool {
        self.verifier.still_stands()
    }

    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    pub(crate) fn verifier(&self) -> &ServerVerifier {
        &self.verifier
    }

    pub(crate) fn tls(&self) -> &rustls::ClientConfig {
        &self.tls
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

/// The one place where an HTTP client is made: our own TLS, no proxy, no redirects.
#[expect(
    clippy::disallowed_methods,
    reason = "it is given our own TLS configuration here"
)]
fn client(tls: rustls::ClientConfig, limits: &Limits) -> Result<Client, reqwest::Error> {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(limits.connecting)
        .pool_idle_timeout(Duration::from_secs(30))
        .user_agent(concat!("bank-client/", env!("CARGO_PKG_VERSION")))
        .build()
}
