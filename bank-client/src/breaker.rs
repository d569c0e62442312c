//! Circuit breaker: a pure state machine; the caller passes the time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::ErrorKind;

/// Rules for when the circuit of a failing bank opens, and for how long.
/// [`BankBuilder::breaker`](crate::BankBuilder::breaker) takes it; the clones of a handle share
/// one. A handle that was given none always asks.
///
/// *Closed*: every call goes out. After so many failures in a row it *opens*: calls fail at once
/// with [`ErrorKind::CircuitOpen`]. When the pause is over, it is *half open*: one call goes out
/// and all others still fail at once. If that one is answered, the circuit closes; if not, it opens
/// for twice as long.
///
/// A failure is a sign that the bank is down: no connection, a broken one, no answer in time,
/// 502, 503 or 504. Any other response, even a refusal, shows that it is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row after which the circuit opens. Default: 5.
    pub failures: u32,
    /// Time for which it is open the first time. Default: 10 s.
    pub pause: Duration,
    /// Longest time for which it is open, also where the bank's `Retry-After` is longer. Default: 5
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

/// The circuit to one bank.
#[derive(Debug)]
pub(crate) struct Circuit {
    rules: Breaker,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open(Rest),
    HalfOpen(Rest),
}

#[derive(Debug)]
struct Rest {
    since: DateTime<Utc>,
    pause: Duration,
    /// The last failure.
    cause: ErrorKind,
}

impl Rest {
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

/// Leave to ask the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The bank is well, as far as we know.
    Ordinary,
    /// It is asked whether it is well again.
    Probe,
}

/// Change of the circuit's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Opened { until: DateTime<Utc> },
    Closed,
}

impl Circuit {
    pub(crate) fn new(rules: Breaker) -> Self {
        Self {
            rules,
            state: State::Closed { failures: 0 },
        }
    }

    /// Admits a request, or fails with the error to return instead.
    pub(crate) fn admit(&mut self, now: DateTime<Utc>) -> Result<Leave, ErrorKind> {
        match &mut self.state {
            State::Closed { .. } => Ok(Leave::Ordinary),
            State::Open(rest) if rest.is_over(now) => {
                let rest = Rest {
                    since: now,
                    pause: rest.pause,
                    cause: rest.cause.clone(),
                };
                self.state = State::HalfOpen(rest);
                Ok(Leave::Probe)
            }
            State::Open(rest) | State::HalfOpen(rest) => Err(ErrorKind::CircuitOpen {
                until: rest.until(),
                cause: Box::new(rest.cause.clone()),
            }),
        }
    }

    /// Takes note of how a call ended that had leave. `failure` is how it failed, if it did.
    pub(crate) fn note(
        &mut self,
        leave: Leave,
        failure: Option<&ErrorKind>,
        now: DateTime<Utc>,
    ) -> Option<Change> {
        let Some(failure) = failure.filter(|kind| kind.is_outage()) else {
            let was_closed = matches!(self.state, State::Closed { .. });
            self.state = State::Closed { failures: 0 };
            return (!was_closed).then_some(Change::Closed);
        };
        let pause = match &mut self.state {
            State::Closed { failures } => {
                *failures = failures.saturating_add(1);
                if *failures < self.rules.failures {
                    return None;
                }
                self.rules.pause
            }
            State::HalfOpen(rest) if leave == Leave::Probe => rest.pause.saturating_mul(2),
            // A call that began before the circuit opened is ignored.
            State::Open(_) | State::HalfOpen(_) => return None,
        };
        let asked_for = failure.retry_after().unwrap_or_default();
        let rest = Rest {
            since: now,
            pause: pause.max(asked_for).min(self.rules.longest_pause),
            cause: failure.clone(),
        };
        let until = rest.until();
        self.state = State::Open(rest);
        Some(Change::Opened { until })
    }

    /// Takes note that a call with leave was given up by its caller: nothing was learnt, and the
    /// next may ask.
    pub(crate) fn abandon(&mut self, leave: Leave) {
        if leave == Leave::Probe
            && let State::HalfOpen(rest) = &self.state
        {
            self.state = State::Open(Rest {
                // Long over.
                since: DateTime::<Utc>::MIN_UTC,
                pause: rest.pause,
                cause: rest.cause.clone(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const RULES: Breaker = Breaker {
        failures: 3,
        pause: Duration::from_secs(10),
        longest_pause: Duration::from_secs(35),
    };

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn broken() -> ErrorKind {
        ErrorKind::Interrupted {
            cause: "reset".into(),
        }
    }

    fn status(status: u16, retry_after: Option<u64>) -> ErrorKind {
        ErrorKind::Status {
            status,
            request_id: Uuid::nil(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    /// A circuit that has just opened, at second 0.
    fn open() -> Circuit {
        let mut circuit = Circuit::new(RULES);
        for _ in 0..2 {
            assert_eq!(circuit.note(Leave::Ordinary, Some(&broken()), at(0)), None);
        }
        assert_eq!(
            circuit.note(Leave::Ordinary, Some(&broken()), at(0)),
            Some(Change::Opened { until: at(10) })
        );
        circuit
    }

    fn refused(circuit: &mut Circuit, now: i64) -> DateTime<Utc> {
        match circuit.admit(at(now)) {
            Err(ErrorKind::CircuitOpen { until, cause }) => {
                assert_eq!(*cause, broken());
                until
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_only_then() {
        let mut circuit = Circuit::new(RULES);
        for failure in [
            Some(broken()),
            Some(status(502, None)),
            None,
            Some(broken()),
        ] {
            assert_eq!(circuit.admit(at(0)), Ok(Leave::Ordinary));
            assert_eq!(circuit.note(Leave::Ordinary, failure.as_ref(), at(0)), None);
        }
        // Each of these is an answer.
        for code in [400, 401, 403, 404, 429, 500] {
            for _ in 0..RULES.failures {
                circuit.note(Leave::Ordinary, Some(&status(code, None)), at(0));
            }
            assert_eq!(circuit.admit(at(0)), Ok(Leave::Ordinary), "{code}");
        }
        assert_eq!(refused(&mut open(), 0), at(10));
        assert_eq!(refused(&mut open(), 9), at(10));
    }

    #[test]
    fn one_probe_goes_through_and_its_answer_closes() {
        let mut circuit = open();
        assert_eq!(circuit.admit(at(10)), Ok(Leave::Probe));
        refused(&mut circuit, 10);
        refused(&mut circuit, 30);
        let change = circuit.note(Leave::Probe, Some(&status(403, None)), at(31));
        assert_eq!(change, Some(Change::Closed));
        assert_eq!(circuit.admit(at(31)), Ok(Leave::Ordinary));
    }

    #[test]
    fn the_pause_grows_to_its_limit_and_starts_anew() {
        let mut circuit = open();
        for (now, until) in [(10, 30), (30, 65), (65, 100)] {
            assert_eq!(circuit.admit(at(now)), Ok(Leave::Probe), "{now}");
            let change = circuit.note(Leave::Probe, Some(&broken()), at(now));
            assert_eq!(change, Some(Change::Opened { until: at(until) }), "{now}");
        }
        assert_eq!(circuit.admit(at(100)), Ok(Leave::Probe));
        circuit.note(Leave::Probe, None, at(100));
        for _ in 0..2 {
            circuit.note(Leave::Ordinary, Some(&broken()), at(100));
        }
        assert_eq!(
            circuit.note(Leave::Ordinary, Some(&broken()), at(100)),
            Some(Change::Opened { until: at(110) })
        );
    }

    #[test]
    fn what_the_bank_asks_for_is_kept_to_up_to_the_limit() {
        for (wait, pause) in [(5, 10), (20, 20), (1000, 35)] {
            let mut circuit = Circuit::new(Breaker {
                failures: 1,
                ..RULES
            });
            let change = circuit.note(Leave::Ordinary, Some(&status(503, Some(wait))), at(0));
            assert_eq!(change, Some(Change::Opened { until: at(pause) }));
        }
    }

    #[test]
    fn calls_from_before_say_nothing_new_unless_they_are_answered() {
        let mut circuit = open();
        assert_eq!(circuit.note(Leave::Ordinary, Some(&broken()), at(5)), None);
        assert_eq!(refused(&mut circuit, 9), at(10));
        assert_eq!(circuit.admit(at(10)), Ok(Leave::Probe));
        assert_eq!(circuit.note(Leave::Ordinary, Some(&broken()), at(11)), None);
        refused(&mut circuit, 11);
        assert_eq!(
            circuit.note(Leave::Ordinary, None, at(11)),
            Some(Change::Closed)
        );
    }

    #[test]
    fn a_probe_that_was_given_up_leaves_its_place_to_the_next() {
        let mut circuit = open();
        assert_eq!(circuit.admit(at(10)), Ok(Leave::Probe));
        circuit.abandon(Leave::Ordinary);
        refused(&mut circuit, 10);
        circuit.abandon(Leave::Probe);
        assert_eq!(circuit.admit(at(10)), Ok(Leave::Probe));
        circuit.note(Leave::Probe, None, at(10));
        circuit.abandon(Leave::Probe);
        assert_eq!(circuit.admit(at(10)), Ok(Leave::Ordinary));
    }

    #[test]
    fn a_clock_that_is_put_back_does_not_keep_it_open() {
        assert_eq!(open().admit(at(-1)), Ok(Leave::Probe));
    }
}
