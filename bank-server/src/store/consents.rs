//! Repository of consents and their grants.

use std::num::NonZeroU32;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use shared_types::pki::eidas::OrganisationId;
use shared_types::xs2a::authorisation::ScaApproach;
use shared_types::xs2a::consent::{AccountAccess, ConsentRequest, ConsentStatus};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

use super::columns::{Columns, to_json};
use super::row_cache::{AccountWithBalances, Caches};
use super::{Database, Result, WriteTransaction, tpps};
use crate::domain::{Consent, Grant, Granted, TppRecord};

/// Outcome of storing a new consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored. For a repeated request: it was stored before, and this is it.
    Consent(Box<Consent>),
    /// The request id was used with another body.
    OtherBody,
}

/// Consents in the database.
#[derive(Debug, Clone)]
pub struct Consents {
    database: Database,
    read_account: Option<ReadAccount>,
}

/// A consent to store, from a TPP's request.
#[derive(Debug, Clone)]
pub struct NewConsent<'a> {
    /// The id it will have.
    pub id: Uuid,
    /// The TPP.
    pub tpp: &'a TppRecord,
    /// The request's `X-Request-ID`.
    pub request_id: Uuid,
    /// Digest of the request: two requests with one id must have the same.
    pub digest: &'a str,
    /// The body of the request.
    pub request: &'a ConsentRequest,
    /// Last day, as far as the bank allows.
    pub valid_until: NaiveDate,
    /// Unattended reads a day, as far as the bank allows.
    pub frequency_per_day: NonZeroU32,
    /// The approach that the TPP gets.
    pub approach: ScaApproach,
    /// Redirect URI after success, for authorisations without one.
    pub redirect_uri: Option<&'a str>,
    /// Redirect URI after failure.
    pub nok_redirect_uri: Option<&'a str>,
    /// The time.
    pub now: DateTime<Utc>,
    /// Until when it can be approved.
    pub approve_by: DateTime<Utc>,
}

pub(super) const COLUMNS: &str = "SELECT id, tpp, access, recurring, valid_until, \
    frequency_per_day, status, psu, created, approve_by, \
     approvals_needed, authenticated, last_use, ends, approach, redirect_uri, nok_redirect_uri, \
     last_action, request_digest \
     FROM consent";

const ACCESS: &str = "consent.access";

/// Columns of the ledger that [`ReadAccount`] reads.
const LEDGER_COLUMNS: &str = ", a.card AS ledger_card, a.approvals AS ledger_approvals, a.details \
    AS ledger_details, a.balances AS ledger_balances";

const LEDGER: &str = " LEFT JOIN account a ON a.id = g.account_id";

/// Reads an account of the built-in ledger, if the row has one that can be read.
pub type ReadAccount = fn(&AnyRow) -> Option<AccountWithBalances>;

impl Consents {
    /// The consents in that database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            database,
            read_account: None,
        }
    }

    /// Reads the accounts of the built-in ledger along with the grants: a TPP that uses a consent
    /// is about to read them.
    #[must_use]
    pub fn with_ledger(self, read_account: ReadAccount) -> Self {
        Self {
            read_account: Some(read_account),
            ..self
        }
    }

    /// Stores a consent as `received`. Once this returns, it is on disk.
    ///
    /// A request id has one effect: a second time, the consent of the first time is returned.
    pub async fn insert(&self, new: NewConsent<'_>) -> Result<Inserted> {
        let organisation = new.tpp.organisation.as_str();
        let mut transaction = self.database.begin_write().await?;
        tpps::record(&mut transaction, new.tpp, new.now).await?;
        sqlx::query(
            "INSERT INTO consent (id, tpp, request_id, request_digest, status, access, recurring, \
             valid_until, \
             frequency_per_day, last_action, created, approve_by, approach, redirect_uri, \
             nok_redirect_uri) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11, $12, $13, $14) \
             ON CONFLICT (tpp, request_id) DO NOTHING",
        )
        .bind(new.id.to_string())
        .bind(organisation)
        .bind(new.request_id.to_string())
        .bind(new.digest)
        .bind(ConsentStatus::Received.as_str())
        .bind(to_json(&new.request.access, ACCESS)?)
        .bind(i64::from(new.request.recurring_indicator))
        .bind(new.valid_until.to_string())
        .bind(i64::from(new.frequency_per_day.get()))
        .bind(new.now.timestamp())
        .bind(new.approve_by.timestamp())
        .bind(new.approach.as_str())
        .bind(new.redirect_uri)
        .bind(new.nok_redirect_uri)
        .execute(&mut *transaction)
        .await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE tpp = $1 AND request_id = $2"
        )))
        .bind(organisation)
        .bind(new.request_id.to_string())
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        if row.try_get::<String, _>("request_digest")? != new.digest {
            return Ok(Inserted::OtherBody);
        }
        Ok(Inserted::Consent(Box::new(Consent::from_row(&row)?)))
    }

    /// That TPP's consent of that id. Another TPP's is not found, like one that does not exist.
    pub async fn find(&self, tpp: &OrganisationId, id: &str) -> Result<Option<Consent>> {
        let found = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE id = $1 AND tpp = $2"
        )));
        let found = found.bind(id).bind(tpp.as_str());
        Ok(found.fetch_optional(self.database.pool()).await?)
    }

    /// That TPP's consent of that id, and its grants.
    ///
    /// Cost: no statement for a cached consent; else one statement, with an indexed look-up for the
    /// consent, one for its accounts, and with the built-in ledger one for each of those.
    pub async fn find_with_grants(
        &self,
        tpp: &OrganisationId,
        id: &str,
    ) -> Result<Option<Arc<Granted>>> {
        let Caches {
            consents: cached,
            accounts,
            ..
        } = self.database.caches();
        // Another TPP's consent takes as long to be found missing as one that does not exist.
        let own = cached.get(id).filter(|cached| cached.consent.tpp == *tpp);
        if own.is_some() {
            return Ok(own);
        }
        let read = cached.begin_read();
        let read_accounts = accounts.begin_read();
        let (columns, ledger) = match self.read_account {
            Some(_) => (LEDGER_COLUMNS, LEDGER),
            None => ("", ""),
        };
        // One row for each account that the consent covers, or one row if it covers none.
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT c.*, g.account_id, g.details, g.balances, g.transactions, \
             g.owner_name{columns} \
             FROM ({COLUMNS} WHERE id = $1 AND tpp = $2) AS c LEFT JOIN consent_account g ON \
             g.consent_id = c.id{ledger} \
             ORDER BY g.position"
        )))
        .bind(id)
        .bind(tpp.as_str())
        .fetch_all(self.database.pool())
        .await?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let mut grants = Vec::with_capacity(rows.len());
        for row in &rows {
            if row.try_get::<Option<String>, _>("account_id")?.is_some() {
                grants.push(Grant::from_row(row)?);
                if let Some(account) = self.read_account.and_then(|read_account| read_account(row))
                {
                    let id = account.0.id.0.clone();
                    accounts.insert(read_accounts, &id, Arc::new(account));
                }
            }
        }
        let consent = Consent::from_row(first)?;
        let granted = Arc::new(Granted { consent, grants });
        // A consent that is not valid is not cached: it can become valid at any moment.
        if granted.consent.status == ConsentStatus::Valid {
            cached.insert(read, id, Arc::clone(&granted));
        }
        Ok(Some(granted))
    }

    /// Changes the status of that TPP's consent as the rule returns it.
    pub async fn change(
        &self,
        tpp: &OrganisationId,
        id: &str,
        rule: Rule<'_>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transaction = self.database.begin_write().await?;
        let found = by_id(&mut transaction, id).await?;
        if let Some(consent) = found.filter(|consent| consent.tpp == *tpp) {
            change_in(&mut transaction, &consent, rule, now).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// Transition of the state machine for one event: the next status, or `None` for no change.
pub type Rule<'a> = &'a (dyn Fn(&Consent) -> Option<ConsentStatus> + Sync);

/// A consent, locked until the transaction ends.
pub(super) async fn by_id(transaction: &mut WriteTransaction, id: &str) -> Result<Option<Consent>> {
    let select = transaction.locked(&format!("{COLUMNS} WHERE id = $1"));
    let found = sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(id);
    Ok(found.fetch_optional(&mut **transaction).await?)
}

/// Changes the status of a consent as the rule returns it. Returns whether it changed.
pub(super) async fn change_in(
    transaction: &mut WriteTransaction,
    consent: &Consent,
    rule: Rule<'_>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let Some(status) = rule(consent) else {
        return Ok(false);
    };
    transaction.mark_changed(&consent.id);
    sqlx::query("UPDATE consent SET status = $1, last_action = $2 WHERE id = $3")
        .bind(status.as_str())
        .bind(now.timestamp())
        .bind(&consent.id)
        .execute(&mut **transaction)
        .await?;
    Ok(true)
}

/// Stores the access and the grants of a consent.
pub(super) async fn open_accounts(
    transaction: &mut WriteTransaction,
    consent_id: &str,
    access: &AccountAccess,
    grants: &[Grant],
) -> Result<()> {
    transaction.mark_changed(consent_id);
    sqlx::query("UPDATE consent SET access = $1 WHERE id = $2")
        .bind(to_json(access, ACCESS)?)
        .bind(consent_id)
        .execute(&mut **transaction)
        .await?;
    for (position, grant) in (0_i64..).zip(grants) {
        sqlx::query(
            "INSERT INTO consent_account (consent_id, position, account_id, details, balances, \
             transactions, owner_name) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(consent_id)
        .bind(position)
        .bind(&grant.account.0)
        .bind(i64::from(grant.details))
        .bind(i64::from(grant.balances))
        .bind(i64::from(grant.transactions))
        .bind(i64::from(grant.owner_name))
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// Replaces the older recurring consents of the same customer and TPP.
pub(super) async fn replace_older(
    transaction: &mut WriteTransaction,
    new: &Consent,
    psu: &str,
    rule: Rule<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    if !new.recurring {
        return Ok(());
    }
    let select = transaction.locked(&format!(
        "{COLUMNS} WHERE psu = $1 AND tpp = $2 AND recurring = 1 AND status = $3 AND id <> $4 \
         ORDER BY id"
    ));
    let older: Vec<Consent> = sqlx::query_as(sqlx::AssertSqlSafe(select))
        .bind(psu)
        .bind(new.tpp.as_str())
        .bind(ConsentStatus::Valid.as_str())
        .bind(&new.id)
        .fetch_all(&mut **transaction)
        .await?;
    for consent in &older {
        change_in(transaction, consent, rule, now).await?;
    }
    Ok(())
}

impl FromRow<'_, AnyRow> for Consent {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Columns::of("consent", row);
        Ok(Self {
            id: row.get("id")?,
            tpp: row.get("tpp")?,
            access: row.json("access")?,
            recurring: row.get("recurring")?,
            valid_until: row.get("valid_until")?,
            frequency_per_day: row.get("frequency_per_day")?,
            status: row.get("status")?,
            psu: row.get("psu")?,
            created: row.get("created")?,
            approve_by: row.get("approve_by")?,
            approvals_needed: row.get("approvals_needed")?,
            authenticated: row.get("authenticated")?,
            last_use: row.get("last_use")?,
            ends: row.get("ends")?,
            approach: row.get("approach")?,
            redirect_uri: row.get("redirect_uri")?,
            nok_redirect_uri: row.get("nok_redirect_uri")?,
            last_action: row.get("last_action")?,
        })
    }
}

impl FromRow<'_, AnyRow> for Grant {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Columns::of("consent_account", row);
        Ok(Self {
            account: row.get("account_id")?,
            details: row.get("details")?,
            balances: row.get("balances")?,
            transactions: row.get("transactions")?,
            owner_name: row.get("owner_name")?,
        })
    }
}
