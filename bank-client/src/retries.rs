//! Retry rules: pure functions without clock, randomness or connection.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::error::ErrorKind;

/// Maximum wait that a bank's `Retry-After` can cause.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// Rules by which a call is repeated. [`BankBuilder::retries`](crate::BankBuilder::retries)
/// takes them; without them, each call is sent once.
///
/// Repeated is only what failed on the way or was answered "not now": no connection, a broken one,
/// an attempt that took too long, 502, 503 and 504, and 429 or `ACCESS_EXCEEDED` if it says when to
/// come back. A refusal is never repeated: not one within TLS, on either side, nor any other
/// status, nor an answer that is malformed or leads elsewhere. Each repetition carries the
/// `X-Request-ID` of the first attempt, so that the bank carries it out once (NextGenPSD2, "Request
/// Header").
///
/// Between attempts passes a random time that may be twice as long after each ("full jitter":
/// clients that failed at the same moment do not come back at the same moment). If the bank sent
/// `Retry-After`, that time passes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Attempts in all, the first one included. Default: 3.
    pub attempts: u32,
    /// The longest pause after the first attempt. Default: 250 ms.
    pub first_pause: Duration,
    /// Maximum pause, except for a longer `Retry-After` of the bank. Default: 5 s.
    pub longest_pause: Duration,
    /// For all attempts of a call and the pauses between them.
    /// [`Limits::call`](crate::Limits::call) is the limit of one attempt. Default: 60 s.
    pub overall: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 3,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(5),
            overall: Duration::from_mins(1),
        }
    }
}

impl Retries {
    /// Time to wait before the next attempt, if there is to be one.
    ///
    /// `made` attempts failed, the last one in that way; `left` is what remains of the time for the
    /// whole call; `chance` is any number, each as likely as any other.
    pub(crate) fn pause(
        &self,
        made: u32,
        kind: &ErrorKind,
        left: Duration,
        chance: u64,
    ) -> Option<Duration> {
        if made >= self.attempts || !may_repeat(kind) {
            return None;
        }
        let pause = fraction(self.ceiling(made), chance);
        let pause = kind.retry_after().unwrap_or_default().checked_add(pause)?;
        // An attempt that would have no time left is not worth the wait.
        (pause < left).then_some(pause)
    }

    /// The longest random pause after so many attempts.
    fn ceiling(&self, made: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(made.saturating_sub(1));
        self.first_pause
            .saturating_mul(doubled)
            .min(self.longest_pause)
    }
}

/// Whether a request that failed in that way may be sent again.
fn may_repeat(kind: &ErrorKind) -> bool {
    kind.is_outage() || kind.is_too_often() && kind.retry_after().is_some()
}

/// That part of a duration which `chance` is of the greatest number.
fn fraction(whole: Duration, chance: u64) -> Duration {
    let nanos = (whole.as_nanos() * u128::from(chance)) >> 64;
    u64::try_from(nanos).map_or(whole, Duration::from_nanos)
}

/// Time that a bank wants us to wait (RFC 9110, section 10.2.3): in seconds, or until a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        // More digits than a number holds are a long time, too.
        value.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs)
    } else {
        // A date in the past means no wait.
        (http_date(value)? - now).to_std().unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// A date in one of the three forms that a recipient must understand (RFC 9110, section 5.6.7).
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    const FORMS: [&str; 3] = [
        "%a, %d %b %Y %H:%M:%S GMT",
        "%A, %d-%b-%y %H:%M:%S GMT",
        "%a %b %e %H:%M:%S %Y",
    ];
    FORMS
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;
    use shared_types::pki::alert::Alert;
    use uuid::Uuid;

    use super::*;

    const RULES: Retries = Retries {
        attempts: 4,
        first_pause: Duration::from_millis(100),
        longest_pause: Duration::from_millis(300),
        overall: Duration::from_secs(10),
    };
    const ALL_THE_TIME: Duration = Duration::from_secs(10);

    fn status(status: u16, retry_after: Option<u64>) -> ErrorKind {
        ErrorKind::Status {
            status,
            request_id: Uuid::nil(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    fn refused(status: u16) -> ErrorKind {
        ErrorKind::Refused {
            status,
            messages: Vec::new(),
            request_id: Uuid::nil(),
            retry_after: None,
        }
    }

    fn cause() -> String {
        "reset".to_owned()
    }

    #[test]
    fn only_what_may_succeed_is_repeated() {
        let again = [
            ErrorKind::Timeout {
                limit: ALL_THE_TIME,
            },
            ErrorKind::Unreachable { cause: cause() },
            ErrorKind::Interrupted { cause: cause() },
            status(502, None),
            status(503, None),
            status(504, Some(1)),
            refused(503),
            status(429, Some(1)),
        ];
        for kind in again {
            assert!(RULES.pause(1, &kind, ALL_THE_TIME, 0).is_some(), "{kind:?}");
        }
        let exceeded = |status, retry_after| {
            let message = serde_json::json!({ "category": "ERROR", "code": "ACCESS_EXCEEDED" });
            ErrorKind::Refused {
                status,
                messages: vec![serde_json::from_value(message).unwrap()],
                request_id: Uuid::nil(),
                retry_after,
            }
        };
        for status in [400, 401, 403, 429] {
            let wait = Some(Duration::from_secs(1));
            for (wait, repeated) in [(wait, true), (None, false)] {
                let pause = RULES.pause(1, &exceeded(status, wait), ALL_THE_TIME, 0);
                assert_eq!(pause.is_some(), repeated, "{status}");
            }
        }
        let never = [
            status(429, None),
            refused(429),
            status(400, Some(1)),
            status(401, Some(1)),
            status(403, None),
            status(404, None),
            status(500, Some(1)),
            status(501, None),
            ErrorKind::TheyRefused { alert: Alert(42) },
            ErrorKind::Malformed {
                path: ".".into(),
                reason: String::new(),
            },
            ErrorKind::Redirect { location: cause() },
            ErrorKind::ForeignLink { link: cause() },
            ErrorKind::TooLarge { limit: 1 },
            ErrorKind::TooMany { limit: 1 },
            ErrorKind::TooManyPages { limit: 1 },
            ErrorKind::Encoded { encoding: cause() },
            ErrorKind::PageLoop,
            ErrorKind::Unsendable {
                part: cause(),
                reason: cause(),
            },
            ErrorKind::CircuitOpen {
                until: DateTime::UNIX_EPOCH,
                cause: Box::new(ErrorKind::PageLoop),
            },
        ];
        for kind in never {
            assert_eq!(RULES.pause(1, &kind, ALL_THE_TIME, 0), None, "{kind:?}");
        }
    }

    #[test]
    fn pauses_grow_to_their_limit_and_attempts_end() {
        let broken = ErrorKind::Interrupted { cause: cause() };
        let half = 1 << 63;
        for (made, millis) in [(1, 50), (2, 100), (3, 150)] {
            let pause = RULES.pause(made, &broken, ALL_THE_TIME, half);
            assert_eq!(pause, Some(Duration::from_millis(millis)), "{made}");
        }
        assert_eq!(RULES.pause(4, &broken, ALL_THE_TIME, half), None);
        let once = Retries {
            attempts: 1,
            ..RULES
        };
        assert_eq!(once.pause(1, &broken, ALL_THE_TIME, 0), None);
    }

    #[test]
    fn what_the_bank_asks_for_is_waited_for_if_there_is_time() {
        let kind = status(429, Some(2));
        let pause = RULES.pause(1, &kind, ALL_THE_TIME, 1 << 63).unwrap();
        assert_eq!(pause, Duration::from_millis(2050));
        assert_eq!(RULES.pause(1, &kind, pause, 1 << 63), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_more_than_a_day() {
        let now = DateTime::from_timestamp(784_111_717, 0).unwrap();
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(60)),
            ("Sun Nov  6 08:49:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:48:00 GMT", Some(0)),
            ("86401", Some(86_400)),
            ("99999999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 2094 08:49:37 GMT", None),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(86_400)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            assert_eq!(
                retry_after(&headers, now),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    proptest! {
        #[test]
        fn a_pause_keeps_within_its_bounds(made in 1_u32..60, chance: u64, left in 0_u64..20, wait in 0_u64..20) {
            let rules = Retries { attempts: 100, ..RULES };
            let (left, wait) = (Duration::from_secs(left), Duration::from_secs(wait));
            if let Some(pause) = rules.pause(made, &status(503, Some(wait.as_secs())), left, chance) {
                prop_assert!(wait <= pause && pause < left && pause <= wait + rules.longest_pause);
            }
        }

        #[test]
        fn no_retry_after_panics(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.insert(RETRY_AFTER, value);
            }
            let _ = retry_after(&headers, DateTime::UNIX_EPOCH);
        }
    }
}
