//! Client of an HTTP service of the bank's own: its core banking system, its SCA methods.

mod client;
mod contract;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared_types::environment::{Clock, Randomness};
use uuid::Uuid;

pub(crate) use self::client::{Operation, ServiceError};
use self::client::{ServiceClient, Setup};
pub(crate) use self::contract::{Breach, Ready, matches_query};
use crate::config::ServiceSection;
use crate::config_error::ConfigError;
use crate::transport::pem_files::{KeySource, Source};
use crate::transport::service_tls::ServiceTls;

const READY: Operation = Operation::object("ready");

/// Kind of a service: its names, and its operations without repetition.
pub(crate) struct ServiceKind {
    /// Name in logs and traces.
    pub(crate) name: &'static str,
    /// Name of the counter of queries, and its description.
    pub(crate) metric: &'static str,
    pub(crate) help: &'static str,
    /// Operations that are not repeated after a failure: a second attempt counts.
    pub(crate) not_repeated: &'static [&'static str],
}

/// A service of the bank's own. Its certificates are read again when their files change.
pub(crate) struct BankService {
    kind: &'static ServiceKind,
    client: Arc<ServiceClient>,
    /// `None` over plain HTTP to a loopback address.
    tls: Option<Mutex<ServiceTls>>,
    /// Reason for which changed certificates were rejected.
    rejected: ArcSwap<Vec<ConfigError>>,
}

impl BankService {
    /// Reads certificate, key and anchors; no connection is opened. Returns all errors.
    pub(crate) fn open(
        kind: &'static ServiceKind,
        section: &ServiceSection<'_>,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
    ) -> Result<Self, Vec<ConfigError>> {
        let faults = section.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let key = |name: &str| format!("{}.{name}", section.name);
        let tls = section.certificate.zip(section.private_key);
        let tls = tls.map(|(certificate, private_key)| {
            ServiceTls::open(
                Source::new(key("certificate"), certificate),
                KeySource::new(key("private_key"), private_key.clone()),
                Source::each(&key("anchors"), section.anchors),
                Arc::clone(&clock),
            )
        });
        let tls = tls.transpose()?;
        let setup = Setup {
            kind,
            url: section.url.clone(),
            response_timeout: section.response_timeout,
            max_concurrent_requests: section.max_concurrent_requests,
            clock,
            randomness,
        };
        let client = ServiceClient::new(setup, tls.as_ref())
            .map_err(|problem| vec![ConfigError::new(key("url"), problem)])?;
        Ok(Self {
            kind,
            client: Arc::new(client),
            tls: tls.map(Mutex::new),
            rejected: ArcSwap::default(),
        })
    }

    /// Its name in logs.
    pub(crate) fn name(&self) -> &'static str {
        self.kind.name
    }

    /// Sends a query, and returns its decoded answer.
    ///
    /// Cost: one round trip on an open connection. The time limit counts twice: for the wait until
    /// one of the concurrent queries has ended, and for connection, repetition and answer.
    pub(crate) async fn query<A: DeserializeOwned + Send + 'static>(
        &self,
        operation: Operation,
        query: &(impl Serialize + Sync),
    ) -> Result<A, ServiceError> {
        self.client.query(operation, query).await
    }

    /// Readiness of the service. Fails too if it speaks another major version of its contract.
    pub(crate) async fn ready(&self) -> Result<(), ServiceError> {
        let answer: Ready = self.client.get(READY).await?;
        self.conform(READY, answer.check_version())
    }

    /// Counts a breach of the contract.
    pub(crate) fn conform<T>(
        &self,
        operation: Operation,
        validated: Result<T, Breach>,
    ) -> Result<T, ServiceError> {
        validated.map_err(|breach| {
            let operation = operation.name;
            self.client.count(operation, "breach");
            ServiceError::Breach { operation, breach }
        })
    }

    /// Reads certificate, key and anchors again if their files have changed, and opens new
    /// connections when a certificate of the service has expired. After an error, the previous ones
    /// stay in use. It reads files: not for a thread that serves requests.
    pub(crate) fn reload(&self) {
        let Some(tls) = &self.tls else {
            return;
        };
        let name = self.kind.name;
        // Nothing panics while the lock is held; if it did, the content would still be whole.
        let mut tls = tls.lock().unwrap_or_else(PoisonError::into_inner);
        let reloaded = tls.reload();
        let is_reloaded = matches!(reloaded, Some(Ok(())));
        if let Some(Err(faults)) = reloaded {
            if **self.rejected.load() != faults {
                for problem in &faults {
                    tracing::warn!(%problem, "certificates of the {name} rejected");
                }
            }
            self.rejected.store(Arc::new(faults));
        }
        if !is_reloaded && tls.still_stands() {
            return;
        }
        match self.client.replace_tls(&tls) {
            Ok(()) if is_reloaded => {
                self.rejected.store(Arc::default());
                tracing::info!("certificates of the {name} reloaded");
            }
            Ok(()) => tracing::warn!("certificate of the {name} has expired"),
            Err(problem) => tracing::warn!(%problem, "no new connections to the {name}"),
        }
    }

    /// Errors of changed certificates, while the previous ones stay in use, and of a key on a token.
    pub(crate) fn problems(&self) -> Vec<ConfigError> {
        let rejected = self.rejected.load();
        let tls = self.tls.iter().map(|tls| tls.lock());
        let keys = tls.filter_map(|tls| tls.unwrap_or_else(PoisonError::into_inner).key_problem());
        rejected.iter().cloned().chain(keys).collect()
    }

    /// Registers the metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.client.register(registry);
    }

    /// Whether a caller without a client certificate receives an answer; `None` over plain HTTP.
    pub(crate) async fn accepts_strangers(&self) -> Option<bool> {
        let tls = {
            let tls = self.tls.as_ref()?.lock();
            tls.unwrap_or_else(PoisonError::into_inner).anonymous()
        };
        Some(self.client.accepts(tls).await)
    }
}

tokio::task_local! {
    static REQUEST_ID: Uuid;
}

/// Id of the TPP's request that causes the present call (its `X-Request-ID`); `None` for a call
/// that a customer's page, or the bank server itself, causes.
#[must_use]
pub fn request_id() -> Option<Uuid> {
    REQUEST_ID.try_with(|id| *id).ok()
}

/// Runs `request` so that the calls in it have this [`request_id`].
pub(crate) async fn with_request_id<F: Future>(id: Uuid, request: F) -> F::Output {
    REQUEST_ID.scope(id, request).await
}
