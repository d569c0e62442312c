//! A bank that runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::join_all;
use shared_types::eidas::OrganisationId;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::workers::Running;
use crate::config::Origin;
use crate::consent::authorisation::Authorisations;
use crate::identity::Licences;
use crate::operator::Questions;
use crate::sca::Sca;
use crate::store::Database;
use crate::transport::listener::MtlsListener;
use crate::transport::trust::Trust;
use crate::transport::trust_reloader::Report;

/// A bank that runs, until it is stopped or dropped. [`stop`](Self::stop) lets open requests end and closes the database;
/// dropping it does neither.
#[must_use = "a bank that is dropped stops"]
pub struct RunningBank {
    pub(super) organisation: OrganisationId,
    pub(super) xs2a_address: SocketAddr,
    pub(super) proxied_address: Option<SocketAddr>,
    pub(super) online_banking_address: Option<SocketAddr>,
    pub(super) origin: Option<Origin>,
    pub(super) operator_address: SocketAddr,
    pub(super) authorisations: Authorisations,
    pub(super) sca: Sca,
    pub(super) trust: Arc<Trust<Licences>>,
    pub(super) report: Arc<ArcSwap<Report>>,
    pub(super) reread: Arc<Notify>,
    pub(super) database: Database,
    pub(super) doors: Vec<MtlsListener<Licences>>,
    pub(super) drain: Duration,
    pub(super) questions: Questions,
    pub(super) running: Running,
}

impl RunningBank {
    /// Where TPPs connect.
    #[must_use]
    pub fn xs2a_address(&self) -> SocketAddr {
        self.xs2a_address
    }

    /// Where gateways connect, if there is a listener for them.
    #[must_use]
    pub fn proxied_address(&self) -> Option<SocketAddr> {
        self.proxied_address
    }

    /// Where the browsers of customers connect, if the bank has pages for them.
    #[must_use]
    pub fn online_banking_address(&self) -> Option<SocketAddr> {
        self.online_banking_address
    }

    /// Where browsers find these pages.
    #[must_use]
    pub fn online_banking_origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Where operators connect.
    #[must_use]
    pub fn operator_address(&self) -> SocketAddr {
        self.operator_address
    }

    /// The organisation that the bank's own certificate names.
    #[must_use]
    pub fn organisation(&self) -> &OrganisationId {
        &self.organisation
    }

    /// What it remembers: also for whoever writes to the built-in ledger, as a bank's own systems would.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// What TPPs and customers do to authorisations.
    #[must_use]
    pub fn authorisations(&self) -> &Authorisations {
        &self.authorisations
    }

    /// How customers prove who they are.
    #[must_use]
    pub fn sca(&self) -> &Sca {
        &self.sca
    }

    /// Whom the bank trusts; replaceable while it runs.
    #[must_use]
    pub fn trust(&self) -> &Trust<Licences> {
        &self.trust
    }

    /// How trust stands, for operators.
    #[must_use]
    pub fn trust_report(&self) -> Arc<Report> {
        self.report.load_full()
    }

    /// Has all files that trust is made of read again at once, as SIGHUP does. They are watched anyway.
    pub fn reread(&self) {
        self.reread.notify_one();
    }

    /// Has peers ask elsewhere, and waits until they have left, for as long as `limits.drain_seconds` says; then stops
    /// listening, lets open requests end, and closes the database. Where somebody asks at `/health/ready` where requests can
    /// be sent, it waits for so long in any case: they come until that is asked again.
    pub async fn stop(self) {
        let draining = join_all(self.doors.iter().map(MtlsListener::drain));
        let told = async {
            if self.questions.come() {
                sleep(self.drain).await;
            }
        };
        // Who is still here after that has had no answer to learn it from.
        let _ = tokio::join!(timeout(self.drain, draining), told);
        self.running.stop().await;
        self.database.close().await;
    }
}
