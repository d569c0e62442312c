//! One bank, put together and run.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_http::HttpService;
use actix_service::{ServiceFactory, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, middleware, web};
use arc_swap::ArcSwap;
use bank_client::environment::{Clock, Randomness, SystemClock, SystemRandomness};
use shared_types::eidas::OrganisationId;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use crate::calendar::Calendar;
use crate::config::{Config, Fault, OnlineBankingConfig, Origin, ProxiedConfig};
use crate::consent::authorisation::Authorisations;
use crate::core_banking::CoreBanking;
use crate::core_banking::ledger::Ledger;
use crate::identity::{LicenceSource, Licences, own_organisation};
use crate::online_banking::listener::Entrance;
use crate::online_banking::{self, Elsewhere, ElsewhereParts, OnlineBanking, PageLimits, Parts};
use crate::operator::{self, Health};
use crate::sca::{Passkeys, Sca};
use crate::store::connections::Connections;
use crate::store::consents::Consents;
use crate::store::sessions::{Lasting, Sessions};
use crate::store::usage::Usage;
use crate::store::vault::{Vault, VaultError};
use crate::store::{Database, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::transport::keeper::{Keeper, Report, wait_for_first};
use crate::transport::listener::{Door, DoorObserver, LogTurnedAway};
use crate::transport::stream::Bytes;
use crate::transport::trust::Trust;
use crate::xs2a::{self, Approving, Xs2a};

/// A bank that is about to be started.
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
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    observer: Arc<dyn DoorObserver>,
    sockets: HandedIn,
}

/// Sockets that are open already, in place of addresses from the configuration.
#[derive(Default)]
struct HandedIn {
    xs2a: Option<TcpListener>,
    online_banking: Option<TcpListener>,
}

/// Why a bank could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration, or a file that it names, is wrong.
    #[error("the configuration is wrong: {}", list(.0))]
    Configuration(Vec<Fault>),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bank's own key cannot be used.
    #[error(transparent)]
    Key(#[from] VaultError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The server's thread did not come up.
    #[error("the server's thread did not start: {0}")]
    Thread(io::Error),
}

fn list(faults: &[Fault]) -> String {
    faults
        .iter()
        .map(Fault::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

impl BankServer {
    /// A bank of that configuration, with the built-in ledger behind it.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            core: None,
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
            observer: Arc::new(LogTurnedAway),
            sockets: HandedIn::default(),
        }
    }

    /// Takes TPPs' connections from a socket that is open already, as service managers hand them over.
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

    /// Puts another core banking system behind it.
    #[must_use]
    pub fn core_banking(mut self, core: Arc<dyn CoreBanking>) -> Self {
        self.core = Some(core);
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

    /// Tells another observer of peers that are turned away; without one, the log is told.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn DoorObserver>) -> Self {
        self.observer = observer;
        self
    }

    /// Opens the files and the database, and starts to listen. The bank runs on threads of its own.
    pub async fn start(self) -> Result<RunningBank, StartError> {
        let keeper =
            open(&self.config, &self.clock, &self.randomness).map_err(StartError::Configuration)?;
        for problem in &keeper.report().load().problems {
            tracing::warn!(%problem, "something is wrong with what trust is made of");
        }
        if self.config.register.file.is_none() {
            tracing::warn!("no register is configured: certificates are taken at their word");
        }
        let trust = keeper.trust();
        let report = keeper.report();
        let organisation = own_organisation(&trust.current().credentials).map_err(|error| {
            StartError::Configuration(vec![Fault::new("xs2a.certificate", error.to_string())])
        })?;
        let database = Database::open(&self.config.store.path).await?;
        let core = self
            .core
            .unwrap_or_else(|| Arc::new(Ledger::new(database.clone())));
        let consents = Consents::new(database.clone());
        let calendar = Calendar::new(Arc::clone(&self.clock), self.config.bank.time_zone);
        let vault = Vault::open_file(&self.config.key_file(), Arc::clone(&self.randomness))?;
        let pages = self
            .config
            .online_banking
            .as_ref()
            .map(|pages| open_pages(&self.config, pages, self.sockets.online_banking))
            .transpose()?;
        let passkeys = pages
            .as_ref()
            .map(|pages| {
                let name = &self.config.bank.name;
                pages.passkeys(name, &database, &vault, &calendar)
            })
            .transpose()?;
        let sca = Sca::new(
            &database,
            vault.clone(),
            passkeys,
            calendar.clone(),
            Arc::clone(&self.randomness),
        );
        let authorisations = Authorisations::new(
            &database,
            Arc::clone(&core),
            sca.clone(),
            calendar.clone(),
            Arc::clone(&self.randomness),
            self.config.sca.rules(),
        );
        let online_banking = pages.as_ref().map(|pages| {
            web::Data::new(OnlineBanking::new(Parts {
                bank_name: self.config.bank.name.clone(),
                origin: pages.origin.clone(),
                core: Arc::clone(&core),
                sessions: Sessions::new(database.clone(), pages.lasting),
                lasting: pages.lasting,
                sca: sca.clone(),
                authorisations: authorisations.clone(),
                elsewhere: Elsewhere::new(ElsewhereParts {
                    banks: self.config.other_banks.clone(),
                    connections: Connections::new(database.clone(), vault.clone()),
                    trust: Arc::clone(&trust),
                    calendar: calendar.clone(),
                    clock: Arc::clone(&self.clock),
                    randomness: Arc::clone(&self.randomness),
                    origin: pages.origin.clone(),
                }),
                vault: vault.clone(),
                calendar: calendar.clone(),
                randomness: Arc::clone(&self.randomness),
                limits: PageLimits {
                    headers: self.config.limits.header_bytes,
                    time: Duration::from_secs(self.config.limits.request_seconds),
                },
            }))
        });
        let door = Door::new(
            Arc::clone(&trust),
            self.config.limits.of_connections(),
            self.observer,
        );
        let proxied = self.config.proxied.as_ref();
        let gateway_door = proxied.map(|proxied| door.for_gateways(proxied.connections));
        let certificate_header = proxied
            .map(ProxiedConfig::certificate_header)
            .transpose()
            .map_err(|fault| StartError::Configuration(vec![fault]))?;
        let xs2a = web::Data::new(Xs2a {
            consents,
            usage: Usage::new(database.clone()),
            rules: self.config.consent.rules(),
            authorisations: authorisations.clone(),
            approving: Approving {
                offered: self.config.sca.approaches(pages.is_some()),
                redirects: self.config.sca.redirects(),
                origin: pages.as_ref().map(|pages| pages.origin.text()),
                confirmation: self.config.sca.confirmation_code,
            },
            core: Arc::clone(&core),
            calendar,
            vault,
            randomness: self.randomness,
            limits: self.config.limits.of_requests(),
            certificate_header,
        });
        let health = web::Data::new(Health {
            database: database.clone(),
            core,
            trust: Arc::clone(&report),
            metrics: Metrics::of(Arc::clone(&report)),
        });
        let (xs2a_socket, xs2a_address) = bound(self.sockets.xs2a, self.config.xs2a.listen)?;
        let (operator_socket, operator_address) = listen(self.config.operator.listen)?;
        let (proxied_socket, proxied_address) = proxied
            .map(|proxied| listen(proxied.listen))
            .transpose()?
            .unzip();
        let mut doors = vec![("xs2a", xs2a_socket, door)];
        doors.extend(
            proxied_socket
                .zip(gateway_door)
                .map(|(socket, door)| ("proxied", socket, door)),
        );
        let origin = pages.as_ref().map(|pages| pages.origin.clone());
        let online_banking_address = pages.as_ref().map(|pages| pages.address);
        let sockets = Sockets {
            doors,
            pages: pages
                .zip(online_banking)
                .map(|(pages, state)| (pages.socket, pages.entrance, state)),
            operator: operator_socket,
        };
        let reread = Arc::new(Notify::new());
        let keeping = Keeping {
            keeper,
            reread: Arc::clone(&reread),
        };
        let running = run(&self.config, sockets, keeping, xs2a, health).await?;
        tracing::info!(bank = self.config.bank.name, %organisation, xs2a = %xs2a_address, proxied = proxied_address.map(tracing::field::display), online_banking = origin.as_ref().map(Origin::text), operator = %operator_address, "serving");
        Ok(RunningBank {
            organisation,
            xs2a_address,
            proxied_address,
            online_banking_address,
            origin,
            operator_address,
            authorisations,
            sca,
            trust,
            report,
            reread,
            database,
            running,
        })
    }
}

/// Says all that is wrong with a configuration and the files it names, without starting anything.
#[must_use]
pub fn check(config: &Config, clock: impl Clock) -> Vec<Fault> {
    let clock: Arc<dyn Clock> = Arc::new(clock);
    let randomness: Arc<dyn Randomness> = Arc::new(SystemRandomness);
    let mut faults = match open(config, &clock, &randomness) {
        Ok(keeper) => keeper.report().load().problems.clone(),
        Err(faults) => faults,
    };
    let pages = config.online_banking.as_ref();
    faults.extend(pages.and_then(|pages| entrance(config, pages).err()));
    let folder = config
        .store
        .path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        faults.push(Fault::new(
            "store.path",
            format!("the folder {} does not exist", folder.display()),
        ));
    }
    faults
}

/// Opens the files; says all that is wrong, not only the first.
fn open(
    config: &Config,
    clock: &Arc<dyn Clock>,
    randomness: &Arc<dyn Randomness>,
) -> Result<Keeper<LicenceSource>, Vec<Fault>> {
    let mut faults = config.faults();
    let opened = Keeper::open(
        config.sources(),
        config.licence_source(),
        Arc::clone(clock),
        Arc::clone(randomness),
    );
    match opened {
        Ok(keeper) if faults.is_empty() => Ok(keeper),
        Ok(_) => Err(faults),
        Err(more) => {
            faults.extend(more);
            Err(faults)
        }
    }
}

/// The socket that was handed in, or one at that address.
fn bound(
    socket: Option<TcpListener>,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let Some(socket) = socket else {
        return listen(address);
    };
    let bound = socket
        .local_addr()
        .map_err(|error| StartError::Listen { address, error })?;
    Ok((socket, bound))
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let wrong = |error| StartError::Listen { address, error };
    let socket = TcpListener::bind(address).map_err(wrong)?;
    let bound = socket.local_addr().map_err(wrong)?;
    Ok((socket, bound))
}

/// The listener for customers, before the pages are there.
struct Pages {
    socket: TcpListener,
    address: SocketAddr,
    origin: Origin,
    entrance: Entrance,
    lasting: Lasting,
}

impl Pages {
    fn passkeys(
        &self,
        bank: &str,
        database: &Database,
        vault: &Vault,
        calendar: &Calendar,
    ) -> Result<Passkeys, StartError> {
        let (database, vault, calendar) = (database.clone(), vault.clone(), calendar.clone());
        let passkeys = Passkeys::new(self.origin.url(), bank, database, vault, calendar);
        passkeys.map_err(|error| {
            let fault = Fault::new("online_banking.origin", error.to_string());
            StartError::Configuration(vec![fault])
        })
    }
}

fn open_pages(
    config: &Config,
    pages: &OnlineBankingConfig,
    socket: Option<TcpListener>,
) -> Result<Pages, StartError> {
    let entrance =
        entrance(config, pages).map_err(|fault| StartError::Configuration(vec![fault]))?;
    let (socket, address) = bound(socket, pages.listen)?;
    Ok(Pages {
        socket,
        address,
        origin: pages.origin_at(address),
        entrance,
        lasting: pages.lasting(),
    })
}

fn entrance(config: &Config, pages: &OnlineBankingConfig) -> Result<Entrance, Fault> {
    let seconds = Duration::from_secs;
    let limits = &config.limits;
    Entrance::open(
        pages,
        seconds(limits.handshake_seconds),
        seconds(limits.request_seconds),
    )
}

struct Sockets {
    /// Each with its name in logs.
    doors: Vec<(&'static str, TcpListener, Door<Licences>)>,
    pages: Option<(TcpListener, Entrance, web::Data<OnlineBanking>)>,
    operator: TcpListener,
}

/// What keeps trust up to date.
struct Keeping {
    keeper: Keeper<LicenceSource>,
    reread: Arc<Notify>,
}

struct Running {
    handle: actix_server::ServerHandle,
    thread: JoinHandle<io::Result<()>>,
}

/// Starts the workers, on a thread that belongs to them.
async fn run(
    config: &Config,
    sockets: Sockets,
    keeping: Keeping,
    xs2a: web::Data<Xs2a>,
    health: web::Data<Health>,
) -> Result<Running, StartError> {
    let limits = config.limits.clone();
    let workers = config.xs2a.workers;
    let first_fetch = Duration::from_secs(config.revocation.fetch_seconds);
    let (started, handle) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("bank-server".to_owned())
        .spawn(move || {
            actix_rt::System::new().block_on(async move {
                let (fetched, ready) = oneshot::channel();
                actix_rt::spawn(keeping.keeper.keep(keeping.reread, fetched));
                for (_, _, door) in &sockets.doors {
                    actix_rt::spawn(door.clone().keep_judging());
                }
                // Peers that connect meanwhile wait, instead of being refused for want of a list.
                wait_for_first(ready, first_fetch).await;
                let mut builder = actix_server::Server::build()
                    .disable_signals()
                    .shutdown_timeout(limits.shutdown_seconds);
                if let Some(workers) = workers {
                    builder = builder.workers(workers.get());
                }
                let ending = builder.graceful_shutdown_signal();
                let time = Duration::from_secs(limits.request_seconds);
                let idle = Duration::from_secs(limits.idle_seconds);
                for (name, socket, door) in sockets.doors {
                    let (ending, xs2a) = (ending.clone(), xs2a.clone());
                    builder = builder.listen(name, socket, move || {
                        let ending = ending.clone();
                        xs2a_service(door.clone(), xs2a.clone(), time, idle, move || {
                            let ending = ending.clone();
                            async move { ending.notified().await }
                        })
                    })?;
                }
                if let Some((socket, entrance, state)) = sockets.pages {
                    actix_rt::spawn(online_banking::keep_reading(state.clone()));
                    builder = builder.listen("online banking", socket, move || {
                        online_banking_service(entrance.clone(), state.clone(), time, idle)
                    })?;
                }
                let builder = builder.listen("operator", sockets.operator, move || {
                    operator_service(health.clone())
                })?;
                let server = builder.run();
                // If nobody waits for the handle any more, nobody needs the server.
                let _ = started.send(server.handle());
                server.await
            })
        })
        .map_err(StartError::Thread)?;
    match handle.await {
        Ok(handle) => Ok(Running { handle, thread }),
        Err(_) => Err(StartError::Thread(match thread.join() {
            Ok(Err(error)) => error,
            _ => io::Error::other("it ended at once"),
        })),
    }
}

/// From a socket to the resources: handshake, HTTP, the door of XS2A.
fn xs2a_service<F, E>(
    door: Door<Licences>,
    xs2a: web::Data<Xs2a>,
    time: Duration,
    idle: Duration,
    ending: F,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = (), InitError = ()>
where
    F: Fn() -> E + 'static,
    E: Future<Output = ()> + 'static,
{
    let app = App::new()
        .app_data(xs2a)
        .configure(xs2a::configure)
        .wrap(middleware::from_fn(xs2a::door));
    let http = HttpService::build()
        .client_request_timeout(time)
        .keep_alive(idle)
        .on_connect_ext(|bytes: &Bytes<Licences>, extensions| {
            extensions.insert(Arc::clone(bytes.connection()));
        })
        .graceful_shutdown_signal(ending)
        .finish(map_config(app, |()| AppConfig::default()));
    let accept = fn_service(move |tcp: TcpStream| {
        let door = door.clone();
        async move { door.accept(tcp).await.ok_or(()) }
    });
    accept.and_then(http.map_err(|error| tracing::debug!(%error, "connection ended")))
}

/// From a socket to the customers' pages.
fn online_banking_service(
    entrance: Entrance,
    state: web::Data<OnlineBanking>,
    time: Duration,
    idle: Duration,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = (), InitError = ()> {
    let app = App::new()
        .app_data(state)
        .configure(online_banking::configure)
        .wrap(middleware::from_fn(online_banking::frame));
    let http = HttpService::build()
        .client_request_timeout(time)
        .keep_alive(idle)
        .finish(map_config(app, |()| AppConfig::default()));
    let accept = fn_service(move |tcp: TcpStream| {
        let entrance = entrance.clone();
        async move { entrance.accept(tcp).await.ok_or(()) }
    });
    accept.and_then(http.map_err(|error| tracing::debug!(%error, "connection of a browser ended")))
}

fn operator_service(
    health: web::Data<Health>,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = (), InitError = ()> {
    let app = App::new().app_data(health).configure(operator::configure);
    HttpService::build()
        .finish(map_config(app, |()| AppConfig::default()))
        .tcp()
        .map_err(|error| tracing::debug!(%error, "operator connection ended"))
}

/// A bank that runs, until it is stopped.
pub struct RunningBank {
    organisation: OrganisationId,
    xs2a_address: SocketAddr,
    proxied_address: Option<SocketAddr>,
    online_banking_address: Option<SocketAddr>,
    origin: Option<Origin>,
    operator_address: SocketAddr,
    authorisations: Authorisations,
    sca: Sca,
    trust: Arc<Trust<Licences>>,
    report: Arc<ArcSwap<Report>>,
    reread: Arc<Notify>,
    database: Database,
    running: Running,
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

    /// Stops listening, lets open requests end, and closes the database.
    pub async fn stop(self) {
        self.running.handle.stop(true).await;
        let thread = self.running.thread;
        let ended = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(ended, Ok(Ok(Ok(())))) {
            tracing::warn!("the server's thread ended badly");
        }
        self.database.close().await;
    }
}
