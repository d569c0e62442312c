//! PKCS#11 module: loaded once in a process, and called on a bounded number of threads only.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{
    Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError, Weak,
};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::context::TokioContext;
use tokio_util::task::AbortOnDropHandle;

use super::error::Pkcs11Error;
use super::key::Pkcs11Key;

/// Threads that call into one module, and so its sessions for each key.
const CALL_THREADS: usize = 8;

/// Calls that run or wait at a time.
const MAX_CALLS: usize = 64;

/// Threads on which handshakes wait for signatures of one module.
const HANDSHAKE_THREADS: usize = 8;

/// Interval at which the keys are checked. A key that has failed is tried again.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Time after which a check counts as unanswered.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Checks at a time: fewer than threads, so that broken ones leave some.
const MAX_CHECKS: usize = 4;

/// Minimum time between two initialisations, while another key of the module works.
const REINITIALISE_INTERVAL: Duration = Duration::from_secs(30);

/// A vendor's library, the keys that are used through it, and the threads that call it.
pub(super) struct Module {
    path: PathBuf,
    /// Read during each call; written when the module is initialised.
    context: RwLock<Option<Pkcs11>>,
    initialised: Mutex<Option<Instant>>,
    keys: Mutex<Vec<Weak<Pkcs11Key>>>,
    /// Digests of PINs that were refused, by the token's serial number. Held during a log-in: no
    /// second one starts before the first has been refused.
    pub(super) refused_pins: Mutex<HashMap<String, [u8; 32]>>,
    runtime: Runtime,
    calls: Arc<Semaphore>,
    progress: Mutex<Progress>,
}

/// Whether calls are answered.
#[derive(Default)]
struct Progress {
    /// Number of calls that were answered.
    answered: u64,
    /// Time since which none is. Calls fail at once from then on, until one that runs returns.
    stuck_since: Option<Instant>,
}

/// The modules of this process. They are never unloaded: few vendors support that.
static MODULES: LazyLock<Mutex<HashMap<PathBuf, Arc<Module>>>> = LazyLock::new(Mutex::default);

impl Module {
    /// The module of that path. The library is loaded by the first call.
    pub(super) fn at(path: &Path) -> Result<Arc<Self>, Pkcs11Error> {
        let mut modules = lock(&MODULES);
        if let Some(module) = modules.get(path) {
            return Ok(Arc::clone(module));
        }
        let runtime = Builder::new_multi_thread()
            .thread_name("pkcs11")
            .worker_threads(HANDSHAKE_THREADS)
            .max_blocking_threads(CALL_THREADS)
            .enable_time()
            .build()
            .map_err(|error| Pkcs11Error::Threads(error.to_string()))?;
        let module = Arc::new(Self {
            path: path.to_owned(),
            context: RwLock::default(),
            initialised: Mutex::default(),
            keys: Mutex::default(),
            refused_pins: Mutex::default(),
            runtime,
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
            progress: Mutex::default(),
        });
        let checked = Arc::clone(&module);
        module.runtime.spawn(checked.check_periodically());
        modules.insert(path.to_owned(), Arc::clone(&module));
        Ok(module)
    }

    /// Has the key checked for as long as it is in use.
    pub(super) fn watch(&self, key: &Arc<Pkcs11Key>) {
        let mut keys = lock(&self.keys);
        keys.retain(|key| key.strong_count() > 0);
        keys.push(Arc::downgrade(key));
    }

    /// Makes a call on one of the module's threads, and waits for it, but for so long only. Fails
    /// at once if too many calls wait, or none is answered.
    pub(super) fn call<T: Send + 'static>(
        self: &Arc<Self>,
        limit: Duration,
        job: impl FnOnce() -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<T, Pkcs11Error> {
        if let Some(silence) = self.silence() {
            return Err(Pkcs11Error::Timeout(silence));
        }
        let permit = Arc::clone(&self.calls).try_acquire_owned();
        let permit = permit.map_err(|_| Pkcs11Error::Busy)?;
        let (answer, answered) = sync_channel(1);
        // A call whose caller has given up is not made any more.
        let caller = Arc::new(());
        let is_wanted = Arc::downgrade(&caller);
        let module = Arc::clone(self);
        let (start, before) = (Instant::now(), lock(&self.progress).answered);
        self.runtime.spawn_blocking(move || {
            let _permit = permit;
            if is_wanted.strong_count() > 0 {
                let outcome = job();
                module.note_answer();
                // The caller may have given up meanwhile.
                let _ = answer.send(outcome);
            }
        });
        match answered.recv_timeout(limit) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => {
                self.note_silence(start, before);
                Err(Pkcs11Error::Timeout(limit))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Pkcs11Error::Device("the call was aborted".to_owned()))
            }
        }
    }

    /// Time for which no call has been answered, if that is so.
    pub(super) fn silence(&self) -> Option<Duration> {
        lock(&self.progress)
            .stuck_since
            .map(|since| since.elapsed())
    }

    fn note_answer(&self) {
        let mut progress = lock(&self.progress);
        progress.answered += 1;
        progress.stuck_since = None;
    }

    /// Notes that a call was not answered in time. Others may have been: then it is only slow.
    fn note_silence(&self, start: Instant, answered_before: u64) {
        let mut progress = lock(&self.progress);
        if progress.answered == answered_before {
            progress.stuck_since.get_or_insert(start);
        }
    }

    /// The initialised module. Nothing is initialised again while the guard is held.
    pub(super) fn context(&self) -> Result<ContextGuard<'_>, Pkcs11Error> {
        loop {
            let context = self.context.read().unwrap_or_else(PoisonError::into_inner);
            if context.is_some() {
                return Ok(ContextGuard(context));
            }
            drop(context);
            let mut context = self.context.write().unwrap_or_else(PoisonError::into_inner);
            if context.is_none() {
                *context = Some(self.initialise()?);
            }
        }
    }

    fn initialise(&self) -> Result<Pkcs11, Pkcs11Error> {
        let failed = |error: Error| Pkcs11Error::Module {
            path: self.path.clone(),
            problem: error.to_string(),
        };
        let context = Pkcs11::new(&self.path).map_err(failed)?;
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match context.initialize(arguments) {
            // Another library of this process uses the module too.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(failed(error)),
        }
        *lock(&self.initialised) = Some(Instant::now());
        Ok(context)
    }

    /// Finalises the module, so that the next call initialises it again: many look for tokens then
    /// only. Sessions of all its keys are opened again by their next calls. Does nothing while a
    /// call runs.
    pub(super) fn finalise(&self) {
        let recently =
            lock(&self.initialised).is_some_and(|at| at.elapsed() < REINITIALISE_INTERVAL);
        let keys = self.keys();
        if recently && keys.iter().any(|key| key.works()) {
            return;
        }
        let mut context = match self.context.try_write() {
            Ok(context) => context,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        for key in keys {
            key.close_sessions();
        }
        if let Some(context) = context.take() {
            // If it fails, initialising fails too, or is not needed.
            let _ = context.finalize();
        }
    }

    /// Checks the keys for as long as the process runs: those that have failed every second, others
    /// where they have not signed for a while.
    async fn check_periodically(self: Arc<Self>) {
        let mut tick = interval(CHECK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut checks = JoinSet::new();
        loop {
            tick.tick().await;
            while checks.try_join_next().is_some() {}
            let keys = self.keys().into_iter();
            let due: Vec<Arc<Pkcs11Key>> = keys.filter(|key| key.is_due()).collect();
            // A call that never returns keeps its thread; others may work.
            if due.is_empty() || checks.len() >= MAX_CHECKS {
                continue;
            }
            let (start, before) = (Instant::now(), lock(&self.progress).answered);
            let module = Arc::clone(&self);
            checks.spawn_blocking(move || {
                for key in due {
                    key.check();
                    module.note_answer();
                }
            });
            if timeout(CHECK_TIMEOUT, checks.join_next()).await.is_err() {
                self.note_silence(start, before);
            }
        }
    }

    fn keys(&self) -> Vec<Arc<Pkcs11Key>> {
        lock(&self.keys).iter().filter_map(Weak::upgrade).collect()
    }
}

/// The initialised module, during one call.
pub(super) struct ContextGuard<'a>(RwLockReadGuard<'a, Option<Pkcs11>>);

impl ContextGuard<'_> {
    pub(super) fn get(&self) -> Result<&Pkcs11, Pkcs11Error> {
        // It is initialised while the guard is held.
        let missing = || Pkcs11Error::Device("the module is not initialised".to_owned());
        self.0.as_ref().ok_or_else(missing)
    }
}

/// Threads on which handshakes may wait for a signature of a token, bounded in number. All other
/// threads of the program go on meanwhile, however slow the token is.
#[derive(Clone)]
pub struct HandshakeThreads(pub(super) Arc<Module>);

impl HandshakeThreads {
    /// Runs a handshake there. Sockets and timers that it opens belong to the runtime of the
    /// caller, and dropping the returned future drops the handshake.
    ///
    /// Cost: two changes of threads whenever the peer's next bytes arrive.
    pub async fn run<F>(&self, handshake: F) -> Result<F::Output, JoinError>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let handshake = TokioContext::new(handshake, Handle::current());
        AbortOnDropHandle::new(self.0.runtime.spawn(handshake)).await
    }
}

/// Runs a handshake on those threads if there are any, and otherwise here.
pub async fn shake_hands<F>(
    threads: Option<&HandshakeThreads>,
    handshake: F,
) -> Result<F::Output, JoinError>
where
    F: Future<Output: Send> + Send + 'static,
{
    match threads {
        None => Ok(handshake.await),
        Some(threads) => Box::pin(threads.run(handshake)).await,
    }
}

impl fmt::Debug for HandshakeThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HandshakeThreads")
            .field(&self.0.path)
            .finish()
    }
}

/// Locks. A panic while a lock is held leaves no value half written.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
