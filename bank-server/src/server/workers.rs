//! Worker threads: from sockets to resources and pages.

use std::cell::Cell;
use std::future::ready;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_http::{HttpMessage as _, HttpService, Protocol};
use actix_server::GracefulShutdownSignal;
use actix_service::{
    Service as _, ServiceFactory, ServiceFactoryExt as _, fn_factory, fn_service, map_config,
};
use actix_web::dev::AppConfig;
use actix_web::{App, middleware, web};
use futures::future::LocalBoxFuture;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::context::TokioContext;
use tracing::Span;

use super::StartError;
use super::removal::{self, Removal};
use crate::bank_service::BankService;
use crate::config::{Config, LimitsConfig};
use crate::consent::authorisation::{Authorisations, POLL_INTERVAL};
use crate::identity::{LicenceSource, Licences};
use crate::identity_provider::IdentityProvider;
use crate::online_banking::listener::BrowserListener;
use crate::online_banking::{self, OnlineBanking};
use crate::operator::{self, Health};
use crate::transport::connection::Connection;
use crate::transport::http2;
use crate::transport::listener::MtlsListener;
use crate::transport::stream::MtlsStream;
use crate::transport::trust_reloader::{SharedCrlCache, TrustReloader, wait_for_first_fetches};
use crate::xs2a::{self, Xs2a};

/// The listening sockets.
pub(super) struct Sockets {
    /// Each with its name in logs.
    pub(super) listeners: Vec<(&'static str, TcpListener, Arc<MtlsListener<Licences>>)>,
    /// Connection limit over all of them.
    pub(super) peers: Arc<Semaphore>,
    pub(super) pages: Option<(TcpListener, BrowserListener, web::Data<OnlineBanking>)>,
    pub(super) operator: TcpListener,
}

/// The trust reloader and its inputs.
pub(super) struct TrustUpdates {
    pub(super) trust_reloader: TrustReloader<LicenceSource>,
    pub(super) reload_requested: Arc<Notify>,
    /// Shared with other replicas, if there are any.
    pub(super) crl_cache: Option<Arc<dyn SharedCrlCache>>,
}

/// Interval at which the files of the bank's other services are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// Work that the bank does from time to time.
pub(super) struct PeriodicWork {
    pub(super) removal: Removal,
    /// Services whose certificates are read again when their files change.
    pub(super) services: Vec<Arc<BankService>>,
    /// Authorisations whose challenges are started and polled; `None` without external SCA methods.
    pub(super) external: Option<Authorisations>,
    /// An identity provider, whose files are read again in the same way.
    pub(super) identity_provider: Option<IdentityProvider>,
}

impl PeriodicWork {
    fn spawn(self, app_runtime: &Handle) {
        let Self {
            removal,
            services,
            external,
            identity_provider,
        } = self;
        let removing = async move || removal.run_if_due().await;
        actix_rt::spawn(run_periodically(
            removal::POLL_INTERVAL,
            removing,
            app_runtime.clone(),
        ));
        if let Some(authorisations) = external {
            let starter = authorisations.clone();
            let starting = async move || {
                let starter = starter.clone();
                run_apart(async move { starter.start_external_challenges().await }).await;
            };
            let polling = async move || {
                let poller = authorisations.clone();
                run_apart(async move { poller.poll_external_challenges().await }).await;
            };
            actix_rt::spawn(run_periodically(
                POLL_INTERVAL,
                starting,
                app_runtime.clone(),
            ));
            actix_rt::spawn(run_periodically(
                POLL_INTERVAL,
                polling,
                app_runtime.clone(),
            ));
        }
        for service in services {
            let name = service.name();
            spawn_reload(name, move || service.reload(), app_runtime);
        }
        if let Some(provider) = identity_provider {
            spawn_reload("identity provider", move || provider.reload(), app_runtime);
        }
    }
}

/// Looks at changed files of a service of the bank from time to time.
fn spawn_reload(
    service: &'static str,
    reload: impl Fn() + Clone + Send + 'static,
    app_runtime: &Handle,
) {
    let reloading = async move || {
        if let Err(error) = tokio::task::spawn_blocking(reload.clone()).await {
            tracing::error!(%error, service, "reload of changed files failed");
        }
    };
    actix_rt::spawn(run_periodically(
        RELOAD_INTERVAL,
        reloading,
        app_runtime.clone(),
    ));
}

/// Interval of due work in online banking.
const PERIOD: Duration = Duration::from_mins(10);

/// Time limit for draining a connection that was answered before its request had arrived
/// completely: closing at once would reset it, and the reset would overtake the response (RFC 9112,
/// section 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// The workers, while they work. Dropping them stops them without waiting for open requests, unless
/// they are stopping.
pub(super) struct Running {
    handle: StopOnDrop,
    thread: JoinHandle<io::Result<()>>,
}

struct StopOnDrop(actix_server::ServerHandle);

impl Running {
    /// Stops listening, lets open requests end, and joins the thread.
    pub(super) async fn stop(self) {
        self.handle.0.stop(true).await;
        let ended = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(ended, Ok(Ok(Ok(())))) {
            tracing::warn!("server thread failed");
        }
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        // The command is sent by the call itself; the future only waits for its end.
        drop(self.0.stop(false));
    }
}

/// Starts the workers, on a thread that belongs to them.
///
/// Each worker has a runtime of its own, which ends when the worker has nothing left to do.
/// Connections to the database are shared, and each belongs to the runtime that it was opened on:
/// so requests are answered in the context of the runtime on which the bank was started, which
/// lasts until it has stopped.
pub(super) async fn run(
    config: &Config,
    sockets: Sockets,
    trust_updates: TrustUpdates,
    periodic: PeriodicWork,
    xs2a: web::Data<Xs2a>,
    health: web::Data<Health>,
    span: Span,
) -> Result<Running, StartError> {
    let limits = config.limits.clone();
    let workers = config.xs2a.workers;
    let app_runtime = Handle::current();
    let first_fetch = Duration::from_secs(config.revocation.fetch_timeout_seconds);
    let (started, handle) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("bank-server".to_owned())
        .spawn(move || {
            let _within = span.enter();
            let span = span.clone();
            actix_rt::System::new().block_on(async move {
                let (fetched, ready) = oneshot::channel();
                let updates = trust_updates.trust_reloader.run(
                    trust_updates.reload_requested,
                    trust_updates.crl_cache,
                    fetched,
                );
                actix_rt::spawn(updates);
                periodic.spawn(&app_runtime);
                for (_, _, listener) in &sockets.listeners {
                    actix_rt::spawn(listener.clone().reevaluate_connections());
                }
                // Peers that connect before the first CRLs are fetched wait; without a CRL they
                // would be rejected.
                wait_for_first_fetches(ready, first_fetch).await;
                let mut builder = actix_server::Server::build()
                    .disable_signals()
                    .shutdown_timeout(limits.shutdown_timeout_seconds);
                if let Some(workers) = workers {
                    builder = builder.workers(workers.get());
                }
                let shutdown = builder.graceful_shutdown_signal();
                for (name, socket, listener) in sockets.listeners {
                    let (shutdown, xs2a, app_runtime) =
                        (shutdown.clone(), xs2a.clone(), app_runtime.clone());
                    let (connection_limit, limits) = (Arc::clone(&sockets.peers), limits.clone());
                    let span = span.clone();
                    builder = builder.listen(name, socket, move || {
                        enter_span(&span);
                        xs2a_service(
                            listener.clone(),
                            Arc::clone(&connection_limit),
                            xs2a.clone(),
                            app_runtime.clone(),
                            &limits,
                            shutdown.clone(),
                        )
                    })?;
                }
                if let Some((socket, listener, state)) = sockets.pages {
                    let of_pages = state.clone();
                    let refreshing =
                        async move || online_banking::read_what_is_due(&of_pages).await;
                    actix_rt::spawn(run_periodically(PERIOD, refreshing, app_runtime.clone()));
                    let (app_runtime, span, shutdown) =
                        (app_runtime.clone(), span.clone(), shutdown.clone());
                    builder = builder.listen("online banking", socket, move || {
                        enter_span(&span);
                        online_banking_service(
                            listener.clone(),
                            state.clone(),
                            app_runtime.clone(),
                            &limits,
                            shutdown.clone(),
                        )
                    })?;
                }
                let builder = builder.listen("operator", sockets.operator, move || {
                    enter_span(&span);
                    operator_service(health.clone(), app_runtime.clone(), shutdown.clone())
                })?;
                let server = builder.run();
                if started.send(server.handle()).is_err() {
                    // The start was cancelled.
                    return Ok(());
                }
                server.await
            })
        })
        .map_err(StartError::Thread)?;
    match handle.await {
        Ok(handle) => Ok(Running {
            handle: StopOnDrop(handle),
            thread,
        }),
        Err(_) => Err(StartError::Thread(match thread.join() {
            Ok(Err(error)) => error,
            _ => io::Error::other("it ended at once"),
        })),
    }
}

/// Enters the span for everything this thread does from now on.
fn enter_span(span: &Span) {
    thread_local! {
        static WITHIN: Cell<bool> = const { Cell::new(false) };
    }

    if !span.is_none() && !WITHIN.replace(true) {
        // Never left: the thread ends with the bank.
        std::mem::forget(span.clone().entered());
    }
}

/// Runs work as a task of its own: if it panics, that is logged, and the next round follows.
async fn run_apart(work: impl Future<Output = ()> + Send + 'static) {
    if let Err(error) = tokio::spawn(work).await {
        tracing::error!(%error, "periodic work failed");
    }
}

/// Runs that work periodically until it is dropped: in the context of the application runtime, but
/// timed on this one, which may outlive it.
async fn run_periodically(every: Duration, work: impl AsyncFn(), app_runtime: Handle) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        TokioContext::new(work(), app_runtime.clone()).await;
    }
}

/// Resolves when the workers stop: connections without an open request close then.
fn notified(
    shutdown: GracefulShutdownSignal,
) -> impl Fn() -> LocalBoxFuture<'static, ()> + Clone + 'static {
    move || {
        let shutdown = shutdown.clone();
        Box::pin(async move { shutdown.notified().await })
    }
}

/// Service of TPPs: handshake, HTTP, the XS2A middleware. Both versions of HTTP lead to one
/// service.
fn xs2a_service(
    listener: Arc<MtlsListener<Licences>>,
    connection_limit: Arc<Semaphore>,
    xs2a: web::Data<Xs2a>,
    app_runtime: Handle,
    limits: &LimitsConfig,
    shutdown: GracefulShutdownSignal,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = (), InitError = ()> + use<>
{
    let (time, idle) = (limits.request_timeout(), limits.idle_timeout());
    let shutdown = notified(shutdown);
    // Twice the limit: a smaller excess receives an error response with a body, over either version
    // of HTTP.
    let max_header_bytes = limits.max_header_bytes.saturating_mul(2);
    let max_header_bytes = u32::try_from(max_header_bytes).unwrap_or(u32::MAX);
    fn_factory(move || {
        let (listener, connection_limit, xs2a) = (
            listener.clone(),
            Arc::clone(&connection_limit),
            xs2a.clone(),
        );
        let (app_runtime, shutdown) = (app_runtime.clone(), shutdown.clone());
        async move {
            let app = App::new()
                .app_data(xs2a)
                .configure(xs2a::configure)
                .wrap(middleware::from_fn(xs2a::middleware))
                .wrap_fn(move |request, app| {
                    let connection = request.conn_data::<Arc<Connection<Licences>>>().cloned();
                    if let Some(connection) = connection {
                        request.extensions_mut().insert(connection);
                    }
                    TokioContext::new(app.call(request), app_runtime.clone())
                });
            let app = map_config(app, |()| AppConfig::default());
            let app = Rc::new(app.new_service(()).await?);
            let shared = Rc::clone(&app);
            let http1 = HttpService::build()
                .client_request_timeout(time)
                .keep_alive(idle)
                .client_disconnect_timeout(LINGER)
                .on_connect_ext(|stream: &MtlsStream<Licences>, extensions| {
                    extensions.insert(Arc::clone(stream.connection()));
                })
                .graceful_shutdown_signal(shutdown.clone())
                .h1(fn_factory(move || ready(Ok::<_, ()>(Rc::clone(&shared)))))
                .new_service(())
                .await?;
            let http1 = Rc::new(http1);
            Ok(fn_service(move |tcp: TcpStream| {
                let (listener, app, http1) = (listener.clone(), Rc::clone(&app), Rc::clone(&http1));
                let (shutdown, connection_limit) = (shutdown(), Arc::clone(&connection_limit));
                async move {
                    // For as long as the connection is open.
                    let Ok(_permit) = connection_limit.try_acquire() else {
                        listener.reject(&tcp);
                        return Err(());
                    };
                    let (stream, protocol, address) = listener.accept(tcp).await.ok_or(())?;
                    let ended = if protocol == Protocol::Http2 {
                        http2::serve(stream, address, app, max_header_bytes, shutdown)
                            .await
                            .map_err(|error| error.to_string())
                    } else {
                        let served = http1.call((stream, address)).await;
                        served.map_err(|error| error.to_string())
                    };
                    ended.map_err(|error| tracing::debug!(error, "connection ended"))
                }
            }))
        }
    })
}

/// Service of the customer pages.
fn online_banking_service(
    listener: BrowserListener,
    state: web::Data<OnlineBanking>,
    app_runtime: Handle,
    limits: &LimitsConfig,
    shutdown: GracefulShutdownSignal,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = (), InitError = ()> + use<>
{
    let has_identity_provider = state.identity_provider.is_some();
    let app = App::new()
        .app_data(state)
        .configure(|app| online_banking::configure(app, has_identity_provider))
        .wrap(middleware::from_fn(online_banking::frame))
        .wrap_fn(move |request, app| TokioContext::new(app.call(request), app_runtime.clone()));
    let http = HttpService::build()
        .client_request_timeout(limits.request_timeout())
        .keep_alive(limits.idle_timeout())
        .client_disconnect_timeout(LINGER)
        .graceful_shutdown_signal(notified(shutdown))
        .finish(map_config(app, |()| AppConfig::default()));
    let accept = fn_service(move |tcp: TcpStream| {
        let listener = listener.clone();
        async move { listener.accept(tcp).await.ok_or(()) }
    });
    accept.and_then(http.map_err(|error| tracing::debug!(%error, "connection of a browser ended")))
}

fn operator_service(
    health: web::Data<Health>,
    app_runtime: Handle,
    shutdown: GracefulShutdownSignal,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = (), InitError = ()> {
    let app = App::new()
        .app_data(health)
        .configure(operator::configure)
        .wrap_fn(move |request, app| TokioContext::new(app.call(request), app_runtime.clone()));
    HttpService::build()
        .graceful_shutdown_signal(notified(shutdown))
        .finish(map_config(app, |()| AppConfig::default()))
        .tcp()
        .map_err(|error| tracing::debug!(%error, "operator connection ended"))
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Runtime;
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn periodic_work_continues_after_the_app_runtime_has_ended() {
        let app_runtime = Runtime::new().unwrap();
        let context = app_runtime.handle().id();
        let (done, mut times) = mpsc::unbounded_channel();
        let work = async move || done.send(Handle::current().id()).unwrap();
        let often = Duration::from_millis(1);
        let working = run_periodically(often, work, app_runtime.handle().clone());
        Runtime::new().unwrap().block_on(async {
            let looking = async {
                assert_eq!(times.recv().await, Some(context));
                // Not in the background: the runtime still ticks while it is shutting down.
                std::thread::spawn(move || drop(app_runtime))
                    .join()
                    .unwrap();
                // Discards the values that were sent before.
                while times.try_recv().is_ok() {}
                assert_eq!(times.recv().await, Some(context));
            };
            tokio::select! {
                () = working => {}
                () = looking => {}
            }
        });
    }
}
