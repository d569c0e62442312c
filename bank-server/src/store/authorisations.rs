//! Repository of authorisations, and of the status changes that they bring to consents.

use chrono::{DateTime, Utc};
use shared_types::pki::eidas::OrganisationId;
use shared_types::xs2a::authorisation::{ScaApproach, ScaStatus};
use shared_types::xs2a::consent::ConsentStatus;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::consents::{Rule, by_id, change_in, open_accounts, replace_older};
use super::credentials::{CredentialsVersion, is_current};
use super::{AdvisoryLock, Database, StoreError, WriteTransaction};
use crate::domain::{ApprovedAccess, Authorisation, Consent, MethodId, PsuId};

/// An authorisation that is about to be stored.
#[derive(Debug, Clone)]
pub struct NewAuthorisation<'a> {
    /// The id it will have.
    pub id: Uuid,
    /// The consent it is for.
    pub consent_id: &'a str,
    /// The request's `X-Request-ID`.
    pub request_id: Uuid,
    /// Digest of the request: two requests with one id must have the same.
    pub digest: &'a str,
    /// Whom the TPP names.
    pub psu: Option<&'a PsuId>,
    /// The approach.
    pub approach: ScaApproach,
    /// The status it begins with.
    pub status: ScaStatus,
    /// Where the customer goes afterwards.
    pub redirect_uri: Option<&'a str>,
    /// Where she goes if nothing came of it.
    pub nok_redirect_uri: Option<&'a str>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// Outcome of storing a new authorisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// It is stored. For a repeated request: it was stored before, and this is it.
    Authorisation(Authorisation),
    /// The same request id came with another request before.
    OtherRequest,
    /// The consent has as many as it may have.
    TooMany,
    /// Too much waits for the customer.
    TooManyWaiting,
}

/// Outcome of a status change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advanced {
    /// The status has changed.
    Done,
    /// Another request has changed the status before.
    Overtaken,
    /// Too much waits for the customer.
    TooManyWaiting,
    /// The customer's credentials have changed since she authenticated.
    CredentialsChanged,
}

/// Limits on authorisations that wait in a customer's app.
#[derive(Debug, Clone, Copy)]
pub struct WaitingLimits<'a> {
    /// The customer.
    pub psu: &'a PsuId,
    /// Whose consent it is.
    pub consent_id: &'a str,
    /// Authorisations that were started before this have ended.
    pub since: DateTime<Utc>,
    /// Maximum of one TPP.
    pub max_of_tpp: i64,
    /// Maximum of all TPPs.
    pub max_of_all: i64,
}

/// Rules of the state machine that an approval applies.
#[derive(Clone, Copy)]
pub struct ApprovalRules<'a> {
    /// The next status of the consent; the flag says that no further approval is needed.
    pub approved: &'a (dyn Fn(&Consent, bool) -> Option<ConsentStatus> + Sync),
    /// The next status of the older consent that it replaces.
    pub replaced: Rule<'a>,
}

/// Outcome of an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approved {
    /// The status that the consent has now.
    Consent(ConsentStatus),
    /// The authorisation was over before.
    AuthorisationOver,
    /// The consent is not waiting for an approval.
    ConsentOver,
}

/// Authorisations in the database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuthorisationStore {
    database: Database,
}

const COLUMNS: &str = "SELECT a.id, a.consent_id, a.psu, a.by_log_in, a.approach, a.status, a.method, \
    a.redirect_uri, a.nok_redirect_uri, \
     a.created, a.last_action, a.shown, a.refused, a.request_digest FROM authorisation a";

/// How many customers have approved a consent.
const APPROVALS: &str = "SELECT COUNT(DISTINCT psu) AS number FROM authorisation \
     WHERE consent_id = $1 AND status IN ('finalised', 'exempted')";

impl AuthorisationStore {
    /// The authorisations in that database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Stores an authorisation, if its consent has fewer than `most`, and if there is limits for
    /// it. A request id has one effect: a repeated request returns the first outcome.
    pub async fn insert(
        &self,
        new: NewAuthorisation<'_>,
        most: i64,
        limits: Option<WaitingLimits<'_>>,
    ) -> Result<Started, StoreError> {
        let mut transaction = self.database.begin_write().await?;
        // No other authorisation of this consent is stored until the transaction ends.
        by_id(&mut transaction, new.consent_id).await?;
        let row = sqlx::query(
            "SELECT COUNT(*) AS stored, COALESCE(SUM(CASE WHEN request_id = $2 THEN 1 ELSE 0 \
             END), 0) AS same \
             FROM authorisation WHERE consent_id = $1",
        )
        .bind(new.consent_id)
        .bind(new.request_id.to_string())
        .fetch_one(&mut *transaction)
        .await?;
        if row.try_get::<i64, _>("same")? == 0 {
            if row.try_get::<i64, _>("stored")? >= most {
                return Ok(Started::TooMany);
            }
            if let Some(limits) = limits
                && !is_within_limits(&mut transaction, limits).await?
            {
                return Ok(Started::TooManyWaiting);
            }
        }
        sqlx::query(
            "INSERT INTO authorisation (id, consent_id, request_id, psu, approach, status, \
             redirect_uri, nok_redirect_uri, \
             created, last_action, request_digest) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, \
             $9, $10) \
             ON CONFLICT (consent_id, request_id) DO NOTHING",
        )
        .bind(new.id.to_string())
        .bind(new.consent_id)
        .bind(new.request_id.to_string())
        .bind(new.psu.map(|psu| psu.0.as_str()))
        .bind(new.approach.as_str())
        .bind(new.status.as_str())
        .bind(new.redirect_uri)
        .bind(new.nok_redirect_uri)
        .bind(new.now.timestamp())
        .bind(new.digest)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let found = self
            .by_request(new.consent_id, new.request_id, new.digest)
            .await?;
        found.ok_or(StoreError::Corrupt {
            what: "authorisation",
        })
    }

    /// The outcome of an earlier request of that id.
    pub async fn by_request(
        &self,
        consent_id: &str,
        request_id: Uuid,
        digest: &str,
    ) -> Result<Option<Started>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE a.consent_id = $1 AND a.request_id = $2"
        )))
        .bind(consent_id)
        .bind(request_id.to_string())
        .fetch_optional(self.database.pool())
        .await?;
        row.map(|row| {
            if row.try_get::<String, _>("request_digest")? == digest {
                authorisation(&row).map(Started::Authorisation)
            } else {
                Ok(Started::OtherRequest)
            }
        })
        .transpose()
    }

    /// That authorisation, if it is of that consent and the consent is that TPP's.
    pub async fn find(
        &self,
        tpp: &OrganisationId,
        consent_id: &str,
        id: &str,
    ) -> Result<Option<Authorisation>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} JOIN consent c ON c.id = a.consent_id WHERE a.id = $1 AND a.consent_id = \
             $2 AND c.tpp = $3"
        )))
        .bind(id)
        .bind(consent_id)
        .bind(tpp.as_str())
        .fetch_optional(self.database.pool())
        .await?;
        row.as_ref().map(authorisation).transpose()
    }

    /// By its id alone, for the customer's side.
    pub async fn find_for_customer(&self, id: &str) -> Result<Option<Authorisation>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE a.id = $1")))
            .bind(id)
            .fetch_optional(self.database.pool())
            .await?;
        row.as_ref().map(authorisation).transpose()
    }

    /// All of a consent, the oldest first.
    pub async fn of_consent(&self, consent_id: &str) -> Result<Vec<Authorisation>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE a.consent_id = $1 ORDER BY a.created, a.id"
        )))
        .bind(consent_id)
        .fetch_all(self.database.pool())
        .await?;
        rows.iter().map(authorisation).collect()
    }

    /// How many customers have approved that consent.
    pub async fn approvals_of(&self, consent_id: &str) -> Result<u32, StoreError> {
        let row = sqlx::query(APPROVALS)
            .bind(consent_id)
            .fetch_one(self.database.pool())
            .await?;
        let corrupt = |_| StoreError::Corrupt {
            what: "authorisation",
        };
        u32::try_from(row.try_get::<i64, _>("number")?).map_err(corrupt)
    }

    /// What was started since then and waits in the bank's app for that customer, the newest first.
    pub async fn waiting_for(
        &self,
        psu: &PsuId,
        since: DateTime<Utc>,
    ) -> Result<Vec<Authorisation>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE a.psu = $1 AND a.status IN ('started', 'psuAuthenticated') AND \
             a.approach = 'DECOUPLED' \
             AND a.last_action > $2 ORDER BY a.created DESC, a.id"
        )))
        .bind(&psu.0)
        .bind(since.timestamp())
        .fetch_all(self.database.pool())
        .await?;
        rows.iter().map(authorisation).collect()
    }

    /// Whether that customer has approved a consent of the same TPP with a second element, in an
    /// authorisation that was started after that time.
    pub async fn has_authenticated(
        &self,
        psu: &PsuId,
        consent_id: &str,
        after: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT 1 AS there FROM authorisation a JOIN consent c ON c.id = a.consent_id WHERE \
             a.psu = $1 \
             AND a.status = 'finalised' AND a.created > $2 AND c.tpp = (SELECT tpp FROM consent \
             WHERE id = $3) LIMIT 1",
        )
        .bind(&psu.0)
        .bind(after.timestamp())
        .bind(consent_id)
        .fetch_optional(self.database.pool())
        .await?;
        Ok(row.is_some())
    }

    /// Brings an authorisation from the status it was seen in to another. Says whether it did: if it was no longer in
    /// that status, or has another customer by now, it stays as it is.
    pub async fn advance(
        &self,
        seen: &Authorisation,
        to: ScaStatus,
        change: Change<'_>,
        limits: Option<WaitingLimits<'_>>,
        now: DateTime<Utc>,
    ) -> Result<Advanced, StoreError> {
        let mut transaction = self.database.begin_write().await?;
        if let (Some(psu), Some(version)) = (change.psu, change.credentials)
            && !is_current(&mut transaction, psu, version).await?
        {
            return Ok(Advanced::CredentialsChanged);
        }
        if let Some(limits) = limits
            && !is_within_limits(&mut transaction, limits).await?
        {
            return Ok(Advanced::TooManyWaiting);
        }
        let changed = sqlx::query(
            "UPDATE authorisation SET status = $1, psu = COALESCE($2, psu), method = COALESCE($3, \
             method), \
             approach = COALESCE($4, approach), shown = COALESCE($5, shown), last_action = $6, \
             by_log_in = COALESCE($9, by_log_in) \
             WHERE id = $7 AND status = $8 AND COALESCE(psu, '') = $10",
        )
        .bind(to.as_str())
        .bind(change.psu.map(|psu| psu.0.as_str()))
        .bind(change.method.map(MethodId::as_str))
        .bind(change.approach.map(ScaApproach::as_str))
        .bind(change.shown.map(ConsentStatus::as_str))
        .bind(now.timestamp())
        .bind(&seen.id)
        .bind(seen.status.as_str())
        .bind(change.by_log_in.map(i64::from))
        .bind(seen.psu_text())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(if changed.rows_affected() > 0 {
            Advanced::Done
        } else {
            Advanced::Overtaken
        })
    }

    /// Ends an authorisation with success, and counts it for its consent: all or nothing.
    ///
    /// `opening` is the choice of the first customer who approves; later ones change nothing.
    /// `rules` return the next status of the consents.
    ///
    /// Locks in the order of all that change authorisations: the customer's lock, the
    /// authorisation, the consents.
    pub async fn approve(
        &self,
        seen: &Authorisation,
        to: ScaStatus,
        psu: &PsuId,
        opening: Option<&ApprovedAccess>,
        rules: ApprovalRules<'_>,
        now: DateTime<Utc>,
    ) -> Result<Approved, StoreError> {
        let mut transaction = self.database.begin_write().await?;
        let owner = owner(&mut transaction, &seen.consent_id).await?;
        let owner = owner.unwrap_or_else(|| psu.clone());
        // Of two consents that become valid at a time, one replaces the other.
        transaction.take(AdvisoryLock::Customer(&owner)).await?;
        if !end(&mut transaction, seen, to, psu, now).await? {
            return Ok(Approved::AuthorisationOver);
        }
        // Only a second element is an authentication: without one, what needs a fresh one stays
        // closed.
        let authenticated = (to == ScaStatus::Finalised).then_some(now);
        let approval = Approval {
            owner: &owner,
            opening,
            authenticated,
            now,
        };
        let Some(status) = count(&mut transaction, &seen.consent_id, approval, rules).await? else {
            return Ok(Approved::ConsentOver);
        };
        transaction.commit().await?;
        Ok(Approved::Consent(status))
    }

    /// The customer has approved, by that method or without a second element, and the TPP has yet
    /// to confirm that she is its own: stores the access that takes effect then.
    pub async fn await_confirmation(
        &self,
        seen: &Authorisation,
        method: Option<MethodId>,
        psu: &PsuId,
        code_digest: &str,
        opening: Option<&ApprovedAccess>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let pending = serde_json::to_string(&opening).map_err(|_| StoreError::Corrupt {
            what: "authorisation.pending",
        })?;
        let changed = sqlx::query(
            "UPDATE authorisation SET status = 'unconfirmed', psu = $1, confirmation = $2, \
             pending = $3, last_action = $4, \
             method = $7 WHERE id = $5 AND status = $6 AND COALESCE(psu, '') = $8",
        )
        .bind(&psu.0)
        .bind(code_digest)
        .bind(pending)
        .bind(now.timestamp())
        .bind(&seen.id)
        .bind(seen.status.as_str())
        .bind(method.map(MethodId::as_str))
        .bind(seen.psu_text())
        .execute(self.database.pool())
        .await?;
        Ok(changed.rows_affected() > 0)
    }

    /// Records that the password that came with its start was wrong.
    pub async fn refuse_start(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE authorisation SET refused = 1 WHERE id = $1")
            .bind(id)
            .execute(self.database.pool())
            .await?;
        Ok(())
    }

    /// The digest of the confirmation code, and the access that takes effect then.
    pub async fn pending(
        &self,
        id: &str,
    ) -> Result<Option<(String, Option<ApprovedAccess>)>, StoreError> {
        let row = sqlx::query(
            "SELECT confirmation, pending FROM authorisation WHERE id = $1 AND \
            status = 'unconfirmed'",
        )
        .bind(id)
        .fetch_optional(self.database.pool())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let pending: String = row.try_get("pending")?;
        let opening = serde_json::from_str(&pending).map_err(|_| StoreError::Corrupt {
            what: "authorisation.pending",
        })?;
        Ok(Some((row.try_get("confirmation")?, opening)))
    }

    /// Ends an authorisation without success. If the customer has refused, the rule returns the
    /// next status of the consent.
    pub async fn fail(
        &self,
        seen: &Authorisation,
        refused: Option<Rule<'_>>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.database.begin_write().await?;
        let changed = sqlx::query(
            "UPDATE authorisation SET status = 'failed', last_action = $1 WHERE id = $2 AND \
             status = $3 \
             AND COALESCE(psu, '') = $4",
        )
        .bind(now.timestamp())
        .bind(&seen.id)
        .bind(seen.status.as_str())
        .bind(seen.psu_text())
        .execute(&mut *transaction)
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        if let Some(rule) = refused
            && let Some(consent) = by_id(&mut transaction, &seen.consent_id).await?
        {
            change_in(&mut transaction, &consent, rule, now).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }
}

/// Fields that change along with a status.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// The customer is known now.
    pub psu: Option<&'a PsuId>,
    /// She came by logging in at the bank.
    pub by_log_in: Option<bool>,
    /// The version of the credentials with which she authenticated, if she has.
    pub credentials: Option<CredentialsVersion>,
    /// The method is chosen now.
    pub method: Option<MethodId>,
    /// The customer goes on in another way.
    pub approach: Option<ScaApproach>,
    /// The customer is shown what approving opens, while the consent has this status.
    pub shown: Option<ConsentStatus>,
}

/// Whether one more may wait in the customer's app. No other transaction adds one until this one
/// ends.
async fn is_within_limits(
    transaction: &mut WriteTransaction,
    limits: WaitingLimits<'_>,
) -> Result<bool, StoreError> {
    transaction.take(AdvisoryLock::Customer(limits.psu)).await?;
    let row = sqlx::query(
        "SELECT COUNT(*) AS of_all, COALESCE(SUM(CASE WHEN c.tpp = (SELECT tpp FROM consent WHERE \
         id = $1) THEN 1 ELSE 0 END), 0) \
         AS of_one FROM authorisation a JOIN consent c ON c.id = a.consent_id \
         WHERE a.psu = $2 AND a.approach = 'DECOUPLED' AND a.status IN ('started', \
         'psuAuthenticated') \
         AND a.last_action > $3 AND c.status IN ('received', 'partiallyAuthorised')",
    )
    .bind(limits.consent_id)
    .bind(&limits.psu.0)
    .bind(limits.since.timestamp())
    .fetch_one(&mut **transaction)
    .await?;
    let of_one: i64 = row.try_get("of_one")?;
    Ok(of_one < limits.max_of_tpp && row.try_get::<i64, _>("of_all")? < limits.max_of_all)
}

async fn end(
    transaction: &mut WriteTransaction,
    seen: &Authorisation,
    to: ScaStatus,
    psu: &PsuId,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "UPDATE authorisation SET status = $1, psu = $2, confirmation = NULL, pending = NULL, \
         last_action = $3 \
         WHERE id = $4 AND status = $5 AND COALESCE(psu, '') = $6",
    )
    .bind(to.as_str())
    .bind(&psu.0)
    .bind(now.timestamp())
    .bind(&seen.id)
    .bind(seen.status.as_str())
    .bind(seen.psu_text())
    .execute(&mut **transaction)
    .await?;
    Ok(changed.rows_affected() > 0)
}

/// The customer whose lock guards the consent: the one who approved it first, if one has.
async fn owner(
    transaction: &mut WriteTransaction,
    consent_id: &str,
) -> Result<Option<PsuId>, StoreError> {
    let row = sqlx::query("SELECT psu FROM consent WHERE id = $1")
        .bind(consent_id)
        .fetch_optional(&mut **transaction)
        .await?;
    let psu = row.map(|row| row.try_get::<Option<String>, _>("psu"));
    Ok(psu.transpose()?.flatten().map(PsuId))
}

/// One more approval of a consent.
struct Approval<'a> {
    /// The customer who approved it first. The transaction has her lock.
    owner: &'a PsuId,
    opening: Option<&'a ApprovedAccess>,
    /// The time, if it was given with a second element.
    authenticated: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
}

/// Counts one more approval of the consent. Returns its status then, if it was waiting for that.
async fn count(
    transaction: &mut WriteTransaction,
    consent_id: &str,
    approval: Approval<'_>,
    rules: ApprovalRules<'_>,
) -> Result<Option<ConsentStatus>, StoreError> {
    let Some(consent) = by_id(transaction, consent_id).await? else {
        return Ok(None);
    };
    // Another has approved since the owner was looked up.
    if consent
        .psu
        .as_ref()
        .is_some_and(|psu| psu != approval.owner)
    {
        return Ok(None);
    }
    let needed = match (consent.status, approval.opening) {
        (ConsentStatus::Received, Some(opening)) => {
            open_accounts(transaction, consent_id, &opening.access, &opening.grants).await?;
            opening.approvals_needed
        }
        // What was approved is not what the consent opens: another customer has approved in
        // between.
        (ConsentStatus::Received, None) | (ConsentStatus::PartiallyAuthorised, Some(_)) => {
            return Ok(None);
        }
        _ => consent.approvals_needed,
    };
    let approved: i64 = sqlx::query(APPROVALS)
        .bind(consent_id)
        .fetch_one(&mut **transaction)
        .await?
        .try_get("number")?;
    let Some(status) = (rules.approved)(&consent, approved >= i64::from(needed)) else {
        return Ok(None);
    };
    let Approval { owner, now, .. } = approval;
    transaction.mark_changed(consent_id);
    sqlx::query(
        "UPDATE consent SET status = $1, psu = $2, approvals_needed = $3, authenticated = \
         COALESCE($4, authenticated), \
         last_action = $5 WHERE id = $6",
    )
    .bind(status.as_str())
    .bind(&owner.0)
    .bind(i64::from(needed))
    .bind(approval.authenticated.map(|time| time.timestamp()))
    .bind(now.timestamp())
    .bind(consent_id)
    .execute(&mut **transaction)
    .await?;
    if status == ConsentStatus::Valid {
        replace_older(transaction, &consent, &owner.0, rules.replaced, now).await?;
    }
    Ok(Some(status))
}

fn authorisation(row: &AnyRow) -> Result<Authorisation, StoreError> {
    let corrupt = |what: &'static str| StoreError::Corrupt { what };
    let time = |column: &'static str| -> Result<DateTime<Utc>, StoreError> {
        DateTime::from_timestamp(row.try_get(column)?, 0)
            .ok_or_else(|| corrupt("authorisation.created"))
    };
    let approach: String = row.try_get("approach")?;
    let status: String = row.try_get("status")?;
    let method: Option<String> = row.try_get("method")?;
    Ok(Authorisation {
        id: row.try_get("id")?,
        consent_id: row.try_get("consent_id")?,
        psu: row.try_get::<Option<String>, _>("psu")?.map(PsuId),
        by_log_in: row.try_get::<i64, _>("by_log_in")? != 0,
        approach: approach
            .parse()
            .map_err(|_| corrupt("authorisation.approach"))?,
        status: status
            .parse()
            .map_err(|_| corrupt("authorisation.status"))?,
        method: method
            .map(|method| method.parse().map_err(|_| corrupt("authorisation.method")))
            .transpose()?,
        redirect_uri: row.try_get("redirect_uri")?,
        nok_redirect_uri: row.try_get("nok_redirect_uri")?,
        created: time("created")?,
        last_action: time("last_action")?,
        shown: row
            .try_get::<Option<String>, _>("shown")?
            .map(|status| status.parse().map_err(|_| corrupt("authorisation.shown")))
            .transpose()?,
        refused: row.try_get::<i64, _>("refused")? != 0,
    })
}
