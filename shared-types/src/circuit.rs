//! Circuit breaker: a peer that is down is left alone for a while. The caller passes the time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Rules for when the circuit of a failing peer opens, and for how long.
///
/// *Closed*: every call goes out. After so many failures in a row it *opens*: calls fail at once.
/// When the pause is over, it is *half open*: one call goes out and all others still fail at once.
/// If that one is answered, the circuit closes; if not, it opens for twice as long.
///
/// A failure is a sign that the peer is down: no connection, a broken one, no answer in time,
/// 502, 503 or 504. Any other response, even a refusal, shows that it is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row after which the circuit opens. Default: 5.
    pub failures: u32,
    /// Time for which it is open the first time. Default: 10 s.
    pub pause: Duration,
    /// Longest time for which it is open, also where the peer's `Retry-After` is longer. Default: 5
    /// min.
    pub longest_pause: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 5,
            pause: Duration::from_secs(10),
            longest_pause: Duration::from_mins(5),
        }
    }
}

/// The circuit to one peer; `C` is the cause of an outage.
#[derive(Debug)]
pub struct Circuit<C> {
    rules: Breaker,
    state: Mutex<State<C>>,
}

#[derive(Debug)]
enum State<C> {
    Closed { failures: u32 },
    Open(Rest<C>),
    HalfOpen(Rest<C>),
}

#[derive(Debug)]
struct Rest<C> {
    since: DateTime<Utc>,
    pause: Duration,
    /// The last failure.
    cause: C,
}

impl<C> Rest<C> {
    fn until(&self) -> DateTime<Utc> {
        TimeDelta::from_std(self.pause)
            .ok()
            .and_then(|pause| self.since.checked_add_signed(pause))
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// A clock that was put back does not prolong it.
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        now < self.since || now >= self.until()
    }
}

/// A sign that the peer is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage<C> {
    /// The cause, which calls report while the circuit is open.
    pub cause: C,
    /// Time for which the peer wants to be left alone; zero if it named none.
    pub retry_after: Duration,
}

/// Rejection of a call: the circuit is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitOpen<C> {
    /// End of the pause.
    pub until: DateTime<Utc>,
    /// The last failure.
    pub cause: C,
}

/// Change of the circuit's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Calls fail at once until then.
    Opened {
        /// End of the pause.
        until: DateTime<Utc>,
    },
    /// Calls go out again.
    Closed,
}

/// Permit for one call. Dropped without an outcome, the call was given up by its caller: nothing
/// was learnt, and the next may probe.
#[derive(Debug)]
pub struct CircuitPermit<'a, C: Clone> {
    circuit: &'a Circuit<C>,
    probe: bool,
    recorded: bool,
}

impl<C: Clone> Circuit<C> {
    /// A closed circuit with these rules.
    #[must_use]
    pub const fn new(rules: Breaker) -> Self {
        Self {
            rules,
            state: Mutex::new(State::Closed { failures: 0 }),
        }
    }

    /// Admits a call, or fails at once.
    pub fn admit(&self, now: DateTime<Utc>) -> Result<CircuitPermit<'_, C>, CircuitOpen<C>> {
        let mut state = self.state();
        let probe = match &mut *state {
            State::Closed { .. } => false,
            State::Open(rest) if rest.is_over(now) => {
                *state = State::HalfOpen(Rest {
                    since: now,
                    pause: rest.pause,
                    cause: rest.cause.clone(),
                });
                true
            }
            State::Open(rest) | State::HalfOpen(rest) => {
                return Err(CircuitOpen {
                    until: rest.until(),
                    cause: rest.cause.clone(),
                });
            }
        };
        drop(state);
        Ok(CircuitPermit {
            circuit: self,
            probe,
            recorded: false,
        })
    }

    fn record(&self, probe: bool, outage: Option<Outage<C>>, now: DateTime<Utc>) -> Option<Change> {
        let mut state = self.state();
        let Some(outage) = outage else {
            let was_closed = matches!(*state, State::Closed { .. });
            *state = State::Closed { failures: 0 };
            return (!was_closed).then_some(Change::Closed);
        };
        let pause = match &mut *state {
            State::Closed { failures } => {
                *failures = failures.saturating_add(1);
                if *failures < self.rules.failures {
                    return None;
                }
                self.rules.pause
            }
            State::HalfOpen(rest) if probe => rest.pause.saturating_mul(2),
            // A call that began before the circuit opened is ignored.
            State::Open(_) | State::HalfOpen(_) => return None,
        };
        let rest = Rest {
            since: now,
            pause: pause.max(outage.retry_after).min(self.rules.longest_pause),
            cause: outage.cause,
        };
        let until = rest.until();
        *state = State::Open(rest);
        Some(Change::Opened { until })
    }

    fn abandon_probe(&self) {
        let mut state = self.state();
        if let State::HalfOpen(rest) = &*state {
            *state = State::Open(Rest {
                // Long over.
                since: DateTime::<Utc>::MIN_UTC,
                pause: rest.pause,
                cause: rest.cause.clone(),
            });
        }
    }

    /// The state is replaced whole: none of it is half done.
    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clone> CircuitPermit<'_, C> {
    /// Whether this call finds out if a peer that was down is up again.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.probe
    }

    /// Records the outcome of the call: an outage, or none.
    pub fn record(mut self, outage: Option<Outage<C>>, now: DateTime<Utc>) -> Option<Change> {
        self.recorded = true;
        self.circuit.record(self.probe, outage, now)
    }
}

impl<C: Clone> Drop for CircuitPermit<'_, C> {
    fn drop(&mut self) {
        if self.probe && !self.recorded {
            self.circuit.abandon_probe();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Breaker = Breaker {
        failures: 3,
        pause: Duration::from_secs(10),
        longest_pause: Duration::from_secs(35),
    };

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    const RESET: Option<Outage<&str>> = Some(Outage {
        cause: "reset",
        retry_after: Duration::ZERO,
    });

    /// A circuit that has just opened, at second 0.
    fn open() -> Circuit<&'static str> {
        let circuit = Circuit::new(RULES);
        for _ in 0..2 {
            assert_eq!(circuit.admit(at(0)).unwrap().record(RESET, at(0)), None);
        }
        assert_eq!(
            circuit.admit(at(0)).unwrap().record(RESET, at(0)),
            Some(Change::Opened { until: at(10) })
        );
        circuit
    }

    fn refused(circuit: &Circuit<&'static str>, now: i64) -> DateTime<Utc> {
        let CircuitOpen { until, cause } = circuit.admit(at(now)).unwrap_err();
        assert_eq!(cause, "reset");
        until
    }

    fn probe<'a>(circuit: &'a Circuit<&'static str>, now: i64) -> CircuitPermit<'a, &'static str> {
        let permit = circuit.admit(at(now)).unwrap();
        assert!(permit.is_probe(), "{now}");
        permit
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_only_then() {
        let circuit = Circuit::new(RULES);
        for outage in [RESET, RESET, None, RESET] {
            let permit = circuit.admit(at(0)).unwrap();
            assert!(!permit.is_probe());
            assert_eq!(permit.record(outage, at(0)), None);
        }
        assert_eq!(refused(&open(), 0), at(10));
        assert_eq!(refused(&open(), 9), at(10));
    }

    #[test]
    fn one_probe_goes_through_and_its_answer_closes() {
        let circuit = open();
        let permit = probe(&circuit, 10);
        refused(&circuit, 10);
        refused(&circuit, 30);
        assert_eq!(permit.record(None, at(31)), Some(Change::Closed));
        assert!(!circuit.admit(at(31)).unwrap().is_probe());
    }

    #[test]
    fn the_pause_grows_to_its_limit_and_starts_anew() {
        let circuit = open();
        for (now, until) in [(10, 30), (30, 65), (65, 100)] {
            let change = probe(&circuit, now).record(RESET, at(now));
            assert_eq!(change, Some(Change::Opened { until: at(until) }), "{now}");
        }
        probe(&circuit, 100).record(None, at(100));
        for _ in 0..2 {
            circuit.admit(at(100)).unwrap().record(RESET, at(100));
        }
        assert_eq!(
            circuit.admit(at(100)).unwrap().record(RESET, at(100)),
            Some(Change::Opened { until: at(110) })
        );
    }

    #[test]
    fn the_peers_wish_prolongs_the_pause_up_to_the_limit() {
        for (wait, pause) in [(5, 10), (20, 20), (1000, 35)] {
            let circuit = Circuit::new(Breaker {
                failures: 1,
                ..RULES
            });
            let change = circuit.admit(at(0)).unwrap();
            let outage = Outage {
                cause: "busy",
                retry_after: Duration::from_secs(wait),
            };
            let change = change.record(Some(outage), at(0));
            assert_eq!(change, Some(Change::Opened { until: at(pause) }));
        }
    }

    #[test]
    fn an_earlier_call_changes_nothing_unless_it_is_answered() {
        let circuit = Circuit::new(RULES);
        let [early, late] = [(); 2].map(|()| circuit.admit(at(0)).unwrap());
        for _ in 0..RULES.failures {
            circuit.admit(at(0)).unwrap().record(RESET, at(0));
        }
        assert_eq!(early.record(RESET, at(5)), None);
        assert_eq!(refused(&circuit, 9), at(10));
        let _probe = probe(&circuit, 10);
        assert_eq!(late.record(None, at(11)), Some(Change::Closed));
    }

    #[test]
    fn a_probe_that_was_given_up_leaves_its_place_to_the_next() {
        let circuit = open();
        let given_up = probe(&circuit, 10);
        refused(&circuit, 10);
        drop(given_up);
        probe(&circuit, 10).record(None, at(10));
        drop(circuit.admit(at(10)).unwrap());
        assert!(!circuit.admit(at(10)).unwrap().is_probe());
    }

    #[test]
    fn a_clock_that_is_put_back_does_not_keep_it_open() {
        probe(&open(), -1);
    }
}
