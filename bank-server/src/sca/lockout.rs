//! Rate limits for guesses at passwords and codes.
//!
//! Five failures in a row cause no wait; each further attempt waits half a minute, doubling up to
//! an hour. Failures are counted by customer and source: a device that the customer has used
//! before, the browsers of one network, each TPP. An attacker who tries a customer's password thus
//! slows down strangers on the attacker's network, not the customer. An attacker who guesses at a
//! code already has the password: these failures are also counted for the customer over all sources
//! that the customer has not used before (Delegated Regulation (EU) 2018/389, Art. 4(3)(b)).
//!
//! A source from which the secrets of many customers are tried, a network or a TPP, is limited as
//! such: fifty failures an hour. Customers' own devices, and customers who have authenticated
//! through that TPP before, do not count there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use shared_types::pki::eidas::OrganisationId;
use sqlx::FromRow;
use sqlx::any::AnyRow;
use tokio::sync::OwnedMutexGuard;

use super::{Result, ScaError, Source};
use crate::calendar::Calendar;
use crate::domain::PsuId;
use crate::keyed_locks::KeyedLocks;
use crate::store::columns::Columns;
use crate::store::vault::Vault;
use crate::store::{AdvisoryLock, Database, StoreError, WriteTransaction};

/// Failures in a row after which the next attempt waits.
const FREE: i64 = 5;

/// Failures of unknown customers through one TPP, or of one network, in an hour.
const STRANGERS: i64 = 50;

/// Time after which one of them is forgotten.
const DECAY: TimeDelta = TimeDelta::seconds(3600 / STRANGERS);

/// Time without an attempt after which all failures are forgotten. A stored time that is farther
/// ahead than this is ignored.
const MEMORY: TimeDelta = TimeDelta::hours(24);

/// Failure counter for one kind of secret.
pub(super) struct Lockout {
    kind: Kind,
    database: Database,
    vault: Vault,
    calendar: Calendar,
    turns: KeyedLocks,
}

/// Kind of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Password,
    /// A guess at it requires the password.
    Code,
}

impl Kind {
    const fn purpose(self) -> &'static str {
        match self {
            Self::Password => "failed-password",
            Self::Code => "failed-code",
        }
    }
}

/// An attempt that counts as a failure, until it is settled.
#[must_use]
pub(super) struct Attempt<'a> {
    psu: &'a PsuId,
    source: Source<'a>,
    counted: Vec<Counted>,
}

/// Bucket that an attempt counts in, and its state before.
struct Counted {
    bucket: String,
    measure: Measure,
    stored: Option<Tally>,
    before: Tally,
}

/// Number of failures, and the time of the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tally {
    failed: i64,
    last: DateTime<Utc>,
}

/// Method of counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// Failures in a row: each further attempt waits longer.
    InARow,
    /// Failures over time: they are forgotten one by one.
    OverTime,
}

impl Tally {
    /// The failures that are left at that time.
    ///
    /// A clock that was ahead may have written them: then the last failure counts as one of now, so
    /// that no wait is longer than its own length. If that clock was ahead by more than a day,
    /// counting starts anew.
    fn at(self, measure: Measure, now: DateTime<Utc>) -> Self {
        let last = self.last.min(now);
        let forgotten = match measure {
            _ if self.last - now > MEMORY => self.failed,
            Measure::InARow if now - last > MEMORY => self.failed,
            Measure::InARow => 0,
            Measure::OverTime => (now - last).num_seconds() / DECAY.num_seconds(),
        };
        if forgotten >= self.failed {
            return Self {
                failed: 0,
                last: now,
            };
        }
        Self {
            failed: self.failed - forgotten,
            // Time that counts towards forgetting the next failure is kept.
            last: last + DECAY * i32::try_from(forgotten).unwrap_or(i32::MAX),
        }
    }

    /// When the next attempt is possible.
    fn until(self, measure: Measure) -> DateTime<Utc> {
        match measure {
            Measure::InARow => self.last + pause(self.failed),
            Measure::OverTime => {
                let over = i32::try_from(self.failed - STRANGERS + 1).unwrap_or(i32::MAX);
                self.last + DECAY * over.max(0)
            }
        }
    }

    /// With one more failure, now.
    fn with_one_more(self, measure: Measure, now: DateTime<Utc>) -> Self {
        Self {
            failed: self.failed + 1,
            last: match measure {
                Measure::InARow => now,
                Measure::OverTime => self.last,
            },
        }
    }
}

/// Wait after a number of failures in a row.
fn pause(failed: i64) -> TimeDelta {
    if failed < FREE {
        return TimeDelta::zero();
    }
    let doublings = u32::try_from(failed - FREE).unwrap_or(u32::MAX).min(7);
    TimeDelta::seconds(30 * 2_i64.pow(doublings)).min(TimeDelta::hours(1))
}

impl Lockout {
    pub(super) fn new(kind: Kind, database: Database, vault: Vault, calendar: Calendar) -> Self {
        Self {
            kind,
            database,
            vault,
            calendar,
            turns: KeyedLocks::default(),
        }
    }

    /// Locks out other attempts of that customer from that source: each attempt counts as failed
    /// until it has succeeded, and parallel right ones would lock each other out.
    pub(super) async fn turn(&self, psu: &PsuId, source: Source<'_>) -> OwnedMutexGuard<()> {
        let own = self.own_bucket(&origin(source), psu);
        self.turns.lock(&own).await
    }

    /// Counts an attempt as a failure until it is settled. Fails while the customer has to wait.
    pub(super) async fn attempt<'a>(
        &self,
        psu: &'a PsuId,
        source: Source<'a>,
    ) -> Result<Attempt<'a>> {
        let now = self.calendar.now();
        let buckets = self.buckets(psu, source).await?;
        let mut transaction = self.database.begin_write().await?;
        let mut counted = Vec::with_capacity(buckets.len());
        for (bucket, measure) in buckets {
            transaction.take(AdvisoryLock::Attempts(&bucket)).await?;
            let stored: Option<Tally> =
                sqlx::query_as("SELECT failed, last FROM failure WHERE bucket = $1")
                    .bind(&bucket)
                    .fetch_optional(&mut *transaction)
                    .await?;
            let none = Tally {
                failed: 0,
                last: now,
            };
            counted.push(Counted {
                bucket,
                measure,
                stored,
                before: stored.map_or(none, |tally| tally.at(measure, now)),
            });
        }
        let until = counted.iter().map(|one| one.before.until(one.measure));
        let locked = until.max().filter(|until| now < *until);
        for one in &counted {
            let is_from_the_future = one.stored.is_some_and(|stored| stored.last > now);
            match locked {
                None => {
                    let after = one.before.with_one_more(one.measure, now);
                    write(&mut transaction, &one.bucket, after).await?;
                }
                // The wait runs from now.
                Some(_) if is_from_the_future => {
                    write(&mut transaction, &one.bucket, one.before).await?;
                }
                Some(_) => {}
            }
        }
        transaction.commit().await?;
        match locked {
            Some(until) => Err(ScaError::Locked { until }),
            None => Ok(Attempt {
                psu,
                source,
                counted,
            }),
        }
    }

    /// Settles a right attempt: ends the row of failures, and records the customer as known to the
    /// TPP.
    pub(super) async fn succeeded(&self, attempt: Attempt<'_>) -> Result<()> {
        let counted = attempt.counted.into_iter();
        let buckets = counted.map(|one| (one.bucket, one.measure)).collect();
        self.settle_in(buckets, attempt.psu, attempt.source).await
    }

    /// Settles an earlier attempt that was right: ends the row of failures of that customer from
    /// that source.
    pub(super) async fn settle(&self, psu: &PsuId, source: Source<'_>) -> Result<()> {
        let buckets = self.buckets(psu, source).await?;
        self.settle_in(buckets, psu, source).await
    }

    async fn settle_in(
        &self,
        buckets: Vec<(String, Measure)>,
        psu: &PsuId,
        source: Source<'_>,
    ) -> Result<()> {
        for (bucket, measure) in buckets {
            // Over time, other failures than the attempt's own stay counted.
            let statement = match measure {
                Measure::InARow => "DELETE FROM failure WHERE bucket = $1",
                Measure::OverTime => {
                    "UPDATE failure SET failed = failed - 1 WHERE bucket = $1 AND failed > 0"
                }
            };
            let settle = sqlx::query(statement).bind(bucket);
            settle.execute(self.database.pool()).await?;
        }
        if let Source::Tpp(tpp) = source {
            let known = sqlx::query(
                "INSERT INTO acquainted (stamp, since) VALUES ($1, $2) \
                 ON CONFLICT (stamp) DO NOTHING",
            );
            known
                .bind(self.acquaintance(psu, tpp))
                .bind(self.calendar.now().timestamp())
                .execute(self.database.pool())
                .await?;
        }
        Ok(())
    }

    /// Reverts an attempt that was no guess.
    pub(super) async fn forgive(&self, attempt: Attempt<'_>) -> Result<()> {
        for one in &attempt.counted {
            // Restores the time of the previous failure, unless other failures were counted since.
            sqlx::query(
                "UPDATE failure SET failed = failed - 1, \
                 last = CASE WHEN failed - 1 = $2 THEN $3 ELSE last END \
                 WHERE bucket = $1 AND failed > 0",
            )
            .bind(&one.bucket)
            .bind(one.before.failed)
            .bind(one.before.last.timestamp())
            .execute(self.database.pool())
            .await?;
        }
        Ok(())
    }

    /// The buckets that an attempt counts in. The customer's own come first, so that no two
    /// transactions deadlock.
    async fn buckets(
        &self,
        psu: &PsuId,
        source: Source<'_>,
    ) -> Result<Vec<(String, Measure)>, StoreError> {
        let from = origin(source);
        let mut buckets = vec![(self.own_bucket(&from, psu), Measure::InARow)];
        let is_known = match source {
            Source::Device(_) => true,
            Source::Browser(_) => false,
            Source::Tpp(tpp) => self.is_acquainted(psu, tpp).await?,
        };
        if !is_known {
            if self.kind == Kind::Code {
                let of_strangers = self.stamp(&format!("strangers\n{}", psu.0));
                buckets.push((of_strangers, Measure::InARow));
            }
            let of_all_customers = self.stamp(&format!("strangers:{from}"));
            buckets.push((of_all_customers, Measure::OverTime));
        }
        Ok(buckets)
    }

    fn own_bucket(&self, from: &str, psu: &PsuId) -> String {
        self.stamp(&format!("{from}\n{}", psu.0))
    }

    async fn is_acquainted(&self, psu: &PsuId, tpp: &OrganisationId) -> Result<bool, StoreError> {
        let known = sqlx::query("SELECT 1 AS known FROM acquainted WHERE stamp = $1")
            .bind(self.acquaintance(psu, tpp))
            .fetch_optional(self.database.pool())
            .await?;
        Ok(known.is_some())
    }

    fn acquaintance(&self, psu: &PsuId, tpp: &OrganisationId) -> String {
        self.stamp(&format!("acquainted:{tpp}\n{}", psu.0))
    }

    /// Names are keyed digests: the table does not reveal the customers.
    fn stamp(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.vault.mac(self.kind.purpose(), text.as_bytes()))
    }
}

/// The name of a source: a device, a network, or a TPP.
pub(super) fn origin(source: Source<'_>) -> String {
    match source {
        Source::Device(id) => format!("device:{id}"),
        Source::Browser(address) => format!("network:{}", network(address)),
        Source::Tpp(tpp) => format!("tpp:{tpp}"),
    }
}

/// The network of an address, as large as a provider gives one customer: 24 bits of IPv4, 56 of
/// IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8))),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 72)))
        }
    }
}

impl FromRow<'_, AnyRow> for Tally {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Columns::of("failure", row);
        Ok(Self {
            failed: row.get("failed")?,
            last: row.get("last")?,
        })
    }
}

async fn write(
    transaction: &mut WriteTransaction,
    bucket: &str,
    tally: Tally,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO failure (bucket, failed, last) VALUES ($1, $2, $3) \
         ON CONFLICT (bucket) DO UPDATE SET failed = excluded.failed, last = excluded.last",
    )
    .bind(bucket)
    .bind(tally.failed)
    .bind(tally.last.timestamp())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono_tz::Tz;
    use shared_types::environment::{Clock, ManualClock, SystemRandomness};

    use super::*;

    #[test]
    fn pauses_grow_to_an_hour_and_no_further() {
        let seconds: Vec<i64> = (0..16).map(|failed| pause(failed).num_seconds()).collect();
        assert_eq!(
            seconds,
            [
                0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600
            ]
        );
        assert_eq!(pause(i64::MAX), TimeDelta::hours(1));
    }

    async fn scene() -> (tempfile::TempDir, Arc<ManualClock>, Lockout) {
        scene_of(Kind::Password).await
    }

    async fn scene_of(kind: Kind) -> (tempfile::TempDir, Arc<ManualClock>, Lockout) {
        let (database, folder) = crate::store::tests::database().await;
        let clock = Arc::new(ManualClock::at("2026-11-24T12:00:00Z".parse().unwrap()));
        let vault = Vault::new(&[7; 32], Arc::new(SystemRandomness)).unwrap();
        let calendar = Calendar::new(Arc::clone(&clock) as Arc<dyn Clock>, Tz::UTC);
        let lockout = Lockout::new(kind, database, vault, calendar);
        (folder, clock, lockout)
    }

    fn psu(name: &str) -> PsuId {
        PsuId(name.to_owned())
    }

    fn from(address: &str) -> Source<'static> {
        Source::Browser(address.parse().unwrap())
    }

    impl Lockout {
        /// An attempt that fails. Returns for how long it has to wait, if it does.
        async fn fail(&self, psu: &PsuId, source: Source<'_>) -> Option<TimeDelta> {
            match self.attempt(psu, source).await {
                Ok(_) => None,
                Err(ScaError::Locked { until }) => Some(until - self.calendar.now()),
                Err(error) => panic!("{error}"),
            }
        }

        async fn succeed(&self, psu: &PsuId, source: Source<'_>) {
            let attempt = self.attempt(psu, source).await.unwrap();
            self.succeeded(attempt).await.unwrap();
        }
    }

    #[test]
    fn networks_are_what_one_customer_of_a_provider_has() {
        for (address, expected) in [
            ("192.0.2.77", "192.0.2.0"),
            ("::ffff:192.0.2.77", "192.0.2.0"),
            ("2001:db8:1:2ff:3:4:5:6", "2001:db8:1:200::"),
        ] {
            assert_eq!(network(address.parse().unwrap()).to_string(), expected);
        }
    }

    #[tokio::test]
    async fn strangers_are_slowed_down_and_known_devices_and_other_networks_are_not() {
        let (_folder, clock, lockout) = scene().await;
        let anna = psu("anna.weber");
        let stranger = async || lockout.fail(&anna, from("192.0.2.1")).await;
        for _ in 0..5 {
            assert_eq!(stranger().await, None);
        }
        assert_eq!(stranger().await, Some(TimeDelta::seconds(30)));
        assert!(
            lockout.fail(&anna, from("192.0.2.200")).await.is_some(),
            "the same network"
        );
        assert_eq!(lockout.fail(&anna, from("198.51.100.1")).await, None);
        assert_eq!(lockout.fail(&anna, Source::Device("hers")).await, None);
        let lucas = psu("lucas.moreau");
        assert_eq!(lockout.fail(&lucas, from("192.0.2.1")).await, None);
        // A refused attempt does not make the pause longer; a failed one does.
        clock.advance(TimeDelta::seconds(30));
        assert_eq!(stranger().await, None);
        clock.advance(TimeDelta::seconds(59));
        assert_eq!(stranger().await, Some(TimeDelta::seconds(1)));
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(stranger().await, None);
        clock.advance(TimeDelta::minutes(2));
        lockout.succeed(&anna, from("192.0.2.1")).await;
        assert_eq!(stranger().await, None);
    }

    #[tokio::test]
    async fn codes_are_guessed_five_times_from_all_networks_together_and_a_known_device_is_spared()
    {
        let (_folder, clock, lockout) = scene_of(Kind::Code).await;
        let (anna, tpp) = (psu("anna.weber"), "PSDDE-BAFIN-125314".parse().unwrap());
        let at_her_tpp = Source::Tpp(&tpp);
        lockout.succeed(&anna, at_her_tpp).await;
        let mut judged = 0;
        for number in 0..60 {
            let network = from(&format!("203.0.{number}.1"));
            judged += i64::from(lockout.fail(&anna, network).await.is_none());
        }
        assert_eq!(judged, FREE);
        // A TPP that the customer has not used counts as one more unknown network.
        let other = "PSDFR-ACPR-11111".parse().unwrap();
        assert!(lockout.fail(&anna, Source::Tpp(&other)).await.is_some());
        assert_eq!(lockout.fail(&anna, Source::Device("hers")).await, None);
        assert_eq!(lockout.fail(&anna, at_her_tpp).await, None);
        // It ends, and with the right code the row does.
        clock.advance(TimeDelta::seconds(30));
        lockout.succeed(&anna, from("192.0.2.1")).await;
        for number in 0..FREE {
            let network = from(&format!("198.51.{number}.1"));
            assert_eq!(lockout.fail(&anna, network).await, None, "{number}");
        }
        assert!(lockout.fail(&anna, from("192.0.2.1")).await.is_some());
    }

    #[tokio::test]
    async fn one_network_has_fifty_failures_an_hour_over_all_customers() {
        let (_folder, clock, lockout) = scene().await;
        let mut judged = 0;
        for number in 0..400 {
            let customer = psu(&format!("customer-{number}"));
            let address = from(&format!("2001:db8:1:2ff::{number:x}"));
            judged += i64::from(lockout.fail(&customer, address).await.is_none());
        }
        assert_eq!(judged, STRANGERS);
        let anna = psu("anna.weber");
        let near = from("2001:db8:1:200::1");
        assert_eq!(lockout.fail(&anna, near).await, Some(DECAY));
        assert_eq!(lockout.fail(&anna, Source::Device("hers")).await, None);
        assert_eq!(lockout.fail(&anna, from("2001:db8:2::1")).await, None);
        clock.advance(DECAY);
        assert_eq!(lockout.fail(&anna, near).await, None);
        assert!(lockout.fail(&psu("another"), near).await.is_some());
    }

    #[tokio::test]
    async fn failures_are_forgotten_while_there_is_traffic() {
        let (_folder, clock, lockout) = scene().await;
        let network = from("192.0.2.1");
        for number in 0..STRANGERS {
            let customer = psu(&format!("customer-{number}"));
            assert_eq!(lockout.fail(&customer, network).await, None);
        }
        clock.advance(DECAY);
        // Customers who log in, and who mistype, less often than failures are forgotten.
        for number in 0..200 {
            clock.advance(TimeDelta::seconds(50));
            lockout.succeed(&psu("anna.weber"), network).await;
            clock.advance(TimeDelta::seconds(50));
            let customer = psu(&format!("mistypes-{number}"));
            assert_eq!(lockout.fail(&customer, network).await, None, "{number}");
        }
        clock.advance(DECAY);
        for number in 0..STRANGERS {
            let customer = psu(&format!("later-{number}"));
            assert_eq!(lockout.fail(&customer, network).await, None, "{number}");
        }
    }

    #[tokio::test]
    async fn what_was_no_guess_costs_no_attempt_and_no_wait() {
        let (_folder, clock, lockout) = scene().await;
        let (anna, hers) = (psu("anna.weber"), Source::Device("hers"));
        let none = async || {
            let attempt = lockout.attempt(&anna, hers).await.unwrap();
            lockout.forgive(attempt).await.unwrap();
        };
        for _ in 0..20 {
            none().await;
        }
        for _ in 0..5 {
            assert_eq!(lockout.fail(&anna, hers).await, None);
        }
        clock.advance(TimeDelta::seconds(30));
        none().await;
        assert_eq!(lockout.fail(&anna, hers).await, None, "the wait is over");
        assert_eq!(
            lockout.fail(&anna, hers).await,
            Some(TimeDelta::minutes(1)),
            "and a wrong one begins the next"
        );
    }

    #[tokio::test]
    async fn of_attempts_at_once_one_that_is_forgiven_takes_no_others_wait_along() {
        let (_folder, clock, lockout) = scene().await;
        let (anna, hers) = (psu("anna.weber"), Source::Device("hers"));
        for _ in 0..4 {
            assert_eq!(lockout.fail(&anna, hers).await, None);
        }
        let slow = lockout.attempt(&anna, hers).await.unwrap();
        clock.advance(TimeDelta::seconds(31));
        assert_eq!(lockout.fail(&anna, hers).await, None);
        lockout.forgive(slow).await.unwrap();
        assert_eq!(
            lockout.fail(&anna, hers).await,
            Some(TimeDelta::seconds(30))
        );
    }

    #[tokio::test]
    async fn what_a_clock_wrote_that_was_ahead_is_of_now_at_the_latest() {
        for (ahead, wait) in [
            (TimeDelta::seconds(50), Some(TimeDelta::seconds(30))),
            (TimeDelta::hours(23), Some(TimeDelta::seconds(30))),
            (TimeDelta::days(30), None),
            (TimeDelta::days(700), None),
        ] {
            let (_folder, clock, lockout) = scene().await;
            let fast = Arc::new(ManualClock::at(clock.now() + ahead));
            let replica = Lockout {
                calendar: Calendar::new(fast, Tz::UTC),
                vault: lockout.vault.clone(),
                database: lockout.database.clone(),
                turns: lockout.turns.clone(),
                ..lockout
            };
            let (anna, network) = (psu("anna.weber"), from("192.0.2.1"));
            for _ in 0..FREE {
                assert_eq!(replica.fail(&anna, network).await, None);
            }
            for number in FREE..STRANGERS {
                let customer = psu(&format!("customer-{number}"));
                assert_eq!(replica.fail(&customer, network).await, None);
            }
            let of_network = wait.map(|_| DECAY);
            let waits = lockout.fail(&anna, network).await;
            assert_eq!(waits, of_network, "{ahead}");
            let other_network = lockout.fail(&psu("lucas"), network).await;
            assert_eq!(other_network, of_network, "{ahead}");
            // The wait runs: it does not begin anew with each attempt.
            clock.advance(DECAY);
            assert_eq!(lockout.fail(&anna, network).await, None, "{ahead}");
        }
    }

    #[tokio::test]
    async fn strangers_through_a_tpp_are_slowed_down_its_customers_are_not_and_it_passes() {
        let (_folder, clock, lockout) = scene().await;
        let tpp = "PSDDE-BAFIN-125314".parse().unwrap();
        let at = Source::Tpp(&tpp);
        let (anna, stranger) = (psu("anna.weber"), psu("one-more"));
        lockout.succeed(&anna, at).await;
        for number in 0..STRANGERS {
            let customer = psu(&format!("customer-{number}"));
            assert_eq!(lockout.fail(&customer, at).await, None);
        }
        assert!(lockout.fail(&stranger, at).await.is_some());
        assert_eq!(lockout.fail(&anna, at).await, None);
        let other = "PSDFR-ACPR-11111".parse().unwrap();
        assert_eq!(lockout.fail(&stranger, Source::Tpp(&other)).await, None);
        // One is forgotten every 72 seconds, whatever came before.
        clock.advance(DECAY);
        assert_eq!(lockout.fail(&stranger, at).await, None);
        assert!(lockout.fail(&psu("another"), at).await.is_some());
        clock.advance(TimeDelta::hours(1));
        for number in 0..STRANGERS {
            let customer = psu(&format!("later-{number}"));
            assert_eq!(lockout.fail(&customer, at).await, None);
        }
    }
}
