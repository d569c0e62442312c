//! Connection pool for one bank, and the TLS setup that its connections share.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use shared_types::environment::Clock;
use shared_types::pki::credentials::Credentials;
use shared_types::pki::eidas::OrganisationId;
use shared_types::pki::pkcs11::HandshakeThreads;
use shared_types::pki::trust::Anchors;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::error::ConfigurationError;
use crate::handshake_layer::HandshakeLayer;
use crate::limits::Limits;
use crate::revocation::Revocation;
use crate::tls::ServerVerifier;

/// TLS setup: our credentials, trust anchors and revocation settings.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) credentials: Credentials,
    pub(crate) anchors: Anchors,
    pub(crate) revocation: Revocation,
}

/// Connections that were all set up in one way. They are closed once this is dropped, and the calls
/// over them have ended.
pub(crate) struct Connections {
    peer: Peer,
    client: Client,
    /// Has one permit until the first call is answered, and is closed from then on.
    first: Semaphore,
}

/// The peer of the connections.
#[derive(Clone)]
enum Peer {
    /// A bank, over mutual TLS.
    Bank(Box<Secured>),
    /// A mock bank on this machine, over plain HTTP. Nothing but `MockBank` makes one.
    #[cfg(feature = "test-util")]
    Mock,
}

/// TLS configuration of a bank's connections.
#[derive(Clone)]
pub(crate) struct Secured {
    pub(crate) setup: Setup,
    pub(crate) verifier: Arc<ServerVerifier>,
    pub(crate) tls: rustls::ClientConfig,
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
        let secured = Secured {
            setup,
            verifier,
            tls,
        };
        Self::to(Peer::Bank(Box::new(secured)), limits)
    }

    /// Over plain HTTP, to a mock bank.
    #[cfg(feature = "test-util")]
    pub(crate) fn mock(limits: &Limits) -> Result<Self, ConfigurationError> {
        Self::to(Peer::Mock, limits)
    }

    fn to(peer: Peer, limits: &Limits) -> Result<Self, ConfigurationError> {
        let client = match &peer {
            Peer::Bank(secured) => {
                let threads = secured.setup.credentials.handshake_threads();
                client(secured.tls.clone(), threads, true, limits)?
            }
            #[cfg(feature = "test-util")]
            Peer::Mock => client(without_trust()?, None, false, limits)?,
        };
        Ok(Self {
            peer,
            client,
            first: Semaphore::new(1),
        })
    }

    /// Others, set up in the same way.
    pub(crate) fn reopened(&self, limits: &Limits) -> Result<Self, ConfigurationError> {
        Self::to(self.peer.clone(), limits)
    }

    /// Waits until the first call has been answered, unless this is the first, but for so long
    /// only.
    ///
    /// Calls that begin together would each shake hands, and all but one of these connections be
    /// for nothing where the bank speaks HTTP/2. After the first there is one that all of them can
    /// share.
    pub(crate) async fn first(&self, most: Duration) -> Option<FirstCall<'_>> {
        let permit = timeout(most, self.first.acquire()).await.ok()?.ok()?;
        Some(FirstCall(&self.first, permit))
    }

    /// Whether the servers of these connections are still trusted. After `false`, they must be
    /// [reopened](Self::reopened).
    pub(crate) fn is_trusted(&self) -> bool {
        self.secured()
            .is_none_or(|secured| secured.verifier.still_stands())
    }

    /// Their TLS configuration: there is always one, but towards a mock bank.
    pub(crate) fn secured(&self) -> Option<&Secured> {
        match &self.peer {
            Peer::Bank(secured) => Some(secured),
            #[cfg(feature = "test-util")]
            Peer::Mock => None,
        }
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
fn client(
    tls: rustls::ClientConfig,
    threads: Option<HandshakeThreads>,
    https_only: bool,
    limits: &Limits,
) -> Result<Client, reqwest::Error> {
    let mut builder = Client::builder();
    if let Some(threads) = threads {
        builder = builder.connector_layer(HandshakeLayer(threads));
    }
    builder
        .tls_backend_preconfigured(tls)
        .https_only(https_only)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(limits.connecting)
        .pool_idle_timeout(Duration::from_secs(30))
        .user_agent(concat!("bank-client/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// TLS configuration for a client that does not use it: it trusts no certificate.
#[cfg(feature = "test-util")]
fn without_trust() -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = shared_types::pki::credentials::provider();
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}
