//! Time-based one-time codes (RFC 6238: SHA-1, six digits, steps of thirty seconds).
//!
//! A code alone does not identify what it approves. So each time step belongs to one subject: while
//! a code is requested for a subject, the codes of these steps are valid for it and nothing else,
//! and a request for another subject begins with the next step. That holds however the first one
//! ends: a code that was read off for it and never entered, or entered too late, is useless
//! (Delegated Regulation (EU) 2018/389, articles 4(3) and 5). A code is used once, and so are all
//! before it.
//!
//! A request on a known device keeps its steps: an attacker who has stolen the
//! password alone and requests codes all the time does not keep the customer from a code.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use shared_types::xs2a::authorisation::{ChallengeData, OtpFormat};
use sqlx::FromRow;
use sqlx::any::AnyRow;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use totp_rs::{Algorithm, Builder};

use super::{Challenge, Method, Result, ScaError, Source, Subject};
use crate::calendar::Calendar;
use crate::domain::{MethodId, PsuId, TotpSecret};
use crate::store::columns::Columns;
use crate::store::credentials::CustomerCredentials;
use crate::store::{AdvisoryLock, Database};

/// Digits of a code.
pub const DIGITS: u8 = 6;

/// Seconds of a step.
const STEP: i64 = 30;

/// Steps of clock skew that are tolerated.
const SKEW: i64 = 1;

/// Wrong codes after which a challenge ends.
const ATTEMPTS: i64 = 5;

/// Lifetime of a challenge.
const CHALLENGE_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// Seconds ahead beyond which a used step is ignored: a clock that was ahead has written it.
const DAY: i64 = 24 * 60 * 60;

/// Time for which a challenge on a known device keeps its steps.
const HOLD: TimeDelta = TimeDelta::minutes(2);

/// The code that an authenticator with this secret shows at that time, in seconds since 1970.
#[must_use]
pub fn code_at(secret: &TotpSecret, seconds: i64) -> String {
    let totp = Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS)
        .with_step_duration(STEP.unsigned_abs())
        .with_secret(secret.as_bytes().to_vec())
        .build_noncompliant();
    totp.generate(seconds.max(0).unsigned_abs()).to_string()
}

/// Data of the challenge for a code.
pub(crate) fn challenge() -> ChallengeData {
    ChallengeData {
        otp_max_length: Some(DIGITS.into()),
        otp_format: Some(OtpFormat::Integer),
        ..ChallengeData::default()
    }
}

/// Stored state of a customer's codes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Steps {
    /// Subject of the last challenge; `None` once an answer has closed it.
    subject: Option<String>,
    /// Time of the challenge, in seconds since 1970.
    opened: i64,
    /// First step whose code is valid for the subject.
    first: i64,
    /// Codes up to this step have been used, or are spent.
    used: i64,
    /// Wrong codes for this subject.
    wrong: i64,
    /// The challenge was issued to a known device.
    standing: bool,
}

impl Steps {
    fn none() -> Self {
        Self {
            subject: None,
            opened: 0,
            first: 0,
            used: -1,
            wrong: 0,
            standing: false,
        }
    }

    /// The state at that time. A clock that was ahead may have written it: no time is later than
    /// now, so that no code is refused for longer than two steps.
    fn at(self, now: i64) -> Self {
        let latest = now / STEP + SKEW;
        let is_far_ahead = self.used > latest + DAY / STEP;
        Self {
            opened: self.opened.min(now),
            first: self.first.min(latest),
            used: if is_far_ahead {
                Self::none().used
            } else {
                self.used.min(latest)
            },
            ..self
        }
    }

    /// Issues a challenge for `subject`. An open challenge for the same subject stays as it is.
    /// Fails, with the time until which it lasts, if a challenge on a known device keeps its steps.
    fn request(self, subject: &str, standing: bool, now: i64) -> Result<Self, i64> {
        let step = now / STEP;
        let open = self.is_open(now);
        if open && self.subject.as_deref() == Some(subject) {
            return Ok(self);
        }
        let held = self.opened + HOLD.num_seconds();
        if open && self.standing && !standing && now < held {
            return Err(held);
        }
        // An unanswered challenge keeps its steps up to its end.
        let end = now.min(self.opened + CHALLENGE_LIFETIME.num_seconds());
        let first = match self.subject {
            Some(_) => (step - SKEW).max(end / STEP + 1),
            None => step - SKEW,
        };
        Ok(Self {
            subject: Some(subject.to_owned()),
            opened: now,
            first: first.max(self.used + 1),
            used: self.used,
            wrong: 0,
            standing,
        })
    }

    fn is_open(&self, now: i64) -> bool {
        self.subject.is_some() && now - self.opened < CHALLENGE_LIFETIME.num_seconds()
    }

    /// Verifies a code for `subject`, in constant time.
    fn answer(
        mut self,
        subject: &str,
        code: &str,
        secret: &TotpSecret,
        now: i64,
    ) -> (Self, Answer) {
        if !self.is_open(now) || self.subject.as_deref() != Some(subject) {
            return (self, Answer::NotAsked);
        }
        let (mut matching, mut taken) = (-1_i64, Choice::from(0));
        for step in now / STEP - SKEW..=now / STEP + SKEW {
            let right = code_at(secret, step * STEP)
                .as_bytes()
                .ct_eq(code.as_bytes());
            let in_turn = Choice::from(u8::from(step >= self.first && step > self.used));
            matching.conditional_assign(&step, right & in_turn);
            taken |= right & !in_turn;
        }
        if matching < 0 && bool::from(taken) {
            return (self, Answer::Taken);
        }
        if matching < 0 {
            self.wrong += 1;
            let left = ATTEMPTS - self.wrong;
            if left <= 0 {
                self.subject = None;
                self.used = self.used.max(now / STEP);
            }
            return (self, Answer::Wrong { left });
        }
        self.used = matching;
        self.subject = None;
        (self, Answer::Right)
    }
}

impl FromRow<'_, AnyRow> for Steps {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Columns::of("code", row);
        Ok(Self {
            subject: row.get("subject")?,
            opened: row.get("opened")?,
            first: row.get("first_step")?,
            used: row.get("used_step")?,
            wrong: row.get("wrong")?,
            standing: row.get("standing")?,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Right,
    Wrong {
        left: i64,
    },
    /// The code was used, or belongs to another subject: it is no guess.
    Taken,
    NotAsked,
}

/// Digits of a code as people enter it: `123 456`. Fails for a malformed code, which is no guess.
pub(super) fn digits(answer: &str) -> Result<String> {
    let code: String = answer
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .take(64)
        .collect();
    if code.len() != usize::from(DIGITS) || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ScaError::NotACode);
    }
    Ok(code)
}

/// TOTP as an SCA method.
pub struct Totp {
    credentials: CustomerCredentials,
    database: Database,
    calendar: Calendar,
}

impl Totp {
    pub(super) fn new(
        credentials: CustomerCredentials,
        database: Database,
        calendar: Calendar,
    ) -> Self {
        Self {
            credentials,
            database,
            calendar,
        }
    }

    /// Reads the state, changes it, and writes it, in one transaction.
    async fn change<T>(
        &self,
        psu: &PsuId,
        now: i64,
        change: impl FnOnce(Steps) -> (Steps, T),
    ) -> Result<T> {
        let mut transaction = self.database.begin_write().await?;
        transaction.take(AdvisoryLock::Codes(psu)).await?;
        let before: Option<Steps> = sqlx::query_as(
            "SELECT subject, opened, first_step, used_step, wrong, standing FROM code \
             WHERE psu = $1",
        )
        .bind(&psu.0)
        .fetch_optional(&mut *transaction)
        .await?;
        let (after, outcome) = change(before.unwrap_or_else(Steps::none).at(now));
        sqlx::query(
            "INSERT INTO code (psu, subject, opened, first_step, used_step, wrong, standing) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (psu) DO UPDATE SET subject = excluded.subject, opened = excluded.opened, \
             first_step = excluded.first_step, used_step = excluded.used_step, wrong = excluded.wrong, standing = excluded.standing",
        )
        .bind(&psu.0)
        .bind(after.subject)
        .bind(after.opened)
        .bind(after.first)
        .bind(after.used)
        .bind(after.wrong)
        .bind(i64::from(after.standing))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(outcome)
    }
}

#[async_trait]
impl Method for Totp {
    fn id(&self) -> MethodId {
        MethodId::Totp
    }

    async fn is_enrolled(&self, psu: &PsuId) -> Result<bool> {
        Ok(self.credentials.secret(psu).await?.is_some())
    }

    async fn challenge(
        &self,
        psu: &PsuId,
        subject: &Subject,
        source: Source<'_>,
    ) -> Result<Challenge> {
        let now = self.calendar.now().timestamp();
        let standing = matches!(source, Source::Device(_));
        let asked = self.change(psu, now, |steps| {
            let before = steps.clone();
            match steps.request(subject.as_str(), standing, now) {
                Ok(after) => (after, None),
                Err(until) => (before, Some(until)),
            }
        });
        match asked
            .await?
            .and_then(|until| DateTime::from_timestamp(until, 0))
        {
            Some(until) => Err(ScaError::AskedElsewhere { until }),
            None => Ok(Challenge::Code(challenge())),
        }
    }

    async fn check(&self, psu: &PsuId, subject: &Subject, answer: &str) -> Result<()> {
        let secret = self
            .credentials
            .secret(psu)
            .await?
            .ok_or(ScaError::NoSuchMethod)?;
        let now = self.calendar.now().timestamp();
        match self
            .change(psu, now, |steps| {
                steps.answer(subject.as_str(), answer, &secret, now)
            })
            .await?
        {
            Answer::Right => Ok(()),
            Answer::Wrong { left } => Err(ScaError::WrongAnswer {
                attempts_left: u32::try_from(left).unwrap_or(0),
            }),
            Answer::Taken => Err(ScaError::Taken),
            Answer::NotAsked => Err(ScaError::NoChallenge),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of RFC 6238, appendix B.
    fn secret() -> TotpSecret {
        TotpSecret::new(*b"12345678901234567890")
    }

    const NOW: i64 = 1_764_000_000;

    fn code(step_from_now: i64) -> String {
        code_at(&secret(), NOW + step_from_now * STEP)
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        // Appendix B has eight digits; six are the last six of them.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_at(&secret(), seconds), code);
        }
    }

    #[test]
    fn a_code_is_used_once_and_so_are_those_before_it() {
        let asked = Steps::none().request("x", false, NOW).unwrap();
        let (used, answer) = asked.answer("x", &code(0), &secret(), NOW);
        assert_eq!(answer, Answer::Right);
        let again = used.request("y", false, NOW).unwrap();
        for old in [code(0), code(-1)] {
            assert_eq!(
                again.clone().answer("y", &old, &secret(), NOW).1,
                Answer::Taken
            );
        }
        assert_eq!(again.answer("y", &code(1), &secret(), NOW).1, Answer::Right);
    }

    #[test]
    fn a_code_for_one_thing_is_no_good_for_another() {
        let asked = Steps::none().request("x", false, NOW).unwrap();
        assert_eq!(
            asked.clone().answer("y", &code(0), &secret(), NOW).1,
            Answer::NotAsked
        );
        // A code for another subject is requested while the customer reads the first code: that
        // step, and those before it, stay with the first subject.
        let other = asked.request("y", false, NOW + 5).unwrap();
        for taken in [code(-1), code(0)] {
            assert_eq!(
                other.clone().answer("y", &taken, &secret(), NOW + 5).1,
                Answer::Taken
            );
        }
        assert_eq!(
            other.clone().answer("x", &code(0), &secret(), NOW + 5).1,
            Answer::NotAsked
        );
        assert_eq!(
            other.answer("y", &code(1), &secret(), NOW + 31).1,
            Answer::Right
        );
    }

    #[test]
    fn what_a_known_device_asked_for_keeps_its_place() {
        let hers = Steps::none().request("hers", true, NOW).unwrap();
        let until = NOW + HOLD.num_seconds();
        assert_eq!(
            hers.clone().request("a thief's", false, NOW + 5),
            Err(until)
        );
        assert!(
            hers.clone().request("a thief's", false, until).is_ok(),
            "not for good"
        );
        assert_eq!(
            hers.answer("hers", &code(0), &secret(), NOW).1,
            Answer::Right
        );
        let thiefs = Steps::none().request("a thief's", false, NOW).unwrap();
        assert!(thiefs.request("hers", true, NOW + 5).is_ok());
    }

    #[test]
    fn what_a_clock_wrote_that_was_ahead_keeps_no_code_from_its_customer() {
        for ahead in [60, DAY / 2, 30 * DAY, 700 * DAY] {
            let then = NOW + ahead;
            let asked = Steps::none().request("hers", true, then).unwrap();
            let code_then = code_at(&secret(), then);
            let (used, answer) = asked.clone().answer("hers", &code_then, &secret(), then);
            assert_eq!(answer, Answer::Right);
            // A code that was used by that clock can be unusable by this one for a step; the next
            // one is valid.
            let again = used.at(NOW).request("x", false, NOW).unwrap();
            let (_, answer) = again.answer("x", &code(2), &secret(), NOW + 60);
            assert_eq!(answer, Answer::Right, "{ahead}");
            // A request made by that clock keeps its place from now, and can be answered.
            let asked = asked.at(NOW);
            let until = NOW + HOLD.num_seconds();
            assert_eq!(asked.clone().request("x", false, NOW), Err(until));
            let (_, answer) = asked.answer("hers", &code(1), &secret(), NOW + STEP);
            assert_eq!(answer, Answer::Right, "{ahead}");
        }
    }

    #[test]
    fn a_code_is_read_with_its_spaces_and_nothing_else_is_one() {
        assert_eq!(digits(" 123 456 ").ok().as_deref(), Some("123456"));
        for none in ["", "12345", "1234567", "12345a", "\u{661}23456", "-12345"] {
            assert!(matches!(digits(none), Err(ScaError::NotACode)), "{none}");
        }
    }

    #[test]
    fn clocks_may_be_off_by_one_step_and_no_more() {
        for (step, answer) in [
            (-2, Answer::Wrong { left: 4 }),
            (-1, Answer::Right),
            (0, Answer::Right),
            (1, Answer::Right),
            (2, Answer::Wrong { left: 4 }),
        ] {
            let asked = Steps::none().request("x", false, NOW).unwrap();
            assert_eq!(
                asked.answer("x", &code(step), &secret(), NOW).1,
                answer,
                "{step}"
            );
        }
    }

    #[test]
    fn five_wrong_codes_end_it_and_so_do_ten_minutes() {
        let mut steps = Steps::none().request("x", false, NOW).unwrap();
        for left in (0..5).rev() {
            let (after, answer) = steps.answer("x", "000000", &secret(), NOW);
            assert_eq!(answer, Answer::Wrong { left });
            steps = after;
        }
        assert_eq!(
            steps.answer("x", &code(0), &secret(), NOW).1,
            Answer::NotAsked
        );
        let late = NOW + CHALLENGE_LIFETIME.num_seconds();
        let asked = Steps::none().request("x", false, NOW).unwrap();
        assert_eq!(
            asked.answer("x", &code(20), &secret(), late).1,
            Answer::NotAsked
        );
    }

    #[test]
    fn codes_read_for_what_ended_unanswered_are_good_for_nothing_else() {
        let asked = Steps::none().request("x", false, NOW).unwrap();
        let wrong = |mut steps: Steps| {
            for _ in 0..ATTEMPTS {
                steps = steps.answer("x", "000000", &secret(), NOW).0;
            }
            steps
        };
        let lapsed = NOW + CHALLENGE_LIFETIME.num_seconds();
        // How it ends, when something else is asked for, and which of its codes the customer can
        // have read.
        for (name, ended, now) in [
            ("five wrong", wrong(asked.clone()), NOW),
            ("lapsed", asked.clone(), lapsed),
            ("lapsed a moment ago", asked, lapsed + STEP - 1),
        ] {
            for subject in ["y", "x"] {
                let next = ended.clone().request(subject, true, now).unwrap();
                for step in [-1, 0] {
                    let read = code_at(&secret(), (now.min(lapsed) / STEP + step) * STEP);
                    let (_, answer) = next.clone().answer(subject, &read, &secret(), now);
                    assert_eq!(answer, Answer::Taken, "{name} {subject} {step}");
                }
                let later = (now.min(lapsed) / STEP + 1) * STEP;
                let fresh = code_at(&secret(), later);
                let (_, answer) = next.answer(subject, &fresh, &secret(), later);
                assert_eq!(answer, Answer::Right, "{name} {subject}");
            }
        }
    }

    #[test]
    fn secrets_have_a_form_for_people() {
        // RFC 6238's secret, in base32.
        assert_eq!(secret().to_base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        for wrong in [
            "",
            "GEZD",
            "gezdgnbvgy3tqojqgezdgnbvgy3tqojq",
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ1",
        ] {
            assert!(wrong.parse::<TotpSecret>().is_err(), "{wrong}");
        }
        assert_eq!(format!("{:?}", secret()), "<secret>");
    }

    proptest! {
        #[test]
        fn base32_reads_what_it_writes(bytes: [u8; 20]) {
            let secret = TotpSecret::new(bytes);
            prop_assert_eq!(secret.to_base32().parse::<TotpSecret>(), Ok(secret));
        }

        /// Whatever is asked for, answered wrongly, given up or forgotten before: a code that was
        /// shown while something else waited for its answer is not right.
        #[test]
        fn a_code_shown_for_one_thing_is_never_right_for_another(
            moves in prop::collection::vec((0_usize..3, 0_i64..700, 0_usize..4), 1..40),
        ) {
            const THINGS: [&str; 3] = ["x", "y", "z"];
            let (mut steps, mut now) = (Steps::none(), NOW);
            // When which thing was waited for.
            let mut waited: Vec<(&str, i64, i64)> = Vec::new();
            let mut open: Option<(&str, i64)> = None;
            for (thing, pause, act) in moves {
                now += if act == 3 { pause } else { pause % 20 };
                let thing = THINGS[thing];
                let end = |since: i64| now.min(since + CHALLENGE_LIFETIME.num_seconds());
                if act == 0 {
                    let was_open = open.filter(|(other, since)| *other == thing && now < since + CHALLENGE_LIFETIME.num_seconds());
                    steps = steps.request(thing, true, now).unwrap();
                    if was_open.is_none() {
                        waited.extend(open.map(|(other, since)| (other, since, end(since))));
                        open = Some((thing, now));
                    }
                    continue;
                }
                let code = if act == 1 { "000000".to_owned() } else { code_at(&secret(), now) };
                let (after, answer) = steps.answer(thing, &code, &secret(), now);
                steps = after;
                match answer {
                    Answer::Right => {
                        let foreign = waited.iter().any(|(other, since, end)| {
                            *other != thing && since / STEP <= now / STEP && now / STEP <= end / STEP
                        });
                        prop_assert!(!foreign, "{thing} at {now}: {waited:?}");
                        open = None;
                    }
                    Answer::Wrong { left: 0 } => {
                        waited.extend(open.take().map(|(other, since)| (other, since, end(since))));
                    }
                    _ => {}
                }
            }
        }

        #[test]
        fn no_answer_panics_and_only_the_code_is_right(answer in "\\PC{0,12}", now in 0_i64..4_000_000_000) {
            let (_, outcome) = Steps::none().request("x", false, now).unwrap().answer("x", &answer, &secret(), now);
            let known = (-1..=1).any(|step| code_at(&secret(), now + step * STEP) == answer);
            prop_assert_eq!(outcome == Answer::Right, known);
        }
    }
}
