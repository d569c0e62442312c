//! Password hashing with argon2id (RFC 9106).
//!
//! The server checks as many passwords at a time as the machine has cores, and one more that is
//! reserved for known devices, so that log-ins from unknown devices do not keep them waiting.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use prometheus_client::metrics::gauge::Gauge;
use shared_types::environment::Randomness;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::{Result, ScaError};
use crate::telemetry::gauge_guard::GaugeGuard;

/// Minimum and maximum length of a password, in UTF-16 code units, which the `maxlength` of a form
/// counts as well (HTML, 4.10.5.3.1): any password that can be enrolled can be entered. The maximum
/// limits the work of hashing.
pub const PASSWORD_LENGTH: RangeInclusive<usize> = 8..=200;

/// Whether it is longer than any password.
pub(super) fn is_too_long(password: &str) -> bool {
    password.encode_utf16().count() > *PASSWORD_LENGTH.end()
}

/// Timeout in the queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Hashes and checks passwords.
#[derive(Clone)]
pub struct Passwords {
    permits: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    waiting: Gauge,
    randomness: Arc<dyn Randomness>,
}

/// Permit to verify one password and to record the outcome. Released when the last clone is
/// dropped.
#[derive(Debug, Clone)]
pub(super) struct HashingPermit(
    #[expect(dead_code, reason = "for its drop")] Arc<OwnedSemaphorePermit>,
);

/// Rule that a password violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error(
        "a password has from {} to {} characters, as forms count them (UTF-16 code units)",
        PASSWORD_LENGTH.start(),
        PASSWORD_LENGTH.end()
    )]
    Length,
    /// It holds a character that cannot be entered in a form.
    #[error("a password has no control characters")]
    Control,
    /// The library failed.
    #[error("the password could not be hashed")]
    Library,
}

/// OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

impl Passwords {
    /// A hasher with salts from that source.
    #[must_use]
    pub fn new(randomness: Arc<dyn Randomness>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
        Self {
            permits: Arc::new(Semaphore::new(cores)),
            reserved: Arc::new(Semaphore::new(1)),
            waiting: Gauge::default(),
            randomness,
        }
    }

    /// Hash of a password, as a PHC string. It takes tens of milliseconds of the calling thread.
    pub fn hash(&self, password: &str) -> Result<String, PasswordError> {
        if !PASSWORD_LENGTH.contains(&password.encode_utf16().count()) {
            return Err(PasswordError::Length);
        }
        if password.contains(char::is_control) {
            return Err(PasswordError::Control);
        }
        let hash: Result<PasswordHash, _> =
            argon2().hash_password_with_salt(password.as_bytes(), &self.randomness.bytes());
        hash.map(|hash| hash.to_string())
            .map_err(|_| PasswordError::Library)
    }

    /// Number of queued passwords.
    pub(super) fn waiting(&self) -> &Gauge {
        &self.waiting
    }

    /// Acquires a permit to verify a password. Fails after a timeout.
    pub(super) async fn turn(&self, from_known_device: bool) -> Result<HashingPermit> {
        let _waiting = GaugeGuard::among(&self.waiting);
        let turn = tokio::time::timeout(QUEUE_TIMEOUT, self.acquire(from_known_device)).await;
        match turn {
            Ok(Ok(turn)) => Ok(HashingPermit(Arc::new(turn))),
            Ok(Err(_)) | Err(_) => Err(ScaError::Busy),
        }
    }

    /// One of the general permits; a known device takes the reserved one if none of these is free.
    async fn acquire(&self, from_known_device: bool) -> Result<OwnedSemaphorePermit, AcquireError> {
        let general = Arc::clone(&self.permits).acquire_owned();
        if !from_known_device {
            return general.await;
        }
        tokio::select! {
            biased;
            turn = general => turn,
            turn = Arc::clone(&self.reserved).acquire_owned() => turn,
        }
    }

    /// Whether the password has that hash. Without a hash, the same work is done.
    pub(super) async fn check(
        &self,
        password: &str,
        known: Option<String>,
        turn: HashingPermit,
    ) -> Result<bool> {
        let (password, salt) = (password.to_owned(), self.randomness.bytes());
        let checked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let Some(known) = known else {
                let wasted: Result<PasswordHash, _> =
                    argon2().hash_password_with_salt(password.as_bytes(), &salt);
                drop(wasted);
                return false;
            };
            PasswordHash::new(&known)
                .is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok())
        });
        checked.await.map_err(|_| ScaError::Busy)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use shared_types::environment::SystemRandomness;

    use super::*;

    #[tokio::test]
    async fn known_devices_have_all_turns_and_one_more() {
        let passwords = Passwords::new(Arc::new(SystemRandomness));
        let all = passwords.permits.available_permits();
        let mut turns = Vec::new();
        for _ in 0..=all {
            turns.push(passwords.turn(true).now_or_never().unwrap().unwrap());
        }
        assert!(passwords.turn(true).now_or_never().is_none());
        assert!(passwords.turn(false).now_or_never().is_none());
        turns.clear();
        // Unknown devices take the shared turns, but not the reserved one.
        for _ in 0..all {
            turns.push(passwords.turn(false).now_or_never().unwrap().unwrap());
        }
        assert!(passwords.turn(false).now_or_never().is_none());
        let reserved = passwords.turn(true).now_or_never().unwrap().unwrap();
        // While the reserved turn is taken, the next free turn goes to a known device as well.
        let waiting = passwords.turn(true);
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        turns.pop();
        assert!(waiting.now_or_never().is_some());
        drop(reserved);
    }

    #[tokio::test]
    async fn the_right_password_and_no_other() {
        let passwords = Passwords::new(Arc::new(SystemRandomness));
        let hash = passwords.hash("correct horse").unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert_ne!(
            hash,
            passwords.hash("correct horse").unwrap(),
            "a salt of its own"
        );
        let check = async |password: &str, known: Option<String>| {
            let turn = passwords.turn(false).await.unwrap();
            passwords.check(password, known, turn).await.unwrap()
        };
        assert!(check("correct horse", Some(hash.clone())).await);
        assert!(!check("correct hors", Some(hash)).await);
        assert!(!check("correct horse", None).await);
        assert!(!check("correct horse", Some("no hash".to_owned())).await);
        assert_eq!(passwords.hash("short"), Err(PasswordError::Length));
        assert_eq!(
            passwords.hash("correct\0horse"),
            Err(PasswordError::Control)
        );
    }

    #[test]
    fn a_password_is_as_long_as_a_form_takes() {
        let passwords = Passwords::new(Arc::new(SystemRandomness));
        // A form counts an emoji twice, and a letter with an accent once.
        for (letter, most) in [("x", 200), ("ä", 200), ("€", 200), ("😀", 100)] {
            assert!(passwords.hash(&letter.repeat(most)).is_ok(), "{letter}");
            let longer = passwords.hash(&letter.repeat(most + 1));
            assert_eq!(longer, Err(PasswordError::Length), "{letter}");
            assert!(!is_too_long(&letter.repeat(most)));
            assert!(is_too_long(&letter.repeat(most + 1)));
        }
    }
}
