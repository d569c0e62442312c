//! Handle to a running bank.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::join_all;
use shared_types::pki::eidas::OrganisationId;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::workers::Running;
use crate::config::Origin;
use crate::consent::authorisation::Authorisations;
use crate::identity::Licences;
use crate::operator::ReadinessProbes;
use crate::sca::Sca;
use crate::store::Database;
use crate::transport::listener::MtlsListener;
use crate::transport::trust::Trust;
use crate::transport::trust_reloader::TrustReport;

/// A running bank, until it is stopped or dropped. [`stop`](Self::stop) drains open requests and
/// closes the database; dropping it does neither.
#[must_use = "a bank that is dropped stops"]
pub struct RunningBank {
    pub(super) organisation: OrganisationId,
    pub(super) xs2a_address: SocketAddr,
    pub(super) gateway_address: Option<SocketAddr>,
    pub(super) online_banking_address: Option<SocketAddr>,
    pub(super) origin: Option<Origin>,
    pub(super) operator_address: SocketAddr,
    pub(super) authorisations: Authorisations,
    pub(super) sca: Sca,
    pub(super) trust: Arc<Trust<Licences>>,
    pub(super) report: Arc<ArcSwap<TrustReport>>,
    pub(super) reload_requested: Arc<Notify>,
    pub(super) database: Database,
    pub(super) listeners: Vec<Arc<MtlsListener<Licences>>>,
    pub(super) drain: Duration,
    pub(super) probes: ReadinessProbes,
    pub(super) running: Running,
}

impl RunningBank {
    /// Address at which TPPs connect.
    #[must_use]
    pub fn xs2a_address(&self) -> SocketAddr {
        self.xs2a_address
    }

    /// Address at which gateways connect, if there is a listener for them.
    #[must_use]
    pub fn gateway_address(&self) -> Option<SocketAddr> {
        self.gateway_address
    }

    /// Address at which browsers of customers connect, if online banking is configured.
    #[must_use]
    pub fn online_banking_address(&self) -> Option<SocketAddr> {
        self.online_banking_address
    }

    /// Origin of online banking in browsers.
    #[must_use]
    pub fn online_banking_origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Address of the operator endpoints.
    #[must_use]
    pub fn operator_address(&self) -> SocketAddr {
        self.operator_address
    }

    /// The organisation that the bank's own certificate names.
    #[must_use]
    pub fn organisation(&self) -> &OrganisationId {
        &self.organisation
    }

    /// The database, also for a core banking system that writes to the built-in ledger.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The authorisations of TPPs and customers.
    #[must_use]
    pub fn authorisations(&self) -> &Authorisations {
        &self.authorisations
    }

    /// Strong customer authentication.
    #[must_use]
    pub fn sca(&self) -> &Sca {
        &self.sca
    }

    /// The bank's trust; replaceable while it runs.
    #[must_use]
    pub fn trust(&self) -> &Trust<Licences> {
        &self.trust
    }

    /// The status report of trust.
    #[must_use]
    pub fn trust_report(&self) -> Arc<TrustReport> {
        self.report.load_full()
    }

    /// Reloads all files of trust at once, as SIGHUP does. They are watched anyway.
    pub fn reload(&self) {
        self.reload_requested.notify_one();
    }

    /// Shuts down gracefully: asks peers to connect elsewhere and waits until they have left, up to
    /// `limits.drain_timeout_seconds`; then stops listening, lets open requests end, and closes the
    /// database. If a load balancer probes `/health/ready`, waits for the whole time: requests
    /// arrive until its next probe.
    pub async fn stop(self) {
        let draining = join_all(self.listeners.iter().map(|listener| listener.drain()));
        let until_probed = async {
            if self.probes.is_active() {
                sleep(self.drain).await;
            }
        };
        // Peers that are still connected have received no response that announces the shutdown.
        let _ = tokio::join!(timeout(self.drain, draining), until_probed);
        self.running.stop().await;
        self.database.close().await;
    }
}
