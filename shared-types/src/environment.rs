//! Time and chance, as parameters.
//!
//! Whatever expires, renews or is limited takes a [`Clock`]; whatever makes up an id or a key takes
//! a [`Randomness`]. The two implementations for the real world are here, and nothing else in the
//! workspace reads the system's clock or random source: clippy refuses it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rustls_pki_types::UnixTime;
use uuid::Uuid;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The time of this moment.
    fn now(&self) -> DateTime<Utc>;

    /// The time since a fixed moment in the past, as [`uptime`] returns it: it does not change when
    /// the clock is set.
    fn uptime(&self) -> Duration {
        uptime()
    }

    /// Whether the clock is moved by hand, for tests. Such a clock is not compared with clocks of
    /// other machines.
    fn is_manual(&self) -> bool {
        false
    }

    /// The same, as certificates count it.
    fn unix(&self) -> UnixTime {
        unix(self.now())
    }
}

/// A time, as certificates count it: in seconds since 1970. Before that, nothing of ours was valid.
#[must_use]
pub fn unix(time: DateTime<Utc>) -> UnixTime {
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

/// The time since the machine was started. It does not change when the clock is set, and on Linux
/// (`CLOCK_BOOTTIME`) it includes the time in which the machine was suspended; `std::time::Instant`
/// stands still then.
///
/// On other systems: since the first call, as `Instant` counts.
#[must_use]
pub fn uptime() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    }
    #[cfg(not(target_os = "linux"))]
    {
        static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        FIRST.get_or_init(std::time::Instant::now).elapsed()
    }
}

/// A clock that is moved by hand, for tests.
#[derive(Debug)]
pub struct ManualClock(Mutex<Manual>);

#[derive(Debug, Clone, Copy)]
struct Manual {
    now: DateTime<Utc>,
    uptime: Duration,
}

impl ManualClock {
    /// A clock that stands at that time.
    #[must_use]
    pub const fn at(time: DateTime<Utc>) -> Self {
        Self(Mutex::new(Manual {
            now: time,
            uptime: Duration::ZERO,
        }))
    }

    /// Lets time pass. With a negative duration, sets the clock back.
    pub fn advance(&self, by: TimeDelta) {
        let mut clock = self.lock();
        clock.now += by;
        clock.uptime += by.to_std().unwrap_or_default();
    }

    /// Sets the clock forward or back by that duration. No time passes.
    pub fn step(&self, by: TimeDelta) {
        self.lock().now += by;
    }

    fn lock(&self) -> MutexGuard<'_, Manual> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        self.lock().now
    }

    fn uptime(&self) -> Duration {
        self.lock().uptime
    }

    fn is_manual(&self) -> bool {
        true
    }
}

/// A source of chance.
pub trait Randomness: Send + Sync + 'static {
    /// Sixteen unpredictable bytes.
    fn bytes(&self) -> [u8; 16];

    /// An unpredictable id (RFC 9562, version 4).
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The system's own count of the time since its start, suspensions included.
    #[cfg(target_os = "linux")]
    #[test]
    fn uptime_is_what_the_system_says() {
        let system = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            let seconds = text.split(' ').next().unwrap();
            Duration::from_secs_f64(seconds.parse().unwrap())
        };
        let hundredth = Duration::from_millis(10);
        let (before, uptime, after) = (system(), uptime(), system());
        assert!(before <= uptime + hundredth, "{before:?} {uptime:?}");
        assert!(uptime <= after + hundredth, "{uptime:?} {after:?}");
    }

    #[test]
    fn a_manual_clock_that_is_set_has_seen_no_time_pass() {
        let clock = ManualClock::at(DateTime::UNIX_EPOCH);
        clock.advance(TimeDelta::hours(1));
        clock.step(TimeDelta::days(1));
        assert_eq!(clock.uptime(), Duration::from_hours(1));
        assert_eq!(clock.now(), DateTime::UNIX_EPOCH + TimeDelta::hours(25));
        clock.step(TimeDelta::days(-2));
        assert_eq!(clock.uptime(), Duration::from_hours(1));
    }
}
