//! Files of the section: the provider's trust anchors, and the client's secret or key. They are read
//! again when they change.

use std::sync::Arc;

use shared_types::environment::Clock;

use super::client_authentication::ClientAuthentication;
use crate::config::{ConfigError, IdentityProviderConfig};
use crate::transport::pem_files::Source;
use crate::transport::service_tls::ServiceTls;
use crate::transport::source_watcher::SourceWatcher;

/// The watched files.
pub(super) struct Files {
    /// `None` over plain HTTP to a loopback address.
    tls: Option<ServiceTls>,
    client: SourceWatcher,
    /// Errors of changed anchors, while the previous ones stay in use.
    rejected_tls: Vec<ConfigError>,
    /// Those of a changed secret or key.
    rejected_client: Vec<ConfigError>,
}

impl Files {
    /// Reads the files; returns all errors, not only the first.
    pub(super) fn open(
        config: &IdentityProviderConfig,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Self, ClientAuthentication), Vec<ConfigError>> {
        let anchors = Source::each("identity_provider.anchors", &config.anchors);
        let tls = (!config.is_plain_http())
            .then(|| ServiceTls::without_certificate(anchors, Arc::clone(clock)))
            .transpose();
        let mut client = SourceWatcher::new(ClientAuthentication::sources(config));
        let authentication = client.read(|files| ClientAuthentication::read(config, files));
        match (tls, authentication) {
            (Ok(tls), Ok(authentication)) => {
                let files = Self {
                    tls,
                    client,
                    rejected_tls: Vec::new(),
                    rejected_client: Vec::new(),
                };
                Ok((files, authentication))
            }
            (tls, authentication) => {
                let faults = tls.err().into_iter().chain(authentication.err());
                Err(faults.flatten().collect())
            }
        }
    }

    pub(super) fn tls(&self) -> Option<&ServiceTls> {
        self.tls.as_ref()
    }

    /// Reads changed anchors. Returns the TLS configuration if connections are to be opened with it
    /// from now on: the anchors have changed, or a certificate of the provider has expired.
    pub(super) fn reload_tls(&mut self) -> Option<&ServiceTls> {
        let tls = self.tls.as_mut()?;
        let reloaded = applied("trust anchors", tls.reload(), &mut self.rejected_tls);
        let stands = tls.still_stands();
        if !stands {
            tracing::warn!("certificate of the identity provider has expired");
        }
        (reloaded.is_some() || !stands).then_some(tls)
    }

    /// Reads a changed secret or key.
    pub(super) fn reload_client(
        &mut self,
        config: &IdentityProviderConfig,
    ) -> Option<ClientAuthentication> {
        let read = self
            .client
            .read_changed(false, |files| ClientAuthentication::read(config, files));
        if matches!(read, Some(Err(_))) {
            self.client.forget();
        }
        applied("client secret or key", read, &mut self.rejected_client)
    }

    /// Errors of changed files.
    pub(super) fn problems(&self) -> Vec<ConfigError> {
        let all = self.rejected_tls.iter().chain(&self.rejected_client);
        all.cloned().collect()
    }
}

/// The result of a reload, if it is one to apply. Its errors are logged once.
fn applied<T>(
    what: &'static str,
    reloaded: Option<Result<T, Vec<ConfigError>>>,
    rejected: &mut Vec<ConfigError>,
) -> Option<T> {
    match reloaded? {
        Ok(content) => {
            rejected.clear();
            tracing::info!(what, "identity provider: changed files in use");
            Some(content)
        }
        Err(faults) => {
            if *rejected != faults {
                for problem in &faults {
                    tracing::warn!(%problem, "identity provider: changed file rejected");
                }
            }
            *rejected = faults;
            None
        }
    }
}
