//! Time and chance, as parameters.
//!
//! Whatever expires, renews or is limited takes a [`Clock`]; whatever makes up an id or a key takes a [`Randomness`]. The
//! two implementations for the real world are here, and nothing else in the workspace reads the system's clock or random
//! source: clippy refuses it.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rustls_pki_types::UnixTime;
use uuid::Uuid;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The time of this moment.
    fn now(&self) -> DateTime<Utc>;

    /// The same, as certificates count it.
    fn unix(&self) -> UnixTime {
        unix(self.now())
    }
}

/// A time, as certificates count it: in seconds since 1970. Before that, nothing of ours was valid.
pub(crate) fn unix(time: DateTime<Utc>) -> UnixTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    fn now(&self) -> DateTime<Utc> {
        std::time::SystemTime::now().into()
    }
}

/// A clock that is moved by hand, for tests.
#[derive(Debug)]
pub struct ManualClock(Mutex<DateTime<Utc>>);

impl ManualClock {
    /// A clock that stands at that time.
    #[must_use]
    pub const fn at(time: DateTime<Utc>) -> Self {
        Self(Mutex::new(time))
    }

    /// Moves it on, or back.
    pub fn advance(&self, by: TimeDelta) {
        let mut time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *time += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source of chance.
pub trait Randomness: Send + Sync + 'static {
    /// Sixteen bytes that nobody can foresee.
    fn bytes(&self) -> [u8; 16];

    /// An id that nobody can foresee (RFC 9562, version 4).
    fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid()
    }
}

/// The system's random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's random source"
    )]
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        if getrandom::fill(&mut bytes).is_err() {
            // Without chance no id is safe, and no key of any TLS connection either: nothing can go on.
            std::process::abort();
        }
        bytes
    }
}
