//! Application context: the services behind the listeners, wired from configuration and database.

use std::sync::Arc;

use shared_types::environment::{Clock, Randomness};

use super::StartError;
use super::sockets::Pages;
use super::transport_config::certificate_header;
use crate::bank_service::BankService;
use crate::calendar::Calendar;
use crate::config::Config;
use crate::consent::authorisation::Authorisations;
use crate::core_banking::CoreBanking;
use crate::core_banking::http::HttpCore;
use crate::core_banking::ledger::{Ledger, read_along};
use crate::identity::Licences;
use crate::identity_provider::{self, IdentityProvider};
use crate::online_banking::{ENGLISH, OnlineBanking, OtherBanks, OtherBanksParts, Seal};
use crate::sca::Sca;
use crate::sca::external::ScaMethods;
use crate::sca::external::http::HttpScaMethods;
use crate::store::connections::Connections;
use crate::store::consents::Consents;
use crate::store::credentials::CustomerCredentials;
use crate::store::identity_requests::IdentityRequests;
use crate::store::reports::Reports;
use crate::store::sessions::Sessions;
use crate::store::usage::Usage;
use crate::store::vault::Vault;
use crate::store::{Database, DatabaseUse};
use crate::telemetry::request_metrics::RequestMetrics;
use crate::transport::trust::Trust;
use crate::xs2a::{Approving, Xs2a};

/// Services that the XS2A resources and the customer pages share.
pub(super) struct AppContext {
    pub(super) database: Database,
    pub(super) core: Arc<dyn CoreBanking>,
    /// The HTTP services of the bank's own: their certificates are reloaded.
    pub(super) services: Vec<Arc<BankService>>,
    consents: Consents,
    pub(super) sca: Sca,
    pub(super) identity_provider: Option<IdentityProvider>,
    pub(super) authorisations: Authorisations,
    vault: Vault,
    calendar: Calendar,
    pub(super) clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
}

impl AppContext {
    /// Opens the database and the bank's own key.
    pub(super) async fn open(
        config: &Config,
        core: Option<Arc<dyn CoreBanking>>,
        sca_methods: Option<Arc<dyn ScaMethods>>,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
        pages: Option<&Pages>,
    ) -> Result<Self, StartError> {
        let (database, vault) = Database::open_with_key(
            DatabaseUse::Serving,
            &config.store.location,
            &config.store.key,
            Arc::clone(&randomness),
        )
        .await?;
        let consents = Consents::new(database.clone());
        let section = config.core_banking.as_ref().filter(|_| core.is_none());
        let http_core = section
            .map(|core| HttpCore::open(core, Arc::clone(&clock), Arc::clone(&randomness)))
            .transpose()?
            .map(Arc::new);
        let mut services: Vec<_> = http_core.iter().map(|core| core.service()).collect();
        let (core, consents): (Arc<dyn CoreBanking>, _) = match (core, &http_core) {
            (Some(core), _) => (core, consents),
            (None, Some(core)) => (Arc::clone(core) as Arc<dyn CoreBanking>, consents),
            (None, None) => (
                Arc::new(Ledger::new(database.clone())),
                consents.with_ledger(read_along),
            ),
        };
        let calendar = Calendar::new(Arc::clone(&clock), config.bank.time_zone);
        if !CustomerCredentials::new(database.clone(), vault.clone())
            .has_their_key()
            .await?
        {
            return Err(StartError::OtherKey(config.store.key.clone()));
        }
        // From here on, no data is read or written with a wrong clock.
        database.compare_clock(&clock).await?;
        database.start_invalidation_listener();
        let passkeys = pages
            .map(|pages| pages.passkeys(&config.bank.name, &database, &vault, &calendar))
            .transpose()?;
        let section = config
            .sca_methods
            .as_ref()
            .filter(|_| sca_methods.is_none());
        let opened = section.map(|section| {
            HttpScaMethods::open(section, Arc::clone(&clock), Arc::clone(&randomness))
        });
        let http_methods = opened.transpose()?.map(Arc::new);
        services.extend(http_methods.iter().map(|methods| methods.service()));
        let sca_methods =
            sca_methods.or(http_methods.map(|methods| methods as Arc<dyn ScaMethods>));
        let sca = Sca::new(
            &database,
            &vault,
            passkeys,
            calendar.clone(),
            Arc::clone(&randomness),
        )
        .with_external(sca_methods);
        let identity_provider = match (&config.identity_provider, pages) {
            (Some(provider), Some(pages)) => {
                Some(IdentityProvider::open(identity_provider::Parts {
                    config: provider.clone(),
                    origin: pages.origin.text(),
                    // An older authentication would outlast the end of an idle session.
                    max_age: pages.session_lifetime.idle,
                    requests: IdentityRequests::new(database.clone()),
                    vault: vault.clone(),
                    clock: Arc::clone(&clock),
                    randomness: Arc::clone(&randomness),
                })?)
            }
            _ => None,
        };
        let authorisations = Authorisations::new(
            &database,
            Arc::clone(&core),
            sca.clone(),
            calendar.clone(),
            Arc::clone(&randomness),
            config.sca.clone(),
        );
        Ok(Self {
            database,
            core,
            services,
            consents,
            sca,
            identity_provider,
            authorisations,
            vault,
            calendar,
            clock,
            randomness,
        })
    }

    /// State of the XS2A resources.
    pub(super) fn xs2a(
        &self,
        config: &Config,
        pages: Option<&Pages>,
        request_metrics: &RequestMetrics,
    ) -> Result<Xs2a, StartError> {
        let gateway_listener = config.gateway_listener.as_ref();
        Ok(Xs2a {
            consents: self.consents.clone(),
            usage: Usage::new(self.database.clone()),
            reports: Reports::new(self.database.clone(), self.vault.clone()),
            rules: config.consent.clone(),
            authorisations: self.authorisations.clone(),
            approving: Approving {
                offered: config.approaches(),
                origin: pages.map(|pages| pages.origin.text()),
                has_app_page: pages.is_some() && self.identity_provider.is_none(),
                rules: config.sca.clone(),
            },
            core: Arc::clone(&self.core),
            calendar: self.calendar.clone(),
            vault: self.vault.clone(),
            randomness: Arc::clone(&self.randomness),
            limits: config.limits.clone(),
            request_metrics: request_metrics.clone(),
            certificate_header: gateway_listener
                .map(certificate_header)
                .transpose()
                .map_err(|fault| vec![fault])?,
        })
    }

    /// State of the customer pages.
    pub(super) fn online_banking(
        &self,
        config: &Config,
        pages: &Pages,
        trust: &Arc<Trust<Licences>>,
        request_metrics: &RequestMetrics,
    ) -> OnlineBanking {
        OnlineBanking {
            bank_name: config.bank.name.clone(),
            is_sandbox: config
                .online_banking
                .as_ref()
                .is_some_and(|pages| pages.sandbox),
            origin: pages.origin.clone(),
            texts: &ENGLISH,
            core: Arc::clone(&self.core),
            sessions: Sessions::new(self.database.clone(), pages.session_lifetime),
            session_lifetime: pages.session_lifetime,
            sca: self.sca.clone(),
            identity_provider: self.identity_provider.clone(),
            authorisations: self.authorisations.clone(),
            other_banks: OtherBanks::new(OtherBanksParts {
                banks: config.other_banks.clone(),
                connections: Connections::new(self.database.clone(), self.vault.clone()),
                trust: Arc::clone(trust),
                calendar: self.calendar.clone(),
                clock: Arc::clone(&self.clock),
                randomness: Arc::clone(&self.randomness),
                origin: pages.origin.clone(),
            }),
            seal: Seal::new(&self.vault),
            vault: self.vault.clone(),
            calendar: self.calendar.clone(),
            randomness: Arc::clone(&self.randomness),
            limits: config.limits.clone(),
            proxies: pages.proxies.clone(),
            request_metrics: request_metrics.clone(),
        }
    }
}
