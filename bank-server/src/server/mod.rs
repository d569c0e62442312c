//! Server builder: opens files and database, wires the services, and starts the listeners.

mod app_context;
mod descriptors;
mod removal;
mod running;
mod sockets;
mod transport_config;
mod workers;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use arc_swap::ArcSwap;
use shared_types::environment::{Clock, Randomness, SystemClock, SystemRandomness};
use shared_types::pki::pem::{self, Kind};
use tokio::sync::{Notify, Semaphore};
use tracing::{Instrument as _, Span};

use self::app_context::AppContext;
use self::descriptors::connection_budget;
pub use self::descriptors::raise_limit;
use self::removal::Removal;
pub use self::running::RunningBank;
use self::sockets::{Pages, bind, listener, open_pages};
use self::transport_config::{connection_limits, licence_source, sources};
use self::workers::{PeriodicWork, Sockets, TrustUpdates, run};
use crate::config::{Config, ConfigError, Origin};
use crate::core_banking::CoreBanking;
use crate::core_banking::http::HttpCore;
use crate::identity::{LicenceSource, Licences, own_organisation};
use crate::identity_provider::file_faults;
use crate::metrics::{Metrics, Parts};
use crate::operator::{Health, ReadinessProbes};
use crate::sca::PHONE_LIFETIME;
use crate::sca::external::ScaMethods;
use crate::sca::external::http::HttpScaMethods;
use crate::store::fetched_lists::FetchedLists;
use crate::store::retention::Retention;
use crate::store::{Database, DatabaseLocation, StoreError, open_to_others};
use crate::telemetry::request_metrics::{ConnectionMetrics, RequestMetrics};
use crate::transport::listener::{ConnectionObserver, LogRejectedConnections, MtlsListener};
use crate::transport::trust_reloader::{TrustReloader, TrustReport};
use shared_types::files::is_open_to_others;

/// Builder of a bank server.
///
/// A bank developer puts their own core banking system behind it:
///
/// ```no_run
/// # async fn example(systems: std::sync::Arc<dyn bank_server::core_banking::CoreBanking>)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use bank_server::{BankServer, config::Config};
///
/// let config = Config::read("bank.toml".as_ref()).map_err(|fault| fault.to_string())?;
/// let bank = BankServer::new(config).core_banking(systems).start().await?;
/// println!("XS2A at https://{}", bank.xs2a_address());
/// bank.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct BankServer {
    config: Config,
    core: Option<Arc<dyn CoreBanking>>,
    sca_methods: Option<Arc<dyn ScaMethods>>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    observer: Arc<dyn ConnectionObserver>,
    span: Span,
    sockets: InheritedSockets,
}

/// Sockets that are already open, in place of configured addresses.
#[derive(Default)]
struct InheritedSockets {
    xs2a: Option<TcpListener>,
    online_banking: Option<TcpListener>,
}

/// Error of a start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration, or a file that it names, is invalid.
    #[error("the configuration is wrong: {}", list(.0))]
    Configuration(Vec<ConfigError>),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key differs from the one that sealed the secrets in the database.
    #[error("{} is not the key with which secrets in the database were sealed", .0.display())]
    OtherKey(PathBuf),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({setting}): {error}")]
    Listen {
        /// The field of the configuration.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The server's thread did not come up.
    #[error("the server's thread did not start: {0}")]
    Thread(io::Error),
}

impl From<Vec<ConfigError>> for StartError {
    fn from(faults: Vec<ConfigError>) -> Self {
        Self::Configuration(faults)
    }
}

fn list(faults: &[ConfigError]) -> String {
    let faults = faults.iter().map(ConfigError::to_string);
    faults.collect::<Vec<_>>().join("; ")
}

impl BankServer {
    /// A bank of that configuration, with the built-in ledger behind it.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            core: None,
            sca_methods: None,
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
            observer: Arc::new(LogRejectedConnections),
            span: Span::none(),
            sockets: InheritedSockets::default(),
        }
    }

    /// Takes TPPs' connections from a socket that is open already, as service managers hand them
    /// over.
    #[must_use]
    pub fn xs2a_socket(mut self, socket: TcpListener) -> Self {
        self.sockets.xs2a = Some(socket);
        self
    }

    /// Takes customers' connections from a socket that is open already.
    #[must_use]
    pub fn online_banking_socket(mut self, socket: TcpListener) -> Self {
        self.sockets.online_banking = Some(socket);
        self
    }

    /// Puts another core banking system behind it, in place of the ledger and of `[core_banking]`.
    #[must_use]
    pub fn core_banking(mut self, core: Arc<dyn CoreBanking>) -> Self {
        self.core = Some(core);
        self
    }

    /// Adds SCA methods of the bank's own systems, in place of `[sca_methods]`.
    #[must_use]
    pub fn sca_methods(mut self, methods: Arc<dyn ScaMethods>) -> Self {
        self.config.has_sca_methods = true;
        self.sca_methods = Some(methods);
        self
    }

    /// Takes the time from another clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes chance from another source.
    #[must_use]
    pub fn randomness(mut self, randomness: Arc<dyn Randomness>) -> Self {
        self.randomness = randomness;
        self
    }

    /// Uses another observer of accepted and rejected connections; the default writes to the log.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn ConnectionObserver>) -> Self {
        self.observer = observer;
        self
    }

    /// Enters that span for everything the bank does, so that its log lines can be distinguished
    /// from those of other banks in the same process. Without one, each request is the root of a
    /// trace.
    #[must_use]
    pub fn span(mut self, span: Span) -> Self {
        self.span = span;
        self
    }

    /// Opens the files and the database, and starts to listen. The bank runs on threads of its own.
    pub async fn start(self) -> Result<RunningBank, StartError> {
        let span = self.span.clone();
        // Boxed: the configuration makes it large.
        Box::pin(self.open_and_run().instrument(span)).await
    }

    #[expect(
        clippy::too_many_lines,
        reason = "the steps of a start, one after the other"
    )]
    async fn open_and_run(self) -> Result<RunningBank, StartError> {
        let opened = open_for_start(&self.config, &self.clock, &self.randomness).await;
        let trust_reloader = opened.map_err(|faults| self.config.lines.locate(faults))?;
        log_startup_warnings(&trust_reloader, &self.config);
        let (trust, report) = (trust_reloader.trust(), trust_reloader.report());
        let organisation = own_organisation(&trust.current().credentials)
            .map_err(|error| vec![ConfigError::new("xs2a.certificate", error.to_string())])?;
        let (config, sockets) = (self.config, self.sockets);
        let pages = config
            .online_banking
            .as_ref()
            .map(|pages| open_pages(&config, pages, sockets.online_banking, self.clock.unix()))
            .transpose()?;
        let app_context = AppContext::open(
            &config,
            self.core,
            self.sca_methods,
            self.clock,
            self.randomness,
            pages.as_ref(),
        )
        .await?;
        let request_metrics = RequestMetrics::new();
        let xs2a = web::Data::new(app_context.xs2a(&config, pages.as_ref(), &request_metrics)?);
        let online_banking = pages.as_ref().map(|pages| {
            web::Data::new(app_context.online_banking(&config, pages, &trust, &request_metrics))
        });
        let listener = Arc::new(MtlsListener::new(
            Arc::clone(&trust),
            connection_limits(&config.limits),
            Arc::new(ConnectionMetrics {
                request_metrics: request_metrics.clone(),
                observer: self.observer,
            }),
        ));
        let (xs2a_socket, xs2a_address) = bind(sockets.xs2a, "xs2a.listen", config.xs2a.listen)?;
        let (operator, operator_address) = bind(None, "operator.listen", config.operator.listen)?;
        let mut listeners = vec![("xs2a", xs2a_socket, Arc::clone(&listener))];
        let mut gateway_address = None;
        if let Some(gateways) = &config.gateway_listener {
            let (socket, address) = bind(None, "gateway_listener.listen", gateways.listen)?;
            let for_gateways = Arc::new(listener.for_gateways(gateways.max_connections));
            listeners.push(("gateway_listener", socket, for_gateways));
            gateway_address = Some(address);
        }
        let health = health(
            &app_context,
            &report,
            &listeners,
            &request_metrics,
            pages.as_ref(),
        );
        let probes = health.probes.clone();
        let health = web::Data::new(health);
        let open_listeners = listeners
            .iter()
            .map(|(_, _, listener)| listener.clone())
            .collect();
        let origin = pages.as_ref().map(|pages| pages.origin.clone());
        let online_banking_address = pages.as_ref().map(|pages| pages.address);
        let of_pages = config.online_banking.as_ref();
        let budget = connection_budget(of_pages.map_or(0, |pages| pages.max_connections));
        let sockets = Sockets {
            listeners,
            peers: Arc::new(Semaphore::new(budget.peers)),
            pages: pages
                .zip(online_banking)
                .map(|(pages, state)| (pages.socket, pages.listener, state)),
            operator,
        };
        let reload_requested = Arc::new(Notify::new());
        let trust_updates = TrustUpdates {
            trust_reloader,
            reload_requested: Arc::clone(&reload_requested),
            // A file has no replicas.
            crl_cache: match &config.store.location {
                DatabaseLocation::File(_) => None,
                DatabaseLocation::Server(_) => {
                    Some(Arc::new(FetchedLists::new(app_context.database.clone())))
                }
            },
        };
        let removal = Removal::new(
            Retention::new(
                app_context.database.clone(),
                config.retention.clone(),
                PHONE_LIFETIME,
            ),
            Arc::clone(&app_context.clock),
            Arc::clone(&report),
        );
        let running = run(
            &config,
            sockets,
            trust_updates,
            PeriodicWork {
                removal,
                services: app_context.services,
                external: app_context
                    .sca
                    .external()
                    .map(|_| app_context.authorisations.clone()),
                identity_provider: app_context.identity_provider,
            },
            xs2a,
            health,
            self.span,
        )
        .await?;
        tracing::info!(
            bank = config.bank.name,
            %organisation,
            xs2a = %xs2a_address,
            gateway_listener = gateway_address.map(tracing::field::display),
            online_banking = origin.as_ref().map(Origin::text),
            operator = %operator_address,
            "serving"
        );
        Ok(RunningBank {
            organisation,
            xs2a_address,
            gateway_address,
            online_banking_address,
            origin,
            operator_address,
            authorisations: app_context.authorisations,
            sca: app_context.sca,
            trust,
            report,
            reload_requested,
            database: app_context.database,
            listeners: open_listeners,
            drain: Duration::from_secs(config.limits.drain_timeout_seconds),
            probes,
            running,
        })
    }
}

/// Logs what works, but not as it should.
fn log_startup_warnings(trust_reloader: &TrustReloader<LicenceSource>, config: &Config) {
    for problem in &trust_reloader.report().load().problems {
        tracing::warn!(%problem, "trust configuration problem");
    }
    if config.register.file.is_none() {
        tracing::warn!("no register configured, roles are taken from certificates alone");
    }
}

/// Opens the files, as [`open`] does. If they are rejected and the clock is wrong, that error comes
/// first.
async fn open_for_start(
    config: &Config,
    clock: &Arc<dyn Clock>,
    randomness: &Arc<dyn Randomness>,
) -> Result<TrustReloader<LicenceSource>, Vec<ConfigError>> {
    match open(config, clock, randomness) {
        Ok(trust_reloader) => Ok(trust_reloader),
        Err(mut faults) => {
            faults.splice(0..0, clock_error(&config.store.location, clock).await);
            Err(faults)
        }
    }
}

/// The error of a wrong clock, which makes valid certificates, CRLs and licences look invalid.
/// `None` where that is unknown.
async fn clock_error(location: &DatabaseLocation, clock: &Arc<dyn Clock>) -> Option<ConfigError> {
    let DatabaseLocation::Server(_) = location else {
        return None;
    };
    let database = Database::open(location).await.ok()?;
    database.compare_clock(clock).await.ok()?;
    let ready = database.ready().await;
    database.close().await;
    match ready {
        Err(StoreError::Clock(error)) => Some(ConfigError::new("clock", error.to_string())),
        _ => None,
    }
}

/// Health state for the operator.
fn health(
    app_context: &AppContext,
    report: &Arc<ArcSwap<TrustReport>>,
    listeners: &[(&'static str, TcpListener, Arc<MtlsListener<Licences>>)],
    request_metrics: &RequestMetrics,
    pages: Option<&Pages>,
) -> Health {
    let listeners = listeners
        .iter()
        .map(|(name, _, listener)| (*name, listener.clone()));
    let listeners: Vec<_> = listeners.collect();
    Health {
        database: app_context.database.clone(),
        core: Arc::clone(&app_context.core),
        sca: app_context.sca.clone(),
        services: app_context.services.clone(),
        identity_provider: app_context.identity_provider.clone(),
        trust: Arc::clone(report),
        metrics: Metrics::of(Parts {
            trust: Arc::clone(report),
            listeners: listeners.clone(),
            request_metrics,
            database: &app_context.database,
            sca: &app_context.sca,
            services: &app_context.services,
            identity_provider: app_context.identity_provider.as_ref(),
        }),
        pages: pages.and_then(|pages| pages.listener.credentials().cloned()),
        listeners,
        probes: ReadinessProbes::default(),
    }
}

/// Returns all errors of a configuration file and the files it names, without starting anything.
/// Network and database are not checked ([`NOT_CHECKED`]).
#[must_use]
pub fn check_file(file: &Path, clock: impl Clock) -> Vec<ConfigError> {
    let read = Config::read_all(file);
    let more = read.config.as_ref().map(|config| check(config, clock));
    let more = more.into_iter().flatten();
    let found = more.filter(|fault| !read.is_substituted(&fault.key));
    read.faults.iter().cloned().chain(found).collect()
}

/// Parts that [`check_file`] does not check.
pub const NOT_CHECKED: &str = "the network (whether addresses are free to listen on; lists, \
     responders, other banks and collectors at their addresses; the core, which `bank-server core \
     check` calls), the database, and the bank's own key, but for who can read the two";

/// Returns all errors of a configuration and the files it names, without starting anything.
#[must_use]
pub fn check(config: &Config, clock: impl Clock) -> Vec<ConfigError> {
    let clock: Arc<dyn Clock> = Arc::new(clock);
    let randomness: Arc<dyn Randomness> = Arc::new(SystemRandomness);
    let now = clock.unix();
    let mut faults = match open(config, &clock, &randomness) {
        Ok(trust_reloader) => trust_reloader.report().load().problems.clone(),
        Err(faults) => faults,
    };
    let core = config
        .core_banking
        .as_ref()
        .map(|core| HttpCore::open(core, Arc::clone(&clock), Arc::clone(&randomness)).map(drop));
    let methods = config.sca_methods.as_ref().map(|methods| {
        HttpScaMethods::open(methods, Arc::clone(&clock), Arc::clone(&randomness)).map(drop)
    });
    for opened in [core, methods].into_iter().flatten() {
        // Those of the section itself are known already.
        let more = opened.err().into_iter().flatten();
        let new: Vec<_> = more.filter(|fault| !faults.contains(fault)).collect();
        faults.extend(new);
    }
    let pages = config.online_banking.as_ref();
    faults.extend(
        pages.map_or_else(Vec::new, |pages| match listener(config, pages) {
            Ok(listener) => listener.certificate_fault(pages, now).into_iter().collect(),
            Err(faults) => faults,
        }),
    );
    let file = match &config.store.location {
        DatabaseLocation::File(path) => Some(path),
        DatabaseLocation::Server(_) => None,
    };
    let exposed = |key: &'static str| {
        move |path: PathBuf| {
            let problem = format!("{} is open to others; run chmod 600", path.display());
            ConfigError::new(key, problem)
        }
    };
    let key_file = Some(config.store.key.clone()).filter(|key| is_open_to_others(key));
    faults.extend(key_file.map(exposed("store.key")));
    let files = file.into_iter().flat_map(|path| open_to_others(path));
    faults.extend(files.map(exposed("store.path")));
    let folder = file.and_then(|file| file.parent());
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        faults.push(ConfigError::new(
            "store.path",
            format!("the folder {} does not exist", folder.display()),
        ));
    }
    config.lines.locate(faults)
}

/// The error of the database server's CA file: the driver would skip what it cannot parse.
fn database_fault(config: &Config) -> Option<ConfigError> {
    let DatabaseLocation::Server(server) = &config.store.location else {
        return None;
    };
    let path = server.root_certificates()?;
    let problem = match std::fs::read(&path) {
        Ok(file) => match pem::only(Kind::Certificate, &file) {
            Ok(found) if found.iter().all(|found| found.position.is_some()) => return None,
            Ok(_) => "is DER; convert it: openssl x509 -inform DER -in FILE -out NEW".to_owned(),
            Err(error) => error.to_string(),
        },
        Err(error) => format!("cannot be read: {error}"),
    };
    let problem = format!("{} {problem}", path.display());
    Some(ConfigError::new("store.url", problem))
}

/// Opens the files; returns all errors, not only the first.
fn open(
    config: &Config,
    clock: &Arc<dyn Clock>,
    randomness: &Arc<dyn Randomness>,
) -> Result<TrustReloader<LicenceSource>, Vec<ConfigError>> {
    let mut faults = config.faults();
    faults.extend(database_fault(config));
    let provider = config.identity_provider.iter();
    faults.extend(provider.flat_map(|provider| file_faults(provider, clock)));
    let opened = TrustReloader::open(
        sources(config),
        licence_source(config),
        Arc::clone(clock),
        Arc::clone(randomness),
    );
    match opened {
        Ok(trust_reloader) if faults.is_empty() => Ok(trust_reloader),
        Ok(_) => Err(faults),
        Err(more) => {
            faults.extend(more);
            Err(faults)
        }
    }
}
