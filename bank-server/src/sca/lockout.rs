//! How often a password, or a code, may be tried.
//!
//! After five wrong ones in a row each further attempt has to wait: half a minute, doubling up to an hour. What is counted
//! together is one customer's attempts from one source: a device that she has used before, the browsers of one network,
//! each TPP. Somebody who tries her password over and over slows down a network of strangers, and nobody else; and an hour
//! is the end of it.
//!
//! A TPP through which many customers' secrets are tried is slowed down as such: fifty wrong ones an hour. Customers who
//! have proved themselves through it before are not: what strangers do there is nothing of theirs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use shared_types::eidas::OrganisationId;
use sqlx::Row as _;

use super::{ScaError, Source};
use crate::calendar::Calendar;
use crate::core_banking::PsuId;
use crate::store::vault::Vault;
use crate::store::{Database, StoreError, Turn, Write};

/// Attempts that nobody has to wait for.
const FREE: i64 = 5;

/// Wrong attempts of all strangers through one TPP, in an hour.
const STRANGERS: i64 = 50;

/// How long it takes until one of them is forgotten.
const DECAY: TimeDelta = TimeDelta::seconds(3600 / STRANGERS);

/// After that long without an attempt, all is forgotten.
const MEMORY: TimeDelta = TimeDelta::hours(24);

/// Counts the failures of one kind of secret.
pub(super) struct Lockout {
    kind: &'static str,
    database: Database,
    vault: Vault,
    calendar: Calendar,
}

/// What is remembered of a source: so many failures, the last of them then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tally {
    failed: i64,
    last: DateTime<Utc>,
}

/// What counts how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// Failures in a row: each further one has to wait longer.
    InARow,
    /// So many failures in a time; they are forgotten one by one.
    OverTime,
}

impl Tally {
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
    fn and_now(self, measure: Measure, now: DateTime<Utc>) -> Self {
        let kept = match measure {
            Measure::InARow => self.failed,
            Measure::OverTime => {
                let forgotten = (now - self.last).num_seconds() / DECAY.num_seconds();
                (self.failed - forgotten).max(0)
            }
        };
        Self {
            failed: kept + 1,
            last: now,
        }
    }
}

/// How long after the last of so many failures in a row the next attempt has to wait.
fn pause(failed: i64) -> TimeDelta {
    if failed < FREE {
        return TimeDelta::zero();
    }
    let doublings = u32::try_from(failed - FREE).unwrap_or(u32::MAX).min(7);
    TimeDelta::seconds(30 * 2_i64.pow(doublings)).min(TimeDelta::hours(1))
}

impl Lockout {
    pub(super) fn new(
        kind: &'static str,
        database: Database,
        vault: Vault,
        calendar: Calendar,
    ) -> Self {
        Self {
            kind,
            database,
            vault,
            calendar,
        }
    }

    /// Counts an attempt as failed, until it has succeeded; or says how long it has to wait.
    pub(super) async fn attempt(&self, psu: &PsuId, source: Source<'_>) -> Result<(), ScaError> {
        let now = self.calendar.now();
        let buckets = self.buckets(psu, source).await?;
        let mut transaction = self.database.begin_write().await?;
        for (bucket, measure) in buckets {
            transaction.take(Turn::Attempts(&bucket)).await?;
            let before = tally(&mut transaction, &bucket).await?;
            let remembered = before.filter(|tally| now - tally.last <= MEMORY);
            let before = remembered.unwrap_or(Tally {
                failed: 0,
                last: now,
            });
            let until = before.until(measure);
            if now < until {
                return Err(ScaError::Locked { until });
            }
            let after = before.and_now(measure, now);
            sqlx::query(
                "INSERT INTO failure (bucket, failed, last) VALUES ($1, $2, $3) \
                 ON CONFLICT (bucket) DO UPDATE SET failed = excluded.failed, last = excluded.last",
            )
            .bind(bucket)
            .bind(after.failed)
            .bind(after.last.timestamp())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Forgets the failures of that source, and remembers a customer of a TPP.
    pub(super) async fn succeeded(&self, psu: &PsuId, source: Source<'_>) -> Result<(), ScaError> {
        self.forgive(psu, source).await?;
        sqlx::query("DELETE FROM failure WHERE bucket = $1")
            .bind(self.own_bucket(psu, source))
            .execute(self.database.pool())
            .await?;
        if let Source::Tpp(tpp) = source {
            sqlx::query("INSERT INTO acquainted (stamp, since) VALUES ($1, $2) ON CONFLICT (stamp) DO NOTHING")
                .bind(self.acquaintance(psu, tpp))
                .bind(self.calendar.now().timestamp())
                .execute(self.database.pool())
                .await?;
        }
        Ok(())
    }

    /// The attempt was none: nothing was guessed.
    pub(super) async fn forgive(&self, psu: &PsuId, source: Source<'_>) -> Result<(), ScaError> {
        for (bucket, _) in self.buckets(psu, source).await? {
            sqlx::query("UPDATE failure SET failed = failed - 1 WHERE bucket = $1 AND failed > 0")
                .bind(bucket)
                .execute(self.database.pool())
                .await?;
        }
        Ok(())
    }

    /// Where an attempt counts, and how.
    async fn buckets(
        &self,
        psu: &PsuId,
        source: Source<'_>,
    ) -> Result<Vec<(String, Measure)>, StoreError> {
        let mut buckets = vec![(self.own_bucket(psu, source), Measure::InARow)];
        if let Source::Tpp(tpp) = source {
            let known = sqlx::query("SELECT 1 AS known FROM acquainted WHERE stamp = $1")
                .bind(self.acquaintance(psu, tpp))
                .fetch_optional(self.database.pool())
                .await?;
            if known.is_none() {
                buckets.push((self.stamp(&format!("strangers:{tpp}")), Measure::OverTime));
            }
        }
        Ok(buckets)
    }

    fn own_bucket(&self, psu: &PsuId, source: Source<'_>) -> String {
        let from = match source {
            Source::Device(id) => format!("device:{id}"),
            Source::Browser(address) => format!("network:{}", network(address)),
            Source::Tpp(tpp) => format!("tpp:{tpp}"),
        };
        self.stamp(&format!("{from}\n{}", psu.0))
    }

    fn acquaintance(&self, psu: &PsuId, tpp: &OrganisationId) -> String {
        self.stamp(&format!("acquainted:{tpp}\n{}", psu.0))
    }

    /// Names are stamps: who reads the table does not learn whom somebody tried to be.
    fn stamp(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.vault.mac(self.kind, text.as_bytes()))
    }
}

/// The network that an address is in, as far as one customer of a provider goes: 24 bits of IPv4, 56 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8))),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 72)))
        }
    }
}

async fn tally(transaction: &mut Write, bucket: &str) -> Result<Option<Tally>, StoreError> {
    let row = sqlx::query("SELECT failed, last FROM failure WHERE bucket = $1")
        .bind(bucket)
        .fetch_optional(&mut **transaction)
        .await?;
    row.map(|row| {
        let last = DateTime::from_timestamp(row.try_get("last")?, 0);
        Ok(Tally {
            failed: row.try_get("failed")?,
            last: last.ok_or(StoreError::Corrupt {
                what: "failure.last",
            })?,
        })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bank_client::environment::{Clock, ManualClock, SystemRandomness};
    use chrono_tz::Tz;

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
        let (database, folder) = crate::store::testing::database().await;
        let clock = Arc::new(ManualClock::at("2026-11-24T12:00:00Z".parse().unwrap()));
        let vault = Vault::new(&[7; 32], Arc::new(SystemRandomness)).unwrap();
        let calendar = Calendar::new(Arc::clone(&clock) as Arc<dyn Clock>, Tz::UTC);
        (
            folder,
            clock,
            Lockout::new("password", database, vault, calendar),
        )
    }

    fn psu(name: &str) -> PsuId {
        PsuId(name.to_owned())
    }

    fn from(address: &str) -> Source<'static> {
        Source::Browser(address.parse().unwrap())
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
        let stranger = async || lockout.attempt(&anna, from("192.0.2.1")).await;
        for _ in 0..5 {
            stranger().await.unwrap();
        }
        let Err(ScaError::Locked { until }) = stranger().await else {
            panic!("not locked")
        };
        assert_eq!(until - clock.now(), TimeDelta::seconds(30));
        assert!(
            lockout.attempt(&anna, from("192.0.2.200")).await.is_err(),
            "the same network"
        );
        lockout.attempt(&anna, from("198.51.100.1")).await.unwrap();
        lockout
            .attempt(&anna, Source::Device("hers"))
            .await
            .unwrap();
        lockout
            .attempt(&psu("lucas.moreau"), from("192.0.2.1"))
            .await
            .unwrap();
        // A refused attempt does not make the pause longer; a failed one does.
        clock.advance(TimeDelta::seconds(30));
        stranger().await.unwrap();
        clock.advance(TimeDelta::seconds(59));
        assert!(matches!(stranger().await, Err(ScaError::Locked { .. })));
        clock.advance(TimeDelta::seconds(1));
        stranger().await.unwrap();
        lockout.succeeded(&anna, from("192.0.2.1")).await.unwrap();
        stranger().await.unwrap();
    }

    #[tokio::test]
    async fn an_attempt_that_was_none_is_forgiven() {
        let (_folder, _clock, lockout) = scene().await;
        let anna = psu("anna.weber");
        for _ in 0..20 {
            lockout
                .attempt(&anna, Source::Device("hers"))
                .await
                .unwrap();
            lockout
                .forgive(&anna, Source::Device("hers"))
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn strangers_through_a_tpp_are_slowed_down_its_customers_are_not_and_it_passes() {
        let (_folder, clock, lockout) = scene().await;
        let tpp = "PSDDE-BAFIN-125314".parse().unwrap();
        let at = Source::Tpp(&tpp);
        let (anna, stranger) = (psu("anna.weber"), psu("one-more"));
        lockout.attempt(&anna, at).await.unwrap();
        lockout.succeeded(&anna, at).await.unwrap();
        for number in 0..STRANGERS {
            lockout
                .attempt(&psu(&format!("customer-{number}")), at)
                .await
                .unwrap();
        }
        assert!(matches!(
            lockout.attempt(&stranger, at).await,
            Err(ScaError::Locked { .. })
        ));
        lockout.attempt(&anna, at).await.unwrap();
        let other = "PSDFR-ACPR-11111".parse().unwrap();
        lockout
            .attempt(&stranger, Source::Tpp(&other))
            .await
            .unwrap();
        // One is forgotten every 72 seconds, whatever came before.
        clock.advance(DECAY);
        lockout.attempt(&stranger, at).await.unwrap();
        assert!(lockout.attempt(&psu("another"), at).await.is_err());
        clock.advance(TimeDelta::hours(1));
        for number in 0..STRANGERS {
            lockout
                .attempt(&psu(&format!("later-{number}")), at)
                .await
                .unwrap();
        }
    }
}
